/* SPDX-License-Identifier: Apache-2.0 */
/* What the four lines cost: one process trains a tiny model (256 weights, batches of 128 rows),
 *     lines plain  STEPS SAMPLES            by its own code alone
 *     lines accel  STEPS SAMPLES            with prepare, backward, step, zero_grad
 *     lines accel  STEPS SAMPLES FOLDER     and accel_log to a jsonl tracker at each step
 * A sample is the mean time of a step over STEPS of them. Both do the same arithmetic. */
#include <accel/accel.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "round.h"

#define INPUTS 256
#define ROWS 128

typedef struct {
    float *weight, *gradient;
    float m[INPUTS], v[INPUTS];
    float data[ROWS][INPUTS], target[ROWS], error[ROWS];
    int64_t step;
} net_t;

static float forward(net_t *net)
{
    float loss = 0;

    for (int row = 0; row < ROWS; row++) {
        float out = 0;
        for (int i = 0; i < INPUTS; i++)
            out += net->weight[i] * net->data[row][i];
        net->error[row] = out - net->target[row];
        loss += net->error[row] * net->error[row] / ROWS;
    }
    return loss;
}

static accel_status_t backward(void *context, double scale)
{
    net_t *net = (net_t *)context;

    for (int row = 0; row < ROWS; row++) {
        float slope = (float)scale * 2.0f / ROWS * net->error[row];
        for (int i = 0; i < INPUTS; i++)
            net->gradient[i] += slope * net->data[row][i];
    }
    return ACCEL_OK;
}

static void own_adamw(net_t *net)
{
    double t = (double)++net->step, bias1 = 1 - pow(0.9, t), bias2 = sqrt(1 - pow(0.999, t));

    for (int i = 0; i < INPUTS; i++) {
        float g = net->gradient[i];
        net->weight[i] *= 1.0f - 1e-5f;
        net->m[i] = 0.9f * net->m[i] + 0.1f * g;
        net->v[i] = 0.999f * net->v[i] + 0.001f * g * g;
        net->weight[i] -=
            (float)(1e-3 / bias1) * net->m[i] / (sqrtf(net->v[i]) / (float)bias2 + 1e-8f);
    }
}

static float plain_step(net_t *net)
{
    float loss = forward(net);

    (void)backward(net, 1.0);
    own_adamw(net);
    memset(net->gradient, 0, INPUTS * sizeof(float));
    return loss;
}

typedef struct {
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    bool logs;
} accel_lines_t;

static float accel_step(net_t *net, const accel_lines_t *lines)
{
    float loss = forward(net);

    ACCEL_CHECK(accel_backward(lines->accelerator, lines->model));
    ACCEL_CHECK(accel_optimizer_step(lines->optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(lines->optimizer));
    if (lines->logs)
        ACCEL_CHECK(accel_log(lines->accelerator, ACCEL_DICT("loss", loss), net->step++));
    return loss;
}

static void prepare(net_t *net, accel_lines_t *lines, const char *folder)
{
    lines->logs = folder != NULL;
    ACCEL_CHECK(
        accel_create(ACCEL_OPTIONS(.log_with = folder ? "jsonl" : NULL, .project_dir = folder),
                     &lines->accelerator));
    ACCEL_CHECK(accel_model_create(ACCEL_MODEL_OPTIONS(.backward = backward, .context = net),
                                   &lines->model));
    ACCEL_CHECK(accel_model_add(lines->model, "weight", ACCEL_F32, ACCEL_SHAPE(INPUTS),
                                &net->weight, &net->gradient));
    ACCEL_CHECK(accel_adamw_create(lines->model, NULL, &lines->optimizer));
    ACCEL_CHECK(accel_prepare(lines->accelerator, lines->model, lines->optimizer, NULL, NULL));
    if (folder)
        ACCEL_CHECK(accel_init_trackers(lines->accelerator, "bench", NULL, NULL));
}

static void finish(accel_lines_t *lines)
{
    if (lines->logs)
        ACCEL_CHECK(accel_end_training(lines->accelerator));
    accel_optimizer_destroy(lines->optimizer);
    accel_model_destroy(lines->model);
    accel_destroy(lines->accelerator);
}

static void turn(net_t *net, const accel_lines_t *lines, int64_t steps, int64_t samples)
{
    float sum = 0;

    for (int64_t s = 0; s < samples; s++) {
        double start = round_now();
        for (int64_t i = 0; i < steps; i++)
            sum += lines ? accel_step(net, lines) : plain_step(net);
        round_sample((round_now() - start) / (double)steps);
    }
    if (!(sum < 1e30f))
        fprintf(stderr, "lines: the loss grew\n");
}

int main(int argc, char **argv)
{
    static net_t net;
    static float weight[INPUTS], gradient[INPUTS];
    bool with = argc > 1 && strcmp(argv[1], "accel") == 0;
    int64_t steps = round_argument(argc, argv, 2, "steps a sample");
    int64_t samples = round_argument(argc, argv, 3, "samples a turn");
    accel_lines_t lines = {0};

    net.weight = weight;
    net.gradient = gradient;
    for (int row = 0; row < ROWS; row++) {
        net.target[row] = (float)(row % 3);
        for (int i = 0; i < INPUTS; i++)
            net.data[row][i] = (float)((row * 31 + i * 17) % 64) / 64.0f - 0.5f;
    }
    if (with)
        prepare(&net, &lines, argc > 4 ? argv[4] : NULL);
    round_open(0);
    while (round_next())
        turn(&net, with ? &lines : NULL, steps, samples);
    if (with)
        finish(&lines);
    return round_close();
}
