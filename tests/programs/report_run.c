/* SPDX-License-Identifier: Apache-2.0 */
/* The same run by two trackers, for the test of `accel report`:
 *     program-report_run DIRECTORY ROWS end|killed
 * W&B's log goes to DIRECTORY/wandb, the JSON lines to DIRECTORY/lines. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/accel.h>

#define HOSTILE "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"

static void log_artifact(accel_t *accelerator, const char *file)
{
    accel_artifact_t *artifact;

    ACCEL_CHECK(accel_artifact_create("weights", "model",
                                      ACCEL_ARTIFACT_OPTIONS(.description = HOSTILE), &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, file, "program"));
    ACCEL_CHECK(accel_tracker_log_artifact(accel_get_tracker(accelerator, "wandb"), artifact));
    ACCEL_CHECK(accel_tracker_log_artifact(accel_get_tracker(accelerator, "jsonl"), artifact));
    accel_artifact_destroy(artifact);
}

int main(int argc, char **argv)
{
    accel_t *accelerator;
    char lines[4096];
    long rows;

    if (argc < 4)
        return 2;
    rows = strtol(argv[2], NULL, 10);
    snprintf(lines, sizeof(lines), "%s/lines", argv[1]);
    ACCEL_CHECK(accel_create(
        ACCEL_OPTIONS(.log_with = "wandb,jsonl", .logging_dir = lines, .journal = "sync"),
        &accelerator));
    ACCEL_CHECK(accel_init_trackers(
        accelerator, "report",
        ACCEL_DICT("lr", 0.1, "layers", ACCEL_LIST(1, 2), "optimizer",
                   ACCEL_DICT("name", "adamw", "eps", 1e-8), "hostile", HOSTILE),
        ACCEL_DICT("wandb",
                   ACCEL_DICT("dir", argv[1], "mode", "offline", "id", "both", "name", HOSTILE,
                              "tags", ACCEL_LIST("one", "two")),
                   "jsonl", ACCEL_DICT("id", "both"))));
    for (long i = 0; i < rows; i++) {
        double spike = i == rows / 2 ? 1000.0 : 0.0;

        ACCEL_CHECK(accel_log(
            accelerator,
            ACCEL_DICT("train/loss", 1.0 / (double)(i + 1) + spike, HOSTILE, i, "nest",
                       ACCEL_DICT("deep", ACCEL_DICT("er", sqrt((double)i))), "text", "words"),
            2 * i));
    }
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("odd", NAN), 2 * rows));
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("odd", -INFINITY), 2 * rows + 1));
    log_artifact(accelerator, argv[0]);
    if (strcmp(argv[3], "killed") == 0)
        raise(SIGKILL);
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
