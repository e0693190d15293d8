/* SPDX-License-Identifier: Apache-2.0 */
#include "train/kernels.h"

const accel__kernels_t *accel__kernels(accel_dtype_t dtype)
{
    return dtype == ACCEL_F64 ? accel__kernels_f64() : accel__kernels_f32();
}
