/* SPDX-License-Identifier: Apache-2.0 */
/* Names, classes, handles and the way of a row through trackers of the test's own. */
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/wandb.h>

#include "track/tracker.h"

/* A tracker that writes down what it is called with. */
typedef struct recorder {
    char calls[512];
    int64_t rows, last_step;
    double last_value;
    int fail_from; /* log fails from this row on, 0: never */
    pthread_t log_thread;
    const accel_tracker_init_t *init;
    bool had_kwargs;
    char note[32];
    accel__trackers_t *owner;
    accel_status_t inner; /* what a call from within a slot gave */
} recorder_t;

static recorder_t recorder;

static void note(const char *call)
{
    size_t used = strlen(recorder.calls);

    snprintf(recorder.calls + used, sizeof(recorder.calls) - used, "%s ", call);
}

static accel_status_t rec_create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    const accel_item_t *text = accel__dict_find(init->init_kwargs, "note");

    note("create");
    recorder.had_kwargs = init->init_kwargs != NULL;
    if (text && strcmp(text->value.s, "fail") == 0)
        return accel_fail(ACCEL_ERR_IO, "told to fail");
    if (text)
        snprintf(recorder.note, sizeof(recorder.note), "%s", text->value.s);
    *tracker = context;
    return ACCEL_OK;
}

static accel_status_t rec_start(void *tracker)
{
    (void)tracker;
    note("start");
    return ACCEL_OK;
}

static accel_status_t rec_config(void *tracker, const accel_item_t *config)
{
    (void)tracker, (void)config;
    note("config");
    return ACCEL_OK;
}

static accel_status_t rec_log(void *tracker, const accel_item_t *values, int64_t step, double when)
{
    recorder_t *r = tracker;

    CHECK(when > 1e9);
    r->rows++;
    r->last_step = step;
    CHECK(values);
    if (values->type == ACCEL_TYPE_FLOAT)
        r->last_value = values->value.f;
    r->log_thread = pthread_self();
    if (r->owner)
        r->inner = accel__trackers_log(r->owner, ACCEL_DICT("inner", 1), 0);
    if (r->fail_from && r->rows >= r->fail_from)
        return r->rows == r->fail_from ? accel_fail(ACCEL_ERR_IO, "the pen is dry") : ACCEL_ERR_IO;
    return ACCEL_OK;
}

static accel_status_t rec_ignore(void *tracker, const accel_item_t *values, int64_t step,
                                 double when)
{
    (void)tracker, (void)values, (void)step, (void)when;
    return ACCEL_OK;
}

static accel_status_t rec_flush(void *tracker)
{
    (void)tracker;
    if (recorder.calls[0] && !strstr(recorder.calls, "flush"))
        note("flush");
    return ACCEL_OK;
}

static accel_status_t rec_artifact(void *tracker, const accel_artifact_view_t *artifact)
{
    char text[64];

    (void)tracker;
    snprintf(text, sizeof(text), "artifact:%s:after=%lld", artifact->name,
             (long long)recorder.rows);
    note(text);
    return ACCEL_OK;
}

static accel_status_t rec_finish(void *tracker, int32_t exit_code)
{
    char text[32];

    (void)tracker;
    snprintf(text, sizeof(text), "finish:%d", (int)exit_code);
    note(text);
    return ACCEL_OK;
}

static void rec_destroy(void *tracker)
{
    (void)tracker;
    note("destroy");
}

static accel_tracker_class_t recorder_class(const char *name)
{
    return (accel_tracker_class_t){
        .struct_size = sizeof(accel_tracker_class_t),
        .name = name,
        .journaled = true,
        .context = &recorder,
        .create = rec_create,
        .start = rec_start,
        .store_init_configuration = rec_config,
        .log = rec_log,
        .flush = rec_flush,
        .log_artifact = rec_artifact,
        .finish = rec_finish,
        .destroy = rec_destroy,
    };
}

/* Log messages, for what must be said once. */
static int messages;
static char last_message[512];

