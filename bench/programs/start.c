/* SPDX-License-Identifier: Apache-2.0 */
/* A program that starts, makes one training step, and ends:
 *     start FILE
 * Rank 0 writes to FILE when the step was done (round_now). */
#include <accel/accel.h>

#include "round.h"

static accel_status_t backward(void *context, double scale)
{
    float *gradient = *(float **)context;

    for (int i = 0; i < 1024; i++)
        gradient[i] += (float)scale;
    return ACCEL_OK;
}

int main(int argc, char **argv)
{
    static float weights[1024], gradients[1024];
    float *weight = weights, *gradient = gradients;
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_model_create(ACCEL_MODEL_OPTIONS(.backward = backward, .context = &gradient),
                                   &model));
    ACCEL_CHECK(accel_model_add(model, "weight", ACCEL_F32, ACCEL_SHAPE(1024), &weight, &gradient));
    ACCEL_CHECK(accel_adamw_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    ACCEL_CHECK(accel_backward(accelerator, model));
    ACCEL_CHECK(accel_optimizer_step(optimizer));

    if (accel_is_main_process(accelerator) && argc > 1)
        round_mark(argv[1], accel_num_processes(accelerator));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    return 0;
}
