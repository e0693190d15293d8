/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of the tests that make programs of them: the same from the same seed. */
#ifndef ACCEL_TESTS_RANDOM_H
#define ACCEL_TESTS_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline int64_t below(uint64_t *state, int64_t limit)
{
    return (int64_t)(next_random(state) % (uint64_t)limit);
}

static inline uint64_t number_from_environment(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : fallback;
}

#endif
