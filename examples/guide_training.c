/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of the guide's page on training, each run on the same small problem. Prints what each
 * one learned: the same on any number of processes.
 *
 *     ./guide_training ; accel launch -n 2 ./guide_training */
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

enum { INPUTS = 3, SAMPLES = 256, BATCH = 16 };

/* [net] */
/* y = weight · (scale * x) + bias, with the number of samples seen */
typedef struct net {
    float *weight, *grad_weight; /* [INPUTS] */
    float *bias, *grad_bias;     /* [1] */
    float *scale;                /* [INPUTS], not trained */
    int64_t *seen;               /* [1], each rank's own */
    const accel_batch_t *batch;  /* last forwarded */
    float errors[BATCH];
} net_t;
/* [/net] */

static float forward(net_t *net, const accel_batch_t *batch)
{
    const float *x = (const float *)batch->fields[0].data,
                *y = (const float *)batch->fields[1].data;
    float loss = 0;

    net->batch = batch;
    for (int64_t i = 0; i < batch->rows; i++) {
        float sum = *net->bias - y[i];
        for (int k = 0; k < INPUTS; k++)
            sum += net->weight[k] * net->scale[k] * x[i * INPUTS + k];
        net->errors[i] = sum;
        loss += sum * sum / (float)batch->rows;
    }
    *net->seen += batch->rows;
    return loss;
}

/* [backward] */
/* Adds scale times the gradient of the loss of the last batch. */
static accel_status_t net_backward(void *context, double scale)
{
    net_t *net = (net_t *)context;
    const float *x = (const float *)net->batch->fields[0].data;

    for (int64_t i = 0; i < net->batch->rows; i++) {
        float d = (float)scale * 2 * net->errors[i] / (float)net->batch->rows;
        for (int k = 0; k < INPUTS; k++)
            net->grad_weight[k] += d * net->scale[k] * x[i * INPUTS + k];
        *net->grad_bias += d;
    }
    return ACCEL_OK;
}
/* [/backward] */

static float random_float(void)
{
    static uint32_t random = 1;

    random = random * 1664525 + 1013904223;
    return (float)(random >> 8) / 8388608.0f - 1;
}

static accel_dataset_t *make_dataset(void)
{
    static float x[SAMPLES][INPUTS], y[SAMPLES];
    accel_dataset_t *dataset;

    for (int i = 0; i < SAMPLES; i++) {
        y[i] = 0.5f + 0.1f * random_float();
        for (int k = 0; k < INPUTS; k++)
            y[i] += (float)(k + 1) * (x[i][k] = random_float());
    }
    ACCEL_CHECK(accel_tensor_dataset_create(
        (const accel_tensor_t *[]){ACCEL_TENSOR(x, ACCEL_F32, SAMPLES, INPUTS),
                                   ACCEL_TENSOR(y, ACCEL_F32, SAMPLES)},
        2, &dataset));
    return dataset;
}

static void net_create(net_t *net)
{
    memset(net, 0, sizeof(*net));
    net->weight = (float *)calloc(INPUTS, sizeof(float));
    net->grad_weight = (float *)calloc(INPUTS, sizeof(float));
    net->bias = (float *)calloc(1, sizeof(float));
    net->grad_bias = (float *)calloc(1, sizeof(float));
    net->scale = (float *)malloc(INPUTS * sizeof(float));
    net->seen = (int64_t *)calloc(1, sizeof(int64_t));
    for (int k = 0; k < INPUTS; k++)
        net->scale[k] = 1;
}

static void net_destroy(net_t *net)
{
    free(net->weight);
    free(net->grad_weight);
    free(net->bias);
    free(net->grad_bias);
    free(net->scale);
    free(net->seen);
}

