/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120 */
/* Batches that the main process reads for all. */
#include <unistd.h>

#include "vectors.h"

#include "data_ranks.h"

static accel_loader_t *loader_of(accel_t *accelerator, accel_dataset_t *dataset,
                                 accel_loader_options_t options)
{
    accel_loader_t *loader;

    CHECK_OK(accel_loader_create(dataset, &options, &loader));
    CHECK_OK(accel_prepare_loader(accelerator, loader));
    return loader;
}

/* Only where nothing is to be asked. */
static accel_status_t never(void *context, int64_t index, void *const *fields)
{
    (void)context, (void)fields;
    return accel_fail(ACCEL_ERR_INTERNAL, "sample %lld was asked of the wrong rank",
                      (long long)index);
}

static accel_dataset_t *never_asked(int64_t length)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    CHECK_OK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = length, .get = never, .fields = &field, .num_fields = 1),
        &dataset));
    return dataset;
}

/* ---- upstream's results ---- */

/* Where fewer samples are left than half the ranks, upstream leaves the last ranks an empty batch.
 * Ours repeats the first samples until every rank has as many. */
static void check_batch(const json_t *row, const json_t *expected, const accel_batch_t *batch,
                        int64_t rank)
{
    int64_t length = vectors_int(row, "dataset_len");

    data_check_values(batch);
    if (json_array_size(expected) == 0) {
        VECTORS_CHECK(row, batch->rows == 1 && batch->real_rows <= rank);
        VECTORS_CHECK(row, batch->indices[0] == (rank - batch->real_rows) % length);
        return;
    }
    VECTORS_CHECK(row, (int64_t)json_array_size(expected) == batch->rows);
    for (int64_t k = 0; k < batch->rows; k++)
        VECTORS_CHECK(row, batch->indices[k] == vectors_at(expected, (size_t)k));
}

/* Nothing to read, where upstream raises, is an epoch without steps. */
static void check_row(accel_t *accelerator, const json_t *row, accel_loader_t *loader, int64_t rank)
{
    const json_t *expected = json_array_get(json_object_get(row, "expected"), (size_t)rank);
    const json_t *remainder = json_object_get(row, "remainder_at_end");
    int64_t collected = 0, global = vectors_int(row, "batch_size");
    size_t steps = json_array_size(expected), step = 0;
    accel_batch_t batch;

    ACCEL_EPOCH(loader, 0, &batch) {
        accel_tensor_t *all;

        check_batch(row, json_array_get(expected, step++), &batch, rank);
        VECTORS_CHECK(row, batch.last == (step == steps));
        if (batch.last)
            VECTORS_CHECK(row, batch.real_rows == vectors_at(remainder, (size_t)rank));
        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
        VECTORS_CHECK(row, all->shape[0] == batch.real_rows);
        for (int64_t k = 0; k < all->shape[0]; k++)
            VECTORS_CHECK(row, ((const int64_t *)all->data)[k] == collected++);
        accel_tensor_destroy(all);
    }
    VECTORS_CHECK(row, step == steps);
    if (!vectors_bool(row, "split_batches"))
        global *= vectors_int(row, "num_processes");
    VECTORS_CHECK(row, collected == (vectors_bool(row, "drop_last")
                                         ? vectors_int(row, "dataset_len") / global * global
                                         : vectors_int(row, "dataset_len")));
    if (accel_loader_length(loader) >= 0)
        VECTORS_CHECK(row, accel_loader_length(loader) == (int64_t)steps);
}

/* A stream, dispatched by default; or map-style data, asked for it. */
static void run_row(accel_t *accelerator, const json_t *row, int64_t rank, size_t kind)
{
    data_count_t count = {.length = rank == 0 ? vectors_int(row, "dataset_len") : -1};
    accel_loader_options_t options =
        *ACCEL_LOADER_OPTIONS(.batch_size = vectors_int(row, "batch_size"),
                              .drop_last = vectors_bool(row, "drop_last"),
                              .split_batches =
                                  vectors_bool(row, "split_batches") ? ACCEL_ON : ACCEL_OFF,
                              .num_workers = kind > 1 ? 2 : 0,
                              .prefetch = kind > 0 ? ACCEL_ON : ACCEL_OFF,
                              .dispatch_batches = kind % 2 ? ACCEL_ON : ACCEL_DEFAULT);
    accel_dataset_t *dataset = kind % 2 == 0 ? data_stream(&count, rank == 0 && kind == 2)
                               : rank == 0   ? data_indices(count.length)
                                             : never_asked(1);
    accel_loader_t *loader = loader_of(accelerator, dataset, options);

    check_row(accelerator, row, loader, rank);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void rows_of_size(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    json_t *root = vectors_load("data_loader_dispatcher"), *row;
    size_t i, rows = 0;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        if (vectors_int(row, "num_processes") != size ||
            vectors_int(row, "batch_size") % (vectors_bool(row, "split_batches") ? size : 1) != 0)
            continue;
        run_row(accelerator, row, rank, i % 4);
        rows++;
    }
    CHECK(rows > 100);
    json_decref(root);
    accel_destroy(accelerator);
}

