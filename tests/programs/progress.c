/* SPDX-License-Identifier: Apache-2.0 */
/* progress TOTAL STEPS [clear]: a progress line over STEPS updates of TOTAL, drawn each time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <accel/progress.h>

int main(int argc, char **argv)
{
    accel_progress_options_t options = accel_progress_options_init();
    accel_progress_t *bar;
    accel_t *accelerator;
    int64_t steps;

    if (argc < 3)
        return 2;
    options.total = strtoll(argv[1], NULL, 10);
    options.desc = "epoch 1";
    options.mininterval = 1e-9;
    options.ncols = 90;
    options.clear = argc > 3;
    steps = strtoll(argv[2], NULL, 10);
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_progress_create(accelerator, &options, &bar));
    for (int64_t i = 0; i < steps; i++) {
        accel_progress_set_postfix(bar, ACCEL_DICT("loss", 1.0 / (double)(i + 1), "step", i));
        accel_progress_update(bar, 1);
    }
    accel_progress_destroy(bar);
    accel_destroy(accelerator);
    return 0;
}
