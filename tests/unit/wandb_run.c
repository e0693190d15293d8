/* SPDX-License-Identifier: Apache-2.0 */
/* Runs by themselves, as a program uses them. */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/wandb.h>

#include "apikey.h"
#include "log.h"
#include "run.h"
#include "test.h"
#include "upload/reader.h"
#include "url.h"

static void set_up(void)
{
    const char *build = getenv("ACCEL_BUILD_DIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/lib/accel", build ? build : ".");
    setenv("ACCEL_PLUGIN_PATH", path, 1);
    unsetenv("NETRC");
    unsetenv("WANDB_API_KEY");
    unsetenv("WANDB_DIR");
    setenv("HOME", test_dir(), 1);
    setenv("WANDB_MODE", "offline", 1);
    setenv("WANDB_SILENT", "true", 1);
    setenv("WANDB_CONSOLE", "off", 1);
    setenv("WANDB__DISABLE_STATS", "true", 1);
    CHECK(chdir(test_dir()) == 0);
}

static accel_wandb_run_t *begin(const accel_item_t *arguments)
{
    accel_wandb_run_t *run = NULL;
    if (accel_wandb_init(arguments, &run) != ACCEL_OK)
        test_fail(__FILE__, __LINE__, "init: %s", accel_last_error());
    return run;
}

static char *log_of(const accel_wandb_run_t *run)
{
    char *path = NULL;
    CHECK(asprintf(&path, "%s/run-%s.wandb", accel_wandb_run_sync_dir(run),
                   accel_wandb_run_id(run)) > 0);
    return path;
}

/* Rows in a log, whose records must all be whole; the greatest step. */
static int64_t count_rows(const char *path, int64_t *last_step)
{
    accel__wandb_reader_t reader;
    int64_t rows = 0;
    CHECK_INT(ACCEL_OK, accel__wandb_reader_open(&reader, path));
    while (accel__wandb_reader_next(&reader) == ACCEL__WANDB_READ_RECORD) {
        Wandb__Record *record =
            wandb__record__unpack(NULL, reader.record.length, (const uint8_t *)reader.record.data);
        CHECK(record);
        if (record->history) {
            rows++;
            *last_step = record->history->step->num;
        }
        wandb__record__free_unpacked(record, NULL);
    }
    CHECK_INT(0, reader.skipped);
    accel__wandb_reader_close(&reader);
    return rows;
}

/* ---- threads ---- */

enum { THREADS = 8, ROWS = 200 };

static void *log_many(void *argument)
{
    accel_wandb_run_t *run = argument;
    for (int i = 0; i < ROWS; i++) {
        CHECK_INT(ACCEL_OK, accel_wandb_run_log(run, ACCEL_DICT("x", i), ACCEL_NO_STEP));
        if (i % 50 == 0) {
            CHECK_INT(ACCEL_OK, accel_wandb_run_config_update(run, ACCEL_DICT("i", i)));
            CHECK_INT(ACCEL_OK, accel_wandb_run_summary_update(run, ACCEL_DICT("s", i)));
            if (accel_wandb_run_define_metric(run, "x*", NULL) != ACCEL_OK)
                test_fail(__FILE__, __LINE__, "%s", accel_last_error());
            CHECK(accel_wandb_run_step(run) > 0);
            CHECK(accel_wandb_run_path(run));
        }
    }
    return NULL;
}

static void many_threads_log(const char *journal)
{
    set_up();
    setenv("ACCEL_JOURNAL", journal, 1);
    accel_wandb_run_t *run = begin(ACCEL_DICT("project", "p"));
    pthread_t threads[THREADS];
    char *path = log_of(run);
    int64_t last_step = -1;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, log_many, run) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(THREADS * ROWS, accel_wandb_run_step(run));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
    CHECK_INT(THREADS * ROWS, count_rows(path, &last_step));
    CHECK_INT(THREADS * ROWS - 1, last_step);
    free(path);
}

static void many_threads_log_async(void)
{
    many_threads_log("async");
}

static void many_threads_log_sync(void)
{
    many_threads_log("sync");
}

/* ---- hostile values ---- */