static void rows_1_and_2(void)
{
    TEST_RANKS(1, rows_of_size);
    TEST_RANKS(2, rows_of_size);
}

static void rows_3(void)
{
    TEST_RANKS(3, rows_of_size);
}

static void rows_4(void)
{
    TEST_RANKS(4, rows_of_size);
}

/* ---- other kinds of data ---- */

static accel_status_t get_varying(void *context, int64_t index, accel_sample_t *sample)
{
    int64_t length = 1 + index % 5;
    int64_t *values = accel_sample_field(sample, 0, &length);

    (void)context;
    if (!values)
        return ACCEL_ERR_NO_MEMORY;
    for (int64_t k = 0; k < length; k++)
        values[k] = index;
    return ACCEL_OK;
}

/* The whole global batch is padded at once, so that its parts fit together. */
static void check_varying(accel_loader_t *loader, int rank, int size, int64_t length)
{
    accel_batch_t batch, kept = {0};

    ACCEL_EPOCH(loader, 0, &batch) {
        int64_t global = batch.last ? length % (4 * size) : 4 * size, longest = 0;
        int64_t share = (global + size - 1) / size;

        CHECK_INT(global, batch.real_rows);
        CHECK_INT(share, batch.rows);
        for (int64_t k = 0; k < share * size; k++) {
            int64_t at = (4 * size * batch.step + k) % length;

            longest = 1 + at % 5 > longest ? 1 + at % 5 : longest;
        }
        CHECK_INT(longest, batch.fields[0].shape[1]);
        for (int64_t row = 0; row < batch.rows; row++) {
            int64_t i = (4 * size * batch.step + rank * share + row) % length;

            CHECK_INT(i, batch.indices[row]);
            for (int64_t k = 0; k < longest; k++)
                CHECK_INT(k < 1 + i % 5 ? i : -1,
                          ((const int64_t *)batch.fields[0].data)[row * longest + k]);
        }
        if (kept.rows > 0) /* keep_batches is 2 */
            CHECK_INT(kept.indices[0], ((const int64_t *)kept.fields[0].data)[0]);
        kept = batch;
    }
}

static void varying(int rank, int size)
{
    const accel_field_t field = {
        .name = "values", .dtype = ACCEL_I64, .ndim = 1, .shape = {ACCEL_VARIES}};
    accel_t *accelerator =
        test_accelerator(*ACCEL_OPTIONS(.dispatch_batches = ACCEL_ON)); /* of the accelerator */
    double padding = -1;
    accel_dataset_t *dataset;
    accel_loader_t *loader;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 23, .get_varying = get_varying,
                                                        .fields = &field, .num_fields = 1),
                                  &dataset));
    loader = loader_of(accelerator, dataset,
                       *ACCEL_LOADER_OPTIONS(.batch_size = 4, .keep_batches = 2,
                                             .collate = accel_collate_pad,
                                             .collate_context = &padding, .num_workers = 2));
    check_varying(loader, rank, size, 23);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void samples_that_vary(void)
{
    TEST_RANKS(2, varying);
    TEST_RANKS(3, varying);
}

/* Batches of 1, 2, 3, ... samples; a step is as many of them as there are ranks, dealt evenly. */
static accel_status_t growing(void *context, int64_t epoch, accel_batches_t *batches)
{
    int64_t indices[8], next = 0;

    CHECK_INT(0, *(const int *)context); /* of the main process alone */
    (void)epoch;
    for (int64_t size = 1; size <= 5; size++) {
        for (int64_t k = 0; k < size; k++)
            indices[k] = next++;
        CHECK_OK(accel_batches_add(batches, indices, size));
    }
    return ACCEL_OK;
}

