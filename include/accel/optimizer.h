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

/* torch.optim.AdamW:
 *   p *= 1 - lr * weight_decay
 *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²
 *   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
typedef struct accel_adamw_options {
    size_t struct_size;
    double lr;           /* 0: 1e-3 */
    double beta1;        /* 0: 0.9; ACCEL_ZERO: 0 */
    double beta2;        /* 0: 0.999; ACCEL_ZERO: 0 */
    double eps;          /* 0: 1e-8; ACCEL_ZERO: 0 */
    double weight_decay; /* 0: 1e-2; ACCEL_ZERO: none */
} accel_adamw_options_t;

ACCEL__OPTIONS_INIT(accel_adamw_options)
#define ACCEL_ADAMW_OPTIONS(...) ACCEL__OPTIONS(accel_adamw_options_t, __VA_ARGS__)

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
} accel_sgd_options_t;

ACCEL__OPTIONS_INIT(accel_sgd_options)
#define ACCEL_SGD_OPTIONS(...) ACCEL__OPTIONS(accel_sgd_options_t, __VA_ARGS__)

/* An optimizer over all trainable parameters of `model`, which it borrows: destroy it
 * before the model. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_adamw_create(accel_model_t *model,
                                                            const accel_adamw_options_t *options,
                                                            accel_optimizer_t **optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_sgd_create(accel_model_t *model,
                                                          const accel_sgd_options_t *options,
                                                          accel_optimizer_t **optimizer);
ACCEL_API void accel_optimizer_destroy(accel_optimizer_t *optimizer);

/* Reduce and update. Collective when prepared; does nothing off a sync step. A failed
 * peer during the update leaves the parameters torn: the model then refuses further steps. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_step(accel_optimizer_t *optimizer);

/* Clear this rank's gradients; does nothing off a sync step. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_zero_grad(accel_optimizer_t *optimizer);

/* The learning rate of the next step. Setting it: every rank the same, or the ranks'
 * slices differ. Must be >= 0. */
ACCEL_API double accel_optimizer_get_lr(const accel_optimizer_t *optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_optimizer_set_lr(accel_optimizer_t *optimizer,
                                                                double lr);

/* Number of updates made. */
ACCEL_API int64_t accel_optimizer_num_steps(const accel_optimizer_t *optimizer);

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
