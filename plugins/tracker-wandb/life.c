/* SPDX-License-Identifier: Apache-2.0 */
/* A run's life: created, started, finished. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "upload/online.h"

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
    return run->past_runtime + (elapsed > 0 ? elapsed : 0);
}

bool accel__wandb_is_writing(const accel__wandb_run_t *run)
{
    return run->started && !run->finished && run->settings.effective_mode != ACCEL__WANDB_DISABLED;
}

/* ---- create and start ---- */

void accel__wandb_run_destroy(accel__wandb_run_t *run)
{
    if (!run)
        return;
    accel__wandb_online_free(run); /* it reads the log and the settings */
    accel__wandb_log_close(&run->log);
    accel__wandb_settings_free(&run->settings);
    accel__wandb_row_clear(&run->row);
    free(run->row.leaves);
    accel__wandb_summary_free(&run->summary);
    accel__wandb_definitions_free(&run->definitions);
    accel__wandb_text_free(&run->config_text);
    accel__wandb_text_free(&run->summary_text);
    accel__wandb_logged_free(run);
    accel__wandb_arena_free(&run->given);
    accel__wandb_arena_free(&run->arena);
    free(run->wandb_dir);
    free(run->dir);
    free(run->log_path);
    free(run->sync_command);
    free(run->rest_command);
    pthread_mutex_destroy(&run->lock);
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

accel_status_t accel__wandb_run_create(const accel_tracker_init_t *init,
                                       accel__wandb_run_t **created)
{
    accel__wandb_run_t *run = calloc(1, sizeof(*run));
    if (!run)
        return accel__wandb_fail_memory();
    run->log.fd = -1;
    pthread_mutex_init(&run->lock, NULL);
    clock_gettime(CLOCK_REALTIME, &run->started_at);
    accel_status_t status = accel__wandb_settings_create(init, &run->settings);
    if (!status)
        status = find_host(&run->settings);
    if (!status)
        status = accel__wandb_uuid(run->writer_id);
    if (status) {
        accel__wandb_run_destroy(run);
        return status;
    }
    run->console = accel__wandb_console(&run->settings);
    *created = run;
    return ACCEL_OK;
}

static void set_features(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    wandb__telemetry_feature__init(&run->features);
    run->features.lib_c = true;
    run->features.offline = !accel__wandb_is_online(run);
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
    if (run->settings.went_offline)
        accel__wandb_say(console, "No API key was found: the run is written offline. To go online, "
                                  "set WANDB_API_KEY or run `accel login`.");
    else if (!accel__wandb_is_online(run))
        accel__wandb_say(console, "W&B syncing is set to `offline`.");
    accel__wandb_say(console, "Run data is saved locally in %s", run->dir);
    accel__wandb_say(console, "View this run in the terminal with `wandb leet`");
}

accel_status_t accel__wandb_run_start(accel__wandb_run_t *run)
{
    run->started = true;
    clock_gettime(CLOCK_REALTIME, &run->start_time);
    if (run->settings.effective_mode == ACCEL__WANDB_DISABLED)
        return ACCEL_OK;
    set_features(run);
    accel_status_t status = accel__wandb_rundir_create(run);
    if (!status)
        status = accel__wandb_online_resume(run);
    if (!status)
        status = accel__wandb_emit_start(run);
    if (!status)
        status = accel__wandb_online_emit_past(run);
    if (status) {
        run->started = false;
        return status;
    }
    accel__wandb_debug(
        run, "accel %s: %s run %s of project %s, log %s", accel__wandb_host()->version,
        accel__wandb_is_online(run) ? "online" : "offline", run->settings.run_id,
        run->settings.project ? run->settings.project : "uncategorized", run->log_path);
    greet(run);
    status = accel__wandb_online_begin(run);
    if (status) {
        run->started = false;
        return status;
    }
    run->stats = accel__wandb_stats_start(run);
    run->output = accel__wandb_output_start(run);
    return ACCEL_OK;
}

/* ---- the end ---- */

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

/* That they were dropped was said once; that it went on like this is not to be found out later. */
static void say_dropped(const accel__wandb_run_t *run)
{
    if (run->num_dropped)
        accel__wandb_warn(&run->console,
                          "%lld values were dropped: their steps were less than the current one.",
                          (long long)run->num_dropped);
}

static void farewell(const accel__wandb_run_t *run)
{
    say_dropped(run);
    if (run->console.quiet)
        return;
    accel__wandb_summary_print(&run->summary, &run->settings, &run->console);
    if (accel__wandb_is_online(run))
        return;
    accel__wandb_say(&run->console, "You can sync this run to the cloud by running:");
    accel__wandb_say(&run->console, "%s", run->sync_command);
    say_logs(run);
}

static void stop_monitor(accel__wandb_run_t *run)
{
    accel__wandb_output_stop(run->output);
    accel__wandb_stats_stop(run->stats);
    run->output = NULL;
    run->stats = NULL;
}

accel_status_t accel__wandb_run_finish(accel__wandb_run_t *run, int32_t exit_code)
{
    if (!accel__wandb_is_writing(run))
        return ACCEL_OK;
    double now = accel__wandb_now();
    stop_monitor(run);
    accel__wandb_lock(run);
    run->features.finish = true;
    accel__wandb_emit_telemetry(run);
    if (now > run->last_timestamp)
        run->last_timestamp = now;
    accel__wandb_emit_runtime(run, now);
    accel_status_t status = accel__wandb_close_row(run);
    if (!status) {
        accel__wandb_emit_exit(run, exit_code, now);
        status = accel__wandb_commit(run);
    }
    run->finished = true;
    if (exit_code == 0)
        accel__wandb_rundir_forget_resume(run);
    accel__wandb_debug(run, "finished with exit code %d", exit_code);
    accel__wandb_log_close(&run->log);
    accel__wandb_unlock(run);
    farewell(run);
    accel_status_t uploaded = accel__wandb_online_finish(run);
    if (accel__wandb_is_online(run) && !run->console.quiet)
        say_logs(run);
    return status ? status : uploaded;
}
