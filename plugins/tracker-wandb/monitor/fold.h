/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a run's console, as W&B's Logs tab shows them: the raw text of stdout and stderr
 * goes through a small terminal each, so that a progress bar is one line.
 *
 * As in stock's core, a terminal knows carriage return, line feed, cursor up and cursor down
 * (ESC [ A, ESC [ B); everything else is text, colours too. A line begins when its first character
 * comes, has at most 4096 characters, and can change while it is among the last 32 of the run. */
#ifndef ACCEL_TRACKER_WANDB_FOLD_H
#define ACCEL_TRACKER_WANDB_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef struct accel__wandb_fold accel__wandb_fold_t;

typedef struct {
    int64_t number; /* from 0, over both streams: the line's number in output.log */
    bool is_stderr;
    bool changed;         /* since it was last handed to `take` */
    bool final;           /* it cannot change any more */
    struct timespec time; /* when it began */
    const char *text;     /* UTF-8, without a line break, ended by a NUL; until `take` returns */
    size_t length;
} accel__wandb_line_t;

/* `take` is called with every line once it is final, and with the others by flush. Lines come in
 * order, and again from the first that is not final. NULL without memory. */
typedef void (*accel__wandb_line_fn)(void *context, const accel__wandb_line_t *line);
accel__wandb_fold_t *accel__wandb_fold_create(accel__wandb_line_fn take, void *context);
void accel__wandb_fold_destroy(accel__wandb_fold_t *fold);

/* Raw text of one stream, cut anywhere, also within a character. `time` dates lines that begin
 * here. Without memory, text is lost and false returned. */
bool accel__wandb_fold_feed(accel__wandb_fold_t *fold, bool is_stderr, struct timespec time,
                            const char *data, size_t size);

/* Hand over the lines that may still change. */
void accel__wandb_fold_flush(accel__wandb_fold_t *fold);

#endif
