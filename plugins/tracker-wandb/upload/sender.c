/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that follows the log and sends the run, its configuration and the file stream. */
#include "sender.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../url.h"

enum { POLL_SECONDS = 1, STREAM_SECONDS = 15, CONFIG_SECONDS = 5, AGAIN_SECONDS = 60 };
enum { MOST_BYTES = 10 << 20, LINE_MARGIN = 100 << 10 };

static bool ended(const accel__wandb_sender_t *sender)
{
    return accel__wandb_alarm_cancelled(&sender->up->alarm);
}

static double either(double setting, double usual)
{
    return isnan(setting) ? usual : setting;
}

/* ---- the run ---- */

static bool has_news(const accel__wandb_sender_t *sender)
{
    return sender->bucket.changed || sender->bucket.renamed;
}

/* What the server says the run is, for everyone. */
static accel_status_t publish(accel__wandb_sender_t *sender)
{
    accel__wandb_uploader_t *up = sender->up;
    const accel__wandb_bucket_t *bucket = &sender->bucket;
    pthread_mutex_lock(&up->lock);
    bool good = accel__wandb_set_text(&up->entity, bucket->entity) &&
                accel__wandb_set_text(&up->project, bucket->project) &&
                accel__wandb_set_text(&up->run_id, bucket->run_id) &&
                accel__wandb_set_text(&up->name, bucket->display_name);
    if (good && up->progress.state == ACCEL__WANDB_UPLOAD_STARTING) {
        up->progress.state = ACCEL__WANDB_UPLOAD_RUNNING;
        pthread_cond_broadcast(&up->changed);
    }
    pthread_mutex_unlock(&up->lock);
    return good ? ACCEL_OK : accel__wandb_fail_memory();
}

static bool has_feature(json_t *data, const char *name)
{
    json_t *features = accel__wandb_json_at(data, "serverInfo", "features", NULL), *feature;
    size_t i;
    json_array_foreach(features, i, feature)
    {
        const char *found = json_string_value(json_object_get(feature, "name"));
        if (found && !strcmp(found, name))
            return json_is_true(json_object_get(feature, "isEnabled"));
    }
    return false;
}

/* A server that does not know the question has no features. */
static void ask_features(accel__wandb_sender_t *sender)
{
    accel__wandb_retry_t once = {.kind = ACCEL__WANDB_RETRY_API};
    json_t *data = NULL;
    double timeout = accel__wandb_upload_timeout(sender->up, ACCEL__WANDB_RETRY_API, false);
    if (accel__wandb_graphql(sender->http, &accel__wandb_server_features, json_object(), &once,
                             timeout, NULL, &data, NULL) == ACCEL_OK)
        sender->structured_console = has_feature(data, "STRUCTURED_CONSOLE_LOGS");
    json_decref(data);
}

accel_status_t accel__wandb_sender_upsert(accel__wandb_sender_t *sender, bool first)
{
    accel__wandb_uploader_t *up = sender->up;
    accel__wandb_retry_t retry = accel__wandb_upload_retry(up, ACCEL__WANDB_RETRY_UPSERT, false);
    accel__wandb_listener_t listener = accel__wandb_upload_listener(up);
    double timeout = accel__wandb_upload_timeout(up, ACCEL__WANDB_RETRY_UPSERT, false);
    accel_status_t status;
    for (;;) {
        status = accel__wandb_bucket_upsert(&sender->bucket, sender->http, first, &retry, timeout,
                                            &listener);
        /* a live run outlasts any failure of the network */
        bool passes = status == ACCEL_ERR_IO || status == ACCEL_ERR_FORMAT;
        if (!passes || !up->live || ended(sender) || accel__wandb_upload_closed(up))
            break;
        uint64_t seen = 0;
        accel__wandb_alarm_wait(&up->alarm, 0, &seen); /* only nudges from now on count */
        accel__wandb_alarm_wait(&up->alarm, AGAIN_SECONDS, &seen);
    }
    if (!status)
        accel__wandb_upload_answered(up);
    return status;
}

