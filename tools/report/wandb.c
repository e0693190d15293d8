/* SPDX-License-Identifier: Apache-2.0 */
/* A .wandb log into a run: ours, and those of the stock client. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "framing.h"
#include "report.h"
#include "wandb.pb-c.h"

/* ---- items of configuration, summary and history ---- */

/* The object that holds the last part of the item's path, made if need be. */
static json_t *holder_of(json_t *object, const Wandb__Item *item)
{
    for (size_t i = 0; i + 1 < item->n_nested_key; i++) {
        json_t *key = value_text(item->nested_key[i], strlen(item->nested_key[i]));
        json_t *next = json_object_get(object, json_string_value(key));

        if (!json_is_object(next)) {
            next = need_json(json_object());
            json_object_set_new(object, json_string_value(key), next);
        }
        json_decref(key);
        object = next;
    }
    return object;
}

static const char *last_key(const Wandb__Item *item)
{
    return item->n_nested_key ? item->nested_key[item->n_nested_key - 1] : item->key;
}

static json_t *item_value(const Wandb__Item *item)
{
    return value_parse(item->value_json, strlen(item->value_json));
}

static void set_items(json_t *object, Wandb__Item **items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *key = value_text(last_key(items[i]), strlen(last_key(items[i])));

        json_object_set_new(holder_of(object, items[i]), json_string_value(key),
                            item_value(items[i]));
        json_decref(key);
    }
}

static void remove_items(json_t *object, Wandb__Item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_object_del(holder_of(object, items[i]), last_key(items[i]));
}

static void take_config(run_t *run, const Wandb__ConfigRecord *config)
{
    if (!config)
        return;
    set_items(run->config, config->update, config->n_update);
    remove_items(run->config, config->remove, config->n_remove);
}

static void take_summary(run_t *run, const Wandb__SummaryRecord *summary)
{
    if (!summary)
        return;
    set_items(run->summary, summary->update, summary->n_update);
    remove_items(run->summary, summary->remove, summary->n_remove);
}

/* ---- history ---- */

/* The first `parts` parts, joined by dots, as valid text. */
static json_t *joined_name(const Wandb__Item *item, size_t parts)
{
    size_t size = 1, length = 0;
    char *name;
    json_t *text;

    if (item->n_nested_key == 0)
        return value_text(item->key, strlen(item->key));
    for (size_t i = 0; i < parts; i++)
        size += strlen(item->nested_key[i]) + 1;
    name = need(malloc(size));
    for (size_t i = 0; i < parts; i++)
        length += (size_t)snprintf(name + length, size - length, "%s%s", i ? "." : "",
                                   item->nested_key[i]);
    text = value_text(name, length);
    free(name);
    return text;
}

/* Media are logged in parts: [key, "_type"], [key, "path"], ... The parts before "_type" */
static size_t media_parts(const Wandb__Item *item)
{
    bool type = item->n_nested_key > 1 && strcmp(last_key(item), "_type") == 0;

    return type ? item->n_nested_key - 1 : 0;
}

static bool lies_under(const Wandb__Item *item, const Wandb__Item *media)
{
    size_t parts = media_parts(media);

    if (item->n_nested_key < parts)
        return false;
    for (size_t i = 0; i < parts; i++)
        if (strcmp(item->nested_key[i], media->nested_key[i]) != 0)
            return false;
    return true;
}

/* Items that describe media are no metrics: marks them, and puts them together again. */
static void set_media_aside(run_t *run, const Wandb__HistoryRecord *history, bool *aside)
{
    for (size_t m = 0; m < history->n_item; m++) {
        const Wandb__Item *media = history->item[m];

        if (media_parts(media) == 0)
            continue;
        json_t *value = need_json(json_object());
        json_t *name = joined_name(media, media_parts(media));

        for (size_t i = 0; i < history->n_item; i++) {
            const Wandb__Item *item = history->item[i];

            if (!lies_under(item, media))
                continue;
            aside[i] = true;
            if (item->n_nested_key == media->n_nested_key)
                json_object_set_new(value, last_key(item), item_value(item));
        }
        run_add_figure(run, json_string_value(name), value);
        json_decref(value);
        json_decref(name);
    }
}

static double number_of(const Wandb__HistoryRecord *history, const char *key)
{
    double number = NAN;

    for (size_t i = 0; i < history->n_item; i++) {
        if (history->item[i]->n_nested_key > 1 || strcmp(last_key(history->item[i]), key) != 0)
            continue;
        json_t *value = item_value(history->item[i]);

        if (!value_number(value, &number))
            number = NAN;
        json_decref(value);
    }
    return number;
}

static void add_row(run_t *run, const Wandb__HistoryRecord *history)
{
    double step = number_of(history, "_step"), seconds = number_of(history, "_runtime");
    double timestamp = number_of(history, "_timestamp");

    if (isnan(step) && history->step)
        step = (double)history->step->num;
    if (isnan(step))
        step = (double)run->history.num_rows;
    if (isnan(seconds) && run->started > 0)
        seconds = timestamp - run->started;
    table_add_row(&run->history, step, seconds);
}