/* [model] */
static accel_model_t *describe(net_t *net, accel_backward_fn backward)
{
    accel_model_t *model;

    ACCEL_CHECK(
        accel_model_create(ACCEL_MODEL_OPTIONS(.backward = backward, .context = net), &model));
    ACCEL_CHECK(accel_model_add(model, "weight", ACCEL_F32, ACCEL_SHAPE(INPUTS), &net->weight,
                                &net->grad_weight));
    ACCEL_CHECK(
        accel_model_add(model, "bias", ACCEL_F32, ACCEL_SHAPE(1), &net->bias, &net->grad_bias));
    ACCEL_CHECK(
        accel_model_add_frozen(model, "scale", ACCEL_F32, ACCEL_SHAPE(INPUTS), &net->scale));
    ACCEL_CHECK(accel_model_add_buffer(model, "seen", ACCEL_I64, ACCEL_SHAPE(1), &net->seen));
    return model;
}
/* [/model] */

/* All that a loop below uses. */
typedef struct training {
    accel_t *accelerator;
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer; /* NULL: the loop has a rule of its own */
    accel_scheduler_t *scheduler;
    accel_loader_t *loader;
} training_t;

static void plain(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_scheduler_t *scheduler = t->scheduler;
    accel_loader_t *loader = t->loader;
    accel_batch_t batch;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    /* [plain] */
    while (ACCEL_NEXT(loader, &batch)) {
        forward(net, &batch);
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_scheduler_step(scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    /* [/plain] */
}

static void own_backward(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_batch_t batch;

    ACCEL_CHECK(accel_loader_begin(t->loader, 0));
    while (ACCEL_NEXT(t->loader, &batch)) {
        forward(net, &batch);
        /* [own_backward] */
        ACCEL_CHECK(net_backward(net, accel_gradient_scale(accelerator))); /* yours, as you like */
        ACCEL_CHECK(accel_backward(accelerator, model)); /* the gradients are complete */
        /* [/own_backward] */
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_scheduler_step(t->scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
}

static void accumulate(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_scheduler_t *scheduler = t->scheduler;
    accel_loader_t *loader = t->loader;
    accel_batch_t batch;
    double norm;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    /* [accumulate] */
    while (ACCEL_NEXT(loader, &batch)) {
        ACCEL_CHECK(accel_accumulate(accelerator, model));
        forward(net, &batch);
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, 1.0, &norm));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_scheduler_step(scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    /* [/accumulate] */
}

/* What a batch weighs: here its rows, in a language model its tokens. */
static void weighted(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_batch_t batch;

    ACCEL_CHECK(accel_loader_begin(t->loader, 0));
    while (ACCEL_NEXT(t->loader, &batch)) {
        ACCEL_CHECK(accel_accumulate(accelerator, model));
        forward(net, &batch);
        /* [weighted] */
        ACCEL_CHECK(accel_backward_weighted(accelerator, model, (double)batch.rows));
        /* [/weighted] */
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_scheduler_step(t->scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
}

/* Each process leaves out the batches that are of no use to it. */
static bool is_useful(const training_t *t, const accel_batch_t *batch)
{
    return batch->step % (2 + accel_process_index(t->accelerator)) == 0;
}

static void join(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_scheduler_t *scheduler = t->scheduler;
    accel_loader_t *loader = t->loader;
    accel_batch_t batch;

    /* [join] */
    ACCEL_CHECK(accel_join_uneven_inputs_begin(accelerator, ACCEL_DEFAULT));
    ACCEL_CHECK(accel_loader_begin(loader, 0));
    while (ACCEL_NEXT(loader, &batch)) {
        if (!is_useful(t, &batch)) /* other batches on every process */
            continue;
        forward(net, &batch);
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_scheduler_step(scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    ACCEL_CHECK(accel_join_uneven_inputs_end(accelerator)); /* helps the others to their end */
    /* [/join] */
}

static void no_sync(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_optimizer_t *optimizer = t->optimizer;
    accel_scheduler_t *scheduler = t->scheduler;
    accel_loader_t *loader = t->loader;
    accel_batch_t batch;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    /* [no_sync] */
    while (ACCEL_NEXT(loader, &batch)) {
        bool more = batch.step % 2 == 0 && !batch.last; /* this batch and the next make one step */

        if (more)
            ACCEL_CHECK(accel_no_sync_begin(accelerator, model));
        forward(net, &batch);
        ACCEL_CHECK(accel_backward(accelerator, model));
        if (more)
            ACCEL_CHECK(accel_no_sync_end(accelerator, model));
        if (!more) {
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_scheduler_step(scheduler));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        }
    }
    /* [/no_sync] */
}

static void own_rule(training_t *t)
{
    accel_t *accelerator = t->accelerator;
    net_t *net = &t->net;
    accel_model_t *model = t->model;
    accel_loader_t *loader = t->loader;
    accel_batch_t batch;
    float lr = 0.1f;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    /* [own_rule] */
    while (ACCEL_NEXT(loader, &batch)) {
        memset(net->grad_weight, 0, INPUTS * sizeof(float));
        memset(net->grad_bias, 0, sizeof(float));
        forward(net, &batch);
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_sync_gradients(accelerator, model)); /* now the average, on every rank */

        ACCEL_CHECK(accel_params_begin(model));
        ACCEL_ON_MAIN_PROCESS(accelerator) { /* the values are one copy for all ranks */
            for (int k = 0; k < INPUTS; k++)
                net->weight[k] -= lr * net->grad_weight[k];
            *net->bias -= lr * *net->grad_bias;
        }
        ACCEL_CHECK(accel_params_end(model));
    }
    /* [/own_rule] */
}

typedef struct scenario {
    const char *name;
    void (*run)(training_t *training);
    int32_t accumulation;
    accel_backward_fn backward;
    bool own_rule;
    bool varies; /* with the number of processes: nothing to compare */
} scenario_t;

static const scenario_t scenarios[] = {
    {"plain", plain, 1, net_backward, false, false},
    {"own backward", own_backward, 1, NULL, false, false},
    {"accumulate", accumulate, 2, net_backward, false, false},
    {"weighted", weighted, 2, net_backward, false, false},
    {"join", join, 1, net_backward, false, true},
    {"no_sync", no_sync, 2, net_backward, false, false},
    {"own rule", own_rule, 1, net_backward, true, false},
};

/* [optimizer] */
static void make_optimizer(training_t *t, int64_t steps)
{
    ACCEL_CHECK(accel_adamw_create(
        t->model, ACCEL_ADAMW_OPTIONS(.lr = 0.5, .weight_decay = ACCEL_ZERO), &t->optimizer));
    ACCEL_CHECK(accel_scheduler_create(t->optimizer,
                                       ACCEL_SCHEDULER_OPTIONS(.name = "cosine",
                                                               .num_warmup_steps = steps / 10,
                                                               .num_training_steps = steps),
                                       &t->scheduler));
}
/* [/optimizer] */

static void run(const scenario_t *scenario, accel_dataset_t *dataset)
{
    training_t t = {.optimizer = NULL};
    int32_t steps = scenario->accumulation;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.gradient_accumulation_steps = steps), &t.accelerator));
    net_create(&t.net);
    t.model = describe(&t.net, scenario->backward);
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = BATCH, .shuffle = true, .split_batches = ACCEL_ON),
        &t.loader));
    if (!scenario->own_rule)
        make_optimizer(&t, SAMPLES / BATCH / steps);
    ACCEL_CHECK(accel_prepare(t.accelerator, t.model, t.optimizer, t.loader, t.scheduler));
    scenario->run(&t);
    if (!scenario->varies)
        accel_print(t.accelerator, "%s: %.4f %.4f %.4f, %.4f\n", scenario->name,
                    (double)t.net.weight[0], (double)t.net.weight[1], (double)t.net.weight[2],
                    (double)*t.net.bias);
    accel_scheduler_destroy(t.scheduler);
    accel_optimizer_destroy(t.optimizer);
    accel_loader_destroy(t.loader);
    accel_model_destroy(t.model);
    accel_destroy(t.accelerator);
    net_destroy(&t.net);
}

int main(void)
{
    accel_dataset_t *dataset = make_dataset();

    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++)
        run(&scenarios[i], dataset);
    accel_dataset_destroy(dataset);
    return 0;
}
