/* SPDX-License-Identifier: Apache-2.0 */
/* Reading batches: into slots, ahead of the caller if there are workers. */
#ifndef ACCEL_DATA_READER_H
#define ACCEL_DATA_READER_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/slot.h"

/* Steps are counted from the epoch's first: released <= taken <= claimed <= limit. */
typedef struct accel__reader {
    int32_t num_workers;                   /* 0: the caller reads */
    int32_t prefetch_factor, keep_batches; /* 1 or more */
    accel__plan_t plan;
    accel__source_t stream;
    accel__slot_t *slots; /* step s is read into slot s % num_slots */
    int64_t num_slots;    /* 0: not allocated */
    int64_t capacity;     /* rows of a slot */
    pthread_t *threads;
    int32_t num_threads;
    unsigned process_mark; /* of the process that has the threads */
    atomic_bool cancelled;
    int64_t taken; /* the caller's */

    pthread_mutex_t lock;              /* for all that follows */
    pthread_cond_t work, change, turn; /* for workers; for the caller; for workers on a stream */
    int64_t claimed, released, limit;
    int64_t next_of_stream; /* the step that is to be read from it next */
    int32_t busy;           /* workers that are reading */
    bool quit;
} accel__reader_t;

/* The threads start with the first epoch. */
void accel__reader_init(accel__reader_t *reader, int32_t num_workers, int32_t prefetch_factor,
                        int32_t keep_batches);
void accel__reader_fini(accel__reader_t *reader);

/* Begin to read an epoch; the last one must have been stopped. */
accel_status_t accel__reader_start(accel__reader_t *reader, const accel__plan_t *plan);

/* The next step's slot, or ACCEL_END. It is valid until keep_batches further calls; whether it is
 * the last is known. */
accel_status_t accel__reader_take(accel__reader_t *reader, const accel__slot_t **slot);

/* Give the epoch up, or finish it: nothing is being read when it returns. */
void accel__reader_stop(accel__reader_t *reader);

/* Let the batches' memory go, for an epoch of another kind. Stopped. */
void accel__reader_clear(accel__reader_t *reader);

#endif
