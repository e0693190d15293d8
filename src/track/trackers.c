/* SPDX-License-Identifier: Apache-2.0 */
/* The trackers of one accelerator: who they are, who runs here, and the way of a row. */
#include "track/media.h"
#include "track/tracker.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum phase { PHASE_CREATED, PHASE_RUNNING, PHASE_FINISHED } phase_t;

struct accel__trackers {
    accel_tracker_t *trackers;
    size_t count, opened;
    bool any_here;
    bool sync;
    bool without_project; /* init may do without a project's name */
    char *names;          /* of log_with, separated by ", " */
    char *logging_dir;
    int32_t process_index, num_processes;
    atomic_int phase;
    unsigned process_mark;     /* of the process that called init */
    accel__journal_t *journal; /* NULL: nothing journaled runs here, or sync */
};

/* It has neither the journal's thread nor a right to the trackers' files. */
static bool is_forked_child(const accel__trackers_t *trackers)
{
    return accel__process_mark() != trackers->process_mark;
}

/* ---- log_with ---- */

/* The names of log_with, each once, separated by commas. */
static accel_status_t parse_names(const char *log_with, accel__text_t *names)
{
    const char *at = log_with;

    while (at) {
        const char *end = at + strcspn(at, ","), *next = *end ? end + 1 : NULL;
        char name[ACCEL__TRACKER_NAME_MAX + 1];

        while (at < end && isspace((unsigned char)*at))
            at++;
        while (end > at && isspace((unsigned char)end[-1]))
            end--;
        snprintf(name, sizeof(name), "%.*s", (int)(end - at), at);
        if ((size_t)(end - at) >= sizeof(name) || !accel__tracker_name_valid(name))
            return accel__fail(ACCEL_ERR_INVALID,
                               "log_with is '%s'; expected names of trackers, separated by commas",
                               log_with);
        if (names->length)
            accel__text_append(names, ",", 1);
        if (strcmp(name, "all") == 0)
            accel__tracker_append_all(names);
        else
            accel__text_appendf(names, "%s", name);
        at = next;
    }
    return names->failed ? accel__fail_memory("the trackers' names", names->length) : ACCEL_OK;
}

static accel_tracker_t *find(const accel__trackers_t *trackers, const char *name)
{
    for (size_t i = 0; i < trackers->opened; i++)
        if (strcmp(trackers->trackers[i].slots.name, name) == 0)
            return &trackers->trackers[i];
    return NULL;
}

static accel_status_t open_tracker(accel__trackers_t *trackers, const char *name)
{
    accel_tracker_class_t tracker_class;
    bool main_process = trackers->process_index == 0, here;
    accel_status_t status = accel__tracker_class_find(name, main_process, &tracker_class);

    if (status != ACCEL_OK)
        return status;
    if (tracker_class.requires_logging_directory && !trackers->logging_dir)
        return accel__fail(ACCEL_ERR_INVALID,
                           "tracker '%s' writes files and needs a directory: set .logging_dir or "
                           ".project_dir in the options of accel_create()",
                           name);
    here = main_process || tracker_class.every_process;
    accel__tracker_open(&trackers->trackers[trackers->opened], trackers, &tracker_class, here);
    trackers->opened++;
    trackers->any_here = trackers->any_here || here;
    return ACCEL_OK;
}

static accel_status_t open_trackers(accel__trackers_t *trackers, char *names)
{
    accel__text_t listed = {0};
    accel_status_t status = ACCEL_OK;

    for (const char *c = names; *c; c++)
        trackers->count += *c == ',';
    trackers->count++;
    trackers->trackers = calloc(trackers->count, sizeof(*trackers->trackers));
    if (!trackers->trackers)
        return accel__fail_memory("trackers", trackers->count * sizeof(*trackers->trackers));
    while (names && status == ACCEL_OK) {
        char *comma = strchr(names, ',');

        if (comma)
            *comma = '\0';
        if (!find(trackers, names)) {
            status = open_tracker(trackers, names);
            accel__text_appendf(&listed, "%s%s", listed.length ? ", " : "", names);
        }
        names = comma ? comma + 1 : NULL;
    }
    trackers->names = listed.data;
    if (status == ACCEL_OK && listed.failed)
        status = accel__fail_memory("the trackers' names", listed.length);
    return status;
}

/* ---- create and destroy ---- */

