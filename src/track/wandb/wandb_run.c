/* SPDX-License-Identifier: Apache-2.0 */
/* The W&B run as a program sees it. All work is done by the plugin, behind the slots of a
 * tracker, so that a row, a configuration and an artifact come in the order of the calls. */
#include "track/tracker.h"

static accel_status_t check_run(const accel_wandb_run_t *run, const char *call)
{
    if (run)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "%s: run is NULL; it exists on the main process only, between "
                       "accel_init_trackers() and accel_end_training()",
                       call);
}

static const char *info(const accel_wandb_run_t *run, const char *what)
{
    return run ? accel__tracker_info(run->tracker, what) : NULL;
}

const char *accel_wandb_run_id(const accel_wandb_run_t *run)
{
    return info(run, "id");
}

const char *accel_wandb_run_name(const accel_wandb_run_t *run)
{
    return info(run, "name");
}

const char *accel_wandb_run_project(const accel_wandb_run_t *run)
{
    return info(run, "project");
}

const char *accel_wandb_run_entity(const accel_wandb_run_t *run)
{
    return info(run, "entity");
}

const char *accel_wandb_run_dir(const accel_wandb_run_t *run)
{
    return info(run, "dir");
}

accel_status_t accel_wandb_run_log(accel_wandb_run_t *run, const accel_item_t *values, int64_t step)
{
    accel_status_t status = check_run(run, "accel_wandb_run_log");

    return status == ACCEL_OK ? accel_tracker_log(run->tracker, values, step) : status;
}

accel_status_t accel_wandb_run_config_update(accel_wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = check_run(run, "accel_wandb_run_config_update");

    if (status == ACCEL_OK)
        status = accel__dict_check(values, "accel_wandb_run_config_update");
    return status == ACCEL_OK ? accel__tracker_update_config(run->tracker, values) : status;
}

accel_status_t accel_wandb_run_summary_update(accel_wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = check_run(run, "accel_wandb_run_summary_update");

    if (status == ACCEL_OK)
        status = accel__dict_check(values, "accel_wandb_run_summary_update");
    return status == ACCEL_OK ? accel__tracker_update_summary(run->tracker, values) : status;
}

accel_status_t accel_wandb_run_log_artifact(accel_wandb_run_t *run,
                                            const accel_artifact_t *artifact)
{
    accel_status_t status = check_run(run, "accel_wandb_run_log_artifact");

    return status == ACCEL_OK ? accel_tracker_log_artifact(run->tracker, artifact) : status;
}
