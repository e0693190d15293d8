/* SPDX-License-Identifier: Apache-2.0 */
/* Images, sound, histograms and tables of a run: the last of each key, with the bytes of its files
 * within the page, as far as they are what they say and not too much. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

enum {
    FILE_LIMIT = 4 << 20,
    RUN_LIMIT = 24 << 20, /* of all files of a run */
    LIST_LIMIT = 12,
    TABLE_ROWS = 100,
    BINS_LIMIT = 1024
};

void run_add_figure(run_t *run, const char *name, const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "_type"));
    const table_t *history = &run->history;
    json_t *figure;

    if (!type)
        return;
    run_set_text(run->media, name, type);
    figure = need_json(json_object());
    json_object_set(figure, "value", (json_t *)value);
    if (history->num_rows && isfinite(history->steps[history->num_rows - 1]))
        json_object_set_new(figure, "step", json_real(history->steps[history->num_rows - 1]));
    json_object_set_new(run->figures, name, figure);
}

/* ---- files ---- */

/* A path that a log names: below the run's files, and nowhere else. */
static bool stays_inside(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");

        if (length == 0 || (length == 1 && *path == '.') ||
            (length == 2 && memcmp(path, "..", 2) == 0))
            return false;
        if (!path[length])
            return true;
        path += length + 1;
    }
}

/* Opened step by step: no symbolic link leads elsewhere. */
static int open_inside(const char *folder, const char *path)
{
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *copy = need(strdup(path)), *rest = copy, *part;

    while (at >= 0 && (part = strsep(&rest, "/"))) {
        int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (rest ? O_DIRECTORY : 0);
        int next = openat(at, part, flags);

        close(at);
        at = next;
    }
    free(copy);
    return at;
}

/* A whole regular file, or NULL. */
static unsigned char *read_file(run_t *run, const char *path, size_t *size)
{
    unsigned char *data = NULL;
    struct stat facts;
    ssize_t got = -1;
    int fd;

    if (!run->files || !path || !stays_inside(path))
        return NULL;
    fd = open_inside(run->files, path);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0 &&
        facts.st_size <= FILE_LIMIT && run->embedded + (size_t)facts.st_size <= RUN_LIMIT) {
        data = need(malloc((size_t)facts.st_size));
        got = read(fd, data, (size_t)facts.st_size);
    }
    close(fd);
    if (got != facts.st_size && data) {
        free(data);
        return NULL;
    }
    if (data) {
        *size = (size_t)got;
        run->embedded += *size;
    }
    return data;
}

static char *base64(const char *head, const unsigned char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(head);
    char *text = need(malloc(length + (size + 2) / 3 * 4 + 1)), *at = text + length;

    memcpy(text, head, length + 1);
    for (size_t i = 0; i < size; i += 3) {
        unsigned group = (unsigned)data[i] << 16 | (i + 1 < size ? (unsigned)data[i + 1] << 8 : 0) |
                         (i + 2 < size ? data[i + 2] : 0);

        *at++ = digits[group >> 18];
        *at++ = digits[group >> 12 & 63];
        *at++ = i + 1 < size ? digits[group >> 6 & 63] : '=';
        *at++ = i + 2 < size ? digits[group & 63] : '=';
    }
    *at = '\0';
    return text;
}

