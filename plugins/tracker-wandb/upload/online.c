/* SPDX-License-Identifier: Apache-2.0 */
#include "online.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../apikey.h"
#include "../url.h"
#include "resume.h"
#include "uploader.h"

enum { WAIT_SECONDS = 1, SAY_SECONDS = 10, STALL_SECONDS = 60, STALL_BYTES = 64 << 10 };

/* ---- resume ---- */

static void forget_past(accel__wandb_run_t *run)
{
    if (run->past)
        accel__wandb_past_free(run->past);
    free(run->past);
    run->past = NULL;
}

static accel_status_t copy_config(accel__wandb_run_t *run, const accel__wandb_past_t *past)
{
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < past->config.count && !status; i++) {
        accel__wandb_text_t json = {0};
        accel__wandb_tree_print(&past->config.children[i], &json, true);
        status = json.failed ? accel__wandb_fail_memory()
                             : accel__wandb_config_inherit(&run->settings,
                                                           past->config.children[i].key, json.data);
        accel__wandb_text_free(&json);
    }
    return status;
}

static accel_type_t type_of(const accel__wandb_tree_t *value)
{
    const char *text = value->text ? value->text : "";
    if (value->kind == ACCEL__WANDB_ARRAY)
        return ACCEL_TYPE_LIST;
    if (*text == '"')
        return ACCEL_TYPE_STRING;
    if (*text == 't' || *text == 'f')
        return ACCEL_TYPE_BOOL;
    if (*text == 'n')
        return ACCEL_TYPE_NULL;
    return strpbrk(text, ".eEIN") ? ACCEL_TYPE_FLOAT : ACCEL_TYPE_INT;
}

/* Values by their paths, as the summary keeps them. */
static bool copy_summary(accel__wandb_summary_t *summary, const accel__wandb_tree_t *object,
                         const char *prefix)
{
    bool good = true;
    for (size_t i = 0; i < object->count && good; i++) {
        const accel__wandb_tree_t *value = &object->children[i];
        accel__wandb_text_t path = {0};
        if (!*prefix && value->key[0] == '_')
            continue;
        accel__wandb_text_printf(&path, "%s%s", prefix, value->key);
        if (!path.failed && value->kind == ACCEL__WANDB_OBJECT) {
            char separator = ACCEL__WANDB_SEPARATOR;
            accel__wandb_text_append(&path, &separator, 1);
            good = !path.failed && copy_summary(summary, value, path.data);
        } else {
            accel__wandb_metric_t *metric =
                path.failed ? NULL : accel__wandb_summary_at(summary, path.data);
            good = metric != NULL;
            if (metric) {
                metric->last.length = 0;
                accel__wandb_tree_print(value, &metric->last, true);
                metric->type = type_of(value);
            }
        }
        accel__wandb_text_free(&path);
    }
    return good;
}

accel_status_t accel__wandb_online_emit_past(accel__wandb_run_t *run)
{
    if (!run->past)
        return ACCEL_OK;
    const accel__wandb_tree_t *summary = &run->past->summary;
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    record->summary = accel__wandb_new(run, &wandb__summary_record__descriptor);
    Wandb__Item **items =
        accel__wandb_arena_take(&run->arena, (summary->count + 1) * sizeof(Wandb__Item *));
    for (size_t i = 0; items && i < summary->count; i++) {
        accel__wandb_text_t json = {0};
        accel__wandb_tree_print(&summary->children[i], &json, true);
        items[i] = accel__wandb_new(run, &wandb__item__descriptor);
        if (!json.failed)
            accel__wandb_put(run, &items[i]->value_json,
                             accel__wandb_arena_copy(&run->arena, json.data, json.length));
        accel__wandb_put(run, &items[i]->key, summary->children[i].key);
        accel__wandb_text_free(&json);
    }
    record->summary->update = items;
    record->summary->n_update = items ? summary->count : 0;
    if (summary->count)
        accel__wandb_emit(run, record, true);
    forget_past(run);
    return accel__wandb_commit(run);
}

