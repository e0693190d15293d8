/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

accel__isa_t accel__isa_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return ACCEL__ISA_AVX512_BF16;
    if (__builtin_cpu_supports("avx512f"))
        return ACCEL__ISA_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return ACCEL__ISA_AVX2;
#endif
    return ACCEL__ISA_PLAIN;
}
