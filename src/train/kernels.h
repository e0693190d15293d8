/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that touch every element. Scalars arrive as double and are rounded once to the
 * elements' type, as torch does. */
#ifndef ACCEL_TRAIN_KERNELS_H
#define ACCEL_TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* One step of torch's single-tensor Adam with decoupled weight decay. */
typedef struct accel__adamw_step {
    double grad_scale; /* g *= this first: what clipping asks for */
    double decay;      /* 1 - lr * weight_decay */
    double beta1, beta2, eps;
    double step_size;             /* lr / (1 - beta1^t) */
    double bias_correction2_sqrt; /* sqrt(1 - beta2^t) */
} accel__adamw_step_t;

typedef struct accel__sgd_step {
    double grad_scale;
    double lr, momentum, weight_decay;
    double one_minus_dampening; /* 1 at the first step, where the buffer becomes g */
    bool nesterov;
} accel__sgd_step_t;

/* For one element type; the pointers are of that type and do not overlap. */
typedef struct accel__kernels {
    void (*adamw)(const accel__adamw_step_t *step, void *p, const void *g, void *m, void *v,
                  size_t count);
    void (*sgd)(const accel__sgd_step_t *step, void *p, const void *g, size_t count);
    void (*sgd_momentum)(const accel__sgd_step_t *step, void *p, const void *g, void *buffer,
                         size_t count);
    void (*scale)(void *x, double factor, size_t count);
    double (*sum_of_squares)(const void *x, size_t count);
} accel__kernels_t;

/* Those for float32 or float64, by the best instructions. */
const accel__kernels_t *accel__kernels(accel_dtype_t dtype);

const accel__kernels_t *accel__kernels_f32(accel__isa_t isa);
const accel__kernels_t *accel__kernels_f64(accel__isa_t isa);

#endif
