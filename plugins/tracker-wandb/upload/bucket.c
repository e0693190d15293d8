/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

bool accel__wandb_set_text(char **place, const char *text)
{
    if (!text || !*text)
        return true;
    char *copy = strdup(text);
    if (!copy)
        return false;
    free(*place);
    *place = copy;
    return true;
}

void accel__wandb_bucket_free(accel__wandb_bucket_t *bucket)
{
    if (bucket->record)
        wandb__run_record__free_unpacked(bucket->record, NULL);
    free(bucket->entity);
    free(bucket->project);
    free(bucket->run_id);
    free(bucket->display_name);
    free(bucket->storage_id);
    free(bucket->sweep);
    accel__wandb_tree_free(&bucket->config);
    accel__wandb_text_free(&bucket->environment);
    accel__wandb_text_free(&bucket->telemetry);
    for (size_t i = 0; i < bucket->num_metrics; i++) {
        free(bucket->metrics[i].name);
        accel__wandb_text_free(&bucket->metrics[i].message);
    }
    free(bucket->metrics);
    *bucket = (accel__wandb_bucket_t){.config.kind = ACCEL__WANDB_OBJECT};
}

static accel_status_t fail_damaged(const char *what)
{
    return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the log's %s record is damaged", what);
}

/* ---- records ---- */

static accel_status_t take_items(accel__wandb_bucket_t *bucket, Wandb__Item *const *items,
                                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *const *path = items[i]->n_nested_key ? items[i]->nested_key : &items[i]->key;
        size_t depth = items[i]->n_nested_key ? items[i]->n_nested_key : 1;
        if (!accel__wandb_tree_merge(&bucket->config, path, depth, items[i]->value_json))
            return fail_damaged("config");
    }
    return ACCEL_OK;
}

static accel_status_t take_config(accel__wandb_bucket_t *bucket, const Wandb__ConfigRecord *config)
{
    if (!config)
        return ACCEL_OK;
    for (size_t i = 0; i < config->n_remove; i++) {
        const Wandb__Item *item = config->remove[i];
        char *const *path = item->n_nested_key ? item->nested_key : &item->key;
        accel__wandb_tree_remove(&bucket->config, path,
                                 item->n_nested_key ? item->n_nested_key : 1);
    }
    return take_items(bucket, config->update, config->n_update);
}

/* As protobuf merges: later members win, repeated ones are joined. */
static accel_status_t merge(const ProtobufCMessageDescriptor *type, accel__wandb_text_t *message,
                            const uint8_t *data, size_t size)
{
    accel__wandb_text_append(message, data, size);
    if (message->failed)
        return accel__wandb_fail_memory();
    ProtobufCMessage *whole =
        protobuf_c_message_unpack(type, NULL, message->length, (const uint8_t *)message->data);
    if (!whole) {
        message->length -= size;
        return fail_damaged(type->short_name);
    }
    size_t packed = protobuf_c_message_get_packed_size(whole);
    if (packed <= message->length) /* it always is: merging only drops */
        message->length = protobuf_c_message_pack(whole, (uint8_t *)message->data);
    protobuf_c_message_free_unpacked(whole, NULL);
    return ACCEL_OK;
}

/* The run's telemetry passes through as it is, with what our own messages do not know. */
static accel_status_t take_run_telemetry(accel__wandb_bucket_t *bucket, const uint8_t *data,
                                         size_t size)
{
    enum { RUN_TELEMETRY = 19 };
    accel__wandb_wire_t wire = accel__wandb_wire(data, size);
    while (accel__wandb_wire_next(&wire)) {
        if (wire.number == RUN_TELEMETRY && wire.type == 2)
            accel__wandb_text_append(&bucket->telemetry, wire.data, wire.size);
    }
    return bucket->telemetry.failed ? accel__wandb_fail_memory() : ACCEL_OK;
}

