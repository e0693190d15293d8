/* SPDX-License-Identifier: Apache-2.0 */
/* Loaders and metrics on real ranks, through the accelerator. */
#include "test.h"

enum { MAX_SAMPLES = 600 };

/* Sample i is i, with five times i beside it. */
typedef struct data {
    int64_t x[MAX_SAMPLES];
    float y[MAX_SAMPLES];
    accel_dataset_t *dataset;
} data_t;

static void make_data(data_t *data, int64_t length)
{
    for (int64_t i = 0; i < length; i++) {
        data->x[i] = i;
        data->y[i] = 5.0f * (float)i;
    }
    CHECK_OK(accel_tensor_dataset_create(
        (const accel_tensor_t *[]){ACCEL_TENSOR(data->x, ACCEL_I64, length),
                                   ACCEL_TENSOR(data->y, ACCEL_F32, length)},
        2, &data->dataset));
}

static accel_loader_t *prepared(accel_t *accelerator, data_t *data, accel_loader_options_t options)
{
    accel_loader_t *loader;

    options.prefetch = ACCEL_ON; /* every rank with a thread */
    CHECK_OK(accel_loader_create(data->dataset, &options, &loader));
    CHECK_OK(accel_prepare(accelerator, NULL, NULL, loader, NULL));
    return loader;
}

/* One epoch of gather_for_metrics: what was collected, on every rank. */
static int64_t collect(accel_t *accelerator, accel_loader_t *loader, int64_t *metric)
{
    accel_batch_t batch;
    accel_status_t status;
    int64_t count = 0;

    CHECK_OK(accel_loader_begin(loader, 0));
    while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK) {
        accel_tensor_t *x, *y;

        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &x));
        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[1], &y));
        CHECK_INT(batch.real_rows, x->shape[0]);
        CHECK_INT(batch.real_rows, y->shape[0]);
        CHECK(count + batch.real_rows <= MAX_SAMPLES);
        for (int64_t k = 0; k < batch.real_rows; k++) {
            metric[count + k] = ((int64_t *)x->data)[k];
            CHECK_NEAR(5 * metric[count + k], ((float *)y->data)[k], 0);
        }
        count += batch.real_rows;
        accel_tensor_destroy(x);
        accel_tensor_destroy(y);
    }
    CHECK_STATUS(ACCEL_END, status);
    return count;
}

/* Upstream's test_metrics: 99 and 512 samples, with what it does not manage, too. */
static void metrics_of(accel_t *accelerator, int64_t length, accel_loader_options_t options)
{
    data_t data;
    accel_loader_t *loader;
    int64_t metric[MAX_SAMPLES], order[MAX_SAMPLES], expected = length, global, count;
    accel_shard_t shard;

    make_data(&data, length);
    loader = prepared(accelerator, &data, options);
    shard = accel_loader_shard(loader);
    global = shard.split_batches ? shard.batch_size : shard.batch_size * shard.num_processes;
    if (options.drop_last)
        expected = length / global * global;
    for (int64_t i = 0; i < length; i++)
        order[i] = i;
    if (options.shuffle)
        accel_shuffle(ACCEL_DEFAULT_SEED, 0, length, order);
    count = collect(accelerator, loader, metric);
    CHECK_INT(expected, count);
    for (int64_t i = 0; i < count; i++)
        CHECK_INT(order[i], metric[i]);
    accel_loader_destroy(loader);
    accel_dataset_destroy(data.dataset);
}

static void metrics(int rank, int size)
{
    static const int64_t lengths[] = {0, 1, 5, 99, 512};
    accel_t *accelerator = test_accelerator(accel_options_init());

    (void)rank;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        metrics_of(accelerator, lengths[i], *ACCEL_LOADER_OPTIONS(.batch_size = 8));
        metrics_of(accelerator, lengths[i],
                   *ACCEL_LOADER_OPTIONS(.batch_size = 3, .shuffle = true));
        metrics_of(accelerator, lengths[i],
                   *ACCEL_LOADER_OPTIONS(.batch_size = 8, .drop_last = true));
        metrics_of(accelerator, lengths[i],
                   *ACCEL_LOADER_OPTIONS(.batch_size = 8, .even_batches = ACCEL_OFF));
        metrics_of(accelerator, lengths[i],
                   *ACCEL_LOADER_OPTIONS(.batch_size = 4 * size, .split_batches = ACCEL_ON));
    }
    accel_destroy(accelerator);
}

