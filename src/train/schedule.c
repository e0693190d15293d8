/* SPDX-License-Identifier: Apache-2.0 */
/* Learning-rate schedules: their life, and when they step. The curves are in curves.c. */
#include "train/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/join.h"

static const char function[] = "accel_scheduler_create";

/* The rates of the step it is at. */
static accel_status_t apply(accel_scheduler_t *scheduler)
{
    accel_optimizer_t *optimizer = scheduler->optimizer;

    if (optimizer->num_groups != scheduler->num_groups)
        return accel__fail(ACCEL_ERR_STATE,
                           "a schedule was created for %d groups of parameters, and the optimizer "
                           "has %d: add groups first",
                           (int)scheduler->num_groups, (int)optimizer->num_groups);
    for (int32_t g = 0; g < scheduler->num_groups; g++) {
        double rate = scheduler->curve->rate(scheduler, scheduler->bases[g], g);
        double *hypers = optimizer->groups[g].hypers;
        bool by_beta = optimizer->rule->uses & ACCEL__USES(ACCEL__BETA1);

        if (!(rate >= 0) || isinf(rate))
            return accel__fail(ACCEL_ERR_INVALID,
                               "schedule '%s': the learning rate of step %lld is %g; expected a "
                               "finite number >= 0",
                               scheduler->curve->name, (long long)scheduler->state.step, rate);
        hypers[ACCEL__LR] = rate;
        if (g == 0)
            scheduler->last_lr = rate;
        if (scheduler->cycles_momentum)
            hypers[by_beta ? ACCEL__BETA1 : ACCEL__MOMENTUM] = accel__one_cycle_momentum(scheduler);
    }
    return ACCEL_OK;
}

static accel_status_t check_common(accel_scheduler_t *scheduler)
{
    accel_scheduler_options_t *options = &scheduler->options;
    bool restarts = strcmp(scheduler->curve->name, "cosine_with_restarts") == 0;

    if (options->num_warmup_steps < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_warmup_steps is %lld; expected >= 0",
                           function, (long long)options->num_warmup_steps);
    if (options->num_training_steps < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_training_steps is %lld; expected >= 0",
                           function, (long long)options->num_training_steps);
    options->num_cycles = accel__or_default(options->num_cycles, restarts ? 1 : 0.5);
    if (!(options->num_cycles >= 0) || isinf(options->num_cycles))
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_cycles is %g; expected a number >= 0",
                           function, options->num_cycles);
    return ACCEL_OK;
}

static accel_status_t allocate(accel_scheduler_t *scheduler)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    size_t groups = (size_t)scheduler->num_groups * sizeof(*scheduler->bases);
    size_t milestones = options->milestones && options->num_milestones > 0
                            ? (size_t)options->num_milestones * sizeof(*scheduler->milestones)
                            : 0;

    scheduler->bases = malloc(groups);
    scheduler->milestones = milestones ? malloc(milestones) : NULL;
    if (!scheduler->bases || (milestones && !scheduler->milestones))
        return accel__fail_memory("a schedule's rates", groups + milestones);
    if (milestones)
        memcpy(scheduler->milestones, options->milestones, milestones);
    for (int32_t g = 0; g < scheduler->num_groups; g++)
        scheduler->bases[g] = accel_optimizer_get_group_lr(scheduler->optimizer, g);
    return ACCEL_OK;
}

accel_status_t accel_scheduler_create(accel_optimizer_t *optimizer,
                                      const accel_scheduler_options_t *options,
                                      accel_scheduler_t **scheduler)
{
    accel_scheduler_options_t read = {0};
    const accel__curve_t *curve;
    accel_scheduler_t *made;
    accel_status_t status;

    if (!scheduler || !optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is NULL", function,
                           scheduler ? "optimizer" : "scheduler");
    *scheduler = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_scheduler_options_t");
    if (status != ACCEL_OK)
        return status;
    curve = accel__curve_find(read.name ? read.name : "cosine");
    if (!curve)
        return ACCEL_ERR_INVALID;
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a scheduler", sizeof(*made));
    made->optimizer = optimizer;
    made->num_groups = optimizer->num_groups;
    made->curve = curve;
    made->options = read;
    status = allocate(made);
    if (status == ACCEL_OK)
        status = check_common(made);
    if (status == ACCEL_OK)
        status = curve->check(made);
    if (status == ACCEL_OK)
        status = apply(made);
    if (status != ACCEL_OK) {
        accel_scheduler_destroy(made);
        return status;
    }
    *scheduler = made;
    return ACCEL_OK;
}

