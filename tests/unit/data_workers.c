/* SPDX-License-Identifier: Apache-2.0 */
/* Several workers, batches that stay valid, and collates. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "data_ranks.h"

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- order ---- */

/* Now and then a sample takes long, so that workers overtake each other; the one that is bad is
 * read before those in front of it. */
typedef struct source {
    atomic_int inside, most;
    int64_t bad;
    int slow_ms;
} source_t;

static accel_status_t get(void *context, int64_t index, void *const *fields)
{
    source_t *source = context;
    int inside = atomic_fetch_add(&source->inside, 1) + 1, most = source->most;

    while (inside > most && !atomic_compare_exchange_weak(&source->most, &most, inside))
        continue;
    if (index % 4 == 0 && source->slow_ms)
        sleep_ms(source->slow_ms);
    atomic_fetch_sub(&source->inside, 1);
    if (index == source->bad)
        return accel_fail(ACCEL_ERR_FORMAT, "it is torn");
    return data_get_index(NULL, index, fields);
}

static accel_dataset_t *dataset_of(source_t *source, int64_t length)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    CHECK_OK(
        accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = length, .get = get, .context = source,
                                                   .fields = &field, .num_fields = 1),
                             &dataset));
    return dataset;
}

/* A barrier in the callback: it is passed only if so many workers are in it at once. */
static accel_status_t meet(void *context, int64_t index, void *const *fields)
{
    pthread_barrier_wait(context);
    return data_get_index(NULL, index, fields);
}

static void workers_read_at_the_same_time(void)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    pthread_barrier_t barrier;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0);
    CHECK_OK(
        accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 40, .get = meet, .context = &barrier,
                                                   .fields = &field, .num_fields = 1),
                             &dataset));
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.num_workers = 4), &loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        data_check_values(&batch);
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    pthread_barrier_destroy(&barrier);
}

static void order_is_that_of_one_worker(void)
{
    source_t source = {.bad = -1, .slow_ms = 1};
    accel_dataset_t *dataset = dataset_of(&source, 300);
    int64_t order[300];

    for (int32_t workers = 1; workers <= 8; workers += 3)
        for (int32_t factor = 1; factor <= 3; factor++) {
            accel_loader_t *loader;
            accel_batch_t batch;

            CHECK_OK(accel_loader_create(dataset,
                                         ACCEL_LOADER_OPTIONS(.batch_size = 4, .shuffle = true,
                                                              .num_workers = workers,
                                                              .prefetch_factor = factor),
                                         &loader));
            accel_shuffle(ACCEL_DEFAULT_SEED, factor, 300, order);
            ACCEL_EPOCH(loader, factor, &batch) {
                for (int64_t k = 0; k < batch.rows; k++)
                    CHECK_INT(order[4 * batch.step + k], batch.indices[k]);
                data_check_values(&batch);
            }
            accel_loader_destroy(loader);
        }
    CHECK(source.most > 1);
    accel_dataset_destroy(dataset);
}

/* Also where later batches were read, and failed, before. */
static void errors_come_in_order(void)
{
    source_t source = {.slow_ms = 2};
    accel_dataset_t *dataset = dataset_of(&source, 100);
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2, .num_workers = 5),
                                 &loader));
    for (int64_t epoch = 0; epoch < 10; epoch++) {
        source.bad = 10 + epoch;
        CHECK_OK(accel_loader_begin(loader, epoch));
        for (int64_t step = 0; step < source.bad / 2; step++) {
            CHECK_OK(accel_loader_next(loader, &batch));
            CHECK_INT(2 * step, batch.indices[0]);
        }
        CHECK_STATUS(ACCEL_ERR_FORMAT, accel_loader_next(loader, &batch));
        CHECK_ERROR("the dataset's callback failed at sample 1");
        CHECK_ERROR("it is torn");
        CHECK_INT(0, source.inside); /* nothing runs on */
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* Each batch is checked only when it is about to go. */
static void batches_stay_valid(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 200);

    for (int32_t keep = 1; keep <= 4; keep++)
        for (int32_t workers = 0; workers <= 4; workers += 2) {
            accel_batch_t kept[4] = {{0}};
            accel_loader_t *loader;
            accel_batch_t batch;

            CHECK_OK(accel_loader_create(
                dataset,
                ACCEL_LOADER_OPTIONS(.batch_size = 3, .keep_batches = keep, .num_workers = workers,
                                     .prefetch = workers ? ACCEL_ON : ACCEL_OFF),
                &loader));
            ACCEL_EPOCH(loader, 0, &batch) {
                for (int64_t back = 1; back < keep && back <= batch.step; back++) {
                    const accel_batch_t *old = &kept[(batch.step - back) % keep];

                    CHECK_INT(3 * (batch.step - back), old->indices[0]);
                    data_check_values(old);
                }
                kept[batch.step % keep] = batch;
                ((int64_t *)batch.fields[0].data)[0] += 0; /* it may be written to */
            }
            accel_loader_destroy(loader);
        }
    accel_dataset_destroy(dataset);
}