/* The program has given the run another name, notes or tags. */
static accel_status_t take_update(accel__wandb_bucket_t *bucket, const uint8_t *data, size_t size)
{
    Wandb__RunRecord *record = wandb__run_record__unpack(NULL, size, data);
    if (!record)
        return fail_damaged("run");
    bool good = accel__wandb_set_text(&bucket->display_name, record->display_name);
    wandb__run_record__free_unpacked(bucket->record, NULL);
    bucket->record = record;
    bucket->renamed = true;
    return good ? ACCEL_OK : accel__wandb_fail_memory();
}

static accel_status_t take_run(accel__wandb_bucket_t *bucket, const uint8_t *data, size_t size)
{
    Wandb__RunRecord *record = wandb__run_record__unpack(NULL, size, data);
    if (!record || !*record->run_id) {
        if (record)
            wandb__run_record__free_unpacked(record, NULL);
        return fail_damaged("run");
    }
    bucket->record = record;
    if ((!bucket->entity && !accel__wandb_set_text(&bucket->entity, record->entity)) ||
        (!bucket->project && !accel__wandb_set_text(&bucket->project, record->project)) ||
        (!bucket->run_id && !accel__wandb_set_text(&bucket->run_id, record->run_id)) ||
        !accel__wandb_set_text(&bucket->display_name, record->display_name) ||
        !accel__wandb_set_text(&bucket->storage_id, record->storage_id) ||
        !accel__wandb_set_text(&bucket->sweep, record->sweep_id))
        return accel__wandb_fail_memory();
    accel_status_t status = take_config(bucket, record->config);
    return status ? status : take_run_telemetry(bucket, data, size);
}

static accel__wandb_bucket_metric_t *find_metric(accel__wandb_bucket_t *bucket, const char *name)
{
    for (size_t i = 0; i < bucket->num_metrics; i++) {
        if (!strcmp(bucket->metrics[i].name, name))
            return &bucket->metrics[i];
    }
    size_t room = (bucket->num_metrics + 1) * sizeof(*bucket->metrics);
    accel__wandb_bucket_metric_t *grown = realloc(bucket->metrics, room);
    if (!grown)
        return NULL;
    bucket->metrics = grown;
    grown += bucket->num_metrics;
    *grown = (accel__wandb_bucket_metric_t){.name = strdup(name)};
    if (!grown->name)
        return NULL;
    bucket->num_metrics++;
    return grown;
}

/* A name that matched a glob is the glob's; an "overwrite" forgets what was said before. */
static accel_status_t take_metric(accel__wandb_bucket_t *bucket, const uint8_t *data, size_t size)
{
    Wandb__MetricRecord *record = wandb__metric_record__unpack(NULL, size, data);
    if (!record)
        return fail_damaged("metric");
    accel_status_t status = ACCEL_OK;
    if (!record->expanded_from_glob) {
        const char *name = *record->name ? record->name : record->glob_name;
        const char *step = record->step_metric;
        accel__wandb_bucket_metric_t *metric = find_metric(bucket, name);
        if (metric && record->control && record->control->overwrite)
            metric->message.length = 0;
        status = metric ? merge(&wandb__metric_record__descriptor, &metric->message, data, size)
                        : accel__wandb_fail_memory();
        /* what is an axis is in the list too */
        if (!status && *step && !find_metric(bucket, step))
            status = accel__wandb_fail_memory();
    }
    wandb__metric_record__free_unpacked(record, NULL);
    return status;
}

bool accel__wandb_bucket_concerns(uint32_t kind)
{
    return kind == ACCEL__WANDB_RUN || kind == ACCEL__WANDB_CONFIG ||
           kind == ACCEL__WANDB_TELEMETRY || kind == ACCEL__WANDB_METRIC ||
           kind == ACCEL__WANDB_ENVIRONMENT;
}

