/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's steps. Every rank that reads the stream reads all of it, and keeps its own window of
 * each global batch. The last one is filled up with the first, as Accelerate's
 * IterableDatasetShard does, so that one is kept. */
#include "data/slot.h"

/* Is an incomplete last step filled up: for all ranks, or to a multiple? */
static bool fills_up(const accel__plan_t *plan)
{
    return (plan->shard.even_batches || plan->multiple > 1) && !plan->shard.drop_last;
}

/* Rows of a global batch of which `real` samples were there. */
static int64_t filled_rows(const accel__plan_t *plan, int64_t real)
{
    if (!fills_up(plan))
        return real;
    return plan->multiple > 1 ? real + accel__plan_padding(plan, real)
                              : accel__shard_global_batch(&plan->shard);
}

accel_status_t accel__source_start(accel__source_t *stream, const accel__plan_t *plan)
{
    accel_status_t status;

    stream->position = stream->num_first = 0;
    stream->ended = false;
    if (stream->allocated)
        return ACCEL_OK;
    status = accel__samples_init(&stream->scratch, plan->dataset, 1, false);
    if (status == ACCEL_OK && fills_up(plan))
        status = accel__samples_init(&stream->first, plan->dataset,
                                     accel__shard_global_batch(&plan->shard), false);
    stream->allocated = status == ACCEL_OK;
    if (status != ACCEL_OK)
        accel__source_fini(stream);
    return status;
}

void accel__source_fini(accel__source_t *stream)
{
    accel__samples_fini(&stream->first);
    accel__samples_fini(&stream->scratch);
    *stream = (accel__source_t){0};
}

/* The next sample into a row; a sample of the first global batch is kept besides. */
static accel_status_t read_sample(accel__source_t *stream, accel__samples_t *to, int64_t row,
                                  const accel__plan_t *plan)
{
    accel_status_t status =
        stream->ended ? ACCEL_END : accel__samples_next(to, row, stream->position);

    stream->ended |= status == ACCEL_END;
    if (status != ACCEL_OK)
        return status;
    if (fills_up(plan) && stream->position < stream->first.capacity) {
        if (stream->position == 0)
            accel__samples_clear(&stream->first);
        status = accel__samples_copy(&stream->first, stream->position, to, row);
        stream->num_first = stream->position + 1;
    }
    stream->position++;
    return status;
}

/* A sample that is not for this rank. */
static accel_status_t pass_over(accel__source_t *stream, const accel__plan_t *plan)
{
    accel__samples_clear(&stream->scratch);
    return read_sample(stream, &stream->scratch, 0, plan);
}

/* What was handed out before the epoch was resumed. */
static accel_status_t skip(accel__source_t *stream, const accel__plan_t *plan,
                           const atomic_bool *cancelled)
{
    while (stream->position < plan->start) {
        accel_status_t status = pass_over(stream, plan);

        if (status != ACCEL_OK)
            return status;
        if (atomic_load_explicit(cancelled, memory_order_relaxed))
            return accel__fail(ACCEL_ERR_CANCELLED, "the epoch was given up");
    }
    return ACCEL_OK;
}

/* Sample k of the global batch: this rank's row, or another's. */
static accel_status_t read_one(accel__source_t *stream, accel__slot_t *slot, int64_t row,
                               int64_t window, const accel__plan_t *plan)
{
    accel_status_t status;

    if (row < 0 || row >= window)
        return pass_over(stream, plan);
    slot->indices[row] = stream->position;
    status = read_sample(stream, &slot->samples, row, plan);
    if (status == ACCEL_OK)
        slot->step.own_rows = row + 1;
    return status;
}

static accel_status_t fill_up(accel__source_t *stream, accel__slot_t *slot, int64_t first,
                              int64_t window)
{
    accel_status_t status = ACCEL_OK;

    for (int64_t row = slot->step.own_rows; row < window && status == ACCEL_OK; row++) {
        int64_t from = (first + row - slot->step.real_rows) % stream->num_first;

        slot->indices[row] = from;
        status = accel__samples_copy(&slot->samples, row, &stream->first, from);
    }
    slot->step.rows = window;
    return status;
}

accel_status_t accel__source_fill(accel__source_t *stream, accel__slot_t *slot,
                                  const accel__plan_t *plan, const atomic_bool *cancelled)
{
    const int64_t global = accel__shard_global_batch(&plan->shard);
    int64_t window = global / plan->shard.num_processes, first = plan->rank * window;
    accel__step_t *step = &slot->step;
    accel_status_t status = skip(stream, plan, cancelled);

    *step = (accel__step_t){0};
    accel__samples_clear(&slot->samples);
    for (; status == ACCEL_OK && step->real_rows < global; step->real_rows++) {
        if (atomic_load_explicit(cancelled, memory_order_relaxed))
            return accel__fail(ACCEL_ERR_CANCELLED, "the epoch was given up");
        status = read_one(stream, slot, step->real_rows - first, window, plan);
        if (status != ACCEL_OK)
            break;
    }
    if (status != ACCEL_OK && status != ACCEL_END)
        return status;
    if (step->real_rows == 0 || (plan->shard.drop_last && step->real_rows < global))
        return ACCEL_END;
    step->rows = step->own_rows;
    step->step_rows = filled_rows(plan, step->real_rows);
    window = step->step_rows / plan->shard.num_processes;
    return fills_up(plan) ? fill_up(stream, slot, first, window) : ACCEL_OK;
}
