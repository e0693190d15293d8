/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "data/data.h"

/* Samples that are their own number, and that go wrong where told. */
typedef struct source {
    atomic_llong calls;
    int64_t bad; /* this sample fails; -1: none */
    accel_status_t status;
    const char *text;
    atomic_bool other_thread, signals_open;
    atomic_int slow_ms;
    pthread_t caller;
} source_t;

static accel_status_t get(void *context, int64_t index, void *const *fields)
{
    source_t *source = context;
    sigset_t blocked;

    atomic_fetch_add(&source->calls, 1);
    if (!pthread_equal(pthread_self(), source->caller)) {
        source->other_thread = true;
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        if (!sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGINT))
            source->signals_open = true;
    }
    if (source->slow_ms)
        nanosleep(&(struct timespec){.tv_nsec = source->slow_ms * 1000000L}, NULL);
    if (index == source->bad)
        return source->text ? accel_fail(source->status, "%s", source->text) : source->status;
    memcpy(fields[0], &index, sizeof(index));
    memset(fields[1], (int)(index & 0xff), 3);
    return ACCEL_OK;
}

static accel_dataset_t *dataset_of(source_t *source, int64_t length)
{
    static const accel_field_t fields[] = {
        {.name = "index", .dtype = ACCEL_I64},
        {.name = "bytes", .dtype = ACCEL_U8, .ndim = 1, .shape = {3}}};
    accel_dataset_t *dataset;

    source->caller = pthread_self();
    CHECK_OK(
        accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = length, .get = get, .context = source,
                                                   .fields = fields, .num_fields = 2),
                             &dataset));
    return dataset;
}

static accel_loader_t *loader_of(accel_dataset_t *dataset, accel_loader_options_t options)
{
    accel_loader_t *loader;

    CHECK_OK(accel_loader_create(dataset, &options, &loader));
    return loader;
}

/* All samples of an epoch, in the order they come; returns how many. */
static int64_t read_epoch(accel_loader_t *loader, int64_t epoch, int64_t *order)
{
    accel_batch_t batch;
    accel_status_t status;
    int64_t count = 0, steps = 0;

    CHECK_OK(accel_loader_begin(loader, epoch));
    while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK) {
        const unsigned char *bytes = batch.fields[1].data;

        CHECK_INT(steps++, batch.step);
        CHECK_INT(0, (intptr_t)batch.fields[0].data % 64);
        CHECK_INT(0, (intptr_t)batch.fields[1].data % 64);
        for (int64_t row = 0; row < batch.rows; row++) {
            order[count] = ((const int64_t *)batch.fields[0].data)[row];
            CHECK_INT(order[count], batch.indices[row]);
            CHECK_INT(order[count] & 0xff, bytes[3 * row + 2]);
            count++;
        }
    }
    CHECK_STATUS(ACCEL_END, status);
    CHECK_INT(steps, accel_loader_length(loader));
    return count;
}

static void options_are_checked(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 10);
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = -1), &loader));
    CHECK_ERROR("batch_size is -1");
    CHECK(loader == NULL);
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = INT64_MAX / 4), &loader));
    CHECK_ERROR("too large");
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = INT64_MAX), &loader));
    CHECK_ERROR("too large");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_create(NULL, NULL, &loader));
    CHECK_ERROR("dataset is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_create(dataset, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.prefetch = (accel_tristate_t)7),
                                     &loader));
    CHECK_ERROR("prefetch is 7");
    CHECK_OK(accel_loader_create(dataset, NULL, &loader));
    CHECK_INT(10, accel_loader_length(loader)); /* batch_size 1 */
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_begin(loader, -1));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
    CHECK_ERROR("accel_loader_begin");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_next(loader, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_next(NULL, &batch));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_begin(NULL, 0));
    accel_loader_end(loader);
    accel_loader_end(NULL);
    accel_loader_destroy(loader);
    accel_loader_destroy(NULL);
    accel_dataset_destroy(dataset);
}

