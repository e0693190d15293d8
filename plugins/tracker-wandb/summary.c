/* SPDX-License-Identifier: Apache-2.0 */
/* The last values and the sparklines that stock prints when a run ends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { MAX_LINES = 10, SPARK_WIDTH = 40 };

static size_t lower_bound(const accel__wandb_summary_t *summary, const char *key)
{
    size_t low = 0, high = summary->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(summary->metrics[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static accel__wandb_metric_t *find_or_add(accel__wandb_summary_t *summary, const char *key)
{
    size_t at = lower_bound(summary, key);
    if (at < summary->count && !strcmp(summary->metrics[at].key, key))
        return &summary->metrics[at];
    if (summary->count == summary->capacity) {
        size_t capacity = summary->capacity * 2 + 16;
        accel__wandb_metric_t *grown = realloc(summary->metrics, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        summary->metrics = grown;
        summary->capacity = capacity;
    }
    char *copy = strdup(key);
    if (!copy)
        return NULL;
    accel__wandb_metric_t *metric = &summary->metrics[at];
    memmove(metric + 1, metric, (summary->count - at) * sizeof(*metric));
    *metric = (accel__wandb_metric_t){.key = copy, .stride = 1, .type = ACCEL_TYPE_END};
    summary->count++;
    return metric;
}

static bool is_number(accel_type_t type)
{
    return type == ACCEL_TYPE_INT || type == ACCEL_TYPE_UINT || type == ACCEL_TYPE_FLOAT;
}

static bool is_shown(accel_type_t type)
{
    return is_number(type) || type == ACCEL_TYPE_BOOL || type == ACCEL_TYPE_STRING;
}

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

accel_status_t accel__wandb_summary_set(accel__wandb_summary_t *summary, const char *key,
                                        const char *json, accel_type_t type)
{
    accel__wandb_metric_t *metric = find_or_add(summary, key);
    char *copy = strdup(json);
    if (!metric || !copy) {
        free(copy);
        return accel__wandb_fail_memory();
    }
    free(metric->json);
    metric->json = copy;
    metric->type = type;
    return ACCEL_OK;
}

accel_status_t accel__wandb_summary_add_row(accel__wandb_summary_t *summary,
                                            const accel__wandb_row_t *row)
{
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < row->count && !status; i++) {
        const accel__wandb_leaf_t *leaf = &row->leaves[i];
        bool nested = leaf->depth > 1;
        if (leaf->path[0][0] == '_' || leaf->type == ACCEL_TYPE_NULL)
            continue;
        status = accel__wandb_summary_set(summary, leaf->path[0], nested ? "" : leaf->json,
                                          nested ? ACCEL_TYPE_DICT : leaf->type);
        if (!status && !nested && is_number(leaf->type))
            status = add_point(find_or_add(summary, leaf->path[0]), leaf->number);
    }
    return status;
}

void accel__wandb_summary_free(accel__wandb_summary_t *summary)
{
    for (size_t i = 0; i < summary->count; i++) {
        free(summary->metrics[i].key);
        free(summary->metrics[i].json);
        free(summary->metrics[i].points);
    }
    free(summary->metrics);
    *summary = (accel__wandb_summary_t){0};
}

/* ---- printing ---- */

typedef struct {
    const char *key;
    char *value;
} line_t;

typedef struct {
    line_t lines[MAX_LINES];
    size_t count, total;
} grid_t;

static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_grid(grid_t *grid, const char *title, const accel__wandb_console_t *console)
{
    char more[32];
    int width = snprintf(more, sizeof(more), "+%zu", grid->total - grid->count);
    if (grid->total == grid->count)
        width = 0;
    for (size_t i = 0; i < grid->count; i++)
        width = width_of(grid->lines[i].key) > width ? width_of(grid->lines[i].key) : width;
    if (grid->count) {
        accel__wandb_say(console, "%s", "");
        accel__wandb_say(console, "%s", title);
    }
    for (size_t i = 0; i < grid->count; i++) {
        const line_t *line = &grid->lines[i];
        accel__wandb_say(console, "%*s%s %s", width - width_of(line->key), "", line->key,
                         line->value);
    }
    if (grid->count && grid->total > grid->count)
        accel__wandb_say(console, "%*s ...", width, more);
    for (size_t i = 0; i < grid->count; i++)
        free(grid->lines[i].value);
}

