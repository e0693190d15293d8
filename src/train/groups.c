/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of parameters, and what can be set for each. */
#include "train/optimizer.h"

#include <float.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct hyper {
    const char *name;
    double min, max; /* min <= value < max */
} hyper_t;

static const hyper_t hypers[ACCEL__NUM_HYPERS] = {
    [ACCEL__LR] = {"lr", 0, INFINITY},
    [ACCEL__WEIGHT_DECAY] = {"weight_decay", 0, INFINITY},
    [ACCEL__BETA1] = {"beta1", 0, 1},
    [ACCEL__BETA2] = {"beta2", 0, 1},
    [ACCEL__EPS] = {"eps", 0, INFINITY},
    [ACCEL__MOMENTUM] = {"momentum", 0, INFINITY},
    [ACCEL__DAMPENING] = {"dampening", -DBL_MAX, INFINITY},
    [ACCEL__ALPHA] = {"alpha", 0, INFINITY},
    [ACCEL__LR_DECAY] = {"lr_decay", 0, INFINITY}};

static bool uses(const accel__rule_t *rule, int hyper)
{
    return rule->uses & ACCEL__USES(hyper);
}

static accel_status_t check_hyper(const char *function, int hyper, double value)
{
    const hyper_t *limits = &hypers[hyper];

    if (value >= limits->min && value < limits->max)
        return ACCEL_OK;
    if (isinf(limits->max))
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is %g; expected a finite number >= %g",
                           function, limits->name, value, limits->min);
    return accel__fail(ACCEL_ERR_INVALID, "%s: %s is %g; expected %g <= %s < %g", function,
                       limits->name, value, limits->min, limits->name, limits->max);
}

accel_status_t accel__group_check(const accel__rule_t *rule, const char *function,
                                  const accel__group_t *group)
{
    accel_status_t status = ACCEL_OK;

    for (int h = 0; h < ACCEL__NUM_HYPERS && status == ACCEL_OK; h++)
        if (uses(rule, h))
            status = check_hyper(function, h, group->hypers[h]);
    return status;
}

static void describe_flags(const accel_optimizer_t *optimizer, accel__text_t *text)
{
    accel__text_appendf(text, "%s%s%s%s", optimizer->amsgrad ? ", amsgrad" : "",
                        optimizer->nesterov ? ", nesterov" : "",
                        optimizer->centered ? ", centered" : "",
                        optimizer->maximize ? ", maximize" : "");
    if (optimizer->initial_accumulator_value != 0)
        accel__text_appendf(text, ", initial_accumulator_value %.17g",
                            optimizer->initial_accumulator_value);
}

/* "AdamW (lr 0.001, weight_decay 0.01, ...), then for 2 of the parameters (lr ...)" */
void accel__groups_describe(const accel_optimizer_t *optimizer, accel__text_t *text)
{
    accel__text_appendf(text, "%s",
                        optimizer->custom.name ? optimizer->custom.name : optimizer->rule->name);
    for (int32_t g = 0; g < optimizer->num_groups; g++) {
        const accel__group_t *group = &optimizer->groups[g];
        const char *separator = g == 0 ? " (" : "; group (";

        for (int h = 0; h < ACCEL__NUM_HYPERS; h++)
            if (uses(optimizer->rule, h)) {
                accel__text_appendf(text, "%s%s %.17g", separator, hypers[h].name,
                                    group->hypers[h]);
                separator = ", ";
            }
        if (g == 0)
            describe_flags(optimizer, text);
        accel__text_appendf(text, "%s)", group->frozen ? ", frozen" : "");
        for (int64_t i = 0; g > 0 && i < optimizer->model->num_params; i++)
            if (accel__group_of(optimizer, i) == g)
                accel__text_appendf(text, " '%s'", optimizer->model->params[i]->name);
    }
}

uint64_t accel__groups_hash(const accel_optimizer_t *optimizer)
{
    uint64_t hash = ACCEL__HASH_START;

    for (int32_t g = 1; g < optimizer->num_groups; g++)
        hash = accel__hash(hash, &optimizer->groups[g].hypers[ACCEL__LR], sizeof(double));
    for (int32_t g = 0; g < optimizer->num_groups; g++) {
        const accel__group_t *group = &optimizer->groups[g];

        hash = accel__hash(hash, &group->hypers[ACCEL__BETA1], sizeof(double));
        hash = accel__hash(hash, &group->hypers[ACCEL__MOMENTUM], sizeof(double));
        hash = accel__hash(hash, &group->frozen, sizeof(group->frozen));
    }
    return hash;
}