static accel_status_t check_words(const accel__wandb_settings_t *settings, bool exists)
{
    if (!exists && !strcmp(settings->resume, "must"))
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: resume=\"must\", but there is no run '%s'; leave resume "
                                 "out, or use \"allow\"",
                                 settings->run_id);
    if (exists && !strcmp(settings->resume, "never"))
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: resume=\"never\", but the run '%s' exists; use another "
                                 "id, or \"allow\"",
                                 settings->run_id);
    return ACCEL_OK;
}

static accel_status_t take_past(accel__wandb_run_t *run, const accel__wandb_past_t *past)
{
    accel_status_t status = copy_config(run, past);
    if (!status && !copy_summary(&run->summary, &past->summary, ""))
        status = accel__wandb_fail_memory();
    run->resumed = true;
    run->features.resumed = true;
    run->starting_step = run->step = past->next_step;
    run->past_runtime = past->runtime;
    return status;
}

static void note_trouble(void *context, const char *text)
{
    accel__wandb_debug(context, "asking for the run: %s (trying again)", text);
}

static accel_status_t ask_past(accel__wandb_run_t *run, const char *key, accel__wandb_past_t *past)
{
    const accel__wandb_settings_t *settings = &run->settings;
    accel__wandb_http_t *http = NULL;
    accel__wandb_listener_t listener = {note_trouble, run};
    accel__wandb_retry_t retry = {
        .kind = ACCEL__WANDB_RETRY_API,
        .tries = 1000,
        .least = isnan(settings->graphql_retry_wait_min) ? 2 : settings->graphql_retry_wait_min,
        .most = 60,
        .deadline = accel__wandb_monotonic() + settings->init_timeout};
    double timeout = isnan(settings->graphql_timeout) ? 30 : settings->graphql_timeout;
    accel__wandb_http_options_t options = accel__wandb_http_options(settings);
    options.api_key = key;
    accel_status_t status = accel__wandb_http_create(&options, &http);
    if (!status)
        status =
            accel__wandb_past_ask(http, settings->entity, settings->project, settings->run_id,
                                  &retry, fmin(timeout, settings->init_timeout), &listener, past);
    accel__wandb_http_destroy(http);
    return status;
}

accel_status_t accel__wandb_online_resume(accel__wandb_run_t *run)
{
    char *key = NULL;
    if (!accel__wandb_is_online(run) || !run->settings.resume)
        return ACCEL_OK;
    run->past = calloc(1, sizeof(*run->past));
    accel_status_t status =
        run->past ? accel__wandb_api_key_find(&run->settings, &key) : accel__wandb_fail_memory();
    if (!status)
        status = ask_past(run, key, run->past);
    if (!status)
        status = check_words(&run->settings, run->past->exists);
    if (!status && run->past->exists)
        status = take_past(run, run->past);
    if (status || !run->past->exists)
        forget_past(run);
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    return status;
}

/* ---- begin ---- */

static void notify(void *context, bool warning, const char *text)
{
    const accel__wandb_run_t *run = context;
    accel__wandb_debug(run, "upload: %s", text);
    if (warning)
        accel__wandb_warn(&run->console, "%s", text);
}

static void say_links(accel__wandb_run_t *run, bool at_end)
{
    const accel__wandb_settings_t *settings = &run->settings;
    const accel__wandb_console_t *console = &run->console;
    char *project = accel__wandb_url_project(settings, settings->entity, settings->project);
    char *page =
        accel__wandb_url_run(settings, settings->entity, settings->project, settings->run_id);
    const char *name = settings->run_name ? settings->run_name : settings->run_id;
    if (!at_end && !console->quiet)
        accel__wandb_say(console, "%s run %s", run->resumed ? "Resuming" : "Syncing", name);
    if (!at_end && project && page) {
        accel__wandb_say(console, "View project at %s", project);
        accel__wandb_say(console, "View run at %s", page);
    } else if (project && page) {
        accel__wandb_say(console, "View run %s at: %s", name, page);
        accel__wandb_say(console, "View project at: %s", project);
    }
    free(project);
    free(page);
}