static void count_message(void *context, accel_log_level_t level, const char *message)
{
    (void)context, (void)level;
    messages++;
    snprintf(last_message, sizeof(last_message), "%s", message);
}

static accel__trackers_t *make(const char *log_with, const char *journal, int rank)
{
    accel__trackers_options_t options = {.log_with = log_with,
                                         .journal = journal,
                                         .logging_dir = test_dir(),
                                         .process_index = rank,
                                         .num_processes = 2};
    accel__trackers_t *trackers;

    CHECK_OK(accel__trackers_create(&options, &trackers));
    return trackers;
}

static accel_status_t try_log_with(const char *log_with, const char *logging_dir)
{
    accel__trackers_options_t options = {
        .log_with = log_with, .logging_dir = logging_dir, .num_processes = 1};
    accel__trackers_t *trackers;
    accel_status_t status = accel__trackers_create(&options, &trackers);

    accel__trackers_destroy(trackers);
    return status;
}

static void use_recorder(bool journaled, bool every_process)
{
    accel_tracker_class_t class = recorder_class("recorder");

    class.journaled = journaled;
    class.every_process = every_process;
    CHECK_OK(accel_register_tracker_class(&class));
}

/* ---- names and classes ---- */

static void log_with_is_parsed_whole(void)
{
    accel__trackers_t *trackers;

    use_recorder(true, false);
    CHECK_OK(try_log_with(NULL, NULL));
    CHECK_OK(try_log_with("  ", NULL));
    CHECK_OK(try_log_with(" recorder ,jsonl,recorder", "/tmp"));
    CHECK_STATUS(ACCEL_ERR_INVALID, try_log_with("recorder,,jsonl", "/tmp"));
    CHECK_ERROR("log_with is 'recorder,,jsonl'");
    CHECK_STATUS(ACCEL_ERR_INVALID, try_log_with("recorder,", "/tmp"));
    CHECK_STATUS(ACCEL_ERR_INVALID, try_log_with("../recorder", "/tmp"));
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, try_log_with("recoder", "/tmp"));
    CHECK_ERROR("no tracker 'recoder' (did you mean 'recorder'?)");
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, try_log_with("json", "/tmp"));
    CHECK_ERROR("did you mean 'jsonl'?");
    CHECK_STATUS(ACCEL_ERR_INVALID, try_log_with("jsonl", NULL));
    CHECK_ERROR("set .logging_dir or .project_dir");

    trackers = make("recorder,jsonl,recorder", NULL, 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK(!accel__trackers_get(trackers, "wandb"));
    CHECK_ERROR("no tracker 'wandb'; it names recorder, jsonl");
    CHECK(!accel__trackers_get(trackers, "jsonl2"));
    CHECK_ERROR("did you mean 'jsonl'?");
    accel__trackers_destroy(trackers);
}

static void all_is_what_can_be_loaded(void)
{
    accel__trackers_t *trackers;

    use_recorder(true, false);
    CHECK(setenv("ACCEL_PLUGIN_PATH", "/nonexistent", 1) == 0);
    trackers = make("all", NULL, 1);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK(accel__trackers_get(trackers, "recorder"));
    CHECK(accel__trackers_get(trackers, "jsonl"));
    accel__trackers_destroy(trackers);
}

static void missing_plugins_say_where_they_were_looked_for(void)
{
    char path[512];
    FILE *file;

    CHECK(setenv("ACCEL_PLUGIN_PATH", "/nonexistent::/also/not", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, try_log_with("wandb", NULL));
    CHECK_ERROR(
        "needs the plugin libaccel-tracker-wandb.so: not found in /nonexistent, /also/not,");
    CHECK_ERROR("install the package accel-wandb or set ACCEL_PLUGIN_PATH");

    snprintf(path, sizeof(path), "%s/libaccel-tracker-wandb.so", test_dir());
    file = fopen(path, "w");
    CHECK(file && fputs("no shared object", file) >= 0 && fclose(file) == 0);
    CHECK(setenv("ACCEL_PLUGIN_PATH", test_dir(), 1) == 0);
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, try_log_with("wandb", NULL));
    CHECK_ERROR("the plugin does not load");
    CHECK_ERROR(path);
}

