/* SPDX-License-Identifier: Apache-2.0 */
/* The tracker "jsonl": a run is a folder of JSON files that any program can read.
 *
 *     LOGGING_DIR/PROJECT/run-20260131_094512-k3x9w2mp/
 *         run.json         who, when, and at the end the exit code
 *         config.json      the configuration
 *         history.jsonl    one object a logged row
 *         summary.json     the last value of each key, at the end
 *         artifacts.jsonl  one object a logged artifact
 *
 * Rows are collected by log and leave in flush with one write(2) of whole lines. What the
 * disk does not take is kept, up to BACKLOG_MAX, and tried again at the next flush. */
#include "track/json.h"
#include "track/jsonl/table.h"
#include "track/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ID_LENGTH 8
#define BACKLOG_MAX ((size_t)4 << 20)

typedef struct run {
    char *project, *id, *name, *dir;
    char *history_path;
    int history;
    accel__text_t rows; /* not written yet */
    int64_t rows_lost;
    int64_t next_step;
    double started;
    accel__json_table_t config, summary;
} run_t;

/* ---- files ---- */

static accel_status_t path_in(const run_t *run, const char *name, char **path)
{
    accel__text_t text = {0};

    accel__text_appendf(&text, "%s/%s", run->dir, name);
    *path = text.data;
    return text.failed ? accel__fail_memory("a path", strlen(run->dir)) : ACCEL_OK;
}

static accel_status_t write_and_close(int fd, const accel__text_t *text, const char *path)
{
    accel_status_t status = accel__write_full(fd, text->data, text->length, path);

    if (close(fd) != 0 && status == ACCEL_OK)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot write", path);
    return status;
}

/* Whole or absent: written aside, then renamed. Frees `text`. */
static accel_status_t replace_file(const run_t *run, const char *name, accel__text_t *text)
{
    char *path = NULL, *aside = NULL;
    accel__text_t aside_name = {0};
    accel_status_t status = path_in(run, name, &path);
    int fd;

    accel__text_appendf(&aside_name, "%s.new", name);
    if (status == ACCEL_OK && !aside_name.failed)
        status = path_in(run, aside_name.data, &aside);
    if (status == ACCEL_OK && (text->failed || aside_name.failed))
        status = accel__fail_memory(name, text->length);
    if (status != ACCEL_OK)
        goto done;
    fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot create", aside);
    else
        status = write_and_close(fd, text, aside);
    if (status == ACCEL_OK && rename(aside, path) != 0)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot rename to %s", aside, name);
done:
    accel__text_free(text);
    accel__text_free(&aside_name);
    free(aside);
    free(path);
    return status;
}

static void append_member(accel__text_t *text, const char *key, const char *value)
{
    accel__text_appendf(text, "\"%s\":", key);
    if (value)
        accel__json_string(text, value);
    else
        accel__text_append(text, "null", 4);
}

/* exit_code: NULL while the run is under way. */
static accel_status_t write_run_file(const run_t *run, const int32_t *exit_code)
{
    accel__text_t text = {0};

    accel__text_append(&text, "{", 1);
    append_member(&text, "id", run->id);
    accel__text_append(&text, ",", 1);
    append_member(&text, "name", run->name);
    accel__text_append(&text, ",", 1);
    append_member(&text, "project", run->project);
    accel__text_appendf(&text, ",\"started\":");
    accel__json_seconds(&text, run->started);
    if (exit_code) {
        accel__text_appendf(&text, ",\"finished\":");
        accel__json_seconds(&text, accel__clock_unix());
        accel__text_appendf(&text, ",\"exit_code\":%d", (int)*exit_code);
    }
    accel__text_append(&text, "}\n", 2);
    return replace_file(run, "run.json", &text);
}

/* ---- create ---- */

static accel_status_t take_argument(const accel_item_t *item, char **value)
{
    if (item->type == ACCEL_TYPE_NULL)
        return ACCEL_OK;
    if (item->type != ACCEL_TYPE_STRING || !*item->value.s)
        return accel__fail(ACCEL_ERR_INVALID, "init_kwargs: '%s' is no text", item->key);
    free(*value);
    *value = accel__strdup(item->value.s);
    return *value ? ACCEL_OK : accel__fail_memory(item->key, strlen(item->value.s));
}

