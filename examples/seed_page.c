/* SPDX-License-Identifier: Apache-2.0 */
/* The program of W&B's guide on Hugging Face Accelerate, call by call, without the training
 * between. Usage: seed_page [FILE], the artifact's file (default: this program). */
#include <accel/accel.h>
#include <accel/wandb.h>

int main(int argc, char **argv)
{
    const char *file = argc > 1 ? argv[1] : argv[0];
    accel_t *accelerator;
    accel_artifact_t *artifact;

    /* [logging] */
    /* Tell the accelerator to log with wandb. */
    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));

    /* Initialise the run: project, hyper-parameters, and arguments of wandb.init. */
    ACCEL_CHECK(accel_init_trackers(accelerator, "my_project",
                                    ACCEL_DICT("dropout", 0.1, "learning_rate", 1e-2),
                                    ACCEL_DICT("wandb", ACCEL_DICT("entity", "my-wandb-team"))));

    /* Log to it. */
    for (int64_t global_step = 0; global_step < 3; global_step++)
        ACCEL_CHECK(
            accel_log(accelerator, ACCEL_DICT("train_loss", 1.12, "valid_loss", 0.8), global_step));
    /* [/logging] */

    /* The tracker itself, and through it W&B artifacts: on the right process by itself. */
    /* [artifact] */
    ACCEL_CHECK(accel_artifact_create("some_artifact", "dataset", NULL, &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, file, "data.txt"));
    /* [/artifact] */
    /* [tracker] */
    accel_tracker_t *wandb_tracker = accel_get_tracker(accelerator, "wandb");
    ACCEL_CHECK(accel_tracker_log_artifact(wandb_tracker, artifact));
    /* [/tracker] */

    /* [unwrap] */
    /* unwrap=True: the run itself, which is there on the main process. */
    accel_wandb_run_t *wandb_run = (accel_wandb_run_t *)accel_tracker_unwrap(wandb_tracker);
    ACCEL_ON_MAIN_PROCESS(accelerator)
        ACCEL_CHECK(accel_wandb_run_log_artifact(wandb_run, artifact));
    /* [/unwrap] */

    /* [logging] */
    /* Finish the run. */
    ACCEL_CHECK(accel_end_training(accelerator));
    /* [/logging] */
    accel_artifact_destroy(artifact);
    accel_destroy(accelerator);
    return 0;
}