/* What it is, by its first bytes: names are not trusted. */
static const char *head_of(const unsigned char *data, size_t size)
{
    if (size > 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return "data:image/png;base64,";
    if (size > 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        return "data:image/jpeg;base64,";
    if (size > 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WAVE", 4) == 0)
        return "data:audio/wav;base64,";
    return NULL;
}

/* The file as a URL of itself; NULL if it cannot be shown. */
static json_t *source_of(run_t *run, const char *path)
{
    size_t size = 0;
    unsigned char *data = read_file(run, path, &size);
    const char *head = data ? head_of(data, size) : NULL;
    char *text = head ? base64(head, data, size) : NULL;
    json_t *source = text ? need_json(json_string(text)) : NULL;

    free(text);
    free(data);
    return source;
}

/* ---- figures ---- */

static void add_item(run_t *run, json_t *items, const char *path, const json_t *caption)
{
    json_t *source = source_of(run, path), *item;

    if (!source)
        return;
    item = need_json(json_object());
    json_object_set_new(item, "src", source);
    if (json_is_string(caption))
        json_object_set(item, "caption", (json_t *)caption);
    json_array_append_new(items, item);
}

/* The one file of an object, or those of a list: {"path"}, {"filenames", "captions"}, {"audio"}. */
static bool fill_files(run_t *run, json_t *figure, const json_t *value)
{
    const json_t *names = json_object_get(value, "filenames");
    const json_t *captions = json_object_get(value, "captions"),
                 *list = json_object_get(value, "audio");
    json_t *items = need_json(json_array());
    bool found;

    add_item(run, items, json_string_value(json_object_get(value, "path")),
             json_object_get(value, "caption"));
    for (size_t i = 0; i < json_array_size(names) && i < LIST_LIMIT; i++)
        add_item(run, items, json_string_value(json_array_get(names, i)),
                 json_array_get(captions, i));
    for (size_t i = 0; i < json_array_size(list) && i < LIST_LIMIT; i++) {
        const json_t *sound = json_array_get(list, i);

        add_item(run, items, json_string_value(json_object_get(sound, "path")),
                 json_object_get(sound, "caption"));
    }
    found = json_array_size(items) > 0;
    if (json_array_size(names) > LIST_LIMIT)
        json_object_set_new(figure, "more",
                            json_integer((json_int_t)(json_array_size(names) - LIST_LIMIT)));
    json_object_set_new(figure, "files", items);
    return found;
}

static bool all_numbers(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_number(json_array_get(array, i)))
            return false;
    return json_is_array(array);
}

static bool fill_histogram(json_t *figure, const json_t *value)
{
    json_t *counts = json_object_get(value, "values"), *edges = json_object_get(value, "bins");
    size_t bins = json_array_size(counts);

    if (!all_numbers(counts) || !all_numbers(edges) || bins < 1 || bins > BINS_LIMIT ||
        json_array_size(edges) != bins + 1)
        return false;
    json_object_set(figure, "counts", counts);
    json_object_set(figure, "edges", edges);
    return true;
}

/* Texts, numbers and truth values stay; what else is in a cell is shown as JSON. */
static json_t *cell_of(json_t *value)
{
    char *text;
    json_t *cell;

    if (!json_is_object(value) && !json_is_array(value))
        return json_incref(value);
    if (json_is_string(json_object_get(value, "_type")))
        return json_incref(json_object_get(value, "_type"));
    text = need(json_dumps(value, JSON_COMPACT));
    cell = value_text(text, strlen(text));
    free(text);
    return cell;
}

static bool fill_table(json_t *figure, const json_t *table)
{
    const json_t *columns = json_object_get(table, "columns"),
                 *data = json_object_get(table, "data");
    json_t *names = need_json(json_array()), *rows = need_json(json_array());

    for (size_t i = 0; i < json_array_size(columns); i++)
        json_array_append_new(names, cell_of(json_array_get(columns, i)));
    for (size_t i = 0; i < json_array_size(data) && i < TABLE_ROWS; i++) {
        const json_t *from = json_array_get(data, i);
        json_t *row = need_json(json_array());

        for (size_t c = 0; c < json_array_size(from) && c < json_array_size(names); c++)
            json_array_append_new(row, cell_of(json_array_get(from, c)));
        json_array_append_new(rows, row);
    }
    if (json_array_size(data) > TABLE_ROWS)
        json_object_set_new(figure, "more",
                            json_integer((json_int_t)(json_array_size(data) - TABLE_ROWS)));
    json_object_set_new(figure, "columns", names);
    json_object_set_new(figure, "rows", rows);
    return json_array_size(names) > 0;
}

static bool fill_table_file(run_t *run, json_t *figure, const json_t *value)
{
    size_t size = 0;
    unsigned char *data = read_file(run, json_string_value(json_object_get(value, "path")), &size);
    json_t *table = data ? value_parse_strictly((const char *)data, size) : NULL;
    bool good = table && fill_table(figure, table);

    json_decref(table);
    free(data);
    return good;
}

static bool fill(run_t *run, json_t *figure, const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "_type"));

    if (strcmp(type, "histogram") == 0)
        return fill_histogram(figure, value);
    if (strcmp(type, "table-file") == 0)
        return fill_table_file(run, figure, value);
    if (strcmp(type, "table") == 0)
        return fill_table(figure, value);
    if (strcmp(type, "image-file") == 0 || strcmp(type, "images/separated") == 0 ||
        strcmp(type, "audio-file") == 0 || strcmp(type, "audio") == 0)
        return fill_files(run, figure, value);
    return false;
}

json_t *run_figures(run_t *run)
{
    json_t *shown = need_json(json_object()), *figure;
    const char *name;

    json_object_foreach(run->figures, name, figure)
    {
        json_t *value = json_incref(json_object_get(figure, "value"));

        json_object_del(figure, "value");
        if (fill(run, figure, value))
            json_object_set(shown, name, figure);
        json_decref(value);
    }
    return shown;
}