static void classes_are_checked_when_registered(void)
{
    static const char *const refused[] = {"", "wandb", "jsonl", "all", "a,b", "a b", "a/b"};
    accel_tracker_class_t class = recorder_class("mine");
    struct {
        accel_tracker_class_t known;
        void *newer;
    } wide;

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        class.name = refused[i];
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_register_tracker_class(&class));
    }
    class.name = NULL;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_register_tracker_class(&class));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_register_tracker_class(NULL));
    class = recorder_class("mine");
    class.log = NULL;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_register_tracker_class(&class));
    CHECK_ERROR("tracker 'mine' has no log slot");

    memset(&wide, 0, sizeof(wide));
    wide.known = recorder_class("mine");
    wide.known.struct_size = sizeof(wide);
    CHECK_OK(accel_register_tracker_class(&wide.known));
    wide.newer = &wide;
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_register_tracker_class(&wide.known));

    /* An older program's class ends before info: what lies behind it is not read. */
    class = recorder_class("older");
    class.struct_size = offsetof(accel_tracker_class_t, info);
    class.info = (const char *(*)(void *, const char *))(void (*)(void))abort;
    CHECK_OK(accel_register_tracker_class(&class));
    CHECK_OK(accel__tracker_class_find("older", true, &class));
    CHECK(!class.info);

    accel_set_log_callback(count_message, NULL);
    messages = 0;
    class = recorder_class("mine");
    CHECK_OK(accel_register_tracker_class(&class));
    CHECK_INT(1, messages);
    CHECK(strstr(last_message, "'mine' was registered before and is replaced"));
}

static void init_kwargs_are_checked(void)
{
    const accel_item_t *init_kwargs;
    accel__trackers_t *trackers;

    use_recorder(true, false);
    trackers = make("recorder", NULL, 0);
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__trackers_init(trackers, "p", NULL,
                                      ACCEL_DICT("wandbb", ACCEL_DICT("entity", "me"))));
    CHECK_ERROR("no tracker 'wandbb' (did you mean 'wandb'?)");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__trackers_init(trackers, "p", NULL, ACCEL_DICT("recorder", "text")));
    CHECK_ERROR("the value of 'recorder' is no dictionary");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_init(trackers, "", NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_init(trackers, NULL, NULL, NULL));
    CHECK_STR("", recorder.calls);

    /* A failed init may be tried again; another tracker's arguments are no error. */
    CHECK_STATUS(ACCEL_ERR_IO,
                 accel__trackers_init(trackers, "p", NULL,
                                      ACCEL_DICT("recorder", ACCEL_DICT("note", "fail"))));
    CHECK_STR("tracker 'recorder': told to fail", accel_last_error());
    init_kwargs =
        ACCEL_DICT("wandb", ACCEL_DICT("entity", "me"), "recorder", ACCEL_DICT("note", "here"));
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, init_kwargs));
    CHECK_STR("here", recorder.note);
    CHECK_STATUS(ACCEL_ERR_STATE, accel__trackers_init(trackers, "p", NULL, NULL));
    accel__trackers_destroy(trackers);
}

static void journal_option_is_checked(void)
{
    accel__trackers_options_t options = {.journal = "often", .num_processes = 1};
    accel__trackers_t *trackers;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_create(&options, &trackers));
    CHECK_STR("journal is 'often'; expected async or sync", accel_last_error());
    CHECK(setenv("ACCEL_JOURNAL", "1", 1) == 0);
    options.journal = NULL;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_create(&options, &trackers));
    CHECK_STR("ACCEL_JOURNAL is '1'; expected async or sync", accel_last_error());
}

/* ---- life ---- */

