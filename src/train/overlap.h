/* SPDX-License-Identifier: Apache-2.0 */
/* Reduction by bucket, which may begin before the backward is over.
 *
 * A rank marks each bucket whose gradients are all there, in memory that the others read. Who
 * sees a bucket marked by every rank reduces its own slice of it: nobody else writes that slice,
 * so that needs no lock. What no rank came to see is reduced behind the next barrier, and gives
 * the same bits, for the sum is always taken in rank order. */
#ifndef ACCEL_TRAIN_OVERLAP_H
#define ACCEL_TRAIN_OVERLAP_H

#include "train/arena.h"

/* What this rank has done with its slice of a bucket. */
typedef enum accel__bucket_state {
    ACCEL__BUCKET_RAW,
    ACCEL__BUCKET_OWN,       /* the average is in this rank's gradients */
    ACCEL__BUCKET_EVERYWHERE /* and in every other rank's */
} accel__bucket_state_t;

typedef struct accel__bucket {
    int64_t waiting; /* gradients that are not ready yet */
    accel__bucket_state_t state;
} accel__bucket_t;

/* A window is what lies between two reductions: every rank counts the same ones. A mark is the
 * number of the window that it belongs to, so that old marks need no clearing. */
typedef struct accel__overlap {
    accel__arena_t *arena;
    const accel__layout_t *layout;
    accel__bucket_t *buckets; /* one a run; NULL: not prepared */
    uint32_t window;
    bool announced;          /* a gradient of this window was said to be ready */
    bool announced_anywhere; /* by any rank; known behind the barrier that begins a reduction */
    bool stale;              /* gradients of this window were dropped: others may still read them,
                                so that none is reduced before the next barrier */
    int num_early;           /* buckets reduced by accel__overlap_ready() since `announced` */
    uint64_t wire_ns;        /* ACCEL_TEST_WIRE_US: how long a bucket is on its way */
    int on_wire;             /* the bucket that is; -1: none */
    uint64_t sent_at;
} accel__overlap_t;

/* Local. */
accel_status_t accel__overlap_init(accel__overlap_t *overlap, accel__arena_t *arena,
                                   const accel__layout_t *layout);
void accel__overlap_free(accel__overlap_t *overlap); /* one of zeros is fine */

/* One more gradient of this bucket is complete; reduce what can be. */
void accel__overlap_ready(accel__overlap_t *overlap, int bucket, bool everywhere);

/* The gradients so far do not count. */
void accel__overlap_drop(accel__overlap_t *overlap);

/* Behind a barrier with all gradients complete: this rank's slices of all buckets. */
void accel__overlap_reduce_all(accel__overlap_t *overlap, bool everywhere);

/* Behind that barrier, where the average of what is still raw is taken elsewhere: all is here. */
void accel__overlap_receive_all(accel__overlap_t *overlap);

static inline bool accel__overlap_is_raw(const accel__overlap_t *overlap, int bucket)
{
    return overlap->buckets[bucket].state == ACCEL__BUCKET_RAW;
}

/* Behind the barrier that ends a reduction or a step. */
void accel__overlap_next_window(accel__overlap_t *overlap);

#endif
