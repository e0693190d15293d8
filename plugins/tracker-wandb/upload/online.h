/* SPDX-License-Identifier: Apache-2.0 */
/* The online part of a run's life. Nothing here is called between start and finish: a run that
 * lasts only writes its log. */
#ifndef ACCEL_TRACKER_WANDB_ONLINE_H
#define ACCEL_TRACKER_WANDB_ONLINE_H

#include "../run.h"

/* Before the run's first record: with `resume`, ask the server how far the run is, and begin there.
 * "must" without such a run, and "never" with one, are ACCEL_ERR_STATE. */
accel_status_t accel__wandb_online_resume(accel__wandb_run_t *run);
/* Behind it: the summary that the run goes on with, as a record. */
accel_status_t accel__wandb_online_emit_past(accel__wandb_run_t *run);

/* When the first records are written: start the uploader and wait for the server's answer, at most
 * init_timeout. A refusal is an error. No answer is one with `resume`, else a warning. */
accel_status_t accel__wandb_online_begin(accel__wandb_run_t *run);

/* When the log has its end: wait for the upload, with a line of progress now and then. It ends with
 * finish_timeout, or where nothing moves any more; then it says how the rest is sent. */
accel_status_t accel__wandb_online_finish(accel__wandb_run_t *run);

/* Did somebody press "stop" in the browser? */
bool accel__wandb_online_stopped(accel__wandb_run_t *run);

/* Frees what the run has of this; cancels an upload that still goes on. */
void accel__wandb_online_free(accel__wandb_run_t *run);

#endif
