/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers, fused with the reduction of gradients, and learning-rate schedules.
 *
 * accel_optimizer_step() is collective once prepared: each rank averages its own slice of
 * the gradients over the ranks, in rank order, and updates its slice of the parameters in
 * place. Optimizer state exists only at the owner of a slice. The update rules, defaults
 * and the order of operations are those of torch.optim (2.13). Unprepared, a model is
 * trained by this process alone. */
#ifndef ACCEL_OPTIMIZER_H
#define ACCEL_OPTIMIZER_H

#include <accel/model.h>
#include <accel/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_optimizer accel_optimizer_t;
typedef struct accel_scheduler accel_scheduler_t;

/* In all options 0 means the default and ACCEL_ZERO the number zero, and `maximize` turns the
 * gradient round before anything else. g is the average over the ranks, unscaled and clipped. */

/* torch.optim.AdamW:
 *   p *= 1 - lr * weight_decay
 *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
 *   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 * with amsgrad the largest v so far instead of v in the last line. */
typedef struct accel_adamw_options {
    size_t struct_size;
    double lr;           /* 0: 1e-3 */
    double beta1;        /* 0: 0.9; ACCEL_ZERO: 0 */
    double beta2;        /* 0: 0.999; ACCEL_ZERO: 0 */
    double eps;          /* 0: 1e-8; ACCEL_ZERO: 0 */
    double weight_decay; /* 0: 1e-2; ACCEL_ZERO: none */
    bool amsgrad, maximize;
} accel_adamw_options_t;

ACCEL__OPTIONS_INIT(accel_adamw_options)
#define ACCEL_ADAMW_OPTIONS(...) ACCEL__OPTIONS(accel_adamw_options_t, __VA_ARGS__)

/* torch.optim.Adam: as AdamW, but weight decay is a part of the gradient: g += weight_decay p. */
typedef struct accel_adam_options {
    size_t struct_size;
    double lr;    /* 0: 1e-3 */
    double beta1; /* 0: 0.9; ACCEL_ZERO: 0 */
    double beta2; /* 0: 0.999; ACCEL_ZERO: 0 */
    double eps;   /* 0: 1e-8; ACCEL_ZERO: 0 */
    double weight_decay;
    bool amsgrad, maximize;
} accel_adam_options_t;

ACCEL__OPTIONS_INIT(accel_adam_options)
#define ACCEL_ADAM_OPTIONS(...) ACCEL__OPTIONS(accel_adam_options_t, __VA_ARGS__)

/* torch.optim.SGD:
 *   g += weight_decay * p
 *   with momentum: b = momentum * b + (1 - dampening) g (b = g at the first step);
 *                  g = nesterov ? g + momentum * b : b
 *   p -= lr * g */
typedef struct accel_sgd_options {
    size_t struct_size;
    double lr; /* 0: 1e-3 */
    double momentum;
    double dampening;
    double weight_decay;
    bool nesterov; /* wants momentum > 0 and dampening 0 */
    bool maximize;
} accel_sgd_options_t;

ACCEL__OPTIONS_INIT(accel_sgd_options)
#define ACCEL_SGD_OPTIONS(...) ACCEL__OPTIONS(accel_sgd_options_t, __VA_ARGS__)

/* torch.optim.Adagrad:
 *   g += weight_decay * p;  s += g²  (s begins as initial_accumulator_value)
 *   p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps) */
typedef struct accel_adagrad_options {
    size_t struct_size;
    double lr; /* 0: 1e-2 */
    double lr_decay;
    double weight_decay;
    double initial_accumulator_value;
    double eps; /* 0: 1e-10; ACCEL_ZERO: 0 */
    bool maximize;
} accel_adagrad_options_t;

ACCEL__OPTIONS_INIT(accel_adagrad_options)
#define ACCEL_ADAGRAD_OPTIONS(...) ACCEL__OPTIONS(accel_adagrad_options_t, __VA_ARGS__)

/* torch.optim.RMSprop:
 *   g += weight_decay * p;  v = alpha v + (1 - alpha) g²
 *   d = sqrt(v) + eps; centered: sqrt(v - a²) + eps with a = alpha a + (1 - alpha) g
 *   with momentum: b = momentum * b + g / d;  p -= lr * b; else p -= lr * g / d */