static void one_process_sees_a_short_last_batch(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 5);
    accel_loader_t *loader = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 2));
    accel_batch_t batch;

    CHECK(!accel_loader_shard(loader).even_batches);
    CHECK_OK(accel_loader_begin(loader, 0));
    for (int64_t step = 0; step < 3; step++) {
        CHECK_OK(accel_loader_next(loader, &batch));
        CHECK_INT(step < 2 ? 2 : 1, batch.rows);
        CHECK_INT(batch.rows, batch.real_rows);
        CHECK_INT(batch.rows, batch.fields[1].shape[0]);
        CHECK_INT(3, batch.fields[1].shape[1]);
        CHECK(batch.last == (step == 2));
    }
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void order_is_the_same_with_and_without_prefetch(void)
{
    enum { N = 997 };
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, N);
    accel_loader_options_t options = *ACCEL_LOADER_OPTIONS(.batch_size = 10, .shuffle = true);
    accel_loader_t *ahead = loader_of(dataset, options), *direct;
    int64_t expected[N], found[N];

    options.prefetch = ACCEL_OFF;
    direct = loader_of(dataset, options);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        accel_shuffle(ACCEL_DEFAULT_SEED, epoch, N, expected);
        source.other_thread = false;
        CHECK_INT(N, read_epoch(direct, epoch, found));
        CHECK(memcmp(expected, found, sizeof(found)) == 0);
        CHECK(!source.other_thread);
        CHECK_INT(N, read_epoch(ahead, epoch, found));
        CHECK(memcmp(expected, found, sizeof(found)) == 0);
        CHECK(source.other_thread);
    }
    CHECK(!source.signals_open);
    accel_loader_destroy(ahead);
    accel_loader_destroy(direct);
    accel_dataset_destroy(dataset);
}

/* A child that a program forks in the middle of an epoch may clean up its copy. */
static void a_forked_child_destroys_its_copy(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 100);
    accel_loader_t *loader = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 7));
    accel_batch_t batch;
    int status = 1;
    pid_t child;

    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    child = fork();
    if (child == 0) {
        accel_loader_destroy(loader);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    for (int64_t step = 1; step < accel_loader_length(loader); step++)
        CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* set_epoch twice gives one order; epochs and seeds differ; the seed 0 can be said. */
static void seeds_and_epochs(void)
{
    enum { N = 50 };
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, N);
    accel_loader_t *loader = loader_of(
        dataset, *ACCEL_LOADER_OPTIONS(.shuffle = true, .batch_size = 7, .seed = ACCEL_SEED_ZERO));
    int64_t first[N], again[N], expected[N];

    CHECK_INT(N, read_epoch(loader, 0, first));
    CHECK_INT(N, read_epoch(loader, 1, again));
    CHECK(memcmp(first, again, sizeof(first)) != 0);
    CHECK_INT(N, read_epoch(loader, 0, again));
    CHECK(memcmp(first, again, sizeof(first)) == 0);
    accel_shuffle(0, 0, N, expected);
    CHECK(memcmp(first, expected, sizeof(first)) == 0);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static int count_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    int count = -2; /* . and .. */

    CHECK(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void leaving_early_and_starting_again(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 100);
    accel_loader_t *loader = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 3));
    int64_t order[100];
    accel_batch_t batch;
    int threads;

    CHECK_OK(accel_loader_begin(loader, 0));
    threads = count_threads();
    for (int64_t epoch = 0; epoch < 50; epoch++) {
        CHECK_OK(accel_loader_begin(loader, epoch));
        for (int64_t step = 0; step < epoch % 5; step++)
            CHECK_OK(accel_loader_next(loader, &batch));
        if (epoch % 2)
            accel_loader_end(loader);
        CHECK_INT(threads, count_threads()); /* one, for all epochs */
    }
    CHECK_INT(100, read_epoch(loader, 0, order));
    for (int64_t i = 0; i < 100; i++)
        CHECK_INT(i, order[i]);
    CHECK_OK(accel_loader_begin(loader, 1));
    accel_loader_destroy(loader); /* while the thread reads */
    CHECK_INT(threads - 1, count_threads());
    accel_dataset_destroy(dataset);
}

