/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/reduce.h"

/* Elements of the small types combined at a time: the sums stay in the first-level cache. */
#define BLOCK 1024

/* The sum, largest or smallest so far, with one source more. */
static void combine_halves(float *sum, const uint16_t *source, size_t count, accel_dtype_t dtype,
                           accel_reduction_t how)
{
    accel__isa_t isa = accel__isa_best();
    const accel__half_kernels_t *half = accel__half_kernels(isa);
    float term[BLOCK];
    void *const dst[] = {sum};
    const void *const sources[] = {sum, term};
    accel__reduction_t two = {dst, sources, 1, 2, how};

    if (how == ACCEL_SUM || how == ACCEL_MEAN) {
        (dtype == ACCEL_BF16 ? half->add_bf16 : half->add_f16)(sum, source, count);
        return;
    }
    accel__convert(term, ACCEL_F32, source, dtype, count);
    accel__reduce_f32(isa)(&two, 0, count);
}

/* Both small float types: through fp32, rounded once. */
static void reduce_half_block(const accel__reduction_t *reduction, size_t begin, size_t count,
                              accel_dtype_t dtype)
{
    const uint16_t *source = (const uint16_t *)reduction->sources[0] + begin;
    float sum[BLOCK];

    accel__fetch_ahead(source, count * sizeof(*source));
    accel__convert(sum, ACCEL_F32, source, dtype, count);
    for (int32_t s = 1; s < reduction->num_sources; s++) {
        source = (const uint16_t *)reduction->sources[s] + begin;
        accel__fetch_ahead(source, count * sizeof(*source));
        combine_halves(sum, source, count, dtype, reduction->how);
    }
    if (reduction->how == ACCEL_MEAN)
        accel__half_kernels(accel__isa_best())->divide(sum, reduction->num_sources, count);
    for (int32_t d = 0; d < reduction->num_dsts; d++)
        accel__convert((uint16_t *)reduction->dsts[d] + begin, dtype, sum, ACCEL_F32, count);
}

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

/* Sums are formed unsigned, where wrapping around is defined. */
static int64_t combine_integers(int64_t a, int64_t b, accel_reduction_t how)
{
    if (how == ACCEL_MAX)
        return a > b ? a : b;
    if (how == ACCEL_MIN)
        return a < b ? a : b;
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void reduce_integers(const accel__reduction_t *reduction, size_t begin, size_t count,
                            accel_dtype_t dtype)
{
    for (size_t i = begin; i < begin + count; i++) {
        int64_t sum = load_integer(reduction->sources[0], i, dtype);

        for (int32_t s = 1; s < reduction->num_sources; s++)
            sum = combine_integers(sum, load_integer(reduction->sources[s], i, dtype),
                                   reduction->how);
        if (reduction->how == ACCEL_MEAN)
            sum /= reduction->num_sources;
        for (int32_t d = 0; d < reduction->num_dsts; d++)
            store_integer(reduction->dsts[d], i, sum, dtype);
    }
}

void accel__reduce(const accel__reduction_t *reduction, size_t begin, size_t count,
                   accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_F32:
        accel__reduce_f32(accel__isa_best())(reduction, begin, count);
        break;
    case ACCEL_F64:
        accel__reduce_f64(accel__isa_best())(reduction, begin, count);
        break;
    case ACCEL_F16:
    case ACCEL_BF16:
        for (size_t done = 0; done < count; done += BLOCK)
            reduce_half_block(reduction, begin + done, count - done < BLOCK ? count - done : BLOCK,
                              dtype);
        break;
    case ACCEL_I32:
    case ACCEL_I64:
    case ACCEL_U8:
        reduce_integers(reduction, begin, count, dtype);
        break;
    }
}

void accel__reduce_block(void *dst, const void *const *sources, int32_t num_sources, size_t count,
                         accel_dtype_t dtype, accel_reduction_t reduction)
{
    void *const dsts[] = {dst};
    accel__reduction_t one = {dsts, sources, 1, num_sources, reduction};

    accel__reduce(&one, 0, count, dtype);
}
