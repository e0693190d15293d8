/* SPDX-License-Identifier: Apache-2.0 */
/* Where the parameters of a model lie in its arena, and which rank owns which part: pure
 * arithmetic, the same on every rank. */
#ifndef ACCEL_TRAIN_LAYOUT_H
#define ACCEL_TRAIN_LAYOUT_H

#include "base/base.h"

/* A parameter begins on a cache line; a slice, and a run, on a page: of each of its arrays. */
#define ACCEL__PARAMETER_ALIGN 64
#define ACCEL__PAGE 4096

/* Which low-precision copy of the values goes with them. */
typedef enum accel__copies {
    ACCEL__COPY_NONE,
    ACCEL__COPY_BF16,    /* the parameter is bfloat16, its float32 master lies beside */
    ACCEL__COPY_F16,     /* the same in float16 */
    ACCEL__COPY_AUTOCAST /* what autocast computes in, if it is on */
} accel__copies_t;

/* Trainable parameters of one kind, end to end, so that an update is one loop; and a bucket: what
 * is reduced together once all its gradients are there. Element i of the values, of the gradients
 * and of the copies belong together; offsets are in bytes, on pages, sizes in elements. */
typedef struct accel__run {
    accel_dtype_t dtype; /* of the values that an optimizer updates: float32 or float64 */
    accel_dtype_t gradient_dtype;
    accel__copies_t copies_kind;
    accel_dtype_t copy_dtype; /* while prepared; float32: there is no copy */
    size_t count;             /* whole units */
    size_t unit;              /* so many elements fill a page of the smallest of the arrays */
    size_t values, gradients, copies;
    int64_t num_params;
} accel__run_t;

/* The runs are in the order in which a backward makes gradients: the last parameters first. */
typedef struct accel__layout {
    accel__run_t *runs; /* room for one a trainable parameter */
    int num_runs;
    bool values_elsewhere; /* each rank's own, in its owner's memory: none lie here */
    size_t bucket_size, first_bucket_size; /* gradients of a run, in bytes, that make it full */
    size_t gradients_size;                 /* bytes, of one rank */
    size_t used_words; /* a bit for each parameter, if any may be unused; see used.h */
    size_t frozen_end; /* values and frozen parameters */
    size_t size;       /* with the copies; whole pages */
} accel__layout_t;

/* Elements begin .. end - 1 of a run. */
typedef struct accel__slice {
    size_t begin, end;
} accel__slice_t;

static inline size_t accel__round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* The elements of `run` that `rank` reduces and updates: whole units, in rank order, at most one
 * unit more than any other rank's. */
accel__slice_t accel__layout_slice(const accel__run_t *run, int32_t rank, int32_t num_ranks);

/* The index of the last run of that kind; a new one if there is none, or if it is full. */
int accel__layout_run(accel__layout_t *layout, accel_dtype_t dtype, accel_dtype_t gradient_dtype,
                      accel__copies_t copies);

/* Room for `count` elements at the end of a run; returns the first. */
size_t accel__layout_append(accel__run_t *run, size_t count);

/* Once the runs are complete: where their arrays lie, and from where on frozen parameters may. */
void accel__layout_place(accel__layout_t *layout);

/* Where the copies lie if autocast computes in `autocast` (float32: it is off). */
void accel__layout_place_copies(accel__layout_t *layout, accel_dtype_t autocast);

#endif
