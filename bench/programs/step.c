/* SPDX-License-Identifier: Apache-2.0 */
/* The time of a training step without the model's own work: gradients come from a stub that
 * copies constants, then sync, perhaps clipping, AdamW, zero_grad.
 *     step SHAPES SAMPLES [clip|bf16|-] [WORK]
 * SHAPES is a file with one parameter a line: its extents. bf16: parameters and gradients are
 * bfloat16, what is updated float32. WORK: fused multiply-adds, in
 * millions, that all ranks share as if they were the model's work of one step. */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "round.h"

typedef struct {
    void *value, *gradient, *constant;
    int64_t shape[2], count;
    size_t size; /* bytes */
} parameter_t;

typedef struct {
    parameter_t *parameters;
    accel_dtype_t dtype;
    int64_t count, work;
    float sink;
} net_t;

static void *filled(int64_t count, float value, accel_dtype_t dtype)
{
    size_t width = accel_dtype_size(dtype);
    char *memory = (char *)malloc((size_t)count * width);

    for (int64_t i = 0; memory && i < count; i++) {
        float number = value + 1e-9f * (float)i;
        uint32_t bits;

        memcpy(&bits, &number, sizeof(bits));
        bits = width == 2 ? bits >> 16 : bits;            /* bfloat16 is a float's upper half */
        memcpy(memory + (size_t)i * width, &bits, width); /* little-endian */
    }
    if (!memory)
        exit(1);
    return memory;
}

static void read_shapes(const char *path, net_t *net)
{
    FILE *file = fopen(path, "r");
    char line[256];

    if (!file) {
        perror(path);
        exit(2);
    }
    net->parameters = (parameter_t *)calloc(4096, sizeof(parameter_t));
    while (fgets(line, sizeof(line), file) && net->count < 4096) {
        parameter_t *p = &net->parameters[net->count++];
        char *end;
        p->shape[0] = strtoll(line, &end, 10);
        p->shape[1] = strtoll(end, NULL, 10);
        p->count = p->shape[0] * (p->shape[1] ? p->shape[1] : 1);
        p->size = (size_t)p->count * accel_dtype_size(net->dtype);
        p->value = filled(p->count, 0.1f, net->dtype);
        p->gradient = filled(p->count, 0, net->dtype);
        p->constant = filled(p->count, 1e-3f, net->dtype);
    }
    fclose(file);
}

/* What a step's forward and backward would cost; split among the ranks like a batch. */
static void compute(net_t *net)
{
    float lanes[64] = {0};

    for (int64_t i = 0; i < net->work / 64; i++)
        for (int lane = 0; lane < 64; lane++)
            lanes[lane] = lanes[lane] * 0.999f + 1.0f;
    net->sink += lanes[0] + lanes[63];
}

static accel_status_t backward(void *context, double scale)
{
    net_t *net = (net_t *)context;

    (void)scale; /* 1: there is no accumulation here */
    compute(net);
    for (int64_t i = 0; i < net->count; i++) {
        parameter_t *p = &net->parameters[i];
        memcpy(p->gradient, p->constant, p->size);
    }
    return ACCEL_OK;
}

static void add_parameters(accel_model_t *model, net_t *net)
{
    for (int64_t i = 0; i < net->count; i++) {
        parameter_t *p = &net->parameters[i];
        char name[32];
        snprintf(name, sizeof(name), "p%d", (int)i);
        ACCEL_CHECK(accel_model_add(model, name, net->dtype, p->shape[1] ? 2 : 1, p->shape,
                                    &p->value, &p->gradient));
    }
}

static void step(accel_t *accelerator, accel_model_t *model, accel_optimizer_t *optimizer,
                 bool clip)
{
    ACCEL_CHECK(accel_backward(accelerator, model));
    if (clip)
        ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, 1.0, NULL));
    ACCEL_CHECK(accel_optimizer_step(optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
}

int main(int argc, char **argv)
{
    int64_t samples = round_argument(argc, argv, 2, "samples a turn");
    bool clip = argc > 3 && strcmp(argv[3], "clip") == 0;
    bool bf16 = argc > 3 && strcmp(argv[3], "bf16") == 0;
    net_t net = {.dtype = bf16 ? ACCEL_BF16 : ACCEL_F32};
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    read_shapes(argv[1], &net);
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    if (argc > 4)
        net.work = round_argument(argc, argv, 4, "millions of multiply-adds") * 1000000 /
                   accel_num_processes(accelerator);
    ACCEL_CHECK(accel_model_create(
        ACCEL_MODEL_OPTIONS(.backward = backward, .context = &net, .overwrites_gradients = true),
        &model));
    add_parameters(model, &net);
    ACCEL_CHECK(accel_adamw_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));

    round_open(accel_process_index(accelerator));
    while (round_next()) {
        step(accelerator, model, optimizer, clip);
        ACCEL_CHECK(accel_wait_for_everyone(accelerator));
        for (int64_t s = 0; s < samples; s++) {
            double start = round_now();
            step(accelerator, model, optimizer, clip);
            round_sample(round_now() - start);
        }
    }
    accel_destroy(accelerator);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    for (int64_t i = 0; i < net.count; i++) {
        free(net.parameters[i].value);
        free(net.parameters[i].gradient);
        free(net.parameters[i].constant);
    }
    free(net.parameters);
    return round_close();
}
