/* SPDX-License-Identifier: Apache-2.0 */
/* Runs by themselves that the judge wandb_run.py repeats under the stock client:
 *     program-wandb_api SCENARIO DIRECTORY */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static accel_wandb_run_t *run;

static void define(const char *name, accel_wandb_metric_options_t options)
{
    options.struct_size = sizeof(options);
    ACCEL_CHECK(accel_wandb_run_define_metric(run, name, &options));
}

static void log_row(const accel_item_t *values)
{
    ACCEL_CHECK(accel_wandb_run_log(run, values, ACCEL_NO_STEP));
}

#define DEFINE(name, ...) define(name, (accel_wandb_metric_options_t){__VA_ARGS__})
#define LOG(...) log_row(ACCEL_DICT(__VA_ARGS__))

static void metrics(void)
{
    DEFINE("epoch", .hidden = false);
    DEFINE("loss", .step_metric = "epoch", .summary = "min,max,mean,last,first");
    DEFINE("acc", .summary = "max");
    DEFINE("none", .summary = "none");
    DEFINE("mean", .summary = "MEAN");
    DEFINE("minf", .summary = "min,first");
    DEFINE("hid", .hidden = true);
    for (int i = 0; i < 3; i++)
        LOG("loss", 1.0 - i * .25, "epoch", i, "acc", i * .5, "none", i, "hid", i, "other", i,
            "mean", i, "minf", i);
    LOG("loss", NAN, "acc", NAN);
    LOG("acc", INFINITY, "minf", -INFINITY, "mean", INFINITY);
    LOG("loss", 7, "minf", (int64_t)1 << 62);
    LOG("loss", "text", "acc", ACCEL_TRUE, "minf", NULL, "mean", ACCEL_LIST(1, 2));
    LOG("loss", 8, "acc", 2, "mean", 3, "minf", ACCEL_DICT("a", 1));
}

static void words(void)
{
    static const char *const names[] = {"mean", "min", "first", "last", "max", "LAST", "none,min"};
    const accel_list_t *one = ACCEL_LIST(1); /* lives as long as the rows */
    char keys[8][16];
    for (int i = 0; i < 7; i++) {
        snprintf(keys[i], sizeof(keys[i]), "x%d", i);
        DEFINE(keys[i], .summary = names[i]);
    }
    for (int round = 0; round < 8; round++) {
        accel_item_t row[8];
        for (int i = 0; i < 7; i++) {
            const accel_item_t values[] = {
                accel_item_string(keys[i], "txt"), accel_item_null(keys[i], NULL),
                accel_item_bool(keys[i], true),    accel_item_int(keys[i], 9007199254740993),
                accel_item_float(keys[i], 0.1),    accel_item_list(keys[i], one),
                accel_item_float(keys[i], NAN),    accel_item_null(keys[i], NULL)};
            row[i] = values[round];
        }
        row[7] = accel_item_end();
        ACCEL_CHECK(accel_wandb_run_log(run, row, ACCEL_NO_STEP));
    }
}

static void globs(void)
{
    DEFINE("n.*", .summary = "max");
    DEFINE("lit*", .summary = "min");
    DEFINE("a\\.b*", .summary = "min");
    DEFINE("train/*", .step_metric = "train/step", .summary = "mean");
    LOG("n", ACCEL_DICT("a", 1, "b", ACCEL_DICT("c", 2)), "lit.dot", 5, "n.b.c", 9, "lit",
        ACCEL_DICT("x", 1), "a.bc", 3, "a", ACCEL_DICT("bc", 4), "_lit", 1);
    LOG("train/a", 1, "train/step", 5);
    LOG("train/a", 2, "train/b", 5);
    DEFINE("train/a", .summary = "max", .overwrite = true);
    DEFINE("train/a", .summary = "mean");
    LOG("train/a", 2);
    DEFINE("train/a", .overwrite = true);
    LOG("train/a", 3);
    DEFINE("n.b.c", .summary = "last");
    DEFINE("lit\\.dot", .summary = "max");
    LOG("n", ACCEL_DICT("a", 1, "b", ACCEL_DICT("c", 2)), "lit.dot", 6);
    DEFINE("n", .summary = "min");
    LOG("n", ACCEL_DICT("b", ACCEL_DICT("c", 3)));
    LOG("n", 5);
    DEFINE("_x", .summary = "max");
    DEFINE("_y*", .summary = "max");
    LOG("_x", 1, "_y1", 2, "e", ACCEL_DICT("", ACCEL_DICT("b", 3)), "", 5);
}

static void steps(void)
{
    DEFINE("a", .step_metric = "s", .step_sync = -1);
    DEFINE("b", .step_metric = "s");
    DEFINE("c.d", .step_metric = "e.f");
    DEFINE("g", .step_metric = "_step");
    DEFINE("x", .step_metric = "big");
    LOG("s", 1, "a", 1, "b", 1, "e", ACCEL_DICT("f", 5));
    LOG("a", 2);
    LOG("b", 2);
    LOG("s", "txt", "b", 3);
    LOG("b", 4);
    LOG("c", ACCEL_DICT("d", 1));
    LOG("g", 1);
    LOG("x", 1);
    LOG("big", 1000000);
    LOG("x", 1);
    LOG("big", (int64_t)1 << 60);
    LOG("x", 1);
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("b", 5), 20));
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("s", 9), 20));
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("b", 6), 21));
    DEFINE("k", .step_sync = 1);
    DEFINE("k", .step_metric = "s");
    LOG("k", 1);
    LOG("s", NAN);
    LOG("k", 1);
    DEFINE("late", .step_metric = "other");
    LOG("late", 1);
}

