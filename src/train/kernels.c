/* SPDX-License-Identifier: Apache-2.0 */
#include "train/kernels.h"

accel__isa_t accel__isa_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return ACCEL__ISA_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return ACCEL__ISA_AVX2;
#endif
    return ACCEL__ISA_PLAIN;
}

const accel__kernels_t *accel__kernels(accel_dtype_t dtype)
{
    accel__isa_t isa = accel__isa_best();

    return dtype == ACCEL_F64 ? accel__kernels_f64(isa) : accel__kernels_f32(isa);
}
