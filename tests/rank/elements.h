/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of any dtype, written without the code that is tested. */
#ifndef ACCEL_TESTS_ELEMENTS_H
#define ACCEL_TESTS_ELEMENTS_H

#include "base/base.h"

static inline void set_at(void *data, accel_dtype_t dtype, int64_t i, double value)
{
    switch (dtype) {
    case ACCEL_F32:
        ((float *)data)[i] = (float)value;
        break;
    case ACCEL_F64:
        ((double *)data)[i] = value;
        break;
    case ACCEL_F16:
        ((uint16_t *)data)[i] = accel__f32_to_f16((float)value);
        break;
    case ACCEL_BF16:
        ((uint16_t *)data)[i] = accel__f32_to_bf16((float)value);
        break;
    case ACCEL_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case ACCEL_I64:
        ((int64_t *)data)[i] = (int64_t)value;
        break;
    case ACCEL_U8:
        ((uint8_t *)data)[i] = (uint8_t)value;
        break;
    }
}

#endif