static accel_status_t parse_journal(const char *journal, bool *sync)
{
    const char *what = "journal";

    if (!journal) {
        journal = accel__env("ACCEL_JOURNAL");
        what = "ACCEL_JOURNAL";
    }
    *sync = journal && strcmp(journal, "sync") == 0;
    if (!journal || *sync || strcmp(journal, "async") == 0)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "%s is '%s'; expected async or sync", what, journal);
}

static bool is_blank(const char *text)
{
    return !text || text[strspn(text, " \t\r\n")] == '\0';
}

static accel_status_t set_up(accel__trackers_t *trackers, const accel__trackers_options_t *options)
{
    accel_status_t status = parse_journal(options->journal, &trackers->sync);
    accel__text_t names = {0};

    if (status != ACCEL_OK || is_blank(options->log_with))
        return status;
    trackers->logging_dir = accel__strdup(options->logging_dir);
    if (options->logging_dir && !trackers->logging_dir)
        return accel__fail_memory("the logging directory's name", strlen(options->logging_dir));
    status = parse_names(options->log_with, &names);
    if (status == ACCEL_OK)
        status = open_trackers(trackers, names.data);
    accel__text_free(&names);
    return status;
}

accel_status_t accel__trackers_create(const accel__trackers_options_t *options,
                                      accel__trackers_t **trackers)
{
    accel__trackers_t *made = calloc(1, sizeof(*made));
    accel_status_t status;

    *trackers = NULL;
    if (!made)
        return accel__fail_memory("the trackers", sizeof(*made));
    made->process_index = options->process_index;
    made->num_processes = options->num_processes;
    made->without_project = options->without_project;
    atomic_init(&made->phase, PHASE_CREATED);
    status = set_up(made, options);
    if (status != ACCEL_OK) {
        accel__trackers_destroy(made);
        return status;
    }
    *trackers = made;
    return ACCEL_OK;
}

/* In a forked child the locks may be held by threads that are not there: leave all but the
 * plain memory alone. */
static void release(accel__trackers_t *trackers, bool own)
{
    if (own) {
        accel__journal_destroy(trackers->journal);
        for (size_t i = 0; i < trackers->opened; i++)
            accel__tracker_close(&trackers->trackers[i]);
    }
    free(trackers->trackers);
    free(trackers->names);
    free(trackers->logging_dir);
    free(trackers);
}

void accel__trackers_destroy(accel__trackers_t *trackers)
{
    bool started;

    if (!trackers)
        return;
    started = atomic_load(&trackers->phase) != PHASE_CREATED;
    if (accel__trackers_finish(trackers, 1) != ACCEL_OK)
        accel__log(ACCEL_LOG_ERROR, "%s", accel_last_error());
    release(trackers, !(started && is_forked_child(trackers)));
}

/* ---- init ---- */

static accel_status_t check_init_kwargs(const accel__trackers_t *trackers,
                                        const accel_item_t *init_kwargs)
{
    accel_status_t status = accel__dict_check(init_kwargs, "init_kwargs");
    char suggestion[2 * ACCEL__TRACKER_NAME_MAX];

    for (const accel_item_t *item = init_kwargs;
         status == ACCEL_OK && item && item->type != ACCEL_TYPE_END; item++) {
        if (!find(trackers, item->key) && !accel__tracker_known(item->key)) {
            accel__tracker_suggest(item->key, suggestion, sizeof(suggestion));
            status = accel__fail(ACCEL_ERR_INVALID, "init_kwargs: there is no tracker '%s'%s",
                                 item->key, suggestion);
        } else if (item->type != ACCEL_TYPE_DICT && item->type != ACCEL_TYPE_NULL) {
            status = accel__fail(ACCEL_ERR_INVALID,
                                 "init_kwargs: the value of '%s' is no dictionary: expected "
                                 "ACCEL_DICT(\"%s\", ACCEL_DICT(...))",
                                 item->key, item->key);
        }
    }
    return status;
}

static void deliver_row(void *context, const accel__journal_row_t *row)
{
    accel__trackers_t *trackers = context;

    for (size_t i = 0; i < trackers->opened; i++) {
        accel_tracker_t *tracker = &trackers->trackers[i];

        /* A failure is remembered, and reported, by the tracker; the others go on. */
        if (tracker->here && tracker->slots.journaled && (!row->target || row->target == tracker))
            (void)accel__tracker_deliver(tracker, row->values, row->step, row->timestamp, false);
    }
}

