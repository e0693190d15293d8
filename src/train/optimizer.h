/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an optimizer: what every rule shares, and the slots of a rule. */
#ifndef ACCEL_TRAIN_OPTIMIZER_H
#define ACCEL_TRAIN_OPTIMIZER_H

#include "train/kernels.h"
#include "train/params.h"

/* The most state arrays a rule keeps for each element. */
#define ACCEL__MAX_STATES 2

/* A piece of the parameters: values and gradients of one dtype, and the state beside them. */
typedef struct accel__piece {
    accel_dtype_t dtype;
    void *values;
    const void *gradients;
    void *states[ACCEL__MAX_STATES];
    size_t count;
} accel__piece_t;

typedef struct accel__rule {
    const char *name;
    /* Scalars for update number t = 1, 2, ... with gradients that still want `grad_scale`. */
    void (*begin)(accel_optimizer_t *optimizer, int64_t t, double grad_scale);
    void (*update)(const accel_optimizer_t *optimizer, const accel__piece_t *piece);
    /* The settings in words, to compare between ranks. */
    void (*describe)(const accel_optimizer_t *optimizer, accel__text_t *text);
} accel__rule_t;

struct accel_optimizer {
    const accel__rule_t *rule;
    accel_model_t *model; /* borrowed */
    double lr;
    int64_t num_steps;
    union {
        accel_adamw_options_t adamw;
        accel_sgd_options_t sgd;
    } options; /* with the defaults filled in */
    union {
        accel__adamw_step_t adamw;
        accel__sgd_step_t sgd;
    } step;

    /* State of the elements that `owner` of `num_owners` owns, by run; made before the first
     * step, and again at prepare. */
    int32_t num_states, owner, num_owners; /* num_owners 0: none yet */
    unsigned char *states[ACCEL__NUM_RUNS][ACCEL__MAX_STATES];
    unsigned char *average; /* ACCEL__BLOCK bytes */

    accel__gradient_state_t *state; /* NULL: not prepared */
    accel__link_t link;
};

/* Bytes that are averaged and updated in one go: gradients, values and state stay in the
 * first-level cache from the one to the other. */
#define ACCEL__BLOCK 8192

/* A new optimizer of that rule, without options. `function` is for the message. */
accel_status_t accel__optimizer_create(accel_model_t *model, const accel__rule_t *rule,
                                       accel_optimizer_t **optimizer);

/* An option that must be a number in [min, max). */
accel_status_t accel__check_option(const char *function, const char *name, double value, double min,
                                   double max);

#endif
