/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../apikey.h"
#include "../url.h"
#include "uploader.h"

enum { TICK_SECONDS = 1 };

typedef struct {
    const accel_wandb_sync_options_t *options;
    accel_wandb_sync_result_t *result;
    accel__wandb_settings_t settings;
    char *api_key;
    accel__wandb_logs_t logs;
    size_t index;
    bool cancelled;
} sync_t;

/* ---- telling ---- */

static int64_t size_of(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? (int64_t)about.st_size : 0;
}

static accel_wandb_sync_progress_t report(const sync_t *sync, accel_wandb_sync_event_t event,
                                          const char *text)
{
    return (accel_wandb_sync_progress_t){.event = event,
                                         .log = sync->logs.paths[sync->index],
                                         .text = text,
                                         .index = (int64_t)sync->index,
                                         .total = (int64_t)sync->logs.count,
                                         .log_bytes = size_of(sync->logs.paths[sync->index])};
}

static void tell(sync_t *sync, const accel_wandb_sync_progress_t *progress)
{
    const accel_wandb_sync_options_t *options = sync->options;
    if (options->progress && !options->progress(options->context, progress))
        sync->cancelled = true;
}

static void tell_text(sync_t *sync, accel_wandb_sync_event_t event, const char *text)
{
    accel_wandb_sync_progress_t progress = report(sync, event, text);
    tell(sync, &progress);
}

/* From the uploader's threads: whoever wants to stop says so on the next tick. */
static void take_note(void *context, bool warning, const char *text)
{
    const sync_t *sync = context;
    accel_wandb_sync_progress_t note = report(sync, ACCEL_WANDB_SYNC_NOTE, text);
    (void)warning;
    if (sync->options->progress)
        (void)sync->options->progress(sync->options->context, &note);
}

static void tell_progress(sync_t *sync, accel__wandb_uploader_t *uploader,
                          const accel__wandb_progress_t *state, accel_wandb_sync_event_t event,
                          const char *text)
{
    accel_wandb_sync_progress_t progress = report(sync, event, text);
    const char *entity = accel__wandb_uploader_entity(uploader);
    char *url = entity ? accel__wandb_url_run(&sync->settings, entity,
                                              accel__wandb_uploader_project(uploader),
                                              accel__wandb_uploader_run_id(uploader))
                       : NULL;
    progress.url = url;
    progress.log_bytes = (int64_t)state->log_size;
    progress.sent_bytes = (int64_t)state->log_read;
    progress.num_rows = state->rows;
    for (int i = 0; i < ACCEL__WANDB_FILE_KINDS; i++)
        progress.num_files += state->files_sent[i];
    tell(sync, &progress);
    free(url);
}

/* ---- the marker ---- */

static char *marker_of(const char *log)
{
    accel__wandb_text_t path = {0};
    accel__wandb_text_printf(&path, "%s.synced", log);
    if (path.failed)
        accel__wandb_text_free(&path);
    return path.data;
}

/* The marker holds how large the log was: clocks of files are too coarse to tell what came after.
 * One of the stock client is empty, and its time must do. */
