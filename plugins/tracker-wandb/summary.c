/* SPDX-License-Identifier: Apache-2.0 */
/* The summary: by stock's rules a value that is logged takes the place of the last one, and
 * define_metric has the least, the greatest, ... of all of them kept instead. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* ---- metrics by path ---- */

static size_t lower_bound(const accel__wandb_summary_t *summary, const char *path)
{
    size_t low = 0, high = summary->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(summary->metrics[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void metric_free(accel__wandb_metric_t *metric)
{
    if (!metric)
        return;
    free(metric->path);
    free(metric->first);
    free(metric->points);
    accel__wandb_text_free(&metric->last);
    free(metric);
}

/* Is `path` that of `outer`, or within it? */
static bool is_within(const char *path, const char *outer)
{
    size_t length = strlen(outer);
    return !strncmp(path, outer, length) &&
           (path[length] == '\0' || path[length] == ACCEL__WANDB_SEPARATOR);
}

/* Only the value goes: what was asked for holds, and what came before counts. */
void accel__wandb_summary_remove(accel__wandb_summary_t *summary, const char *path)
{
    for (size_t i = lower_bound(summary, path);
         i < summary->count && is_within(summary->metrics[i]->path, path); i++)
        summary->metrics[i]->type = ACCEL_TYPE_END;
}

/* A value within a dictionary takes the place of a value that had the dictionary's name, and the
 * other way round. Of what was there only the points of its history stay. */
static void displace(accel__wandb_metric_t *metric)
{
    free(metric->first);
    metric->first = NULL;
    metric->type = ACCEL_TYPE_END;
    metric->summary = 0;
    metric->definition = NULL;
    metric->min = metric->max = metric->total = 0;
    metric->count = 0;
    metric->displaced = true;
}

static void displace_inner(const accel__wandb_summary_t *summary, size_t at, const char *path)
{
    for (; at < summary->count && is_within(summary->metrics[at]->path, path); at++)
        displace(summary->metrics[at]);
}

static void displace_outer(const accel__wandb_summary_t *summary, const char *path)
{
    const char *end = strchr(path, ACCEL__WANDB_SEPARATOR);
    for (; end; end = strchr(end + 1, ACCEL__WANDB_SEPARATOR)) {
        char *outer = strndup(path, (size_t)(end - path));
        size_t at = outer ? lower_bound(summary, outer) : summary->count;
        if (at < summary->count && !strcmp(summary->metrics[at]->path, outer))
            displace(summary->metrics[at]);
        free(outer);
    }
}

static accel__wandb_metric_t *add(accel__wandb_summary_t *summary, size_t at, const char *path)
{
    if (summary->count == summary->capacity) {
        size_t capacity = summary->capacity * 2 + 16;
        accel__wandb_metric_t **grown =
            realloc(summary->metrics, capacity * sizeof(accel__wandb_metric_t *));
        if (!grown)
            return NULL;
        summary->metrics = grown;
        summary->capacity = capacity;
    }
    accel__wandb_metric_t *metric = calloc(1, sizeof(*metric));
    if (metric)
        metric->path = strdup(path);
    if (!metric || !metric->path) {
        free(metric);
        return NULL;
    }
    metric->stride = 1;
    metric->type = ACCEL_TYPE_END;
    metric->displaced = true;
    memmove(summary->metrics + at + 1, summary->metrics + at,
            (summary->count - at) * sizeof(*summary->metrics));
    summary->metrics[at] = metric;
    summary->count++;
    return metric;
}

accel__wandb_metric_t *accel__wandb_summary_at(accel__wandb_summary_t *summary, const char *path)
{
    size_t at = lower_bound(summary, path);
    bool found = at < summary->count && !strcmp(summary->metrics[at]->path, path);
    accel__wandb_metric_t *metric = found ? summary->metrics[at] : add(summary, at, path);
    if (metric && metric->displaced) {
        displace_inner(summary, at + 1, path);
        displace_outer(summary, path);
        metric->displaced = false;
    }
    return metric;
}

void accel__wandb_summary_free(accel__wandb_summary_t *summary)
{
    for (size_t i = 0; i < summary->count; i++)
        metric_free(summary->metrics[i]);
    free(summary->metrics);
    *summary = (accel__wandb_summary_t){0};
}

/* ---- values that are logged ---- */

/* Keep every `stride`-th point; when there is no room left, every second of those. */
static accel_status_t add_point(accel__wandb_metric_t *metric, double value)
{
    if (!metric->points)
        metric->points = calloc(ACCEL__WANDB_POINTS, sizeof(*metric->points));
    if (!metric->points)
        return accel__wandb_fail_memory();
    if (metric->seen++ % metric->stride)
        return ACCEL_OK;
    if (metric->num_points == ACCEL__WANDB_POINTS) {
        for (size_t i = 0; i < ACCEL__WANDB_POINTS / 2; i++)
            metric->points[i] = metric->points[2 * i];
        metric->num_points /= 2;
        metric->stride *= 2;
    }
    metric->points[metric->num_points++] = value;
    return ACCEL_OK;
}

/* NaN stays, once it was logged: so it is in stock, and a minimum that passes over it would hide
 * that the training broke. */
static accel_status_t add_number(accel__wandb_metric_t *metric, double value)
{
    bool first = metric->count++ == 0, nan = isnan(value) || isnan(metric->min);
    metric->min = first ? value : nan ? NAN : fmin(metric->min, value);
    metric->max = first ? value : nan ? NAN : fmax(metric->max, value);
    metric->total += value;
    return add_point(metric, value);
}

static bool is_number(accel_type_t type)
{
    return type == ACCEL_TYPE_INT || type == ACCEL_TYPE_UINT || type == ACCEL_TYPE_FLOAT;
}

accel_status_t accel__wandb_summary_log(accel__wandb_metric_t *metric,
                                        const accel__wandb_leaf_t *leaf)
{
    if (!metric->first)
        metric->first = strdup(leaf->json);
    if (!metric->first)
        return accel__wandb_fail_memory();
    bool tracks_last = metric->summary & ACCEL__WANDB_LAST;
    if (leaf->type != ACCEL_TYPE_NULL || tracks_last || metric->type == ACCEL_TYPE_END) {
        metric->last.length = 0;
        accel__wandb_text_puts(&metric->last, leaf->json);
        metric->type = leaf->type;
    }
    if (metric->last.failed)
        return accel__wandb_fail_memory();
    return is_number(leaf->type) ? add_number(metric, leaf->number) : ACCEL_OK;
}

static void put_part(const accel__wandb_metric_t *metric, accel__wandb_text_t *text, unsigned flag,
                     const char *name)
{
    if (!(metric->summary & flag))
        return;
    accel__wandb_text_printf(text, "%s\"%s\":", text->data[text->length - 1] == '{' ? "" : ",",
                             name);
    double count = (double)metric->count;
    if (flag == ACCEL__WANDB_FIRST)
        accel__wandb_text_puts(text, metric->first);
    else if (flag == ACCEL__WANDB_LAST)
        accel__wandb_text_puts(text, metric->last.data);
    else if (flag == ACCEL__WANDB_MIN)
        accel__wandb_json_number(text, metric->min, ACCEL__WANDB_JSON_CORE);
    else if (flag == ACCEL__WANDB_MAX)
        accel__wandb_json_number(text, metric->max, ACCEL__WANDB_JSON_CORE);
    else
        accel__wandb_json_number(text, metric->count ? metric->total / count : NAN,
                                 ACCEL__WANDB_JSON_CORE);
}

bool accel__wandb_summary_shown(const accel__wandb_metric_t *metric, accel__wandb_text_t *text)
{
    unsigned parts = metric->summary & ~(unsigned)ACCEL__WANDB_COPY;
    if (metric->type == ACCEL_TYPE_END || (metric->summary & ACCEL__WANDB_NONE) ||
        (!parts && metric->type == ACCEL_TYPE_NULL))
        return false;
    if (!parts || !metric->first) {
        accel__wandb_text_puts(text, metric->last.data);
        return true;
    }
    accel__wandb_text_puts(text, "{");
    put_part(metric, text, ACCEL__WANDB_LAST, "last");
    put_part(metric, text, ACCEL__WANDB_FIRST, "first");
    put_part(metric, text, ACCEL__WANDB_MAX, "max");
    put_part(metric, text, ACCEL__WANDB_MIN, "min");
    put_part(metric, text, ACCEL__WANDB_MEAN, "mean");
    accel__wandb_text_puts(text, "}");
    return true;
}

/* ---- values set by hand ---- */

static accel_status_t set_leaf(accel__wandb_summary_t *summary, const accel__wandb_leaf_t *leaf)
{
    accel__wandb_text_t path = {0};
    const char *name = accel__wandb_leaf_path(leaf, &path);
    accel__wandb_metric_t *metric = name ? accel__wandb_summary_at(summary, name) : NULL;
    accel__wandb_text_free(&path);
    if (!metric)
        return accel__wandb_fail_memory();
    metric->last.length = 0;
    accel__wandb_text_puts(&metric->last, leaf->json);
    metric->type = strcmp(leaf->json, "null") ? leaf->type : ACCEL_TYPE_NULL;
    metric->summary = 0;
    return metric->last.failed ? accel__wandb_fail_memory() : ACCEL_OK;
}

accel_status_t accel__wandb_summary_set(accel__wandb_summary_t *summary, const accel_item_t *values)
{
    accel__wandb_row_t row = {0};
    accel_status_t status = accel__wandb_row_merge(&row, values, ACCEL__WANDB_JSON_FRONT);
    for (const accel_item_t *item = values; item && item->type != ACCEL_TYPE_END; item++) {
        if (item->type == ACCEL_TYPE_DICT && !status)
            accel__wandb_summary_remove(summary, item->key);
    }
    for (size_t i = 0; i < row.count && !status; i++)
        status = set_leaf(summary, &row.leaves[i]);
    accel__wandb_row_clear(&row);
    free(row.leaves);
    return status;
}

/* ---- the whole ---- */

/* Close the dictionaries that the next path is not in, open those that it is in and the last one
 * was not; then its key. */
static void put_key(accel__wandb_text_t *text, const char *last, const char *path)
{
    size_t same = 0, at = 0;
    for (size_t i = 0; last[i] && last[i] == path[i]; i++) {
        if (path[i] == ACCEL__WANDB_SEPARATOR)
            same = i + 1;
    }
    for (const char *c = last + same; *c; c++)
        accel__wandb_text_puts(text, *c == ACCEL__WANDB_SEPARATOR ? "}" : "");
    accel__wandb_text_puts(text, *last ? "," : "");
    for (at = same; path[at];) {
        size_t length = strcspn(path + at, "\x1f");
        char *key = strndup(path + at, length);
        if (key)
            accel__wandb_json_string(text, key);
        else
            text->failed = true;
        free(key);
        at += length;
        accel__wandb_text_puts(text, path[at] ? ":{" : ":");
        at += path[at] != '\0';
    }
}

void accel__wandb_summary_json(const accel__wandb_summary_t *summary, accel__wandb_text_t *text)
{
    const char *last = "";
    accel__wandb_text_puts(text, "{");
    for (size_t i = 0; i < summary->count; i++) {
        const accel__wandb_metric_t *metric = summary->metrics[i];
        accel__wandb_text_t value = {0};
        if (accel__wandb_summary_shown(metric, &value) && !value.failed) {
            put_key(text, last, metric->path);
            accel__wandb_text_append(text, value.data, value.length);
            last = metric->path;
        }
        text->failed = text->failed || value.failed;
        accel__wandb_text_free(&value);
    }
    for (; *last; last++)
        accel__wandb_text_puts(text, *last == ACCEL__WANDB_SEPARATOR ? "}" : "");
    accel__wandb_text_puts(text, "}");
}
