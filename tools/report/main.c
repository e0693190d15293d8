/* SPDX-License-Identifier: Apache-2.0 */
/* accel-report OUTPUT RUN...: what `accel report` runs. It is a program of its own, so that the
 * tool needs neither protobuf-c nor zlib. OUTPUT "-" is standard output. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "tool.h"

/* Points that a page may hold: some 20 MB. One metric of one run has at most SERIES_POINTS. */
enum { PAGE_POINTS = 1000000, SERIES_POINTS = 20000, SERIES_POINTS_MIN = 200 };

typedef struct runs {
    run_t *items;
    size_t count;
} runs_t;

/* ---- reading ---- */

static void tell_warnings(const run_t *run, const char *path)
{
    json_t *warning;
    size_t i;

    json_array_foreach(run->warnings, i, warning)
    {
        tool_say("report", "warning: %s: %s", path, json_string_value(warning));
    }
}

static bool read_runs(runs_t *runs, const sources_t *sources)
{
    runs->items = need(calloc(sources->count + 1, sizeof(*runs->items)));
    for (size_t i = 0; i < sources->count; i++) {
        const source_t *source = &sources->items[i];
        run_t *run = &runs->items[runs->count];
        char why[256];

        if (run_read(run, source->path, source->format, why, sizeof(why))) {
            tell_warnings(run, source->path);
            table_thin_out(&run->history, SERIES_POINTS);
            table_thin_out(&run->system, SERIES_POINTS);
            runs->count++;
            continue;
        }
        run_free(run);
        tool_say("report", "%s%s: %s", source->named ? "" : "warning: ", source->path, why);
        if (source->named)
            return false;
    }
    if (runs->count == 0)
        tool_say("report", "none of these runs can be read");
    return runs->count > 0;
}

/* Many runs with many metrics get fewer points each. */
static void fit_page(runs_t *runs)
{
    size_t points = 0, series = 0, limit;

    for (size_t i = 0; i < runs->count; i++) {
        points += table_points(&runs->items[i].history) + table_points(&runs->items[i].system);
        series += runs->items[i].history.num_series + runs->items[i].system.num_series;
    }
    if (points <= PAGE_POINTS)
        return;
    limit = PAGE_POINTS / series;
    if (limit < SERIES_POINTS_MIN)
        limit = SERIES_POINTS_MIN;
    for (size_t i = 0; i < runs->count; i++) {
        table_thin_out(&runs->items[i].history, limit);
        table_thin_out(&runs->items[i].system, limit);
    }
}

/* ---- writing ---- */

static bool write_page(FILE *file, runs_t *runs)
{
    bool good = page_begin(file);

    for (size_t i = 0; i < runs->count && good; i++)
        good = page_add_run(file, &runs->items[i]);
    return good && page_end(file) && fflush(file) == 0;
}

/* Whole or absent: written aside, then renamed. */
static bool replace_file(const char *path, runs_t *runs)
{
    size_t size = strlen(path) + 16;
    char *aside = need(malloc(size));
    mode_t mask = umask(0);
    FILE *file = NULL;
    bool good;
    int fd;

    umask(mask);
    snprintf(aside, size, "%s.XXXXXX", path);
    fd = mkstemp(aside);
    if (fd >= 0)
        file = fdopen(fd, "w");
    if (!file) {
        tool_say("report", "%s: cannot write: %s", path, strerror(errno));
        free(aside);
        return false;
    }
    good = write_page(file, runs) && fchmod(fd, 0666 & ~mask) == 0;
    good = fclose(file) == 0 && good && rename(aside, path) == 0;
    if (!good) {
        tool_say("report", "%s: cannot write: %s", path, strerror(errno));
        unlink(aside);
    }
    free(aside);
    return good;
}

/* A pipe or a device cannot be replaced. */
static bool write_in_place(const char *path, runs_t *runs)
{
    FILE *file = fopen(path, "w");
    bool good = file && write_page(file, runs);

    if (file)
        good = fclose(file) == 0 && good;
    if (!good)
        tool_say("report", "%s: cannot write: %s", path, strerror(errno));
    return good;
}

static bool put_page(const char *path, runs_t *runs)
{
    struct stat status;
    bool good;

    if (strcmp(path, "-") == 0) {
        good = write_page(stdout, runs);
        if (!good)
            tool_say("report", "cannot write to standard output");
        return good;
    }
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        good = write_in_place(path, runs);
    else
        good = replace_file(path, runs);
    if (good)
        printf("%s\n", path);
    return good;
}

int main(int argc, char **argv)
{
    sources_t sources = {0};
    runs_t runs = {0};
    bool good = argc > 2;

    if (!good)
        tool_say("report", "usage: accel-report OUTPUT RUN...");
    for (int i = 2; i < argc && good; i++)
        good = sources_find(&sources, argv[i]);
    good = good && read_runs(&runs, &sources);
    if (good) {
        fit_page(&runs);
        good = put_page(argv[1], &runs);
    }
    for (size_t i = 0; i < runs.count; i++)
        run_free(&runs.items[i]);
    free(runs.items);
    sources_free(&sources);
    return good ? tool_finish("report") : TOOL_FAILED;
}
