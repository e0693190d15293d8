/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a log, in the words and the order of the stock client. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "run.h"

/* ---- messages ---- */

void *accel__wandb_new(accel__wandb_run_t *run, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = accel__wandb_arena_take(&run->arena, descriptor->sizeof_message);
    if (!message)
        message = run->scrap;
    protobuf_c_message_init(descriptor, message);
    return message;
}

/* The length of the character that starts here, or 0 if the bytes are no UTF-8. */
static size_t utf8_character(const unsigned char *at)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80       ? 1
                    : at[0] >> 5 == 6  ? 2
                    : at[0] >> 4 == 14 ? 3
                    : at[0] >> 3 == 30 ? 4
                                       : 0;
    unsigned code = length < 2 ? at[0] : at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (length && (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        return 0;
    return length;
}

static bool is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t length = utf8_character(at);
        if (!length)
            return false;
        at += length;
    }
    return true;
}

static char *replace_invalid(accel__wandb_run_t *run, const char *text)
{
    char *clean = accel__wandb_arena_take(&run->arena, strlen(text) * 3 + 1), *out = clean;
    const unsigned char *at = (const unsigned char *)text;
    while (clean && *at) {
        size_t length = utf8_character(at);
        memcpy(out, length ? (const void *)at : "\xef\xbf\xbd", length ? length : 3);
        out += length ? length : 3;
        at += length ? length : 1;
    }
    return clean;
}

void accel__wandb_put(accel__wandb_run_t *run, char **field, const char *text)
{
    if (!text)
        return;
    char *valid = is_utf8(text) ? (char *)text : replace_invalid(run, text);
    if (valid)
        *field = valid;
}

void accel__wandb_emit(accel__wandb_run_t *run, Wandb__Record *record, bool with_stream)
{
    record->num = run->num_records + 1;
    if (with_stream) {
        Wandb__RecordInfo *info = accel__wandb_new(run, &wandb__record_info__descriptor);
        accel__wandb_put(run, &info->stream_id, run->settings.run_id);
        record->info = info;
    }
    if (run->arena.failed)
        return;
    size_t size = wandb__record__get_packed_size(record);
    uint8_t *bytes = accel__wandb_arena_take(&run->arena, size);
    if (!bytes)
        return;
    wandb__record__pack(record, bytes);
    accel__wandb_log_append(&run->log, bytes, size);
    run->num_records++;
}

void accel__wandb_commit_aside(accel__wandb_run_t *run)
{
    bool no_memory = run->arena.failed;
    accel__wandb_arena_free(&run->arena);
    if (run->broken) {
        run->log.pending.length = 0;
        return;
    }
    if (no_memory)
        run->log.pending.failed = true;
    run->unreported = accel__wandb_log_commit(&run->log);
    run->broken = run->unreported != 0;
}

accel_status_t accel__wandb_report(accel__wandb_run_t *run)
{
    int error = run->unreported;
    run->unreported = 0;
    if (!error)
        return ACCEL_OK;
    return accel__wandb_fail_errno(ACCEL_ERR_IO, error,
                                   "the run is logged up to here and no further: cannot write",
                                   run->log_path);
}

accel_status_t accel__wandb_commit(accel__wandb_run_t *run)
{
    accel__wandb_commit_aside(run);
    return accel__wandb_report(run);
}

Wandb__Timestamp *accel__wandb_timestamp(accel__wandb_run_t *run, struct timespec time)
{
    Wandb__Timestamp *timestamp = accel__wandb_new(run, &wandb__timestamp__descriptor);
    timestamp->seconds = time.tv_sec;
    timestamp->nanos = (int32_t)time.tv_nsec;
    return timestamp;
}

static Wandb__Record *new_record(accel__wandb_run_t *run)
{
    return accel__wandb_new(run, &wandb__record__descriptor);
}

/* ---- lists of items: configuration, history, summary ---- */

typedef struct {
    Wandb__Item **items;
    size_t count, capacity;
} items_t;

