/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that the judge wandb_records.py repeats under the stock client:
 *     program-wandb_run rows|seed|killed|many DIRECTORY [FILE]
 * Prints the run's folder. */
#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "wandb_host.h"

static const accel_tracker_class_t *wandb;
static void *run;

static void check(accel_status_t status, const char *what)
{
    if (status == ACCEL_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, wandb_host_error);
    exit(1);
}

static void begin(const char *project, const accel_item_t *kwargs)
{
    accel_tracker_init_t init = {.struct_size = sizeof(init),
                                 .project_name = project,
                                 .init_kwargs = kwargs,
                                 .num_processes = 1};
    check(wandb->create(wandb->context, &init, &run), "create");
    check(wandb->start(run), "start");
}

static void row(const accel_item_t *values, int64_t step)
{
    check(wandb->log(run, values, step, wandb_host_now()), "log");
}

static void end(int32_t exit_code)
{
    check(wandb->finish(run, exit_code), "finish");
    printf("%s\n", wandb->info(run, "dir")); /* now that the run does not record it any more */
    wandb->destroy(run);
}

/* Every kind of value, steps given and not, late and merged. */
static void rows(const char *directory)
{
    begin("my_project",
          ACCEL_DICT("entity", "my-wandb-team", "dir", directory, "name", "a run", "id", "rows1",
                     "group", "g", "job_type", "jt", "notes", "some\nnotes", "tags",
                     ACCEL_LIST("t1", "t\xc3\xa9"), "config",
                     ACCEL_DICT("a", ACCEL_DICT("b", 1, "c", ACCEL_LIST(1, 2.0, "x")), "drop", 1),
                     "config_exclude_keys", ACCEL_LIST("drop"), "resume", "allow"));
    check(wandb->store_init_configuration(
              run,
              ACCEL_DICT("dropout", 0.1, "learning_rate", 1e-2, "none", NULL, "inf", INFINITY,
                         "one", 1.0, "tiny", 1e-5, "tinier", 1.5e-7, "big", 1e16, "e15", 1e15,
                         "list", ACCEL_LIST(1e22, 0.1, NAN), "nest",
                         ACCEL_DICT("nan", NAN, "t", ACCEL_LIST(1, 2)), "s", "\xc3\xa9\n\"<>&\x01",
                         "b", ACCEL_TRUE, "nan", NAN, "large", (uint64_t)18446744073709551615u)),
          "config");
    printf("a line of the program's, for the console\n");
    for (int i = 0; i < 3; i++)
        row(ACCEL_DICT("train_loss", 1.12 - i * 0.1, "valid_loss", 0.8), i);
    row(ACCEL_DICT("late", 1), 1);
    row(ACCEL_DICT("list",
                   ACCEL_LIST(1.0, NAN, INFINITY, 1e6, 123456.0, 1234567.5,
                              ACCEL_DICT("a", 1.0, "b", NULL)),
                   "s", "\xc3\xa9\n\"<>&", "neg", -0.0, "u", (uint64_t)1 << 63, "none", NULL, "d",
                   ACCEL_DICT("a", NULL, "b", ACCEL_TRUE, "deep", ACCEL_DICT("x", 2.5)), "m", 1e6,
                   "k", 123456.0, "e-4", 0.0001, "e-5", 0.00001, "f32", 0.1f, "e20", 1e20, "empty",
                   "", "ninf", -INFINITY, "a.b", 1, "a/b", 2, "i", INT64_MIN),
        10);
    row(ACCEL_DICT("y", 1, "m", 2.5, "d", ACCEL_DICT("deep", 7)), 10);
    row(NULL, 12);
    row(ACCEL_DICT("joined", 3), ACCEL_NO_STEP);
    row(ACCEL_DICT("counted", 1), ACCEL_NO_STEP);
    row(NULL, ACCEL_NO_STEP);
    row(ACCEL_DICT("counted", 2), ACCEL_NO_STEP);
    check(wandb->update_summary(run, ACCEL_DICT("best", 0.5, "nest", ACCEL_DICT("a", 1), "z", NAN)),
          "summary");
    row(ACCEL_DICT("last", 1), 20);
    end(3);
}

/* The guide's program, with an artifact of one file copied, one in place and one reference. */
static void seed(const char *directory, const char *file)
{
    begin("my_project", ACCEL_DICT("entity", "my-wandb-team", "dir", directory));
    check(wandb->store_init_configuration(run, ACCEL_DICT("dropout", 0.1, "learning_rate", 1e-2)),
          "config");
    for (int64_t step = 0; step < 3; step++)
        row(ACCEL_DICT("train_loss", 1.12, "valid_loss", 0.8), step);
    const char *aliases[] = {"best"};
    accel_artifact_entry_t entries[] = {
        {.path = "d/g.txt", .local_path = file, .immutable = true},
        {.path = "f.txt", .local_path = file},
        {.path = "k", .reference = "https://127.0.0.1:1/b/k", .size = -1},
    };
    accel_artifact_view_t artifact = {.name = "some_artifact",
                                      .type = "dataset",
                                      .description = "words",
                                      .metadata = "{\"k\":1}",
                                      .aliases = aliases,
                                      .num_aliases = 1,
                                      .entries = entries,
                                      .num_entries = 3};
    check(wandb->log_artifact(run, &artifact), "artifact");
    end(0);
}

/* Dies by SIGKILL with a row open. */
static void killed(const char *directory)
{
    begin("p", ACCEL_DICT("dir", directory, "mode", "offline"));
    for (int64_t step = 0; step < 100; step++)
        row(ACCEL_DICT("x", step), step);
    kill(getpid(), SIGKILL);
}

/* Long enough for many blocks of the log. */
static void many(const char *directory)
{
    static char text[40001];
    memset(text, 'x', sizeof(text) - 1);
    begin("p", ACCEL_DICT("dir", directory, "mode", "offline"));
    for (int64_t step = 0; step < 2000; step++)
        row(ACCEL_DICT("x", sqrt((double)step), "y", step % 7), step);
    row(ACCEL_DICT("text", (const char *)text), 2000);
    end(0);
}

int main(int argc, char **argv)
{
    if (argc < 3 || !(wandb = wandb_host_load()))
        return 2;
    if (!strcmp(argv[1], "rows"))
        rows(argv[2]);
    else if (!strcmp(argv[1], "seed") && argc > 3)
        seed(argv[2], argv[3]);
    else if (!strcmp(argv[1], "killed"))
        killed(argv[2]);
    else if (!strcmp(argv[1], "many"))
        many(argv[2]);
    else
        return 2;
    return 0;
}
