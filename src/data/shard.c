/* SPDX-License-Identifier: Apache-2.0 */
/* Accelerate's sharding in closed form: the global batches are windows on the endless
 * repetition of the epoch's order, cut in equal parts for the ranks. Padding is nothing but
 * the window's last positions taken modulo the number of samples. */
#include "data/shard.h"

int64_t accel__shard_global_batch(const accel_shard_t *shard)
{
    return shard->split_batches ? shard->batch_size : shard->batch_size * shard->num_processes;
}

/* Sums of positions must fit, too: samples plus one global batch. */
static bool sizes_fit(const accel_shard_t *shard)
{
    int64_t global = shard->batch_size, end;

    if (!shard->split_batches && __builtin_mul_overflow(global, shard->num_processes, &global))
        return false;
    return !__builtin_add_overflow(shard->samples, global, &end);
}

static bool is_valid(const accel_shard_t *shard)
{
    return shard && shard->samples >= 0 && shard->batch_size >= 1 && shard->num_processes >= 1 &&
           sizes_fit(shard) &&
           (!shard->split_batches || shard->batch_size % shard->num_processes == 0);
}

accel_status_t accel_shard_check(const accel_shard_t *shard)
{
    if (is_valid(shard))
        return ACCEL_OK;
    if (!shard)
        return accel__fail(ACCEL_ERR_INVALID, "accel_shard_check: the shard is NULL");
    if (shard->samples < 0)
        return accel__fail(ACCEL_ERR_INVALID, "samples is %lld; expected 0 or more",
                           (long long)shard->samples);
    if (shard->batch_size < 1)
        return accel__fail(ACCEL_ERR_INVALID, "batch_size is %lld; expected 1 or more",
                           (long long)shard->batch_size);
    if (shard->num_processes < 1)
        return accel__fail(ACCEL_ERR_INVALID, "num_processes is %lld; expected 1 or more",
                           (long long)shard->num_processes);
    if (!sizes_fit(shard))
        return accel__fail(ACCEL_ERR_INVALID,
                           "batch_size %lld on %lld processes over %lld samples is too large",
                           (long long)shard->batch_size, (long long)shard->num_processes,
                           (long long)shard->samples);
    return accel__fail(ACCEL_ERR_INVALID,
                       "split_batches: batch_size %lld is not a multiple of %lld processes",
                       (long long)shard->batch_size, (long long)shard->num_processes);
}

int64_t accel__shard_steps_from(const accel_shard_t *shard, int64_t start)
{
    int64_t global, left;

    if (!is_valid(shard) || start >= shard->samples)
        return 0;
    global = accel__shard_global_batch(shard);
    left = shard->samples - start;
    return left / global + (!shard->drop_last && left % global != 0);
}

int64_t accel__shard_window(const accel_shard_t *shard, int64_t start, int64_t step, int64_t rank,
                            int64_t *positions)
{
    int64_t global = accel__shard_global_batch(shard), length = global / shard->num_processes;
    int64_t first = start + step * global + rank * length;

    if (shard->samples == 0)
        return 0;
    if (!shard->even_batches && !shard->drop_last) {
        if (first >= shard->samples)
            return 0;
        if (length > shard->samples - first)
            length = shard->samples - first;
    }
    if (!positions)
        return length;
    first %= shard->samples;
    for (int64_t k = 0; k < length; k++) {
        positions[k] = first++;
        if (first == shard->samples)
            first = 0;
    }
    return length;
}

int64_t accel__shard_real_from(const accel_shard_t *shard, int64_t start, int64_t step)
{
    int64_t global = accel__shard_global_batch(shard);
    int64_t left = shard->samples - start - step * global;

    return left < 0 ? 0 : left < global ? left : global;
}

int64_t accel_shard_steps(const accel_shard_t *shard)
{
    return accel__shard_steps_from(shard, 0);
}

static bool has_step(const accel_shard_t *shard, int64_t step)
{
    return step >= 0 && step < accel_shard_steps(shard);
}

int64_t accel_shard_batch(const accel_shard_t *shard, int64_t step, int64_t rank,
                          int64_t *positions)
{
    if (!has_step(shard, step) || rank < 0 || rank >= shard->num_processes)
        return 0;
    return accel__shard_window(shard, 0, step, rank, positions);
}

int64_t accel_shard_real_rows(const accel_shard_t *shard, int64_t step)
{
    return has_step(shard, step) ? accel__shard_real_from(shard, 0, step) : 0;
}

accel_split_t accel_split(int64_t length, int64_t num_processes, int64_t process_index,
                          bool apply_padding)
{
    accel_split_t split = {0, 0, 0};
    int64_t share, longer;

    if (length < 0 || num_processes < 1 || process_index < 0 || process_index >= num_processes)
        return split;
    share = length / num_processes;
    longer = length % num_processes;
    split.begin = process_index * share + (process_index < longer ? process_index : longer);
    split.count = share + (process_index < longer);
    split.padding = apply_padding && longer > 0 && process_index >= longer;
    return split;
}