typedef struct accel_rmsprop_options {
    size_t struct_size;
    double lr;    /* 0: 1e-2 */
    double alpha; /* 0: 0.99; ACCEL_ZERO: 0 */
    double eps;   /* 0: 1e-8; ACCEL_ZERO: 0 */
    double weight_decay;
    double momentum;
    bool centered, maximize;
} accel_rmsprop_options_t;

ACCEL__OPTIONS_INIT(accel_rmsprop_options)
#define ACCEL_RMSPROP_OPTIONS(...) ACCEL__OPTIONS(accel_rmsprop_options_t, __VA_ARGS__)

/* An optimizer over all trainable parameters of `model`, which it borrows: destroy it
 * before the model. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_adamw_create(accel_model_t *model,
                                                            const accel_adamw_options_t *options,
                                                            accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_adam_create(accel_model_t *model,
                                                           const accel_adam_options_t *options,
                                                           accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_sgd_create(accel_model_t *model,
                                                          const accel_sgd_options_t *options,
                                                          accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_adagrad_create(accel_model_t *model, const accel_adagrad_options_t *options,
                     accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_rmsprop_create(accel_model_t *model, const accel_rmsprop_options_t *options,
                     accel_optimizer_t **optimizer);
ACCEL_API void accel_optimizer_destroy(accel_optimizer_t *optimizer);

/* ---- a rule of the program's own ---- */

#define ACCEL_MAX_STATES 4

/* A piece of a parameter that this rank updates. All arrays are of `dtype`, float32 or
 * float64 (a low-precision parameter's master), and have `count` elements. */
typedef struct accel_update {
    const char *name;
    accel_dtype_t dtype;
    int32_t ndim;
    const int64_t *shape;    /* of the whole parameter */
    int64_t first, count;    /* the piece: elements first .. first + count - 1, row-major */
    void *values;            /* to be updated in place */
    const void *gradients;   /* averaged over the ranks, unscaled, clipped */
    void *states[ACCEL_MAX_STATES]; /* the rule's own, zero at first; kept from step to step */
    double lr, weight_decay; /* of the parameter's group */
    int32_t group;
    int64_t step; /* 1, 2, ... */
} accel_update_t;

/* Called on every rank for its own pieces only, on the thread that steps. It cannot fail, and
 * must give the same values for the same input: nothing but `update` and settings that are the
 * same on all ranks may decide. */
typedef void (*accel_update_fn)(void *context, const accel_update_t *update);

/* What a piece is never less than. */
typedef enum accel_granularity {
    ACCEL_ELEMENT = 0, /* any number of elements */
    ACCEL_ROW = 1,     /* whole rows: all elements of an index of the first dimension; a parameter
                          of fewer than two dimensions is one row */
    ACCEL_TENSOR = 2   /* the whole parameter, on one rank */
} accel_granularity_t;

typedef struct accel_optimizer_options {
    size_t struct_size;
    const char *name; /* for messages; NULL: "custom" */
    accel_update_fn update;
    void *context; /* for `update`; borrowed */
    accel_granularity_t granularity;
    int32_t num_states; /* arrays of state, 0 to ACCEL_MAX_STATES */
    double lr;          /* 0: 1e-3 */
    double weight_decay;
    bool maximize; /* hand over -gradient */
} accel_optimizer_options_t;

ACCEL__OPTIONS_INIT(accel_optimizer_options)
#define ACCEL_OPTIMIZER_OPTIONS(...) ACCEL__OPTIONS(accel_optimizer_options_t, __VA_ARGS__)

ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_create(
    accel_model_t *model, const accel_optimizer_options_t *options, accel_optimizer_t **optimizer);

/* ---- groups of parameters ---- */

/* Does a parameter belong to the group? Must say the same on every rank. */
typedef bool (*accel_select_fn)(void *context, const accel_parameter_t *parameter);

/* Which trainable parameters, by one or several of `pattern`, `names`, `select` and `ndim_below`
 * (all that are given must hold), and what is different for them. An option left at 0 is that
 * of the optimizer. */
typedef struct accel_group_options {
    size_t struct_size;
    const char *pattern;      /* a shell's: "*.bias", "layers.[0-3].*" (fnmatch) */
    const char *const *names; /* these, ended by NULL; each must be a trainable parameter */
    accel_select_fn select;
    void *context;      /* for `select` */
    int32_t ndim_below; /* those of fewer dimensions; 2: biases and norms */

    double lr, weight_decay, beta1, beta2, eps, momentum, dampening, alpha, lr_decay;
    bool frozen; /* not updated: neither values nor state change, gradients are ignored */
} accel_group_options_t;

