/* SPDX-License-Identifier: Apache-2.0 */
/* A Weights & Biases run, as accel_tracker_unwrap() gives it: wandb.Run's words.
 *
 *     accel_tracker_t *tracker = accel_get_tracker(accelerator, "wandb");
 *     accel_wandb_run_t *run = (accel_wandb_run_t *)accel_tracker_unwrap(tracker);
 *
 * It exists on the main process only; elsewhere `run` is NULL, and calls on NULL are
 * ACCEL_ERR_INVALID: put them under ACCEL_ON_MAIN_PROCESS. The run ends with
 * accel_end_training(). Needs the plugin accel-tracker-wandb. */
#ifndef ACCEL_WANDB_H
#define ACCEL_WANDB_H

#include <accel/track.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_wandb_run accel_wandb_run_t;

/* Facts of the run; valid until it ends; NULL if run is NULL or it is not known offline. */
ACCEL_API const char *accel_wandb_run_id(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_name(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_project(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_entity(const accel_wandb_run_t *run);
/* The run directory: holds the log, files/ and logs/. */
ACCEL_API const char *accel_wandb_run_dir(const accel_wandb_run_t *run);

/* run.log(values, step). Rows are kept open until the step rises; ACCEL_NO_STEP closes
 * the row at once and counts up. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_log(accel_wandb_run_t *run,
                                                             const accel_item_t *values,
                                                             int64_t step);

/* run.config.update(values, allow_val_change=True) */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_run_config_update(accel_wandb_run_t *run, const accel_item_t *values);

/* run.summary.update(values) */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_run_summary_update(accel_wandb_run_t *run, const accel_item_t *values);

/* run.log_artifact(artifact) */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_run_log_artifact(accel_wandb_run_t *run, const accel_artifact_t *artifact);

#ifdef __cplusplus
}
#endif

#endif
