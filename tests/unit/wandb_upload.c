/* SPDX-License-Identifier: Apache-2.0 */
/* The uploader's parts by themselves: the reader of logs, retries, offsets, trees. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "run.h"
#include "test.h"
#include "upload/bucket.h"
#include "upload/http.h"
#include "upload/reader.h"
#include "upload/retry.h"
#include "upload/stream.h"
#include "upload/sync.h"
#include "upload/syncstate.h"
#include "upload/wire.h"

static const accel_host_v1_t host = {.struct_size = sizeof(host),
                                     .fail = accel__fail,
                                     .log = accel__log,
                                     .version = "0.1.0",
                                     .last_error = accel_last_error};

static const char *path_of(const char *name)
{
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", test_dir(), name);
    return path;
}

/* ---- the reader ---- */

static accel__wandb_log_t make_log(const char *name)
{
    accel__wandb_log_t log;
    accel__wandb_set_host(&host);
    CHECK_INT(0, accel__wandb_log_open(&log, path_of(name)));
    return log;
}

static void append(accel__wandb_log_t *log, char letter, size_t size)
{
    char *record = malloc(size + 1);
    CHECK(record);
    memset(record, letter, size);
    accel__wandb_log_append(log, record, size);
    CHECK_INT(0, accel__wandb_log_commit(log));
    free(record);
}

static void reads(accel__wandb_reader_t *reader, char letter, size_t size)
{
    CHECK_INT(ACCEL__WANDB_READ_RECORD, accel__wandb_reader_next(reader));
    CHECK_INT((long long)size, (long long)reader->record.length);
    for (size_t i = 0; i < size; i++)
        CHECK(reader->record.data[i] == letter);
}

/* Lengths around a block's end, empty ones, and one of many blocks. */
static void reader_reads_all_lengths(void)
{
    static const size_t sizes[] = {1,     0,     32740, 100,   32754, 7,       32755, 32747,
                                   32746, 32760, 32761, 32762, 70000, 5000000, 1,     40000};
    accel__wandb_log_t log = make_log("run-all.wandb");
    accel__wandb_reader_t reader;
    CHECK_OK(accel__wandb_reader_open(&reader, path_of("run-all.wandb")));
    CHECK_INT(ACCEL__WANDB_READ_END, accel__wandb_reader_next(&reader));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        append(&log, (char)('a' + i), sizes[i]);
        reads(&reader, (char)('a' + i), sizes[i]); /* as soon as it is there */
        CHECK_INT(ACCEL__WANDB_READ_END, accel__wandb_reader_next(&reader));
    }
    CHECK_INT(0, (long long)reader.skipped);
    CHECK_INT((long long)log.committed, (long long)accel__wandb_reader_size(&reader));
    accel__wandb_reader_close(&reader);
    accel__wandb_log_close(&log);
}

/* A file that grows byte by byte gives each record when it is whole, and never a part of one. */
static void reader_waits_for_the_rest(void)
{
    accel__wandb_log_t log = make_log("run-whole.wandb");
    append(&log, 'a', 10);
    append(&log, 'b', 40000);
    accel__wandb_log_close(&log);
    char *data = malloc(50000);
    int from = open(path_of("run-whole.wandb"), O_RDONLY);
    ssize_t size = read(from, data, 50000);
    int to = open(path_of("run-part.wandb"), O_WRONLY | O_CREAT, 0600);
    CHECK(size > 40010 && to >= 0);
    CHECK_INT(7, (long long)write(to, data, 7));
    accel__wandb_reader_t reader;
    CHECK_OK(accel__wandb_reader_open(&reader, path_of("run-part.wandb")));
    int found = 0;
    for (ssize_t at = 7; at < size; at++) {
        CHECK_INT(1, (long long)write(to, data + at, 1));
        if (at > 60 && at < size - 60 && at % 501)
            continue;
        accel__wandb_read_t what = accel__wandb_reader_next(&reader);
        if (what == ACCEL__WANDB_READ_RECORD)
            CHECK_INT(found++ ? 40000 : 10, (long long)reader.record.length);
        else
            CHECK(what == ACCEL__WANDB_READ_TAIL || what == ACCEL__WANDB_READ_END);
    }
    CHECK_INT(2, found);
    accel__wandb_reader_close(&reader);
    close(from);
    close(to);
    free(data);
}

