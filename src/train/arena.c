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
                              .met = calloc(ranks, ACCEL__MEET_MAX)};
    if (!arena->gradients || !arena->sources || !arena->met) {
        accel__arena_release(arena);
        return accel__fail_memory("places of the ranks' gradients", ranks * sizeof(void *));
    }
    return ACCEL_OK;
}

/* The block is: versions, values, gradients of rank 0, gradients of rank 1, ... */
accel_status_t accel__arena_map(accel__arena_t *arena, const accel__layout_t *layout)
{
    size_t ranks = (size_t)arena->num_ranks;
    size_t head = accel__round_up(ranks * sizeof(accel__version_t), ACCEL__PAGE);
    size_t size = head + layout->size + ranks * layout->trainable_size;
    accel_status_t status = accel__comm_share(arena->comm, size, &arena->memory);
    unsigned char *base;

    if (status != ACCEL_OK)
        return status;
    base = arena->memory.base;
    arena->versions = arena->memory.base;
    arena->values = base + head;
    for (size_t r = 0; r < ranks; r++)
        arena->gradients[r] = base + head + layout->size + r * layout->trainable_size;
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

void accel__arena_touch(accel__arena_t *arena, const accel__layout_t *layout)
{
    for (int r = 0; r < ACCEL__NUM_RUNS; r++) {
        accel__slice_t own = accel__layout_slice(&layout->runs[r], arena->rank, arena->num_ranks);

        memset(arena->values + own.begin, 0, own.end - own.begin);
    }
    memset(arena->gradients[arena->rank], 0, layout->trainable_size);
}

void accel__arena_average(accel__arena_t *arena, size_t offset, size_t count, accel_dtype_t dtype,
                          void *average)
{
    for (int32_t r = 0; r < arena->num_ranks; r++)
        arena->sources[r] = arena->gradients[r] + offset;
    accel__reduce_block(average, arena->sources, arena->num_ranks, count, dtype, ACCEL_MEAN);
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
