/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ACCEL_DATA_LOADER_H
#define ACCEL_DATA_LOADER_H

#include "data/data.h"
#include "data/reader.h"

/* The epoch's order, and its batches if a sampler makes them. The memory stays for the next. */
struct accel_batches {
    int64_t *numbers, *offsets; /* offsets: count + 1 of them */
    int64_t length, count;      /* of numbers; of batches */
    int64_t room, offsets_room;
    int64_t samples; /* what a number must be below */
    accel_status_t status;
};

/* What the main process says of a step, or of an epoch. */
typedef struct accel__dispatch_note {
    int64_t status, rows, real_rows, last;
    int64_t steps, first_step, position;
} accel__dispatch_note_t;

/* Batches that came from the main process. */
typedef struct accel__dispatch {
    accel__collated_t whole; /* what was read, where it is received */
    int64_t *whole_indices;
    accel__collated_t *parts; /* this rank's, one for each that is kept */
    int64_t **indices;
    int64_t capacity; /* of whole_indices and each of indices */
    int32_t num_parts;
    accel__dispatch_note_t *notes; /* of every rank; only the main process's says something */
} accel__dispatch_t;

struct accel_loader {
    accel_dataset_t *dataset; /* borrowed */
    accel_loader_options_t options;
    uint64_t seed;
    accel__collate_t collate; /* with the batches' fields, also without a callback */
    accel__reader_t reader;
    accel_batches_t order;

    /* Which part of the data is this rank's. */
    accel_shard_t shard; /* in force */
    int64_t rank, num_ranks;
    int64_t length;   /* of the order, from the main process if that reads; -1 */
    int64_t *lengths; /* presharded: of every rank's; else NULL */
    bool dispatches;
    accel_comm_t *comm; /* NULL when not prepared */
    accel__dispatch_t dispatch;

    /* The epoch. */
    bool under_way, has_batch;
    int64_t epoch, steps;       /* of the whole epoch; -1: not known */
    int64_t first_step, number; /* number: of the batch that comes next */
    int64_t position;           /* samples handed out */
    accel__step_t step;         /* of the batch that was handed out last */

    /* Where the next one starts. */
    int64_t skip;
    bool has_state;
    accel_loader_state_t state;

    bool prepared;
    bool overrides_even, even_before; /* even_batches is another for a while */
    accel__link_t link;
    accel__active_loaders_t *active; /* NULL when not prepared */
    accel_loader_t *outer;           /* the loader under way around this one */
};

/* What the loader's options come to in this world; NULL: of one process. */
accel_status_t accel__loader_resolve(accel_loader_t *loader, const accel__loader_world_t *world);

/* Does this process read, or another one for it? */
bool accel__loader_reads(const accel_loader_t *loader);

/* Make the epoch's order, or its batches. Collective if ranks have to compare it. */
accel_status_t accel__loader_make_order(accel_loader_t *loader, int64_t epoch);
void accel__batches_free(accel_batches_t *batches);

/* Where the epoch starts, in samples or batches, from what was asked for; and the step there. */
accel_status_t accel__loader_find_start(accel_loader_t *loader, int64_t epoch, int64_t *start);

/* Agree on the start of an epoch: `status` is how it went here. Collective. */
accel_status_t accel__dispatch_begin(accel_loader_t *loader, accel_status_t status);

/* The batch of the loader's step, from the main process. Collective. ACCEL_END. */
accel_status_t accel__dispatch_next(accel_loader_t *loader, accel_batch_t *batch);
void accel__dispatch_free(accel__dispatch_t *dispatch);

/* Put the loader on top of the stack of those under way, and take it off from wherever it is. */
void accel__loader_push(accel_loader_t *loader);
void accel__loader_pop(accel_loader_t *loader);

#endif
