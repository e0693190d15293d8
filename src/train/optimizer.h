/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an optimizer: what every rule shares, and the slots of a rule. */
#ifndef ACCEL_TRAIN_OPTIMIZER_H
#define ACCEL_TRAIN_OPTIMIZER_H

#include "train/kernels.h"
#include "train/params.h"

/* What the rules are set by, together; each uses some of them. */
typedef enum accel__hyper {
    ACCEL__LR,
    ACCEL__WEIGHT_DECAY,
    ACCEL__BETA1,
    ACCEL__BETA2,
    ACCEL__EPS,
    ACCEL__MOMENTUM,
    ACCEL__DAMPENING,
    ACCEL__ALPHA,
    ACCEL__LR_DECAY,
    ACCEL__NUM_HYPERS
} accel__hyper_t;

#define ACCEL__USES(hyper) (1u << (hyper))

typedef struct accel__group {
    double hypers[ACCEL__NUM_HYPERS];
    bool own_lr, frozen;
    int64_t num_steps; /* updates of this group */
    int64_t t;         /* the update, 1, 2, ..., that `step` is for; 0: none yet */
    union {
        accel__adam_step_t adam;
        accel__sgd_step_t sgd;
        accel__adagrad_step_t adagrad;
        accel__rmsprop_step_t rmsprop;
        double grad_scale; /* of the program's own rule */
    } step;                /* scalars of the step under way */
} accel__group_t;

/* A piece of the parameters: values and gradients of one dtype, and the state beside them. */
typedef struct accel__piece {
    accel_dtype_t dtype;
    void *values;
    const void *gradients;
    void *states[ACCEL_MAX_STATES];
    size_t count;

    /* For a rule by callback: what the piece is a part of; NULL for others. */
    const accel__param_t *param;
    size_t first;
} accel__piece_t;

typedef struct accel__rule {
    const char *name;
    unsigned uses; /* ACCEL__USES(...) | ... */
    /* Scalars for the group's update number t = 1, 2, ... with gradients that still want
     * `grad_scale`. */
    void (*begin)(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                  double grad_scale);
    void (*update)(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece);
} accel__rule_t;

/* Elements of a run, end to end, that one group updates. */
typedef struct accel__segment {
    int run;
    size_t begin, end;
    int32_t group;
    int64_t index;               /* of its first parameter; there is one only, ... */
    const accel__param_t *param; /* ... and this is it, if the rule is a callback */
} accel__segment_t;

struct accel_optimizer {
    const accel__rule_t *rule;
    accel_model_t *model; /* borrowed */
    accel__group_t *groups;
    int32_t num_groups;
    int32_t *group_of; /* by parameter; NULL: all are in group 0 */
    int64_t num_steps;
    int64_t *param_steps; /* updates of each parameter, where any may be unused; else NULL */
    bool skipped;         /* the last step */

    /* Settings that all groups share. */
    bool maximize, amsgrad, nesterov, centered;
    double grad_scale; /* of the step under way */
    double initial_accumulator_value;
    struct {
        char *name;
        accel_update_fn update;
        void *context;
        accel_granularity_t granularity;
    } custom;

    /* State of the elements that `owner` of `num_owners` owns, by run; made before the first
     * step, and again at prepare. */
    int32_t num_states, owner, num_owners; /* num_owners 0: none yet */
    int num_runs;
    accel__slice_t *owned;                      /* by run */
    unsigned char *(*states)[ACCEL_MAX_STATES]; /* by run */
    accel__segment_t *segments;
    int64_t num_segments;
    size_t block;           /* elements averaged and updated in one go */
    unsigned char *average; /* room for a block of gradients */
    unsigned char *wide;    /* the same, converted or scaled */

    accel__gradient_state_t *state; /* NULL: not prepared */
    accel__link_t link;
};

/* Bytes that are averaged and updated in one go: gradients, values and state stay in the
 * first-level cache from the one to the other. */
#define ACCEL__BLOCK 8192

/* A new optimizer of that rule with one group; hypers that the rule does not use are 0. Values
 * out of range are an error that names `function`. */
accel_status_t accel__optimizer_create(accel_model_t *model, const accel__rule_t *rule,
                                       const char *function, const double hypers[ACCEL__NUM_HYPERS],
                                       accel_optimizer_t **optimizer);

/* 0 is `fallback`, ACCEL_ZERO is 0. */
double accel__or_default(double value, double fallback);

/* ---- groups (groups.c) ---- */

accel_status_t accel__group_check(const accel__rule_t *rule, const char *function,
                                  const accel__group_t *group);

/* All settings in words, to compare between ranks. */
void accel__groups_describe(const accel_optimizer_t *optimizer, accel__text_t *text);

static inline int32_t accel__group_of(const accel_optimizer_t *optimizer, int64_t param)
{
    return optimizer->group_of ? optimizer->group_of[param] : 0;
}

/* A number that differs if a group's rate or momentum does. */
uint64_t accel__groups_hash(const accel_optimizer_t *optimizer);

/* ---- state (optimizer_state.c) ---- */

/* State for what one owner updates. State that has begun to count cannot change owners: its other
 * parts lie with other ranks. */
accel_status_t accel__optimizer_make_states(accel_optimizer_t *optimizer, int32_t owner,
                                            int32_t num_owners);
void accel__optimizer_free_states(accel_optimizer_t *optimizer);

/* What `owner` updates of a run: by the layout's slices, moved to the bounds of rows or tensors
 * if the rule wants them whole. */
accel__slice_t accel__optimizer_slice(const accel_optimizer_t *optimizer, int run, int32_t owner,
                                      int32_t num_owners);

/* The state of a piece that begins at that element of the run. */
void accel__optimizer_states_at(const accel_optimizer_t *optimizer, int run, size_t first,
                                accel__piece_t *piece);

#endif
