/* SPDX-License-Identifier: Apache-2.0 */
/* The sender's own state: what it has read of the log and not yet sent. */
#ifndef ACCEL_TRACKER_WANDB_SENDER_H
#define ACCEL_TRACKER_WANDB_SENDER_H

#include <stdio.h>

#include "../monitor/fold.h"
#include "stream.h"
#include "syncstate.h"
#include "upload.h"
#include "wire.h"

typedef struct {
    accel__wandb_uploader_t *up;
    accel__wandb_http_t *http;
    accel__wandb_reader_t reader;
    accel__wandb_bucket_t bucket;
    accel__wandb_stream_t stream;
    accel__wandb_syncstate_t state;
    accel__wandb_tree_t summary, row; /* the row's memory is used again */
    bool introduced;                  /* the server knows of the run */
    bool summary_changed, structured_console, warned_long;
    bool saw_step, moves_steps; /* of a row; because they count from 0 in a run that goes on */
    double start_time;          /* of the run, seconds since the epoch */
    accel__wandb_fold_t *fold;  /* the console */
    FILE *output;               /* files/output.log; NULL: whoever writes the log writes it, too */
    bool console_ends;
    /* the exit record */
    bool exited, not_complete;
    int32_t exit_code;
    /* times of the monotonic clock */
    double next_send, last_send, next_upsert;
    double tokens, refilled; /* for the server's rate limit */
    double rate;
    int64_t rows_sent;
} accel__wandb_sender_t;

/* ---- lines.c: records as lines of the stream ---- */

accel_status_t accel__wandb_sender_take(accel__wandb_sender_t *sender, uint32_t kind,
                                        const uint8_t *data, size_t size);
accel_status_t accel__wandb_sender_begin_console(accel__wandb_sender_t *sender);
/* What the console still holds, at the end. */
void accel__wandb_sender_end_console(accel__wandb_sender_t *sender);

/* ---- finals.c: the files that are made at the end ---- */

accel_status_t accel__wandb_sender_write_files(accel__wandb_sender_t *sender);

/* ---- sender.c ---- */

/* UpsertBucket, for as long as it may yet succeed. */
accel_status_t accel__wandb_sender_upsert(accel__wandb_sender_t *sender, bool first);

/* ---- place.c ---- */

/* Tell the server of the run, and find out where this log's lines belong in it. */
accel_status_t accel__wandb_sender_find_place(accel__wandb_sender_t *sender);

#endif