static void slots_come_in_order(void)
{
    accel__trackers_t *trackers;
    accel_tracker_t *tracker;
    accel_artifact_t *artifact;

    use_recorder(true, false);
    trackers = make("recorder", "async", 0);
    CHECK_STATUS(ACCEL_ERR_STATE, accel__trackers_log(trackers, ACCEL_DICT("a", 1), 0));
    CHECK(!accel__trackers_get(trackers, "recorder"));
    CHECK_OK(accel__trackers_init(trackers, "p", ACCEL_DICT("lr", 0.1), NULL));
    tracker = accel__trackers_get(trackers, "recorder");
    CHECK_STR("recorder", accel_tracker_name(tracker));
    CHECK(accel_tracker_unwrap(tracker) == &recorder);
    CHECK_OK(accel_artifact_create("files", "dataset", NULL, &artifact));
    for (int i = 0; i < 3; i++)
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 0.5 * i), i));
    CHECK_OK(accel_tracker_log_artifact(tracker, artifact));
    CHECK_OK(accel_tracker_log(tracker, ACCEL_DICT("loss", 9.0), ACCEL_NO_STEP));
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED,
                 accel_tracker_log_images(
                     tracker, "k", &(accel_image_t){"\0", ACCEL_U8, 1, 1, 1, NULL, 0}, 1, 0));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_log(trackers, NULL, -5));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_log(trackers, NULL, INT64_MAX));
    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK_STR("create start config flush artifact:files:after=3 finish:0 destroy ", recorder.calls);
    CHECK_INT(4, recorder.rows);
    CHECK(recorder.last_step == ACCEL_NO_STEP);
    CHECK_NEAR(9.0, recorder.last_value, 0);
    CHECK(!pthread_equal(recorder.log_thread, pthread_self()));

    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 9));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_tracker_log(tracker, ACCEL_DICT("loss", 1.0), 9));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_tracker_log_artifact(tracker, artifact));
    CHECK(!accel_tracker_unwrap(tracker));
    CHECK_INT(4, recorder.rows);
    accel_artifact_destroy(artifact);
    accel__trackers_destroy(trackers);
}

static void destroy_without_finish_is_exit_code_1(void)
{
    accel__trackers_t *trackers;

    use_recorder(true, false);
    trackers = make("recorder", "async", 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 0));
    accel__trackers_destroy(trackers);
    CHECK_STR("create start flush finish:1 destroy ", recorder.calls);
    CHECK_INT(1, recorder.rows);
}

static void other_ranks_have_every_call_and_do_nothing(void)
{
    static const char pixel[3];
    accel_image_t image = {pixel, ACCEL_U8, 1, 1, 3, NULL, 0};
    accel__trackers_t *trackers;
    accel_tracker_t *tracker;
    accel_artifact_t *artifact;

    use_recorder(true, false);
    CHECK(setenv("ACCEL_PLUGIN_PATH", "/nonexistent", 1) == 0);
    trackers = make("recorder,wandb,jsonl", "async", 1);
    CHECK_OK(accel__trackers_init(trackers, "p", ACCEL_DICT("lr", 0.1), NULL));
    CHECK_OK(accel_artifact_create("files", "dataset", NULL, &artifact));
    tracker = accel__trackers_get(trackers, "wandb");
    CHECK_STR("wandb", accel_tracker_name(tracker));
    CHECK(!accel_tracker_unwrap(tracker));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("a", 1), 0));
    CHECK_OK(accel_tracker_log(tracker, ACCEL_DICT("a", 1), 0));
    CHECK_OK(accel_tracker_log_images(tracker, "k", &image, 1, 0));
    CHECK_OK(accel_tracker_log_table(tracker, "t", ACCEL_LIST("x"), ACCEL_LIST(ACCEL_LIST(1)), 0));
    CHECK_OK(accel_tracker_log_artifact(tracker, artifact));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tracker_log_artifact(tracker, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tracker_log_table(tracker, "t", ACCEL_LIST("x"),
                                                            ACCEL_LIST(ACCEL_LIST(1, 2)), 0));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_wandb_run_log(NULL, ACCEL_DICT("a", 1), 0));
    CHECK(!accel_wandb_run_id(NULL));
    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK_STR("", recorder.calls);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tracker_log(NULL, NULL, 0));
    accel_artifact_destroy(artifact);
    accel__trackers_destroy(trackers);
}

