/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of loaders on real ranks: data of each rank's own, streams that all read, orders that are
 * compared; and what gather_for_metrics makes of them. */
#include "data_ranks.h"

static accel_loader_t *loader_of(accel_t *accelerator, accel_dataset_t *dataset,
                                 accel_loader_options_t options)
{
    accel_loader_t *loader;

    CHECK_OK(accel_loader_create(dataset, &options, &loader));
    CHECK_OK(accel_prepare_loader(accelerator, loader));
    return loader;
}

/* ---- presharded ---- */

/* Rank r has `lengths[r]` samples, numbered from 0 on. */
typedef struct case_of_lengths {
    int64_t lengths[4];
} case_t;

static const case_t cases[] = {
    {{8, 8, 8, 8}}, {{9, 4, 13, 1}}, {{5, 6, 7, 8}}, {{0, 3, 9, 4}}, {{0, 0, 0, 0}}};

static int64_t most_steps(const case_t *lengths, int size)
{
    int64_t most = 0;

    for (int r = 0; r < size; r++)
        if ((lengths->lengths[r] + 3) / 4 > most)
            most = (lengths->lengths[r] + 3) / 4;
    return most;
}

static int64_t fewest_steps(const case_t *lengths, int size)
{
    int64_t fewest = INT64_MAX;

    for (int r = 0; r < size; r++)
        if (lengths->lengths[r] / 4 < fewest)
            fewest = lengths->lengths[r] / 4;
    return fewest;
}

static int64_t between(int64_t value, int64_t most)
{
    return value < 0 ? 0 : value < most ? value : most;
}

/* A value of each row's, twice: metrics of two numbers a sample are trimmed, too. */
static void check_metrics(accel_t *accelerator, const accel_batch_t *batch, const case_t *lengths,
                          int size, bool dropping)
{
    int64_t doubled[8], at = 0, total = 0;
    accel_tensor_t *all, *twice;

    for (int64_t k = 0; k < 2 * batch->rows; k++)
        doubled[k] = batch->indices[k / 2];
    CHECK_OK(accel_gather_for_metrics(accelerator, &batch->fields[0], &all));
    CHECK_OK(accel_gather_for_metrics(accelerator,
                                      ACCEL_TENSOR(doubled, ACCEL_I64, 2 * batch->rows), &twice));
    for (int r = 0; r < size; r++) {
        int64_t real = dropping ? 4 : between(lengths->lengths[r] - 4 * batch->step, 4);

        for (int64_t k = 0; k < real; k++, at++) {
            CHECK_INT(4 * batch->step + k, ((const int64_t *)all->data)[at]);
            CHECK_INT(4 * batch->step + k, ((const int64_t *)twice->data)[2 * at + 1]);
        }
        total += real;
    }
    CHECK_INT(total, batch->real_rows);
    CHECK_INT(total, all->shape[0]);
    CHECK_INT(2 * total, twice->shape[0]);
    accel_tensor_destroy(all);
    accel_tensor_destroy(twice);
}

static void check_presharded(accel_t *accelerator, const case_t *lengths, int rank, int size,
                             accel_loader_options_t options)
{
    accel_dataset_t *dataset = data_indices(lengths->lengths[rank]);
    accel_loader_t *loader = loader_of(accelerator, dataset, options);
    bool even = options.even_batches != ACCEL_OFF && size > 1;
    int64_t steps = options.drop_last ? fewest_steps(lengths, size) : most_steps(lengths, size);
    int64_t own = lengths->lengths[rank], found = 0;
    accel_batch_t batch;

    CHECK_INT(steps, accel_loader_length(loader));
    CHECK_OK(accel_skip_first_batches(accelerator, loader, steps > 1 ? 1 : 0));
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        found = epoch == 0 && steps > 1;
        ACCEL_EPOCH(loader, epoch, &batch) {
            int64_t real = between(own - 4 * batch.step, 4);

            CHECK_INT(options.drop_last || (even && own > 0) ? 4 : real, batch.rows);
            CHECK_INT(found++, batch.step);
            CHECK(batch.last == (found == steps));
            for (int64_t k = 0; k < batch.rows; k++) /* filled up with its own */
                CHECK_INT((4 * batch.step + k) % own, batch.indices[k]);
            data_check_values(&batch);
            check_metrics(accelerator, &batch, lengths, size, options.drop_last);
        }
        CHECK_INT(steps, found);
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void presharded(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());

    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        check_presharded(accelerator, &cases[c], rank, size,
                         *ACCEL_LOADER_OPTIONS(.batch_size = 4, .presharded = true));
        check_presharded(
            accelerator, &cases[c], rank, size,
            *ACCEL_LOADER_OPTIONS(.batch_size = 4, .presharded = true, .drop_last = true));
        check_presharded(
            accelerator, &cases[c], rank, size,
            *ACCEL_LOADER_OPTIONS(.batch_size = 4, .presharded = true, .even_batches = ACCEL_OFF));
        check_presharded(accelerator, &cases[c], rank, size,
                         *ACCEL_LOADER_OPTIONS(.batch_size = 4 * size, .presharded = true,
                                               .split_batches = ACCEL_ON));
    }
    accel_destroy(accelerator);
}

static void data_of_each_ranks_own(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, presharded);
}

/* ---- streams that every rank reads ---- */