static accel_status_t introduce(accel__wandb_sender_t *sender)
{
    const Wandb__Timestamp *start = sender->bucket.record->start_time;
    sender->start_time = start ? (double)start->seconds + (double)start->nanos * 1e-9 : 0;
    accel_status_t status = accel__wandb_sender_find_place(sender);
    if (!status)
        status = publish(sender);
    if (!status)
        ask_features(sender);
    sender->introduced = status == ACCEL_OK;
    return status;
}

/* ---- requests of the file stream ---- */

/* RateLimit-Remaining requests within RateLimit-Reset seconds: that is the pace, with ten at once
 * where there was a pause. */
static void take_rate(accel__wandb_sender_t *sender, const accel__wandb_reply_t *reply)
{
    enum { SLOWEST = 10, FASTEST = 65536 };
    if (reply->rate_remaining >= 0 && reply->rate_reset > 0)
        sender->rate =
            fmin(fmax(reply->rate_remaining / reply->rate_reset, 1.0 / SLOWEST), FASTEST);
}

static void await_rate(accel__wandb_sender_t *sender)
{
    enum { BURST = 10 };
    uint64_t seen = 0;
    double now = accel__wandb_monotonic();
    if (sender->rate <= 0)
        return;
    sender->tokens = fmin(BURST, sender->tokens + (now - sender->refilled) * sender->rate);
    sender->refilled = now;
    while (sender->tokens < 1 && !ended(sender)) {
        accel__wandb_alarm_wait(&sender->up->alarm, (1 - sender->tokens) / sender->rate, &seen);
        now = accel__wandb_monotonic();
        sender->tokens += (now - sender->refilled) * sender->rate;
        sender->refilled = now;
    }
    sender->tokens -= 1;
}

static void take_reply(accel__wandb_sender_t *sender, const accel__wandb_reply_t *reply)
{
    accel__wandb_uploader_t *up = sender->up;
    json_t *answer =
        json_loadb(reply->body.data ? reply->body.data : "", reply->body.length, 0, NULL);
    bool stopped = json_is_true(json_object_get(answer, "stopped"));
    json_decref(answer);
    take_rate(sender, reply);
    pthread_mutex_lock(&up->lock);
    bool news = stopped && !up->progress.stopped;
    up->progress.stopped = up->progress.stopped || stopped;
    up->progress.rows = sender->rows_sent;
    pthread_mutex_unlock(&up->lock);
    if (news && up->live)
        accel__wandb_upload_notify(up, true,
                                   "The run was stopped in the browser; "
                                   "accel_wandb_run_is_stopped() tells the program so.");
}

static accel_status_t post(accel__wandb_sender_t *sender, const accel__wandb_text_t *body)
{
    static const char *const headers[] = {"Content-Type: application/json"};
    accel__wandb_uploader_t *up = sender->up;
    const accel__wandb_bucket_t *bucket = &sender->bucket;
    accel__wandb_text_t url = {0};
    accel__wandb_reply_t reply = {0};
    accel_status_t status = ACCEL_OK;
    accel__wandb_text_printf(&url, "%s/files/", accel__wandb_http_base(sender->http));
    accel__wandb_url_quote(&url, bucket->entity ? bucket->entity : "", "");
    accel__wandb_text_puts(&url, "/");
    accel__wandb_url_quote(&url, bucket->project ? bucket->project : "", "");
    accel__wandb_text_puts(&url, "/");
    accel__wandb_url_quote(&url, bucket->run_id, "");
    accel__wandb_text_puts(&url, "/file_stream");
    if (url.failed || body->failed) {
        accel__wandb_text_free(&url);
        return accel__wandb_fail_memory();
    }
    accel__wandb_request_t request = {
        .method = ACCEL__WANDB_POST,
        .url = url.data,
        .headers = headers,
        .num_headers = 1,
        .body = body->data,
        .size = body->length,
        .timeout = accel__wandb_upload_timeout(up, ACCEL__WANDB_RETRY_API, true)};
    accel__wandb_retry_t retry = accel__wandb_upload_retry(up, ACCEL__WANDB_RETRY_API, true);
    accel__wandb_listener_t listener = accel__wandb_upload_listener(up);
    await_rate(sender);
    accel__wandb_http_insist(sender->http, &request, &retry, &listener, &reply);
    sender->last_send = accel__wandb_monotonic();
    if (accel__wandb_reply_good(&reply)) {
        accel__wandb_upload_answered(up);
        take_reply(sender, &reply);
    } else {
        char text[400];
        accel__wandb_reply_describe(&reply, text, sizeof(text));
        status = accel__wandb_fail(reply.outcome == ACCEL__WANDB_CANCELLED ? ACCEL_ERR_CANCELLED
                                                                           : ACCEL_ERR_IO,
                                   "wandb: the run's data: %s", text);
    }
    accel__wandb_reply_free(&reply);
    accel__wandb_text_free(&url);
    return status;
}

