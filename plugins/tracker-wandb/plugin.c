/* SPDX-License-Identifier: Apache-2.0 */
/* The tracker's slots: each holds the run's lock, as the monitor's threads write records too. */
#include <string.h>

#include "run.h"

static accel_status_t wandb_create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    accel__wandb_run_t *run = NULL;
    accel_status_t status = accel__wandb_run_create(init, &run);
    (void)context;
    *tracker = run;
    return status;
}

static void wandb_destroy(void *tracker)
{
    accel__wandb_run_destroy(tracker);
}

/* Start and finish take the lock where they write: they also wait for others. */
static accel_status_t wandb_start(void *tracker)
{
    return accel__wandb_run_start(tracker);
}

static accel_status_t wandb_finish(void *tracker, int32_t exit_code)
{
    return accel__wandb_run_finish(tracker, exit_code);
}

static accel_status_t wandb_config(void *tracker, const accel_item_t *config)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_config(run, config);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t wandb_log(void *tracker, const accel_item_t *values, int64_t step,
                                double timestamp)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_log(run, values, step, timestamp);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t wandb_summary(void *tracker, const accel_item_t *values)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_summary(run, values);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t wandb_artifact(void *tracker, const accel_artifact_view_t *artifact)
{
    accel__wandb_run_t *run = tracker;
    accel_status_t status = ACCEL_OK;
    accel__wandb_lock(run);
    if (accel__wandb_is_writing(run))
        status = accel__wandb_emit_artifact(run, artifact, NULL);
    accel__wandb_unlock(run);
    return status;
}

static const char *wandb_info(void *tracker, const char *what)
{
    const accel__wandb_run_t *run = tracker;
    const struct {
        const char *name, *value;
    } facts[] = {
        {"id", run->settings.run_id},
        {"name", run->settings.run_name},
        {"project", run->settings.project},
        {"entity", run->settings.entity},
        {"dir", run->dir},
        {"sync_command", run->sync_command},
    };
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
        if (!strcmp(facts[i].name, what))
            return facts[i].value;
    }
    return NULL;
}

/* ---- the class ---- */

static const accel_tracker_class_t wandb_class = {
    .struct_size = sizeof(wandb_class),
    .name = "wandb",
    .requires_logging_directory = false,
    .every_process = false,
    .journaled = true,
    .logs_media = true,
    .create = wandb_create,
    .start = wandb_start,
    .store_init_configuration = wandb_config,
    .log = wandb_log,
    .log_artifact = wandb_artifact,
    .finish = wandb_finish,
    .destroy = wandb_destroy,
    .info = wandb_info,
    .update_summary = wandb_summary,
};

ACCEL_API accel_status_t accel_tracker_plugin_v1(const accel_host_v1_t *host,
                                                 const accel_tracker_class_t **tracker_class);

accel_status_t accel_tracker_plugin_v1(const accel_host_v1_t *host,
                                       const accel_tracker_class_t **tracker_class)
{
    accel__wandb_set_host(host);
    *tracker_class = &wandb_class;
    return ACCEL_OK;
}
