/* SPDX-License-Identifier: Apache-2.0 */
/* Combining arrays element by element. */
#ifndef ACCEL_COMM_REDUCE_H
#define ACCEL_COMM_REDUCE_H

#include "comm/comm.h"

/* dsts[d][i] = the reduction over num_sources arrays of their element i, in order 0, 1, ...,
 * for elements begin .. begin + count - 1 and every d. A dst may be one of the sources. */
typedef struct accel__reduction {
    void *const *dsts;
    const void *const *sources;
    int32_t num_dsts, num_sources;
    accel_reduction_t how;
} accel__reduction_t;

typedef void (*accel__reduce_fn)(const accel__reduction_t *reduction, size_t begin, size_t count);

accel__reduce_fn accel__reduce_f32(accel__isa_t isa);
accel__reduce_fn accel__reduce_f64(accel__isa_t isa);

/* By the best instructions there are. */
void accel__reduce(const accel__reduction_t *reduction, size_t begin, size_t count,
                   accel_dtype_t dtype);

#endif
