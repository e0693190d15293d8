/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into the file stream next: lines of history, events and console at their offsets, the
 * summary, uploaded paths. Offsets are line numbers, so a request that is repeated does no harm. */
#ifndef ACCEL_TRACKER_WANDB_STREAM_H
#define ACCEL_TRACKER_WANDB_STREAM_H

#include "../text.h"

/* Lines, as a list of JSON strings, from line number `offset` on. */
typedef struct {
    int64_t offset, count;
    accel__wandb_text_t lines;
} accel__wandb_lines_t;

typedef struct {
    int64_t number;
    char *text;
} accel__wandb_console_line_t;

typedef struct {
    accel__wandb_lines_t history, events;
    int64_t output_offset;                /* of the log's first console line */
    accel__wandb_console_line_t *console; /* sorted by number */
    size_t num_console, console_capacity;
    accel__wandb_text_t summary;  /* one JSON string; empty: has not changed */
    accel__wandb_text_t uploaded; /* a list of JSON strings */
    bool preempting;              /* the machine is about to be taken away: say so at once */
    size_t bytes;                 /* about what waits */
    size_t most_bytes, most_line_bytes;
    int64_t dropped; /* lines that were too long */
} accel__wandb_stream_t;

void accel__wandb_stream_init(accel__wandb_stream_t *stream, size_t most_bytes,
                              size_t most_line_bytes);
void accel__wandb_stream_free(accel__wandb_stream_t *stream);

/* Each gives false if the line is too long, and is then not sent. */
bool accel__wandb_stream_history(accel__wandb_stream_t *stream, const char *line);
bool accel__wandb_stream_event(accel__wandb_stream_t *stream, const char *line);
bool accel__wandb_stream_summary(accel__wandb_stream_t *stream, const char *json);
/* Line `number` of this log's console is now `line`. */
bool accel__wandb_stream_console(accel__wandb_stream_t *stream, int64_t number, const char *line);
void accel__wandb_stream_uploaded(accel__wandb_stream_t *stream, const char *path);

/* Does anything wait? Is it as much as one request may carry? */
bool accel__wandb_stream_waits(const accel__wandb_stream_t *stream);
bool accel__wandb_stream_full(const accel__wandb_stream_t *stream);

/* How a run ends, in its last request. */
typedef struct {
    bool complete;
    int32_t exit_code;
} accel__wandb_ending_t;

/* Take what waits as a request's body. Consecutive console lines only go into one request: while
 * some remain, `ending` (NULL: the run goes on) is left for a later one, and the call gives false.
 * With nothing waiting the body is {}, a heartbeat. */
bool accel__wandb_stream_take(accel__wandb_stream_t *stream, const accel__wandb_ending_t *ending,
                              accel__wandb_text_t *body);

#endif
