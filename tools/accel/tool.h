/* SPDX-License-Identifier: Apache-2.0 */
/* The command line tool's parts: one file a command. */
#ifndef ACCEL_TOOLS_TOOL_H
#define ACCEL_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes, as a shell has them. */
#define TOOL_OK 0
#define TOOL_FAILED 1
#define TOOL_USAGE 2

typedef struct tool_command {
    const char *name;
    const char *summary;
    const char *help;
    /* argv[0] is the command's name. Returns the exit code. */
    int (*run)(int argc, char **argv);
} tool_command_t;

extern const tool_command_t tool_launch, tool_env, tool_report, tool_sync, tool_login;

/* One line to standard error, with "accel COMMAND: " before it; NULL: "accel: ". */
void tool_say(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Help, to standard output. Returns the exit code. */
int tool_help(const tool_command_t *command);

/* All of standard output is written, or a line says why not. Returns the exit code. */
int tool_finish(const char *command);

/* The whole text as a number in min..max. */
bool tool_parse_int(const char *text, int64_t min, int64_t max, int64_t *value);

/* The whole text as seconds, 0 or more. */
bool tool_parse_seconds(const char *text, double max, double *value);

/* Of a NULL-terminated list the name one would mistype as `name`, or NULL. */
const char *tool_nearest(const char *name, const char *const *names);

#endif
