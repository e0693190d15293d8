/* SPDX-License-Identifier: Apache-2.0 */
/* accelerator.profile(): a schedule of steps, the spans of one stretch of them, and what is made
 * of these: a Chrome trace, a table. */
#include <accel/profile.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accelerator/accelerator.h"
#include "base/span.h"

#define DEFAULT_MAX_EVENTS 1000000
#define STEP_NAME "ProfilerStep"

/* What torch.profiler does in a step. */
typedef enum action { ACTION_NONE, ACTION_WARMUP, ACTION_RECORD, ACTION_RECORD_AND_SAVE } action_t;

struct accel_profile {
    accel_t *accelerator; /* borrowed; NULL: a process alone */
    accel_profile_options_t options;
    char *output_trace_dir;
    accel__spans_t spans;
    action_t action;
    int64_t step;
    uint64_t step_began, stretch_began, stretch_ended; /* ended 0: under way */
    accel__text_t table;
};

/* ---- the schedule ---- */

static action_t action_of(const accel_profile_options_t *options, int64_t step)
{
    int64_t cycle = options->wait + options->warmup + options->active, at;

    if (options->active == 0)
        return ACTION_RECORD;
    if (step < options->skip_first)
        return ACTION_NONE;
    step -= options->skip_first;
    if (options->repeat > 0 && step / cycle >= options->repeat)
        return ACTION_NONE;
    at = step % cycle;
    if (at < options->wait)
        return ACTION_NONE;
    if (at < options->wait + options->warmup)
        return ACTION_WARMUP;
    return at == cycle - 1 ? ACTION_RECORD_AND_SAVE : ACTION_RECORD;
}

static bool records(action_t action)
{
    return action == ACTION_RECORD || action == ACTION_RECORD_AND_SAVE;
}

static void begin_stretch(accel_profile_t *profile, uint64_t now)
{
    profile->spans.count = 0;
    profile->spans.dropped = 0;
    profile->spans.recording = true;
    profile->stretch_began = now;
    profile->stretch_ended = 0;
}

static void end_stretch(accel_profile_t *profile, uint64_t now)
{
    profile->spans.recording = false;
    profile->stretch_ended = now;
    if (profile->options.on_trace_ready)
        profile->options.on_trace_ready(profile->options.context, profile);
}

/* ---- begin, step, end ---- */

static accel_status_t check(const accel_profile_options_t *options)
{
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{"skip_first", options->skip_first}, {"wait", options->wait},
                  {"warmup", options->warmup},         {"active", options->active},
                  {"repeat", options->repeat},         {"max_events", options->max_events}};

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        if (counts[i].value < 0)
            return accel__fail(ACCEL_ERR_INVALID,
                               "accel_profile_begin: %s is %" PRId64 "; expected 0 or more",
                               counts[i].name, counts[i].value);
    if (options->active == 0 && (options->wait > 0 || options->warmup > 0 || options->repeat > 0 ||
                                 options->skip_first > 0))
        return accel__fail(ACCEL_ERR_INVALID, "accel_profile_begin: a schedule needs active >= 1");
    return ACCEL_OK;
}

static void release(accel_profile_t *profile)
{
    free(profile->spans.spans);
    free(profile->output_trace_dir);
    accel__text_free(&profile->table);
    free(profile);
}

accel_status_t accel_profile_begin(accel_t *accelerator, const accel_profile_options_t *options,
                                   accel_profile_t **profile)
{
    accel_profile_options_t read = {0};
    accel_profile_t *made;
    accel_status_t status;

    if (!profile)
        return accel__fail(ACCEL_ERR_INVALID, "accel_profile_begin: profile is NULL");
    *profile = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_profile_begin: options");
    if (status == ACCEL_OK)
        status = check(&read);
    if (status != ACCEL_OK)
        return status;
    made = calloc(1, sizeof(*made));
    if (made)
        made->output_trace_dir = accel__strdup(read.output_trace_dir);
    if (!made || (read.output_trace_dir && !made->output_trace_dir)) {
        free(made);
        return accel__fail_memory("a profile", sizeof(*made));
    }
    made->accelerator = accelerator;
    made->options = read;
    made->spans.limit = (size_t)(read.max_events ? read.max_events : DEFAULT_MAX_EVENTS);
    if (!accel__spans_attach(&made->spans)) {
        release(made);
        return accel__fail(ACCEL_ERR_STATE, "accel_profile_begin: this thread is being profiled "
                                            "already; end that profile first");
    }
    made->step_began = accel__clock_ns();
    made->action = action_of(&read, 0);
    if (records(made->action))
        begin_stretch(made, made->step_began);
    *profile = made;
    return ACCEL_OK;
}

accel_status_t accel_profile_step(accel_profile_t *profile)
{
    uint64_t now = accel__clock_ns();
    action_t before;

    if (!profile)
        return accel__fail(ACCEL_ERR_INVALID, "accel_profile_step: profile is NULL");
    accel__spans_add(&profile->spans, STEP_NAME, profile->step_began, now);
    before = profile->action;
    profile->action = action_of(&profile->options, ++profile->step);
    if (before == ACTION_RECORD_AND_SAVE)
        end_stretch(profile, now);
    profile->step_began = accel__clock_ns();
    if (records(profile->action) && (before == ACTION_RECORD_AND_SAVE || !records(before)))
        begin_stretch(profile, profile->step_began);
    return ACCEL_OK;
}

