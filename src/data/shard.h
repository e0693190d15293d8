/* SPDX-License-Identifier: Apache-2.0 */
/* The sharding functions of data.h for an epoch that starts at position `start` of the order, as a
 * resumed one does. Shards are valid ones. */
#ifndef ACCEL_DATA_SHARD_H
#define ACCEL_DATA_SHARD_H

#include <accel/data.h>

#include "base/base.h"

/* Samples of one step over all ranks. */
int64_t accel__shard_global_batch(const accel_shard_t *shard);

int64_t accel__shard_steps_from(const accel_shard_t *shard, int64_t start);

/* accel_shard_batch() at any step, also where all samples were handed out: the order repeats
 * endlessly if that is wanted (even_batches), and ends otherwise. */
int64_t accel__shard_window(const accel_shard_t *shard, int64_t start, int64_t step, int64_t rank,
                            int64_t *positions);

/* accel_shard_real_rows() at any step; 0 beyond the last. */
int64_t accel__shard_real_from(const accel_shard_t *shard, int64_t start, int64_t step);

#endif
