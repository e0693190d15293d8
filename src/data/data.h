/* SPDX-License-Identifier: Apache-2.0 */
/* What the façade may ask of the data room, and what its files share. */
#ifndef ACCEL_DATA_DATA_H
#define ACCEL_DATA_DATA_H

#include <accel/data.h>

#include "comm/comm.h"

/* The prepared loaders of an accelerator that are in an epoch, the one under way first: what
 * gather_for_metrics and accumulate look at. A loader goes to the top in _begin and with each
 * batch, and takes itself out at its end. */
typedef struct accel__active_loaders {
    accel_loader_t *top;
} accel__active_loaders_t;

typedef struct accel__loader_world {
    int64_t process_index, num_processes;
    bool split_batches, even_batches;  /* where the loader's own options say default */
    accel_tristate_t dispatch_batches; /* default: by the kind of data */
    accel_comm_t *comm;                /* borrowed */
    const int64_t *lengths;            /* every rank's accel__loader_length(); for the call */
    accel__active_loaders_t *active;   /* borrowed */
    accel__link_t *prepared;           /* the ring the loader links itself into */
} accel__loader_world_t;

/* What the other ranks have to know of the length of this one's data; -1. */
int64_t accel__loader_own_length(const accel_loader_t *loader);

/* The seed of a loader that named none; before it is prepared. */
void accel__loader_set_default_seed(accel_loader_t *loader, uint64_t seed);

/* Shard the loader. ACCEL_ERR_STATE if it is prepared already or in an epoch. Local. */
accel_status_t accel__loader_prepare(accel_loader_t *loader, const accel__loader_world_t *world);

/* Of the loader under way, which is the one that handed out the latest batch: is that the epoch's
 * last? False when there is none. */
bool accel__loaders_at_end(const accel__active_loaders_t *active);

/* How many batches of that loader's epoch are left, the latest one counted in: 1 at the end. -1
 * when there is none, or the end is not known yet. */
int64_t accel__loaders_batches_left(const accel__active_loaders_t *active);

/* The prepared loaders that shard: even_batches as given, and as it was before. ACCEL_ERR_STATE if
 * one of them is in an epoch. */
accel_status_t accel__loaders_even_begin(accel__link_t *prepared, bool even_batches);
void accel__loaders_even_end(accel__link_t *prepared);

/* What gather_for_metrics is to do with rows that belong to that batch: of all ranks' rows keep the
 * first keep_rows (-1: all), or of this rank's own only own_rows of every batch_rows (-1: all). */
typedef struct accel__metric_rows {
    int64_t keep_rows, own_rows, batch_rows;
} accel__metric_rows_t;

accel__metric_rows_t accel__loaders_metric_rows(const accel__active_loaders_t *active);

/* A hash of what must agree between ranks (length, batch size, flags, seed, fields), and
 * the text that says it, for the message when it does not. */
uint64_t accel__loader_signature(const accel_loader_t *loader, char *text, size_t size);

#endif
