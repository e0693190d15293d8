/* SPDX-License-Identifier: Apache-2.0 */
/* The element types of a safetensors file, and which of them are ours. */
#ifndef ACCEL_CHECKPOINT_DTYPES_H
#define ACCEL_CHECKPOINT_DTYPES_H

#include <accel/types.h>

#define ACCEL__FILE_BOOL "BOOL"

typedef struct accel__file_dtype {
    const char *name;
    int bits;
    int32_t dtype; /* an accel_dtype_t; -1: not one of ours */
} accel__file_dtype_t;

/* NULL: no such type. Pointers compare as the stock library orders the types in a file. */
const accel__file_dtype_t *accel__file_dtype_by_name(const char *name);
/* The first one, and so U8 of ACCEL_U8. */
const accel__file_dtype_t *accel__file_dtype_of(accel_dtype_t dtype);

#endif