static accel_status_t export_to_dir(accel_profile_t *profile)
{
    accel__text_t path = {0};
    accel_status_t status = accel__make_dirs(profile->output_trace_dir);

    accel__text_appendf(&path, "%s/profile_%d.json", profile->output_trace_dir,
                        (int)accel_process_index(profile->accelerator));
    if (status == ACCEL_OK && path.failed)
        status = accel__fail_memory("a trace's name", path.length);
    if (status == ACCEL_OK)
        status = accel_profile_export_chrome_trace(profile, path.data);
    accel__text_free(&path);
    return status;
}

accel_status_t accel_profile_end(accel_profile_t *profile)
{
    accel_status_t status = ACCEL_OK;

    if (!profile)
        return ACCEL_OK;
    accel__spans_attach(NULL);
    if (profile->spans.recording)
        end_stretch(profile, accel__clock_ns());
    if (profile->output_trace_dir) {
        status = export_to_dir(profile);
        if (profile->accelerator)
            status =
                accel__comm_agree(profile->accelerator->state.comm, "accel_profile_end", status);
    }
    release(profile);
    return status;
}

void accel_record_function_begin(const char *name)
{
    accel__span_begin(name);
}

void accel_record_function_end(void)
{
    accel__span_end();
}

/* ---- the trace ---- */

/* JSON's text without the characters that would need an escape. */
static void put_name(FILE *file, const char *name)
{
    for (; *name; name++)
        fputc((unsigned char)*name < ' ' || *name == '"' || *name == '\\' ? '_' : *name, file);
}

static void put_event(FILE *file, const accel__span_t *span, int rank)
{
    fputs(",\n{\"ph\":\"X\",\"cat\":\"accel\",\"name\":\"", file);
    put_name(file, span->name);
    fprintf(file, "\",\"pid\":%d,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f}", rank,
            (double)span->begin / 1e3, (double)(span->end - span->begin) / 1e3);
}

static void put_trace(FILE *file, const accel_profile_t *profile)
{
    int rank = (int)accel_process_index(profile->accelerator);

    fprintf(file,
            "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"dropped\":%zu},\"traceEvents\":[\n"
            "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"rank %d\"}}",
            profile->spans.dropped, rank, rank);
    for (size_t i = 0; i < profile->spans.count; i++)
        put_event(file, &profile->spans.spans[i], rank);
    fputs("\n]}\n", file);
}

accel_status_t accel_profile_export_chrome_trace(accel_profile_t *profile, const char *path)
{
    FILE *file;
    bool good;

    if (!profile || !path)
        return accel__fail(ACCEL_ERR_INVALID, "accel_profile_export_chrome_trace: %s is NULL",
                           profile ? "path" : "profile");
    file = fopen(path, "w");
    if (!file)
        return accel__fail_errno(ACCEL_ERR_IO, "%s", path);
    put_trace(file, profile);
    good = fflush(file) == 0 && !ferror(file);
    if (fclose(file) != 0 || !good)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: the trace could not be written", path);
    return ACCEL_OK;
}

/* ---- the table ---- */

typedef struct row {
    const char *name;
    size_t calls;
    uint64_t total, longest;
} row_t;

static int by_total(const void *a, const void *b)
{
    uint64_t left = ((const row_t *)a)->total, right = ((const row_t *)b)->total;

    return left < right ? 1 : left > right ? -1 : 0;
}

static row_t *find_row(row_t *rows, size_t *count, size_t limit, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (rows[i].name == name || strcmp(rows[i].name, name) == 0)
            return &rows[i];
    if (*count == limit)
        return NULL;
    rows[*count] = (row_t){.name = name};
    return &rows[(*count)++];
}

#define MAX_ROWS 256

static size_t sum_up(const accel__spans_t *spans, row_t rows[MAX_ROWS])
{
    size_t count = 0;

    for (size_t i = 0; i < spans->count; i++) {
        const accel__span_t *span = &spans->spans[i];
        row_t *row = find_row(rows, &count, MAX_ROWS, span->name);
        uint64_t time = span->end - span->begin;

        if (!row)
            continue;
        row->calls++;
        row->total += time;
        row->longest = time > row->longest ? time : row->longest;
    }
    qsort(rows, count, sizeof(*rows), by_total);
    return count;
}

const char *accel_profile_table(accel_profile_t *profile)
{
    row_t rows[MAX_ROWS];
    size_t count;
    uint64_t end;
    double whole;

    if (!profile)
        return "";
    count = sum_up(&profile->spans, rows);
    end = profile->stretch_ended ? profile->stretch_ended : accel__clock_ns();
    whole = end > profile->stretch_began ? (double)(end - profile->stretch_began) : 1;
    accel__text_free(&profile->table);
    accel__text_appendf(&profile->table, "%-24s %10s %7s %12s %12s %12s\n", "name", "calls", "%",
                        "total ms", "average us", "longest us");
    for (size_t i = 0; i < count; i++)
        accel__text_appendf(
            &profile->table, "%-24.24s %10zu %6.1f%% %12.3f %12.3f %12.3f\n", rows[i].name,
            rows[i].calls, 100 * (double)rows[i].total / whole, (double)rows[i].total / 1e6,
            (double)rows[i].total / 1e3 / (double)rows[i].calls, (double)rows[i].longest / 1e3);
    if (profile->spans.dropped > 0)
        accel__text_appendf(&profile->table, "%zu spans did not fit in (max_events)\n",
                            profile->spans.dropped);
    return profile->table.data ? profile->table.data : "";
}
