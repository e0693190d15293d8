/* SPDX-License-Identifier: Apache-2.0 */
/* The tracker's slots: each holds the run's lock, as the monitor's threads write records too. */
#include <string.h>

#include "download/remote.h"
#include "login.h"
#include "run.h"
#include "upload/online.h"
#include "upload/sync.h"

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
    accel_status_t status = accel__wandb_run_config(run, config, ACCEL_WANDB_CONFIG_UPDATE);
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
    accel_status_t status = accel__wandb_check_artifact(artifact);
    accel__wandb_lock(run);
    if (!status && accel__wandb_is_writing(run))
        status = accel__wandb_emit_artifact(run, artifact, NULL);
    accel__wandb_unlock(run);
    return status;
}

static const char *wandb_info(void *tracker, const char *what)
{
    if (!strcmp(what, "stopped"))
        return accel__wandb_online_stopped(tracker) ? "true" : NULL;
    return accel__wandb_fact(tracker, what);
}

/* ---- beyond a general tracker ---- */

static void v1_facts(void *tracker, accel_wandb_facts_t *facts)
{
    const accel__wandb_run_t *run = tracker;
    *facts = (accel_wandb_facts_t){
        .step = run->step,
        .starting_step = run->starting_step,
        .start_time = (double)run->start_time.tv_sec + (double)run->start_time.tv_nsec * 1e-9,
        .offline = run->settings.effective_mode == ACCEL__WANDB_OFFLINE,
        .disabled = run->settings.effective_mode == ACCEL__WANDB_DISABLED,
        .resumed = run->resumed,
    };
}

static accel_status_t v1_define_metric(void *tracker, const char *name,
                                       const accel_wandb_metric_options_t *options)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_define_metric(run, name, options);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t v1_config(void *tracker, const accel_item_t *values, accel_wandb_config_t how)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_config(run, values, how);
    accel__wandb_unlock(run);
    return status;
}

static const char *v1_config_json(void *tracker)
{
    accel__wandb_run_t *run = tracker;
    run->config_text.length = 0;
    accel__wandb_config_json(run, &run->config_text);
    return run->config_text.failed ? NULL : run->config_text.data;
}

static const char *v1_summary_json(void *tracker)
{
    accel__wandb_run_t *run = tracker;
    run->summary_text.length = 0;
    accel__wandb_summary_json(&run->summary, &run->summary_text);
    return run->summary_text.failed ? NULL : run->summary_text.data;
}

static accel_status_t v1_summary_remove(void *tracker, const char *key)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_summary_remove(run, key);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t v1_set_text(void *tracker, const char *what, const char *text)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_set_text(run, what, text);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t v1_set_tags(void *tracker, const accel_list_t *tags)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_set_tags(run, tags);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t v1_save(void *tracker, const char *glob, const char *base_path,
                              accel_wandb_policy_t policy)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_save(run, glob, base_path, policy);
    accel__wandb_unlock(run);
    return status;
}

static accel_status_t v1_mark_preempting(void *tracker)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_lock(run);
    accel_status_t status = accel__wandb_run_mark_preempting(run);
    accel__wandb_unlock(run);
    return status;
}

/* The names that a run's own calls mean are those the server has given it. */
static accel_status_t v1_artifact_get(void *tracker, const char *name, const char *type,
                                      void **artifact)
{
    accel__wandb_run_t *run = tracker;
    const accel_tracker_init_t nothing = {.struct_size = sizeof(nothing), .num_processes = 1};
    accel__wandb_settings_t settings;
    accel__wandb_remote_t *remote = NULL;
    if (run && run->settings.effective_mode != ACCEL__WANDB_ONLINE)
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: an artifact cannot be used offline; accel_wandb_init() "
                                 "with \"mode\", \"online\" needs an API key");
    accel_status_t status = run ? ACCEL_OK : accel__wandb_settings_create(&nothing, &settings);
    if (status)
        return status;
    const accel__wandb_settings_t *known = run ? &run->settings : &settings;
    status = accel__wandb_remote_get(
        &(accel__wandb_wanted_t){
            .settings = known,
            .entity = run ? accel__wandb_fact(run, "entity") : known->entity,
            .project = run ? accel__wandb_fact(run, "project") : known->project,
            .name = name,
            .type = type,
            .run_id = run ? known->run_id : NULL},
        &remote);
    if (!run)
        accel__wandb_settings_free(&settings);
    *artifact = remote;
    return status;
}

static accel_status_t v1_artifact_logged(void *tracker, const char *name, void **artifact)
{
    accel__wandb_run_t *run = tracker;
    accel__wandb_remote_t *remote = NULL;
    const char *client = accel__wandb_logged_client(run, name);
    if (!client)
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: this run has not logged an artifact '%s' online", name);
    accel_status_t status = accel__wandb_remote_expect(&run->settings, client, &remote);
    *artifact = remote;
    return status;
}

static accel_status_t v1_artifact_wait(void *artifact, double timeout)
{
    return accel__wandb_remote_wait(artifact, timeout);
}

static const accel_artifact_view_t *v1_artifact_view(void *artifact)
{
    return &((const accel__wandb_remote_t *)artifact)->view;
}

static const char *v1_artifact_info(void *artifact, const char *what)
{
    const accel__wandb_remote_t *remote = artifact;
    const struct {
        const char *name, *value;
    } facts[] = {{"id", remote->id},           {"version", remote->version},
                 {"digest", remote->digest},   {"entity", remote->entity},
                 {"project", remote->project}, {"qualified_name", remote->qualified_name},
                 {"root", remote->root}};
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
        if (!strcmp(facts[i].name, what))
            return facts[i].value;
    }
    return NULL;
}

static accel_status_t v1_artifact_download(void *artifact,
                                           const accel_wandb_download_options_t *options)
{
    return accel__wandb_remote_download(artifact, options);
}

static void v1_artifact_destroy(void *artifact)
{
    accel__wandb_remote_destroy(artifact);
}

static const accel_wandb_v1_t wandb_v1 = {
    .struct_size = sizeof(wandb_v1),
    .facts = v1_facts,
    .define_metric = v1_define_metric,
    .config = v1_config,
    .config_json = v1_config_json,
    .summary_json = v1_summary_json,
    .summary_remove = v1_summary_remove,
    .set_text = v1_set_text,
    .set_tags = v1_set_tags,
    .save = v1_save,
    .mark_preempting = v1_mark_preempting,
    .artifact_get = v1_artifact_get,
    .artifact_logged = v1_artifact_logged,
    .artifact_wait = v1_artifact_wait,
    .artifact_view = v1_artifact_view,
    .artifact_info = v1_artifact_info,
    .artifact_download = v1_artifact_download,
    .artifact_destroy = v1_artifact_destroy,
    .sync = accel__wandb_sync,
    .login = accel__wandb_login,
};

static const void *wandb_interface(const char *name)
{
    return strcmp(name, ACCEL_WANDB_V1) ? NULL : &wandb_v1;
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
    .interface = wandb_interface,
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
