/* SPDX-License-Identifier: Apache-2.0 */
/* Weights & Biases from C: wandb.Run's words, with an accelerator or without.
 *
 * By itself, from any program (link libaccel):
 *
 *     accel_wandb_run_t *run;
 *     ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "my_project",
 *                                             "config", ACCEL_DICT("lr", 1e-2)), &run));
 *     for (int step = 0; step < 100; step++)
 *         ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("loss", loss), ACCEL_NO_STEP));
 *     ACCEL_CHECK(accel_wandb_run_finish(run, 0));
 *
 * Through an accelerator, as accel_tracker_unwrap() gives it:
 *
 *     accel_tracker_t *tracker = accel_get_tracker(accelerator, "wandb");
 *     accel_wandb_run_t *run = (accel_wandb_run_t *)accel_tracker_unwrap(tracker);
 *
 * That one exists on the main process only; elsewhere `run` is NULL, and calls on NULL are
 * ACCEL_ERR_INVALID: put them under ACCEL_ON_MAIN_PROCESS. It ends with accel_end_training().
 *
 * A run is a folder with a log, which is written first, in every mode. In mode "online" a
 * thread follows the log and uploads; when the network or the server fails, the program never
 * notices, and what was missed is sent when they return, or by accel_wandb_sync() or `accel
 * sync`. Any thread may call; calls on one run are taken one at a time. Needs the plugin
 * accel-tracker-wandb. */
#ifndef ACCEL_WANDB_H
#define ACCEL_WANDB_H

#include <accel/track.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_wandb_run accel_wandb_run_t;

/* ---- a run by itself ---- */

/* wandb.init(**arguments): "project", "config", "mode", "name", "id", "resume", "tags", ... under
 * their names in Python, as in accel_init_trackers()' init_kwargs["wandb"]. Arguments win over
 * the environment (WANDB_*), and that over the settings files. Online it waits for the
 * server's answer at most WANDB_INIT_TIMEOUT (90 s). On failure *run is NULL. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_init(const accel_item_t *arguments,
                                                          accel_wandb_run_t **run);

/* run.finish(exit_code): 0 is "finished", another "failed". Waits for the upload, at most
 * WANDB_FINISH_TIMEOUT; what was not sent by then stays in the run's folder for a sync. Returns
 * the first error that the run's logging met. `run` is gone, whatever is returned. Of an
 * accelerator's run: ACCEL_ERR_STATE, and it goes on. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_finish(accel_wandb_run_t *run,
                                                                int32_t exit_code);

/* ---- facts: valid until the run ends; NULL if run is NULL or it is not known (offline) ---- */

ACCEL_API const char *accel_wandb_run_id(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_name(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_project(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_entity(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_url(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_project_url(const accel_wandb_run_t *run);
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