static void sampled(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset = data_indices(15);
    accel_loader_state_t state;
    accel_batch_t batch;
    accel_loader_t *loader =
        loader_of(accelerator, dataset,
                  *ACCEL_LOADER_OPTIONS(.batch_sampler = growing, .sampler_context = &rank,
                                        .dispatch_batches = ACCEL_ON));
    int64_t collected = 0;

    CHECK_INT(-1, accel_loader_length(loader));
    for (int64_t from = 0; from < 3; from++) {
        CHECK_OK(accel_skip_first_batches(accelerator, loader, from));
        collected = from == 0 ? 0 : from == 1 ? 3 : 10;
        ACCEL_EPOCH(loader, 0, &batch) {
            accel_tensor_t *all;

            CHECK_OK(accel_loader_get_state(loader, &state));
            CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
            for (int64_t k = 0; k < all->shape[0]; k++)
                CHECK_INT(collected++, ((const int64_t *)all->data)[k]);
            accel_tensor_destroy(all);
            CHECK_INT(collected, state.position);
            CHECK_INT((batch.real_rows + size - 1) / size, batch.rows);
        }
        CHECK_INT(15, collected);
        CHECK_INT(3, accel_loader_length(loader));
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void batches_of_ones_own(void)
{
    TEST_RANKS(2, sampled);
}

/* Stopped with 4 samples a rank, gone on with 6; shuffled; only the main process has a position. */
static void resumed(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset = data_indices(50);
    accel_loader_options_t options =
        *ACCEL_LOADER_OPTIONS(.batch_size = 4, .shuffle = true, .dispatch_batches = ACCEL_ON);
    accel_loader_t *loader = loader_of(accelerator, dataset, options);
    int64_t order[50], at = 4 * size * 2;
    accel_loader_state_t state;
    accel_batch_t batch;

    (void)rank;
    accel_shuffle(ACCEL_DEFAULT_SEED, 3, 50, order);
    CHECK_OK(accel_loader_begin(loader, 3));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_OK(accel_loader_get_state(loader, &state));
    CHECK(state.epoch == 3 && state.position == at && state.length == 50);
    accel_loader_destroy(loader);
    options.batch_size = 6;
    loader = loader_of(accelerator, dataset, options);
    CHECK_OK(accel_loader_set_state(loader, &state));
    ACCEL_EPOCH(loader, 3, &batch) {
        accel_tensor_t *all;

        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
        for (int64_t k = 0; k < all->shape[0]; k++)
            CHECK_INT(order[at++], ((const int64_t *)all->data)[k]);
        accel_tensor_destroy(all);
    }
    CHECK_INT(50, at);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void states(void)
{
    TEST_RANKS(2, resumed);
    TEST_RANKS(3, resumed);
}

/* ---- what may go wrong ---- */

static accel_status_t fails_at_9(void *context, int64_t index, void *const *fields)
{
    if (index == 9)
        return accel_fail(ACCEL_ERR_FORMAT, "image 9 is damaged");
    return data_get_index(context, index, fields);
}

static accel_status_t pack(void *context, const accel_samples_t *samples, accel_collated_t *batch)
{
    int64_t one = 1;

    (void)context, (void)samples;
    return accel_collate_field(batch, 0, &one) ? ACCEL_OK : ACCEL_ERR_NO_MEMORY;
}

static void failing(int rank, int size)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = 40, .get = fails_at_9, .fields = &field, .num_fields = 1),
        &dataset));
    loader = loader_of(accelerator, dataset,
                       *ACCEL_LOADER_OPTIONS(.batch_size = 2, .dispatch_batches = ACCEL_ON));
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        accel_status_t status;

        CHECK_OK(accel_loader_begin(loader, epoch));
        while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK)
            CHECK(batch.step < 9 / (2 * size));
        CHECK_STATUS(rank == 0 ? ACCEL_ERR_FORMAT : ACCEL_ERR_REMOTE, status);
        CHECK_ERROR("the dataset's callback failed at sample 9: image 9 is damaged");
        CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
    }
    CHECK_OK(accel_wait_for_everyone(accelerator)); /* nothing is broken */
    accel_loader_destroy(loader);
    loader = loader_of(
        accelerator, dataset,
        *ACCEL_LOADER_OPTIONS(.batch_size = 1, .dispatch_batches = ACCEL_ON, .collate = pack));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK(accel_loader_next(loader, &batch) < 0);
    CHECK_ERROR("which cannot be dispatched");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void errors_are_everybodys(void)
{
    TEST_RANKS(2, failing);
    TEST_RANKS(3, failing);
}

static accel_status_t dies_at_9(void *context, int64_t index, void *const *fields)
{
    if (index == 9)
        _exit(0); /* as dead as by a signal */
    return data_get_index(context, index, fields);
}

/* The main process dies in the callback: the others say so, and do not wait. */
static void dying(int rank, int size)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    accel_status_t status;

    (void)size;
    CHECK_OK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = 40, .get = dies_at_9, .fields = &field, .num_fields = 1),
        &dataset));
    loader = loader_of(accelerator, dataset,
                       *ACCEL_LOADER_OPTIONS(.batch_size = 2, .dispatch_batches = ACCEL_ON,
                                             .prefetch = ACCEL_OFF));
    CHECK_OK(accel_loader_begin(loader, 0));
    while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK)
        continue;
    CHECK(rank > 0);
    CHECK_STATUS(ACCEL_ERR_REMOTE, status);
    CHECK_ERROR("rank 0 (pid");
    CHECK_ERROR("died");
    CHECK_ERROR("accel_loader_next");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void main_process_dies(void)
{
    if (!test_ranks_are_threads())
        TEST_RANKS(3, dying);
}

TEST_MAIN(TEST(rows_1_and_2), TEST(rows_3), TEST(rows_4), TEST(samples_that_vary),
          TEST(batches_of_ones_own), TEST(states), TEST(errors_are_everybodys),
          TEST(main_process_dies))