static void hostile_values_leave_a_whole_log(void)
{
    enum { KEYS = 1000, LONG = 5 << 20, DEPTH = 70 };
    static char names[KEYS][16];
    static accel_item_t row[KEYS + 1], nested[DEPTH][2];
    int64_t last_step = -1;
    set_up();
    accel_wandb_run_t *run = begin(ACCEL_DICT("project", "p"));
    char *path = log_of(run), *text = malloc(LONG + 1);
    CHECK(text);
    memset(text, 'x', LONG);
    text[LONG] = '\0';
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i);
        row[i] = accel_item_int(names[i], i);
    }
    row[KEYS] = accel_item_end();
    CHECK_INT(ACCEL_OK, accel_wandb_run_define_metric(
                            run, "k*",
                            ACCEL_WANDB_METRIC_OPTIONS(.step_metric = "k0", .summary = "min,max")));
    CHECK_INT(ACCEL_OK, accel_wandb_run_log(run, row, ACCEL_NO_STEP));
    CHECK_INT(ACCEL_OK, accel_wandb_run_log(
                            run, ACCEL_DICT("text", (const char *)text, "", 1, "a\x1f\x01", 1),
                            ACCEL_NO_STEP));
    CHECK_INT(ACCEL_ERR_INVALID,
              accel_wandb_run_log(run, ACCEL_DICT("bad", "\xc3("), ACCEL_NO_STEP));
    free(text);
    for (int i = DEPTH - 1; i >= 0; i--) {
        nested[i][0] =
            i == DEPTH - 1 ? accel_item_int("d", 1) : accel_item_dict("d", nested[i + 1]);
        nested[i][1] = accel_item_end();
    }
    CHECK_INT(ACCEL_ERR_INVALID, accel_wandb_run_log(run, nested[0], ACCEL_NO_STEP));
    CHECK_INT(ACCEL_OK, accel_wandb_run_log(run, nested[DEPTH - 7], ACCEL_NO_STEP));
    CHECK_INT(ACCEL_OK, accel_wandb_run_log(run, ACCEL_DICT("after", 1), ACCEL_NO_STEP));
    CHECK(strstr(accel_wandb_run_summary(run), "\"after\":1"));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
    CHECK_INT(4, count_rows(path, &last_step));
    free(path);
}

static void wrong_calls_are_errors(void)
{
    set_up();
    accel_wandb_run_t *run = begin(ACCEL_DICT("project", "p", "config", ACCEL_DICT("a", 1)));
    accel_status_t bad = ACCEL_ERR_INVALID;
    CHECK_INT(bad, accel_wandb_run_define_metric(run, "", NULL));
    CHECK_INT(bad, accel_wandb_run_define_metric(run, "a*b", NULL));
    CHECK_INT(bad, accel_wandb_run_define_metric(
                       run, "a", ACCEL_WANDB_METRIC_OPTIONS(.summary = "min,best")));
    CHECK(strstr(accel_last_error(), "'best'"));
    CHECK_INT(bad, accel_wandb_run_log(run, ACCEL_DICT("x", 1), -2));
    CHECK_INT(bad, accel_wandb_run_log_commit(run, ACCEL_DICT("x", 1), -2, true));
    CHECK_INT(ACCEL_ERR_STATE, accel_wandb_run_config_set(run, ACCEL_DICT("a", 2)));
    CHECK_INT(ACCEL_OK, accel_wandb_run_config_set(run, ACCEL_DICT("a", 1.0)));
    CHECK_INT(bad, accel_wandb_run_set_tags(run, ACCEL_LIST("")));
    CHECK_INT(bad, accel_wandb_run_set_name(run, NULL));
    CHECK_INT(bad, accel_wandb_run_summary_remove(run, ""));
    CHECK_INT(bad, accel_wandb_run_save(run, "../x", NULL, ACCEL_WANDB_LIVE));
    CHECK_INT(bad, accel_wandb_run_log(NULL, NULL, 0));
    CHECK(accel_wandb_run_step(NULL) == -1 && !accel_wandb_run_id(NULL));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
}

/* ---- the end of the process, and going on ---- */

/* A child: what it leaves open, exit() or nobody ends. */
static void run_child(const accel_item_t *arguments, int rows, bool clean)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        accel_wandb_run_t *run = begin(arguments);
        for (int i = 0; i < rows; i++)
            if (accel_wandb_run_log(run, ACCEL_DICT("x", i, "d", ACCEL_DICT("a", i)),
                                    ACCEL_NO_STEP) != ACCEL_OK)
                _exit(1);
        (void)accel_wandb_run_step(run);
        if (clean)
            exit(7);
        _exit(7);
    }
    int state = 0;
    CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 7);
}

static void a_run_goes_on_where_earlier_ones_ended(void)
{
    set_up();
    run_child(ACCEL_DICT("project", "p", "id", "one", "config", ACCEL_DICT("a", 1, "b", 1)), 3,
              false);
    run_child(ACCEL_DICT("project", "other", "id", "one"), 9, true);
    run_child(ACCEL_DICT("project", "p", "id", "one", "resume", "allow"), 2, true);
    accel_wandb_run_t *run = begin(
        ACCEL_DICT("project", "p", "id", "one", "resume", "must", "config", ACCEL_DICT("b", 2)));
    CHECK(accel_wandb_run_resumed(run));
    CHECK_INT(5, accel_wandb_run_starting_step(run));
    CHECK_STR("{\"b\":2,\"a\":1}", accel_wandb_run_config(run));
    CHECK_STR("{\"d\":{\"a\":1},\"x\":1}", accel_wandb_run_summary(run));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
    CHECK_INT(ACCEL_ERR_STATE,
              accel_wandb_init(ACCEL_DICT("project", "p", "id", "one", "resume", "never"), &run));
    run = begin(ACCEL_DICT("project", "p", "id", "two", "resume", "never"));
    CHECK(!accel_wandb_run_resumed(run) && accel_wandb_run_starting_step(run) == 0);
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
}

