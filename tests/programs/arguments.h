/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the form name=value. */
#ifndef ACCEL_TESTS_ARGUMENTS_H
#define ACCEL_TESTS_ARGUMENTS_H

#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

/* The value of that name, or NULL. */
static inline const char *argument(char **arguments, const char *name)
{
    size_t length = strlen(name);

    for (; *arguments; arguments++)
        if (strncmp(*arguments, name, length) == 0 && (*arguments)[length] == '=')
            return *arguments + length + 1;
    return NULL;
}

static inline int64_t argument_count(char **arguments, const char *name)
{
    const char *value = argument(arguments, name);

    return value ? strtoll(value, NULL, 10) : 0;
}

/* As options have them: 0 if it was not given, ACCEL_ZERO for a zero. */
static inline double argument_option(char **arguments, const char *name)
{
    const char *text = argument(arguments, name);
    double value = text ? strtod(text, NULL) : 0;

    return text && value == 0 ? ACCEL_ZERO : value;
}

/* The same where a default is zero anyway. */
static inline double argument_number(char **arguments, const char *name)
{
    const char *text = argument(arguments, name);

    return text ? strtod(text, NULL) : 0;
}

#endif
