/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ACCEL_DATA_LOADER_H
#define ACCEL_DATA_LOADER_H

#include "data/data.h"
#include "data/reader.h"

struct accel_loader {
    accel_dataset_t *dataset; /* borrowed */
    accel_loader_options_t options;
    uint64_t seed;
    accel_shard_t shard; /* in force */
    int64_t rank;
    accel__reader_t reader;
    int64_t *order; /* of the epoch, if shuffled; made by the first epoch */

    bool under_way;
    int64_t steps, step; /* step: batches handed out in this epoch */

    bool prepared;
    accel__link_t link;
    accel__active_loaders_t *active; /* NULL when not prepared */
    accel_loader_t *outer;           /* the loader under way around this one */
};

/* The shard of `num_processes` where the loader's options leave the defaults open. */
accel_status_t accel__loader_resolve(const accel_loader_t *loader, int64_t num_processes,
                                     bool split_batches, bool even_batches, accel_shard_t *shard);

/* Put the loader on the stack of those under way, and take it off from wherever it is. */
void accel__loader_push(accel_loader_t *loader);
void accel__loader_pop(accel_loader_t *loader);

#endif
