/* SPDX-License-Identifier: Apache-2.0 */
#include "data/plan.h"

#include <string.h>

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t accel__plan_padding(const accel__plan_t *plan, int64_t rows)
{
    int64_t over = plan->multiple > 1 ? rows % plan->multiple : 0;

    return over ? plan->multiple - over : 0;
}

/* Sample number `k` of the epoch's order, which repeats. */
static int64_t sample_at(const accel__plan_t *plan, int64_t k)
{
    k %= plan->offsets ? plan->offsets[plan->shard.samples] : plan->shard.samples;
    return plan->order ? plan->order[k] : k;
}

static void pad(const accel__plan_t *plan, accel__step_t *step, int64_t *indices)
{
    int64_t padding = accel__plan_padding(plan, step->rows);

    for (int64_t k = 0; k < padding; k++)
        indices[step->rows + k] = sample_at(plan, k);
    step->rows += padding;
    step->step_rows += padding;
}

/* ---- samples of one order ---- */

static void shard_step(const accel__plan_t *plan, int64_t number, accel__step_t *step,
                       int64_t *indices)
{
    const accel_shard_t *shard = &plan->shard;
    int64_t length = accel__shard_global_batch(shard) / shard->num_processes;

    step->rows = accel__shard_window(shard, plan->start, number, plan->rank, indices);
    step->real_rows = accel__shard_real_from(shard, plan->start, number);
    step->own_rows = step->real_rows - plan->rank * length;
    step->own_rows = step->own_rows < 0 ? 0 : smaller(step->own_rows, step->rows);
    step->step_rows = shard->even_batches ? length * shard->num_processes : step->real_rows;
    if (plan->order)
        for (int64_t row = 0; row < step->rows; row++)
            indices[row] = plan->order[indices[row]];
}

/* ---- batches that somebody else has made ---- */

static int64_t batch_size(const accel__plan_t *plan, int64_t batch)
{
    return plan->offsets[batch + 1] - plan->offsets[batch];
}

/* The batches of a rank's window, one after the other; indices NULL: only how many rows. */
static int64_t batch_rows(const accel__plan_t *plan, int64_t number, int64_t rank, int64_t *indices)
{
    accel_shard_t one = plan->shard;
    int64_t per_rank = plan->shard.batch_size, rows = 0;

    /* As if each of them were a rank's: a window of one needs no memory for its positions. */
    one.batch_size = 1;
    one.num_processes *= per_rank;
    for (int64_t k = 0; k < per_rank; k++) {
        int64_t batch, size;

        if (accel__shard_window(&one, plan->start, number, rank * per_rank + k, &batch) == 0)
            break;
        size = batch_size(plan, batch);
        if (indices)
            memcpy(indices + rows, plan->order + plan->offsets[batch],
                   (size_t)size * sizeof(*indices));
        rows += size;
    }
    return rows;
}

static void batch_step(const accel__plan_t *plan, int64_t number, accel__step_t *step,
                       int64_t *indices)
{
    const accel_shard_t *shard = &plan->shard;
    int64_t global = accel__shard_global_batch(shard), first = plan->start + number * global;
    int64_t last = smaller(first + global, shard->samples);

    step->rows = batch_rows(plan, number, plan->rank, indices);
    step->own_rows = first + plan->rank * shard->batch_size < last ? step->rows : 0;
    step->real_rows = plan->offsets[last] - plan->offsets[first];
    step->step_rows = 0;
    for (int64_t rank = 0; rank < shard->num_processes; rank++)
        step->step_rows += batch_rows(plan, number, rank, NULL);
}

/* ---- ranks with samples of their own ---- */

static accel_shard_t shard_of_rank(const accel__plan_t *plan, int64_t rank)
{
    accel_shard_t shard = plan->shard;

    shard.samples = plan->lengths[rank];
    return shard;
}

static void presharded_step(const accel__plan_t *plan, int64_t number, accel__step_t *step,
                            int64_t *indices)
{
    shard_step(plan, number, step, indices);
    step->real_rows = step->step_rows = 0;
    for (int64_t rank = 0; rank < plan->num_ranks; rank++) {
        accel_shard_t shard = shard_of_rank(plan, rank);

        step->real_rows += accel__shard_real_from(&shard, plan->start, number);
        step->step_rows += accel__shard_window(&shard, plan->start, number, 0, NULL);
    }
}

/* As many as the rank with the most has; those that drop what is left over, as the one with the
 * fewest. */
static int64_t presharded_steps(const accel__plan_t *plan)
{
    int64_t steps = plan->shard.drop_last ? INT64_MAX : 0;

    for (int64_t rank = 0; rank < plan->num_ranks; rank++) {
        accel_shard_t shard = shard_of_rank(plan, rank);
        int64_t own = accel__shard_steps_from(&shard, plan->start);

        if (plan->shard.drop_last ? own < steps : own > steps)
            steps = own;
    }
    return steps;
}

/* ---- all of them ---- */

int64_t accel__plan_steps(const accel__plan_t *plan)
{
    if (plan->dataset->begin)
        return ACCEL__STEPS_UNKNOWN;
    return plan->lengths ? presharded_steps(plan)
                         : accel__shard_steps_from(&plan->shard, plan->start);
}

int64_t accel__plan_capacity(const accel__plan_t *plan)
{
    const accel_shard_t *shard = &plan->shard;
    int64_t most = 0;

    if (!plan->offsets) {
        most = accel__shard_global_batch(shard) / shard->num_processes;
        /* Where nothing is padded, a batch has no more rows than there are samples. */
        if (!plan->dataset->begin && !shard->even_batches && most > shard->samples)
            most = shard->samples;
        return most + accel__plan_padding(plan, most);
    }
    for (int64_t batch = 0; batch < shard->samples; batch++)
        if (batch_size(plan, batch) > most)
            most = batch_size(plan, batch);
    most *= shard->batch_size;
    return most + accel__plan_padding(plan, most);
}

void accel__plan_step(const accel__plan_t *plan, int64_t number, accel__step_t *step,
                      int64_t *indices)
{
    if (plan->offsets)
        batch_step(plan, number, step, indices);
    else if (plan->lengths)
        presharded_step(plan, number, step, indices);
    else
        shard_step(plan, number, step, indices);
    pad(plan, step, indices);
    step->last = number + 1 == plan->steps;
}
