/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/dtypes.h"

#include <string.h>

/* In the order in which the stock library writes them, the widest first. */
static const accel__file_dtype_t dtypes[] = {
    {"U64", 64, -1},        {"I64", 64, ACCEL_I64},
    {"F64", 64, ACCEL_F64}, {"C64", 64, -1},
    {"F32", 32, ACCEL_F32}, {"U32", 32, -1},
    {"I32", 32, ACCEL_I32}, {"BF16", 16, ACCEL_BF16},
    {"F16", 16, ACCEL_F16}, {"U16", 16, -1},
    {"I16", 16, -1},        {"F8_E8M0", 8, -1},
    {"F8_E4M3FNUZ", 8, -1}, {"F8_E5M2FNUZ", 8, -1},
    {"F8_E4M3", 8, -1},     {"F8_E5M2", 8, -1},
    {"I8", 8, -1},          {"U8", 8, ACCEL_U8},
    {"F6_E3M2", 6, -1},     {"F6_E2M3", 6, -1},
    {"F4", 4, -1},          {ACCEL__FILE_BOOL, 8, ACCEL_U8}};
#define NUM_DTYPES (sizeof(dtypes) / sizeof(*dtypes))

const accel__file_dtype_t *accel__file_dtype_by_name(const char *name)
{
    for (size_t i = 0; i < NUM_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

const accel__file_dtype_t *accel__file_dtype_of(accel_dtype_t dtype)
{
    for (size_t i = 0; i < NUM_DTYPES; i++)
        if (dtypes[i].dtype == (int32_t)dtype)
            return &dtypes[i];
    return NULL;
}