/* Nothing is read once the epoch is given up, and giving up does not wait for a whole batch. */
static void giving_up_waits_for_one_sample_at_most(void)
{
    source_t source = {.bad = -1, .slow_ms = 20};
    accel_dataset_t *dataset = dataset_of(&source, 1000000);
    accel_loader_t *loader = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 100000));
    long long calls;

    CHECK_OK(accel_loader_begin(loader, 0));
    while (source.calls == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    accel_loader_end(loader);
    calls = source.calls;
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    CHECK_INT(calls, source.calls);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void check_error(accel_tristate_t prefetch, source_t *source, accel_status_t expected,
                        const char *text)
{
    accel_dataset_t *dataset = dataset_of(source, 20);
    accel_loader_t *loader =
        loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 4, .prefetch = prefetch));
    int64_t order[20];
    accel_batch_t batch;

    for (int64_t epoch = 0; epoch < 2; epoch++) {
        CHECK_OK(accel_loader_begin(loader, epoch));
        CHECK_OK(accel_loader_next(loader, &batch));
        CHECK_OK(accel_loader_next(loader, &batch));
        (void)accel_fail(ACCEL_ERR_IO, "something old");
        CHECK_STATUS(expected, accel_loader_next(loader, &batch));
        CHECK_STR(text, accel_last_error());
        CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
    }
    source->bad = -1;
    CHECK_INT(20, read_epoch(loader, 2, order));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void errors_of_the_callback_name_the_sample(void)
{
    for (int on = 0; on < 2; on++) {
        accel_tristate_t prefetch = on ? ACCEL_ON : ACCEL_OFF;

        check_error(prefetch,
                    &(source_t){.bad = 9, .status = ACCEL_ERR_IO, .text = "the disk is on fire"},
                    ACCEL_ERR_IO, "the dataset's callback failed at sample 9: the disk is on fire");
        check_error(prefetch, &(source_t){.bad = 10, .status = ACCEL_ERR_FORMAT}, ACCEL_ERR_FORMAT,
                    "the dataset's callback failed at sample 10: ACCEL_ERR_FORMAT");
        check_error(
            prefetch, &(source_t){.bad = 11, .status = ACCEL_END}, ACCEL_ERR_INVALID,
            "the dataset's callback returned 1 at sample 11; expected ACCEL_OK or an error");
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t memory_in_use(void)
{
    return mallinfo2().uordblks;
}
#else
static size_t memory_in_use(void) /* the sanitizers bring their own malloc */
{
    return 0;
}
#endif

static void batches_are_not_allocated_one_by_one(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 4000);
    accel_loader_t *loader =
        loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 4, .prefetch = ACCEL_OFF));
    int64_t order[4000];
    size_t before;

    read_epoch(loader, 0, order);
    before = memory_in_use();
    read_epoch(loader, 1, order);
    CHECK_INT(before, memory_in_use());
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static accel__loader_world_t world_of(accel__active_loaders_t *active, accel__link_t *ring)
{
    accel__link_init(ring);
    return (accel__loader_world_t){.process_index = 1,
                                   .num_processes = 2,
                                   .even_batches = true,
                                   .active = active,
                                   .prepared = ring};
}

/* Validation inside training: the inner loader is the one under way, then the outer again. */
static void nested_loaders(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 5);
    accel_loader_t *train = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 2));
    accel_loader_t *eval = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 4));
    accel__active_loaders_t active = {NULL};
    accel__link_t ring;
    accel__loader_world_t world = world_of(&active, &ring);
    accel_batch_t batch;

    CHECK_OK(accel__loader_prepare(train, &world));
    CHECK_OK(accel__loader_prepare(eval, &world));
    CHECK(!accel__loaders_at_end(&active));
    CHECK_INT(-1, accel__loaders_metric_rows(&active).keep_rows);
    CHECK_OK(accel_loader_begin(train, 0));
    CHECK_OK(accel_loader_next(train, &batch));
    CHECK(!accel__loaders_at_end(&active));
    CHECK_OK(accel_loader_begin(eval, 0));
    CHECK_INT(-1, accel__loaders_metric_rows(&active).keep_rows); /* no batch of it yet */
    CHECK_OK(accel_loader_next(eval, &batch));
    CHECK_INT(4, batch.rows);
    CHECK(batch.last && accel__loaders_at_end(&active));
    CHECK_INT(5, accel__loaders_metric_rows(&active).keep_rows);
    CHECK_STATUS(ACCEL_END, accel_loader_next(eval, &batch));
    CHECK(active.top == train && !accel__loaders_at_end(&active));
    CHECK_OK(accel_loader_next(train, &batch));
    CHECK(accel__loaders_at_end(&active));
    CHECK_INT(1, accel__loaders_metric_rows(&active).keep_rows);

    /* The outer ends first, in whichever way. */
    CHECK_OK(accel_loader_begin(eval, 0));
    accel_loader_end(train);
    CHECK(active.top == eval);
    accel_loader_destroy(eval);
    CHECK(active.top == NULL);
    accel_loader_destroy(train);
    CHECK(ring.next == &ring);
    accel_dataset_destroy(dataset);
}

