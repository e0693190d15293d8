/* SPDX-License-Identifier: Apache-2.0 */
/* Where the parameters of a model lie in its arena, and which rank owns which part: pure
 * arithmetic, the same on every rank. */
#ifndef ACCEL_TRAIN_LAYOUT_H
#define ACCEL_TRAIN_LAYOUT_H

#include "base/base.h"

/* A parameter begins on a cache line; a slice, and a run, on a page. */
#define ACCEL__PARAMETER_ALIGN 64
#define ACCEL__PAGE 4096

/* The trainable parameters of one dtype, end to end, so that an update is one loop. Offsets
 * and sizes are in bytes, whole pages. */
typedef struct accel__run {
    accel_dtype_t dtype;
    size_t offset, size;
} accel__run_t;

#define ACCEL__NUM_RUNS 2 /* float32, float64 */

/* The runs come first, frozen parameters after them: a gradient has the offset of its value. */
typedef struct accel__layout {
    accel__run_t runs[ACCEL__NUM_RUNS];
    size_t trainable_size; /* bytes of all runs */
    size_t size;           /* with the frozen ones; whole pages */
} accel__layout_t;

typedef struct accel__slice {
    size_t begin, end;
} accel__slice_t;

static inline size_t accel__round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* The bytes of `run` that `rank` reduces and updates: whole pages, in rank order, at most one
 * page more than any other rank's. */
accel__slice_t accel__layout_slice(const accel__run_t *run, int32_t rank, int32_t num_ranks);

#endif
