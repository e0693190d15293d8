/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a schedule: options with the defaults filled in, and its curve. */
#ifndef ACCEL_TRAIN_SCHEDULE_H
#define ACCEL_TRAIN_SCHEDULE_H

#include "train/optimizer.h"

typedef struct accel__curve {
    const char *name;
    /* The rate of a group with that base at scheduler->state.step. */
    double (*rate)(const accel_scheduler_t *scheduler, double base, int32_t group);
    /* What is wrong with the options? Defaults are filled in. */
    accel_status_t (*check)(accel_scheduler_t *scheduler);
} accel__curve_t;

struct accel_scheduler {
    accel_optimizer_t *optimizer; /* borrowed */
    const accel__curve_t *curve;
    accel_scheduler_options_t options; /* texts are checked, and not used later */
    int64_t *milestones;
    bool cosine_anneal, cycles_momentum, is_max, is_absolute; /* what the texts say */
    double (*warm)(double progress);
    double (*decay)(double progress, double num_cycles);
    double last_lr; /* of group 0 */
    double *bases;  /* by group */
    int32_t num_groups;
    accel_scheduler_state_t state;
    accel__gradient_state_t *gradient_state; /* NULL: not prepared */
    accel__link_t link;
};

/* The curve of that name; NULL, with the error made, if there is none. */
const accel__curve_t *accel__curve_find(const char *name);

/* One step of "reduce_lr_on_plateau". */
void accel__plateau_step(accel_scheduler_t *scheduler, double metric);
bool accel__curve_wants_metric(const accel__curve_t *curve);

/* "one_cycle": the momentum of its step. */
double accel__one_cycle_momentum(const accel_scheduler_t *scheduler);
bool accel__curve_ends(const accel__curve_t *curve);

#endif