/* ---- a new group ---- */

static bool is_named(const accel_group_options_t *options, const char *name)
{
    for (const char *const *n = options->names; *n; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return false;
}

static bool matches(const accel_optimizer_t *optimizer, const accel_group_options_t *options,
                    int64_t index)
{
    const accel__param_t *param = optimizer->model->params[index];
    accel_parameter_t parameter;

    if (param->kind != ACCEL_TRAINABLE || accel__group_of(optimizer, index) != 0)
        return false;
    if (options->pattern && fnmatch(options->pattern, param->name, 0) != 0)
        return false;
    if (options->names && !is_named(options, param->name))
        return false;
    if (options->ndim_below > 0 && param->ndim >= options->ndim_below)
        return false;
    return !options->select ||
           (accel_model_parameter(optimizer->model, index, &parameter) == ACCEL_OK &&
            options->select(options->context, &parameter));
}

/* A name that is misspelt would be trained with other options than anybody thinks. */
static accel_status_t check_names(const accel_optimizer_t *optimizer, const char *function,
                                  const accel_group_options_t *options)
{
    const accel_model_t *model = optimizer->model;

    for (const char *const *name = options->names; name && *name; name++) {
        int64_t i = 0;

        while (i < model->num_params && (model->params[i]->kind != ACCEL_TRAINABLE ||
                                         strcmp(model->params[i]->name, *name) != 0))
            i++;
        if (i == model->num_params)
            return accel__fail(ACCEL_ERR_INVALID, "%s: the model has no trainable parameter '%s'",
                               function, *name);
    }
    return ACCEL_OK;
}

static accel_status_t check_selection(const accel_optimizer_t *optimizer, const char *function,
                                      const accel_group_options_t *options)
{
    if (optimizer->state || optimizer->num_owners > 0)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: too late; add groups before the optimizer is prepared or stepped",
                           function);
    if (!options->pattern && !options->names && !options->select && options->ndim_below == 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: which parameters? give pattern, names, select or ndim_below",
                           function);
    if (options->ndim_below < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: ndim_below is %d; expected 1 or more", function,
                           (int)options->ndim_below);
    return check_names(optimizer, function, options);
}

/* The optimizer's own settings, but for those that are given. */
static accel_status_t set_hypers(const accel_optimizer_t *optimizer, const char *function,
                                 const accel_group_options_t *options, accel__group_t *group)
{
    const double given[ACCEL__NUM_HYPERS] = {[ACCEL__LR] = options->lr,
                                             [ACCEL__WEIGHT_DECAY] = options->weight_decay,
                                             [ACCEL__BETA1] = options->beta1,
                                             [ACCEL__BETA2] = options->beta2,
                                             [ACCEL__EPS] = options->eps,
                                             [ACCEL__MOMENTUM] = options->momentum,
                                             [ACCEL__ALPHA] = options->alpha,
                                             [ACCEL__DAMPENING] = options->dampening,
                                             [ACCEL__LR_DECAY] = options->lr_decay};

    *group = (accel__group_t){.own_lr = options->lr != 0, .frozen = options->frozen};
    for (int h = 0; h < ACCEL__NUM_HYPERS; h++) {
        if (given[h] != 0 && !uses(optimizer->rule, h))
            return accel__fail(ACCEL_ERR_INVALID, "%s: %s has no %s", function,
                               optimizer->rule->name, hypers[h].name);
        group->hypers[h] = accel__or_default(given[h], optimizer->groups[0].hypers[h]);
    }
    if (optimizer->groups[0].hypers[ACCEL__MOMENTUM] == 0 && group->hypers[ACCEL__MOMENTUM] != 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: momentum is %g, but the optimizer was created without", function,
                           group->hypers[ACCEL__MOMENTUM]);
    return accel__group_check(optimizer->rule, function, group);
}

