/* SPDX-License-Identifier: Apache-2.0 */
/* Which parameters the backwards of a step made gradients of, on any rank: one bit each.
 *
 * A rank writes its bits into memory that the others read, and meets them. There are two places
 * for them, used by turns, and the rank says at the meeting which one it wrote: it comes back to
 * a place only after a further meeting, to which the others come when they have read. */
#ifndef ACCEL_TRAIN_USED_H
#define ACCEL_TRAIN_USED_H

#include "train/arena.h"

typedef struct accel__used {
    size_t num_words;   /* 0: nobody asks, every parameter counts as used */
    uint64_t *mine;     /* since the gradients were cleared */
    uint64_t *anywhere; /* on any rank, as of the last meeting */
    int side;           /* which place was written last: 0 or 1 */
    bool any_ever;      /* some parameter was used, or somebody was told that none was */
} accel__used_t;

/* So many words hold a bit for each parameter. */
size_t accel__used_words(int64_t num_params);

/* Local. No words: there is nothing to do, here and in what follows. */
accel_status_t accel__used_init(accel__used_t *used, size_t num_words);
void accel__used_free(accel__used_t *used); /* one of zeros is fine */

static inline void accel__used_mark(accel__used_t *used, int64_t param)
{
    if (used->num_words > 0)
        used->mine[param / 64] |= UINT64_C(1) << (param % 64);
}

/* As of the last meeting. */
static inline bool accel__used_test(const accel__used_t *used, int64_t param)
{
    return used->num_words == 0 || used->anywhere[param / 64] >> (param % 64) & 1;
}

/* The gradients were cleared. */
void accel__used_forget(accel__used_t *used);

/* Before a meeting: this rank's bits to where the others read them; returns the place. */
int accel__used_publish(accel__used_t *used, const accel__arena_t *arena);

/* Behind it: the bits of all ranks begin as none, and those of a rank join them. */
void accel__used_begin(accel__used_t *used);
void accel__used_join(accel__used_t *used, const accel__arena_t *arena, int32_t rank, int side);

#endif
