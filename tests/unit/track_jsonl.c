/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in tracker "jsonl", through the trackers of an accelerator. */
#include "test.h"

#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "track/json.h"
#include "track/tracker.h"

static accel__trackers_t *make(const char *journal)
{
    accel__trackers_options_t options = {
        .log_with = "jsonl", .journal = journal, .logging_dir = test_dir(), .num_processes = 1};
    accel__trackers_t *trackers;

    CHECK_OK(accel__trackers_create(&options, &trackers));
    return trackers;
}

/* Text of a file of the run, valid until the next call. */
static const char *slurp(const char *dir, const char *name)
{
    static char text[1 << 20];
    char path[1024];
    size_t length;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "r");
    if (!file)
        return "(absent)";
    length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static void keep_dir(accel__trackers_t *trackers, char *dir, size_t size)
{
    accel_tracker_t *tracker = accel__trackers_get(trackers, "jsonl");

    snprintf(dir, size, "%s", accel__tracker_info(tracker, "dir"));
}

static int count_lines(const char *text)
{
    int lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void check_number(double value, const char *expected)
{
    accel__text_t text = {0};

    accel__json_float(&text, value);
    CHECK_STR(expected, text.data);
    accel__text_free(&text);
}

static void numbers_are_short_and_read_back(void)
{
    check_number(0.1, "0.1");
    check_number(1.0, "1.0");
    check_number(-0.0, "-0.0");
    check_number(1e300, "1e+300");
    check_number(5e-324, "4.940656458412465e-324");
    check_number(1.0 / 3, "0.3333333333333333");
    check_number(9.95, "9.95");
    check_number(2.0 / 3e5, "6.666666666666667e-06");
    check_number(0.123456789012345, "0.123456789012345");
    check_number(-9.99999999999999e22, "-9.99999999999999e+22");
    check_number(0.1f, "0.10000000149011612");
    check_number(123456789012345678.0, "1.2345678901234568e+17");
    check_number(NAN, "NaN");
    check_number(INFINITY, "Infinity");
    check_number(-INFINITY, "-Infinity");
}

static void numbers_ignore_the_locale(void)
{
    /* Where none of these is installed the check is that of the C locale. */
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF.UTF-8"};

    for (size_t i = 0; i < sizeof(commas) / sizeof(*commas); i++)
        if (setlocale(LC_ALL, commas[i]))
            break;
    check_number(1234.5, "1234.5");
    check_number(1.5e300, "1.5e+300");
}

static void a_run_is_a_folder_of_json(void)
{
    const accel_item_t *kwargs =
        ACCEL_DICT("jsonl", ACCEL_DICT("id", "abc", "name", "first \"one\""));
    accel__trackers_t *trackers = make("async");
    accel_artifact_t *artifact;
    accel__slot_call_t call;
    accel_tracker_t *tracker;
    char dir[512];

    CHECK_OK(accel__trackers_init(trackers, "proj", ACCEL_DICT("lr", 0.01, "n", 3), kwargs));
    tracker = accel__trackers_get(trackers, "jsonl");
    keep_dir(trackers, dir, sizeof(dir));
    CHECK(strstr(dir, "/proj/run-") && strcmp(dir + strlen(dir) - 4, "-abc") == 0);
    CHECK_STR("abc", accel__tracker_info(tracker, "id"));
    CHECK(!accel__tracker_info(tracker, "entity"));
    CHECK_STR("{\"lr\":0.01,\"n\":3}\n", slurp(dir, "config.json"));
    CHECK_OK(accel__tracker_enter(tracker, &call));
    CHECK_OK(accel__tracker_leave(
        tracker, &call, "store_init_configuration",
        tracker->slots.store_init_configuration(tracker->state, ACCEL_DICT("n", 4, "m", "x"))));
    CHECK_STR("{\"lr\":0.01,\"n\":4,\"m\":\"x\"}\n", slurp(dir, "config.json"));

    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 0.5, "text", "tab\there"), 3));
    CHECK_OK(
        accel__trackers_log(trackers, ACCEL_DICT("loss", NAN, "big", UINT64_MAX), ACCEL_NO_STEP));
    CHECK_OK(accel__trackers_log(trackers, NULL, 9));
    CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("_timestamp", 1, "_step", 77), 5));
    CHECK_OK(accel_artifact_create("files", "dataset", NULL, &artifact));
    CHECK_OK(accel_artifact_add_reference(artifact, "s3://b/k", NULL, NULL));
    CHECK_OK(accel_tracker_log_artifact(tracker, artifact));
    CHECK(strncmp(slurp(dir, "history.jsonl"),
                  "{\"loss\":0.5,\"text\":\"tab\\there\",\"_step\":3,\"_timestamp\":", 50) == 0);
    CHECK(strstr(slurp(dir, "history.jsonl"), "{\"loss\":NaN,\"big\":18446744073709551615,"
                                              "\"_step\":4,\"_timestamp\":"));
    CHECK(strstr(slurp(dir, "history.jsonl"), "{\"_timestamp\":1,\"_step\":77,\"_runtime\":"));
    CHECK_INT(3, count_lines(slurp(dir, "history.jsonl")));
    CHECK(strstr(slurp(dir, "artifacts.jsonl"),
                 "{\"name\":\"files\",\"type\":\"dataset\",\"description\":null,\"metadata\":{},"
                 "\"aliases\":[],\"entries\":[{\"path\":\"k\",\"reference\":\"s3://b/k\","
                 "\"digest\":\"s3://b/k\"}],\"_timestamp\":"));
    CHECK_OK(accel__tracker_enter(tracker, &call));
    CHECK_OK(accel__tracker_leave(
        tracker, &call, "update_summary",
        tracker->slots.update_summary(tracker->state, ACCEL_DICT("best", 0.25))));
    CHECK_OK(accel__trackers_finish(trackers, 3));
    CHECK(strncmp(slurp(dir, "summary.json"),
                  "{\"loss\":NaN,\"text\":\"tab\\there\",\"_step\":77,\"_timestamp\":1,", 55) == 0);
    CHECK(strstr(slurp(dir, "summary.json"), "\"best\":0.25}\n"));
    CHECK(strstr(slurp(dir, "run.json"), "\"name\":\"first \\\"one\\\"\",\"project\":\"proj\""));
    CHECK(strstr(slurp(dir, "run.json"), "\"exit_code\":3}\n"));
    accel_artifact_destroy(artifact);
    accel__trackers_destroy(trackers);
}

