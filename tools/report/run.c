/* SPDX-License-Identifier: Apache-2.0 */
/* A run, and its series. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* ---- tables ---- */

void table_add_row(table_t *table, double step, double seconds)
{
    size_t capacity = table->row_capacity;

    table->steps = grow(table->steps, table->num_rows, &capacity, sizeof(*table->steps));
    table->seconds =
        grow(table->seconds, table->num_rows, &table->row_capacity, sizeof(*table->seconds));
    table->steps[table->num_rows] = step;
    table->seconds[table->num_rows] = seconds;
    table->num_rows++;
}

static series_t *find_series(table_t *table, const char *name)
{
    json_t *place;
    series_t *series;

    if (!table->index)
        table->index = need_json(json_object());
    place = json_object_get(table->index, name);
    if (place)
        return &table->series[json_integer_value(place)];
    table->series =
        grow(table->series, table->num_series, &table->series_capacity, sizeof(*table->series));
    series = &table->series[table->num_series];
    *series = (series_t){.name = need(strdup(name))};
    json_object_set_new(table->index, name, json_integer((json_int_t)table->num_series++));
    return series;
}

void table_add_value(table_t *table, const char *name, double value)
{
    series_t *series = find_series(table, name);
    uint32_t row = (uint32_t)table->num_rows - 1;
    size_t capacity = series->capacity;

    /* the last word on a row counts */
    if (series->count > 0 && series->rows[series->count - 1] == row)
        series->count--;
    series->rows = grow(series->rows, series->count, &capacity, sizeof(*series->rows));
    series->values = grow(series->values, series->count, &series->capacity, sizeof(double));
    series->rows[series->count] = row;
    series->values[series->count++] = value;
}

size_t table_points(const table_t *table)
{
    size_t points = 0;

    for (size_t i = 0; i < table->num_series; i++)
        points += table->series[i].count;
    return points;
}

/* Of the values first..end: the lowest, the highest and the first that is no number, in order,
 * moved to `kept`. Returns the count then kept. */
static size_t keep_extremes(series_t *series, size_t first, size_t end, size_t kept)
{
    size_t low = end, high = end, odd = end;

    for (size_t i = first; i < end; i++) {
        double value = series->values[i];

        if (!isfinite(value)) {
            odd = odd < end ? odd : i;
            continue;
        }
        if (low == end || value < series->values[low])
            low = i;
        if (high == end || value > series->values[high])
            high = i;
    }
    for (size_t i = first; i < end; i++) {
        if (i != low && i != high && i != odd)
            continue;
        series->rows[kept] = series->rows[i];
        series->values[kept++] = series->values[i];
    }
    return kept;
}

static void thin_out(series_t *series, size_t limit)
{
    size_t count = series->count, stretches = limit / 2, kept = 1;

    if (count <= limit)
        return;
    /* the first and the last value stay, whatever they are */
    for (size_t i = 0; i < stretches; i++) {
        size_t first = 1 + (count - 2) * i / stretches;
        size_t end = 1 + (count - 2) * (i + 1) / stretches;

        kept = keep_extremes(series, first, end, kept);
    }
    series->rows[kept] = series->rows[count - 1];
    series->values[kept++] = series->values[count - 1];
    series->count = kept;
}

void table_thin_out(table_t *table, size_t limit)
{
    for (size_t i = 0; i < table->num_series; i++)
        thin_out(&table->series[i], limit);
}

/* ---- tables as JSON ---- */

static json_t *number_json(double number)
{
    if (isnan(number))
        return json_string("NaN");
    if (isinf(number))
        return json_string(number < 0 ? "-Infinity" : "Infinity");
    if (number == floor(number) && fabs(number) < 1e15)
        return json_integer((json_int_t)number);
    return json_real(number);
}

static json_t *position_json(double position)
{
    return isnan(position) ? json_null() : number_json(position);
}

static json_t *rows_json(const table_t *table, const series_t *series)
{
    json_t *steps = need_json(json_array()), *times = need_json(json_array());

    for (size_t i = 0; i < series->count; i++) {
        uint32_t row = series->rows[i];

        json_array_append_new(steps, need_json(position_json(table->steps[row])));
        json_array_append_new(times,
                              need_json(position_json(round(table->seconds[row] * 1e3) / 1e3)));
    }
    return need_json(json_pack("{s:o,s:o}", "step", steps, "time", times));
}

