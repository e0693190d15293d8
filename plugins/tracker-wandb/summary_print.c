/* SPDX-License-Identifier: Apache-2.0 */
/* The last values and the sparklines that stock prints when a run ends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { MAX_LINES = 100, SPARK_WIDTH = 40 };

typedef struct {
    const char *key;
    char *value;
} line_t;

typedef struct {
    line_t lines[MAX_LINES];
    size_t count, total, limit;
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
    const char *json = metric->last.data;
    if (metric->type == ACCEL_TYPE_BOOL) {
        accel__wandb_text_puts(&text, json[0] == 't' ? "True" : "False");
    } else if (metric->type == ACCEL_TYPE_STRING) {
        const char *start = json + 1, *end = start;
        size_t length = strlen(start) - 1, shown = 0;
        for (; end < start + length && (shown < 20 || ((unsigned char)*end & 0xc0) == 0x80); end++)
            shown += ((unsigned char)*end & 0xc0) != 0x80;
        accel__wandb_text_append(&text, start, (size_t)(end - start));
        if (shown >= 20)
            accel__wandb_text_puts(&text, "...");
    } else if (!strpbrk(json, ".eIN")) {
        accel__wandb_text_puts(&text, strcmp(json, "-0") ? json : "0");
    } else if (strpbrk(json, "IN")) {
        accel__wandb_text_puts(&text, json[0] == 'N' ? "nan" : json[0] == '-' ? "-inf" : "inf");
    } else {
        char rounded[400];
        snprintf(rounded, sizeof(rounded), "%.5f", strtod(json, NULL));
        accel__wandb_json_number(&text, strtod(rounded, NULL), ACCEL__WANDB_JSON_SHOWN);
    }
    return text.data;
}

static void collect(grid_t *grid, const char *key, char *value)
{
    if (!value)
        return;
    if (grid->count == grid->limit) {
        free(value);
        return;
    }
    grid->lines[grid->count++] = (line_t){key, value};
}

static bool is_shown(accel_type_t type)
{
    return type == ACCEL_TYPE_INT || type == ACCEL_TYPE_UINT || type == ACCEL_TYPE_FLOAT ||
           type == ACCEL_TYPE_BOOL || type == ACCEL_TYPE_STRING;
}

static bool is_nested(const accel__wandb_metric_t *metric)
{
    return strchr(metric->path, ACCEL__WANDB_SEPARATOR);
}

/* Two values of one dictionary are one line, or would be. */
static bool same_dictionary(const accel__wandb_metric_t *a, const accel__wandb_metric_t *b)
{
    size_t length = strcspn(a->path, "\x1f");
    return is_nested(a) && is_nested(b) && strcspn(b->path, "\x1f") == length &&
           !memcmp(a->path, b->path, length);
}

static bool is_tracked(const accel__wandb_metric_t *metric)
{
    return metric->summary & ~(unsigned)ACCEL__WANDB_COPY;
}

static bool is_there(const accel__wandb_metric_t *metric)
{
    return metric->type != ACCEL_TYPE_END && metric->type != ACCEL_TYPE_NULL &&
           !(metric->summary & ACCEL__WANDB_NONE);
}

static size_t limit_of(double setting)
{
    return setting < MAX_LINES ? (size_t)setting : MAX_LINES;
}

void accel__wandb_summary_print(const accel__wandb_summary_t *summary,
                                const accel__wandb_settings_t *settings,
                                const accel__wandb_console_t *console)
{
    grid_t history = {.limit = limit_of(settings->max_end_of_run_history_metrics)};
    grid_t last = {.limit = limit_of(settings->max_end_of_run_summary_metrics)};
    if (console->silent || console->quiet)
        return;
    for (size_t i = 0; i < summary->count; i++) {
        const accel__wandb_metric_t *metric = summary->metrics[i];
        if (*metric->path == '_')
            continue;
        if (metric->num_points && !is_nested(metric)) {
            history.total++;
            collect(&history, metric->path, sparkline(metric));
        }
        if (!is_nested(metric) && !is_tracked(metric) && is_shown(metric->type)) {
            last.total++;
            collect(&last, metric->path, shown_value(metric));
        } else if (last.count == last.limit && is_there(metric) &&
                   !(i && same_dictionary(metric, summary->metrics[i - 1]))) {
            last.total++; /* stock's count of the rest takes in what it would not show */
        }
    }
    print_grid(&history, "Run history:", console);
    print_grid(&last, "Run summary:", console);
    if (history.count || last.count)
        accel__wandb_say(console, "%s", "");
}
