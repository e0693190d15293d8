/* SPDX-License-Identifier: Apache-2.0 */
#include "resume.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sender.h"

void accel__wandb_past_free(accel__wandb_past_t *past)
{
    free(past->storage_id);
    free(past->display_name);
    free(past->notes);
    json_decref(past->tags);
    accel__wandb_tree_free(&past->config);
    accel__wandb_tree_free(&past->summary);
    *past = (accel__wandb_past_t){0};
}

/* ---- reading the answer, whose parts are JSON in texts, with bare NaN ---- */

static bool parse_text(accel__wandb_tree_t *tree, json_t *text)
{
    const char *json = json_string_value(text);
    *tree = (accel__wandb_tree_t){.kind = ACCEL__WANDB_OBJECT};
    return !json || accel__wandb_tree_parse(tree, json, strlen(json));
}

static double number_in(accel__wandb_tree_t *object, const char *key)
{
    accel__wandb_tree_t *found = object ? accel__wandb_tree_find(object, key) : NULL;
    char *end;
    if (!found || !found->text)
        return NAN;
    double number = strtod(found->text, &end);
    return *end || !isfinite(number) ? NAN : number;
}

/* The last of a list of JSON texts. */
static bool parse_tail(accel__wandb_tree_t *row, json_t *tail)
{
    json_t *lines = json_loads(json_is_string(tail) ? json_string_value(tail) : "[]", 0, NULL);
    size_t count = json_array_size(lines);
    bool good = json_is_array(lines);
    *row = (accel__wandb_tree_t){.kind = ACCEL__WANDB_OBJECT};
    if (count)
        good = parse_text(row, json_array_get(lines, count - 1));
    json_decref(lines);
    return good;
}

static int64_t count_in(json_t *bucket, const char *key)
{
    const json_int_t most = (json_int_t)1 << 53; /* nobody has more: lines are counted on from it */
    json_int_t count = json_integer_value(json_object_get(bucket, key));
    return count > 0 && count < most ? count : 0;
}

/* {"key": {"value": v}} as {"key": v}; what clients note for themselves is not the program's. */
static bool unwrap_config(accel__wandb_tree_t *config, accel__wandb_tree_t *wrapped)
{
    bool good = true;
    for (size_t i = 0; i < wrapped->count && good; i++) {
        accel__wandb_tree_t *entry = &wrapped->children[i];
        accel__wandb_tree_t *value = accel__wandb_tree_find(entry, "value");
        accel__wandb_text_t json = {0};
        if (!value || !strcmp(entry->key, "_wandb"))
            continue;
        accel__wandb_tree_print(value, &json, true);
        good = !json.failed && accel__wandb_tree_set(config, &entry->key, 1, json.data);
        accel__wandb_text_free(&json);
    }
    return good;
}

/* Where the step and the clock stand: the last row knows, else the summary. */
static void find_progress(accel__wandb_past_t *past, accel__wandb_tree_t *history,
                          accel__wandb_tree_t *events)
{
    accel__wandb_tree_t *own = accel__wandb_tree_find(&past->summary, "_wandb");
    double step = number_in(history, "_step");
    if (isnan(step))
        step = number_in(&past->summary, "_step");
    if (past->history_lines > 0 && step >= 0 && step < 9e15)
        past->next_step = (int64_t)step + 1;
    past->runtime = fmax(fmax(number_in(events, "_runtime"), number_in(history, "_runtime")),
                         own ? number_in(own, "runtime") : NAN);
    if (!(past->runtime >= 0))
        past->runtime = 0;
}

/* A run exists for resuming if a client has written its telemetry into it. */
static bool was_begun(json_t *bucket)
{
    accel__wandb_tree_t known;
    bool begun = parse_text(&known, json_object_get(bucket, "wandbConfig")) &&
                 accel__wandb_tree_find(&known, "t");
    accel__wandb_tree_free(&known);
    return begun;
}

static accel_status_t take_bucket(accel__wandb_past_t *past, json_t *bucket)
{
    accel__wandb_tree_t wrapped = {0}, history = {0}, events = {0};
    json_t *tags = json_object_get(bucket, "tags");
    past->exists = was_begun(bucket);
    past->history_lines = count_in(bucket, "historyLineCount");
    past->events_lines = count_in(bucket, "eventsLineCount");
    past->output_lines = count_in(bucket, "logLineCount");
    past->tags = json_is_array(tags) ? json_incref(tags) : NULL;
    bool good =
        accel__wandb_set_text(&past->storage_id, ACCEL__WANDB_TEXT_AT(bucket, "id")) &&
        accel__wandb_set_text(&past->display_name, ACCEL__WANDB_TEXT_AT(bucket, "displayName")) &&
        accel__wandb_set_text(&past->notes, ACCEL__WANDB_TEXT_AT(bucket, "notes"));
    bool read = parse_text(&past->summary, json_object_get(bucket, "summaryMetrics")) &&
                parse_text(&wrapped, json_object_get(bucket, "config")) &&
                parse_tail(&history, json_object_get(bucket, "historyTail")) &&
                parse_tail(&events, json_object_get(bucket, "eventsTail")) &&
                unwrap_config(&past->config, &wrapped);
    find_progress(past, &history, &events);
    accel__wandb_tree_free(&wrapped);
    accel__wandb_tree_free(&history);
    accel__wandb_tree_free(&events);
    if (!good)
        return accel__wandb_fail_memory();
    return read ? ACCEL_OK
                : accel__wandb_fail(ACCEL_ERR_FORMAT,
                                    "wandb: RunResumeStatus: the run's data is no JSON");
}

accel_status_t accel__wandb_past_ask(accel__wandb_http_t *http, const char *entity,
                                     const char *project, const char *run_id,
                                     const accel__wandb_retry_t *retry, double timeout,
                                     const accel__wandb_listener_t *listener,
                                     accel__wandb_past_t *past)
{
    json_t *variables =
        json_pack("{s:s?, s:s?, s:s}", "project", project, "entity", entity, "name", run_id);
    json_t *data = NULL;
    *past = (accel__wandb_past_t){.config.kind = ACCEL__WANDB_OBJECT,
                                  .summary.kind = ACCEL__WANDB_OBJECT};
    if (!variables)
        return accel__wandb_fail_memory();
    accel_status_t status = accel__wandb_graphql(http, &accel__wandb_run_resume_status, variables,
                                                 retry, timeout, listener, &data, NULL);
    json_t *bucket = accel__wandb_json_at(data, "model", "bucket", NULL);
    if (!status && json_is_object(bucket))
        status = take_bucket(past, bucket);
    json_decref(data);
    if (status)
        accel__wandb_past_free(past);
    return status;
}
