/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a prepared model: one copy of the values for all ranks of the host, and the
 * gradients of each rank, which the others read. */
#ifndef ACCEL_TRAIN_ARENA_H
#define ACCEL_TRAIN_ARENA_H

#include <stdatomic.h>

#include "comm/comm.h"
#include "train/layout.h"

/* The window in which a bucket of a rank's gradients was last complete; see overlap.h. */
typedef _Atomic uint32_t accel__mark_t;

/* Odd while its rank updates values: who finds another's odd after a failure knows that the
 * values are part old, part new. On cache lines of its own. */
typedef struct accel__version {
    _Alignas(128) _Atomic uint32_t word;
} accel__version_t;

typedef struct accel__arena {
    accel_comm_t *comm;
    int32_t rank, num_ranks;
    accel__shared_t memory;
    accel__version_t *versions; /* one a rank */
    unsigned char *marks;       /* accel__arena_mark() */
    size_t marks_size;          /* of one rank, bytes */
    unsigned char *used;        /* accel__arena_used() */
    size_t used_size;           /* of one of a rank's two places, bytes */
    unsigned char *values;      /* layout.size bytes */
    unsigned char **gradients;  /* each rank's layout.gradients_size bytes */
    accel_dtype_t wire;         /* what float32 gradients are rounded to before */
    const void **sources;       /* num_ranks pointers for a reduction */
    unsigned char *met;         /* what the ranks bring to a barrier */
} accel__arena_t;

/* Local: what can fail on one rank alone. */
accel_status_t accel__arena_reserve(accel__arena_t *arena, accel_comm_t *comm);

/* Collective. On an error the arena is as after _reserve. */
accel_status_t accel__arena_map(accel__arena_t *arena, const accel__layout_t *layout);

/* Local; an arena of zeros is fine. */
void accel__arena_release(accel__arena_t *arena);

/* Write this rank's slices of the values and its gradients once, so that their pages lie
 * near it. */
void accel__arena_touch(accel__arena_t *arena, const accel__layout_t *layout);

/* Element i of a run's arrays. */
static inline unsigned char *accel__arena_values(const accel__arena_t *arena,
                                                 const accel__run_t *run, size_t i)
{
    return arena->values + run->values + i * accel_dtype_size(run->dtype);
}

static inline unsigned char *accel__arena_copies(const accel__arena_t *arena,
                                                 const accel__run_t *run, size_t i)
{
    return arena->values + run->copies + i * accel_dtype_size(run->copy_dtype);
}

static inline unsigned char *accel__arena_gradients(const accel__arena_t *arena,
                                                    const accel__run_t *run, int32_t rank, size_t i)
{
    return arena->gradients[rank] + run->gradients + i * accel_dtype_size(run->gradient_dtype);
}

/* Written by its own rank alone. */
static inline accel__mark_t *accel__arena_mark(const accel__arena_t *arena, int32_t rank, int run)
{
    return (accel__mark_t *)(arena->marks + (size_t)rank * arena->marks_size) + run;
}

/* Written by its own rank alone; side is 0 or 1. */
static inline uint64_t *accel__arena_used(const accel__arena_t *arena, int32_t rank, int side)
{
    return (uint64_t *)(void *)(arena->used + (2 * (size_t)rank + (size_t)side) * arena->used_size);
}

/* The average over the ranks of `count` gradients of a run from element `first` on, of their
 * type, into `average`, which may be this rank's own place. Sums are formed in float32 or wider
 * and rounded once. */
void accel__arena_average(accel__arena_t *arena, const accel__run_t *run, size_t first,
                          size_t count, void *average);

/* Renew the copies of `count` values, if the run has any. */
void accel__arena_copy(const accel__arena_t *arena, const accel__run_t *run, size_t first,
                       size_t count);

void accel__arena_update_begin(accel__arena_t *arena);
void accel__arena_update_end(accel__arena_t *arena);

/* Did an update of this rank's not come to its end? */
bool accel__arena_is_torn(const accel__arena_t *arena);

#endif