/* The server's own words for who the run is. */
static accel_status_t take_facts(accel__wandb_run_t *run)
{
    accel__wandb_settings_t *settings = &run->settings;
    const struct {
        const char *setting, *value;
    } facts[] = {{"entity", accel__wandb_uploader_entity(run->uploader)},
                 {"project", accel__wandb_uploader_project(run->uploader)},
                 {"run_name", accel__wandb_uploader_name(run->uploader)}};
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts) && !status; i++) {
        if (!facts[i].value)
            continue;
        accel_item_t item = accel_item_string(facts[i].setting, facts[i].value);
        status = accel__wandb_setting_set(settings, facts[i].setting, &item, facts[i].setting);
    }
    return status;
}

static accel_status_t start_uploader(accel__wandb_run_t *run)
{
    char *key = NULL;
    accel_status_t status = accel__wandb_api_key_find(&run->settings, &key);
    if (!status)
        status = accel__wandb_uploader_start(&(accel__wandb_upload_t){.settings = &run->settings,
                                                                      .api_key = key,
                                                                      .log_path = run->log_path,
                                                                      .live = true,
                                                                      .notify = notify,
                                                                      .context = run},
                                             &run->uploader);
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    return status;
}

static accel_status_t fail_begin(accel__wandb_run_t *run, accel_status_t status, const char *text)
{
    accel__wandb_online_free(run);
    return accel__wandb_fail(status, "%s", text);
}

accel_status_t accel__wandb_online_begin(accel__wandb_run_t *run)
{
    accel__wandb_progress_t progress;
    char text[600];
    if (!accel__wandb_is_online(run))
        return ACCEL_OK;
    accel_status_t status = start_uploader(run);
    if (status)
        return status;
    accel__wandb_upload_state_t state = accel__wandb_uploader_wait(
        run->uploader, ACCEL__WANDB_UPLOAD_STARTING, run->settings.init_timeout);
    accel__wandb_uploader_progress(run->uploader, &progress);
    if (state == ACCEL__WANDB_UPLOAD_FAILED)
        return fail_begin(run, progress.status, progress.error);
    if (state != ACCEL__WANDB_UPLOAD_STARTING) {
        status = take_facts(run);
        if (!status)
            say_links(run, false);
        return status ? fail_begin(run, status, accel__wandb_last_error()) : ACCEL_OK;
    }
    snprintf(text, sizeof(text), "no answer from %s within %g s%s%s", run->settings.base_url,
             run->settings.init_timeout, *progress.trouble ? ": " : "", progress.trouble);
    if (run->settings.resume)
        return fail_begin(run, ACCEL_ERR_TIMEOUT, text);
    accel__wandb_warn(&run->console,
                      "There is %s. The run goes on, and is uploaded when the server answers.",
                      text);
    return ACCEL_OK;
}

bool accel__wandb_online_stopped(accel__wandb_run_t *run)
{
    accel__wandb_progress_t progress = {0};
    if (run->uploader)
        accel__wandb_uploader_progress(run->uploader, &progress);
    return progress.stopped;
}

/* ---- finish ---- */

static void say_progress(accel__wandb_run_t *run, const accel__wandb_progress_t *progress)
{
    double share =
        progress->log_size ? 100.0 * (double)progress->log_read / (double)progress->log_size : 0;
    int64_t files = 0;
    for (int i = 0; i < ACCEL__WANDB_FILE_KINDS; i++)
        files += progress->files_sent[i];
    accel__wandb_say(&run->console,
                     "Uploading: %.0f%% of the log read, %lld file(s) and %.1f MB sent%s%s", share,
                     (long long)files, (double)progress->moved / 1e6,
                     *progress->trouble ? "; " : "", progress->trouble);
}

