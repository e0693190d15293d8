/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind <accel/wandb.h> share. */
#ifndef ACCEL_TRACK_WANDB_H
#define ACCEL_TRACK_WANDB_H

#include <accel/plugin/wandb_v1.h>

#include "track/tracker.h"

accel_status_t accel__wandb_check_run(const accel_wandb_run_t *run, const char *call);

/* The plugin's table, for calls that need no run. */
accel_status_t accel__wandb_table(const accel_wandb_v1_t **table, const char *call);

/* A call of the plugin's table: between enter and leave the run is the caller's, and all that
 * was logged has been delivered. `name` is the public function, for errors. */
typedef struct {
    const accel_wandb_v1_t *table;
    void *state;
    accel_wandb_run_t *run;
    const char *name;
    accel__slot_call_t slot;
} accel__wandb_call_t;

accel_status_t accel__wandb_enter(accel_wandb_run_t *run, const char *name,
                                  accel__wandb_call_t *call);
accel_status_t accel__wandb_leave(const accel__wandb_call_t *call, accel_status_t status);

#endif