static void damage(const char *name, off_t at, int bytes)
{
    int fd = open(path_of(name), O_RDWR);
    char zeros[16] = {0};
    CHECK(fd >= 0 && pwrite(fd, zeros, (size_t)bytes, at) == bytes);
    close(fd);
}

/* A broken chunk costs the rest of its block, and no more. */
static void reader_skips_what_is_broken(void)
{
    accel__wandb_log_t log = make_log("run-bad.wandb");
    for (int i = 0; i < 100; i++)
        append(&log, (char)('0' + i % 10), 1000);
    accel__wandb_log_close(&log);
    damage("run-bad.wandb", 7 + 3 * 1007 + 20, 1);
    damage("run-bad.wandb", 65536, 7);
    accel__wandb_reader_t reader;
    CHECK_OK(accel__wandb_reader_open(&reader, path_of("run-bad.wandb")));
    int found = 0;
    while (accel__wandb_reader_next(&reader) == ACCEL__WANDB_READ_RECORD) {
        CHECK_INT(1000, (long long)reader.record.length);
        found++;
    }
    CHECK(found > 30 && found < 100);
    CHECK(reader.skipped >= 2);
    accel__wandb_reader_close(&reader);
}

static void reader_refuses_other_files(void)
{
    accel__wandb_reader_t reader;
    accel__wandb_set_host(&host);
    int fd = open(path_of("text"), O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "hello, world", 12) == 12);
    close(fd);
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel__wandb_reader_open(&reader, path_of("text")));
    CHECK_ERROR("is no .wandb log");
    CHECK_STATUS(ACCEL_ERR_IO, accel__wandb_reader_open(&reader, path_of("none")));
}

/* Any bytes behind the header end somewhere. */
static void reader_takes_any_bytes(void)
{
    static const unsigned char header[] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};
    unsigned char noise[100000];
    uint32_t state = 1;
    accel__wandb_set_host(&host);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (unsigned char)((state = state * 1664525u + 1013904223u) >> (round + 4));
        int fd = open(path_of("run-noise.wandb"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        CHECK(write(fd, header, 7) == 7 && write(fd, noise, sizeof(noise)) > 0);
        close(fd);
        accel__wandb_reader_t reader;
        CHECK_OK(accel__wandb_reader_open(&reader, path_of("run-noise.wandb")));
        while (accel__wandb_reader_next(&reader) == ACCEL__WANDB_READ_RECORD)
            continue;
        accel__wandb_reader_close(&reader);
    }
}

/* ---- retries ---- */

static accel__wandb_reply_t answer(long status)
{
    return (accel__wandb_reply_t){.outcome = ACCEL__WANDB_ANSWERED, .status = status};
}

static bool again(accel__wandb_retry_kind_t kind, long status)
{
    accel__wandb_reply_t reply = answer(status);
    return accel__wandb_retry_again(kind, &reply);
}

static void retry_knows_what_passes(void)
{
    static const long final[] = {301, 400, 401, 403, 404, 410, 413, 422, 501};
    static const long passing[] = {429, 500, 502, 503, 504, 599};
    for (size_t i = 0; i < sizeof(final) / sizeof(*final); i++) {
        for (int kind = 0; kind < 3; kind++)
            CHECK(!again((accel__wandb_retry_kind_t)kind, final[i]));
    }
    for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++) {
        for (int kind = 0; kind < 3; kind++)
            CHECK(again((accel__wandb_retry_kind_t)kind, passing[i]));
    }
    CHECK(!again(ACCEL__WANDB_RETRY_API, 409));
    CHECK(again(ACCEL__WANDB_RETRY_UPSERT, 409));
    CHECK(!again(ACCEL__WANDB_RETRY_TRANSFER, 409));
    CHECK(again(ACCEL__WANDB_RETRY_API, 408));
    CHECK(!again(ACCEL__WANDB_RETRY_TRANSFER, 408));
    accel__wandb_reply_t none = {.outcome = ACCEL__WANDB_UNREACHABLE};
    CHECK(accel__wandb_retry_again(ACCEL__WANDB_RETRY_TRANSFER, &none));
    none.outcome = ACCEL__WANDB_REFUSED;
    CHECK(!accel__wandb_retry_again(ACCEL__WANDB_RETRY_API, &none));
}

