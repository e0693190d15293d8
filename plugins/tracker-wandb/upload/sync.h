/* SPDX-License-Identifier: Apache-2.0 */
/* Logs at rest, or growing, through the uploader: what accel_wandb_sync() does. */
#ifndef ACCEL_TRACKER_WANDB_SYNC_H
#define ACCEL_TRACKER_WANDB_SYNC_H

#include <accel/plugin/wandb_v1.h>

accel_status_t accel__wandb_sync(const char *path, const accel_wandb_sync_options_t *options,
                                 accel_wandb_sync_result_t *result);

/* ---- found.c: which logs a path stands for ---- */

typedef struct {
    char **paths; /* oldest first */
    size_t count, capacity;
} accel__wandb_logs_t;

/* A log, a run's folder, or a folder of runs. None at all is ACCEL_ERR_NOT_FOUND. */
accel_status_t accel__wandb_logs_find(const char *path, accel__wandb_logs_t *logs);
void accel__wandb_logs_free(accel__wandb_logs_t *logs);
/* Does the log lie in the folder of an online run: run-DATE_TIME-ID? */
bool accel__wandb_logs_is_online(const char *log_path);

#endif
