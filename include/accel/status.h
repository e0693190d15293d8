/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses, the last error, and the check that programs use.
 *
 * Every call that can fail returns an accel_status_t: 0 is good, positive values
 * are states, negative values are errors, named by what the caller can do about
 * them. A failing call also leaves one line of text for accel_last_error(): what
 * failed, where, and what was expected. The library itself never exits. */
#ifndef ACCEL_STATUS_H
#define ACCEL_STATUS_H

#include <stdio.h>
#include <stdlib.h>

#include <accel/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum accel_status {
    ACCEL_OK = 0,
    ACCEL_END = 1,         /* nothing more to give: a loader's epoch is over */
    ACCEL_IN_PROGRESS = 2, /* a request has not completed yet */

    ACCEL_ERR_INVALID = -1,     /* an argument is wrong: fix the call */
    ACCEL_ERR_NO_MEMORY = -2,   /* an allocation failed */
    ACCEL_ERR_UNSUPPORTED = -3, /* right, but not in this build or version */
    ACCEL_ERR_NOT_FOUND = -4,   /* no such file, name or plugin */
    ACCEL_ERR_IO = -5,          /* the system refused to read or write */
    ACCEL_ERR_FORMAT = -6,      /* data from outside is malformed */
    ACCEL_ERR_STATE = -7,       /* called at the wrong time, or after a failure */
    ACCEL_ERR_MISMATCH = -8,    /* the ranks disagree */
    ACCEL_ERR_REMOTE = -9,      /* another rank died or failed */
    ACCEL_ERR_TIMEOUT = -10,    /* another rank did not come in time */
    ACCEL_ERR_CANCELLED = -11,  /* stopped on request */
    ACCEL_ERR_INTERNAL = -12    /* a defect of this library: please report it */
} accel_status_t;

/* The last failure of a call on this thread: one line, without newline; "" when
 * there was none. Like errno it is meaningful right after a failure and is not
 * cleared by success. Valid until the next failing call on this thread. */
ACCEL_API const char *accel_last_error(void);

/* For callbacks of the program's own (a dataset's, a model's, a tracker's): leave a line for
 * accel_last_error() and return `status`. */
ACCEL_API accel_status_t accel_fail(accel_status_t status, const char *format, ...)
    ACCEL_PRINTF(2, 3);

/* "ACCEL_ERR_MISMATCH" for ACCEL_ERR_MISMATCH, and so on; static text. */
ACCEL_API const char *accel_status_name(accel_status_t status);

/* Say where in the caller's program the calls that follow on this thread stand.
 * Collectives carry it, so that a mismatch or a time-out names the line that each
 * rank is at. ACCEL_CHECK does this by itself; a language binding may do it here.
 * `file` must stay valid while it is set; NULL clears it. */
ACCEL_API void accel_set_call_site(const char *file, int line);

/* What ACCEL_CHECK calls: on an error, print one line to stderr and exit with 1. */
static inline accel_status_t accel_check_status(accel_status_t status, const char *call,
                                                const char *file, int line)
{
    accel_set_call_site(NULL, 0);
    if (status >= ACCEL_OK)
        return status;
    fprintf(stderr, "%s:%d: %.*s: %s (%s)\n", file, line, 60, call, accel_last_error(),
            accel_status_name(status));
    exit(EXIT_FAILURE);
}

#ifdef __cplusplus
}
#endif

/* For programs: evaluate a call, and end the program with one clear line if it
 * failed. The value is the status, which is then 0 or positive. */
#define ACCEL_CHECK(...)                                                           \
    accel_check_status((accel_set_call_site(__FILE__, __LINE__), (__VA_ARGS__)), \
                       #__VA_ARGS__, __FILE__, __LINE__)

#endif