static void every_process_runs_on_other_ranks(void)
{
    accel__trackers_t *trackers;

    use_recorder(false, true);
    trackers = make("recorder", "async", 1);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 2.0), 7));
    CHECK_INT(7, recorder.last_step);
    CHECK(pthread_equal(recorder.log_thread, pthread_self()));
    CHECK_OK(accel__trackers_finish(trackers, 0));
    accel__trackers_destroy(trackers);
}

static void a_failing_tracker_is_reported_once_and_others_go_on(void)
{
    accel__trackers_t *trackers;
    accel_tracker_t *other;

    use_recorder(true, false);
    recorder.fail_from = 2;
    accel_set_log_callback(count_message, NULL);
    trackers = make("recorder,jsonl", "async", 0);
    messages = 0;
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    other = accel__trackers_get(trackers, "jsonl");
    CHECK(accel_tracker_unwrap(other));
    for (int i = 0; i < 5; i++)
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), i));
    accel__trackers_drain(trackers);
    CHECK_INT(1, messages);
    CHECK_STR("tracker 'recorder': the pen is dry", last_message);
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_finish(trackers, 0));
    CHECK_STR("tracker 'recorder': the pen is dry", accel_last_error());
    CHECK_INT(5, recorder.rows);
    CHECK_INT(1, messages);
    accel__trackers_destroy(trackers);
    accel_set_log_callback(NULL, NULL);
}

static void sync_mode_returns_the_failure(void)
{
    accel__trackers_t *trackers;

    use_recorder(true, false);
    recorder.fail_from = 2;
    trackers = make("recorder", "sync", 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK_OK(accel__trackers_log(trackers, NULL, 0));
    CHECK_INT(1, recorder.rows);
    CHECK(pthread_equal(recorder.log_thread, pthread_self()));
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 1));
    CHECK_STR("tracker 'recorder': the pen is dry", accel_last_error());
    /* A slot that leaves no text does not borrow an older one. */
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 2));
    CHECK_STR("tracker 'recorder': log failed with ACCEL_ERR_IO", accel_last_error());
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_finish(trackers, 0));
    accel__trackers_destroy(trackers);
}

static void slots_that_log_are_refused(const char *journal)
{
    accel__trackers_t *trackers;

    use_recorder(true, false);
    trackers = make("recorder", journal, 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    recorder.owner = trackers;
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 0));
    accel__trackers_drain(trackers);
    CHECK_INT(ACCEL_ERR_STATE, recorder.inner);
    recorder.owner = NULL;
    CHECK_OK(accel__trackers_finish(trackers, 0));
    accel__trackers_destroy(trackers);
}

static void slots_that_log_are_refused_async(void)
{
    slots_that_log_are_refused("async");
}

static void slots_that_log_are_refused_sync(void)
{
    slots_that_log_are_refused("sync");
}

static void a_forked_child_neither_hangs_nor_writes(void)
{
    accel__trackers_t *trackers;
    int status;
    pid_t child;

    use_recorder(true, false);
    trackers = make("recorder", "async", 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 0));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        accel_status_t logged = accel__trackers_log(trackers, ACCEL_DICT("loss", 2.0), 1);
        bool none = !accel__trackers_get(trackers, "recorder");
        accel_status_t finished = accel__trackers_finish(trackers, 0);

        accel__trackers_destroy(trackers);
        _exit(logged == ACCEL_ERR_STATE && none && finished == ACCEL_OK &&
                      !strstr(recorder.calls, "finish")
                  ? 0
                  : 1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK_INT(1, recorder.rows);
    accel__trackers_destroy(trackers);
}

