/* SPDX-License-Identifier: Apache-2.0 */
/* Mixed precision, as docs/guide/precision.md shows it: one program in float32, bfloat16 and
 * float16. Prints the same on any number of processes. */
#include <accel/accel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUTS = 8, ROWS = 12, STEPS = 250 };

/* [net] */
/* y = weight · x */
typedef struct net {
    float *weight, *gradient; /* what is trained */
    uint16_t *half;           /* the same to compute with, under mixed precision; else NULL */
    accel_dtype_t half_dtype;
} net_t;
/* [/net] */

/* [widen] */
/* bfloat16 is the upper half of a float; float16 by its definition. */
static float widen(uint16_t half, accel_dtype_t dtype)
{
    int exponent = (half >> 10) & 0x1f, mantissa = half & 0x3ff;
    union {
        uint32_t bits;
        float value;
    } upper = {(uint32_t)half << 16};

    if (dtype == ACCEL_BF16)
        return upper.value;
    return (half & 0x8000 ? -1.0f : 1.0f) * (exponent
                                                 ? ldexpf((float)(mantissa | 0x400), exponent - 25)
                                                 : ldexpf((float)mantissa, -24));
}

static float weight_of(const net_t *net, int i)
{
    return net->half ? widen(net->half[i], net->half_dtype) : net->weight[i];
}
/* [/widen] */

static float input(int row, int i)
{
    return sinf((float)(row * row * (i + 1) + 3 * i));
}

static float error_of(const net_t *net, int row)
{
    float error = 0;

    for (int i = 0; i < INPUTS; i++)
        error += input(row, i) * (weight_of(net, i) - 0.25f * (float)(i - 3));
    return error;
}

/* Adds scale times the gradient of the mean square error over this process's rows. */
static void compute_gradients(net_t *net, int first, int count, double scale)
{
    for (int row = first; row < first + count; row++) {
        float d = (float)scale * 2 * error_of(net, row) / (float)count;

        for (int i = 0; i < INPUTS; i++)
            net->gradient[i] += d * input(row, i);
    }
}

/* [model] */
static accel_model_t *describe(net_t *net)
{
    accel_model_t *model;

    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "weight", ACCEL_F32, ACCEL_SHAPE(INPUTS), &net->weight,
                                &net->gradient));
    ACCEL_CHECK(accel_model_add_copy(model, "weight", &net->half));
    return model;
}
/* [/model] */

/* [step] */
static int64_t train(accel_t *accelerator, net_t *net, accel_model_t *model,
                     accel_optimizer_t *optimizer)
{
    int share = ROWS / accel_num_processes(accelerator);
    int64_t skipped = 0;

    for (int step = 0; step < STEPS; step++) {
        compute_gradients(net, share * accel_process_index(accelerator), share,
                          accel_gradient_scale(accelerator)); /* with the loss scale in it */
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, 1.0, NULL)); /* divides by it */
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        skipped += accel_optimizer_step_was_skipped(optimizer);
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    return skipped;
}
/* [/step] */

static void run(const char *precision)
{
    float weight[INPUTS] = {0}, gradient[INPUTS] = {0};
    net_t net = {.weight = weight, .gradient = gradient};
    accel_t *accelerator;
    accel_optimizer_t *optimizer;
    accel_model_t *model = describe(&net);

    /* [options] */
    ACCEL_CHECK(accel_create(
        ACCEL_OPTIONS(.mixed_precision = precision,
                      .grad_scaler = ACCEL_GRAD_SCALER_OPTIONS(.growth_interval = 100)),
        &accelerator));
    net.half_dtype = accel_autocast_dtype(accelerator); /* ACCEL_F32, ACCEL_BF16 or ACCEL_F16 */
    /* [/options] */
    ACCEL_CHECK(accel_adamw_create(
        model, ACCEL_ADAMW_OPTIONS(.lr = 0.05, .weight_decay = ACCEL_ZERO), &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    int64_t skipped = train(accelerator, &net, model, optimizer);
    double scale = accel_get_grad_scaler_state(accelerator).scale;
    accel_print(accelerator, "%s: weight 5 is %.1f, %lld steps skipped, loss scale %g\n",
                accel_mixed_precision(accelerator), (double)net.weight[5], (long long)skipped,
                scale);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}

int main(void)
{
    run("no");
    run("bf16");
    run("fp16");
    return 0;
}
