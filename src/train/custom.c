/* SPDX-License-Identifier: Apache-2.0 */
/* An optimizer whose rule is the program's. */
#include "train/optimizer.h"

#include <stdlib.h>
#include <string.h>

static void begin(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                  double grad_scale)
{
    (void)optimizer, (void)t;
    group->step.grad_scale = grad_scale;
}

/* The rule sees gradients ready for use. Scaled ones are a copy: the model's own may be wanted
 * by others. */
static const void *ready_gradients(const accel_optimizer_t *optimizer, const accel__piece_t *piece,
                                   double grad_scale)
{
    if (grad_scale == 1)
        return piece->gradients;
    if (piece->gradients != optimizer->wide)
        memcpy(optimizer->wide, piece->gradients, piece->count * accel_dtype_size(piece->dtype));
    accel__kernels(piece->dtype)->scale(optimizer->wide, grad_scale, piece->count);
    return optimizer->wide;
}

static void update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece)
{
    const accel__param_t *param = piece->param;
    accel_update_t update = {.name = param->name,
                             .dtype = piece->dtype,
                             .ndim = param->ndim,
                             .shape = param->shape,
                             .first = (int64_t)piece->first,
                             .count = (int64_t)piece->count,
                             .values = piece->values,
                             .lr = group->hypers[ACCEL__LR],
                             .weight_decay = group->hypers[ACCEL__WEIGHT_DECAY],
                             .group = (int32_t)(group - optimizer->groups),
                             .step = group->t};

    memcpy(update.states, piece->states, sizeof(update.states));
    update.gradients = ready_gradients(optimizer, piece, group->step.grad_scale);
    optimizer->custom.update(optimizer->custom.context, &update);
}

static const accel__rule_t rule = {.name = "custom",
                                   .uses =
                                       ACCEL__USES(ACCEL__LR) | ACCEL__USES(ACCEL__WEIGHT_DECAY),
                                   .begin = begin,
                                   .update = update};

static accel_status_t check(const accel_optimizer_options_t *options)
{
    static const char name[] = "accel_optimizer_create";

    if (!options->update)
        return accel__fail(ACCEL_ERR_INVALID, "%s: update is NULL", name);
    if (options->num_states < 0 || options->num_states > ACCEL_MAX_STATES)
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_states is %d; expected 0 to %d", name,
                           (int)options->num_states, ACCEL_MAX_STATES);
    if (options->granularity != ACCEL_ELEMENT && options->granularity != ACCEL_ROW &&
        options->granularity != ACCEL_TENSOR)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: granularity is %d; expected ACCEL_ELEMENT, ACCEL_ROW or "
                           "ACCEL_TENSOR",
                           name, (int)options->granularity);
    return ACCEL_OK;
}

accel_status_t accel_optimizer_create(accel_model_t *model,
                                      const accel_optimizer_options_t *options,
                                      accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_optimizer_create";
    accel_optimizer_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_optimizer_options_t");
    if (status == ACCEL_OK)
        status = check(&read);
    if (status == ACCEL_OK)
        status = accel__optimizer_create(
            model, &rule, name,
            (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-3),
                                        [ACCEL__WEIGHT_DECAY] =
                                            accel__or_default(read.weight_decay, 0)},
            optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->custom.update = read.update;
    (*optimizer)->custom.context = read.context;
    (*optimizer)->custom.granularity = read.granularity;
    (*optimizer)->custom.name = accel__strdup(read.name ? read.name : "custom");
    (*optimizer)->maximize = read.maximize;
    (*optimizer)->num_states = read.num_states;
    if ((*optimizer)->custom.name)
        return ACCEL_OK;
    accel_optimizer_destroy(*optimizer);
    *optimizer = NULL;
    return accel__fail_memory("an optimizer's name", 0);
}