static void *log_until_the_end(void *argument)
{
    accel__trackers_t *trackers = argument;

    for (int i = 0; i < 20000; i++)
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), ACCEL_NO_STEP));
    return NULL;
}

/* Rows are delivered or, behind the end, dropped without an error. */
static void threads_may_log_while_the_trackers_end(void)
{
    accel__trackers_t *trackers;
    accel_tracker_class_t class = recorder_class("direct");
    pthread_t threads[3];

    use_recorder(true, false);
    class.journaled = false;
    class.log = rec_ignore;
    CHECK_OK(accel_register_tracker_class(&class));
    trackers = make("recorder,jsonl,direct", "async", 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, log_until_the_end, trackers) == 0);
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 1.0), 0));
    usleep(5000); /* the threads are somewhere, wherever that is */
    CHECK_OK(accel__trackers_finish(trackers, 0));
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK(recorder.rows > 0);
    accel__trackers_destroy(trackers);
}

static sem_t row_begun, row_may_end;

static accel_status_t rec_slow(void *tracker, const accel_item_t *values, int64_t step, double when)
{
    (void)tracker, (void)values, (void)step, (void)when;
    sem_post(&row_begun);
    sem_wait(&row_may_end);
    return ACCEL_OK;
}

static const char *rec_info(void *tracker, const char *what)
{
    (void)tracker;
    return strcmp(what, "stopped") == 0 ? "true" : NULL;
}

/* The answer is the last one that was to be had at once. */
static void asking_whether_a_run_was_stopped_waits_for_no_row(void)
{
    accel_tracker_class_t class = recorder_class("slow");
    accel__trackers_t *trackers;

    CHECK(sem_init(&row_begun, 0, 0) == 0 && sem_init(&row_may_end, 0, 0) == 0);
    class.log = rec_slow;
    class.info = rec_info;
    CHECK_OK(accel_register_tracker_class(&class));
    trackers = make("slow", "async", 0);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    accel_wandb_run_t *run = &accel__trackers_get(trackers, "slow")->run;
    for (int row = 0; row < 2; row++) {
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("a", 1), row));
        sem_wait(&row_begun);
        CHECK(accel_wandb_run_is_stopped(run) == (row > 0));
        sem_post(&row_may_end);
        accel__trackers_drain(trackers);
        while (!accel_wandb_run_is_stopped(run))
            usleep(1000);
    }
    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK(!accel_wandb_run_is_stopped(run));
    accel__trackers_destroy(trackers);
}

static void nothing_named_is_nothing_done(void)
{
    accel__trackers_t *trackers = make(NULL, NULL, 0);

    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("a", 1), 0));
    CHECK_OK(
        accel__trackers_init(trackers, "p", NULL, ACCEL_DICT("wandb", ACCEL_DICT("entity", "me"))));
    CHECK(!accel__trackers_get(trackers, "wandb"));
    CHECK_ERROR("it names none");
    CHECK_OK(accel__trackers_finish(trackers, 0));
    accel__trackers_destroy(trackers);
}

TEST_MAIN(TEST(log_with_is_parsed_whole), TEST(all_is_what_can_be_loaded),
          TEST(missing_plugins_say_where_they_were_looked_for),
          TEST(classes_are_checked_when_registered), TEST(init_kwargs_are_checked),
          TEST(journal_option_is_checked), TEST(slots_come_in_order),
          TEST(destroy_without_finish_is_exit_code_1),
          TEST(other_ranks_have_every_call_and_do_nothing), TEST(every_process_runs_on_other_ranks),
          TEST(a_failing_tracker_is_reported_once_and_others_go_on),
          TEST(sync_mode_returns_the_failure), TEST(slots_that_log_are_refused_async),
          TEST(slots_that_log_are_refused_sync), TEST(a_forked_child_neither_hangs_nor_writes),
          TEST(threads_may_log_while_the_trackers_end),
          TEST(asking_whether_a_run_was_stopped_waits_for_no_row),
          TEST(nothing_named_is_nothing_done))