static bool is_marked(const char *log)
{
    char *marker = marker_of(log), text[32] = "";
    int fd = marker ? open(marker, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    struct stat mark, about;
    bool marked = length >= 0 && fstat(fd, &mark) == 0 && stat(log, &about) == 0;

    if (marked && length > 0)
        marked = strtoll(text, NULL, 10) == about.st_size;
    else if (marked)
        marked = about.st_mtim.tv_sec < mark.st_mtim.tv_sec ||
                 (about.st_mtim.tv_sec == mark.st_mtim.tv_sec &&
                  about.st_mtim.tv_nsec <= mark.st_mtim.tv_nsec);
    if (fd >= 0)
        close(fd);
    free(marker);
    return marked;
}

static accel_status_t mark(const char *log, int64_t size)
{
    char *marker = marker_of(log);
    int fd = marker ? open(marker, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    accel_status_t status = ACCEL_OK;
    if (!marker)
        status = accel__wandb_fail_memory();
    else if (fd < 0 || dprintf(fd, "%lld\n", (long long)size) < 0)
        status = accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write", marker);
    if (fd >= 0)
        close(fd);
    free(marker);
    return status;
}

/* ---- one log ---- */

static const char *reason_to_skip(const sync_t *sync, const char *log)
{
    if (!sync->options->include_online && accel__wandb_logs_is_online(log))
        return "of an online run";
    if (!sync->options->include_synced && is_marked(log))
        return "already synced";
    return NULL;
}

static accel_status_t watch(sync_t *sync, accel__wandb_uploader_t *uploader,
                            accel__wandb_progress_t *state)
{
    do {
        accel__wandb_uploader_progress(uploader, state);
        accel__wandb_uploader_wait(uploader, state->state, TICK_SECONDS);
        accel__wandb_uploader_progress(uploader, state);
        tell_progress(sync, uploader, state, ACCEL_WANDB_SYNC_RUNNING,
                      *state->trouble ? state->trouble : NULL);
    } while (!sync->cancelled && state->state != ACCEL__WANDB_UPLOAD_DONE &&
             state->state != ACCEL__WANDB_UPLOAD_FAILED);
    if (state->state == ACCEL__WANDB_UPLOAD_DONE)
        return ACCEL_OK;
    if (state->state == ACCEL__WANDB_UPLOAD_FAILED)
        return accel__wandb_fail(state->status, "%s", state->error);
    return accel__wandb_fail(ACCEL_ERR_CANCELLED, "wandb: the sync of %s was stopped",
                             sync->logs.paths[sync->index]);
}

static accel_status_t send_log(sync_t *sync, const char *log)
{
    const accel_wandb_sync_options_t *options = sync->options;
    accel__wandb_uploader_t *uploader = NULL;
    accel__wandb_progress_t state = {0};
    int64_t size = size_of(log); /* before it is read: what comes meanwhile may be left over */
    accel_status_t status =
        accel__wandb_uploader_start(&(accel__wandb_upload_t){.settings = &sync->settings,
                                                             .api_key = sync->api_key,
                                                             .log_path = log,
                                                             .entity = options->entity,
                                                             .project = options->project,
                                                             .run_id = options->run_id,
                                                             .live = options->follow,
                                                             .notify = take_note,
                                                             .context = sync},
                                    &uploader);
    if (!status)
        status = watch(sync, uploader, &state);
    if (!status && !state.files_missed && options->mark_synced == ACCEL_ON)
        status = mark(log, options->follow ? size_of(log) : size);
    if (!status) {
        sync->result->num_synced++;
        sync->result->num_files_missed += state.files_missed;
        tell_progress(sync, uploader, &state, ACCEL_WANDB_SYNC_DONE, NULL);
    }
    accel__wandb_uploader_destroy(uploader);
    return status;
}

static accel_status_t sync_log(sync_t *sync)
{
    const char *log = sync->logs.paths[sync->index], *skip = reason_to_skip(sync, log);
    if (skip) {
        sync->result->num_skipped++;
        tell_text(sync, ACCEL_WANDB_SYNC_SKIPPED, skip);
        return ACCEL_OK;
    }
    tell_text(sync, ACCEL_WANDB_SYNC_BEGUN, NULL);
    if (sync->cancelled)
        return accel__wandb_fail(ACCEL_ERR_CANCELLED, "wandb: the sync was stopped before %s", log);
    accel_status_t status = sync->options->dry_run ? ACCEL_OK : send_log(sync, log);
    if (status) {
        sync->result->num_failed++;
        tell_text(sync, ACCEL_WANDB_SYNC_FAILED, accel__wandb_last_error());
    }
    return status;
}

/* ---- all of them ---- */

/* The settings of a run that goes online, so that a missing key is the same error. Who only asks
 * which logs there are needs no key. */
static accel_status_t read_settings(sync_t *sync)
{
    bool dry_run = sync->options->dry_run;
    const accel_item_t arguments[] = {accel_item_string("mode", dry_run ? "offline" : "online"),
                                      accel_item_end()};
    const accel_tracker_init_t init = {
        .struct_size = sizeof(init), .init_kwargs = arguments, .num_processes = 1};
    accel_status_t status = accel__wandb_settings_create(&init, &sync->settings);
    return status || dry_run ? status : accel__wandb_api_key_find(&sync->settings, &sync->api_key);
}

static accel_status_t find_logs(sync_t *sync, const char *path)
{
    accel__wandb_settings_t *settings = &sync->settings;
    if (path)
        return accel__wandb_logs_find(path, &sync->logs);
    if (!settings->root_dir)
        settings->root_dir = strdup(".");
    char *folder = settings->root_dir ? accel__wandb_settings_wandb_dir(settings) : NULL;
    accel_status_t status =
        folder ? accel__wandb_logs_find(folder, &sync->logs) : accel__wandb_fail_memory();
    free(folder);
    return status;
}

/* The first error's text must outlive the logs that come after it. */
static accel_status_t sync_logs(sync_t *sync)
{
    accel_status_t first = ACCEL_OK;
    char text[512] = "";
    if (sync->options->run_id && !sync->options->dry_run && sync->logs.count > 1)
        return accel__wandb_fail(
            ACCEL_ERR_INVALID, "wandb: run_id is for one log, and here are %zu", sync->logs.count);
    for (sync->index = 0; sync->index < sync->logs.count && !sync->cancelled; sync->index++) {
        accel_status_t status = sync_log(sync);
        if (status && !first) {
            first = status;
            snprintf(text, sizeof(text), "%s", accel__wandb_last_error());
        }
    }
    return first ? accel__wandb_fail(first, "%s", text) : ACCEL_OK;
}

accel_status_t accel__wandb_sync(const char *path, const accel_wandb_sync_options_t *options,
                                 accel_wandb_sync_result_t *result)
{
    sync_t sync = {.options = options, .result = result};
    accel_status_t status = read_settings(&sync);
    if (!status)
        status = find_logs(&sync, path);
    if (!status)
        status = sync_logs(&sync);
    accel__wandb_logs_free(&sync.logs);
    accel__wandb_settings_free(&sync.settings);
    if (sync.api_key)
        explicit_bzero(sync.api_key, strlen(sync.api_key));
    free(sync.api_key);
    return status;
}