static void take_history(run_t *run, const Wandb__HistoryRecord *history)
{
    bool *aside;

    if (!history)
        return;
    aside = need(calloc(history->n_item + 1, sizeof(*aside)));
    add_row(run, history);
    set_media_aside(run, history, aside);
    for (size_t i = 0; i < history->n_item; i++) {
        json_t *name = joined_name(history->item[i], history->item[i]->n_nested_key);
        json_t *value = item_value(history->item[i]);

        if (!aside[i] && *json_string_value(name) != '_')
            run_add_logged(run, json_string_value(name), value);
        json_decref(value);
        json_decref(name);
    }
    free(aside);
}

/* ---- the other records ---- */

static double seconds_of(const Wandb__Timestamp *time)
{
    return time ? (double)time->seconds + time->nanos / 1e9 : 0;
}

static void take_git(run_t *run, const Wandb__GitRepoRecord *git)
{
    if (!git)
        return;
    run_set_text(run->environment, "git_remote", git->remote_url);
    run_set_text(run->environment, "git_commit", git->commit);
}

static void take_run(run_t *run, const Wandb__RunRecord *record)
{
    if (!record)
        return;
    run_set_text(run->facts, "id", record->run_id);
    run_set_text(run->facts, "name", record->display_name);
    run_set_text(run->facts, "project", record->project);
    run_set_text(run->facts, "entity", record->entity);
    run_set_text(run->facts, "group", record->run_group);
    run_set_text(run->facts, "job_type", record->job_type);
    run_set_text(run->facts, "notes", record->notes);
    run_set_text(run->facts, "sweep", record->sweep_id);
    run_set_text(run->environment, "host", record->host);
    if (record->n_tags) {
        json_t *tags = need_json(json_array());

        for (size_t i = 0; i < record->n_tags; i++)
            json_array_append_new(tags, value_text(record->tags[i], strlen(record->tags[i])));
        json_object_set_new(run->facts, "tags", tags);
    }
    if (record->start_time)
        run->started = seconds_of(record->start_time);
    take_config(run, record->config);
    take_summary(run, record->summary);
    take_git(run, record->git);
}

static void take_exit(run_t *run, const Wandb__RunExitRecord *record)
{
    if (!record)
        return;
    json_object_set_new(run->facts, "exit_code", json_integer(record->exit_code));
    if (record->runtime > 0)
        json_object_set_new(run->facts, "runtime", json_integer(record->runtime));
}

static void set_count(json_t *object, const char *key, uint64_t count)
{
    if (count > 0 && count < INT64_MAX)
        json_object_set_new(object, key, json_integer((json_int_t)count));
}

/* Comes in several records, whose fields are merged. */
static void take_environment(run_t *run, const Wandb__EnvironmentRecord *record)
{
    json_t *environment = run->environment;

    if (!record)
        return;
    run_set_text(environment, "os", record->os);
    run_set_text(environment, "python", record->python);
    run_set_text(environment, "program", record->program);
    run_set_text(environment, "executable", record->executable);
    run_set_text(environment, "directory", record->root);
    run_set_text(environment, "host", record->host);
    run_set_text(environment, "user", record->username);
    run_set_text(environment, "docker", record->docker);
    run_set_text(environment, "gpu", record->gpu_type);
    set_count(environment, "gpu_count", record->gpu_count);
    set_count(environment, "cpu_count", record->cpu_count);
    set_count(environment, "cpu_count_logical", record->cpu_count_logical);
    if (record->cpu)
        run_set_text(environment, "cpu", record->cpu->model);
    if (record->memory)
        set_count(environment, "memory", record->memory->total);
    take_git(run, record->git);
    if (record->n_args) {
        json_t *args = need_json(json_array());

        for (size_t i = 0; i < record->n_args; i++)
            json_array_append_new(args, value_text(record->args[i], strlen(record->args[i])));
        json_object_set_new(environment, "args", args);
    }
}

static void take_stats(run_t *run, const Wandb__StatsRecord *record)
{
    if (!record || !record->timestamp)
        return;
    table_add_row(&run->system, NAN,
                  run->started > 0 ? seconds_of(record->timestamp) - run->started : NAN);
    for (size_t i = 0; i < record->n_item; i++) {
        const Wandb__StatsItem *item = record->item[i];
        json_t *value = value_parse(item->value_json, strlen(item->value_json));
        json_t *name = value_text(item->key, strlen(item->key));
        double number;

        if (value_number(value, &number))
            table_add_value(&run->system, json_string_value(name), number);
        json_decref(name);
        json_decref(value);
    }
}

/* ---- artifacts ---- */

enum { ENTRIES_SHOWN = 200 };

