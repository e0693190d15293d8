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
ACCEL_API ACCEL_NODISCARD accel_status_t accel_adagrad_create(
    accel_model_t *model, const accel_adagrad_options_t *options, accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_rmsprop_create(
    accel_model_t *model, const accel_rmsprop_options_t *options, accel_optimizer_t **optimizer);
ACCEL_API void accel_optimizer_destroy(accel_optimizer_t *optimizer);

/* ---- a rule of the program's own ---- */

#define ACCEL_MAX_STATES 4

/* A piece of a parameter that this rank updates. All arrays are of `dtype`, float32 or
 * float64 (a low-precision parameter's master), and have `count` elements. */
typedef struct accel_update {
    const char *name;
    accel_dtype_t dtype;
    int32_t ndim;
    const int64_t *shape;           /* of the whole parameter */
    int64_t first, count;           /* the piece: elements first .. first + count - 1, row-major */
    void *values;                   /* to be updated in place */
    const void *gradients;          /* averaged over the ranks, unscaled, clipped */
    void *states[ACCEL_MAX_STATES]; /* the rule's own, zero at first; kept from step to step */
    double lr, weight_decay;        /* of the parameter's group */
    int32_t group;
    int64_t step; /* 1, 2, ...: with find_unused_parameters, the parameter's own updates */
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
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_set_frozen(accel_optimizer_t *optimizer,
                                                                    int32_t group, bool frozen);

/* ---- the step ---- */

/* Reduce and update. Collective when prepared; does nothing off a sync step. Under fp16 a
 * step whose gradients are not all finite is left out on every rank. Parameters that no rank used
 * are left out if the model's find_unused_parameters says so. A failed peer during the
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
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_set_group_lr(accel_optimizer_t *optimizer,
                                                                      int32_t group, double lr);

/* Number of updates made: skipped steps do not count. The t of the rules above is a parameter's own
 * with find_unused_parameters: steps that did not use it do not count for it. */
ACCEL_API int64_t accel_optimizer_num_steps(const accel_optimizer_t *optimizer);

/* ---- schedules ---- */

/* A schedule sets the learning rate of each group from the rate that the group had when the
 * schedule was created, the base. With s the number of scheduler steps so far, W =
 * num_warmup_steps and T = num_training_steps, the rate is base times
 *
 * of transformers.get_scheduler (5.23):
 *   "constant"              1
 *   "constant_with_warmup"  min(1, s / W)
 *   "linear"                warm-up, then (T - s) / (T - W) down to 0
 *   "cosine"                warm-up, then max(0, (1 + cos(2π num_cycles x)) / 2)
 *   "cosine_with_restarts"  warm-up, then (1 + cos(π ((num_cycles x) mod 1))) / 2
 *   "cosine_with_min_lr"    as "cosine", but to m instead of 0
 *   "cosine_warmup_with_min_lr"  the same, with x one step ahead; a warm-up of (s + 1) / W, or
 *                           with warmup_lr_rate r of r + (1 - r) s / (W - 1)
 *   "polynomial"            warm-up, then (1 - x)^power from the base to lr_end
 *   "inverse_sqrt"          warm-up, then 1 / sqrt((s - W + timescale) / timescale)
 *   "warmup_stable_decay"   warm-up of warmup_type from min_lr_ratio, 1 for num_stable_steps,
 *                           then a decay of decay_type over num_decay_steps to min_lr_ratio
 *   "reduce_lr_on_plateau"  as torch's ReduceLROnPlateau
 * of torch.optim.lr_scheduler (2.13):
 *   "step"                  gamma ^ floor(s / step_size)                          StepLR
 *   "multi_step"            gamma ^ (number of milestones <= s)                   MultiStepLR
 *   "exponential"           gamma ^ s                                             ExponentialLR
 *   "one_cycle"             see below                                             OneCycleLR
 *   "lambda"                lambda(context, s, group)                             LambdaLR
 *
 * where warm-up is s / max(1, W) while s < W, x = (s - W) / max(1, T - W), and m =
 * min_lr_rate, or min_lr / the base of group 0. */

/* What "lambda" multiplies the base of a group by at step 0, 1, ...; a finite number >= 0, the
 * same on every rank. */
typedef double (*accel_lr_lambda_fn)(void *context, int64_t step, int32_t group);

/* In all of them 0 means the default, ACCEL_ZERO the number zero, and -1 a count of zero. */
typedef struct accel_scheduler_options {
    size_t struct_size;
    const char *name; /* NULL: "cosine" */
    int64_t num_warmup_steps;
    int64_t num_training_steps; /* required by curves with a T, and "one_cycle" */
    double num_cycles;          /* 0: 0.5; of "cosine_with_restarts" 1 */

    double lr_end, power;                 /* "polynomial": 0: 1e-7, 1 */
    int64_t timescale;                    /* "inverse_sqrt": 0: W, or 10000 without warm-up */
    double min_lr, min_lr_rate;           /* "cosine…min_lr": exactly one of them; min_lr is
                                             of "reduce_lr_on_plateau", too: 0: none */
    double warmup_lr_rate;                /* "cosine_warmup_with_min_lr" */
    int64_t num_stable_steps;             /* "warmup_stable_decay": 0: T - W - num_decay_steps */
    int64_t num_decay_steps;              /* required there */
    const char *warmup_type, *decay_type; /* "linear", "cosine", "1-sqrt"; NULL: "linear" for
                                             the warm-up, "cosine" for the decay */
    double min_lr_ratio;

    int64_t step_size;         /* "step": required */
    double gamma;              /* "step", "multi_step": 0: 0.1; "exponential": required */
    const int64_t *milestones; /* "multi_step", in any order; copied */
    int32_t num_milestones;

    /* "one_cycle" over T steps: from max_lr / div_factor up to max_lr in pct_start of them, then
     * down to a final_div_factor-th of the start. With cycle_momentum the momentum, or beta1, goes
     * the other way: it is set, whatever the optimizer began with. */
    double max_lr;                       /* 0: each group's rate */
    double pct_start;                    /* 0: 0.3 */
    const char *anneal_strategy;         /* "cos" or "linear"; NULL: "cos" */
    accel_tristate_t cycle_momentum;     /* default: on */
    double base_momentum, max_momentum;  /* 0: 0.85, 0.95 */
    double div_factor, final_div_factor; /* 0: 25, 1e4 */
    bool three_phase;                    /* down to the start symmetrically, then further down */

    /* "reduce_lr_on_plateau": times `factor`, not below min_lr, after more than `patience` steps
     * in a row without a better metric; then `cooldown` steps do not count. */
    const char *mode;           /* which metric is better: "min" or "max"; NULL: "min" */
    double factor;              /* 0: 0.1; < 1 */
    int64_t patience, cooldown; /* 0: 10, 0 */
    double threshold;           /* how much better: 0: 1e-4 */
    const char *threshold_mode; /* "rel" or "abs"; NULL: "rel" */
    double eps;                 /* a smaller change of the rate is not made: 0: 1e-8 */

    accel_lr_lambda_fn lambda;
    void *context;
} accel_scheduler_options_t;

ACCEL__OPTIONS_INIT(accel_scheduler_options)
#define ACCEL_SCHEDULER_OPTIONS(...) ACCEL__OPTIONS(accel_scheduler_options_t, __VA_ARGS__)

/* Borrows `optimizer`, and sets its learning rates to the schedule's first values. The optimizer
 * has all its groups by then. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_scheduler_create(accel_optimizer_t *optimizer, const accel_scheduler_options_t *options,
                       accel_scheduler_t **scheduler);
ACCEL_API void accel_scheduler_destroy(accel_scheduler_t *scheduler);

/* Advance by one optimizer step and set the learning rate. Does nothing off a sync step, and
 * after a step that was skipped. Unlike upstream, the schedule counts optimizer steps, not
 * steps × processes: size it by the number of steps the loop really makes, or see
 * scale_scheduler_steps in accel_options_t. "one_cycle" stops at its end. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_scheduler_step(accel_scheduler_t *scheduler);

/* The same for "reduce_lr_on_plateau", which wants a metric, the same on every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_scheduler_step_metric(accel_scheduler_t *scheduler,
                                                                     double metric);

/* The learning rate last set, of group 0. */
ACCEL_API double accel_scheduler_get_last_lr(const accel_scheduler_t *scheduler);

/* How far a schedule has come, for a checkpoint: with the same options and base rates all that
 * follows is the same. */
typedef struct accel_scheduler_state {
    int64_t step;
    double best; /* "reduce_lr_on_plateau" */
    int64_t num_bad_steps, cooldown_counter, num_reductions;
} accel_scheduler_state_t;

ACCEL_API accel_scheduler_state_t accel_scheduler_get_state(const accel_scheduler_t *scheduler);

/* Also sets the learning rates. Every rank alike. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_scheduler_set_state(accel_scheduler_t *scheduler, const accel_scheduler_state_t *state);

#ifdef __cplusplus
}
#endif

#endif