ACCEL__OPTIONS_INIT(accel_group_options)
#define ACCEL_GROUP_OPTIONS(...) ACCEL__OPTIONS(accel_group_options_t, __VA_ARGS__)

/* Make group 1, 2, ... of the parameters that no earlier call has taken; the rest stay in
 * group 0, the optimizer's own. No weight decay for biases and norms:
 *
 *     accel_optimizer_add_group(optimizer,
 *         ACCEL_GROUP_OPTIONS(.ndim_below = 2, .weight_decay = ACCEL_ZERO), NULL);
 *
 * An option that the optimizer does not have, or a group without a parameter, is an error.
 * *group (may be NULL) is its number. Every rank alike; before prepare and the first step. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_add_group(
    accel_optimizer_t *optimizer, const accel_group_options_t *options, int32_t *group);

/* With group 0: at least 1. */
ACCEL_API int32_t accel_optimizer_num_groups(const accel_optimizer_t *optimizer);

/* Stop or resume the updates of a group. On every rank, between steps. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_optimizer_set_frozen(accel_optimizer_t *optimizer, int32_t group, bool frozen);

/* ---- the step ---- */

/* Reduce and update. Collective when prepared; does nothing off a sync step. Under fp16 a
 * step whose gradients are not all finite is left out on every rank. A failed peer during the
 * update leaves the parameters torn: the model then refuses further steps. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_step(accel_optimizer_t *optimizer);

/* Clear this rank's gradients; does nothing off a sync step. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_zero_grad(accel_optimizer_t *optimizer);

/* Was the last step left out, because gradients were not finite under fp16? */
ACCEL_API bool accel_optimizer_step_was_skipped(const accel_optimizer_t *optimizer);

/* The learning rate of the next step. Setting it: of group 0, and of groups that have none of
 * their own. Every rank the same, or the step is refused. Must be >= 0. */
ACCEL_API double accel_optimizer_get_lr(const accel_optimizer_t *optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_set_lr(accel_optimizer_t *optimizer,
                                                                double lr);

/* The learning rate of one group; setting it makes it the group's own. A group that is not
 * there has rate 0. */
ACCEL_API double accel_optimizer_get_group_lr(const accel_optimizer_t *optimizer, int32_t group);
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_optimizer_set_group_lr(accel_optimizer_t *optimizer, int32_t group, double lr);

/* Number of updates made: skipped steps do not count. */
ACCEL_API int64_t accel_optimizer_num_steps(const accel_optimizer_t *optimizer);

/* ---- schedules ---- */

/* transformers.get_scheduler: the learning rate is that of the optimizer at creation times
 *   "constant"              1
 *   "constant_with_warmup"  min(1, s / num_warmup_steps)
 *   "linear"                warm-up, then (T - s) / (T - W) down to 0
 *   "cosine"                warm-up, then max(0, (1 + cos(2π num_cycles (s - W)/(T - W))) / 2)
 * with s the number of scheduler steps so far, W = num_warmup_steps, T =
 * num_training_steps; during warm-up s / max(1, W). */
typedef struct accel_scheduler_options {
    size_t struct_size;
    const char *name; /* NULL: "cosine" */
    int64_t num_warmup_steps;
    int64_t num_training_steps; /* required by "linear" and "cosine" */
    double num_cycles;          /* of "cosine"; 0: 0.5 */
} accel_scheduler_options_t;

ACCEL__OPTIONS_INIT(accel_scheduler_options)
#define ACCEL_SCHEDULER_OPTIONS(...) ACCEL__OPTIONS(accel_scheduler_options_t, __VA_ARGS__)

/* Borrows `optimizer`, and sets its learning rate to the schedule's first value. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_scheduler_create(accel_optimizer_t *optimizer, const accel_scheduler_options_t *options,
                       accel_scheduler_t **scheduler);
ACCEL_API void accel_scheduler_destroy(accel_scheduler_t *scheduler);

/* Advance by one optimizer step and set the learning rate. Does nothing off a sync step.
 * Unlike upstream, the schedule counts optimizer steps, not steps × processes: size it by
 * the number of steps the loop really makes. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_scheduler_step(accel_scheduler_t *scheduler);

/* The learning rate last set. */
ACCEL_API double accel_scheduler_get_last_lr(const accel_scheduler_t *scheduler);

#ifdef __cplusplus
}
#endif

#endif
