/* SPDX-License-Identifier: Apache-2.0 */
/* LOG.syncstate: where the lines of a log belong in its run. Written before the first line is sent,
 * so that whoever sends the log again, wholly or from where it broke off, sends each line to the
 * same place: nothing is missing then, and nothing is there twice. The stock client writes
 * starting_step and starting_runtime; the rest is under "accel", for each run that the log was sent
 * to. */
#ifndef ACCEL_TRACKER_WANDB_SYNCSTATE_H
#define ACCEL_TRACKER_WANDB_SYNCSTATE_H

#include "../host.h"

typedef struct {
    int64_t starting_step;           /* is added to each _step */
    int64_t starting_runtime;        /* milliseconds; for the stock client */
    int64_t history, events, output; /* line numbers of the log's first lines */
} accel__wandb_syncstate_t;

/* Which run the lines were sent to; in another one they have other places. */
typedef struct {
    const char *server, *entity, *project, *run_id;
} accel__wandb_destination_t;

/* Hold the log for sending: LOG.syncstate, made where it is missing, is locked until the descriptor
 * is closed, so that no two processes send a log at once (ACCEL_ERR_STATE). */
accel_status_t accel__wandb_syncstate_open(const char *log_path, int *fd);

/* False: nothing is known about this destination. A damaged file is as an empty one. */
bool accel__wandb_syncstate_load(int fd, const accel__wandb_destination_t *destination,
                                 accel__wandb_syncstate_t *state);
accel_status_t accel__wandb_syncstate_save(int fd, const char *log_path,
                                           const accel__wandb_destination_t *destination,
                                           const accel__wandb_syncstate_t *state);

#endif