static accel_status_t read_arguments(run_t *run, const accel_item_t *arguments)
{
    static const char *const known[] = {"id", "name"};
    accel_status_t status = ACCEL_OK;

    for (const accel_item_t *item = arguments;
         status == ACCEL_OK && item && item->type != ACCEL_TYPE_END; item++) {
        const char *nearest = accel__nearest(item->key, known, 2);

        if (strcmp(item->key, "id") == 0)
            status = take_argument(item, &run->id);
        else if (strcmp(item->key, "name") == 0)
            status = take_argument(item, &run->name);
        else
            status = accel__fail(ACCEL_ERR_INVALID,
                                 "init_kwargs: no argument '%s'%s%s%s; expected id or name",
                                 item->key, nearest ? "; did you mean '" : "",
                                 nearest ? nearest : "", nearest ? "'?" : "");
    }
    if (status == ACCEL_OK && run->id && !accel__tracker_name_valid(run->id))
        status = accel__fail(ACCEL_ERR_INVALID,
                             "init_kwargs: the id is '%s'; expected 1 to %d letters, digits, '_', "
                             "'-' or '.'",
                             run->id, ACCEL__TRACKER_NAME_MAX);
    return status;
}

static accel_status_t make_id(run_t *run)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345"; /* 32: no bias */
    unsigned char random[ID_LENGTH];
    accel_status_t status;

    if (run->id)
        return ACCEL_OK;
    status = accel__random_bytes(random, sizeof(random));
    if (status != ACCEL_OK)
        return status;
    run->id = calloc(1, ID_LENGTH + 1);
    if (!run->id)
        return accel__fail_memory("a run's id", ID_LENGTH + 1);
    for (size_t i = 0; i < ID_LENGTH; i++)
        run->id[i] = letters[random[i] % 32];
    return ACCEL_OK;
}

static accel_status_t check_project(const char *project)
{
    if (!strchr(project, '/') && strcmp(project, ".") != 0 && strcmp(project, "..") != 0)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "the project is '%s'; expected the name of a folder",
                       project);
}