static accel_status_t make_room(accel_optimizer_t *optimizer)
{
    size_t size = ((size_t)optimizer->num_groups + 1) * sizeof(*optimizer->groups);
    size_t members = (size_t)optimizer->model->num_params * sizeof(*optimizer->group_of);
    accel__group_t *grown = realloc(optimizer->groups, size);

    if (!grown)
        return accel__fail_memory("a group of parameters", size);
    optimizer->groups = grown;
    if (!optimizer->group_of)
        optimizer->group_of = calloc(1, members + 1);
    return optimizer->group_of ? ACCEL_OK : accel__fail_memory("a list of groups", members);
}

accel_status_t accel_optimizer_add_group(accel_optimizer_t *optimizer,
                                         const accel_group_options_t *options, int32_t *group)
{
    static const char name[] = "accel_optimizer_add_group";
    accel_group_options_t read = {0};
    accel__group_t made;
    int64_t members = 0;
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    status = accel__options_read(&read, sizeof(read), options, "accel_group_options_t");
    if (status == ACCEL_OK)
        status = check_selection(optimizer, name, &read);
    if (status == ACCEL_OK)
        status = set_hypers(optimizer, name, &read, &made);
    if (status == ACCEL_OK)
        status = make_room(optimizer);
    if (status != ACCEL_OK)
        return status;
    status = accel__model_seal(optimizer->model); /* or a later parameter would have no group */
    if (status != ACCEL_OK)
        return status;
    for (int64_t i = 0; i < optimizer->model->num_params; i++)
        if (matches(optimizer, &read, i)) {
            optimizer->group_of[i] = optimizer->num_groups;
            members++;
        }
    if (members == 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: no trainable parameter%s%s%s belongs to it that is not in an "
                           "earlier group",
                           name, read.pattern ? " like '" : "", read.pattern ? read.pattern : "",
                           read.pattern ? "'" : "");
    optimizer->groups[optimizer->num_groups] = made;
    if (group)
        *group = optimizer->num_groups;
    optimizer->num_groups++;
    return ACCEL_OK;
}

int32_t accel_optimizer_num_groups(const accel_optimizer_t *optimizer)
{
    return optimizer ? optimizer->num_groups : 0;
}

static accel_status_t check_group(const accel_optimizer_t *optimizer, const char *function,
                                  int32_t group)
{
    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", function);
    if (group < 0 || group >= optimizer->num_groups)
        return accel__fail(ACCEL_ERR_INVALID, "%s: group is %d; the optimizer has %d", function,
                           (int)group, (int)optimizer->num_groups);
    return ACCEL_OK;
}

accel_status_t accel_optimizer_set_frozen(accel_optimizer_t *optimizer, int32_t group, bool frozen)
{
    accel_status_t status = check_group(optimizer, "accel_optimizer_set_frozen", group);

    if (status == ACCEL_OK)
        optimizer->groups[group].frozen = frozen;
    return status;
}

double accel_optimizer_get_lr(const accel_optimizer_t *optimizer)
{
    return optimizer ? optimizer->groups[0].hypers[ACCEL__LR] : 0;
}

accel_status_t accel_optimizer_set_lr(accel_optimizer_t *optimizer, double lr)
{
    static const char name[] = "accel_optimizer_set_lr";
    accel_status_t status = check_group(optimizer, name, 0);

    if (status == ACCEL_OK)
        status = check_hyper(name, ACCEL__LR, lr);
    for (int32_t g = 0; status == ACCEL_OK && g < optimizer->num_groups; g++)
        if (g == 0 || !optimizer->groups[g].own_lr)
            optimizer->groups[g].hypers[ACCEL__LR] = lr;
    return status;
}

double accel_optimizer_get_group_lr(const accel_optimizer_t *optimizer, int32_t group)
{
    if (!optimizer || group < 0 || group >= optimizer->num_groups)
        return 0;
    return optimizer->groups[group].hypers[ACCEL__LR];
}

accel_status_t accel_optimizer_set_group_lr(accel_optimizer_t *optimizer, int32_t group, double lr)
{
    static const char name[] = "accel_optimizer_set_group_lr";
    accel_status_t status = check_group(optimizer, name, group);

    if (status == ACCEL_OK)
        status = check_hyper(name, ACCEL__LR, lr);
    if (status != ACCEL_OK)
        return status;
    optimizer->groups[group].hypers[ACCEL__LR] = lr;
    optimizer->groups[group].own_lr = true;
    return ACCEL_OK;
}
