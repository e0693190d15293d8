/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that touch every element. Scalars arrive as double and are rounded once to the
 * elements' type, as torch does. */
#ifndef ACCEL_TRAIN_KERNELS_H
#define ACCEL_TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* The steps of torch.optim's single-tensor forms. `grad_scale` comes first of all: g *= it; it
 * holds what clipping and the loss scale ask for, and the sign of `maximize`. */
typedef struct accel__adam_step {
    double grad_scale;
    double decay; /* 1 - lr * weight_decay where decay is decoupled (AdamW), else 1 */
    double l2;    /* weight_decay where it is a part of the gradient (Adam), else 0 */
    double beta1, beta2, eps;
    double step_size;             /* lr / (1 - beta1^t) */
    double bias_correction2_sqrt; /* sqrt(1 - beta2^t) */
} accel__adam_step_t;

typedef struct accel__sgd_step {
    double grad_scale;
    double lr, momentum, weight_decay;
    double one_minus_dampening; /* 1 at the first step, where the buffer becomes g */
    bool nesterov;
} accel__sgd_step_t;

typedef struct accel__adagrad_step {
    double grad_scale;
    double lr; /* lr / (1 + (t - 1) * lr_decay) */
    double weight_decay, eps;
} accel__adagrad_step_t;

typedef struct accel__rmsprop_step {
    double grad_scale;
    double lr, alpha, eps, weight_decay, momentum;
} accel__rmsprop_step_t;

/* For one element type; the pointers are of that type and do not overlap. */
typedef struct accel__kernels {
    /* largest: the maxima of amsgrad, or NULL */
    void (*adam)(const accel__adam_step_t *step, void *p, const void *g, void *m, void *v,
                 void *largest, size_t count);
    void (*sgd)(const accel__sgd_step_t *step, void *p, const void *g, size_t count);
    void (*sgd_momentum)(const accel__sgd_step_t *step, void *p, const void *g, void *buffer,
                         size_t count);
    void (*adagrad)(const accel__adagrad_step_t *step, void *p, const void *g, void *sum,
                    size_t count);
    /* mean: of centered, or NULL; buffer: of momentum, or NULL */
    void (*rmsprop)(const accel__rmsprop_step_t *step, void *p, const void *g, void *square,
                    void *mean, void *buffer, size_t count);
    /* x = x + weight (target - x), by torch's lerp */
    void (*lerp)(void *x, const void *target, double weight, size_t count);
    void (*scale)(void *x, double factor, size_t count);
    void (*clamp)(void *x, double limit, size_t count); /* to -limit .. limit; NaN stays */
    double (*sum_of_squares)(const void *x, size_t count);
    double (*zero_if_finite)(const void *x, size_t count); /* else NaN */
} accel__kernels_t;

/* Those for float32 or float64, by the best instructions. */
const accel__kernels_t *accel__kernels(accel_dtype_t dtype);

const accel__kernels_t *accel__kernels_f32(accel__isa_t isa);
const accel__kernels_t *accel__kernels_f64(accel__isa_t isa);

#endif