static void preparing_twice_or_in_an_epoch(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 9);
    accel_loader_t *loader = loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 3));
    accel__active_loaders_t active = {NULL};
    accel__link_t ring;
    accel__loader_world_t world = world_of(&active, &ring);

    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_ERR_STATE, accel__loader_prepare(loader, &world));
    CHECK_ERROR("in an epoch");
    accel_loader_end(loader);
    world.split_batches = true;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__loader_prepare(loader, &world));
    CHECK_ERROR("3 is not a multiple of 2");
    world.split_batches = false;
    CHECK_OK(accel__loader_prepare(loader, &world));
    CHECK_INT(2, accel_loader_length(loader));
    CHECK_STATUS(ACCEL_ERR_STATE, accel__loader_prepare(loader, &world));
    CHECK_ERROR("already");

    /* The accelerator goes, in the middle of an epoch: one process again. */
    CHECK_OK(accel_loader_begin(loader, 0));
    accel__link_release_after(&ring, &ring);
    CHECK(active.top == NULL);
    CHECK_INT(1, accel_loader_shard(loader).num_processes);
    CHECK_INT(3, accel_loader_length(loader));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* Ranks without a batch make the step all the same. */
static void steps_without_rows(void)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, 5);
    accel_loader_t *loader =
        loader_of(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 2, .even_batches = ACCEL_OFF));
    accel__active_loaders_t active = {NULL};
    accel__link_t ring;
    accel__loader_world_t world = world_of(&active, &ring);
    accel_batch_t batch;

    CHECK_OK(accel__loader_prepare(loader, &world));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(2, batch.rows);
    CHECK_INT(4, batch.real_rows);
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(0, batch.rows);
    CHECK_INT(1, batch.real_rows);
    CHECK_INT(0, batch.fields[1].shape[0]);
    CHECK(batch.last);
    CHECK_INT(-1, accel__loaders_metric_rows(&active).keep_rows);
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static uint64_t signature_of(int64_t length, accel_loader_options_t options, char *text)
{
    source_t source = {.bad = -1};
    accel_dataset_t *dataset = dataset_of(&source, length);
    accel_loader_t *loader = loader_of(dataset, options);
    uint64_t signature = accel__loader_signature(loader, text, 512);

    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    return signature;
}

static void signatures(void)
{
    char text[512];
    accel_loader_options_t plain = *ACCEL_LOADER_OPTIONS(.batch_size = 2);
    accel_loader_options_t shuffled = *ACCEL_LOADER_OPTIONS(.batch_size = 2, .shuffle = true);
    uint64_t signature = signature_of(10, plain, text);

    CHECK(strstr(text, "10 samples, 2 fields"));
    CHECK(signature == signature_of(10, plain, text));
    CHECK(signature != signature_of(11, plain, text));
    CHECK(signature != signature_of(10, *ACCEL_LOADER_OPTIONS(.batch_size = 3), text));
    CHECK(signature != signature_of(10, shuffled, text));
    CHECK(
        signature !=
        signature_of(10, *ACCEL_LOADER_OPTIONS(.batch_size = 2, .even_batches = ACCEL_OFF), text));
    plain.seed = 5; /* of no shuffle */
    plain.prefetch = ACCEL_OFF;
    CHECK(signature == signature_of(10, plain, text));
    signature = signature_of(10, shuffled, text);
    shuffled.seed = 5;
    CHECK(signature != signature_of(10, shuffled, text));
    CHECK(strstr(text, "seed 5"));
}

TEST_MAIN(TEST(a_forked_child_destroys_its_copy), TEST(options_are_checked),
          TEST(one_process_sees_a_short_last_batch),
          TEST(order_is_the_same_with_and_without_prefetch), TEST(seeds_and_epochs),
          TEST(leaving_early_and_starting_again), TEST(giving_up_waits_for_one_sample_at_most),
          TEST(errors_of_the_callback_name_the_sample), TEST(batches_are_not_allocated_one_by_one),
          TEST(nested_loaders), TEST(preparing_twice_or_in_an_epoch), TEST(steps_without_rows),
          TEST(signatures))
