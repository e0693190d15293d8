/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of programs that scripts run: what fails is said, with its line. */
#ifndef ACCEL_TESTS_TORCH_CHECKS_H
#define ACCEL_TESTS_TORCH_CHECKS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

#define EXPECT(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

/* `call` fails like this, in one line that says this. */
#define FAILS(status, text, call) check_fails(__FILE__, __LINE__, status, text, call)
static inline void check_fails(const char *file, int line, accel_status_t expected,
                               const char *text, accel_status_t found)
{
    const char *error = accel_last_error();

    if (found == expected && strstr(error, text) && !strchr(error, '\n') && strlen(error) < 400)
        return;
    fprintf(stderr, "%s:%d: %s: '%s'; expected %s: '%s'\n", file, line, accel_status_name(found),
            error, accel_status_name(expected), text);
    exit(1);
}

#endif