static void flush_trackers(void *context)
{
    accel__trackers_t *trackers = context;

    for (size_t i = 0; i < trackers->opened; i++)
        if (trackers->trackers[i].here && trackers->trackers[i].slots.journaled)
            (void)accel__tracker_flush(&trackers->trackers[i]);
}

static accel_status_t start_journal(accel__trackers_t *trackers)
{
    accel__journal_sink_t sink = {deliver_row, flush_trackers, trackers};
    bool needed = false;

    for (size_t i = 0; i < trackers->opened; i++)
        needed = needed || (trackers->trackers[i].here && trackers->trackers[i].slots.journaled);
    if (!needed || trackers->sync)
        return ACCEL_OK;
    return accel__journal_create(&sink, &trackers->journal);
}

static accel_status_t start_tracker(accel__trackers_t *trackers, accel_tracker_t *tracker,
                                    const char *project_name, const accel_item_t *config,
                                    const accel_item_t *init_kwargs)
{
    const accel_item_t *own = accel__dict_find(init_kwargs, tracker->slots.name);
    accel_tracker_init_t init = {
        .struct_size = sizeof(init),
        .project_name = project_name,
        .logging_dir = trackers->logging_dir,
        .init_kwargs = own && own->type == ACCEL_TYPE_DICT ? own->value.dict : NULL,
        .process_index = trackers->process_index,
        .num_processes = trackers->num_processes,
    };

    return accel__tracker_start(tracker, &init, config);
}

/* End what runs, keeping the text of the failure that made it necessary. */
static accel_status_t roll_back(accel__trackers_t *trackers, accel_status_t status)
{
    char text[512];

    snprintf(text, sizeof(text), "%s", accel_last_error());
    for (size_t i = 0; i < trackers->opened; i++)
        (void)accel__tracker_stop(&trackers->trackers[i], 1);
    accel__journal_destroy(trackers->journal);
    trackers->journal = NULL;
    return accel__fail(status, "%s", text);
}

accel_status_t accel__trackers_init(accel__trackers_t *trackers, const char *project_name,
                                    const accel_item_t *config, const accel_item_t *init_kwargs)
{
    accel_status_t status;

    if (atomic_load(&trackers->phase) != PHASE_CREATED)
        return accel__fail(ACCEL_ERR_STATE, "accel_init_trackers was called before");
    if (!trackers->without_project && (!project_name || !*project_name))
        return accel__fail(ACCEL_ERR_INVALID, "accel_init_trackers: expected a project's name");
    status = accel__dict_check(config, "config");
    if (status == ACCEL_OK)
        status = check_init_kwargs(trackers, init_kwargs);
    if (status != ACCEL_OK)
        return status;
    trackers->process_mark = accel__process_mark();
    status = start_journal(trackers);
    for (size_t i = 0; i < trackers->opened && status == ACCEL_OK; i++)
        if (trackers->trackers[i].here)
            status =
                start_tracker(trackers, &trackers->trackers[i], project_name, config, init_kwargs);
    if (status != ACCEL_OK)
        return roll_back(trackers, status);
    atomic_store(&trackers->phase, PHASE_RUNNING);
    return ACCEL_OK;
}

/* ---- while they run ---- */

accel_status_t accel__trackers_check_running(accel__trackers_t *trackers)
{
    switch (atomic_load(&trackers->phase)) {
    case PHASE_CREATED:
        return accel__fail(ACCEL_ERR_STATE, "accel_init_trackers() was not called yet");
    case PHASE_FINISHED:
        return accel__fail(ACCEL_ERR_STATE, "the trackers have ended");
    default:
        break;
    }
    if (is_forked_child(trackers))
        return accel__fail(ACCEL_ERR_STATE, "this process was forked from the one that runs the "
                                            "trackers: log there");
    return accel__tracker_check_caller();
}

void accel__trackers_drain(accel__trackers_t *trackers)
{
    if (trackers->journal)
        accel__journal_drain(trackers->journal);
}

static accel_status_t check_step(int64_t step)
{
    /* After the last number of all a tracker could not count on. */
    if ((step >= 0 && step < INT64_MAX) || step == ACCEL_NO_STEP)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_log: step is %lld; expected 0 or more, or ACCEL_NO_STEP",
                       (long long)step);
}

