/* SPDX-License-Identifier: Apache-2.0 */
#include "train/arena.h"

#include <stdlib.h>
#include <string.h>

accel_status_t accel__arena_reserve(accel__arena_t *arena, accel_comm_t *comm)
{
    size_t ranks = (size_t)accel_comm_size(comm);

    *arena = (accel__arena_t){.comm = comm,
                              .rank = accel_comm_rank(comm),
                              .num_ranks = accel_comm_size(comm),
                              .gradients = calloc(ranks, sizeof(*arena->gradients)),
                              .sources = calloc(ranks, sizeof(*arena->sources)),
                              .met = calloc(ranks, ACCEL__MEET_MAX),
                              .wire = ACCEL_F32};
    if (!arena->gradients || !arena->sources || !arena->met) {
        accel__arena_release(arena);
        return accel__fail_memory("places of the ranks' gradients", ranks * sizeof(void *));
    }
    return ACCEL_OK;
}

/* The block is: versions, marks, used, values and copies, gradients of rank 0, of rank 1, ... */
accel_status_t accel__arena_map(accel__arena_t *arena, const accel__layout_t *layout)
{
    size_t ranks = (size_t)arena->num_ranks;
    size_t versions = ranks * sizeof(accel__version_t);
    size_t marks =
        accel__round_up((size_t)layout->num_runs * sizeof(accel__mark_t), sizeof(accel__version_t));
    size_t used = accel__round_up(layout->used_words * sizeof(uint64_t), sizeof(accel__version_t));
    size_t head = accel__round_up(versions + ranks * (marks + 2 * used), ACCEL__PAGE);
    size_t size = head + layout->size + ranks * layout->gradients_size;
    accel_status_t status = accel__comm_share(arena->comm, size, &arena->memory);
    unsigned char *base;

    if (status != ACCEL_OK)
        return status;
    base = arena->memory.base;
    arena->versions = arena->memory.base;
    arena->marks = base + versions;
    arena->marks_size = marks;
    arena->used = arena->marks + ranks * marks;
    arena->used_size = used;
    arena->values = base + head;
    for (size_t r = 0; r < ranks; r++)
        arena->gradients[r] = base + head + layout->size + r * layout->gradients_size;
    return ACCEL_OK;
}

void accel__arena_release(accel__arena_t *arena)
{
    if (arena->memory.base)
        accel__comm_unshare(arena->comm, &arena->memory);
    free(arena->gradients);
    free(arena->sources);
    free(arena->met);
    *arena = (accel__arena_t){0};
}

static void touch_copies(accel__arena_t *arena, const accel__run_t *run, accel__slice_t own)
{
    if (run->copy_dtype != ACCEL_F32)
        memset(accel__arena_copies(arena, run, own.begin), 0,
               (own.end - own.begin) * accel_dtype_size(run->copy_dtype));
}

void accel__arena_touch(accel__arena_t *arena, const accel__layout_t *layout)
{
    for (int r = 0; r < layout->num_runs; r++) {
        const accel__run_t *run = &layout->runs[r];
        accel__slice_t own = accel__layout_slice(run, arena->rank, arena->num_ranks);

        if (layout->values_elsewhere)
            break;
        memset(accel__arena_values(arena, run, own.begin), 0,
               (own.end - own.begin) * accel_dtype_size(run->dtype));
        touch_copies(arena, run, own);
    }
    memset(arena->gradients[arena->rank], 0, layout->gradients_size);
}

/* Elements that are rounded at a time: they stay in the first-level cache. */
#define CHUNK 512

/* Each rank's part rounded, the sum in float32, the average rounded: what a compressing
 * communication hook of PyTorch's DistributedDataParallel does to a bucket. */
static void average_compressed(accel__arena_t *arena, size_t count, float *average)
{
    float sum[CHUNK], part[CHUNK];
    uint16_t half[CHUNK];
    const void *const terms[] = {sum, part};
    float ranks = (float)arena->num_ranks;

    accel__assume(arena->num_ranks > 0);
    for (int32_t r = 0; r < arena->num_ranks; r++) {
        accel__convert(half, arena->wire, arena->sources[r], ACCEL_F32, count);
        accel__convert(r == 0 ? sum : part, ACCEL_F32, half, arena->wire, count);
        if (r > 0)
            accel__reduce_block(sum, terms, 2, count, ACCEL_F32, ACCEL_SUM);
    }
    for (size_t i = 0; i < count; i++)
        sum[i] /= ranks;
    accel__convert(half, arena->wire, sum, ACCEL_F32, count);
    accel__convert(average, ACCEL_F32, half, arena->wire, count);
}

static void find_sources(accel__arena_t *arena, const accel__run_t *run, size_t first)
{
    for (int32_t r = 0; r < arena->num_ranks; r++)
        arena->sources[r] = accel__arena_gradients(arena, run, r, first);
}

void accel__arena_average(accel__arena_t *arena, const accel__run_t *run, size_t first,
                          size_t count, void *average)
{
    if (arena->wire == ACCEL_F32 || run->gradient_dtype != ACCEL_F32) {
        find_sources(arena, run, first);
        accel__reduce_block(average, arena->sources, arena->num_ranks, count, run->gradient_dtype,
                            ACCEL_MEAN);
        return;
    }
    for (size_t done = 0; done < count; done += CHUNK) {
        find_sources(arena, run, first + done);
        average_compressed(arena, count - done < CHUNK ? count - done : CHUNK,
                           (float *)average + done);
    }
}

void accel__arena_copy(const accel__arena_t *arena, const accel__run_t *run, size_t first,
                       size_t count)
{
    if (run->copy_dtype != ACCEL_F32)
        accel__convert(accel__arena_copies(arena, run, first), run->copy_dtype,
                       accel__arena_values(arena, run, first), run->dtype, count);
}

/* Only its own rank writes a word, so a plain increment will do. */
static void advance(accel__arena_t *arena)
{
    _Atomic uint32_t *word = &arena->versions[arena->rank].word;

    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + 1,
                          memory_order_release);
}

void accel__arena_update_begin(accel__arena_t *arena)
{
    advance(arena);
}

void accel__arena_update_end(accel__arena_t *arena)
{
    advance(arena);
}

bool accel__arena_is_torn(const accel__arena_t *arena)
{
    const _Atomic uint32_t *word = &arena->versions[arena->rank].word;

    return atomic_load_explicit(word, memory_order_relaxed) & 1;
}
