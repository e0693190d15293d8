/* SPDX-License-Identifier: Apache-2.0 */
/* What our optimizers and schedules compute, for the judge beside torch.
 *
 *     program-train_optimizers adamw|sgd alone|prepared STEPS LR A B C D
 *         A..D: beta1 beta2 eps weight_decay, or momentum dampening weight_decay nesterov;
 *         writes the parameters after each step as raw doubles: float32 ones, then float64 ones
 *     program-train_optimizers schedule NAME STEPS LR WARMUP TRAINING CYCLES
 *         writes the learning rate before each step as raw doubles
 *
 * Values and gradients are made of whole numbers, so that the judge makes the same ones. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

enum { ROWS = 37, COLUMNS = 41, COUNT = ROWS * COLUMNS };

static float narrow[COUNT], narrow_gradient[COUNT];
static double wide[COUNT], wide_gradient[COUNT];

/* In [-1, 1), exact in double. */
static double number(uint32_t i, uint32_t step)
{
    uint32_t bits = i * UINT32_C(2654435761) + step * UINT32_C(2246822519) + UINT32_C(374761393);

    bits ^= bits >> 15;
    bits *= UINT32_C(2246822519);
    bits ^= bits >> 13;
    return (double)bits / 2147483648.0 - 1;
}

/* An option's 0 means default where that is not 0. */
static double option(const char *text)
{
    double value = strtod(text, NULL);

    return value == 0 ? ACCEL_ZERO : value;
}

static accel_optimizer_t *make_optimizer(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;
    double lr = strtod(arguments[4], NULL);

    if (strcmp(arguments[1], "adamw") == 0)
        ACCEL_CHECK(accel_adamw_create(model,
                                       ACCEL_ADAMW_OPTIONS(.lr = lr, .beta1 = option(arguments[5]),
                                                           .beta2 = option(arguments[6]),
                                                           .eps = option(arguments[7]),
                                                           .weight_decay = option(arguments[8])),
                                       &optimizer));
    else
        ACCEL_CHECK(
            accel_sgd_create(model,
                             ACCEL_SGD_OPTIONS(.lr = lr, .momentum = strtod(arguments[5], NULL),
                                               .dampening = strtod(arguments[6], NULL),
                                               .weight_decay = strtod(arguments[7], NULL),
                                               .nesterov = strtod(arguments[8], NULL) != 0),
                             &optimizer));
    return optimizer;
}

static void write_values(const float *values32, const double *values64)
{
    for (int i = 0; i < COUNT; i++) {
        double value = (double)values32[i];

        fwrite(&value, sizeof(value), 1, stdout);
    }
    fwrite(values64, sizeof(double), COUNT, stdout);
}

static void optimize(char **arguments)
{
    float *values32 = narrow, *gradients32 = narrow_gradient;
    double *values64 = wide, *gradients64 = wide_gradient;
    uint32_t steps = (uint32_t)strtoul(arguments[3], NULL, 10);
    accel_t *accelerator = NULL;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    for (uint32_t i = 0; i < COUNT; i++)
        narrow[i] = (float)(wide[i] = number(i, 0));
    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "narrow", ACCEL_F32, ACCEL_SHAPE(ROWS, COLUMNS), &values32,
                                &gradients32));
    ACCEL_CHECK(accel_model_add(model, "wide", ACCEL_F64, ACCEL_SHAPE(ROWS, COLUMNS), &values64,
                                &gradients64));
    optimizer = make_optimizer(model, arguments);
    if (strcmp(arguments[2], "prepared") == 0) {
        ACCEL_CHECK(accel_create(NULL, &accelerator));
        ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    }
    for (uint32_t step = 1; step <= steps; step++) {
        for (uint32_t i = 0; i < COUNT; i++)
            gradients32[i] = (float)(gradients64[i] = number(i, step));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        write_values(values32, values64);
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}

static void schedule(char **arguments)
{
    long steps = strtol(arguments[3], NULL, 10);
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;

    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(
        accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = strtod(arguments[4], NULL)), &optimizer));
    ACCEL_CHECK(accel_scheduler_create(
        optimizer,
        ACCEL_SCHEDULER_OPTIONS(.name = arguments[2],
                                .num_warmup_steps = strtol(arguments[5], NULL, 10),
                                .num_training_steps = strtol(arguments[6], NULL, 10),
                                .num_cycles = strtod(arguments[7], NULL)),
        &scheduler));
    for (long step = 0; step < steps; step++) {
        double lr = accel_optimizer_get_lr(optimizer);

        fwrite(&lr, sizeof(lr), 1, stdout);
        ACCEL_CHECK(accel_scheduler_step(scheduler));
    }
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

int main(int argc, char **argv)
{
    if (argc == 9 && strcmp(argv[1], "schedule") != 0) {
        optimize(argv);
    } else if (argc == 8 && strcmp(argv[1], "schedule") == 0) {
        schedule(argv);
    } else {
        fprintf(stderr, "usage: see the head of the source\n");
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