static void retry_waits_longer_each_time(void)
{
    const accel__wandb_retry_t retry = {.least = 2, .most = 60};
    CHECK_NEAR(2, accel__wandb_retry_wait(&retry, 0, 0), 1e-12);
    CHECK_NEAR(2.5, accel__wandb_retry_wait(&retry, 0, 1), 1e-12);
    CHECK_NEAR(16, accel__wandb_retry_wait(&retry, 3, 0), 1e-12);
    CHECK_NEAR(18, accel__wandb_retry_wait(&retry, 3, 0.5), 1e-12);
    CHECK_NEAR(60, accel__wandb_retry_wait(&retry, 5, 0), 1e-12);
    CHECK_NEAR(60, accel__wandb_retry_wait(&retry, 10000, 1), 1e-12);
}

static void retry_after_is_seconds_or_a_date(void)
{
    CHECK_NEAR(7, accel__wandb_parse_retry_after("7", 0), 1e-12);
    CHECK_NEAR(0.25, accel__wandb_parse_retry_after("0.25 ", 0), 1e-12);
    CHECK_NEAR(30, accel__wandb_parse_retry_after("Fri, 02 Jan 2026 03:04:35 GMT", 1767323045.0),
               1e-9);
    CHECK_NEAR(0, accel__wandb_parse_retry_after("Fri, 02 Jan 2026 03:04:35 GMT", 2e9), 1e-12);
    CHECK_NEAR(3600, accel__wandb_parse_retry_after("1e300", 0), 1e-12);
    CHECK(accel__wandb_parse_retry_after("soon", 0) < 0);
    CHECK(accel__wandb_parse_retry_after("-1", 0) < 0);
    CHECK(accel__wandb_parse_retry_after("nan", 0) < 0);
    CHECK(accel__wandb_parse_retry_after("", 0) < 0);
}

static void key_goes_to_one_server(void)
{
    static const char base[] = "https://api.wandb.test";
    CHECK(accel__wandb_same_server(base, "https://api.wandb.test/graphql"));
    CHECK(accel__wandb_same_server(base, "HTTPS://API.wandb.test:443/x"));
    CHECK(!accel__wandb_same_server(base, "http://api.wandb.test/graphql"));
    CHECK(!accel__wandb_same_server(base, "https://api.wandb.test:8443/"));
    CHECK(!accel__wandb_same_server(base, "https://api.wandb.test.evil/"));
    CHECK(!accel__wandb_same_server(base, "https://api.wandb.test@evil/"));
    CHECK(!accel__wandb_same_server(base, "nonsense"));
}

/* A server that echoes what it was sent, and one that puts a NUL before it. */
static void key_is_blotted_out(void)
{
    static const char key[] = "0123456789abcdef0123456789abcdef01234567";
    static const char wanted[] =
        "key=****************************************\0"
        "Basic ************************************************************"
        " ****************************************";
    char text[] = "key=0123456789abcdef0123456789abcdef01234567\0"
                  "Basic YXBpOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc="
                  " 0123456789abcdef0123456789abcdef01234567";
    accel__wandb_http_t *http = NULL;
    accel__wandb_set_host(&host);
    CHECK_OK(accel__wandb_http_create(
        &(accel__wandb_http_options_t){.base_url = "http://127.0.0.1", .api_key = key}, &http));
    accel__wandb_http_hide_key(http, text, sizeof(text) - 1);
    CHECK_INT(sizeof(wanted), sizeof(text));
    CHECK(!memcmp(wanted, text, sizeof(text)));
    accel__wandb_http_destroy(http);
}

