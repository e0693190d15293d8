/* SPDX-License-Identifier: Apache-2.0 */
#include "train/overlap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void reset(accel__overlap_t *overlap)
{
    for (int b = 0; b < overlap->layout->num_runs; b++)
        overlap->buckets[b] = (accel__bucket_t){.waiting = overlap->layout->runs[b].num_params};
    overlap->announced = overlap->announced_anywhere = false;
    overlap->on_wire = -1;
}

accel_status_t accel__overlap_init(accel__overlap_t *overlap, accel__arena_t *arena,
                                   const accel__layout_t *layout)
{
    size_t count = (size_t)layout->num_runs + 1;
    int64_t wire_us = 0;
    bool set;
    accel_status_t status = accel__env_int("ACCEL_TEST_WIRE_US", 0, 1000000, &wire_us, &set);

    if (status != ACCEL_OK)
        return status;
    *overlap = (accel__overlap_t){.arena = arena,
                                  .layout = layout,
                                  .buckets = calloc(count, sizeof(*overlap->buckets)),
                                  .window = 1,
                                  .wire_ns = (uint64_t)wire_us * 1000};
    if (!overlap->buckets)
        return accel__fail_memory("the buckets of a model", count * sizeof(*overlap->buckets));
    reset(overlap);
    return ACCEL_OK;
}

void accel__overlap_free(accel__overlap_t *overlap)
{
    free(overlap->buckets);
    *overlap = (accel__overlap_t){0};
}

/* ---- marks ---- */

static void mark(accel__overlap_t *overlap, int bucket)
{
    atomic_store_explicit(accel__arena_mark(overlap->arena, overlap->arena->rank, bucket),
                          overlap->window, memory_order_release);
}

static bool is_complete(const accel__overlap_t *overlap, int bucket)
{
    const accel__arena_t *arena = overlap->arena;

    for (int32_t r = 0; r < arena->num_ranks; r++)
        if (atomic_load_explicit(accel__arena_mark(arena, r, bucket), memory_order_acquire) !=
            overlap->window)
            return false;
    return true;
}

/* ---- the wire: a network between the ranks, for tests ---- */

/* Nanoseconds until the bucket is here. One is under way at a time. */
static uint64_t still_on_wire(accel__overlap_t *overlap, int bucket)
{
    uint64_t now, arrival;

    if (overlap->wire_ns == 0 || overlap->arena->num_ranks == 1)
        return 0;
    now = accel__clock_ns();
    if (overlap->on_wire < 0) {
        overlap->on_wire = bucket;
        overlap->sent_at = now;
    }
    arrival = overlap->sent_at + overlap->wire_ns;
    if (overlap->on_wire == bucket && now >= arrival) {
        overlap->on_wire = -1;
        return 0;
    }
    return now < arrival ? arrival - now : 1;
}

/* What was sent before arrives first. */
static void receive(accel__overlap_t *overlap, int bucket)
{
    uint64_t ns;

    while ((ns = still_on_wire(overlap, bucket)) > 0) {
        struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000),
                                .tv_nsec = (long)(ns % 1000000000)};

        (void)nanosleep(&rest, NULL);
        if (overlap->on_wire != bucket)
            overlap->on_wire = -1;
    }
}

void accel__overlap_receive_all(accel__overlap_t *overlap)
{
    for (int b = 0; b < overlap->layout->num_runs && overlap->wire_ns > 0; b++)
        if (accel__overlap_is_raw(overlap, b))
            receive(overlap, b);
}

/* ---- reducing ---- */

static void copy_to_others(const accel__arena_t *arena, const accel__run_t *run, size_t first,
                           size_t count)
{
    for (int32_t r = 0; r < arena->num_ranks; r++)
        if (r != arena->rank)
            memcpy(accel__arena_gradients(arena, run, r, first),
                   accel__arena_gradients(arena, run, arena->rank, first),
                   count * accel_dtype_size(run->gradient_dtype));
}

/* Unit by unit: what was read for the sum is in the cache for the result. */
static void reduce(accel__overlap_t *overlap, int bucket, bool everywhere)
{
    accel__arena_t *arena = overlap->arena;
    accel__bucket_t *it = &overlap->buckets[bucket];
    const accel__run_t *run = &overlap->layout->runs[bucket];
    accel__slice_t own = accel__layout_slice(run, arena->rank, arena->num_ranks);
    bool average = it->state == ACCEL__BUCKET_RAW;
    bool spread = everywhere && it->state != ACCEL__BUCKET_EVERYWHERE;

    for (size_t at = own.begin; at < own.end && arena->num_ranks > 1; at += run->unit) {
        if (average)
            accel__arena_average(arena, run, at, run->unit,
                                 accel__arena_gradients(arena, run, arena->rank, at));
        if (spread)
            copy_to_others(arena, run, at, run->unit);
    }
    if (average || spread)
        it->state = everywhere ? ACCEL__BUCKET_EVERYWHERE : ACCEL__BUCKET_OWN;
}

void accel__overlap_reduce_all(accel__overlap_t *overlap, bool everywhere)
{
    for (int b = 0; b < overlap->layout->num_runs; b++) {
        if (accel__overlap_is_raw(overlap, b))
            receive(overlap, b);
        reduce(overlap, b, everywhere);
    }
}

/* ---- early ---- */

/* In any order: a bucket with a gradient that never comes holds up no other. */
static void reduce_complete(accel__overlap_t *overlap, bool everywhere)
{
    for (int b = 0; b < overlap->layout->num_runs; b++) {
        if (overlap->buckets[b].waiting > 0 || !accel__overlap_is_raw(overlap, b) ||
            !is_complete(overlap, b) || still_on_wire(overlap, b) > 0)
            continue;
        reduce(overlap, b, everywhere);
        overlap->num_early++;
    }
}

void accel__overlap_ready(accel__overlap_t *overlap, int bucket, bool everywhere)
{
    if (!overlap->announced) {
        overlap->announced = true;
        overlap->num_early = 0;
    }
    if (overlap->stale)
        return;
    if (--overlap->buckets[bucket].waiting == 0)
        mark(overlap, bucket);
    reduce_complete(overlap, everywhere);
}

void accel__overlap_drop(accel__overlap_t *overlap)
{
    if (!overlap->buckets)
        return;
    overlap->stale = overlap->stale || overlap->announced;
    reset(overlap);
}

void accel__overlap_next_window(accel__overlap_t *overlap)
{
    overlap->window++;
    overlap->stale = false;
    reset(overlap);
}
