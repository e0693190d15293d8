/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <string.h>

/* A larger one is an uninitialised struct, not a newer version. */
#define OPTIONS_SIZE_MAX 4096

accel_status_t accel__options_read(void *destination, size_t size, const void *source,
                                   const char *what)
{
    const unsigned char *bytes = source;
    size_t source_size;

    if (!source)
        return ACCEL_OK;
    memcpy(&source_size, source, sizeof(source_size));
    if (source_size < sizeof(source_size) || source_size > OPTIONS_SIZE_MAX)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: struct_size is %zu; make the options with their macro or _init()",
                           what, source_size);
    for (size_t i = size; i < source_size; i++)
        if (bytes[i] != 0)
            return accel__fail(ACCEL_ERR_UNSUPPORTED,
                               "%s: byte %zu is set, and this version knows %zu: the program was "
                               "compiled for a newer libaccel",
                               what, i, size);
    memcpy(destination, source, source_size < size ? source_size : size);
    return ACCEL_OK;
}

accel_status_t accel__tristate(accel_tristate_t value, bool fallback, const char *what, bool *out)
{
    if (value != ACCEL_DEFAULT && value != ACCEL_ON && value != ACCEL_OFF)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s is %d; expected ACCEL_DEFAULT, ACCEL_ON or ACCEL_OFF", what,
                           (int)value);
    *out = value == ACCEL_DEFAULT ? fallback : value == ACCEL_ON;
    return ACCEL_OK;
}