static void describes_answers_in_a_line(void)
{
    static const struct {
        const char *body, *words;
    } cases[] = {{"{\"error\":\"no\\nway\"}", "HTTP 500: no way"},
                 {"{\"error\":{\"message\":\"deep\"}}", "HTTP 500: deep"},
                 {"{\"errors\":[{\"message\":\"first\"},{}]}", "HTTP 500: first"},
                 {"{\"errors\":[\"text\"]}", "HTTP 500: text"},
                 {"<html>\n\033[1m", "HTTP 500: <html>  [1m"},
                 {"", "HTTP 500"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        accel__wandb_reply_t reply = answer(500);
        char text[400];
        accel__wandb_text_puts(&reply.body, cases[i].body);
        accel__wandb_reply_describe(&reply, text, sizeof(text));
        CHECK_STR(cases[i].words, text);
        accel__wandb_reply_free(&reply);
    }
}

/* ---- the file stream ---- */

static void takes(accel__wandb_stream_t *stream, const accel__wandb_ending_t *ending, bool last,
                  const char *expected)
{
    accel__wandb_text_t body = {0};
    CHECK_INT(last, accel__wandb_stream_take(stream, ending, &body));
    CHECK_STR(expected, body.data);
    accel__wandb_text_free(&body);
}

static void stream_counts_lines(void)
{
    accel__wandb_stream_t stream;
    const accel__wandb_ending_t ending = {.complete = true, .exit_code = 3};
    accel__wandb_stream_init(&stream, 1000, 100);
    stream.history.offset = 5;
    takes(&stream, NULL, true, "{}");
    CHECK(!accel__wandb_stream_waits(&stream));
    CHECK(accel__wandb_stream_history(&stream, "{\"a\":1}"));
    CHECK(accel__wandb_stream_history(&stream, "{\"a\":2}"));
    CHECK(accel__wandb_stream_event(&stream, "{}"));
    CHECK(accel__wandb_stream_summary(&stream, "{\"a\":1}"));
    CHECK(accel__wandb_stream_summary(&stream, "{\"a\":2}")); /* the later one counts */
    CHECK(accel__wandb_stream_waits(&stream));
    takes(&stream, NULL, true,
          "{\"files\":{\"wandb-history.jsonl\":{\"offset\":5,\"content\":[\"{\\\"a\\\":1}\","
          "\"{\\\"a\\\":2}\"]},\"wandb-events.jsonl\":{\"offset\":0,\"content\":[\"{}\"]},"
          "\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\\\"a\\\":2}\"]}}}");
    CHECK(accel__wandb_stream_history(&stream, "{\"a\":3}"));
    accel__wandb_stream_uploaded(&stream, "a/b\"");
    takes(&stream, &ending, true,
          "{\"files\":{\"wandb-history.jsonl\":{\"offset\":7,\"content\":[\"{\\\"a\\\":3}\"]}},"
          "\"uploaded\":[\"a/b\\\"\"],\"complete\":true,\"exitcode\":3}");
    takes(&stream, &ending, true, "{\"complete\":true,\"exitcode\":3}");
    accel__wandb_stream_free(&stream);
}

/* Only consecutive lines go in one request, and the end waits for the last. */
static void stream_sends_consoles_in_runs(void)
{
    accel__wandb_stream_t stream;
    const accel__wandb_ending_t ending = {.complete = true};
    accel__wandb_stream_init(&stream, 1000, 100);
    stream.output_offset = 10;
    CHECK(accel__wandb_stream_console(&stream, 7, "seven"));
    CHECK(accel__wandb_stream_console(&stream, 3, "three"));
    CHECK(accel__wandb_stream_console(&stream, 4, "four"));
    CHECK(accel__wandb_stream_console(&stream, 3, "THREE"));
    takes(&stream, &ending, false,
          "{\"files\":{\"output.log\":{\"offset\":13,\"content\":[\"THREE\",\"four\"]}}}");
    takes(&stream, &ending, true,
          "{\"files\":{\"output.log\":{\"offset\":17,\"content\":[\"seven\"]}},"
          "\"complete\":true,\"exitcode\":0}");
    CHECK_INT(0, (long long)stream.bytes);
    accel__wandb_stream_free(&stream);
}

/* A line that is too long takes no place; what waits is counted, so that it is sent in time. */
static void stream_is_bounded(void)
{
    accel__wandb_stream_t stream;
    char line[64];
    accel__wandb_stream_init(&stream, 200, 40);
    memset(line, 'x', sizeof(line));
    line[41] = '\0';
    CHECK(!accel__wandb_stream_history(&stream, line));
    CHECK(!accel__wandb_stream_console(&stream, 0, line));
    CHECK_INT(2, (long long)stream.dropped);
    CHECK(!accel__wandb_stream_waits(&stream));
    line[40] = '\0';
    for (int i = 0; i < 4; i++) {
        CHECK(!accel__wandb_stream_full(&stream));
        CHECK(accel__wandb_stream_history(&stream, line));
    }
    CHECK(!accel__wandb_stream_full(&stream));
    CHECK(accel__wandb_stream_console(&stream, 0, line));
    CHECK(accel__wandb_stream_full(&stream));
    accel__wandb_stream_free(&stream);
}

/* ---- trees ---- */

static void shows(const accel__wandb_tree_t *tree, bool bare, const char *expected)
{
    accel__wandb_text_t text = {0};
    accel__wandb_tree_print(tree, &text, bare);
    CHECK_STR(expected, text.data);
    accel__wandb_text_free(&text);
}

static void tree_keeps_the_text_of_numbers(void)
{
    static const char json[] = "{\"a\":[1e+06,0.1,18446744073709551615,-0,NaN,-Infinity,{}],"
                               "\"b\":{\"c\":null,\"d\":\"\\u00e9\"}}";
    accel__wandb_tree_t tree;
    CHECK(accel__wandb_tree_parse(&tree, json, strlen(json)));
    shows(&tree, true, json);
    shows(&tree, false,
          "{\"a\":[1e+06,0.1,18446744073709551615,-0,null,null,{}],"
          "\"b\":{\"c\":null,\"d\":\"\\u00e9\"}}");
    accel__wandb_tree_free(&tree);
}

static void tree_refuses_what_is_no_json(void)
{
    static const char *const wrong[] = {"",        "{",   "[1,]", "{\"a\"}",    "{a:1}", "01",
                                        "1.",      ".5",  "1e",   "+1",         "nan",   "tru",
                                        "\"\\x\"", "\"a", "1 2",  "[1 2]",      "{}}",   "\"\n\"",
                                        "'a'",     "[1}", "--1",  "\"\\ud800\""};
    accel__wandb_tree_t tree;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (accel__wandb_tree_parse(&tree, wrong[i], strlen(wrong[i])))
            test_fail(__FILE__, __LINE__, "'%s' was taken", wrong[i]);
    }
    char deep[2001];
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    CHECK(!accel__wandb_tree_parse(&tree, deep, 2000));
    CHECK(accel__wandb_tree_parse(&tree, deep + 950, 100));
    accel__wandb_tree_free(&tree);
}

