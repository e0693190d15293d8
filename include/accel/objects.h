/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that mean something to the program alone, from one rank or from all: what
 * accel_gather_object() and accel_broadcast_object() give. */
#ifndef ACCEL_OBJECTS_H
#define ACCEL_OBJECTS_H

#include <stddef.h>
#include <stdint.h>

#include <accel/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_objects accel_objects_t;

/* Number of objects: one a process after a gather, one after a broadcast. */
ACCEL_API int32_t accel_objects_count(const accel_objects_t *objects);

/* The bytes of object `index` (after a gather: of that process), and in *size how many; not
 * aligned to more than a byte. NULL if there is no such object. Valid until the destroy. */
ACCEL_API const void *accel_objects_get(const accel_objects_t *objects, int32_t index,
                                        size_t *size);

/* NULL is fine. */
ACCEL_API void accel_objects_destroy(accel_objects_t *objects);

#ifdef __cplusplus
}
#endif

#endif