static items_t new_items(accel__wandb_run_t *run, size_t capacity)
{
    items_t items = {.items =
                         accel__wandb_arena_take(&run->arena, capacity * sizeof(Wandb__Item *))};
    if (items.items)
        items.capacity = capacity;
    return items;
}

static Wandb__Item *add_item(accel__wandb_run_t *run, items_t *items, const char *json)
{
    Wandb__Item *item = accel__wandb_new(run, &wandb__item__descriptor);
    accel__wandb_put(run, &item->value_json, json);
    if (items->count < items->capacity)
        items->items[items->count++] = item;
    return item;
}

static void add_key(accel__wandb_run_t *run, items_t *items, const char *key, const char *json)
{
    Wandb__Item *item = add_item(run, items, json);
    accel__wandb_put(run, &item->key, key);
}

static void add_path(accel__wandb_run_t *run, items_t *items, char **path, size_t depth,
                     const char *json)
{
    Wandb__Item *item = add_item(run, items, json);
    item->nested_key = accel__wandb_arena_take(&run->arena, depth * sizeof(*item->nested_key));
    if (!item->nested_key)
        return;
    item->n_nested_key = depth;
    for (size_t i = 0; i < depth; i++)
        accel__wandb_put(run, &item->nested_key[i], path[i]);
}

/* The keys of a joined path, which lies in the arena. */
static char **split_path(accel__wandb_run_t *run, char *path, size_t *depth)
{
    *depth = 1;
    for (const char *c = path; c && *c; c++)
        *depth += *c == ACCEL__WANDB_SEPARATOR;
    char **keys = accel__wandb_arena_take(&run->arena, *depth * sizeof(*keys));
    for (size_t i = 0; path && keys && i < *depth; i++)
        keys[i] = strsep(&path, "\x1f");
    return keys;
}

static char *json_of(accel__wandb_run_t *run, const accel_item_t *item, accel__wandb_json_t style)
{
    accel__wandb_text_t text = {0};
    accel__wandb_json_value(&text, item, style);
    char *copy = NULL;
    if (!text.failed)
        copy = accel__wandb_arena_copy(&run->arena, text.data, text.length);
    else
        run->arena.failed = true;
    accel__wandb_text_free(&text);
    return copy;
}

static items_t items_of(accel__wandb_run_t *run, const accel_item_t *values)
{
    size_t count = 0;
    while (values && values[count].type != ACCEL_TYPE_END)
        count++;
    items_t items = new_items(run, count);
    for (size_t i = 0; i < count; i++)
        add_key(run, &items, values[i].key, json_of(run, &values[i], ACCEL__WANDB_JSON_FRONT));
    return items;
}

/* ---- the start ---- */

static Wandb__TelemetryRecord *telemetry(accel__wandb_run_t *run)
{
    Wandb__TelemetryRecord *record = accel__wandb_new(run, &wandb__telemetry_record__descriptor);
    struct utsname system;
    accel__wandb_put(run, &record->cli_version, accel__wandb_host()->version);
    record->feature = &run->features;
    if (uname(&system) == 0) {
        char platform[160];
        int length = snprintf(platform, sizeof(platform), "linux-%s", system.machine);
        char *copy = accel__wandb_arena_copy(&run->arena, platform, (size_t)length);
        accel__wandb_put(run, &record->platform, copy);
    }
    return record;
}

void accel__wandb_emit_telemetry(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    record->telemetry = telemetry(run);
    accel__wandb_emit(run, record, true);
}

void accel__wandb_use_feature(accel__wandb_run_t *run, protobuf_c_boolean *feature)
{
    if (*feature)
        return;
    *feature = true;
    accel__wandb_emit_telemetry(run);
}

static void emit_header(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    record->header = accel__wandb_new(run, &wandb__header_record__descriptor);
    record->header->version_info = accel__wandb_new(run, &wandb__version_info__descriptor);
    char *producer = NULL;
    accel__wandb_text_t text = {0};
    accel__wandb_text_printf(&text, "accel-%s", accel__wandb_host()->version);
    if (!text.failed)
        producer = accel__wandb_arena_copy(&run->arena, text.data, text.length);
    accel__wandb_text_free(&text);
    accel__wandb_put(run, &record->header->version_info->producer, producer);
    /* the lowest server that stock of the same records asks for */
    accel__wandb_put(run, &record->header->version_info->min_consumer, "0.70.0");
    accel__wandb_emit(run, record, true);
}

