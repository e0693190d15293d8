/* SPDX-License-Identifier: Apache-2.0 */
/* An artifact of Weights & Biases: made, logged, found again by its name, and downloaded.
 *
 *     WANDB_API_KEY=... ./artifacts log FILE     (or WANDB_MODE=offline, and a sync)
 *     WANDB_API_KEY=... ./artifacts use NAME */
#include <stdio.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static void log_file(accel_wandb_run_t *run, const char *file)
{
    /* [log] */
    const char *aliases[] = {"best", NULL};
    accel_artifact_t *artifact;

    ACCEL_CHECK(accel_artifact_create(
        "words", "dataset",
        ACCEL_ARTIFACT_OPTIONS(.description = "a list of words", .aliases = aliases,
                               .metadata = ACCEL_DICT("language", "en")),
        &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, file, "words.txt"));
    ACCEL_CHECK(accel_artifact_new_file(artifact, "README", "One word a line.\n", 17));
    ACCEL_CHECK(accel_wandb_run_log_artifact(run, artifact));
    accel_artifact_destroy(artifact);
    /* [/log] */
}

static void use(accel_wandb_run_t *run, const char *name)
{
    /* [use] */
    accel_wandb_artifact_t *artifact;
    const char *folder;

    ACCEL_CHECK(accel_wandb_run_use_artifact(run, name, "dataset", &artifact));
    ACCEL_CHECK(accel_wandb_artifact_download(artifact, NULL, &folder));
    printf("%s is in %s\n", accel_wandb_artifact_info(artifact, "qualified_name"), folder);
    accel_wandb_artifact_destroy(artifact);
    /* [/use] */
}

int main(int argc, char **argv)
{
    accel_wandb_run_t *run;

    if (argc != 3 || (strcmp(argv[1], "log") != 0 && strcmp(argv[1], "use") != 0)) {
        fprintf(stderr, "usage: %s log FILE | use NAME\n", argv[0]);
        return 2;
    }
    ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "words", "job_type", argv[1]), &run));
    if (strcmp(argv[1], "log") == 0)
        log_file(run, argv[2]);
    else
        use(run, argv[2]);
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    return 0;
}
