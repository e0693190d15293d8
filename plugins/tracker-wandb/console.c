/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor.h"

accel__wandb_console_t accel__wandb_console(const accel__wandb_settings_t *settings)
{
    const char *term = accel__wandb_env("TERM");
    return (accel__wandb_console_t){
        .silent = settings->silent,
        .quiet = settings->quiet,
        .color = isatty(STDERR_FILENO) && !accel__wandb_env("NO_COLOR") && term &&
                 strcmp(term, "dumb") != 0,
    };
}

/* Whole lines, in one call, so that ranks' lines do not mix. */
static void print(const accel__wandb_console_t *console, const char *level, const char *format,
                  va_list arguments) __attribute__((format(printf, 3, 0)));

static void print(const accel__wandb_console_t *console, const char *level, const char *format,
                  va_list arguments)
{
    const char *name = console->color ? "\033[1;34mwandb\033[0m" : "wandb";
    char *text = NULL, *line = NULL;
    if (console->silent || vasprintf(&text, format, arguments) < 0)
        return;
    if (asprintf(&line, "%s: %s%s\n", name, level, text) >= 0) {
        accel__wandb_capture_say(line);
        free(line);
    }
    free(text);
}

void accel__wandb_say(const accel__wandb_console_t *console, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(console, "", format, arguments);
    va_end(arguments);
}

void accel__wandb_warn(const accel__wandb_console_t *console, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(console, console->color ? "\033[33mWARNING\033[0m " : "WARNING ", format, arguments);
    va_end(arguments);
}