static Wandb__ConfigRecord *first_config(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    Wandb__ConfigRecord *config = accel__wandb_new(run, &wandb__config_record__descriptor);
    items_t items = new_items(run, settings->num_config + 1);
    add_key(run, &items, "_wandb", "{}");
    for (size_t i = 0; i < settings->num_config; i++)
        add_key(run, &items, settings->config[i].key, settings->config[i].json);
    config->update = items.items;
    config->n_update = items.count;
    return config;
}

static Wandb__RunRecord *about_run(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    const char *resume = settings->resume;
    Wandb__RunRecord *about = accel__wandb_new(run, &wandb__run_record__descriptor);
    accel__wandb_put(run, &about->run_id, settings->run_id);
    accel__wandb_put(run, &about->entity, settings->entity);
    accel__wandb_put(run, &about->project, settings->project);
    accel__wandb_put(run, &about->run_group, settings->run_group);
    accel__wandb_put(run, &about->job_type, settings->run_job_type);
    accel__wandb_put(run, &about->display_name, settings->run_name);
    accel__wandb_put(run, &about->notes, settings->run_notes);
    accel__wandb_put(run, &about->sweep_id, settings->sweep_id);
    accel__wandb_put(run, &about->host, settings->host);
    about->tags = accel__wandb_arena_take(&run->arena, settings->run_tags.count * sizeof(char *));
    about->n_tags = about->tags ? settings->run_tags.count : 0;
    for (size_t i = 0; i < about->n_tags; i++)
        accel__wandb_put(run, &about->tags[i], settings->run_tags.names[i]);
    about->start_time = accel__wandb_timestamp(run, run->start_time);
    about->telemetry = telemetry(run);
    about->git = accel__wandb_git_record(run);
    about->resume =
        resume && !run->resumed && (!strcmp(resume, "allow") || !strcmp(resume, "must"));
    return about;
}

static void emit_run(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    record->run = about_run(run);
    record->run->config = first_config(run);
    accel__wandb_emit(run, record, true);
}

/* Its configuration is in other records. */
void accel__wandb_emit_run_update(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    record->run = about_run(run);
    accel__wandb_emit(run, record, true);
}

/* What a run that goes on had in its summary: a server replaces the whole. */
static void emit_earlier_summary(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    items_t items = new_items(run, run->summary.count);
    for (size_t i = 0; i < run->summary.count; i++) {
        const accel__wandb_metric_t *metric = run->summary.metrics[i];
        char *copy = accel__wandb_arena_copy(&run->arena, metric->path, strlen(metric->path));
        size_t depth = 0;
        char **keys = split_path(run, copy, &depth);
        if (keys)
            add_path(run, &items, keys, depth, metric->last.data);
    }
    record->summary = accel__wandb_new(run, &wandb__summary_record__descriptor);
    record->summary->update = items.items;
    record->summary->n_update = items.count;
    accel__wandb_emit(run, record, false);
}

accel_status_t accel__wandb_emit_start(accel__wandb_run_t *run)
{
    emit_header(run);
    emit_run(run);
    if (!run->settings.disable_meta)
        accel__wandb_emit_environment(run);
    accel__wandb_emit_telemetry(run);
    if (run->summary.count)
        emit_earlier_summary(run);
    return accel__wandb_commit(run);
}

/* ---- while it runs ---- */

void accel__wandb_emit_config(accel__wandb_run_t *run, const accel_item_t *config)
{
    Wandb__Record *record = new_record(run);
    items_t items = items_of(run, config);
    record->config = accel__wandb_new(run, &wandb__config_record__descriptor);
    record->config->update = items.items;
    record->config->n_update = items.count;
    accel__wandb_emit(run, record, true);
}

