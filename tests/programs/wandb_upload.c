/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and syncs for wandb_online.py:
 *     program-wandb_upload log ID ROWS [PAUSE_MS [COMMANDS]]   a run of so many rows; prints
 * "begun" before the first, and the run's facts; with COMMANDS it waits for a line of its standard
 *         input before it finishes, and says "stopped" if the run is by then
 *     program-wandb_upload sync PATH [OPTION...]   options: online synced follow unmarked
 *         project=P entity=E id=I; prints each event, at the end the result
 * An error is printed as "error: STATUS: TEXT", exit code 3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static int fail(accel_status_t status)
{
    printf("error: %s: %s\n", accel_status_name(status), accel_last_error());
    return 3;
}

static accel_status_t log_rows(accel_wandb_run_t *run, long rows, unsigned pause_ms)
{
    int64_t first = accel_wandb_run_step(run);
    accel_status_t status = ACCEL_OK;
    for (long i = 0; i < rows && status == ACCEL_OK; i++) {
        status = accel_wandb_run_log(run, ACCEL_DICT("i", first + i, "half", (double)i / 2),
                                     ACCEL_NO_STEP);
        if (pause_ms)
            usleep(pause_ms * 1000);
    }
    return status;
}

static int log_run(int argc, char **argv)
{
    accel_wandb_run_t *run;
    char line[64];
    long rows = strtol(argv[3], NULL, 10);
    unsigned pause_ms = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    accel_status_t status = accel_wandb_init(
        ACCEL_DICT("project", "p", "id", argv[2], "config", ACCEL_DICT("lr", 0.1)), &run);
    if (status != ACCEL_OK)
        return fail(status);
    printf("begun %s %s\n", accel_wandb_run_sync_dir(run),
           accel_wandb_run_url(run) ? accel_wandb_run_url(run) : "-");
    printf("step %lld config %s\n", (long long)accel_wandb_run_step(run),
           accel_wandb_run_config(run));
    fflush(stdout);
    status = log_rows(run, rows, pause_ms);
    if (argc > 5 && fgets(line, sizeof(line), stdin))
        printf("%s\n", accel_wandb_run_is_stopped(run) ? "stopped" : "not stopped");
    accel_status_t finished = accel_wandb_run_finish(run, 0);
    if (status == ACCEL_OK)
        status = finished;
    return status == ACCEL_OK ? 0 : fail(status);
}

static bool show(void *context, const accel_wandb_sync_progress_t *progress)
{
    static const char *const names[] = {"begun", "running", "note", "done", "failed", "skipped"};
    const char *name = strrchr(progress->log, '/');
    (void)context;
    if (progress->event != ACCEL_WANDB_SYNC_RUNNING)
        printf("%s %s %s\n", names[progress->event], name ? name + 1 : progress->log,
               progress->text  ? progress->text
               : progress->url ? progress->url
                               : "");
    fflush(stdout);
    return true;
}

static bool is(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 || argument[length] != '=')
        return false;
    *value = argument + length + 1;
    return true;
}

static int sync_runs(int argc, char **argv)
{
    accel_wandb_sync_options_t options = accel_wandb_sync_options_init();
    accel_wandb_sync_result_t result;
    options.progress = show;
    for (int i = 3; i < argc; i++) {
        if (is(argv[i], "project", &options.project) || is(argv[i], "entity", &options.entity) ||
            is(argv[i], "id", &options.run_id))
            continue;
        options.include_online |= !strcmp(argv[i], "online");
        options.include_synced |= !strcmp(argv[i], "synced");
        options.follow |= !strcmp(argv[i], "follow");
        if (!strcmp(argv[i], "unmarked"))
            options.mark_synced = ACCEL_OFF;
    }
    accel_status_t status = accel_wandb_sync(argv[2], &options, &result);
    printf("%lld synced, %lld skipped, %lld failed, %lld missed\n", (long long)result.num_synced,
           (long long)result.num_skipped, (long long)result.num_failed,
           (long long)result.num_files_missed);
    return status == ACCEL_OK ? 0 : fail(status);
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "log"))
        return log_run(argc, argv);
    if (argc > 2 && !strcmp(argv[1], "sync"))
        return sync_runs(argc, argv);
    return 2;
}