static accel_status_t print_summary(accel__wandb_sender_t *sender)
{
    accel__wandb_text_t json = {0};
    if (!sender->summary_changed)
        return ACCEL_OK;
    sender->summary_changed = false;
    accel__wandb_tree_print(&sender->summary, &json, true);
    bool failed = json.failed;
    if (!failed && !accel__wandb_stream_summary(&sender->stream, json.data))
        accel__wandb_upload_notify(sender->up, true, "The summary is too large to be uploaded.");
    accel__wandb_text_free(&json);
    return failed ? accel__wandb_fail_memory() : ACCEL_OK;
}

/* The paths that the other thread has uploaded since. */
static void fetch_uploaded(accel__wandb_sender_t *sender)
{
    accel__wandb_uploader_t *up = sender->up;
    pthread_mutex_lock(&up->lock);
    accel__wandb_text_t paths = up->uploaded;
    up->uploaded = (accel__wandb_text_t){0};
    pthread_mutex_unlock(&up->lock);
    for (size_t at = 0; at < paths.length; at += strlen(paths.data + at) + 1)
        accel__wandb_stream_uploaded(&sender->stream, paths.data + at);
    accel__wandb_text_free(&paths);
}

static accel_status_t send(accel__wandb_sender_t *sender, const accel__wandb_ending_t *ending)
{
    accel_status_t status = print_summary(sender);
    for (bool last = false; !last && !status;) {
        accel__wandb_text_t body = {0};
        last = accel__wandb_stream_take(&sender->stream, ending, &body);
        status = post(sender, &body);
        accel__wandb_text_free(&body);
    }
    sender->next_send = sender->last_send +
                        either(sender->up->settings->file_stream_transmit_interval, STREAM_SECONDS);
    return status;
}

/* ---- following the log ---- */

/* The server hears of the run once everything that comes with its beginning has been read. */
static accel_status_t take_record(accel__wandb_sender_t *sender)
{
    const uint8_t *data;
    size_t size;
    uint32_t kind = accel__wandb_wire_kind(sender->reader.record.data, sender->reader.record.length,
                                           &data, &size);
    if (kind == 0 || kind == ACCEL__WANDB_HEADER)
        return ACCEL_OK;
    if (kind != ACCEL__WANDB_RUN && !sender->bucket.record)
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: %s does not begin with a run record",
                                 sender->up->log_path);
    accel_status_t status = ACCEL_OK;
    if (!accel__wandb_bucket_concerns(kind) && !sender->introduced)
        status = introduce(sender);
    bool known = !has_news(sender);
    if (!status)
        status = accel__wandb_sender_take(sender, kind, data, size);
    if (status == ACCEL_ERR_FORMAT &&
        sender->bucket.record) { /* one bad record costs only itself */
        accel__wandb_upload_notify(sender->up, true, "Skipped a record: %s",
                                   accel__wandb_last_error());
        status = ACCEL_OK;
    }
    if (known && has_news(sender))
        sender->next_upsert = accel__wandb_monotonic() + CONFIG_SECONDS;
    return status;
}