static json_t *entry_json(const Wandb__ArtifactManifestEntry *entry)
{
    json_t *object = need_json(json_object());

    run_set_text(object, "path", entry->path);
    run_set_text(object, "reference", entry->ref);
    if (entry->size >= 0)
        json_object_set_new(object, "size", json_integer(entry->size));
    return object;
}

static void add_entries(json_t *artifact, const Wandb__ArtifactManifest *manifest)
{
    json_t *entries = need_json(json_array());
    json_int_t size = 0;

    for (size_t i = 0; i < manifest->n_contents; i++) {
        const Wandb__ArtifactManifestEntry *entry = manifest->contents[i];

        if (entry->size > 0 && entry->size < INT64_MAX - size)
            size += entry->size;
        if (i < ENTRIES_SHOWN)
            json_array_append_new(entries, entry_json(entry));
    }
    json_object_set_new(artifact, "entries", entries);
    json_object_set_new(artifact, "count", json_integer((json_int_t)manifest->n_contents));
    json_object_set_new(artifact, "size", json_integer(size));
}

static void take_artifact(run_t *run, const Wandb__ArtifactRecord *record)
{
    json_t *artifact, *aliases;

    if (!record)
        return;
    artifact = need_json(json_object());
    aliases = need_json(json_array());
    run_set_text(artifact, "name", record->name);
    run_set_text(artifact, "type", record->type);
    run_set_text(artifact, "description", record->description);
    run_set_text(artifact, "digest", record->digest);
    for (size_t i = 0; i < record->n_aliases; i++)
        json_array_append_new(aliases, value_text(record->aliases[i], strlen(record->aliases[i])));
    json_object_set_new(artifact, "aliases", aliases);
    if (*record->metadata)
        json_object_set_new(artifact, "metadata",
                            value_parse(record->metadata, strlen(record->metadata)));
    if (record->manifest)
        add_entries(artifact, record->manifest);
    json_array_append_new(run->artifacts, artifact);
}

static void take_use_artifact(run_t *run, const Wandb__UseArtifactRecord *record)
{
    json_t *artifact;

    if (!record)
        return;
    artifact = need_json(json_object());
    run_set_text(artifact, "name", *record->name ? record->name : record->id);
    run_set_text(artifact, "type", record->type);
    json_object_set_new(artifact, "used", json_true());
    json_array_append_new(run->artifacts, artifact);
}

/* ---- the log ---- */

/* A record has one of these. */
static void take_record(run_t *run, const Wandb__Record *record)
{
    take_run(run, record->run);
    take_config(run, record->config);
    take_summary(run, record->summary);
    take_history(run, record->history);
    take_stats(run, record->stats);
    take_environment(run, record->environment);
    take_artifact(run, record->artifact);
    take_use_artifact(run, record->use_artifact);
    take_exit(run, record->exit);
    if (record->output_raw)
        run_print(run, record->output_raw->line);
}

/* Lines that begin with _ are the client's own. */
static void hide_own_keys(json_t *object)
{
    static const char *const own[] = {"_wandb", "_step", "_runtime", "_timestamp"};

    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        json_object_del(object, own[i]);
}

static void name_by_path(run_t *run, const char *path)
{
    const char *slash = strrchr(path, '/');

    run_set_text(run->facts, "id", slash ? slash + 1 : path);
}

static void read_records(run_t *run, framing_t *framing)
{
    const unsigned char *bytes;
    size_t length, unknown = 0;

    while (framing_next(framing, &bytes, &length)) {
        Wandb__Record *record = wandb__record__unpack(NULL, length, bytes);

        if (!record) {
            unknown++;
            continue;
        }
        take_record(run, record);
        wandb__record__free_unpacked(record, NULL);
    }
    if (framing->damaged || unknown)
        run_warn(run, "the log is damaged in %zu places; what is readable is shown",
                 framing->damaged + unknown);
    if (framing->cut)
        run_warn(run, "the log ends within a record: the run was killed, or still runs");
}

/* Beside the log, whatever folder the run had when it ran. */
static void find_files(run_t *run, const char *path)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) : 1;
    size_t size = (size_t)length + sizeof("/files");

    run->files = need(malloc(size));
    snprintf(run->files, size, "%.*s/files", length, slash ? path : ".");
}

bool wandb_read(run_t *run, const char *path, char *why, size_t why_size)
{
    mapping_t mapping;
    framing_t framing;
    bool good;

    if (!mapping_open(&mapping, path)) {
        snprintf(why, why_size, "cannot read it: %s", strerror(errno));
        return false;
    }
    find_files(run, path);
    good = framing_begin(&framing, mapping.data, mapping.size);
    if (good) {
        read_records(run, &framing);
        hide_own_keys(run->config);
        hide_own_keys(run->summary);
        if (!json_object_get(run->facts, "id"))
            name_by_path(run, path);
    } else {
        snprintf(why, why_size, "no W&B log: it does not begin with ':W&B'");
    }
    framing_end(&framing);
    mapping_close(&mapping);
    return good;
}
