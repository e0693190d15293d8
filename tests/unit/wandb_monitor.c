/* SPDX-License-Identifier: Apache-2.0 */
/* The console's lines, and the limits of control groups. */
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/fold.h"
#include "monitor/sample.h"
#include "test.h"

/* ---- lines ---- */

enum { MAX_LINES = 256 };

typedef struct {
    char *texts[MAX_LINES];
    bool stderrs[MAX_LINES], finals[MAX_LINES];
    int64_t count;
    int changed;
} lines_t;

static void take(void *context, const accel__wandb_line_t *line)
{
    lines_t *lines = context;
    CHECK(line->number >= 0 && line->number < MAX_LINES && line->number <= lines->count);
    CHECK(!lines->finals[line->number]);
    free(lines->texts[line->number]);
    lines->texts[line->number] = strndup(line->text, line->length);
    lines->stderrs[line->number] = line->is_stderr;
    lines->finals[line->number] = line->final;
    lines->changed += line->changed;
    if (line->number == lines->count)
        lines->count++;
}

static void feed(accel__wandb_fold_t *fold, bool is_stderr, const char *text)
{
    CHECK(accel__wandb_fold_feed(fold, is_stderr, (struct timespec){0}, text, strlen(text)));
}

static void lines_free(lines_t *lines)
{
    for (int64_t i = 0; i < lines->count; i++)
        free(lines->texts[i]);
}

/* Whole, and in pieces of one byte: the same lines. */
static void folds_to(const char *text, const char *expected)
{
    for (int pieces = 0; pieces < 2; pieces++) {
        lines_t lines = {0};
        accel__wandb_fold_t *fold = accel__wandb_fold_create(take, &lines);
        CHECK(fold);
        if (!pieces)
            feed(fold, false, text);
        for (const char *at = text; pieces && *at; at++)
            CHECK(accel__wandb_fold_feed(fold, false, (struct timespec){0}, at, 1));
        accel__wandb_fold_flush(fold);
        char found[4096] = "";
        for (int64_t i = 0; i < lines.count; i++) {
            strcat(found, lines.texts[i]);
            strcat(found, "|");
        }
        CHECK_STR(expected, found);
        accel__wandb_fold_destroy(fold);
        lines_free(&lines);
    }
}

static void a_progress_bar_is_one_line(void)
{
    folds_to("", "");
    folds_to("\n\n", "");
    folds_to("a\n\nb", "a||b|");
    folds_to("10%\r20%\r100%\nend\n", "100%|end|");
    folds_to("longer\rs\n", "songer|");
    folds_to("one\ntwo\033[A\rONE\033[B\rTWO\n", "ONE|TWO|");
    folds_to("\033[31mred\033[0m\n", "\033[31mred\033[0m|");
    folds_to("\033\033[\033[A\033x", "\033\033[\033x|");
    folds_to("t\xc3\xa9xt \xf0\x9f\x98\x80\n", "t\xc3\xa9xt \xf0\x9f\x98\x80|");
    folds_to("\xff\xc3(\xed\xa0\x80\xf5\n", "\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd"
                                            "\xef\xbf\xbd\xef\xbf\xbd|");
}

static void streams_share_the_numbering(void)
{
    lines_t lines = {0};
    accel__wandb_fold_t *fold = accel__wandb_fold_create(take, &lines);
    CHECK(fold);
    feed(fold, false, "out 1");
    feed(fold, true, "err\r");
    feed(fold, false, "\nout 2\n");
    feed(fold, true, "ERR\n");
    accel__wandb_fold_flush(fold);
    CHECK_INT(3, lines.count);
    CHECK_STR("out 1", lines.texts[0]);
    CHECK_STR("ERR", lines.texts[1]);
    CHECK_STR("out 2", lines.texts[2]);
    CHECK(!lines.stderrs[0] && lines.stderrs[1] && !lines.stderrs[2]);
    CHECK_INT(3, lines.changed);
    accel__wandb_fold_flush(fold);
    CHECK_INT(3, lines.changed); /* nothing new */
    feed(fold, true, "\033[A\rE");
    accel__wandb_fold_flush(fold);
    CHECK_INT(3, lines.changed); /* an E in place of an E */
    feed(fold, true, "x");
    accel__wandb_fold_flush(fold);
    CHECK_INT(4, lines.changed);
    CHECK_STR("ExR", lines.texts[1]);
    accel__wandb_fold_destroy(fold);
    lines_free(&lines);
}