/* A run that logs one row; that row's "_runtime". */
static double log_a_row(const accel_item_t *arguments, useconds_t pause)
{
    accel_wandb_run_t *run = begin(arguments);
    accel__wandb_reader_t reader;
    double runtime = -1;
    char *path = log_of(run);
    usleep(pause);
    CHECK_INT(ACCEL_OK, accel_wandb_run_log(run, ACCEL_DICT("x", 1), ACCEL_NO_STEP));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
    CHECK_INT(ACCEL_OK, accel__wandb_reader_open(&reader, path));
    while (accel__wandb_reader_next(&reader) == ACCEL__WANDB_READ_RECORD) {
        Wandb__Record *record =
            wandb__record__unpack(NULL, reader.record.length, (const uint8_t *)reader.record.data);
        for (size_t i = 0; record->history && i < record->history->n_item; i++) {
            const Wandb__Item *item = record->history->item[i];
            if (!strcmp(item->nested_key[0], "_runtime"))
                runtime = strtod(item->value_json, NULL);
        }
        wandb__record__free_unpacked(record, NULL);
    }
    accel__wandb_reader_close(&reader);
    free(path);
    return runtime;
}

static void the_time_of_a_run_goes_on(void)
{
    set_up();
    double first = log_a_row(ACCEL_DICT("project", "p", "id", "clock"), 500000);
    double second = log_a_row(ACCEL_DICT("project", "p", "id", "clock", "resume", "allow"), 0);
    CHECK(first >= 0.5);
    CHECK(second > first);
}

/* ---- keys and addresses ---- */

static const char key[] = "0123456789abcdef0123456789abcdef01234567";

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void expect_password(const char *expected, const char *netrc)
{
    write_file("netrc", netrc);
    char *found = accel__wandb_netrc_password("netrc", "host:80");
    if (expected ? !found || strcmp(found, expected) != 0 : found != NULL)
        test_fail(__FILE__, __LINE__, "%s: '%s'", netrc, found ? found : "none");
    free(found);
}

static void netrc_is_read_as_python_reads_it(void)
{
    set_up();
    expect_password("p", "machine host:80 login user password p\n");
    expect_password("p", "machine host:80\n  password p\n  login user");
    expect_password(NULL, "machine host login user password p\n");
    expect_password("q", "machine a password p\nmachine host:80 password q\nmachine b password r");
    expect_password("q", "machine host:80 password p\nmachine host:80 password q\n");
    expect_password("#p", "# machine host:80 password x\nmachine host:80 # y\npassword #p\n");
    expect_password("a b\"c", "machine \"host:80\" password \"a b\\\"c\"");
    expect_password("d", "machine other password p\ndefault login l password d\n");
    expect_password("p", "macdef m\n machine host:80 password x\n\nmachine host:80 password p\n");
    expect_password(NULL, "machine host:80 password \"\"");
    expect_password(NULL, "machine host:80 password");
    expect_password(NULL, "machine");
    expect_password(NULL, "");
}

static void keys_have_their_shape_and_are_not_shown(void)
{
    set_up();
    accel_wandb_run_t *run;
    setenv("WANDB_MODE", "online", 1);
    CHECK_INT(ACCEL_ERR_STATE, accel_wandb_init(NULL, &run));
    CHECK(strstr(accel_last_error(), "WANDB_API_KEY") && strstr(accel_last_error(), "accel login"));
    setenv("WANDB_API_KEY", "secret", 1);
    CHECK_INT(ACCEL_ERR_INVALID, accel_wandb_init(NULL, &run));
    CHECK(strstr(accel_last_error(), "6 characters") && !strstr(accel_last_error(), "secret"));
    setenv("WANDB_API_KEY", "not a key, but it is long enough: 0123456789", 1);
    CHECK_INT(ACCEL_ERR_INVALID, accel_wandb_init(NULL, &run));
    CHECK(!strstr(accel_last_error(), "not a key"));
    setenv("WANDB_MODE", "disabled", 1);
    setenv("WANDB_API_KEY", key, 1);
    run = begin(NULL);
    CHECK(!strstr(accel_wandb_run_settings(run), key));
    CHECK_INT(ACCEL_OK, accel_wandb_run_finish(run, 0));
}

TEST_MAIN(TEST(many_threads_log_async), TEST(many_threads_log_sync),
          TEST(hostile_values_leave_a_whole_log), TEST(wrong_calls_are_errors),
          TEST(a_run_goes_on_where_earlier_ones_ended), TEST(the_time_of_a_run_goes_on),
          TEST(netrc_is_read_as_python_reads_it), TEST(keys_have_their_shape_and_are_not_shown))