accel_status_t accel__wandb_bucket_take(accel__wandb_bucket_t *bucket, uint32_t kind,
                                        const uint8_t *data, size_t size)
{
    accel_status_t status = ACCEL_OK;
    if (kind == ACCEL__WANDB_RUN && bucket->record)
        return take_update(bucket, data, size);
    bucket->changed = bucket->changed || accel__wandb_bucket_concerns(kind);
    switch (kind) {
    case ACCEL__WANDB_RUN:
        return take_run(bucket, data, size);
    case ACCEL__WANDB_CONFIG: {
        Wandb__ConfigRecord *config = wandb__config_record__unpack(NULL, size, data);
        status = config ? take_config(bucket, config) : fail_damaged("config");
        if (config)
            wandb__config_record__free_unpacked(config, NULL);
        return status;
    }
    case ACCEL__WANDB_TELEMETRY:
        accel__wandb_text_append(&bucket->telemetry, data, size);
        return bucket->telemetry.failed ? accel__wandb_fail_memory() : ACCEL_OK;
    case ACCEL__WANDB_METRIC:
        return take_metric(bucket, data, size);
    case ACCEL__WANDB_ENVIRONMENT:
        return merge(&wandb__environment_record__descriptor, &bucket->environment, data, size);
    default:
        return ACCEL_OK;
    }
}

/* ---- the configuration's own part: "_wandb" ---- */

/* Which boolean members of a message are set, as bits. */
static void gather_bits(uint64_t bits[4], const uint8_t *data, size_t size)
{
    accel__wandb_wire_t wire = accel__wandb_wire(data, size);
    while (accel__wandb_wire_next(&wire)) {
        if (wire.type == 0 && wire.value && wire.number < 256)
            bits[wire.number / 64] |= (uint64_t)1 << wire.number % 64;
    }
}

static void put_bits(accel__wandb_text_t *json, const uint64_t bits[4])
{
    const char *separator = "";
    accel__wandb_text_puts(json, "[");
    for (unsigned i = 0; i < 256; i++) {
        if (bits[i / 64] >> i % 64 & 1) {
            accel__wandb_text_printf(json, "%s%u", separator, i);
            separator = ",";
        }
    }
    accel__wandb_text_puts(json, "]");
}

static void put_bytes(accel__wandb_text_t *json, const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    if (text)
        accel__wandb_json_string(json, text);
    else
        json->failed = true;
    free(text);
}

/* {"1": "text", ...}: a message of texts by number, the last of each. */
static void put_texts(accel__wandb_text_t *json, const uint8_t *data, size_t size)
{
    accel__wandb_wire_t wire = accel__wandb_wire(data, size);
    const char *separator = "";
    accel__wandb_text_puts(json, "{");
    while (accel__wandb_wire_next(&wire)) {
        if (wire.type != 2)
            continue;
        accel__wandb_text_printf(json, "%s\"%u\":", separator, wire.number);
        put_bytes(json, wire.data, wire.size);
        separator = ",";
    }
    accel__wandb_text_puts(json, "}");
}

/* "t": texts as they are, sets of flags as lists of the numbers set. */
static void put_telemetry(accel__wandb_text_t *json, const accel__wandb_text_t *message)
{
    enum {
        FIELDS = 32,
        IMPORTS = 1,
        IMPORTS_FINISH = 2,
        FEATURE = 3,
        ENV = 8,
        LABEL = 9,
        DEPRECATED = 10
    };
    uint64_t bits[FIELDS][4] = {0};
    accel__wandb_wire_t last[FIELDS] = {0}, wire;
    const char *separator = "";
    wire = accel__wandb_wire(message->data, message->length);
    while (accel__wandb_wire_next(&wire)) {
        if (wire.number >= FIELDS || wire.type != 2)
            continue;
        last[wire.number] = wire;
        gather_bits(bits[wire.number], wire.data, wire.size);
    }
    accel__wandb_text_puts(json, "{");
    for (unsigned i = 1; i < FIELDS; i++) {
        if (!last[i].data)
            continue;
        accel__wandb_text_printf(json, "%s\"%u\":", separator, i);
        separator = ",";
        if (i == IMPORTS || i == IMPORTS_FINISH || i == FEATURE || i == ENV || i == DEPRECATED)
            put_bits(json, bits[i]);
        else if (i == LABEL)
            put_texts(json, last[i].data, last[i].size);
        else
            put_bytes(json, last[i].data, last[i].size);
    }
    accel__wandb_text_puts(json, "}");
}

