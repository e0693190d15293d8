/* SPDX-License-Identifier: Apache-2.0 */
#include "train/kernels.h"

const accel__kernels_t *accel__kernels(accel_dtype_t dtype)
{
    accel__isa_t isa = accel__isa_best();

    return dtype == ACCEL_F64 ? accel__kernels_f64(isa) : accel__kernels_f32(isa);
}
