/* SPDX-License-Identifier: Apache-2.0 */
/* A W&B run from a program that has nothing else to do with accel.
 *
 *     ./wandb_hello                    online, if there is an API key
 *     WANDB_MODE=offline ./wandb_hello */
#include <math.h>

#include <accel/accel.h>
#include <accel/wandb.h>

int main(void)
{
    /* [hello] */
    accel_wandb_run_t *run;

    ACCEL_CHECK(accel_wandb_init(
        ACCEL_DICT("project", "hello", "config", ACCEL_DICT("learning_rate", 0.1)), &run));
    ACCEL_CHECK(
        accel_wandb_run_define_metric(run, "loss", ACCEL_WANDB_METRIC_OPTIONS(.summary = "min")));
    for (int step = 0; step < 100; step++)
        ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("loss", exp(-0.1 * step)), step));
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    /* [/hello] */
    return 0;
}