static size_t metric_index(const accel__wandb_bucket_t *bucket, const char *name, size_t length)
{
    for (size_t i = 0; i < bucket->num_metrics; i++) {
        if (strlen(bucket->metrics[i].name) == length &&
            !strncmp(bucket->metrics[i].name, name, length))
            return i + 1;
    }
    return 0;
}

/* The set options in stock's order; stock's core does not call a glob "defined". */
static void put_options(accel__wandb_text_t *json, const uint64_t bits[4], bool glob)
{
    enum { STEP_SYNC = 1, HIDDEN = 2, DEFINED = 3 };
    static const unsigned order[] = {STEP_SYNC, DEFINED, HIDDEN};
    const char *separator = "";
    accel__wandb_text_puts(json, "[");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (!(bits[0] >> order[i] & 1) || (glob && order[i] == DEFINED))
            continue;
        accel__wandb_text_printf(json, "%s%u", separator, order[i]);
        separator = ",";
    }
    accel__wandb_text_puts(json, "]");
}

/* A definition by field number; the axis is said by its place in the list, from 1. */
static void put_metric(accel__wandb_text_t *json, const accel__wandb_bucket_t *bucket,
                       const accel__wandb_bucket_metric_t *metric)
{
    enum { NAME = 1, GLOB = 2, STEP_METRIC = 4, INDEX = 5, OPTIONS = 6, SUMMARY = 7, GOAL = 8 };
    uint64_t options[4] = {0}, summary[4] = {0};
    bool glob = false;
    accel__wandb_wire_t wire = accel__wandb_wire(metric->message.data, metric->message.length);
    accel__wandb_text_puts(json, "{");
    if (!metric->message.length) {
        accel__wandb_text_puts(json, "\"1\":");
        accel__wandb_json_string(json, metric->name);
        accel__wandb_text_puts(json, ",");
    }
    while (accel__wandb_wire_next(&wire)) {
        if (wire.type == 2 && (wire.number == NAME || wire.number == GLOB)) {
            glob = wire.number == GLOB;
            accel__wandb_text_printf(json, "\"%u\":", wire.number);
            put_bytes(json, wire.data, wire.size);
            accel__wandb_text_puts(json, ",");
        } else if (wire.type == 2 && wire.number == STEP_METRIC && wire.size) {
            accel__wandb_text_printf(json, "\"%d\":%zu,", INDEX,
                                     metric_index(bucket, (const char *)wire.data, wire.size));
        } else if (wire.type == 0 && wire.number == GOAL && wire.value) {
            accel__wandb_text_printf(json, "\"%d\":%u,", GOAL, (unsigned)wire.value);
        } else if (wire.type == 2 && wire.number == OPTIONS) {
            gather_bits(options, wire.data, wire.size);
        } else if (wire.type == 2 && wire.number == SUMMARY) {
            gather_bits(summary, wire.data, wire.size);
        }
    }
    accel__wandb_text_puts(json, "\"6\":");
    put_options(json, options, glob);
    accel__wandb_text_puts(json, ",\"7\":");
    put_bits(json, summary);
    accel__wandb_text_puts(json, "}");
}

static bool set_json(accel__wandb_tree_t *tree, const char *key, accel__wandb_text_t *json)
{
    char *path[] = {(char *)(uintptr_t)key};
    bool good = !json->failed && json->data && accel__wandb_tree_set(tree, path, 1, json->data);
    accel__wandb_text_free(json);
    return good;
}

static bool set_text_of(accel__wandb_tree_t *tree, const char *key,
                        const accel__wandb_text_t *telemetry, uint32_t number)
{
    accel__wandb_wire_t wire = accel__wandb_wire(telemetry->data, telemetry->length);
    accel__wandb_text_t json = {0};
    while (accel__wandb_wire_next(&wire)) {
        if (wire.number == number && wire.type == 2 && wire.size) {
            json.length = 0;
            put_bytes(&json, wire.data, wire.size);
        }
    }
    return !json.length || set_json(tree, key, &json);
}