/* accelerate's loader on this rank, taken apart: position by position of the global batches. */
static void shards(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    data_t data;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t order[100];

    make_data(&data, 100);
    loader = prepared(accelerator, &data,
                      *ACCEL_LOADER_OPTIONS(.batch_size = 4, .shuffle = true, .seed = 42));
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        accel_shuffle(42, epoch, 100, order);
        CHECK_OK(accel_loader_begin(loader, epoch));
        while (ACCEL_NEXT(loader, &batch))
            for (int64_t k = 0; k < 4; k++)
                CHECK_INT(order[((batch.step * size + rank) * 4 + k) % 100], batch.indices[k]);
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(data.dataset);
    accel_destroy(accelerator);
}

/* Validation inside a training epoch: each gather trims by the loader under way. */
static void nested(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    data_t train_data, eval_data;
    accel_loader_t *train, *eval;
    int64_t metric[MAX_SAMPLES];
    accel_batch_t batch;

    (void)rank;
    make_data(&train_data, 4 * size + 1);
    make_data(&eval_data, 7);
    train = prepared(accelerator, &train_data, *ACCEL_LOADER_OPTIONS(.batch_size = 4));
    eval = prepared(accelerator, &eval_data, *ACCEL_LOADER_OPTIONS(.batch_size = 3));
    CHECK_OK(accel_loader_begin(train, 0));
    while (ACCEL_NEXT(train, &batch)) {
        accel_tensor_t *gathered;

        CHECK_INT(7, collect(accelerator, eval, metric));
        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &gathered));
        CHECK_INT(batch.last ? 1 : 4 * size, gathered->shape[0]);
        accel_tensor_destroy(gathered);
        CHECK_OK(accel_gather(accelerator, &batch.fields[0], &gathered));
        CHECK_INT(size == 1 && batch.last ? 1 : 4 * size, gathered->shape[0]);
        accel_tensor_destroy(gathered);
    }
    accel_loader_destroy(train);
    accel_loader_destroy(eval);
    accel_dataset_destroy(train_data.dataset);
    accel_dataset_destroy(eval_data.dataset);
    accel_destroy(accelerator);
}

/* Loaders that are not the same everywhere are refused everywhere, saying how they differ. */
static void different(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    data_t data;
    accel_loader_t *loader;
    accel_status_t status;

    (void)size;
    make_data(&data, 10);
    CHECK_OK(accel_loader_create(data.dataset, ACCEL_LOADER_OPTIONS(.batch_size = rank ? 3 : 2),
                                 &loader));
    status = accel_prepare_loader(accelerator, loader);
    CHECK(status < 0);
    CHECK_ERROR("batch_size 2");
    CHECK_ERROR("batch_size 3");
    accel_loader_destroy(loader);
    accel_dataset_destroy(data.dataset);
    accel_destroy(accelerator);
}

/* A loader that outlives its accelerator is one process's again. */
static void outlives(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    data_t data;
    accel_loader_t *loader;

    (void)rank;
    make_data(&data, 10);
    loader = prepared(accelerator, &data, *ACCEL_LOADER_OPTIONS(.batch_size = 2));
    CHECK_INT(size, accel_loader_shard(loader).num_processes);
    CHECK_OK(accel_loader_begin(loader, 0));
    accel_destroy(accelerator);
    CHECK_INT(1, accel_loader_shard(loader).num_processes);
    accel_loader_destroy(loader);
    accel_dataset_destroy(data.dataset);
}

static void gather_for_metrics(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, metrics);
}

static void sharded_shuffle(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, shards);
}

static void nested_loaders(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, nested);
}

static void loaders_that_differ(void)
{
    TEST_RANKS(3, different);
}

static void loader_outlives_accelerator(void)
{
    TEST_RANKS(2, outlives);
}

TEST_MAIN(TEST(gather_for_metrics), TEST(sharded_shuffle), TEST(nested_loaders),
          TEST(loaders_that_differ), TEST(loader_outlives_accelerator))
