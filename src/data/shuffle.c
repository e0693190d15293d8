/* SPDX-License-Identifier: Apache-2.0 */
#include <accel/data.h>

#include "base/base.h"

/* From here on torch draws 64 bits, because a remainder of 32 would be visibly uneven. */
#define WIDE_SAMPLES (UINT32_MAX / 20)

static uint64_t draw(accel__mt19937_t *rng, bool wide)
{
    uint64_t bits = accel__mt19937_next(rng);

    return wide ? bits << 32 | accel__mt19937_next(rng) : bits;
}

/* torch's randperm_cpu: from front to back, each place swaps with one not before it. */
void accel_shuffle(uint64_t seed, int64_t epoch, int64_t samples, int64_t *order)
{
    accel__mt19937_t rng;
    bool wide = samples >= (int64_t)WIDE_SAMPLES;

    accel__mt19937_seed(&rng, (uint32_t)(seed + (uint64_t)epoch));
    for (int64_t i = 0; i < samples; i++)
        order[i] = i;
    for (int64_t i = 0; i < samples - 1; i++) {
        int64_t other = i + (int64_t)(draw(&rng, wide) % (uint64_t)(samples - i));
        int64_t value = order[i];

        order[i] = order[other];
        order[other] = value;
    }
}