/* "e": {"<writer's id>": the environment} */
static bool set_environment(accel__wandb_tree_t *own, const accel__wandb_bucket_t *bucket)
{
    accel__wandb_text_t json = {0};
    if (!bucket->environment.length)
        return true;
    accel__wandb_tree_t *all = accel__wandb_tree_member(own, "e");
    Wandb__EnvironmentRecord *record = wandb__environment_record__unpack(
        NULL, bucket->environment.length, (const uint8_t *)bucket->environment.data);
    bool good = all && record && accel__wandb_environment_json(&bucket->environment, &json) &&
                set_json(all, record->writer_id, &json);
    accel__wandb_text_free(&json);
    if (record)
        wandb__environment_record__free_unpacked(record, NULL);
    return good;
}

static bool set_own(accel__wandb_bucket_t *bucket, accel__wandb_tree_t *own)
{
    enum { PYTHON_VERSION = 4, CLI_VERSION = 5 };
    accel__wandb_text_t telemetry = {0}, metrics = {0};
    put_telemetry(&telemetry, &bucket->telemetry);
    accel__wandb_text_puts(&metrics, "[");
    for (size_t i = 0; i < bucket->num_metrics; i++) {
        accel__wandb_text_puts(&metrics, i ? "," : "");
        put_metric(&metrics, bucket, &bucket->metrics[i]);
    }
    accel__wandb_text_puts(&metrics, "]");
    bool good = set_json(own, "t", &telemetry);
    good = set_json(own, "m", &metrics) && good;
    return good && set_text_of(own, "cli_version", &bucket->telemetry, CLI_VERSION) &&
           set_text_of(own, "python_version", &bucket->telemetry, PYTHON_VERSION) &&
           set_environment(own, bucket);
}

bool accel__wandb_bucket_config(accel__wandb_bucket_t *bucket, accel__wandb_tree_t *config)
{
    bool good = true;
    *config = (accel__wandb_tree_t){.kind = ACCEL__WANDB_OBJECT};
    for (size_t i = 0; i < bucket->config.count && good; i++) {
        accel__wandb_text_t json = {0};
        accel__wandb_tree_print(&bucket->config.children[i], &json, true);
        accel__wandb_tree_t *entry =
            accel__wandb_tree_member(config, bucket->config.children[i].key);
        good = entry && set_json(entry, "value", &json);
        accel__wandb_text_free(&json);
    }
    accel__wandb_tree_t *entry = good ? accel__wandb_tree_member(config, "_wandb") : NULL;
    accel__wandb_tree_t *own = entry ? accel__wandb_tree_member(entry, "value") : NULL;
    good = own && set_own(bucket, own);
    if (!good)
        accel__wandb_tree_free(config);
    return good;
}

/* ---- UpsertBucket ---- */

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static json_t *config_json(accel__wandb_bucket_t *bucket)
{
    accel__wandb_tree_t config;
    accel__wandb_text_t text = {0};
    if (!accel__wandb_bucket_config(bucket, &config))
        return NULL;
    accel__wandb_tree_print(&config, &text, true);
    accel__wandb_tree_free(&config);
    json_t *json = text.failed ? NULL : json_string(text.data);
    accel__wandb_text_free(&text);
    return json;
}

static json_t *tags_or_null(const Wandb__RunRecord *record)
{
    json_t *tags = record->n_tags ? json_array() : json_null();
    for (size_t i = 0; i < record->n_tags; i++)
        json_array_append_new(tags, json_string(record->tags[i]));
    return tags;
}

static void add_names(json_t *variables, const Wandb__RunRecord *record)
{
    json_object_set_new(variables, "displayName", text_or_null(record->display_name));
    json_object_set_new(variables, "notes", text_or_null(record->notes));
    json_object_set_new(variables, "tags", tags_or_null(record));
}

