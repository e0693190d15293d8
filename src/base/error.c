/* SPDX-License-Identifier: Apache-2.0 */
#define ACCEL__DEFINES_FAIL
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_SIZE 1024

/* Per thread, like errno. */
static _Thread_local char last_error[ERROR_SIZE];
static _Thread_local uint64_t failures;
static _Thread_local const char *site_file;
static _Thread_local int site_line;

/* The arguments may point into last_error, so the text is made aside and copied. Errors
 * are one line: a newline from a path or a peer becomes a space. */
static void set_last_error(const char *format, va_list arguments, const char *suffix)
{
    char text[ERROR_SIZE];
    int length = vsnprintf(text, sizeof(text), format, arguments);

    if (suffix && length >= 0 && (size_t)length < sizeof(text))
        snprintf(text + length, sizeof(text) - (size_t)length, ": %s", suffix);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    memcpy(last_error, text, sizeof(text));
    failures++;
}

accel_status_t accel__fail(accel_status_t status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_last_error(format, arguments, NULL);
    va_end(arguments);
    return status;
}

accel_status_t accel_fail(accel_status_t status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_last_error(format, arguments, NULL);
    va_end(arguments);
    return status;
}

uint64_t accel__failures(void)
{
    return failures;
}

accel_status_t accel__fail_memory(const char *what, size_t size)
{
    return accel__fail(ACCEL_ERR_NO_MEMORY, "out of memory: %s (%zu bytes)", what, size);
}

accel_status_t accel__fail_errno(accel_status_t status, const char *format, ...)
{
    va_list arguments;
    char buffer[128];
    /* GNU's strerror_r: returns the text, which may or may not be in the buffer. */
    const char *reason = strerror_r(errno, buffer, sizeof(buffer));

    va_start(arguments, format);
    set_last_error(format, arguments, reason);
    va_end(arguments);
    return status;
}

const char *accel_last_error(void)
{
    return last_error;
}

const char *accel_status_name(accel_status_t status)
{
    switch (status) {
    case ACCEL_OK:
        return "ACCEL_OK";
    case ACCEL_END:
        return "ACCEL_END";
    case ACCEL_IN_PROGRESS:
        return "ACCEL_IN_PROGRESS";
    case ACCEL_ERR_INVALID:
        return "ACCEL_ERR_INVALID";
    case ACCEL_ERR_NO_MEMORY:
        return "ACCEL_ERR_NO_MEMORY";
    case ACCEL_ERR_UNSUPPORTED:
        return "ACCEL_ERR_UNSUPPORTED";
    case ACCEL_ERR_NOT_FOUND:
        return "ACCEL_ERR_NOT_FOUND";
    case ACCEL_ERR_IO:
        return "ACCEL_ERR_IO";
    case ACCEL_ERR_FORMAT:
        return "ACCEL_ERR_FORMAT";
    case ACCEL_ERR_STATE:
        return "ACCEL_ERR_STATE";
    case ACCEL_ERR_MISMATCH:
        return "ACCEL_ERR_MISMATCH";
    case ACCEL_ERR_REMOTE:
        return "ACCEL_ERR_REMOTE";
    case ACCEL_ERR_TIMEOUT:
        return "ACCEL_ERR_TIMEOUT";
    case ACCEL_ERR_CANCELLED:
        return "ACCEL_ERR_CANCELLED";
    case ACCEL_ERR_INTERNAL:
        return "ACCEL_ERR_INTERNAL";
    }
    return "unknown status";
}

void accel_set_call_site(const char *file, int line)
{
    site_file = file;
    site_line = line;
}

const char *accel__call_site(int *line)
{
    *line = site_line;
    return site_file;
}
