/* SPDX-License-Identifier: Apache-2.0 */
/* What the façade may ask of the data room, and what its files share. */
#ifndef ACCEL_DATA_DATA_H
#define ACCEL_DATA_DATA_H

#include <accel/data.h>

#include "base/base.h"

/* The prepared loaders of an accelerator that are in an epoch, innermost first: what
 * gather_for_metrics and accumulate look at. A loader pushes itself in _begin and takes
 * itself out at its end. */
typedef struct accel__active_loaders {
    accel_loader_t *top;
} accel__active_loaders_t;

typedef struct accel__loader_world {
    int64_t process_index, num_processes;
    bool split_batches, even_batches; /* where the loader's own options say default */
    accel__active_loaders_t *active;  /* borrowed */
    accel__link_t *prepared;          /* the ring the loader links itself into */
} accel__loader_world_t;

/* Shard the loader. ACCEL_ERR_STATE if it is prepared already or in an epoch. Local. */
accel_status_t accel__loader_prepare(accel_loader_t *loader, const accel__loader_world_t *world);

/* Of the innermost loader under way: is the batch last handed out the epoch's last? False
 * when there is none. */
bool accel__loaders_at_end(const accel__active_loaders_t *active);

/* Of the batch last handed out by it: the rows over all ranks that are not padding; -1 when
 * there is none, or nothing of this step is padding. */
int64_t accel__loaders_real_rows(const accel__active_loaders_t *active);

/* A hash of what must agree between ranks (length, batch size, flags, seed, fields), and
 * the text that says it, for the message when it does not. */
uint64_t accel__loader_signature(const accel_loader_t *loader, char *text, size_t size);

#endif
