/* SPDX-License-Identifier: Apache-2.0 */
/* profile STEPS SKIP WAIT WARMUP ACTIVE REPEAT DIR: a small training under a profile. Prints how
 * often on_trace_ready came, and the table. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <accel/accel.h>
#include <accel/profile.h>

static void count(void *context, accel_profile_t *profile)
{
    (void)profile;
    ++*(int *)context;
}

static accel_status_t backward(void *context, double scale)
{
    float *gradient = context;

    gradient[0] += (float)scale;
    return ACCEL_OK;
}

static void step(accel_t *accelerator, accel_model_t *model, accel_optimizer_t *optimizer)
{
    /* the last rank is late, so that the others are seen to wait */
    ACCEL_RECORD_FUNCTION("forward") {
        struct timespec pause = {0, 3000000};

        if (accel_is_last_process(accelerator))
            nanosleep(&pause, NULL);
    }
    ACCEL_CHECK(accel_backward(accelerator, model));
    ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, 1, NULL));
    ACCEL_CHECK(accel_optimizer_step(optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", 1.0), ACCEL_NO_STEP));
}

int main(int argc, char **argv)
{
    static float weights[256], gradients[256];
    float *weight = weights, *gradient = gradients;
    accel_model_options_t model_options = accel_model_options_init();
    accel_profile_options_t options = accel_profile_options_init();
    accel_optimizer_t *optimizer;
    accel_profile_t *profile;
    accel_model_t *model;
    accel_t *accelerator;
    int64_t numbers[6] = {0};
    int ready = 0;

    if (argc < 8)
        return 2;
    for (int i = 0; i < 6; i++)
        numbers[i] = strtoll(argv[i + 1], NULL, 10);
    options.skip_first = numbers[1];
    options.wait = numbers[2];
    options.warmup = numbers[3];
    options.active = numbers[4];
    options.repeat = numbers[5];
    options.output_trace_dir = argv[7];
    options.on_trace_ready = count;
    options.context = &ready;
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    model_options.backward = backward;
    model_options.context = gradients;
    ACCEL_CHECK(accel_model_create(&model_options, &model));
    ACCEL_CHECK(accel_model_add(model, "w", ACCEL_F32, 1, (int64_t[]){256}, &weight, &gradient));
    ACCEL_CHECK(accel_sgd_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    ACCEL_CHECK(accel_profile_begin(accelerator, &options, &profile));
    for (int64_t i = 0; i < numbers[0]; i++) {
        step(accelerator, model, optimizer);
        ACCEL_CHECK(accel_profile_step(profile));
    }
    accel_print(accelerator, "%s", accel_profile_table(profile));
    ACCEL_CHECK(accel_profile_end(profile));
    accel_print(accelerator, "ready %d\n", ready);
    accel_optimizer_destroy(optimizer);
    accel_destroy(accelerator);
    accel_model_destroy(model);
    return 0;
}
