/* SPDX-License-Identifier: Apache-2.0 */
/* The first exchange about a run: who it is, and where this log's lines belong in it. */
#include <stdlib.h>
#include <string.h>

#include "resume.h"
#include "sender.h"

static accel_status_t ask_past(accel__wandb_sender_t *sender, accel__wandb_past_t *past)
{
    accel__wandb_uploader_t *up = sender->up;
    const accel__wandb_bucket_t *bucket = &sender->bucket;
    accel__wandb_retry_t retry = accel__wandb_upload_retry(up, ACCEL__WANDB_RETRY_API, false);
    accel__wandb_listener_t listener = accel__wandb_upload_listener(up);
    double timeout = accel__wandb_upload_timeout(up, ACCEL__WANDB_RETRY_API, false);
    accel_status_t status = accel__wandb_past_ask(sender->http, bucket->entity, bucket->project,
                                                  bucket->run_id, &retry, timeout, &listener, past);
    if (!status)
        accel__wandb_upload_answered(up);
    return status;
}

static bool inherit_tags(Wandb__RunRecord *record, json_t *tags)
{
    size_t count = json_array_size(tags);
    if (record->n_tags || !count)
        return true;
    record->tags = calloc(count, sizeof(*record->tags));
    for (size_t i = 0; record->tags && i < count; i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        char *copy = tag ? strdup(tag) : NULL;
        if (copy)
            record->tags[record->n_tags++] = copy;
    }
    return record->tags != NULL;
}

/* protobuf-c marks an unset text by a constant that is not to be freed. */
static bool inherit_text(char **field, const char *text)
{
    char *copy = **field || !text ? NULL : strdup(text);
    if (copy)
        *field = copy;
    return **field || !text || copy;
}

/* What the log does not say of itself is as it was; of two values for a key the log's is meant. */
static accel_status_t inherit(accel__wandb_bucket_t *bucket, accel__wandb_past_t *past)
{
    Wandb__RunRecord *record = bucket->record;
    bool good = inherit_text(&record->notes, past->notes) && inherit_tags(record, past->tags) &&
                accel__wandb_set_text(&bucket->storage_id, past->storage_id);
    for (size_t i = 0; i < past->config.count && good; i++) {
        accel__wandb_tree_t *old = &past->config.children[i];
        accel__wandb_text_t json = {0};
        if (accel__wandb_tree_find(&bucket->config, old->key))
            continue;
        accel__wandb_tree_print(old, &json, true);
        good = !json.failed && accel__wandb_tree_set(&bucket->config, &old->key, 1, json.data);
        accel__wandb_text_free(&json);
    }
    return good ? ACCEL_OK : accel__wandb_fail_memory();
}

/* A log that says "resume" was written offline, where nobody knew how far the run was: its steps
 * are counted from there. */
static accel_status_t find_before(accel__wandb_sender_t *sender, accel__wandb_past_t *past)
{
    accel_status_t status = ask_past(sender, past);
    if (!status && past->exists)
        status = inherit(&sender->bucket, past);
    return status;
}

static void set_state(accel__wandb_syncstate_t *state, const accel__wandb_past_t *past, bool resume)
{
    state->history = past->history_lines;
    state->events = past->events_lines;
    state->output = past->output_lines;
    state->starting_step = resume && past->exists ? past->next_step : 0;
    state->starting_runtime = resume && past->exists ? (int64_t)(past->runtime * 1000) : 0;
}

accel_status_t accel__wandb_sender_find_place(accel__wandb_sender_t *sender)
{
    accel__wandb_uploader_t *up = sender->up;
    accel__wandb_bucket_t *bucket = &sender->bucket;
    accel__wandb_past_t past = {0};
    bool resume = bucket->record->resume, asked = resume;
    accel_status_t status = resume ? find_before(sender, &past) : ACCEL_OK;
    if (!status)
        status = accel__wandb_sender_upsert(sender, true);
    accel__wandb_destination_t destination = {
        accel__wandb_http_base(sender->http), bucket->entity ? bucket->entity : "",
        bucket->project ? bucket->project : "", bucket->run_id};
    if (!status && !accel__wandb_syncstate_load(up->hold, &destination, &sender->state)) {
        if (!asked && !bucket->inserted)
            status = ask_past(sender, &past);
        if (!status) {
            set_state(&sender->state, &past, resume);
            status =
                accel__wandb_syncstate_save(up->hold, up->log_path, &destination, &sender->state);
        }
    }
    accel__wandb_past_free(&past);
    sender->stream.history.offset = sender->state.history;
    sender->stream.events.offset = sender->state.events;
    sender->stream.output_offset = sender->state.output;
    return status;
}
