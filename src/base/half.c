/* SPDX-License-Identifier: Apache-2.0 */
/* bfloat16 and float16. Every way here gives the same bits: rounded to nearest even, a NaN kept
 * with the upper part of its payload, and quiet. */
#include "base/base.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

INLINE float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

INLINE float widen_bf16(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

INLINE uint16_t narrow_bf16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;

    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x0040u : rounded);
}

INLINE float widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;

    if (exponent == 0x1f)
        return float_of(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent == 0) { /* zero or subnormal: mantissa × 2^-24, exact in fp32 */
        float magnitude = (float)mantissa * 0x1p-24f;

        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | (exponent + 112u) << 23 | mantissa << 13);
}

INLINE uint16_t narrow_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* rounds to beyond 65504 */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* subnormal: adding 0.5 puts the units at 2^-24, rounded */
        float shifted = float_of(magnitude) + 0.5f;

        return (uint16_t)(sign | (bits_of(shifted) - 0x3f000000u));
    }
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((magnitude - 0x38000000u) >> 13));
}

float accel__bf16_to_f32(uint16_t half)
{
    return widen_bf16(half);
}

uint16_t accel__f32_to_bf16(float value)
{
    return narrow_bf16(value);
}

float accel__f16_to_f32(uint16_t half)
{
    return widen_f16(half);
}

uint16_t accel__f32_to_f16(float value)
{
    return narrow_f16(value);
}

/* ---- arrays ---- */

INLINE void widen_bf16s(float *restrict dst, const uint16_t *restrict src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = widen_bf16(src[i]);
}

INLINE void narrow_bf16s(uint16_t *restrict dst, const float *restrict src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = narrow_bf16(src[i]);
}

INLINE void widen_f16s(float *restrict dst, const uint16_t *restrict src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = widen_f16(src[i]);
}

INLINE void narrow_f16s(uint16_t *restrict dst, const float *restrict src, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = narrow_f16(src[i]);
}

INLINE void add_bf16s(float *restrict sum, const uint16_t *restrict term, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += widen_bf16(term[i]);
}

INLINE void add_f16s(float *restrict sum, const uint16_t *restrict term, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += widen_f16(term[i]);
}

/* By a power of two, multiplying is dividing, to the bit, and many times faster. */
INLINE void divide(float *sum, int32_t by, size_t count)
{
    const float divisor = (float)by, inverse = 1 / divisor;

    if ((by & (by - 1)) == 0) {
        for (size_t i = 0; i < count; i++)
            sum[i] *= inverse;
    } else {
        for (size_t i = 0; i < count; i++)
            sum[i] /= divisor;
    }
}

/* Functions of a target under one table; what the compiler cannot vectorise by itself is written
 * with the instruction that does it. */
#define VARIANT(name, target, f16_widen, f16_narrow, f16_add, bf16_narrow)               \
    target static void widen_bf16_##name(float *dst, const uint16_t *src, size_t count)  \
    {                                                                                    \
        widen_bf16s(dst, src, count);                                                    \
    }                                                                                    \
    target static void narrow_bf16_##name(uint16_t *dst, const float *src, size_t count) \
    {                                                                                    \
        bf16_narrow(dst, src, count);                                                    \
    }                                                                                    \
    target static void widen_f16_##name(float *dst, const uint16_t *src, size_t count)   \
    {                                                                                    \
        f16_widen(dst, src, count);                                                      \
    }                                                                                    \
    target static void narrow_f16_##name(uint16_t *dst, const float *src, size_t count)  \
    {                                                                                    \
        f16_narrow(dst, src, count);                                                     \
    }                                                                                    \
    target static void add_bf16_##name(float *sum, const uint16_t *term, size_t count)   \
    {                                                                                    \
        add_bf16s(sum, term, count);                                                     \
    }                                                                                    \
    target static void add_f16_##name(float *sum, const uint16_t *term, size_t count)    \
    {                                                                                    \
        f16_add(sum, term, count);                                                       \
    }                                                                                    \
    target static void divide_##name(float *sum, int32_t by, size_t count)               \
    {                                                                                    \
        divide(sum, by, count);                                                          \
    }                                                                                    \
    static const accel__half_kernels_t kernels_##name = {                                \
        widen_bf16_##name, narrow_bf16_##name, widen_f16_##name, narrow_f16_##name,      \
        add_bf16_##name,   add_f16_##name,     divide_##name};

VARIANT(plain, , widen_f16s, narrow_f16s, add_f16s, narrow_bf16s)

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,f16c")))
#define AVX512 __attribute__((target("avx512f")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bf16")))

AVX2 static void widen_f16_8(float *dst, const uint16_t *src, size_t count)
{
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
    widen_f16s(dst + i, src + i, count - i);
}

AVX2 static void add_f16_8(float *sum, const uint16_t *term, size_t count)
{
    size_t i = 0;

    for (; i + 8 <= count; i += 8) {
        __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(term + i)));

        _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(sum + i), wide));
    }
    add_f16s(sum + i, term + i, count - i);
}

AVX2 static void narrow_f16_8(uint16_t *dst, const float *src, size_t count)
{
    size_t i = 0;

    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    narrow_f16s(dst + i, src + i, count - i);
}

#define SUBNORMAL 0x20 /* of the instruction's classes */

/* The instruction takes subnormal numbers for zero: vectors that hold one go the other way. */
AVX512_BF16 static void narrow_bf16_16(uint16_t *dst, const float *src, size_t count)
{
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        __m512 values = _mm512_loadu_ps(src + i);
        __m256bh halves = _mm512_cvtneps_pbh(values);

        if (_mm512_fpclass_ps_mask(values, SUBNORMAL) != 0)
            narrow_bf16s(dst + i, src + i, 16);
        else
            memcpy(dst + i, &halves, sizeof(halves));
    }
    narrow_bf16s(dst + i, src + i, count - i);
}

VARIANT(avx2, AVX2, widen_f16_8, narrow_f16_8, add_f16_8, narrow_bf16s)
VARIANT(avx512, AVX512, widen_f16_8, narrow_f16_8, add_f16_8, narrow_bf16s)
VARIANT(avx512_bf16, AVX512_BF16, widen_f16_8, narrow_f16_8, add_f16_8, narrow_bf16_16)
#endif

const accel__half_kernels_t *accel__half_kernels(accel__isa_t isa)
{
#if defined(__x86_64__)
    if (isa >= ACCEL__ISA_AVX512_BF16)
        return &kernels_avx512_bf16;
    if (isa >= ACCEL__ISA_AVX512)
        return &kernels_avx512;
    if (isa >= ACCEL__ISA_AVX2)
        return &kernels_avx2;
#endif
    (void)isa;
    return &kernels_plain;
}

void accel__convert(void *dst, accel_dtype_t dst_dtype, const void *src, accel_dtype_t src_dtype,
                    size_t count)
{
    const accel__half_kernels_t *kernels = accel__half_kernels(accel__isa_best());

    if (dst_dtype == src_dtype) {
        if (dst != src)
            memcpy(dst, src, count * accel_dtype_size(src_dtype));
    } else if (dst_dtype == ACCEL_F32) {
        (src_dtype == ACCEL_BF16 ? kernels->bf16_to_f32 : kernels->f16_to_f32)(dst, src, count);
    } else {
        (dst_dtype == ACCEL_BF16 ? kernels->f32_to_bf16 : kernels->f32_to_f16)(dst, src, count);
    }
}
