/* SPDX-License-Identifier: Apache-2.0 */
/* The code of the guide's page on what is around the loop: messages, a progress line, the largest
 * batch that fits, a profile.
 *
 *     ./guide_around [DIRECTORY] ; accel launch -n 2 ./guide_around */
#include <stdio.h>

#include <accel/accel.h>

enum { SAMPLES = 640, BATCH = 32, WEIGHTS = 64 };

static float samples[SAMPLES][WEIGHTS], weights[WEIGHTS], gradients[WEIGHTS];
static float *weight = weights, *gradient = gradients;

static accel_status_t net_backward(void *context, double scale)
{
    (void)context;
    for (int i = 0; i < WEIGHTS; i++)
        gradient[i] += (float)scale * (weight[i] - 0.5f);
    return ACCEL_OK;
}

/* [messages] */
static void report(accel_t *accelerator, int epoch, double loss, const char *shard)
{
    accel_logger_t *logger;

    ACCEL_CHECK(accel_get_logger(accelerator, "train", "info", &logger));
    accel_logger_info(logger, "epoch %d: %.4f", epoch, loss);
    accel_logger_log(logger, ACCEL_LOG_WARNING, ACCEL_LOG_EVERY_PROCESS, "a slow disk here");
    ACCEL_CHECK(accel_logger_log_in_order(logger, ACCEL_LOG_INFO, "shard %s", shard));
    accel_logger_destroy(logger);
}
/* [/messages] */

/* [progress] */
static void run_epoch(accel_t *accelerator, accel_loader_t *loader)
{
    accel_progress_t *bar;
    accel_batch_t batch;
    double loss = 1;

    ACCEL_CHECK(accel_progress_create(
        accelerator,
        ACCEL_PROGRESS_OPTIONS(.total = accel_loader_length(loader), .desc = "epoch 1"), &bar));
    ACCEL_CHECK(accel_loader_begin(loader, 0));
    while (ACCEL_NEXT(loader, &batch)) {
        loss *= 0.9; /* your step */
        accel_progress_set_postfix(bar, ACCEL_DICT("loss", loss));
        accel_progress_update(bar, 1);
    }
    accel_progress_destroy(bar);
}
/* [/progress] */

/* [fits] */
static accel_status_t train(void *context, int64_t batch_size)
{
    (void)context;
    if (batch_size > 100) /* say, an allocation that failed */
        return accel_fail(ACCEL_ERR_NO_MEMORY, "no room for the activations of %d samples",
                          (int)batch_size);
    return ACCEL_OK; /* make the loader and the model, train, destroy them */
}

static int64_t find_largest(accel_t *accelerator)
{
    int64_t batch_size;

    ACCEL_CHECK(accel_find_executable_batch_size(accelerator, NULL, train, NULL, &batch_size));
    return batch_size;
}
/* [/fits] */

/* [profile] */
static void profile_epoch(accel_t *accelerator, accel_model_t *model, accel_optimizer_t *optimizer,
                          accel_loader_t *loader, const char *dir)
{
    accel_profile_t *profile;
    accel_batch_t batch;

    ACCEL_CHECK(accel_profile_begin(
        accelerator,
        ACCEL_PROFILE_OPTIONS(.output_trace_dir = dir, .wait = 1, .warmup = 1, .active = 3),
        &profile));
    ACCEL_CHECK(accel_loader_begin(loader, 1));
    while (ACCEL_NEXT(loader, &batch)) {
        ACCEL_RECORD_FUNCTION("forward")
        {
            /* your forward */
        }
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        ACCEL_CHECK(accel_profile_step(profile));
    }
    ACCEL_ON_MAIN_PROCESS(accelerator)
        fputs(accel_profile_table(profile), stderr);
    ACCEL_CHECK(accel_profile_end(profile));
}
/* [/profile] */

int main(int argc, char **argv)
{
    const char *shards[] = {"a.bin", "b.bin", "c.bin"};
    accel_dataset_t *dataset;
    accel_optimizer_t *optimizer;
    accel_loader_t *loader;
    accel_model_t *model;
    accel_t *accelerator;
    char dir[512];

    snprintf(dir, sizeof(dir), "%s/trace", argc > 1 ? argv[1] : ".");
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_model_create(ACCEL_MODEL_OPTIONS(.backward = net_backward), &model));
    ACCEL_CHECK(
        accel_model_add(model, "weight", ACCEL_F32, ACCEL_SHAPE(WEIGHTS), &weight, &gradient));
    ACCEL_CHECK(accel_sgd_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_tensor_dataset_create(
        (const accel_tensor_t *const[]){ACCEL_TENSOR(samples, ACCEL_F32, SAMPLES, WEIGHTS)}, 1,
        &dataset));
    ACCEL_CHECK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = BATCH), &loader));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, NULL));

    report(accelerator, 1, 0.512, shards[accel_process_index(accelerator) % 3]);
    run_epoch(accelerator, loader);
    accel_print(accelerator, "the largest batch: %d\n", (int)find_largest(accelerator));
    profile_epoch(accelerator, model, optimizer, loader, dir);

    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_optimizer_destroy(optimizer);
    accel_destroy(accelerator);
    accel_model_destroy(model);
    return 0;
}