static void tree_is_put_together(void)
{
    char a[] = "a", b[] = "b", c[] = "c.d";
    char *deep[] = {a, b, c}, *flat[] = {b}, *top[] = {a};
    accel__wandb_tree_t tree = {.kind = ACCEL__WANDB_OBJECT};
    CHECK(accel__wandb_tree_set(&tree, deep, 3, "1"));
    CHECK(accel__wandb_tree_set(&tree, flat, 1, "[1]"));
    CHECK(accel__wandb_tree_set(&tree, deep, 3, "2"));
    shows(&tree, true, "{\"a\":{\"b\":{\"c.d\":2}},\"b\":[1]}");
    CHECK(accel__wandb_tree_merge(&tree, top, 1, "{\"x\":1,\"b\":{\"y\":2}}"));
    shows(&tree, true, "{\"a\":{\"b\":{\"c.d\":2,\"y\":2},\"x\":1},\"b\":[1]}");
    CHECK(!accel__wandb_tree_set(&tree, flat, 1, "no"));
    char *too_deep[101];
    for (size_t i = 0; i < 101; i++)
        too_deep[i] = deep[0];
    CHECK(!accel__wandb_tree_set(&tree, too_deep, 101, "1"));
    accel__wandb_tree_remove(&tree, deep, 2);
    shows(&tree, true, "{\"a\":{\"x\":1},\"b\":[1]}");
    CHECK(accel__wandb_tree_set(&tree, top, 1, "{}"));
    shows(&tree, true, "{\"a\":{},\"b\":[1]}");
    accel__wandb_tree_free(&tree);
}

