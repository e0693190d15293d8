/* SPDX-License-Identifier: Apache-2.0 */
/* Console output as lines: what a terminal would show. A carriage return goes back to the line's
 * beginning, so that a progress bar is one line; colours and other escape sequences are left out.
 * Lines of both streams share one numbering, in the order in which they begin. */
#ifndef ACCEL_TRACKER_WANDB_TERMINAL_H
#define ACCEL_TRACKER_WANDB_TERMINAL_H

#include "../text.h"

enum { ACCEL__WANDB_TERMINAL_LINE = 4096 }; /* bytes that a line has at most */

typedef struct {
    accel__wandb_text_t line; /* in the making */
    size_t cursor;
    int64_t number; /* -1: the line has not begun */
    int escape;     /* within an escape sequence: 1 after ESC, 2 after "ESC [" */
} accel__wandb_screen_t;

typedef struct {
    accel__wandb_screen_t screens[2]; /* stderr, stdout */
    int64_t lines;                    /* begun so far */
} accel__wandb_terminal_t;

/* Is called with each line that changed, once per write, or when it ends: `ended` lines do not
 * change any more. */
typedef void (*accel__wandb_line_fn)(void *context, int64_t number, const char *line, bool is_stderr,
                                     bool ended);

void accel__wandb_terminal_write(accel__wandb_terminal_t *terminal, bool is_stderr,
                                 const char *text, accel__wandb_line_fn changed, void *context);
/* The lines that are still open have ended. */
void accel__wandb_terminal_end(accel__wandb_terminal_t *terminal, accel__wandb_line_fn changed,
                               void *context);
void accel__wandb_terminal_free(accel__wandb_terminal_t *terminal);

#endif