/* Everything there is, or as much as a request may carry. */
static accel_status_t read_on(accel__wandb_sender_t *sender, accel__wandb_read_t *found)
{
    accel_status_t status = ACCEL_OK;
    *found = ACCEL__WANDB_READ_RECORD;
    while (!status && !sender->exited && !ended(sender) &&
           !accel__wandb_stream_full(&sender->stream)) {
        *found = accel__wandb_reader_next(&sender->reader);
        if (*found == ACCEL__WANDB_READ_FAILED)
            return ACCEL_ERR_IO;
        if (*found != ACCEL__WANDB_READ_RECORD)
            break;
        status = take_record(sender);
    }
    pthread_mutex_lock(&sender->up->lock);
    sender->up->progress.log_read = sender->reader.offset;
    sender->up->progress.log_size = accel__wandb_reader_size(&sender->reader);
    pthread_mutex_unlock(&sender->up->lock);
    return status;
}

/* What the server refuses is not worth the run's other data: the next change tries again. */
static accel_status_t send_news(accel__wandb_sender_t *sender)
{
    accel_status_t status = accel__wandb_sender_upsert(sender, false);
    if (status == ACCEL_OK || status == ACCEL_ERR_IO || status == ACCEL_ERR_CANCELLED ||
        status == ACCEL_ERR_NO_MEMORY)
        return status;
    accel__wandb_upload_notify(sender->up, true, "The configuration was not taken: %s",
                               accel__wandb_last_error());
    sender->bucket.changed = sender->bucket.renamed = false;
    return ACCEL_OK;
}

static accel_status_t send_what_is_due(accel__wandb_sender_t *sender)
{
    double now = accel__wandb_monotonic();
    accel_status_t status = ACCEL_OK;
    fetch_uploaded(sender);
    bool waits = accel__wandb_stream_waits(&sender->stream) || sender->summary_changed;
    if (sender->stream.preempting || accel__wandb_stream_full(&sender->stream) ||
        (waits && now >= sender->next_send) ||
        now >= sender->last_send + sender->up->settings->heartbeat_seconds)
        status = send(sender, NULL);
    if (!status && has_news(sender) && now >= sender->next_upsert)
        status = send_news(sender);
    return status;
}

static void rest(accel__wandb_sender_t *sender, uint64_t *seen)
{
    double now = accel__wandb_monotonic(), until = now + POLL_SECONDS;
    if (accel__wandb_stream_waits(&sender->stream) || sender->summary_changed)
        until = fmin(until, sender->next_send);
    accel__wandb_alarm_wait(&sender->up->alarm, fmax(until - now, 0.01), seen);
}

/* Until the log ends: with its exit record, or because nobody writes to it any more. */
static accel_status_t follow(accel__wandb_sender_t *sender)
{
    accel_status_t status = ACCEL_OK;
    uint64_t seen = 0;
    while (!status && !ended(sender)) {
        accel__wandb_read_t found;
        bool closed = accel__wandb_upload_closed(sender->up); /* before the read: it sees the end */
        status = read_on(sender, &found);
        if (!status && found != ACCEL__WANDB_READ_RECORD && !sender->introduced &&
            sender->bucket.record)
            status = introduce(sender);
        if (status || sender->exited)
            return status;
        if (closed && found != ACCEL__WANDB_READ_RECORD)
            return sender->bucket.record
                       ? ACCEL_OK
                       : accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: %s holds no run",
                                           sender->up->log_path);
        if (sender->introduced)
            status = send_what_is_due(sender);
        if (!status && found != ACCEL__WANDB_READ_RECORD)
            rest(sender, &seen);
    }
    return status;
}

/* Files made at the end, configuration, then all files and artifacts, and last the end itself: a
 * run is not over before what belongs to it is there. */
