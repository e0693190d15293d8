/* SPDX-License-Identifier: Apache-2.0 */
/* Samples in memory, as they were read: those of a batch, before or without a collate. */
#ifndef ACCEL_DATA_SAMPLES_H
#define ACCEL_DATA_SAMPLES_H

#include <stdatomic.h>

#include "data/dataset.h"

/* Where a batch's tensors begin. */
#define ACCEL__LINE 64

/* A size, up to the next line; false if that overflows. */
bool accel__line_size(size_t *size);

/* Memory for samples whose size is known only when they come. Nothing moves until it is cleared;
 * then it becomes one block of what was needed, so that it grows no more after a while. */
typedef struct accel__arena {
    struct accel__block *blocks; /* the newest first */
    size_t used;                 /* of all blocks */
} accel__arena_t;

typedef struct accel__samples {
    const accel_dataset_t *dataset;
    int64_t capacity;
    char *data;             /* fields that do not vary, each on a line */
    accel_tensor_t *fields; /* the same: [rows, ...] each */
    accel_tensor_t *views;  /* field f of row r at [r * num_fields + f]; NULL: nobody asks */
    int64_t *shapes;        /* of the fields, then of the views */
    void **places;          /* of the row being read */
    accel__arena_t arena;   /* of fields that vary */
} accel__samples_t;

/* Room for `capacity` samples; with views if a sample's fields vary or are wanted one by one. */
accel_status_t accel__samples_init(accel__samples_t *samples, const accel_dataset_t *dataset,
                                   int64_t capacity, bool views);
void accel__samples_fini(accel__samples_t *samples);

/* Begin again; what was read is gone. */
void accel__samples_clear(accel__samples_t *samples);

/* Read samples by their numbers into the first rows. Gives up between two of them once *cancelled
 * is set. */
accel_status_t accel__samples_read(accel__samples_t *samples, const int64_t *indices, int64_t count,
                                   const atomic_bool *cancelled);

/* Read the next sample of a stream, number `index`, into a row; ACCEL_END if there is none. */
accel_status_t accel__samples_next(accel__samples_t *samples, int64_t row, int64_t index);

/* Copy a row of samples of the same dataset. */
accel_status_t accel__samples_copy(accel__samples_t *to, int64_t row, const accel__samples_t *from,
                                   int64_t from_row);

#endif