static void arguments_are_checked(void)
{
    accel__trackers_t *trackers = make("async");

    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel__trackers_init(trackers, "p", NULL, ACCEL_DICT("jsonl", ACCEL_DICT("nam", "x"))));
    CHECK_STR("tracker 'jsonl': init_kwargs: no argument 'nam'; did you mean 'name'?; expected id "
              "or name",
              accel_last_error());
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel__trackers_init(trackers, "p", NULL, ACCEL_DICT("jsonl", ACCEL_DICT("name", 3))));
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel__trackers_init(trackers, "p", NULL, ACCEL_DICT("jsonl", ACCEL_DICT("id", "a/b"))));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_init(trackers, "../p", NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__trackers_init(trackers, "..", NULL, NULL));
    accel__trackers_destroy(trackers);
}

static void an_impossible_directory_is_named(void)
{
    char path[512];
    accel__trackers_options_t options = {
        .log_with = "jsonl", .logging_dir = path, .num_processes = 1};
    accel__trackers_t *trackers;
    FILE *file;

    snprintf(path, sizeof(path), "%s/file", test_dir());
    file = fopen(path, "w");
    CHECK(file && fclose(file) == 0);
    CHECK_OK(accel__trackers_create(&options, &trackers));
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_init(trackers, "p", NULL, NULL));
    CHECK_ERROR(path);
    CHECK_ERROR("cannot make the directory");
    accel__trackers_destroy(trackers);
}

static int errors;

static void count_error(void *context, accel_log_level_t level, const char *message)
{
    (void)context, (void)message;
    errors += level == ACCEL_LOG_ERROR;
}

static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size == RLIM_INFINITY ? limit.rlim_max : size;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* Rows that the disk did not take come when it does. */
static void a_full_disk_loses_no_row_for_a_while(void)
{
    accel__trackers_t *trackers = make("async");
    char dir[512];

    signal(SIGXFSZ, SIG_IGN);
    accel_set_log_callback(count_error, NULL);
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    keep_dir(trackers, dir, sizeof(dir));
    limit_file_size(1000);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 0.5), i));
        accel__trackers_drain(trackers);
    }
    CHECK_INT(1, errors);
    CHECK_INT(1000, strlen(slurp(dir, "history.jsonl")));
    limit_file_size(RLIM_INFINITY);
    CHECK_STATUS(ACCEL_ERR_IO, accel__trackers_finish(trackers, 0));
    CHECK_ERROR("history.jsonl: cannot write: File too large");
    CHECK_INT(100, count_lines(slurp(dir, "history.jsonl")));
    CHECK(strstr(slurp(dir, "history.jsonl"), "\n{\"loss\":0.5,\"_step\":99,"));
    CHECK(strstr(slurp(dir, "summary.json"), "\"_step\":99"));
    CHECK_INT(1, errors);
    accel__trackers_destroy(trackers);
    accel_set_log_callback(NULL, NULL);
}

static void sync_rows_are_in_the_file(void)
{
    accel__trackers_t *trackers = make("sync");
    char dir[512];

    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    keep_dir(trackers, dir, sizeof(dir));
    for (int i = 0; i < 10; i++) {
        CHECK_OK(accel__trackers_log(trackers, ACCEL_DICT("loss", 0.5), i));
        CHECK_INT(i + 1, count_lines(slurp(dir, "history.jsonl")));
    }
    CHECK_OK(accel__trackers_finish(trackers, 0));
    accel__trackers_destroy(trackers);
}

TEST_MAIN(TEST(numbers_are_short_and_read_back), TEST(numbers_ignore_the_locale),
          TEST(a_run_is_a_folder_of_json), TEST(arguments_are_checked),
          TEST(an_impossible_directory_is_named), TEST(a_full_disk_loses_no_row_for_a_while),
          TEST(sync_rows_are_in_the_file))