static void options_are_checked(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 5);
    accel_loader_t *loader;
    struct {
        accel_loader_options_t options;
        const char *text;
    } bad[] = {{{.num_workers = -1}, "num_workers is -1"},
               {{.num_workers = 100000}, "num_workers is 100000; expected 1 to 1024, or 0 for 1"},
               {{.prefetch_factor = -2}, "prefetch_factor is -2"},
               {{.keep_batches = -3}, "keep_batches is -3"},
               {{.num_workers = 2, .prefetch = ACCEL_OFF}, "num_workers is 2, but prefetch is off"},
               {{.collate_fields = &(accel_field_t){.dtype = ACCEL_F32}, .num_collate_fields = 1},
                "collate_fields without a collate"}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bad[i].options.struct_size = sizeof(bad[i].options);
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_create(dataset, &bad[i].options, &loader));
        CHECK_ERROR(bad[i].text);
    }
    accel_dataset_destroy(dataset);
}

/* ---- leaving a loop ---- */

/* Two loaders of one accelerator. */
static void prepare_both(accel_loader_t *train, accel_loader_t *eval,
                         accel__active_loaders_t *active, accel__link_t *ring)
{
    accel__loader_world_t world = {
        .num_processes = 2, .even_batches = true, .active = active, .prepared = ring};

    accel__link_init(ring);
    CHECK_OK(accel__loader_prepare(train, &world));
    CHECK_OK(accel__loader_prepare(eval, &world));
}

static int64_t first_of(accel_loader_t *loader)
{
    accel_batch_t batch;

    ACCEL_EPOCH(loader, 0, &batch) {
        return batch.indices[0];
    }
    return -1;
}

static void loops_that_are_left(void)
{
    accel_dataset_t *dataset = data_indices(5);
    accel__active_loaders_t active = {NULL};
    accel_loader_t *train, *eval;
    accel_batch_t batch, other;
    accel__link_t ring;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2), &train));
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 4), &eval));
    prepare_both(train, eval, &active, &ring);
    ACCEL_EPOCH(train, 0, &batch) {
        ACCEL_EPOCH(eval, 0, &other) {
            CHECK_INT(5, accel__loaders_metric_rows(&active).keep_rows);
            break;
        }
        CHECK(active.top == train); /* however it was left */
        CHECK_INT(0, first_of(eval));
        CHECK(active.top == train);
        CHECK_INT(batch.last ? 1 : -1, accel__loaders_metric_rows(&active).keep_rows);

        /* Without the macro the loader that was left counts until the next batch of another. */
        CHECK_OK(accel_loader_begin(eval, 0));
        CHECK_OK(accel_loader_next(eval, &other));
        CHECK(active.top == eval);
    }
    CHECK(active.top == eval);
    CHECK_OK(accel_loader_begin(train, 1));
    CHECK(active.top == train);
    accel_loader_destroy(eval);
    accel_loader_destroy(train);
    CHECK(active.top == NULL);
    accel_dataset_destroy(dataset);
}

/* zip(a, b): the one that handed out the latest batch counts. */
static void loaders_side_by_side(void)
{
    accel_dataset_t *dataset = data_indices(6);
    accel__active_loaders_t active = {NULL};
    accel_loader_t *a, *b;
    accel_batch_t batch;
    accel__link_t ring;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2), &a));
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 3), &b));
    prepare_both(a, b, &active, &ring);
    CHECK_OK(accel_loader_begin(a, 0));
    CHECK_OK(accel_loader_begin(b, 0));
    CHECK_OK(accel_loader_next(a, &batch));
    CHECK(active.top == a && !accel__loaders_at_end(&active));
    CHECK_OK(accel_loader_next(b, &batch));
    CHECK(active.top == b && accel__loaders_at_end(&active));
    CHECK_OK(accel_loader_next(a, &batch));
    CHECK(active.top == a && accel__loaders_at_end(&active));
    CHECK_STATUS(ACCEL_END, accel_loader_next(b, &batch));
    CHECK(active.top == a);
    CHECK_STATUS(ACCEL_END, accel_loader_next(a, &batch));
    CHECK(active.top == NULL);
    accel_loader_destroy(a);
    accel_loader_destroy(b);
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(workers_read_at_the_same_time), TEST(order_is_that_of_one_worker),
          TEST(errors_come_in_order), TEST(batches_stay_valid), TEST(options_are_checked),
          TEST(loops_that_are_left), TEST(loaders_side_by_side))
