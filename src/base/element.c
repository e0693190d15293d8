/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <math.h>
#include <string.h>

static void put(accel__element_t *element, const void *value)
{
    memcpy(element->bytes, value, element->size);
}

static accel_status_t whole_number(const char *what, double value, accel_dtype_t dtype, double min,
                                   double beyond)
{
    if (value >= min && value < beyond && trunc(value) == value)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "%s %g is no %s", what, value, accel_dtype_name(dtype));
}

accel_status_t accel__element_make(accel_dtype_t dtype, double value, const char *what,
                                   accel__element_t *element)
{
    accel_status_t status = ACCEL_OK;

    element->size = accel_dtype_size(dtype);
    switch (dtype) {
    case ACCEL_F64:
        put(element, &value);
        break;
    case ACCEL_F32:
        put(element, &(float){(float)value});
        break;
    case ACCEL_F16:
        put(element, &(uint16_t){accel__f32_to_f16((float)value)});
        break;
    case ACCEL_BF16:
        put(element, &(uint16_t){accel__f32_to_bf16((float)value)});
        break;
    case ACCEL_I64:
        status = whole_number(what, value, dtype, -0x1p63, 0x1p63);
        if (status == ACCEL_OK)
            put(element, &(int64_t){(int64_t)value});
        break;
    case ACCEL_I32:
        status = whole_number(what, value, dtype, -0x1p31, 0x1p31);
        if (status == ACCEL_OK)
            put(element, &(int32_t){(int32_t)value});
        break;
    case ACCEL_U8:
        status = whole_number(what, value, dtype, 0, 256);
        if (status == ACCEL_OK)
            put(element, &(uint8_t){(uint8_t)value});
        break;
    }
    return status;
}

char *accel__element_fill(const accel__element_t *element, char *to, size_t count)
{
    for (size_t i = 0; i < count; i++, to += element->size)
        memcpy(to, element->bytes, element->size);
    return to;
}