/* A file or an artifact in the log is no reason to send the run's configuration again. */
static void bucket_changes_by_what_concerns_it(void)
{
    static const uint8_t run[] = {0x0a, 2, 'i', 'd'}, telemetry[] = {0x2a, 1, '1'};
    accel__wandb_bucket_t bucket = {.config.kind = ACCEL__WANDB_OBJECT};
    CHECK_OK(accel__wandb_bucket_take(&bucket, ACCEL__WANDB_RUN, run, sizeof(run)));
    CHECK(bucket.changed);
    bucket.changed = false;
    CHECK_OK(accel__wandb_bucket_take(&bucket, ACCEL__WANDB_FILES, NULL, 0));
    CHECK_OK(accel__wandb_bucket_take(&bucket, ACCEL__WANDB_ARTIFACT, NULL, 0));
    CHECK(!bucket.changed);
    CHECK_OK(
        accel__wandb_bucket_take(&bucket, ACCEL__WANDB_TELEMETRY, telemetry, sizeof(telemetry)));
    CHECK(bucket.changed);
    accel__wandb_bucket_free(&bucket);
}

static void tree_is_yaml(void)
{
    static const char json[] = "{\"z\":1e+06,\"a b\":\"it: "
                               "is\",\"no\":\"no\",\"e\":{\"k\":[1,[2],{\"x\":\"y\"}],\"o\":{}},"
                               "\"n\":NaN,\"v\":\"0.31.0\",\"p\":\"/a/b\",\"l\":[],\"t\":true}";
    accel__wandb_tree_t tree;
    accel__wandb_text_t text = {0};
    CHECK(accel__wandb_tree_parse(&tree, json, strlen(json)));
    accel__wandb_tree_yaml(&tree, &text);
    CHECK_STR("a b: \"it: is\"\n"
              "e:\n    k:\n        - 1\n        -\n            - 2\n        -\n"
              "            x: \"y\"\n    o: {}\n"
              "l: []\n\"n\": .nan\n\"no\": \"no\"\np: /a/b\nt: true\nv: \"0.31.0\"\n"
              "z: 1.0e+06\n",
              text.data);
    accel__wandb_text_free(&text);
    accel__wandb_tree_free(&tree);
}

/* ---- the syncstate ---- */

static void syncstate_is_of_one_run(void)
{
    accel__wandb_destination_t here = {"http://s", "e", "p", "r"},
                               there = {"http://s", "e", "p", "x"};
    accel__wandb_syncstate_t state = {.starting_step = 1, .history = 2, .events = 3, .output = 4};
    accel__wandb_syncstate_t found = {0};
    const char *log = path_of("run-s.wandb");
    int fd, second;
    accel__wandb_set_host(&host);
    CHECK_OK(accel__wandb_syncstate_open(log, &fd));
    CHECK(!accel__wandb_syncstate_load(fd, &here, &found));
    CHECK_OK(accel__wandb_syncstate_save(fd, log, &here, &state));
    CHECK(!accel__wandb_syncstate_load(fd, &there, &found));
    CHECK(accel__wandb_syncstate_load(fd, &here, &found));
    CHECK_INT(1, (long long)found.starting_step);
    CHECK_INT(2, (long long)found.history);
    CHECK_INT(3, (long long)found.events);
    CHECK_INT(4, (long long)found.output);
    state.history = 9;
    for (int i = 0; i < 2; i++) /* another run's places do not touch this one's */
        CHECK_OK(accel__wandb_syncstate_save(fd, log, &there, &state));
    CHECK(accel__wandb_syncstate_load(fd, &here, &found));
    CHECK_INT(2, (long long)found.history);
    CHECK(accel__wandb_syncstate_load(fd, &there, &found));
    CHECK_INT(9, (long long)found.history);
    CHECK_STATUS(ACCEL_ERR_STATE, accel__wandb_syncstate_open(log, &second));
    close(fd);
    CHECK_OK(accel__wandb_syncstate_open(log, &second));
    CHECK(pwrite(second, "x", 1, 0) == 1); /* damaged: as if there were none */
    CHECK(!accel__wandb_syncstate_load(second, &here, &found));
    close(second);
}