static accel_status_t make_directory(run_t *run, const char *logging_dir)
{
    accel__text_t dir = {0};
    time_t now = (time_t)run->started;
    char when[32];
    struct tm local;
    accel_status_t status;

    localtime_r(&now, &local);
    strftime(when, sizeof(when), "%Y%m%d_%H%M%S", &local);
    accel__text_appendf(&dir, "%s/%s", logging_dir, run->project);
    if (dir.failed)
        return accel__fail_memory("a path", strlen(logging_dir));
    status = accel__make_dirs(dir.data);
    if (status != ACCEL_OK) {
        accel__text_free(&dir);
        return status;
    }
    accel__text_appendf(&dir, "/run-%s-%s", when, run->id);
    run->dir = dir.data;
    if (dir.failed)
        return accel__fail_memory("a path", dir.length);
    if (mkdir(run->dir, 0777) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot make the directory", run->dir);
    return ACCEL_OK;
}

static accel_status_t open_history(run_t *run)
{
    accel_status_t status = path_in(run, "history.jsonl", &run->history_path);

    if (status != ACCEL_OK)
        return status;
    run->history =
        open(run->history_path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (run->history < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot create", run->history_path);
    return ACCEL_OK;
}

static void destroy(void *tracker)
{
    run_t *run = tracker;

    if (run->history >= 0)
        close(run->history);
    accel__text_free(&run->rows);
    accel__json_table_free(&run->config);
    accel__json_table_free(&run->summary);
    free(run->history_path);
    free(run->project);
    free(run->id);
    free(run->name);
    free(run->dir);
    free(run);
}

static accel_status_t set_up(run_t *run, const accel_tracker_init_t *init)
{
    accel_status_t status = check_project(init->project_name);

    run->project = accel__strdup(init->project_name);
    if (status == ACCEL_OK && !run->project)
        status = accel__fail_memory("the project's name", strlen(init->project_name));
    if (status == ACCEL_OK)
        status = read_arguments(run, init->init_kwargs);
    if (status == ACCEL_OK)
        status = make_id(run);
    if (status == ACCEL_OK)
        status = make_directory(run, init->logging_dir);
    if (status == ACCEL_OK)
        status = open_history(run);
    return status == ACCEL_OK ? write_run_file(run, NULL) : status;
}

static accel_status_t create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    run_t *run = calloc(1, sizeof(*run));
    accel_status_t status;

    (void)context;
    if (!run)
        return accel__fail_memory("a run", sizeof(*run));
    run->history = -1;
    run->started = accel__clock_unix();
    status = set_up(run, init);
    if (status != ACCEL_OK) {
        destroy(run);
        return status;
    }
    *tracker = run;
    return ACCEL_OK;
}

/* ---- rows ---- */

static void append_key(run_t *run, const char *key)
{
    if (run->rows.data[run->rows.length - 1] != '{')
        accel__text_append(&run->rows, ",", 1);
    accel__json_string(&run->rows, key);
    accel__text_append(&run->rows, ":", 1);
}

/* The value that the row now ends with is the key's last. */
static void summarize(run_t *run, const char *key, size_t start)
{
    if (!run->rows.failed)
        accel__json_table_set(&run->summary, key, run->rows.data + start, run->rows.length - start);
}

static void append_value(run_t *run, const accel_item_t *item)
{
    size_t start;

    append_key(run, item->key);
    start = run->rows.length;
    accel__json_value(&run->rows, item);
    summarize(run, item->key, start);
}

static void append_seconds(run_t *run, const char *key, double seconds)
{
    size_t start;

    append_key(run, key);
    start = run->rows.length;
    accel__json_seconds(&run->rows, seconds);
    summarize(run, key, start);
}

/* A key that the row itself has wins over ours. */
static void append_row(run_t *run, const accel_item_t *values, int64_t step, double timestamp)
{
    const accel_item_t own_step = accel_item_int("_step", step);

    accel__text_append(&run->rows, "{", 1);
    if (run->rows.failed)
        return;
    for (const accel_item_t *item = values; item->type != ACCEL_TYPE_END; item++)
        append_value(run, item);
    if (!accel__dict_find(values, "_step"))
        append_value(run, &own_step);
    if (!accel__dict_find(values, "_timestamp"))
        append_seconds(run, "_timestamp", timestamp);
    if (!accel__dict_find(values, "_runtime"))
        append_seconds(run, "_runtime", timestamp - run->started);
    accel__text_append(&run->rows, "}\n", 2);
}

static accel_status_t log_row(void *tracker, const accel_item_t *values, int64_t step,
                              double timestamp)
{
    run_t *run = tracker;
    size_t before = run->rows.length;

    if (values->type == ACCEL_TYPE_END)
        return ACCEL_OK;
    if (before > BACKLOG_MAX) {
        run->rows_lost++;
        return accel__fail(ACCEL_ERR_IO, "%s: cannot be written; rows are lost", run->history_path);
    }
    if (step == ACCEL_NO_STEP)
        step = run->next_step;
    append_row(run, values, step, timestamp);
    if (run->rows.failed) {
        run->rows.failed = false;
        run->rows.length = before;
        run->rows_lost++;
        return accel__fail_memory("a row", before);
    }
    run->next_step = step + 1;
    return ACCEL_OK;
}

static accel_status_t flush(void *tracker)
{
    run_t *run = tracker;
    accel_status_t status = ACCEL_OK;
    size_t written = 0;

    while (written < run->rows.length && status == ACCEL_OK) {
        ssize_t n = write(run->history, run->rows.data + written, run->rows.length - written);

        if (n >= 0)
            written += (size_t)n;
        else if (errno != EINTR)
            status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot write", run->history_path);
    }
    run->rows.length -= written;
    if (run->rows.length > 0 && written > 0)
        memmove(run->rows.data, run->rows.data + written, run->rows.length);
    return status;
}

/* ---- the rest ---- */

static accel_status_t store_init_configuration(void *tracker, const accel_item_t *config)
{
    run_t *run = tracker;
    accel__text_t text = {0};

    accel__json_table_set_dict(&run->config, config);
    accel__json_table_text(&run->config, &text);
    return replace_file(run, "config.json", &text);
}

static accel_status_t update_summary(void *tracker, const accel_item_t *values)
{
    run_t *run = tracker;

    accel__json_table_set_dict(&run->summary, values);
    return ACCEL_OK;
}

static void append_entry(accel__text_t *text, const accel_artifact_entry_t *entry)
{
    accel__text_append(text, "{", 1);
    append_member(text, "path", entry->path);
    accel__text_append(text, ",", 1);
    if (entry->reference) {
        append_member(text, "reference", entry->reference);
        accel__text_append(text, ",", 1);
        append_member(text, "digest", entry->digest);
    } else {
        append_member(text, "local_path", entry->local_path);
    }
    if (entry->size >= 0)
        accel__text_appendf(text, ",\"size\":%lld", (long long)entry->size);
    accel__text_append(text, "}", 1);
}

static void append_artifact(accel__text_t *text, const accel_artifact_view_t *artifact)
{
    accel__text_append(text, "{", 1);
    append_member(text, "name", artifact->name);
    accel__text_append(text, ",", 1);
    append_member(text, "type", artifact->type);
    accel__text_append(text, ",", 1);
    append_member(text, "description", artifact->description);
    accel__text_appendf(text, ",\"metadata\":%s", artifact->metadata ? artifact->metadata : "{}");
    accel__text_appendf(text, ",\"aliases\":[");
    for (int64_t i = 0; i < artifact->num_aliases; i++) {
        accel__text_append(text, ",", i > 0);
        accel__json_string(text, artifact->aliases[i]);
    }
    accel__text_appendf(text, "],\"entries\":[");
    for (int64_t i = 0; i < artifact->num_entries; i++) {
        accel__text_append(text, ",", i > 0);
        append_entry(text, &artifact->entries[i]);
    }
    accel__text_appendf(text, "],\"_timestamp\":");
    accel__json_seconds(text, accel__clock_unix());
    accel__text_append(text, "}\n", 2);
}

static accel_status_t log_artifact(void *tracker, const accel_artifact_view_t *artifact)
{
    const run_t *run = tracker;
    accel__text_t text = {0};
    char *path = NULL;
    accel_status_t status = path_in(run, "artifacts.jsonl", &path);
    int fd;

    append_artifact(&text, artifact);
    if (status == ACCEL_OK && text.failed)
        status = accel__fail_memory("an artifact's record", text.length);
    if (status == ACCEL_OK) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        status = fd < 0 ? accel__fail_errno(ACCEL_ERR_IO, "%s: cannot open", path)
                        : write_and_close(fd, &text, path);
    }
    accel__text_free(&text);
    free(path);
    return status;
}

static accel_status_t finish(void *tracker, int32_t exit_code)
{
    run_t *run = tracker;
    accel__text_t summary = {0};
    accel_status_t status = flush(run);

    if (status == ACCEL_OK && run->rows_lost > 0)
        status = accel__fail(ACCEL_ERR_IO, "%s: %lld rows were lost", run->history_path,
                             (long long)run->rows_lost);
    if (status != ACCEL_OK)
        return status;
    accel__json_table_text(&run->summary, &summary);
    status = replace_file(run, "summary.json", &summary);
    return status == ACCEL_OK ? write_run_file(run, &exit_code) : status;
}

static const char *info(void *tracker, const char *what)
{
    const run_t *run = tracker;

    if (strcmp(what, "id") == 0)
        return run->id;
    if (strcmp(what, "name") == 0)
        return run->name;
    if (strcmp(what, "project") == 0)
        return run->project;
    if (strcmp(what, "dir") == 0)
        return run->dir;
    return NULL;
}

const accel_tracker_class_t accel__jsonl_class = {
    .struct_size = sizeof(accel_tracker_class_t),
    .name = "jsonl",
    .requires_logging_directory = true,
    .journaled = true,
    .logs_media = true,
    .create = create,
    .store_init_configuration = store_init_configuration,
    .log = log_row,
    .flush = flush,
    .log_artifact = log_artifact,
    .finish = finish,
    .destroy = destroy,
    .info = info,
    .update_summary = update_summary,
};
