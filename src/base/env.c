/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *accel__env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

accel_status_t accel__parse_int(const char *text, const char *what, int64_t min, int64_t max,
                                int64_t *value)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || strchr(" \t\n+", *text) || errno != 0 || number < min ||
        number > max)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s is '%s'; expected a whole number from %" PRId64 " to %" PRId64, what,
                           text, min, max);
    *value = number;
    return ACCEL_OK;
}

accel_status_t accel__env_int(const char *name, int64_t min, int64_t max, int64_t *value, bool *set)
{
    const char *text = accel__env(name);

    *set = text != NULL;
    return text ? accel__parse_int(text, name, min, max, value) : ACCEL_OK;
}
