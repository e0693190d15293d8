/* SPDX-License-Identifier: Apache-2.0 */
/* Records as lines of the file stream. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sender.h"

static accel_status_t fail_damaged(const char *what)
{
    return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the log's %s record is damaged", what);
}

static void warn_long(accel__wandb_sender_t *sender, const char *what)
{
    if (sender->warned_long)
        return;
    sender->warned_long = true;
    accel__wandb_upload_notify(sender->up, true,
                               "A line of %s has more than %zu bytes; such lines are not uploaded.",
                               what, sender->stream.most_line_bytes);
}

/* ---- items: history and summary ---- */

/* A log that goes on with a run was written either by somebody who knew how far it was, and counts
 * _step on from there, or offline, and counts from 0. Its first row tells: a step below the start
 * is of the second kind, and all are moved. A summary of the time before the log has its _step as a
 * plain key, and says nothing about it. */
static bool put_step(accel__wandb_sender_t *sender, accel__wandb_tree_t *tree,
                     const Wandb__Item *item)
{
    static char key[] = "_step";
    char *path[] = {key}, *end, text[32];
    long long step = strtoll(item->value_json, &end, 10);
    int64_t start = sender->state.starting_step;
    if (!start || end == item->value_json || *end)
        return accel__wandb_tree_set(tree, path, 1, item->value_json);
    if (!sender->saw_step && !item->n_nested_key)
        return true;
    if (!sender->saw_step) {
        sender->saw_step = true;
        sender->moves_steps = step < start;
    }
    snprintf(text, sizeof(text), "%lld", step + (sender->moves_steps ? (long long)start : 0));
    return accel__wandb_tree_set(tree, path, 1, text);
}

static accel_status_t put_items(accel__wandb_sender_t *sender, accel__wandb_tree_t *tree,
                                Wandb__Item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Wandb__Item *item = items[i];
        char *const *path = item->n_nested_key ? item->nested_key : &item->key;
        size_t depth = item->n_nested_key ? item->n_nested_key : 1;
        bool is_step = depth == 1 && !strcmp(path[0], "_step");
        if (!(is_step ? put_step(sender, tree, item)
                      : accel__wandb_tree_set(tree, path, depth, item->value_json)))
            return fail_damaged("value");
    }
    return ACCEL_OK;
}

static accel_status_t take_history(accel__wandb_sender_t *sender, const uint8_t *data, size_t size)
{
    Wandb__HistoryRecord *record = wandb__history_record__unpack(NULL, size, data);
    accel__wandb_text_t line = {0};
    if (!record)
        return fail_damaged("history");
    accel_status_t status = put_items(sender, &sender->row, record->item, record->n_item);
    if (!status) {
        accel__wandb_tree_print(&sender->row, &line, true);
        if (line.failed)
            status = accel__wandb_fail_memory();
        else if (!accel__wandb_stream_history(&sender->stream, line.data))
            warn_long(sender, "history");
        else
            sender->rows_sent++;
    }
    accel__wandb_text_free(&line);
    accel__wandb_tree_free(&sender->row);
    wandb__history_record__free_unpacked(record, NULL);
    return status;
}

static accel_status_t take_summary(accel__wandb_sender_t *sender, const uint8_t *data, size_t size)
{
    Wandb__SummaryRecord *record = wandb__summary_record__unpack(NULL, size, data);
    if (!record)
        return fail_damaged("summary");
    accel_status_t status = put_items(sender, &sender->summary, record->update, record->n_update);
    for (size_t i = 0; i < record->n_remove; i++) {
        const Wandb__Item *item = record->remove[i];
        accel__wandb_tree_remove(&sender->summary,
                                 item->n_nested_key ? item->nested_key : &item->key,
                                 item->n_nested_key ? item->n_nested_key : 1);
    }
    sender->summary_changed = true;
    wandb__summary_record__free_unpacked(record, NULL);
    return status;
}

/* ---- system metrics ---- */

static double seconds_of(const Wandb__Timestamp *time)
{
    return time ? (double)time->seconds + (double)time->nanos * 1e-9 : 0;
}

static accel_status_t take_stats(accel__wandb_sender_t *sender, const uint8_t *data, size_t size)
{
    Wandb__StatsRecord *record = wandb__stats_record__unpack(NULL, size, data);
    accel__wandb_text_t line = {0};
    if (!record)
        return fail_damaged("stats");
    double now = seconds_of(record->timestamp);
    accel__wandb_text_puts(&line, "{\"_wandb\":true,\"_timestamp\":");
    accel__wandb_json_number(&line, now, ACCEL__WANDB_JSON_CORE);
    accel__wandb_text_puts(&line, ",\"_runtime\":");
    accel__wandb_json_number(&line, now - sender->start_time, ACCEL__WANDB_JSON_CORE);
    for (size_t i = 0; i < record->n_item; i++) {
        accel__wandb_text_t key = {0};
        accel__wandb_text_printf(&key, "system.%s", record->item[i]->key);
        accel__wandb_text_puts(&line, ",");
        accel__wandb_json_string(&line, key.failed ? "" : key.data);
        accel__wandb_text_printf(&line, ":%s", record->item[i]->value_json);
        accel__wandb_text_free(&key);
    }
    accel__wandb_text_puts(&line, "}");
    accel__wandb_tree_t check = {0};
    accel_status_t status = ACCEL_OK;
    if (line.failed || !accel__wandb_tree_parse(&check, line.data, line.length))
        status = fail_damaged("stats");
    else if (!accel__wandb_stream_event(&sender->stream, line.data))
        warn_long(sender, "system metrics");
    accel__wandb_tree_free(&check);
    accel__wandb_text_free(&line);
    wandb__stats_record__free_unpacked(record, NULL);
    return status;
}

