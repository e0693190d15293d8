/* SPDX-License-Identifier: Apache-2.0 */
/* Learning-rate schedules: a factor on the optimizer's rate, by the number of steps. */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct accel_scheduler {
    accel_optimizer_t *optimizer; /* borrowed */
    double base_lr, last_lr;
    double (*factor)(const accel_scheduler_t *scheduler, double step);
    int64_t warmup, total, step;
    double num_cycles;
    accel__gradient_state_t *state; /* NULL: not prepared */
    accel__link_t link;
};

static double warmup(const accel_scheduler_t *scheduler, double step)
{
    return step / fmax(1, (double)scheduler->warmup);
}

/* Steps after the warm-up, as a part of all such steps; beyond 1 when the loop goes on. */
static double progress(const accel_scheduler_t *scheduler, double step)
{
    return (step - (double)scheduler->warmup) /
           fmax(1, (double)(scheduler->total - scheduler->warmup));
}

static double constant(const accel_scheduler_t *scheduler, double step)
{
    (void)scheduler, (void)step;
    return 1;
}

static double constant_with_warmup(const accel_scheduler_t *scheduler, double step)
{
    return step < (double)scheduler->warmup ? warmup(scheduler, step) : 1;
}

static double linear(const accel_scheduler_t *scheduler, double step)
{
    if (step < (double)scheduler->warmup)
        return warmup(scheduler, step);
    return fmax(0, ((double)scheduler->total - step) /
                       fmax(1, (double)(scheduler->total - scheduler->warmup)));
}

static double cosine(const accel_scheduler_t *scheduler, double step)
{
    const double pi = 3.14159265358979323846;

    if (step < (double)scheduler->warmup)
        return warmup(scheduler, step);
    return fmax(0, 0.5 * (1 + cos(pi * scheduler->num_cycles * 2 * progress(scheduler, step))));
}

typedef struct schedule {
    const char *name;
    double (*factor)(const accel_scheduler_t *scheduler, double step);
    bool wants_total;
} schedule_t;

static const schedule_t schedules[] = {{"constant", constant, false},
                                       {"constant_with_warmup", constant_with_warmup, false},
                                       {"linear", linear, true},
                                       {"cosine", cosine, true}};
#define NUM_SCHEDULES (sizeof(schedules) / sizeof(*schedules))

/* NULL, with the error made, if there is none of that name. */
static const schedule_t *find_schedule(const char *name)
{
    const char *names[NUM_SCHEDULES], *nearest;

    for (size_t i = 0; i < NUM_SCHEDULES; i++) {
        names[i] = schedules[i].name;
        if (strcmp(name, names[i]) == 0)
            return &schedules[i];
    }
    nearest = accel__nearest(name, names, NUM_SCHEDULES);
    accel__fail(ACCEL_ERR_INVALID,
                "accel_scheduler_create: there is no schedule '%s'%s%s%s; expected constant, "
                "constant_with_warmup, linear or cosine",
                name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                nearest ? "'?" : "");
    return NULL;
}

static accel_status_t check_options(const accel_scheduler_options_t *options,
                                    const schedule_t *schedule)
{
    static const char name[] = "accel_scheduler_create";

    if (options->num_warmup_steps < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_warmup_steps is %lld; expected >= 0", name,
                           (long long)options->num_warmup_steps);
    if (options->num_training_steps < 0 ||
        (schedule->wants_total && options->num_training_steps == 0))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: num_training_steps is %lld; '%s' wants the number of optimizer "
                           "steps",
                           name, (long long)options->num_training_steps, schedule->name);
    if (!(options->num_cycles >= 0) || isinf(options->num_cycles))
        return accel__fail(ACCEL_ERR_INVALID, "%s: num_cycles is %g; expected a number >= 0", name,
                           options->num_cycles);
    return ACCEL_OK;
}

static accel_status_t apply(accel_scheduler_t *scheduler)
{
    double lr = scheduler->base_lr * scheduler->factor(scheduler, (double)scheduler->step);
    accel_status_t status = accel_optimizer_set_lr(scheduler->optimizer, lr);

    if (status == ACCEL_OK)
        scheduler->last_lr = lr;
    return status;
}

accel_status_t accel_scheduler_create(accel_optimizer_t *optimizer,
                                      const accel_scheduler_options_t *options,
                                      accel_scheduler_t **scheduler)
{
    accel_scheduler_options_t read = {0};
    const schedule_t *schedule;
    accel_status_t status;
    accel_scheduler_t *made;

    if (!scheduler || !optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_create: %s is NULL",
                           scheduler ? "optimizer" : "scheduler");
    *scheduler = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_scheduler_options_t");
    if (status != ACCEL_OK)
        return status;
    schedule = find_schedule(read.name ? read.name : "cosine");
    if (!schedule)
        return ACCEL_ERR_INVALID;
    status = check_options(&read, schedule);
    if (status != ACCEL_OK)
        return status;
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a scheduler", sizeof(*made));
    made->optimizer = optimizer;
    made->base_lr = accel_optimizer_get_lr(optimizer);
    made->factor = schedule->factor;
    made->warmup = read.num_warmup_steps;
    made->total = read.num_training_steps;
    made->num_cycles = read.num_cycles == 0 ? 0.5 : read.num_cycles;
    status = apply(made);
    if (status != ACCEL_OK) {
        free(made);
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
    free(scheduler);
}

static void forget_state(void *object)
{
    accel_scheduler_t *scheduler = object;

    accel__link_remove(&scheduler->link);
    scheduler->state = NULL;
}

accel_status_t accel__scheduler_prepare(accel_scheduler_t *scheduler,
                                        accel__gradient_state_t *state)
{
    if (!scheduler)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: scheduler is NULL");
    if (scheduler->state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the scheduler is prepared already");
    scheduler->state = state;
    accel__link_insert(&state->prepared, &scheduler->link, forget_state, scheduler);
    return ACCEL_OK;
}

accel_status_t accel_scheduler_step(accel_scheduler_t *scheduler)
{
    if (!scheduler)
        return accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_step: scheduler is NULL");
    if (scheduler->state && !accel__is_sync_step(scheduler->state))
        return ACCEL_OK;
    scheduler->step++;
    return apply(scheduler);
}

double accel_scheduler_get_last_lr(const accel_scheduler_t *scheduler)
{
    return scheduler ? scheduler->last_lr : 0;
}