static void summary(void)
{
    LOG("a", 1, "n", ACCEL_DICT("x", 1, "y", 2));
    DEFINE("z", .summary = "max,min");
    LOG("z", 1);
    ACCEL_CHECK(accel_wandb_run_summary_update(run, ACCEL_DICT("z", 77)));
    LOG("z", 0.5);
    DEFINE("z", .summary = "mean,last");
    LOG("z", 3);
    ACCEL_CHECK(accel_wandb_run_summary_update(run, ACCEL_DICT("n", ACCEL_DICT("x", 5))));
    ACCEL_CHECK(accel_wandb_run_summary_update(run, ACCEL_DICT("n.x", 6)));
    ACCEL_CHECK(accel_wandb_run_summary_update(
        run, ACCEL_DICT("new", ACCEL_DICT("a", ACCEL_DICT("b", 1)))));
    LOG("n", ACCEL_DICT("x", 8));
    ACCEL_CHECK(accel_wandb_run_summary_remove(run, "new.a.b"));
    ACCEL_CHECK(accel_wandb_run_summary_update(
        run, ACCEL_DICT("p", 1, "q", ACCEL_DICT("r", NAN), "inf", INFINITY, "t", ACCEL_LIST(1, 2),
                        "none", NULL, "txt", "\xc3\xa9")));
    ACCEL_CHECK(accel_wandb_run_summary_remove(run, "p"));
    ACCEL_CHECK(accel_wandb_run_summary_remove(run, "nope"));
    LOG("z", 2);
}

static void commits(void)
{
#define COMMIT(dict, step, commit) ACCEL_CHECK(accel_wandb_run_log_commit(run, dict, step, commit))
    COMMIT(ACCEL_DICT("a", 1), ACCEL_NO_STEP, false);
    LOG("b", 2);
    COMMIT(ACCEL_DICT("c", 2), 5, true);
    LOG("d", 1);
    COMMIT(ACCEL_DICT("e", 1), 6, false);
    COMMIT(ACCEL_DICT("f", 1), ACCEL_NO_STEP, false);
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("g", 1), 3));
    COMMIT(ACCEL_DICT("l", 1), 4, true);
    COMMIT(ACCEL_DICT("h", 1), 8, false);
    COMMIT(NULL, ACCEL_NO_STEP, true);
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("i", 1), 9));
    printf("step %lld\n", (long long)accel_wandb_run_step(run));
}

static void changes(void)
{
    ACCEL_CHECK(accel_wandb_run_set_name(run, "new name"));
    ACCEL_CHECK(accel_wandb_run_set_notes(run, "my notes"));
    ACCEL_CHECK(accel_wandb_run_set_tags(run, ACCEL_LIST("a", "b")));
    ACCEL_CHECK(accel_wandb_run_mark_preempting(run));
    ACCEL_CHECK(accel_wandb_run_config_update(run, ACCEL_DICT("x", 1, "y", ACCEL_DICT("a", 1))));
    ACCEL_CHECK(accel_wandb_run_config_update(run, ACCEL_DICT("x", 2)));
    if (accel_wandb_run_config_set(run, ACCEL_DICT("x", 3)) == ACCEL_OK)
        printf("changed\n");
    ACCEL_CHECK(accel_wandb_run_config_setdefaults(run, ACCEL_DICT("x", 9, "w", 1)));
    LOG("a", 1);
    printf("name %s\nnotes %s\nconfig %s\n", accel_wandb_run_name(run), accel_wandb_run_notes(run),
           accel_wandb_run_config(run));
}

static void files(void)
{
    ACCEL_CHECK(accel_wandb_run_save(run, "sub/*.txt", NULL, ACCEL_WANDB_LIVE));
    ACCEL_CHECK(accel_wandb_run_save(run, "sub/deep/../f.txt", "sub", ACCEL_WANDB_NOW));
    ACCEL_CHECK(accel_wandb_run_save(run, "nomatch*", NULL, ACCEL_WANDB_LIVE));
    ACCEL_CHECK(accel_wandb_run_save(run, "g.txt", NULL, ACCEL_WANDB_END));
    if (accel_wandb_run_save(run, "../x", NULL, ACCEL_WANDB_LIVE) == ACCEL_OK)
        printf("climbed\n");
}

/* Left for exit() to finish. */
static void forgotten(void)
{
    LOG("a", 1);
    ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("a", 2), 7));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*scenario)(void);
    } scenarios[] = {
        {"metrics", metrics}, {"words", words},     {"globs", globs},
        {"steps", steps},     {"summary", summary}, {"commits", commits},
        {"changes", changes}, {"files", files},     {"forgotten", forgotten},
    };
    if (argc != 3)
        return 2;
    ACCEL_CHECK(accel_wandb_init(
        ACCEL_DICT("project", "p", "dir", (const char *)argv[2], "config", ACCEL_DICT("start", 1)),
        &run));
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
        if (!strcmp(scenarios[i].name, argv[1]))
            scenarios[i].scenario();
    }
    if (!strcmp(argv[1], "forgotten"))
        return 3;
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    return 0;
}