static void emit_summary_items(accel__wandb_run_t *run, items_t items, bool with_stream)
{
    Wandb__Record *record = new_record(run);
    record->summary = accel__wandb_new(run, &wandb__summary_record__descriptor);
    record->summary->update = items.items;
    record->summary->n_update = items.count;
    accel__wandb_emit(run, record, with_stream);
}

void accel__wandb_emit_summary(accel__wandb_run_t *run, const accel_item_t *values)
{
    emit_summary_items(run, items_of(run, values), true);
}

void accel__wandb_emit_runtime(accel__wandb_run_t *run, double now)
{
    static char outer[] = "_wandb", inner[] = "runtime";
    char *path[] = {outer, inner};
    accel_item_t seconds = accel_item_int("", (int64_t)accel__wandb_run_elapsed(run, now));
    char *json = json_of(run, &seconds, ACCEL__WANDB_JSON_CORE);
    items_t items = new_items(run, 2);
    add_path(run, &items, path, 2, json);
    add_key(run, &items, "_runtime", json);
    emit_summary_items(run, items, false);
}

/* _timestamp, _runtime and _step, as a row's last items. */
static void add_stamps(accel__wandb_run_t *run, items_t *items)
{
    static char timestamp[] = "_timestamp", runtime[] = "_runtime", step[] = "_step";
    char *stamps[] = {timestamp, runtime, step};
    double elapsed = accel__wandb_run_elapsed(run, run->row_timestamp);
    accel_item_t values[] = {accel_item_float("", run->row_timestamp),
                             accel_item_float("", round(elapsed * 1e6) / 1e6),
                             accel_item_int("", run->step)};
    for (size_t i = 0; i < 3; i++)
        add_path(run, items, &stamps[i], 1, json_of(run, &values[i], ACCEL__WANDB_JSON_CORE));
}

static char *shown_json(accel__wandb_run_t *run, const accel__wandb_metric_t *metric)
{
    accel__wandb_text_t text = {0};
    char *copy = NULL;
    if (accel__wandb_summary_shown(metric, &text))
        copy = accel__wandb_arena_copy(&run->arena, text.data, text.length);
    run->arena.failed = run->arena.failed || text.failed;
    accel__wandb_text_free(&text);
    return copy;
}

static accel_status_t emit_row_summary(accel__wandb_run_t *run)
{
    const accel__wandb_row_t *row = &run->row;
    items_t items = new_items(run, row->count + 3);
    accel__wandb_text_t path = {0};
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < row->count && !status; i++) {
        const accel__wandb_leaf_t *leaf = &row->leaves[i];
        const char *name = accel__wandb_leaf_path(leaf, &path);
        accel__wandb_metric_t *metric = name ? accel__wandb_summary_at(&run->summary, name) : NULL;
        status = metric ? accel__wandb_summary_log(metric, leaf) : accel__wandb_fail_memory();
        bool null = leaf->type == ACCEL_TYPE_NULL && !(metric && metric->summary);
        char *json = status || null ? NULL : shown_json(run, metric);
        if (json)
            add_path(run, &items, leaf->path, leaf->depth, json);
    }
    accel__wandb_text_free(&path);
    add_stamps(run, &items);
    emit_summary_items(run, items, false);
    return status;
}

accel_status_t accel__wandb_emit_row(accel__wandb_run_t *run)
{
    accel__wandb_emit_runtime(run, run->last_timestamp);
    accel_status_t status = emit_row_summary(run);
    Wandb__Record *record = new_record(run);
    items_t items = new_items(run, run->row.count + 3);
    for (size_t i = 0; i < run->row.count; i++) {
        const accel__wandb_leaf_t *leaf = &run->row.leaves[i];
        add_path(run, &items, leaf->path, leaf->depth, leaf->json);
    }
    add_stamps(run, &items);
    record->history = accel__wandb_new(run, &wandb__history_record__descriptor);
    record->history->item = items.items;
    record->history->n_item = items.count;
    record->history->step = accel__wandb_new(run, &wandb__history_step__descriptor);
    record->history->step->num = run->step;
    accel__wandb_emit(run, record, false);
    return status;
}