/* Rows for trackers that want them now. All are served; the first failure is the result. */
static accel_status_t deliver_now(accel__trackers_t *trackers, const accel__journal_row_t *row)
{
    accel_status_t first = ACCEL_OK;
    char text[512] = "";

    accel__media_retain(row->values);
    for (size_t i = 0; i < trackers->opened; i++) {
        accel_tracker_t *tracker = &trackers->trackers[i];
        accel_status_t status;

        if (!tracker->here || (row->target && row->target != tracker) ||
            (tracker->slots.journaled && trackers->journal))
            continue;
        status = accel__tracker_deliver(tracker, row->values, row->step, row->timestamp, true);
        if (status != ACCEL_OK && first == ACCEL_OK) {
            first = status;
            snprintf(text, sizeof(text), "%s", accel_last_error());
        }
    }
    accel__media_release(row->values);
    return first == ACCEL_OK ? ACCEL_OK : accel__fail(first, "%s", text);
}

accel_status_t accel__trackers_log_unchecked(accel__trackers_t *trackers, accel_tracker_t *only,
                                             const accel_item_t *values, int64_t step)
{
    static const accel_item_t nothing[] = {{.type = ACCEL_TYPE_END}};
    accel__journal_row_t row = {.target = only, .step = step, .values = values ? values : nothing};
    accel_status_t status = accel__row_check(values, "accel_log"), now;

    if (status == ACCEL_OK)
        status = accel__trackers_check_running(trackers);
    if (status != ACCEL_OK || !trackers->any_here || (only && !only->here))
        return status;
    row.timestamp = accel__clock_unix();
    if (trackers->journal && (!only || only->slots.journaled))
        status = accel__journal_append(trackers->journal, only, row.values, step, row.timestamp);
    now = deliver_now(trackers, &row);
    return status == ACCEL_OK ? now : status;
}

accel_status_t accel__trackers_log_to(accel__trackers_t *trackers, accel_tracker_t *only,
                                      const accel_item_t *values, int64_t step)
{
    accel_status_t status = check_step(step);

    return status == ACCEL_OK ? accel__trackers_log_unchecked(trackers, only, values, step)
                              : status;
}

accel_status_t accel__trackers_log(accel__trackers_t *trackers, const accel_item_t *values,
                                   int64_t step)
{
    accel_status_t status;

    if (trackers->opened == 0 || atomic_load(&trackers->phase) == PHASE_FINISHED)
        return ACCEL_OK;
    status = accel__trackers_log_to(trackers, NULL, values, step);
    /* Another thread ended the trackers while this one was on its way. */
    if (status == ACCEL_ERR_STATE && atomic_load(&trackers->phase) == PHASE_FINISHED)
        return ACCEL_OK;
    return status;
}

accel_tracker_t *accel__trackers_get(accel__trackers_t *trackers, const char *name)
{
    accel_tracker_t *tracker;
    char suggestion[2 * ACCEL__TRACKER_NAME_MAX] = "";

    if (!name) {
        accel__fail(ACCEL_ERR_INVALID, "accel_get_tracker: name is NULL");
        return NULL;
    }
    tracker = find(trackers, name);
    if (!tracker) {
        if (!accel__tracker_known(name)) /* else it is spelt right, and not asked for */
            accel__tracker_suggest(name, suggestion, sizeof(suggestion));
        accel__fail(ACCEL_ERR_NOT_FOUND,
                    "accel_get_tracker: log_with names no tracker '%s'%s; %s%s", name, suggestion,
                    trackers->names ? "it names " : "it names none",
                    trackers->names ? trackers->names : "");
        return NULL;
    }
    if (accel__trackers_check_running(trackers) != ACCEL_OK) {
        accel__fail(ACCEL_ERR_STATE, "accel_get_tracker: %s", accel_last_error());
        return NULL;
    }
    return tracker;
}

accel_status_t accel__trackers_finish(accel__trackers_t *trackers, int32_t exit_code)
{
    accel_status_t first = ACCEL_OK;
    char text[512] = "";

    if (atomic_load(&trackers->phase) != PHASE_RUNNING || is_forked_child(trackers))
        return ACCEL_OK;
    atomic_store(&trackers->phase, PHASE_FINISHED);
    if (trackers->journal)
        accel__journal_close(trackers->journal);
    for (size_t i = 0; i < trackers->opened; i++) {
        accel_status_t status = accel__tracker_stop(&trackers->trackers[i], exit_code);

        if (status != ACCEL_OK && first == ACCEL_OK) {
            first = status;
            snprintf(text, sizeof(text), "%s", accel_last_error());
        }
    }
    return first == ACCEL_OK ? ACCEL_OK : accel__fail(first, "%s", text);
}
