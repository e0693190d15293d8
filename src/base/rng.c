/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <errno.h>
#include <sys/random.h>

#define N 624
#define M 397

/* Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), with the 2002 seeding. */
void accel__mt19937_seed(accel__mt19937_t *rng, uint32_t seed)
{
    rng->state[0] = seed;
    for (uint32_t i = 1; i < N; i++) {
        uint32_t previous = rng->state[i - 1];

        rng->state[i] = UINT32_C(1812433253) * (previous ^ (previous >> 30)) + i;
    }
    rng->next = N;
}

static void generate(uint32_t *state)
{
    for (uint32_t i = 0; i < N; i++) {
        uint32_t y =
            (state[i] & UINT32_C(0x80000000)) | (state[(i + 1) % N] & UINT32_C(0x7fffffff));

        state[i] = state[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? UINT32_C(0x9908b0df) : 0);
    }
}

uint32_t accel__mt19937_next(accel__mt19937_t *rng)
{
    uint32_t y;

    if (rng->next == N) {
        generate(rng->state);
        rng->next = 0;
    }
    y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & UINT32_C(0x9d2c5680);
    y ^= (y << 15) & UINT32_C(0xefc60000);
    return y ^ (y >> 18);
}

accel_status_t accel__random_bytes(void *data, size_t size)
{
    char *at = data;

    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return accel__fail_errno(ACCEL_ERR_IO, "getrandom");
        at += n;
        size -= (size_t)n;
    }
    return ACCEL_OK;
}