static void streamed(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());

    (void)rank, (void)size;
    for (int64_t length = 0; length < 40; length++) {
        data_count_t count = {.length = length};
        accel_dataset_t *dataset = data_stream(&count, false);
        accel_loader_t *loader = loader_of(
            accelerator, dataset,
            *ACCEL_LOADER_OPTIONS(.batch_size = 3, .dispatch_batches = ACCEL_OFF,
                                  .even_batches = length % 2 ? ACCEL_OFF : ACCEL_DEFAULT));
        accel_batch_t batch;
        int64_t next = 0;

        ACCEL_EPOCH(loader, 0, &batch) {
            accel_tensor_t *all;

            CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
            CHECK_INT(batch.real_rows, all->shape[0]);
            for (int64_t k = 0; k < all->shape[0]; k++)
                CHECK_INT(next++, ((const int64_t *)all->data)[k]);
            CHECK(batch.last == (next == length));
            accel_tensor_destroy(all);
        }
        CHECK_INT(length, next);
        accel_loader_destroy(loader);
        accel_dataset_destroy(dataset);
    }
    accel_destroy(accelerator);
}

static void streams_that_all_read(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, streamed);
}

/* ---- orders of the program's own ---- */

static accel_status_t rotate(void *context, int64_t epoch, int64_t count, int64_t *order)
{
    int64_t by = *(const int64_t *)context;

    if (by < 0)
        return accel_fail(ACCEL_ERR_IO, "there is no order on this rank");
    for (int64_t i = 0; i < count; i++)
        order[i] = (i + by * epoch) % count;
    return ACCEL_OK;
}

static accel_status_t one_batch(void *context, int64_t epoch, accel_batches_t *batches)
{
    int64_t indices[4] = {0, 1, 2, 3};

    return accel_batches_add(batches, indices, 1 + epoch * *(const int64_t *)context);
}

/* Equal in epoch 0, and different from then on. */
static void different_orders(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset = data_indices(10);
    int64_t by = rank == 1;
    accel_loader_options_t options =
        *ACCEL_LOADER_OPTIONS(.sampler = rotate, .sampler_context = &by);
    accel_loader_t *loader = loader_of(accelerator, dataset, options);
    accel_status_t status;

    (void)size;
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_loader_begin(loader, 1));
    CHECK_ERROR("the sampler gave rank 1 another order than rank 0");
    by = rank == 2 ? -1 : 0;
    status = accel_loader_begin(loader, 1);
    CHECK_STATUS(rank == 2 ? ACCEL_ERR_IO : ACCEL_ERR_REMOTE, status);
    CHECK_ERROR("there is no order on this rank");
    accel_loader_destroy(loader);
    options = *ACCEL_LOADER_OPTIONS(.batch_sampler = one_batch, .sampler_context = &by);
    by = rank == 1;
    loader = loader_of(accelerator, dataset, options);
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_loader_begin(loader, 3));
    CHECK_ERROR("the batch sampler gave rank 1 another order than rank 0");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    CHECK_OK(accel_wait_for_everyone(accelerator)); /* nothing is broken */
    accel_destroy(accelerator);
}

static void orders_are_compared(void)
{
    TEST_RANKS(3, different_orders);
}

/* ---- loaders that are not the same ---- */

static void different_kinds(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *dataset = data_indices(10);
    accel_loader_t *loader;

    (void)size;
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.presharded = rank == 1), &loader));
    CHECK(accel_prepare_loader(accelerator, loader) < 0);
    CHECK_ERROR("presharded yes on rank 1, but");
    accel_loader_destroy(loader);
    CHECK_OK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.presharded = true, .dispatch_batches = ACCEL_ON), &loader));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_prepare_loader(accelerator, loader));
    CHECK_ERROR("presharded data is read by every rank");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void kinds_that_differ(void)
{
    TEST_RANKS(2, different_kinds);
}

/* ---- a loop that is left ---- */

/* An evaluation that is left early does not take the training loop's last step for its own. */
static void evaluate_some(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_dataset_t *train_data = data_indices(4 * size + 1), *eval_data = data_indices(100);
    accel_loader_t *train =
        loader_of(accelerator, train_data, *ACCEL_LOADER_OPTIONS(.batch_size = 4));
    accel_loader_t *eval =
        loader_of(accelerator, eval_data, *ACCEL_LOADER_OPTIONS(.batch_size = 3));
    accel_batch_t batch, other;

    (void)rank;
    ACCEL_EPOCH(train, 0, &batch) {
        accel_tensor_t *all;

        ACCEL_EPOCH(eval, 0, &other) {
            if (other.step == 2)
                break;
        }
        CHECK_OK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
        CHECK_INT(batch.last ? 1 : 4 * size, all->shape[0]);
        accel_tensor_destroy(all);
    }
    accel_loader_destroy(train);
    accel_loader_destroy(eval);
    accel_dataset_destroy(train_data);
    accel_dataset_destroy(eval_data);
    accel_destroy(accelerator);
}

static void loops_that_are_left(void)
{
    TEST_RANKS(2, evaluate_some);
}

TEST_MAIN(TEST(data_of_each_ranks_own), TEST(streams_that_all_read), TEST(orders_are_compared),
          TEST(kinds_that_differ), TEST(loops_that_are_left))