static void add_particulars(json_t *variables, const accel__wandb_bucket_t *bucket)
{
    const Wandb__RunRecord *record = bucket->record;
    const Wandb__GitRepoRecord *git = record->git;
    Wandb__EnvironmentRecord *environment = wandb__environment_record__unpack(
        NULL, bucket->environment.length, (const uint8_t *)bucket->environment.data);
    json_object_set_new(variables, "id", text_or_null(bucket->storage_id));
    json_object_set_new(variables, "groupName", text_or_null(record->run_group));
    json_object_set_new(variables, "commit", text_or_null(git ? git->commit : NULL));
    json_object_set_new(variables, "repo", text_or_null(git ? git->remote_url : NULL));
    json_object_set_new(variables, "host", text_or_null(record->host));
    json_object_set_new(variables, "program",
                        text_or_null(environment ? environment->program : NULL));
    json_object_set_new(variables, "jobType", text_or_null(record->job_type));
    json_object_set_new(variables, "sweep", text_or_null(record->sweep_id));
    if (environment)
        wandb__environment_record__free_unpacked(environment, NULL);
}

static json_t *upsert_variables(accel__wandb_bucket_t *bucket, bool first)
{
    static const char *const names[] = {"id",    "groupName", "description",   "displayName",
                                        "notes", "commit",    "host",          "debug",
                                        "repo",  "program",   "jobType",       "state",
                                        "sweep", "tags",      "summaryMetrics"};
    json_t *variables =
        json_pack("{s:s, s:o, s:o}", "name", bucket->run_id, "project",
                  text_or_null(bucket->project), "entity", text_or_null(bucket->entity));
    json_t *config = bucket->changed ? config_json(bucket) : json_null();
    if (!variables || !config) {
        json_decref(variables);
        json_decref(config);
        return NULL;
    }
    json_object_set_new(variables, "config", config);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        json_object_set_new(variables, names[i], json_null());
    if (first || bucket->renamed)
        add_names(variables, bucket->record);
    if (first)
        add_particulars(variables, bucket);
    return variables;
}

static accel_status_t take_answer(accel__wandb_bucket_t *bucket, json_t *data)
{
    json_t *upsert = json_object_get(data, "upsertBucket");
    json_t *answer = json_object_get(upsert, "bucket"),
           *project = json_object_get(answer, "project");
    json_t *lines = json_object_get(answer, "historyLineCount");
    if (!json_is_object(answer))
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: UpsertBucket: the answer has no run");
    bool good =
        accel__wandb_set_text(&bucket->storage_id, ACCEL__WANDB_TEXT_AT(answer, "id")) &&
        accel__wandb_set_text(&bucket->run_id, ACCEL__WANDB_TEXT_AT(answer, "name")) &&
        accel__wandb_set_text(&bucket->display_name, ACCEL__WANDB_TEXT_AT(answer, "displayName")) &&
        accel__wandb_set_text(&bucket->sweep, ACCEL__WANDB_TEXT_AT(answer, "sweepName")) &&
        accel__wandb_set_text(&bucket->project, ACCEL__WANDB_TEXT_AT(project, "name")) &&
        accel__wandb_set_text(&bucket->entity, ACCEL__WANDB_TEXT_AT(project, "entity", "name"));
    bucket->history_lines =
        json_is_integer(lines) && json_integer_value(lines) >= 0 ? json_integer_value(lines) : -1;
    bucket->inserted = json_is_true(json_object_get(upsert, "inserted"));
    if (!good)
        return accel__wandb_fail_memory();
    if (!bucket->project || !bucket->entity)
        return accel__wandb_fail(ACCEL_ERR_FORMAT,
                                 "wandb: UpsertBucket: the answer names no project and entity");
    return ACCEL_OK;
}

accel_status_t accel__wandb_bucket_upsert(accel__wandb_bucket_t *bucket, accel__wandb_http_t *http,
                                          bool first, const accel__wandb_retry_t *retry,
                                          double timeout, const accel__wandb_listener_t *listener)
{
    json_t *variables = upsert_variables(bucket, first), *data = NULL;
    if (!variables)
        return accel__wandb_fail_memory();
    accel_status_t status = accel__wandb_graphql(http, &accel__wandb_upsert_bucket, variables,
                                                 retry, timeout, listener, &data, NULL);
    if (!status && first)
        status = take_answer(bucket, data);
    if (!status)
        bucket->changed = bucket->renamed = false;
    json_decref(data);
    return status;
}