static bool is_over(accel__wandb_upload_state_t state)
{
    return state == ACCEL__WANDB_UPLOAD_DONE || state == ACCEL__WANDB_UPLOAD_FAILED;
}

/* Something has moved if a request went well, or many bytes did. */
typedef struct {
    uint64_t answers, moved;
    double since;
} movement_t;

static bool is_stalled(movement_t *last, const accel__wandb_progress_t *progress, double now)
{
    if (progress->answers > last->answers || progress->moved >= last->moved + STALL_BYTES)
        *last = (movement_t){progress->answers, progress->moved, now};
    return now >= last->since + STALL_SECONDS;
}

/* Until it is over, the limit has come, or (without a limit) nothing moves. */
static void wait_for_upload(accel__wandb_run_t *run, accel__wandb_progress_t *progress)
{
    double start = accel__wandb_monotonic(), said = start, limit = run->settings.finish_timeout;
    movement_t last = {.since = start};
    accel__wandb_uploader_progress(run->uploader, progress);
    last.answers = progress->answers;
    last.moved = progress->moved;
    for (;;) {
        double now = accel__wandb_monotonic(), wait = WAIT_SECONDS;
        if (limit > 0)
            wait = fmin(wait, fmax(start + limit - now, 0));
        accel__wandb_uploader_wait(run->uploader, progress->state, wait);
        accel__wandb_uploader_progress(run->uploader, progress);
        now = accel__wandb_monotonic();
        if (is_over(progress->state) || (limit > 0 && now >= start + limit) ||
            (limit <= 0 && is_stalled(&last, progress, now)))
            return;
        if (now >= said + SAY_SECONDS) {
            said = now;
            say_progress(run, progress);
        }
    }
}

static void say_outcome(accel__wandb_run_t *run, const accel__wandb_progress_t *progress)
{
    const accel__wandb_console_t *console = &run->console;
    const int64_t *sent = progress->files_sent;
    bool done = progress->state == ACCEL__WANDB_UPLOAD_DONE;
    accel__wandb_debug(run, "upload: %s, %lld row(s), %lld file(s) missed; %s%s",
                       done ? "done" : "not done", (long long)progress->rows,
                       (long long)progress->files_missed, progress->error, progress->trouble);
    if (accel__wandb_uploader_entity(run->uploader))
        say_links(run, true);
    if (done)
        accel__wandb_say(console,
                         "Synced %lld W&B file(s), %lld media file(s), %lld artifact file(s) and "
                         "%lld other file(s)",
                         (long long)sent[WANDB__FILES_ITEM__FILE_TYPE__WANDB],
                         (long long)sent[WANDB__FILES_ITEM__FILE_TYPE__MEDIA],
                         (long long)sent[WANDB__FILES_ITEM__FILE_TYPE__ARTIFACT],
                         (long long)sent[WANDB__FILES_ITEM__FILE_TYPE__OTHER]);
    if (done && !progress->files_missed)
        return;
    const char *why = *progress->error ? progress->error : progress->trouble;
    accel__wandb_warn(console, "The run is not wholly uploaded%s%s. To send the rest, run:",
                      *why ? ": " : "", why);
    accel__wandb_say(console, "%s", run->rest_command);
}

accel_status_t accel__wandb_online_finish(accel__wandb_run_t *run)
{
    accel__wandb_progress_t progress;
    if (!run->uploader)
        return ACCEL_OK;
    accel__wandb_uploader_close(run->uploader);
    wait_for_upload(run, &progress);
    say_outcome(run, &progress);
    bool over = is_over(progress.state);
    if (over || !run->settings.finish_timeout_raises)
        return ACCEL_OK;
    return accel__wandb_fail(ACCEL_ERR_TIMEOUT,
                             "wandb: the run was not uploaded within %g s; `%s` sends the rest",
                             run->settings.finish_timeout, run->rest_command);
}

void accel__wandb_online_free(accel__wandb_run_t *run)
{
    accel__wandb_uploader_destroy(run->uploader);
    run->uploader = NULL;
    forget_past(run);
}