void accel_scheduler_destroy(accel_scheduler_t *scheduler)
{
    if (!scheduler)
        return;
    accel__link_remove(&scheduler->link);
    free(scheduler->bases);
    free(scheduler->milestones);
    free(scheduler);
}

static void forget_state(void *object)
{
    accel_scheduler_t *scheduler = object;

    accel__link_remove(&scheduler->link);
    scheduler->gradient_state = NULL;
}

accel_status_t accel__scheduler_prepare(accel_scheduler_t *scheduler,
                                        accel__gradient_state_t *state)
{
    if (!scheduler)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: scheduler is NULL");
    if (scheduler->gradient_state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the scheduler is prepared already");
    scheduler->gradient_state = state;
    accel__link_insert(&state->prepared, &scheduler->link, forget_state, scheduler);
    return ACCEL_OK;
}

/* How many of its own steps go with this one of the loop's: Accelerate's rules. */
static int32_t count_steps(const accel_scheduler_t *scheduler)
{
    const accel__gradient_state_t *state = scheduler->gradient_state;

    if (!state || state->schedule_every_call)
        return 1;
    if (!accel__model_syncs(state, scheduler->optimizer->model) || scheduler->optimizer->skipped)
        return 0;
    return state->schedule_steps;
}

static bool has_ended(const accel_scheduler_t *scheduler)
{
    return accel__curve_ends(scheduler->curve) &&
           scheduler->state.step >= scheduler->options.num_training_steps;
}

accel_status_t accel_scheduler_step(accel_scheduler_t *scheduler)
{
    int32_t steps;
    accel_status_t status;

    if (!scheduler)
        return accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_step: scheduler is NULL");
    if (accel__curve_wants_metric(scheduler->curve))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_scheduler_step: '%s' wants a metric; call "
                           "accel_scheduler_step_metric",
                           scheduler->curve->name);
    steps = count_steps(scheduler);
    if (steps == 0)
        return ACCEL_OK;
    status = accel__join_announce(scheduler->gradient_state, ACCEL__JOIN_SCHEDULE, &scheduler->link,
                                  0, 0);
    if (status != ACCEL_OK)
        return status;
    for (; steps > 0 && !has_ended(scheduler); steps--)
        scheduler->state.step++;
    return apply(scheduler);
}

accel_status_t accel_scheduler_step_metric(accel_scheduler_t *scheduler, double metric)
{
    int32_t steps;
    accel_status_t status;

    if (!scheduler)
        return accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_step_metric: scheduler is NULL");
    if (!accel__curve_wants_metric(scheduler->curve))
        return accel_scheduler_step(scheduler); /* as in torch, where others ignore it */
    steps = count_steps(scheduler);
    if (steps == 0)
        return ACCEL_OK;
    status = accel__join_announce(scheduler->gradient_state, ACCEL__JOIN_SCHEDULE, &scheduler->link,
                                  metric, 0);
    if (status != ACCEL_OK)
        return status;
    for (int32_t i = 0; i < steps; i++) {
        scheduler->state.step++;
        accel__plateau_step(scheduler, metric);
    }
    return apply(scheduler);
}

double accel_scheduler_get_last_lr(const accel_scheduler_t *scheduler)
{
    return scheduler ? scheduler->last_lr : 0;
}

accel_scheduler_state_t accel_scheduler_get_state(const accel_scheduler_t *scheduler)
{
    return scheduler ? scheduler->state : (accel_scheduler_state_t){0};
}

accel_status_t accel_scheduler_set_state(accel_scheduler_t *scheduler,
                                         const accel_scheduler_state_t *state)
{
    static const char name[] = "accel_scheduler_set_state";

    if (!scheduler || !state)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is NULL", name,
                           scheduler ? "state" : "scheduler");
    if (state->step < 0 || state->num_bad_steps < 0 || state->cooldown_counter < 0 ||
        state->num_reductions < 0 || isnan(state->best))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: step %lld, num_bad_steps %lld, cooldown_counter %lld, "
                           "num_reductions %lld, best %g; expected counts >= 0 and a number",
                           name, (long long)state->step, (long long)state->num_bad_steps,
                           (long long)state->cooldown_counter, (long long)state->num_reductions,
                           state->best);
    scheduler->state = *state;
    return apply(scheduler);
}
