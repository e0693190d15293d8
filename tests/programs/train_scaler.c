/* SPDX-License-Identifier: Apache-2.0 */
/* What our loss scaling decides, for the judge beside torch.amp.GradScaler.
 *
 *     program-train_scaler STEPS BAD NAME=VALUE...
 *
 * BAD is a list A,B,... of steps whose gradient is not finite on the last rank; the options are
 * those of the scaler; clip=NORM clips, value=LIMIT clips by value, restart=N sets the state again
 * at step N. Rank 0 writes after each step the scale, the growth tracker, whether the step was
 * skipped, the norm and the parameter as raw doubles. */
#include <math.h>
#include <stdio.h>

#include "arguments.h"

enum { COUNT = 3000 };

static bool is_bad(const char *list, long step)
{
    char *end;

    for (; *list; list = *end ? end + 1 : end)
        if (strtol(list, &end, 10) == step)
            return true;
    return false;
}

typedef struct owner {
    float *values, *gradients;
} owner_t;

/* Of scale × loss; in the middle of the parameter, not at its begin. */
static void add_gradients(const accel_t *accelerator, owner_t *owner, const char *bad, long step)
{
    static const float spoilt[] = {INFINITY, -INFINITY, NAN};
    double scale = accel_gradient_scale(accelerator);

    for (int i = 0; i < COUNT; i++)
        owner->gradients[i] += (float)(scale * sin(0.1 * i + (double)step));
    if (is_bad(bad, step) && accel_is_last_process(accelerator))
        owner->gradients[COUNT / 2] = spoilt[step % 3];
}

static void write_step(accel_t *accelerator, const accel_optimizer_t *optimizer, double norm,
                       const owner_t *owner)
{
    accel_grad_scaler_state_t state = accel_get_grad_scaler_state(accelerator);
    double numbers[] = {state.scale, (double)state.growth_tracker,
                        accel_optimizer_step_was_skipped(optimizer) ? 1.0 : 0.0, norm};

    if (accel_step_was_skipped(accelerator) != accel_optimizer_step_was_skipped(optimizer))
        exit(3);
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        fwrite(numbers, sizeof(*numbers), 4, stdout);
        for (int i = 0; i < COUNT; i++) {
            double value = (double)owner->values[i];

            fwrite(&value, sizeof(value), 1, stdout);
        }
    }
}

static void clip(accel_t *accelerator, accel_model_t *model, char **arguments, double *norm)
{
    if (argument(arguments, "unscale"))
        ACCEL_CHECK(accel_unscale_gradients(accelerator, model));
    if (argument(arguments, "clip"))
        ACCEL_CHECK(
            accel_clip_grad_norm(accelerator, model, argument_number(arguments, "clip"), norm));
    if (argument(arguments, "value"))
        ACCEL_CHECK(accel_clip_grad_value(accelerator, model, argument_number(arguments, "value")));
}

static accel_t *make_accelerator(char **arguments)
{
    accel_t *accelerator;
    accel_grad_scaler_options_t scaler = {
        .struct_size = sizeof(scaler),
        .init_scale = argument_number(arguments, "init_scale"),
        .growth_factor = argument_number(arguments, "growth_factor"),
        .backoff_factor = argument_number(arguments, "backoff_factor"),
        .growth_interval = (int32_t)argument_count(arguments, "growth_interval")};

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.mixed_precision = "fp16", .grad_scaler = &scaler,
                                           .gradients = argument(arguments, "averaged")
                                                            ? ACCEL_GRADIENTS_AVERAGED
                                                            : ACCEL_GRADIENTS_LOCAL),
                             &accelerator));
    return accelerator;
}

int main(int argc, char **argv)
{
    static float values[COUNT], gradients[COUNT];
    owner_t owner = {values, gradients};
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    if (argc < 3) {
        fprintf(stderr, "usage: see the head of the source\n");
        return 2;
    }
    for (int i = 0; i < COUNT; i++)
        values[i] = 1;
    accelerator = make_accelerator(argv + 3);
    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(COUNT), &owner.values,
                                &owner.gradients));
    ACCEL_CHECK(
        accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 0.01, .momentum = 0.5), &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (long step = 1; step <= strtol(argv[1], NULL, 10); step++) {
        double norm = 0;

        if (step == argument_count(argv + 3, "restart")) {
            accel_grad_scaler_state_t state = accel_get_grad_scaler_state(accelerator);

            ACCEL_CHECK(accel_set_grad_scaler_state(accelerator, &state));
        }
        add_gradients(accelerator, &owner, argv[2], step);
        ACCEL_CHECK(accel_backward(accelerator, model));
        clip(accelerator, model, argv + 3, &norm);
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        write_step(accelerator, optimizer, norm, &owner);
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    return fflush(stdout) == 0 ? 0 : 1;
}
