/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that touch every element. Scalars arrive as double and are rounded once to the
 * elements' type, as torch does. Products and sums are never contracted, so the result does
 * not depend on which instruction set runs them. */
#ifndef ACCEL_TRAIN_KERNELS_H
#define ACCEL_TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <accel/types.h>

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

/* For one element type; the pointers are of that type and, but for `average`, do not overlap. */
typedef struct accel__kernels {
    /* dst[i] = (sources[0][i] + sources[1][i] + ...) / num_sources, added in this order: to the
     * bit what accel__reduce_block() gives. dst may be one of the sources. */
    void (*average)(void *dst, const void *const *sources, int32_t num_sources, size_t count);
    void (*adamw)(const accel__adamw_step_t *step, void *p, const void *g, void *m, void *v,
                  size_t count);
    void (*sgd)(const accel__sgd_step_t *step, void *p, const void *g, size_t count);
    void (*sgd_momentum)(const accel__sgd_step_t *step, void *p, const void *g, void *buffer,
                         size_t count);
    void (*scale)(void *x, double factor, size_t count);
    double (*sum_of_squares)(const void *x, size_t count);
} accel__kernels_t;

/* Instruction sets that the loops are compiled for; off x86-64 all are PLAIN. */
typedef enum accel__isa { ACCEL__ISA_PLAIN, ACCEL__ISA_AVX2, ACCEL__ISA_AVX512 } accel__isa_t;

/* The widest this processor has. */
accel__isa_t accel__isa_best(void);

/* Those for float32 or float64, by the best instructions. */
const accel__kernels_t *accel__kernels(accel_dtype_t dtype);

const accel__kernels_t *accel__kernels_f32(accel__isa_t isa);
const accel__kernels_t *accel__kernels_f64(accel__isa_t isa);

#endif
