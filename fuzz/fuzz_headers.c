/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of an answer's head, as curl hands them over: waits and rates stay within bounds. */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "upload/http.h"

static bool is_none_or(double value, double most)
{
    return value == -1 || (value >= 0 && value <= most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    accel__wandb_reply_t reply = {.retry_after = -1, .rate_remaining = -1, .rate_reset = -1};
    const char *at = (const char *)data, *end = size ? at + size : at;
    fuzz_begin();
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *next = line ? line + 1 : end;
        accel__wandb_reply_take_header(&reply, at, (size_t)(next - at));
        at = next;
    }
    FUZZ_CHECK(is_none_or(reply.retry_after, 3600));
    FUZZ_CHECK(is_none_or(reply.rate_remaining, HUGE_VAL) && isfinite(reply.rate_remaining));
    FUZZ_CHECK(is_none_or(reply.rate_reset, HUGE_VAL) && isfinite(reply.rate_reset));
    return 0;
}
