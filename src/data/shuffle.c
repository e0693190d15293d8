/* SPDX-License-Identifier: Apache-2.0 */
#include <accel/data.h>

#include "base/base.h"

/* From here on torch draws 64 bits, because a remainder of 32 would be visibly uneven, and
 * shuffles the other way round. */
#define WIDE_SAMPLES (INT64_C(0xffffffff) / 20)

/* From front to back, each place swaps with one that is not before it. */
static void shuffle(accel__mt19937_t *rng, int64_t samples, int64_t *order)
{
    for (int64_t i = 0; i < samples; i++)
        order[i] = i;
    for (int64_t i = 0; i < samples - 1; i++) {
        int64_t other = i + accel__mt19937_next(rng) % (samples - i);
        int64_t value = order[i];

        order[i] = order[other];
        order[other] = value;
    }
}

static uint64_t draw_64(accel__mt19937_t *rng)
{
    uint64_t high = accel__mt19937_next(rng);

    return high << 32 | accel__mt19937_next(rng);
}

/* Inside out: each number takes a place among those before it, whose number moves to the end. */
static void shuffle_wide(accel__mt19937_t *rng, int64_t samples, int64_t *order)
{
    for (int64_t i = 0; i < samples; i++) {
        int64_t place = (int64_t)(draw_64(rng) % (uint64_t)(i + 1));

        order[i] = i;
        order[i] = order[place];
        order[place] = i;
    }
}

void accel_shuffle(uint64_t seed, int64_t epoch, int64_t samples, int64_t *order)
{
    accel__mt19937_t rng;

    accel__mt19937_seed(&rng, (uint32_t)(seed + (uint64_t)epoch));
    if (samples < WIDE_SAMPLES)
        shuffle(&rng, samples, order);
    else
        shuffle_wide(&rng, samples, order);
}