static void old_lines_are_final(void)
{
    lines_t lines = {0};
    accel__wandb_fold_t *fold = accel__wandb_fold_create(take, &lines);
    CHECK(fold);
    feed(fold, true, "stays");
    for (int i = 0; i < 40; i++)
        feed(fold, false, "x\n");
    CHECK(lines.count == 9 && lines.finals[8]); /* 41 lines, 32 of which may change */
    feed(fold, true, "\rchanged\n");            /* too late */
    accel__wandb_fold_flush(fold);
    CHECK_INT(41, lines.count);
    CHECK_STR("stays", lines.texts[0]);
    accel__wandb_fold_destroy(fold);
    lines_free(&lines);
}

/* ---- control groups ---- */

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s/%s", test_dir(), directory, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void make_dir(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", test_dir(), name);
    CHECK(mkdir(path, 0777) == 0);
}

static void the_tightest_limit_counts(void)
{
    char mounts[1024];
    make_dir("two");
    make_dir("two/job");
    make_dir("two/job/step");
    write_file("two/job/step", "cpu.max", "max 100000\n");
    write_file("two/job", "cpu.max", "150000 100000\n");
    write_file("two/job/step", "memory.max", "2000000\n");
    write_file("two/job/step", "memory.current", "500000\n");
    write_file("two/job", "memory.max", "1000000\n");
    write_file("two/job", "memory.current", "700000\n");
    snprintf(mounts, sizeof(mounts),
             "20 1 0:1 / /proc rw - proc proc rw\n"
             "30 1 0:26 / %s/two rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
             test_dir());
    accel__wandb_limits_t limits = accel__wandb_cgroup_limits("0::/job/step\n", mounts);
    CHECK_NEAR(1.5, limits.cores, 1e-9);
    CHECK_INT(1000000, limits.memory_limit);
    CHECK_INT(700000, limits.memory_used);
    limits = accel__wandb_cgroup_limits("0::/elsewhere\n", mounts);
    CHECK(limits.cores == 0 && limits.memory_limit == 0);
    /* a container sees a part of the hierarchy as the whole */
    snprintf(mounts, sizeof(mounts), "30 1 0:26 /job %s/two/job rw - cgroup2 cgroup2 rw\n",
             test_dir());
    limits = accel__wandb_cgroup_limits("0::/job/step\n", mounts);
    CHECK_NEAR(1.5, limits.cores, 1e-9);
}

static void version_1_has_limits_too(void)
{
    char mounts[1024];
    make_dir("one");
    make_dir("one/memory");
    make_dir("one/memory/job");
    make_dir("one/cpu");
    write_file("one/memory", "memory.limit_in_bytes", "9223372036854771712\n");
    write_file("one/memory/job", "memory.limit_in_bytes", "4096000\n");
    write_file("one/memory/job", "memory.usage_in_bytes", "1024\n");
    write_file("one/cpu", "cpu.cfs_quota_us", "-1\n");
    write_file("one/cpu", "cpu.cfs_period_us", "100000\n");
    snprintf(mounts, sizeof(mounts),
             "31 1 0:27 / %s/one/memory rw - cgroup cgroup rw,memory\n"
             "32 1 0:28 / %s/one/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
             test_dir(), test_dir());
    const char *groups = "4:memory:/job\n3:cpu,cpuacct:/\n0::/\n";
    accel__wandb_limits_t limits = accel__wandb_cgroup_limits(groups, mounts);
    CHECK_INT(4096000, limits.memory_limit);
    CHECK_INT(1024, limits.memory_used);
    CHECK(limits.cores == 0);
    write_file("one/cpu", "cpu.cfs_quota_us", "50000\n");
    CHECK_NEAR(0.5, accel__wandb_cgroup_limits(groups, mounts).cores, 1e-9);
}

static void nonsense_is_no_limit(void)
{
    static const char *const texts[] = {
        "", "\n", ":", "0:", "0::", "::::\n:", "x - cgroup2", " - cgroup2 x\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        for (size_t j = 0; j < sizeof(texts) / sizeof(*texts); j++) {
            accel__wandb_limits_t limits = accel__wandb_cgroup_limits(texts[i], texts[j]);
            CHECK(limits.cores == 0 && limits.memory_limit == 0);
        }
    }
    accel__wandb_limits_t limits = accel__wandb_cgroup_limits(NULL, NULL);
    CHECK(limits.cores == 0 && limits.memory_limit == 0);
}

/* ---- processes ---- */

static void a_process_is_measured(void)
{
    accel__wandb_usage_t usage, none;
    CHECK(accel__wandb_process_usage(getpid(), true, &usage));
    CHECK(usage.threads >= 1 && usage.rss > 4096 && usage.cpu_seconds >= 0);
    CHECK(!accel__wandb_process_usage(-1, false, &none));
}

TEST_MAIN(TEST(a_progress_bar_is_one_line), TEST(streams_share_the_numbering),
          TEST(old_lines_are_final), TEST(the_tightest_limit_counts),
          TEST(version_1_has_limits_too), TEST(nonsense_is_no_limit), TEST(a_process_is_measured))
