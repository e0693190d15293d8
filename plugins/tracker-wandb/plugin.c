/* SPDX-License-Identifier: Apache-2.0 */
/* The tracker's slots, in the order of a run's life. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

double accel__wandb_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Seconds since the start; a clock that was set back does not make them negative. */
double accel__wandb_run_elapsed(const accel__wandb_run_t *run, double now)
{
    double elapsed = now - (double)run->start_time.tv_sec - (double)run->start_time.tv_nsec * 1e-9;
    return elapsed > 0 ? elapsed : 0;
}

static bool is_writing(const accel__wandb_run_t *run)
{
    return run->started && !run->finished && run->settings.effective_mode != ACCEL__WANDB_DISABLED;
}

/* ---- create and start ---- */

static void run_destroy(void *tracker)
{
    accel__wandb_run_t *run = tracker;
    if (!run)
        return;
    accel__wandb_log_close(&run->log);
    accel__wandb_settings_free(&run->settings);
    accel__wandb_row_clear(&run->row);
    free(run->row.leaves);
    accel__wandb_summary_free(&run->summary);
    accel__wandb_arena_free(&run->arena);
    free(run->wandb_dir);
    free(run->dir);
    free(run->log_path);
    free(run->sync_command);
    free(run);
}

static accel_status_t find_host(accel__wandb_settings_t *settings)
{
    char name[256] = "";
    if (settings->host || gethostname(name, sizeof(name) - 1) < 0)
        return ACCEL_OK;
    settings->host = strdup(name);
    return settings->host ? ACCEL_OK : accel__wandb_fail_memory();
}

static accel_status_t run_create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    (void)context;
    accel__wandb_run_t *run = calloc(1, sizeof(*run));
    if (!run)
        return accel__wandb_fail_memory();
    run->log.fd = -1;
    clock_gettime(CLOCK_REALTIME, &run->started_at);
    accel_status_t status = accel__wandb_settings_create(init, &run->settings);
    if (!status)
        status = find_host(&run->settings);
    if (!status)
        status = accel__wandb_uuid(run->writer_id);
    if (status) {
        run_destroy(run);
        return status;
    }
    run->console = accel__wandb_console(&run->settings);
    *tracker = run;
    return ACCEL_OK;
}

static void set_features(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    wandb__telemetry_feature__init(&run->features);
    run->features.lib_c = true;
    run->features.offline = true;
    run->features.set_init_name = settings->run_name != NULL;
    run->features.set_init_id = settings->run_id != NULL;
    run->features.set_init_tags = settings->run_tags.count > 0;
    run->features.set_init_config = settings->has_config;
}

static void greet(const accel__wandb_run_t *run)
{
    const accel__wandb_console_t *console = &run->console;
    if (!console->quiet)
        accel__wandb_say(console, "Tracking run with accel %s", accel__wandb_host()->version);
    if (run->settings.wants_upload)
        accel__wandb_say(console, "This version does not upload: the run is written offline, to "
                                  "be uploaded by `wandb sync`.");
    else
        accel__wandb_say(console, "W&B syncing is set to `offline`.");
    accel__wandb_say(console, "Run data is saved locally in %s", run->dir);
    accel__wandb_say(console, "View this run in the terminal with `wandb leet`");
}

static accel_status_t run_start(void *tracker)
{
    accel__wandb_run_t *run = tracker;
    run->started = true;
    clock_gettime(CLOCK_REALTIME, &run->start_time);
    if (run->settings.effective_mode == ACCEL__WANDB_DISABLED)
        return ACCEL_OK;
    set_features(run);
    accel_status_t status = accel__wandb_rundir_create(run);
    if (!status)
        status = accel__wandb_emit_start(run);
    if (status) {
        run->started = false;
        return status;
    }
    accel__wandb_debug(run, "accel %s: offline run %s of project %s, log %s",
                       accel__wandb_host()->version, run->settings.run_id,
                       run->settings.project ? run->settings.project : "uncategorized",
                       run->log_path);
    greet(run);
    return ACCEL_OK;
}