/* Metrics are mostly logged together: the rows of an earlier series, or NULL. */
static const series_t *same_rows(const table_t *table, size_t place)
{
    const series_t *series = &table->series[place];
    size_t first = place > 64 ? place - 64 : 0;

    for (const series_t *other = table->series + first; other < series; other++)
        if (other->count == series->count &&
            memcmp(other->rows, series->rows, series->count * sizeof(*series->rows)) == 0)
            return other;
    return NULL;
}

static json_t *values_json(const series_t *series)
{
    json_t *values = need_json(json_array());

    for (size_t i = 0; i < series->count; i++)
        json_array_append_new(values, need_json(number_json(series->values[i])));
    return values;
}

json_t *table_json(const table_t *table)
{
    json_t *rows = need_json(json_array()), *metrics = need_json(json_object());
    size_t *place = need(calloc(table->num_series + 1, sizeof(*place)));

    for (size_t i = 0; i < table->num_series; i++) {
        const series_t *series = &table->series[i], *same = same_rows(table, i);

        place[i] = same ? place[same - table->series] : json_array_size(rows);
        if (!same)
            json_array_append_new(rows, rows_json(table, series));
        json_object_set_new(metrics, series->name,
                            need_json(json_pack("{s:I,s:o}", "rows", (json_int_t)place[i], "values",
                                                values_json(series))));
    }
    free(place);
    return need_json(json_pack("{s:o,s:o}", "rows", rows, "metrics", metrics));
}

static void table_free(table_t *table)
{
    for (size_t i = 0; i < table->num_series; i++) {
        free(table->series[i].name);
        free(table->series[i].rows);
        free(table->series[i].values);
    }
    free(table->series);
    free(table->steps);
    free(table->seconds);
    json_decref(table->index);
}

/* ---- runs ---- */

bool run_read(run_t *run, const char *path, run_format_t format, char *why, size_t why_size)
{
    *run = (run_t){
        .facts = need_json(json_object()),
        .config = need_json(json_object()),
        .summary = need_json(json_object()),
        .environment = need_json(json_object()),
        .artifacts = need_json(json_array()),
        .media = need_json(json_object()),
        .figures = need_json(json_object()),
        .warnings = need_json(json_array()),
    };
    json_object_set_new(run->facts, "source", value_text(path, strlen(path)));
    if (format == RUN_WANDB)
        return wandb_read(run, path, why, why_size);
    return jsonl_read(run, path, why, why_size);
}

void run_free(run_t *run)
{
    json_decref(run->facts);
    json_decref(run->config);
    json_decref(run->summary);
    json_decref(run->environment);
    json_decref(run->artifacts);
    json_decref(run->media);
    json_decref(run->figures);
    free(run->files);
    json_decref(run->warnings);
    free(run->console.data);
    table_free(&run->history);
    table_free(&run->system);
}

void run_set_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(object, key, value_text(text, strlen(text)));
}

void run_warn(run_t *run, const char *format, ...)
{
    va_list arguments;
    char line[512];

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    json_array_append_new(run->warnings, value_text(line, strlen(line)));
}

void run_print(run_t *run, const char *text)
{
    text_t *console = &run->console;
    size_t size = strlen(text);

    if (size == 0)
        return;
    while (console->length + size > console->capacity)
        console->data = grow(console->data, console->capacity, &console->capacity, 1);
    memcpy(console->data + console->length, text, size);
    console->length += size;
}

void run_add_logged(run_t *run, const char *name, const json_t *value)
{
    const char *key, *type;
    json_t *item;
    double number;

    if (value_number(value, &number)) {
        table_add_value(&run->history, name, number);
        return;
    }
    if (!json_is_object(value))
        return;
    type = json_string_value(json_object_get(value, "_type"));
    if (type) {
        run_add_figure(run, name, value);
        return;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        size_t size = strlen(name) + strlen(key) + 2;
        char *path = need(malloc(size));

        snprintf(path, size, "%s.%s", name, key);
        run_add_logged(run, path, item);
        free(path);
    }
}
