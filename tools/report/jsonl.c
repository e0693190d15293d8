/* SPDX-License-Identifier: Apache-2.0 */
/* A run's folder of JSON lines into a run. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static char *path_in(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = need(malloc(size));

    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* A file that may be missing; NULL then, or if it is no JSON object. */
static json_t *read_object(run_t *run, const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    mapping_t mapping;
    json_t *object = NULL;

    if (mapping_open(&mapping, path)) {
        object = value_parse_strictly((const char *)mapping.data, mapping.size);
        mapping_close(&mapping);
        if (!json_is_object(object)) {
            run_warn(run, "%s is no JSON object", name);
            json_decref(object);
            object = NULL;
        }
    } else if (errno != ENOENT) {
        run_warn(run, "%s cannot be read: %s", name, strerror(errno));
    }
    free(path);
    return object;
}

/* ---- lines ---- */

typedef void take_line_t(run_t *run, json_t *object);

static void read_lines(run_t *run, const mapping_t *file, const char *name, take_line_t *take)
{
    const char *at = (const char *)file->data, *end = at + file->size;
    size_t damaged = 0;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        json_t *object = length ? value_parse_strictly(at, length) : NULL;

        if (json_is_object(object))
            take(run, object);
        else if (length && newline)
            damaged++;
        else if (length)
            run_warn(run, "%s ends within a line: the run was killed, or still runs", name);
        json_decref(object);
        at += length + 1;
    }
    if (damaged)
        run_warn(run, "%s: %zu lines are no JSON objects; what is readable is shown", name,
                 damaged);
}

static double number_of(const json_t *object, const char *key)
{
    double number;

    return value_number(json_object_get(object, key), &number) ? number : NAN;
}

static void take_row(run_t *run, json_t *row)
{
    double step = number_of(row, "_step"), seconds = number_of(row, "_runtime");
    const char *key;
    json_t *value;

    if (isnan(step))
        step = (double)run->history.num_rows;
    if (isnan(seconds) && run->started > 0)
        seconds = number_of(row, "_timestamp") - run->started;
    table_add_row(&run->history, step, seconds);
    json_object_foreach(row, key, value)
    {
        if (*key != '_')
            run_add_logged(run, key, value);
    }
}

/* The page relies on the types: what has another one is left out. */
static void copy_texts(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_is_string(json_object_get(from, *keys)))
            json_object_set(to, *keys, json_object_get(from, *keys));
}

static json_t *copy_array(const json_t *from, json_type type)
{
    json_t *array = need_json(json_array()), *item;
    size_t i;

    json_array_foreach(from, i, item)
    {
        if (json_typeof(item) == type)
            json_array_append(array, item);
    }
    return array;
}

static void take_artifact(run_t *run, json_t *line)
{
    static const char *const texts[] = {"name", "type", "description", NULL};
    json_t *artifact = need_json(json_object()), *entry;
    json_t *entries = copy_array(json_object_get(line, "entries"), JSON_OBJECT);
    json_t *metadata = json_object_get(line, "metadata");
    json_int_t size = 0;
    size_t i;

    json_array_foreach(entries, i, entry)
    {
        json_int_t own = json_integer_value(json_object_get(entry, "size"));

        size += own > 0 && own < INT64_MAX - size ? own : 0;
    }
    copy_texts(artifact, line, texts);
    if (json_is_object(metadata))
        json_object_set(artifact, "metadata", metadata);
    json_object_set_new(artifact, "aliases",
                        copy_array(json_object_get(line, "aliases"), JSON_STRING));
    json_object_set_new(artifact, "count", json_integer((json_int_t)json_array_size(entries)));
    json_object_set_new(artifact, "size", json_integer(size));
    json_object_set_new(artifact, "entries", entries);
    json_array_append_new(run->artifacts, artifact);
}

/* ---- the run ---- */

static void set_facts(run_t *run, json_t *object)
{
    static const char *const texts[] = {"id", "name", "project", NULL};
    const json_t *exit_code = json_object_get(object, "exit_code");
    double started = number_of(object, "started"), finished = number_of(object, "finished");

    if (!isnan(started))
        run->started = started;
    if (finished >= started)
        json_object_set_new(run->facts, "runtime", json_real(finished - started));
    copy_texts(run->facts, object, texts);
    if (json_is_integer(exit_code))
        json_object_set_new(run->facts, "exit_code", json_integer(json_integer_value(exit_code)));
    json_decref(object);
}

static void hide_own_keys(json_t *summary)
{
    json_object_del(summary, "_step");
    json_object_del(summary, "_runtime");
    json_object_del(summary, "_timestamp");
}

static void name_by_folder(run_t *run, const char *folder)
{
    const char *slash = strrchr(folder, '/');

    run_set_text(run->facts, "id", slash && slash[1] ? slash + 1 : folder);
}

bool jsonl_read(run_t *run, const char *folder, char *why, size_t why_size)
{
    char *history = path_in(folder, "history.jsonl"), *more = path_in(folder, "artifacts.jsonl");
    mapping_t lines;
    bool good = mapping_open(&lines, history);
    json_t *object;

    if (!good) {
        snprintf(why, why_size, "cannot read its history.jsonl: %s", strerror(errno));
        goto done;
    }
    if ((object = read_object(run, folder, "run.json")))
        set_facts(run, object);
    if (!json_object_get(run->facts, "id"))
        name_by_folder(run, folder);
    if ((object = read_object(run, folder, "config.json"))) {
        json_object_update(run->config, object);
        json_decref(object);
    }
    if ((object = read_object(run, folder, "summary.json"))) {
        hide_own_keys(object);
        json_object_update(run->summary, object);
        json_decref(object);
    }
    read_lines(run, &lines, "history.jsonl", take_row);
    mapping_close(&lines);
    if (mapping_open(&lines, more)) {
        read_lines(run, &lines, "artifacts.jsonl", take_artifact);
        mapping_close(&lines);
    }
done:
    free(history);
    free(more);
    return good;
}
