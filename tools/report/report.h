/* SPDX-License-Identifier: Apache-2.0 */
/* accel-report: what a page shows of a run, and the parts that fill it.
 *
 *     find.c     which runs a name on the command line stands for
 *     framing.c  records out of the bytes of a .wandb log
 *     wandb.c    a .wandb log into a run
 *     jsonl.c    a run's folder of JSON lines into a run
 *     run.c      the run itself; series and how they are thinned out
 *     media.c    images, sound, histograms and tables
 *     value.c    JSON and text from outside
 *     page.c     runs into one HTML file
 */
#ifndef ACCEL_TOOLS_REPORT_H
#define ACCEL_TOOLS_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- series ---- */

/* One metric: values at rows of its table. */
typedef struct series {
    char *name;
    size_t count, capacity;
    uint32_t *rows;
    double *values;
} series_t;

/* Rows that were logged, and the metrics logged in them. */
typedef struct table {
    size_t num_rows, row_capacity;
    double *steps;   /* NAN: not known */
    double *seconds; /* since the run's start; NAN: not known */
    size_t num_series, series_capacity;
    series_t *series;
    json_t *index; /* name: place in series */
} table_t;

/* Later values belong to this row. */
void table_add_row(table_t *table, double step, double seconds);
/* In the row added last. */
void table_add_value(table_t *table, const char *name, double value);
/* Keep at most about `limit` values of each metric: of each stretch the lowest and the highest. */
void table_thin_out(table_t *table, size_t limit);
size_t table_points(const table_t *table);
/* {"rows": [{"step": [...], "time": [...]}], "metrics": {NAME: {"rows": place, "values": [...]}}}
 */
json_t *table_json(const table_t *table);

/* ---- runs ---- */

typedef enum run_format { RUN_WANDB, RUN_JSONL } run_format_t;

typedef struct text {
    char *data;
    size_t length, capacity;
} text_t;

typedef struct run {
    json_t *facts;       /* id, name, project, state, ... */
    json_t *config;      /* object */
    json_t *summary;     /* object */
    json_t *environment; /* object */
    json_t *artifacts;   /* array */
    json_t *media;       /* {key: type}: all that was logged */
    json_t *figures;     /* {key: {"step", "value"}}: the last of each */
    char *files;         /* the folder that media's paths begin in; NULL: there is none */
    size_t embedded;     /* bytes of files that go into the page */
    json_t *warnings;    /* array of text: what could not be read */
    text_t console;
    table_t history, system;
    double started; /* seconds since 1970; 0: not known */
} run_t;

/* Read a run. False: not a run at all, `why` says the reason. What is damaged in a run is skipped
 * and told in run->warnings. */
bool run_read(run_t *run, const char *path, run_format_t format, char *why, size_t why_size);
bool wandb_read(run_t *run, const char *path, char *why, size_t why_size);
bool jsonl_read(run_t *run, const char *path, char *why, size_t why_size);
void run_free(run_t *run);

void run_set_text(json_t *object, const char *key, const char *text); /* not if NULL or empty */
void run_warn(run_t *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_print(run_t *run, const char *text); /* console */
/* An object with "_type", of the row that was added last. */
void run_add_figure(run_t *run, const char *name, const json_t *value);
/* What can be shown, with the bytes of its files: {key: {"step", "files": [{"src", "caption"}]}, or
 * "counts" and "edges", or "columns" and "rows"; "more"}. Once. */
json_t *run_figures(run_t *run);
/* Of a logged row: numbers become points, dictionaries `a.b`, media a mention. */
void run_add_logged(run_t *run, const char *name, const json_t *value);

/* ---- values from outside ---- */

/* JSON as the trackers write it: NaN and the infinities may be bare words, which become text.
 * What is no JSON becomes text as it stands. Never NULL. */
json_t *value_parse(const char *text, size_t size);
/* The same, but NULL for what is no JSON. */
json_t *value_parse_strictly(const char *text, size_t size);
/* Text whose bytes may be anything. Never NULL. */
json_t *value_text(const char *text, size_t size);
/* A number, a truth value, or the text NaN, Infinity, -Infinity. */
bool value_number(const json_t *value, double *number);

/* ---- files ---- */

typedef struct source {
    char *path;
    run_format_t format;
    bool named; /* on the command line, not found in a folder */
} source_t;

typedef struct sources {
    source_t *items;
    size_t count, capacity;
} sources_t;

/* Add the runs that `name` stands for. False: there is none, and a line was printed. */
bool sources_find(sources_t *sources, const char *name);
void sources_free(sources_t *sources);

/* A whole file in memory, or false with errno. */
typedef struct mapping {
    const unsigned char *data;
    size_t size;
} mapping_t;

bool mapping_open(mapping_t *mapping, const char *path);
void mapping_close(mapping_t *mapping);

/* ---- the page ---- */

bool page_begin(FILE *file);
bool page_add_run(FILE *file, run_t *run);
bool page_end(FILE *file);

/* ---- memory ---- */

/* The pointer, or the end of the program with a line. */
void *need(void *pointer);
json_t *need_json(json_t *value);
/* Room for one more item. */
void *grow(void *items, size_t count, size_t *capacity, size_t item_size);

#endif