/* Eight heights between the least and the greatest finite value; a blank for the others. */
static char *sparkline(const accel__wandb_metric_t *metric)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < metric->num_points; i++) {
        if (isfinite(metric->points[i])) {
            low = fmin(low, metric->points[i]);
            high = fmax(high, metric->points[i]);
        }
    }
    if (low > high)
        return NULL;
    accel__wandb_text_t text = {0};
    size_t width = metric->num_points < SPARK_WIDTH ? metric->num_points : SPARK_WIDTH;
    for (size_t i = 0; i < width; i++) {
        size_t last = metric->num_points - 1;
        double value = metric->points[width > 1 ? i * last / (width - 1) : 0];
        double height = high > low ? 7 * (value / (high - low) - low / (high - low)) : 0;
        char bar[] = "\xe2\x96\x81"; /* U+2581, the lowest; the others follow it */
        if (isfinite(value) && isfinite(height)) {
            bar[2] = (char)(bar[2] + (int)lrint(height));
            accel__wandb_text_puts(&text, bar);
        } else {
            accel__wandb_text_puts(&text, " ");
        }
    }
    return text.data;
}

/* A value as Python prints it, a float rounded to five places, a long text cut. */
static char *shown_value(const accel__wandb_metric_t *metric)
{
    accel__wandb_text_t text = {0};
    if (metric->type == ACCEL_TYPE_BOOL) {
        accel__wandb_text_puts(&text, metric->json[0] == 't' ? "True" : "False");
    } else if (metric->type == ACCEL_TYPE_STRING) {
        const char *start = metric->json + 1, *end = start;
        size_t length = strlen(start) - 1, shown = 0;
        for (; end < start + length && (shown < 20 || ((unsigned char)*end & 0xc0) == 0x80); end++)
            shown += ((unsigned char)*end & 0xc0) != 0x80;
        accel__wandb_text_append(&text, start, (size_t)(end - start));
        if (shown >= 20)
            accel__wandb_text_puts(&text, "...");
    } else if (!strpbrk(metric->json, ".eIN")) {
        accel__wandb_text_puts(&text, strcmp(metric->json, "-0") ? metric->json : "0");
    } else if (strpbrk(metric->json, "IN")) {
        accel__wandb_text_puts(&text, metric->json[0] == 'N'   ? "nan"
                                      : metric->json[0] == '-' ? "-inf"
                                                               : "inf");
    } else {
        char rounded[400];
        snprintf(rounded, sizeof(rounded), "%.5f", strtod(metric->json, NULL));
        accel__wandb_json_number(&text, strtod(rounded, NULL), ACCEL__WANDB_JSON_SHOWN);
    }
    return text.data;
}

static void collect(grid_t *grid, const char *key, char *value)
{
    if (!value)
        return;
    if (grid->count == MAX_LINES) {
        free(value);
        return;
    }
    grid->lines[grid->count++] = (line_t){key, value};
}

void accel__wandb_summary_print(const accel__wandb_summary_t *summary,
                                const accel__wandb_console_t *console)
{
    grid_t history = {0}, last = {0};
    if (console->silent || console->quiet)
        return;
    for (size_t i = 0; i < summary->count; i++) {
        const accel__wandb_metric_t *metric = &summary->metrics[i];
        if (metric->num_points) {
            history.total++;
            collect(&history, metric->key, sparkline(metric));
        }
        if (is_shown(metric->type)) {
            last.total++;
            collect(&last, metric->key, shown_value(metric));
        } else if (last.count == MAX_LINES) {
            last.total++; /* stock's count of the rest takes in what it would not show */
        }
    }
    print_grid(&history, "Run history:", console);
    print_grid(&last, "Run summary:", console);
    if (history.count || last.count)
        accel__wandb_say(console, "%s", "");
}