/* ---- console ---- */

/* The line as the server wants it: with the time it began, and a mark if it came from stderr. */
static void stream_line(accel__wandb_sender_t *sender, const accel__wandb_line_t *told)
{
    char time[48] = "1970-01-01T00:00:00.000000";
    const char *text = told->text;
    bool is_stderr = told->is_stderr;
    struct tm utc;
    const char *label = sender->up->settings->label;
    accel__wandb_text_t line = {0};
    if (gmtime_r(&told->time.tv_sec, &utc)) {
        size_t length = strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
        snprintf(time + length, sizeof(time) - length, ".%06ld", told->time.tv_nsec / 1000);
    }
    if (sender->structured_console) {
        accel__wandb_text_printf(&line, "{%s\"ts\":\"%s\",",
                                 is_stderr ? "\"level\":\"error\"," : "", time);
        if (label) {
            accel__wandb_text_puts(&line, "\"label\":");
            accel__wandb_json_string(&line, label);
            accel__wandb_text_puts(&line, ",");
        }
        accel__wandb_text_puts(&line, "\"content\":");
        accel__wandb_json_string(&line, text);
        accel__wandb_text_puts(&line, "}");
    } else {
        accel__wandb_text_printf(&line, "%s%s %s%s%s%s", is_stderr ? "ERROR " : "", time,
                                 label ? "[" : "", label ? label : "", label ? "] " : "", text);
    }
    if (!line.failed && !accel__wandb_stream_console(&sender->stream, told->number, line.data))
        warn_long(sender, "the console");
    accel__wandb_text_free(&line);
}

static void take_line(void *context, const accel__wandb_line_t *line)
{
    accel__wandb_sender_t *sender = context;
    if (line->changed)
        stream_line(sender, line);
    if (sender->output && (line->final || sender->console_ends))
        fprintf(sender->output, "%s\n", line->text);
}

accel_status_t accel__wandb_sender_begin_console(accel__wandb_sender_t *sender)
{
    sender->fold = accel__wandb_fold_create(take_line, sender);
    return sender->fold ? ACCEL_OK : accel__wandb_fail_memory();
}

static accel_status_t take_output(accel__wandb_sender_t *sender, const uint8_t *data, size_t size)
{
    Wandb__OutputRawRecord *record = wandb__output_raw_record__unpack(NULL, size, data);
    if (!record)
        return fail_damaged("output");
    struct timespec time = {0};
    if (record->timestamp)
        time = (struct timespec){record->timestamp->seconds, record->timestamp->nanos};
    bool is_stderr = record->output_type == WANDB__OUTPUT_RAW_RECORD__OUTPUT_TYPE__STDERR;
    bool good =
        accel__wandb_fold_feed(sender->fold, is_stderr, time, record->line, strlen(record->line));
    accel__wandb_fold_flush(sender->fold);
    wandb__output_raw_record__free_unpacked(record, NULL);
    return good ? ACCEL_OK : accel__wandb_fail_memory();
}

void accel__wandb_sender_end_console(accel__wandb_sender_t *sender)
{
    sender->console_ends = true;
    accel__wandb_fold_flush(sender->fold);
    if (sender->output)
        (void)fflush(sender->output);
}

/* ---- the end, and the whole ---- */

static accel_status_t take_exit(accel__wandb_sender_t *sender, const uint8_t *data, size_t size)
{
    Wandb__RunExitRecord *record = wandb__run_exit_record__unpack(NULL, size, data);
    if (!record)
        return fail_damaged("exit");
    sender->exited = true;
    sender->exit_code = record->exit_code;
    sender->not_complete = record->not_complete;
    wandb__run_exit_record__free_unpacked(record, NULL);
    return ACCEL_OK;
}

accel_status_t accel__wandb_sender_take(accel__wandb_sender_t *sender, uint32_t kind,
                                        const uint8_t *data, size_t size)
{
    switch (kind) {
    case ACCEL__WANDB_HISTORY:
        return take_history(sender, data, size);
    case ACCEL__WANDB_SUMMARY:
        return take_summary(sender, data, size);
    case ACCEL__WANDB_STATS:
        return take_stats(sender, data, size);
    case ACCEL__WANDB_OUTPUT_RAW:
        return take_output(sender, data, size);
    case ACCEL__WANDB_PREEMPTING:
        sender->stream.preempting = true;
        return ACCEL_OK;
    case ACCEL__WANDB_EXIT:
        return take_exit(sender, data, size);
    default:
        return accel__wandb_bucket_take(&sender->bucket, kind, data, size);
    }
}
