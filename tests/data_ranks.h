/* SPDX-License-Identifier: Apache-2.0 */
/* Loaders of several ranks in one process, for what needs no communication; and data whose sample
 * i is the number i. */
#ifndef ACCEL_TESTS_DATA_RANKS_H
#define ACCEL_TESTS_DATA_RANKS_H

#include "test.h"

#include "data/data.h"

typedef struct data_rank {
    accel_loader_t *loader;
    accel__active_loaders_t active;
    accel__link_t prepared;
} data_rank_t;

/* lengths: as in accel__loader_world_t. */
static inline void data_rank_prepare(data_rank_t *rank, accel_dataset_t *dataset,
                                     const accel_loader_options_t *options, int64_t index,
                                     int64_t num_processes, const int64_t *lengths)
{
    accel__loader_world_t world = {.process_index = index,
                                   .num_processes = num_processes,
                                   .even_batches = true,
                                   .dispatch_batches = ACCEL_OFF,
                                   .lengths = lengths,
                                   .active = &rank->active,
                                   .prepared = &rank->prepared};

    *rank = (data_rank_t){0};
    accel__link_init(&rank->prepared);
    CHECK_OK(accel_loader_create(dataset, options, &rank->loader));
    CHECK_OK(accel__loader_prepare(rank->loader, &world));
}

static inline accel_status_t data_get_index(void *context, int64_t index, void *const *fields)
{
    (void)context;
    memcpy(fields[0], &index, sizeof(index));
    return ACCEL_OK;
}

static inline accel_dataset_t *data_indices(int64_t length)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = length, .get = data_get_index,
                                                        .fields = &field, .num_fields = 1),
                                  &dataset));
    return dataset;
}

/* A stream of the numbers below `length`. */
typedef struct data_count {
    int64_t length, next, epoch;
} data_count_t;

static inline accel_status_t data_count_begin(void *context, int64_t epoch)
{
    data_count_t *count = context;

    count->next = 0;
    count->epoch = epoch;
    return ACCEL_OK;
}

static inline accel_status_t data_count_next(void *context, void *const *fields)
{
    data_count_t *count = context;

    if (count->next == count->length)
        return ACCEL_END;
    memcpy(fields[0], &count->next, sizeof(count->next));
    count->next++;
    return ACCEL_OK;
}

/* known: the loader is told the length. */
static inline accel_dataset_t *data_stream(data_count_t *count, bool known)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    CHECK_OK(accel_stream_dataset_create(
        ACCEL_STREAM_OPTIONS(.begin = data_count_begin, .next = data_count_next, .context = count,
                             .fields = &field, .num_fields = 1,
                             .length = known ? count->length : 0),
        &dataset));
    return dataset;
}

/* What a batch holds is what its indices say. */
static inline void data_check_values(const accel_batch_t *batch)
{
    const int64_t *values = batch->fields[0].data;

    CHECK_INT(batch->rows, batch->fields[0].shape[0]);
    for (int64_t row = 0; row < batch->rows; row++)
        CHECK_INT(batch->indices[row], values[row]);
}

#endif
