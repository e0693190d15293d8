/* SPDX-License-Identifier: Apache-2.0 */
/* Groups, a rule of one's own, averages and schedules, as docs/guide/optimizers.md shows them.
 * Prints the same on any number of processes. */
#include <accel/accel.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 6, STEPS = 120 };

/* y = weight x + bias, and an embedding that is trained more slowly */
typedef struct net {
    float *weight, *grad_weight;       /* [WIDTH, WIDTH] */
    float *bias, *grad_bias;           /* [WIDTH] */
    float *embedding, *grad_embedding; /* [WIDTH, WIDTH] */
    float memory[2][2 * WIDTH * WIDTH + WIDTH];
} net_t;

static accel_model_t *describe(net_t *net)
{
    accel_model_t *model;

    *net = (net_t){.weight = net->memory[0], .grad_weight = net->memory[1]};
    net->embedding = net->weight + WIDTH * WIDTH;
    net->grad_embedding = net->grad_weight + WIDTH * WIDTH;
    net->bias = net->embedding + WIDTH * WIDTH;
    net->grad_bias = net->grad_embedding + WIDTH * WIDTH;
    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "fc.weight", ACCEL_F32, ACCEL_SHAPE(WIDTH, WIDTH),
                                &net->weight, &net->grad_weight));
    ACCEL_CHECK(accel_model_add(model, "fc.bias", ACCEL_F32, ACCEL_SHAPE(WIDTH), &net->bias,
                                &net->grad_bias));
    ACCEL_CHECK(accel_model_add(model, "embed.weight", ACCEL_F32, ACCEL_SHAPE(WIDTH, WIDTH),
                                &net->embedding, &net->grad_embedding));
    return model;
}

/* Of (value - 1)² / 2, the same on every process. */
static void compute_gradients(net_t *net, double scale)
{
    for (int i = 0; i < WIDTH * WIDTH; i++) {
        net->grad_weight[i] += (float)scale * (net->weight[i] - 1);
        net->grad_embedding[i] += (float)scale * (net->embedding[i] - 1);
    }
    for (int i = 0; i < WIDTH; i++)
        net->grad_bias[i] += (float)scale * (net->bias[i] - 1);
}

/* [groups] */
static void make_groups(accel_optimizer_t *optimizer, int32_t *embedding)
{
    /* no weight decay for biases and norms */
    ACCEL_CHECK(accel_optimizer_add_group(
        optimizer, ACCEL_GROUP_OPTIONS(.ndim_below = 2, .weight_decay = ACCEL_ZERO), NULL));
    /* a rate of its own for what a pattern says */
    ACCEL_CHECK(accel_optimizer_add_group(
        optimizer, ACCEL_GROUP_OPTIONS(.pattern = "embed.*", .lr = 1e-3), embedding));
}
/* [/groups] */

/* [lion] */
/* Lion: steps of one size, in the direction that momentum says. */
static void lion(void *context, const accel_update_t *update)
{
    float *p = (float *)update->values, *m = (float *)update->states[0];
    const float *g = (const float *)update->gradients;
    const float lr = (float)update->lr, decay = (float)update->weight_decay;

    (void)context;
    for (int64_t i = 0; i < update->count; i++) {
        float direction = 0.9f * m[i] + 0.1f * g[i];

        p[i] -= lr * ((float)((direction > 0) - (direction < 0)) + decay * p[i]);
        m[i] = 0.99f * m[i] + 0.01f * g[i];
    }
}

static accel_optimizer_t *make_lion(accel_model_t *model)
{
    accel_optimizer_t *optimizer;

    ACCEL_CHECK(accel_optimizer_create(
        model, ACCEL_OPTIMIZER_OPTIONS(.name = "Lion", .update = lion, .num_states = 1, .lr = 0.02),
        &optimizer));
    return optimizer;
}
/* [/lion] */

static accel_optimizer_t *make_adamw(accel_model_t *model, accel_scheduler_t **scheduler)
{
    accel_optimizer_t *optimizer;
    int32_t embedding;

    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 0.05), &optimizer));
    make_groups(optimizer, &embedding);
    /* [schedule] */
    ACCEL_CHECK(accel_scheduler_create(
        optimizer,
        ACCEL_SCHEDULER_OPTIONS(.name = "warmup_stable_decay", .num_warmup_steps = 10,
                                .num_decay_steps = 30, .num_training_steps = STEPS),
        scheduler));
    /* [/schedule] */
    if (accel_optimizer_get_group_lr(optimizer, embedding) != 0) /* the warm-up begins at 0 */
        return NULL;
    return optimizer;
}

/* [average] */
static void train(accel_t *accelerator, net_t *net, accel_model_t *model,
                  accel_optimizer_t *optimizer, accel_scheduler_t *scheduler, accel_ema_t *ema)
{
    for (int step = 0; step < STEPS; step++) {
        compute_gradients(net, accel_gradient_scale(accelerator));
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_clip_grad_value(accelerator, model, 0.5));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        if (scheduler)
            ACCEL_CHECK(accel_scheduler_step(scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        ACCEL_CHECK(accel_ema_update(ema));
    }
    ACCEL_CHECK(accel_ema_begin(ema)); /* the parameters are the averages: evaluate, save */
    accel_print(accelerator, "average: %.2f %.2f\n", (double)net->weight[0],
                (double)net->embedding[0]);
    ACCEL_CHECK(accel_ema_end(ema)); /* and are what is trained again */
}
/* [/average] */

static void run(bool own_rule)
{
    net_t net;
    accel_t *accelerator;
    accel_model_t *model = describe(&net);
    accel_scheduler_t *scheduler = NULL;
    accel_optimizer_t *optimizer = own_rule ? make_lion(model) : make_adamw(model, &scheduler);
    accel_ema_t *ema;

    ACCEL_CHECK(accel_ema_create(model, ACCEL_EMA_OPTIONS(.decay = 0.9), &ema));
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, scheduler));
    train(accelerator, &net, model, optimizer, scheduler, ema);
    accel_print(accelerator, "trained: %.2f %.2f %.2f\n", (double)net.weight[0],
                (double)net.bias[0], (double)net.embedding[0]);
    accel_ema_destroy(ema);
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}

int main(void)
{
    run(false);
    run(true);
    return 0;
}
