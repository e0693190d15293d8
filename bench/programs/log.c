/* SPDX-License-Identifier: Apache-2.0 */
/* The time of accel_log() with four numbers, call by call:
 *     log FOLDER TRACKER JOURNAL SAMPLES */
#include <accel/accel.h>

#include <stdio.h>

#include "round.h"

int main(int argc, char **argv)
{
    int64_t samples = round_argument(argc, argv, 4, "samples a turn"), step = 0;
    accel_t *accelerator;

    ACCEL_CHECK(
        accel_create(ACCEL_OPTIONS(.log_with = argv[2], .project_dir = argv[1], .journal = argv[3]),
                     &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "bench", NULL, NULL));
    round_open(accel_process_index(accelerator));
    while (round_next()) {
        for (int64_t s = 0; s < samples; s++, step++) {
            double x = 1.0 / (double)(step + 1), start = round_now();
            ACCEL_CHECK(accel_log(accelerator,
                                  ACCEL_DICT("loss", x, "accuracy", 1.0 - x, "learning_rate",
                                             1e-3 * x, "grad_norm", 3.0 * x),
                                  step));
            round_sample(round_now() - start);
        }
    }
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return round_close();
}