static accel_status_t check_keys(const accel_item_t *values)
{
    for (; values && values->type != ACCEL_TYPE_END; values++) {
        if (!values->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: a key is NULL");
    }
    return ACCEL_OK;
}

static accel_status_t run_config(void *tracker, const accel_item_t *config)
{
    accel__wandb_run_t *run = tracker;
    accel_status_t status = check_keys(config);
    if (status || !is_writing(run) || !config || config->type == ACCEL_TYPE_END)
        return status;
    accel__wandb_emit_config(run, config);
    return accel__wandb_commit(run);
}

/* ---- rows ---- */

static accel_status_t close_row(accel__wandb_run_t *run)
{
    if (!run->row_open)
        return ACCEL_OK;
    run->row_open = false;
    accel__wandb_emit_row(run);
    accel_status_t status = accel__wandb_commit(run);
    accel_status_t summed = accel__wandb_summary_add_row(&run->summary, &run->row);
    accel__wandb_row_clear(&run->row);
    return status ? status : summed;
}

static void warn_step(accel__wandb_run_t *run, int64_t step)
{
    if (run->warned_step)
        return;
    run->warned_step = true;
    accel__wandb_warn(&run->console,
                      "Tried to log to step %lld that is less than the current step %lld. Steps "
                      "must be monotonically increasing, so this data will be ignored.",
                      (long long)step, (long long)run->step);
}

static accel_status_t mark_step_log(accel__wandb_run_t *run)
{
    if (run->features.set_step_log)
        return ACCEL_OK;
    run->features.set_step_log = true;
    accel__wandb_emit_telemetry(run);
    return accel__wandb_commit(run);
}

/* With a step the row stays open until a later step comes; without, it closes at once. */
static accel_status_t run_log(void *tracker, const accel_item_t *values, int64_t step,
                              double timestamp)
{
    accel__wandb_run_t *run = tracker;
    accel_status_t status = ACCEL_OK;
    if (!is_writing(run) || run->broken)
        return ACCEL_OK;
    if (timestamp > run->last_timestamp)
        run->last_timestamp = timestamp;
    if (step != ACCEL_NO_STEP)
        status = mark_step_log(run);
    if (!status && step != ACCEL_NO_STEP && step > run->step) {
        status = close_row(run);
        run->step = step;
    } else if (!status && step != ACCEL_NO_STEP && step < run->step) {
        warn_step(run, step);
        return ACCEL_OK;
    }
    if (!status)
        status = accel__wandb_row_merge(&run->row, values);
    if (status)
        return status;
    run->row_open = true;
    run->row_timestamp = timestamp;
    if (step == ACCEL_NO_STEP) {
        status = close_row(run);
        run->step++;
    }
    return status;
}

/* ---- the other slots ---- */

static accel_status_t run_artifact(void *tracker, const accel_artifact_view_t *artifact)
{
    accel__wandb_run_t *run = tracker;
    if (!is_writing(run))
        return ACCEL_OK;
    return accel__wandb_emit_artifact(run, artifact);
}

static accel_status_t summarise(accel__wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = ACCEL_OK;
    for (; values && values->type != ACCEL_TYPE_END && !status; values++) {
        accel__wandb_text_t text = {0};
        bool null = values->type == ACCEL_TYPE_NULL ||
                    (values->type == ACCEL_TYPE_FLOAT && values->value.f != values->value.f);
        accel__wandb_json_value(&text, values, ACCEL__WANDB_JSON_FRONT);
        if (text.failed)
            status = accel__wandb_fail_memory();
        else if (values->key[0] != '_' && !null)
            status = accel__wandb_summary_set(&run->summary, values->key, text.data, values->type);
        accel__wandb_text_free(&text);
    }
    return status;
}

static accel_status_t run_update_summary(void *tracker, const accel_item_t *values)
{
    accel__wandb_run_t *run = tracker;
    accel_status_t status = check_keys(values);
    if (status || !is_writing(run) || !values || values->type == ACCEL_TYPE_END)
        return status;
    if (!run->features.set_summary) {
        run->features.set_summary = true;
        accel__wandb_emit_telemetry(run);
    }
    accel__wandb_emit_summary(run, values);
    status = accel__wandb_commit(run);
    return status ? status : summarise(run, values);
}

/* The path as a user in this directory would type it. */
static void say_logs(const accel__wandb_run_t *run)
{
    char *here = getcwd(NULL, 0);
    size_t length = here ? strlen(here) : 0;
    if (length > 1 && !strncmp(run->dir, here, length) && run->dir[length] == '/')
        accel__wandb_say(&run->console, "Find logs at: .%s/logs", run->dir + length);
    else
        accel__wandb_say(&run->console, "Find logs at: %s/logs", run->dir);
    free(here);
}

static void farewell(const accel__wandb_run_t *run)
{
    if (run->console.quiet)
        return;
    accel__wandb_summary_print(&run->summary, &run->console);
    accel__wandb_say(&run->console, "You can sync this run to the cloud by running:");
    accel__wandb_say(&run->console, "%s", run->sync_command);
    say_logs(run);
}

static accel_status_t run_finish(void *tracker, int32_t exit_code)
{
    accel__wandb_run_t *run = tracker;
    if (!is_writing(run))
        return ACCEL_OK;
    double now = accel__wandb_now();
    run->features.finish = true;
    accel__wandb_emit_telemetry(run);
    if (now > run->last_timestamp)
        run->last_timestamp = now;
    accel__wandb_emit_runtime(run, now);
    accel_status_t status = close_row(run);
    if (!status) {
        accel__wandb_emit_exit(run, exit_code, now);
        status = accel__wandb_commit(run);
    }
    run->finished = true;
    if (exit_code == 0)
        accel__wandb_rundir_forget_resume(run);
    accel__wandb_debug(run, "finished with exit code %d", exit_code);
    accel__wandb_log_close(&run->log);
    farewell(run);
    return status;
}

static const char *run_info(void *tracker, const char *what)
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
    .create = run_create,
    .start = run_start,
    .store_init_configuration = run_config,
    .log = run_log,
    .log_artifact = run_artifact,
    .finish = run_finish,
    .destroy = run_destroy,
    .info = run_info,
    .update_summary = run_update_summary,
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