/* ---- records by number ---- */

static void wire_tells_records_apart(void)
{
    Wandb__Record record = WANDB__RECORD__INIT;
    Wandb__RunExitRecord exit_record = WANDB__RUN_EXIT_RECORD__INIT;
    uint8_t bytes[64];
    const uint8_t *data;
    size_t size;
    exit_record.exit_code = 300;
    record.num = 7;
    record.exit = &exit_record;
    size_t length = wandb__record__pack(&record, bytes);
    CHECK_INT(ACCEL__WANDB_EXIT, (long long)accel__wandb_wire_kind(bytes, length, &data, &size));
    CHECK_INT(3, (long long)size);
    for (size_t cut = 0; cut < length; cut++)
        (void)accel__wandb_wire_kind(bytes, cut, &data, &size);
    memset(bytes, 0xff, sizeof(bytes));
    CHECK_INT(0, (long long)accel__wandb_wire_kind(bytes, sizeof(bytes), &data, &size));
}

/* ---- which logs a folder holds ---- */

static void make_run(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", test_dir(), folder);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/%s/%s", test_dir(), folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0);
    close(fd);
}

static void logs_are_found_oldest_first(void)
{
    accel__wandb_logs_t logs;
    accel__wandb_set_host(&host);
    make_run("run-20260103_000000-b", "run-b.wandb");
    make_run("offline-run-20260102_000000-a", "run-a.wandb");
    make_run("offline-run-20260102_000000-a", "run-a.wandb.synced");
    make_run("offline-run-20260104_000000-c", "run-c.wandb");
    make_run("other", "run-d.wandb");
    CHECK(symlink("run-20260103_000000-b", path_of("run-link")) == 0);
    CHECK_OK(accel__wandb_logs_find(test_dir(), &logs));
    CHECK_INT(3, (long long)logs.count);
    CHECK(strstr(logs.paths[0], "/run-a.wandb") && strstr(logs.paths[1], "/run-b.wandb") &&
          strstr(logs.paths[2], "/run-c.wandb"));
    CHECK(!accel__wandb_logs_is_online(logs.paths[0]) &&
          accel__wandb_logs_is_online(logs.paths[1]));
    accel__wandb_logs_free(&logs);
    CHECK_OK(accel__wandb_logs_find(path_of("other"), &logs));
    CHECK_INT(1, (long long)logs.count);
    accel__wandb_logs_free(&logs);
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel__wandb_logs_find(path_of("missing"), &logs));
}

TEST_MAIN(TEST(reader_reads_all_lengths), TEST(reader_waits_for_the_rest),
          TEST(reader_skips_what_is_broken), TEST(reader_refuses_other_files),
          TEST(reader_takes_any_bytes), TEST(retry_knows_what_passes),
          TEST(retry_waits_longer_each_time), TEST(retry_after_is_seconds_or_a_date),
          TEST(key_goes_to_one_server), TEST(key_is_blotted_out), TEST(describes_answers_in_a_line),
          TEST(stream_counts_lines), TEST(stream_sends_consoles_in_runs), TEST(stream_is_bounded),
          TEST(tree_keeps_the_text_of_numbers), TEST(tree_refuses_what_is_no_json),
          TEST(tree_is_put_together), TEST(bucket_changes_by_what_concerns_it), TEST(tree_is_yaml),
          TEST(syncstate_is_of_one_run), TEST(wire_tells_records_apart),
          TEST(logs_are_found_oldest_first))
