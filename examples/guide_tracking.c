/* SPDX-License-Identifier: Apache-2.0 */
/* The code of the guide's page on trackers: two trackers, rows, an artifact. Leaves its runs in
 * runs/ and wandb/ of the working directory.
 *
 *     ./guide_tracking ; accel launch -n 2 ./guide_tracking */
#include <accel/accel.h>

static void log_artifact(accel_tracker_t *tracker, const char *file)
{
    /* [artifact] */
    accel_artifact_t *artifact;

    ACCEL_CHECK(accel_artifact_create("word-model", "model",
                                      ACCEL_ARTIFACT_OPTIONS(.metadata = ACCEL_DICT("loss", 1.9)),
                                      &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, file, "model.bin"));
    ACCEL_CHECK(accel_artifact_add_reference(artifact, "s3://bucket/words.txt", NULL, NULL));
    ACCEL_CHECK(accel_tracker_log_artifact(tracker, artifact));
    accel_artifact_destroy(artifact);
    /* [/artifact] */
}

int main(int argc, char **argv)
{
    const char *file = argc > 1 ? argv[1] : argv[0];

    /* [tracking] */
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb,jsonl", .project_dir = "runs"),
                             &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "my_project",
                                    ACCEL_DICT("learning_rate", 1e-2, "layers", 4),
                                    ACCEL_DICT("wandb", ACCEL_DICT("entity", "my-team"))));

    for (int64_t step = 0; step < 100; step++)
        ACCEL_CHECK(
            accel_log(accelerator, ACCEL_DICT("train_loss", 1.0 / (1.0 + (double)step)), step));
    /* [/tracking] */
    log_artifact(accel_get_tracker(accelerator, "jsonl"), file);
    /* [tracking] */
    ACCEL_CHECK(accel_end_training(accelerator));
    /* [/tracking] */
    accel_destroy(accelerator);
    return 0;
}
