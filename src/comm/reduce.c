/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/comm.h"

#include <string.h>

/* Elements combined at a time: the accumulator stays in the first-level cache. */
#define BLOCK 1024

/* Combining `n` elements of `source` into `sum`, one function per type: MEAN sums here. The
 * comparisons keep a NaN that has come in, and let one in: as torch's amax and amin do. */
#define DEFINE_COMBINE(suffix, type)                                                        \
    static void combine_##suffix(type *restrict sum, const type *restrict source, size_t n, \
                                 accel_reduction_t reduction)                               \
    {                                                                                       \
        if (reduction == ACCEL_MAX) {                                                       \
            for (size_t i = 0; i < n; i++)                                                  \
                sum[i] = source[i] > sum[i] || source[i] != source[i] ? source[i] : sum[i]; \
        } else if (reduction == ACCEL_MIN) {                                                \
            for (size_t i = 0; i < n; i++)                                                  \
                sum[i] = source[i] < sum[i] || source[i] != source[i] ? source[i] : sum[i]; \
        } else {                                                                            \
            for (size_t i = 0; i < n; i++)                                                  \
                sum[i] += source[i];                                                        \
        }                                                                                   \
    }

DEFINE_COMBINE(f32, float)
DEFINE_COMBINE(f64, double)
DEFINE_COMBINE(u64, uint64_t)
DEFINE_COMBINE(i64, int64_t)

typedef struct reduction_plan {
    const void *const *sources;
    int32_t num_sources;
    accel_dtype_t dtype;
    accel_reduction_t reduction;
} reduction_plan_t;

static void reduce_f32(float *dst, const reduction_plan_t *plan, size_t offset, size_t n)
{
    float sum[BLOCK];

    memcpy(sum, (const float *)plan->sources[0] + offset, n * sizeof(*sum));
    for (int32_t s = 1; s < plan->num_sources; s++)
        combine_f32(sum, (const float *)plan->sources[s] + offset, n, plan->reduction);
    if (plan->reduction == ACCEL_MEAN)
        for (size_t i = 0; i < n; i++)
            sum[i] /= (float)plan->num_sources;
    memcpy(dst + offset, sum, n * sizeof(*sum));
}

static void reduce_f64(double *dst, const reduction_plan_t *plan, size_t offset, size_t n)
{
    double sum[BLOCK];

    memcpy(sum, (const double *)plan->sources[0] + offset, n * sizeof(*sum));
    for (int32_t s = 1; s < plan->num_sources; s++)
        combine_f64(sum, (const double *)plan->sources[s] + offset, n, plan->reduction);
    if (plan->reduction == ACCEL_MEAN)
        for (size_t i = 0; i < n; i++)
            sum[i] /= (double)plan->num_sources;
    memcpy(dst + offset, sum, n * sizeof(*sum));
}

static float half_to_f32(uint16_t half, accel_dtype_t dtype)
{
    return dtype == ACCEL_BF16 ? accel__bf16_to_f32(half) : accel__f16_to_f32(half);
}

/* Both small float types: through fp32, rounded once. */
static void reduce_half(uint16_t *dst, const reduction_plan_t *plan, size_t offset, size_t n)
{
    float sum[BLOCK], term[BLOCK];

    for (int32_t s = 0; s < plan->num_sources; s++) {
        const uint16_t *source = (const uint16_t *)plan->sources[s] + offset;

        for (size_t i = 0; i < n; i++)
            term[i] = half_to_f32(source[i], plan->dtype);
        if (s == 0)
            memcpy(sum, term, n * sizeof(*sum));
        else
            combine_f32(sum, term, n, plan->reduction);
    }
    for (size_t i = 0; i < n; i++) {
        float value = plan->reduction == ACCEL_MEAN ? sum[i] / (float)plan->num_sources : sum[i];

        dst[offset + i] =
            plan->dtype == ACCEL_BF16 ? accel__f32_to_bf16(value) : accel__f32_to_f16(value);
    }
}

/* One element of an integer type as 64 bits. A sum is formed unsigned, where wrapping
 * around is defined; it is cut to the type at the end. */
static int64_t load_integer(const void *source, size_t i, accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_I32:
        return ((const int32_t *)source)[i];
    case ACCEL_U8:
        return ((const uint8_t *)source)[i];
    default:
        return ((const int64_t *)source)[i];
    }
}

static void store_integer(void *dst, size_t i, int64_t value, accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_I32:
        ((int32_t *)dst)[i] = (int32_t)(uint32_t)(uint64_t)value;
        break;
    case ACCEL_U8:
        ((uint8_t *)dst)[i] = (uint8_t)(uint64_t)value;
        break;
    default:
        ((int64_t *)dst)[i] = value;
        break;
    }
}

static void reduce_integer(void *dst, const reduction_plan_t *plan, size_t offset, size_t n)
{
    bool sums = plan->reduction == ACCEL_SUM || plan->reduction == ACCEL_MEAN;
    int64_t sum[BLOCK], term[BLOCK];

    for (int32_t s = 0; s < plan->num_sources; s++) {
        for (size_t i = 0; i < n; i++)
            term[i] = load_integer(plan->sources[s], offset + i, plan->dtype);
        if (s == 0)
            memcpy(sum, term, n * sizeof(*sum));
        else if (sums)
            combine_u64((uint64_t *)sum, (const uint64_t *)term, n, ACCEL_SUM);
        else
            combine_i64(sum, term, n, plan->reduction);
    }
    for (size_t i = 0; i < n; i++) {
        if (plan->reduction == ACCEL_MEAN)
            sum[i] /= plan->num_sources;
        store_integer(dst, offset + i, sum[i], plan->dtype);
    }
}

void accel__reduce_block(void *dst, const void *const *sources, int32_t num_sources, size_t count,
                         accel_dtype_t dtype, accel_reduction_t reduction)
{
    reduction_plan_t plan = {sources, num_sources, dtype, reduction};

    for (size_t offset = 0; offset < count; offset += BLOCK) {
        size_t n = count - offset < BLOCK ? count - offset : BLOCK;

        switch (dtype) {
        case ACCEL_F32:
            reduce_f32(dst, &plan, offset, n);
            break;
        case ACCEL_F64:
            reduce_f64(dst, &plan, offset, n);
            break;
        case ACCEL_F16:
        case ACCEL_BF16:
            reduce_half(dst, &plan, offset, n);
            break;
        case ACCEL_I32:
        case ACCEL_I64:
        case ACCEL_U8:
            reduce_integer(dst, &plan, offset, n);
            break;
        }
    }
}
