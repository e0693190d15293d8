/* SPDX-License-Identifier: Apache-2.0 */
/* Reading batches: into slots, ahead of the caller if there is a thread. */
#ifndef ACCEL_DATA_READER_H
#define ACCEL_DATA_READER_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/dataset.h"

/* One is the caller's, one is ready, one is being read. */
#define ACCEL__READER_SLOTS 3

/* What an epoch of one rank consists of; constant while it is read. */
typedef struct accel__plan {
    const accel_dataset_t *dataset;
    accel_shard_t shard;
    int64_t rank, steps;
    const int64_t *order; /* sample at each position; NULL: position itself */
} accel__plan_t;

/* Memory for one batch, and what lies in it. */
typedef struct accel__slot {
    int64_t rows;
    accel_tensor_t *fields;
    int64_t *indices;
    char *data; /* the fields, each on a cache line */
    int64_t *shapes;
    void **places; /* of the row being read */
    accel_status_t status;
    char error[512];
} accel__slot_t;

accel_status_t accel__slot_init(accel__slot_t *slot, const accel_dataset_t *dataset,
                                int64_t capacity);
void accel__slot_fini(accel__slot_t *slot);

/* Read the rank's batch of that step; an error's text is in accel_last_error(). Gives up
 * between two samples once *cancelled is set. */
accel_status_t accel__slot_fill(accel__slot_t *slot, const accel__plan_t *plan, int64_t step,
                                const atomic_bool *cancelled);

/* Steps are counted from the epoch's first: released <= taken <= filled <= limit. */
typedef struct accel__reader {
    accel__plan_t plan;
    accel__slot_t slots[ACCEL__READER_SLOTS];
    int num_slots; /* 0: not allocated */
    bool threaded, started;
    unsigned process_mark; /* of the process that has the thread */
    pthread_t thread;
    pthread_mutex_t lock;        /* for all that follows */
    pthread_cond_t work, change; /* for the thread; for the caller */
    int64_t filled, taken, released, limit;
    bool busy, quit;
    atomic_bool cancelled;
} accel__reader_t;

/* threaded: read ahead. The thread starts with the first epoch. */
void accel__reader_init(accel__reader_t *reader, bool threaded);
void accel__reader_fini(accel__reader_t *reader);

/* Begin to read an epoch; the last one must have been stopped. */
accel_status_t accel__reader_start(accel__reader_t *reader, const accel__plan_t *plan);

/* The next step's slot, valid until the next call on the reader. Not beyond the last step. */
accel_status_t accel__reader_take(accel__reader_t *reader, const accel__slot_t **slot);

/* Give the epoch up, or finish it: nothing is being read when it returns. */
void accel__reader_stop(accel__reader_t *reader);

/* Let the batches' memory go, for an epoch of another size. Stopped. */
void accel__reader_clear(accel__reader_t *reader);

#endif