static accel_status_t finish(accel__wandb_sender_t *sender)
{
    accel__wandb_uploader_t *up = sender->up;
    accel_status_t status = accel__wandb_sender_write_files(sender);
    if (status) /* a full disk: the run's data goes up all the same */
        accel__wandb_upload_notify(up, true, "%s", accel__wandb_last_error());
    status = has_news(sender) ? send_news(sender) : ACCEL_OK;
    accel__wandb_upload_set(up, &up->generated);
    while (!status && !ended(sender) && !accel__wandb_upload_wait(up, &up->filed, POLL_SECONDS)) {
        status = send_what_is_due(sender);
        if (accel__wandb_upload_failed(up))
            return ACCEL_ERR_STATE;
    }
    if (status || ended(sender))
        return status ? status : ACCEL_ERR_CANCELLED;
    fetch_uploaded(sender);
    bool complete = !sender->not_complete && up->settings->update_finish_state;
    return send(sender,
                &(accel__wandb_ending_t){.complete = complete,
                                         .exit_code = sender->exited ? sender->exit_code : 1});
}

/* ---- the thread ---- */

static accel_status_t open_all(accel__wandb_sender_t *sender)
{
    accel__wandb_uploader_t *up = sender->up;
    double most = either(up->settings->file_stream_max_bytes, MOST_BYTES);
    double line = either(up->settings->file_stream_max_line_bytes, MOST_BYTES - LINE_MARGIN);
    accel__wandb_stream_init(&sender->stream, (size_t)fmin(most, 1e9), (size_t)fmin(line, 1e9));
    pthread_mutex_lock(&up->lock);
    bool good = accel__wandb_set_text(&sender->bucket.entity, up->entity) &&
                accel__wandb_set_text(&sender->bucket.project, up->project) &&
                accel__wandb_set_text(&sender->bucket.run_id, up->run_id);
    pthread_mutex_unlock(&up->lock);
    char *output = accel__wandb_join(up->files_dir, "output.log");
    accel_status_t status = good && output ? ACCEL_OK : accel__wandb_fail_memory();
    if (!status)
        status = accel__wandb_upload_http(up, &sender->http);
    if (!status)
        status = accel__wandb_reader_open(&sender->reader, up->log_path);
    if (!status)
        status = accel__wandb_sender_begin_console(sender);
    if (!status && !up->live && !up->settings->label) /* again from the whole log */
        sender->output = fopen(output, "we");
    free(output);
    return status;
}

static void close_all(accel__wandb_sender_t *sender)
{
    if (sender->output)
        fclose(sender->output);
    accel__wandb_reader_close(&sender->reader);
    accel__wandb_http_destroy(sender->http);
    accel__wandb_bucket_free(&sender->bucket);
    accel__wandb_stream_free(&sender->stream);
    accel__wandb_fold_destroy(sender->fold);
    accel__wandb_tree_free(&sender->summary);
    accel__wandb_tree_free(&sender->row);
}

void *accel__wandb_sender_main(void *uploader)
{
    accel__wandb_uploader_t *up = uploader;
    accel__wandb_sender_t sender = {.up = up,
                                    .reader.fd = -1,
                                    .bucket.config.kind = ACCEL__WANDB_OBJECT,
                                    .summary.kind = ACCEL__WANDB_OBJECT,
                                    .row.kind = ACCEL__WANDB_OBJECT};
    sender.last_send = accel__wandb_monotonic();
    accel_status_t status = open_all(&sender);
    if (!status)
        status = follow(&sender);
    if (!status && !ended(&sender))
        status = finish(&sender);
    if (status) {
        accel__wandb_upload_fail(up, status, accel__wandb_last_error());
    } else if (!ended(&sender)) {
        pthread_mutex_lock(&up->lock);
        if (up->progress.state != ACCEL__WANDB_UPLOAD_FAILED)
            up->progress.state = ACCEL__WANDB_UPLOAD_DONE;
        pthread_cond_broadcast(&up->changed);
        pthread_mutex_unlock(&up->lock);
    }
    close_all(&sender);
    return NULL;
}
