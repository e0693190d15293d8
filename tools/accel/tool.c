/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: messages, numbers, suggestions. */
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tool_say(const char *command, const char *format, ...)
{
    va_list arguments;

    if (command)
        fprintf(stderr, "accel %s: ", command);
    else
        fputs("accel: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int tool_help(const tool_command_t *command)
{
    fputs(command->help, stdout);
    return tool_finish(command->name);
}

int tool_finish(const char *command)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return TOOL_OK;
    tool_say(command, "cannot write to standard output");
    return TOOL_FAILED;
}

bool tool_parse_int(const char *text, int64_t min, int64_t max, int64_t *value)
{
    long long number;
    char *end;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || *end || strchr(" \t\n+", *text) || errno || number < min || number > max)
        return false;
    *value = number;
    return true;
}

bool tool_parse_seconds(const char *text, double max, double *value)
{
    double number;
    char *end;

    /* Digits first: strtod would also take "inf", "nan" and "0x1p3". */
    if (strspn(text, "0123456789.") != strlen(text))
        return false;
    number = strtod(text, &end);
    if (end == text || *end || !(number <= max))
        return false;
    *value = number;
    return true;
}

/* Levenshtein's, over one row. Names are short. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], length = strlen(b);

    if (length >= 64)
        return length;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j - 1] + 1 < change)
                change = row[j - 1] + 1;
            row[j] = diagonal + 1 < change ? diagonal + 1 : change;
        }
    }
    return row[length];
}

const char *tool_nearest(const char *name, const char *const *names)
{
    size_t limit = strlen(name) / 3 + 2;
    const char *nearest = NULL;

    for (; *names; names++) {
        size_t d = distance(name, *names);

        if (d < limit) {
            limit = d;
            nearest = *names;
        }
    }
    return nearest;
}