void accel__wandb_emit_summary_removal(accel__wandb_run_t *run, const char *path)
{
    Wandb__Record *record = new_record(run);
    items_t items = new_items(run, 1);
    size_t depth = 0;
    char **keys = split_path(run, accel__wandb_arena_copy(&run->arena, path, strlen(path)), &depth);
    if (keys && depth == 1)
        add_key(run, &items, keys[0], NULL);
    else if (keys)
        add_path(run, &items, keys, depth, NULL);
    record->summary = accel__wandb_new(run, &wandb__summary_record__descriptor);
    record->summary->remove = items.items;
    record->summary->n_remove = items.count;
    accel__wandb_emit(run, record, true);
}

void accel__wandb_emit_metric(accel__wandb_run_t *run, const char *name,
                              const accel_wandb_metric_options_t *options, unsigned summary)
{
    Wandb__Record *record = new_record(run);
    Wandb__MetricRecord *metric = accel__wandb_new(run, &wandb__metric_record__descriptor);
    bool glob = name[strlen(name) - 1] == '*';
    accel__wandb_put(run, glob ? &metric->glob_name : &metric->name, name);
    accel__wandb_put(run, &metric->step_metric, options->step_metric);
    metric->options = accel__wandb_new(run, &wandb__metric_options__descriptor);
    metric->options->defined = true;
    metric->options->hidden = options->hidden;
    metric->options->step_sync =
        options->step_sync > 0 || (options->step_sync == 0 && options->step_metric);
    if (summary) {
        metric->summary = accel__wandb_new(run, &wandb__metric_summary__descriptor);
        metric->summary->min = summary & ACCEL__WANDB_MIN;
        metric->summary->max = summary & ACCEL__WANDB_MAX;
        metric->summary->mean = summary & ACCEL__WANDB_MEAN;
        metric->summary->first = summary & ACCEL__WANDB_FIRST;
        metric->summary->last = summary & ACCEL__WANDB_LAST;
        metric->summary->copy = summary & ACCEL__WANDB_COPY;
        metric->summary->none = summary & ACCEL__WANDB_NONE;
    }
    if (options->overwrite) {
        metric->control = accel__wandb_new(run, &wandb__metric_control__descriptor);
        metric->control->overwrite = true;
    }
    record->metric = metric;
    accel__wandb_emit(run, record, true);
}

void accel__wandb_emit_files(accel__wandb_run_t *run, char **paths, size_t count,
                             accel_wandb_policy_t policy)
{
    static const Wandb__FilesItem__PolicyType policies[] = {
        [ACCEL_WANDB_LIVE] = WANDB__FILES_ITEM__POLICY_TYPE__LIVE,
        [ACCEL_WANDB_NOW] = WANDB__FILES_ITEM__POLICY_TYPE__NOW,
        [ACCEL_WANDB_END] = WANDB__FILES_ITEM__POLICY_TYPE__END,
    };
    Wandb__Record *record = new_record(run);
    Wandb__FilesItem **items = accel__wandb_arena_take(&run->arena, count * sizeof(*items));
    record->files = accel__wandb_new(run, &wandb__files_record__descriptor);
    for (size_t i = 0; items && i < count; i++) {
        items[i] = accel__wandb_new(run, &wandb__files_item__descriptor);
        accel__wandb_put(run, &items[i]->path, paths[i]);
        items[i]->policy = policies[policy];
    }
    record->files->files = items;
    record->files->n_files = items ? count : 0;
    accel__wandb_emit(run, record, true);
}

void accel__wandb_emit_preempting(accel__wandb_run_t *run)
{
    Wandb__Record *record = new_record(run);
    record->preempting = accel__wandb_new(run, &wandb__run_preempting_record__descriptor);
    accel__wandb_emit(run, record, true);
}

void accel__wandb_emit_exit(accel__wandb_run_t *run, int32_t exit_code, double now)
{
    Wandb__Record *record = new_record(run);
    record->exit = accel__wandb_new(run, &wandb__run_exit_record__descriptor);
    record->exit->exit_code = exit_code;
    record->exit->runtime = (int32_t)accel__wandb_run_elapsed(run, now);
    accel__wandb_emit(run, record, true);
}
