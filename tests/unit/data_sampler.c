/* SPDX-License-Identifier: Apache-2.0 */
/* Orders and batches of the program's own. */
#include "vectors.h"

#include "data_ranks.h"

/* ---- batches of varying size ---- */

static accel_status_t batches_of_row(void *context, int64_t epoch, accel_batches_t *batches)
{
    const json_t *all = json_object_get(context, "batches"), *batch;
    size_t b;

    (void)epoch;
    json_array_foreach(all, b, batch)
    {
        int64_t indices[64];

        CHECK(json_array_size(batch) <= 64);
        for (size_t k = 0; k < json_array_size(batch); k++)
            indices[k] = vectors_at(batch, k);
        CHECK_OK(accel_batches_add(batches, indices, (int64_t)json_array_size(batch)));
    }
    return ACCEL_OK;
}

/* The step's real batches are upstream's; with the rows of all ranks known, metrics are exact. */
static void check_batch(const json_t *row, const accel_batch_t *batch, const json_t *expected,
                        const accel__metric_rows_t *metric)
{
    const json_t *batches = json_object_get(row, "batches");
    int64_t processes = vectors_int(row, "num_processes"), real = 0, filled = 0;
    int64_t first = batch->step * processes;

    for (int64_t b = first; b < first + processes; b++) {
        int64_t size =
            (int64_t)json_array_size(json_array_get(batches, (size_t)b % json_array_size(batches)));

        if (b < (int64_t)json_array_size(batches))
            real += size;
        else if (vectors_bool(row, "even_batches"))
            filled += size;
    }
    VECTORS_CHECK(row, batch->real_rows == real);
    VECTORS_CHECK(row, metric->keep_rows == (filled > 0 ? real : -1));
    VECTORS_CHECK(row, (int64_t)json_array_size(expected) == batch->rows);
    for (int64_t k = 0; k < batch->rows; k++)
        VECTORS_CHECK(row, vectors_at(expected, (size_t)k) == batch->indices[k]);
    data_check_values(batch);
}

static void check_rank(const json_t *row, const data_rank_t *rank, const json_t *expected)
{
    accel_batch_t batch;
    accel_status_t status;
    size_t found = 0;
    int64_t steps = 0;

    CHECK_INT(-1, accel_loader_length(rank->loader));
    CHECK_OK(accel_loader_begin(rank->loader, 0));
    while ((status = accel_loader_next(rank->loader, &batch)) == ACCEL_OK) {
        accel__metric_rows_t metric = accel__loaders_metric_rows(&rank->active);

        steps++;
        if (batch.rows > 0)
            check_batch(row, &batch, json_array_get(expected, found++), &metric);
        VECTORS_CHECK(row, batch.last == (steps == accel_loader_length(rank->loader)));
    }
    CHECK_STATUS(ACCEL_END, status);
    VECTORS_CHECK(row, found == json_array_size(expected));
    VECTORS_CHECK(row, steps == accel_loader_length(rank->loader));
}

/* For one process upstream builds no shard; these rows are its class by itself, which is the same
 * there. len() is compared by the steps, which are equal on all ranks here. */
static void batches_of_varying_size(void)
{
    json_t *root = vectors_load("batch_sampler_shard_dynamic"), *row;
    accel_dataset_t *dataset = data_indices(1000);
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        int64_t processes = vectors_int(row, "num_processes");

        for (int64_t index = 0; index < processes; index++) {
            data_rank_t rank;

            data_rank_prepare(
                &rank, dataset,
                ACCEL_LOADER_OPTIONS(.batch_sampler = batches_of_row, .sampler_context = row,
                                     .drop_last = vectors_bool(row, "drop_last"), .num_workers = 2,
                                     .even_batches =
                                         vectors_bool(row, "even_batches") ? ACCEL_ON : ACCEL_OFF),
                index, processes, NULL);
            check_rank(row, &rank, json_array_get(json_object_get(row, "expected"), (size_t)index));
            accel_loader_destroy(rank.loader);
        }
    }
    CHECK_INT(86, i);
    accel_dataset_destroy(dataset);
    json_decref(root);
}

/* Epoch e has e + 1 batches of which batch b holds b + 1 samples: room grows and shrinks. */
static accel_status_t growing(void *context, int64_t epoch, accel_batches_t *batches)
{
    int64_t indices[64];

    (void)context;
    for (int64_t b = 0; b <= epoch; b++) {
        for (int64_t k = 0; k <= b; k++)
            indices[k] = 10 * epoch + k;
        CHECK_OK(accel_batches_add(batches, indices, b + 1));
    }
    return ACCEL_OK;
}

static void batches_change_from_epoch_to_epoch(void)
{
    accel_dataset_t *dataset = data_indices(1000);
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_sampler = growing, .num_workers = 3), &loader));
    for (int64_t turn = 0; turn < 30; turn++) {
        int64_t epoch = turn * 7 % 30, steps = 0;

        ACCEL_EPOCH(loader, epoch, &batch) {
            CHECK_INT(++steps, batch.rows);
            CHECK_INT(10 * epoch, batch.indices[0]);
            data_check_values(&batch);
        }
        CHECK_INT(epoch + 1, steps);
        CHECK_INT(epoch + 1, accel_loader_length(loader));
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* ---- orders ---- */

/* Backwards, every sample twice, from a place that the epoch decides. */
static accel_status_t backwards(void *context, int64_t epoch, int64_t count, int64_t *order)
{
    int64_t samples = *(const int64_t *)context;

    for (int64_t i = 0; i < count; i++)
        order[i] = (2 * samples + epoch - 1 - i) % samples;
    return ACCEL_OK;
}

static void orders(void)
{
    int64_t samples = 10;
    accel_dataset_t *dataset = data_indices(samples);
    accel_batch_t batch;
    data_rank_t rank;

    for (int64_t index = 0; index < 2; index++) {
        data_rank_prepare(&rank, dataset,
                          ACCEL_LOADER_OPTIONS(.batch_size = 3, .sampler = backwards,
                                               .sampler_context = &samples, .sampler_length = 20),
                          index, 2, NULL);
        CHECK_INT(4, accel_loader_length(rank.loader));
        for (int64_t epoch = 0; epoch < 3; epoch++)
            ACCEL_EPOCH(rank.loader, epoch, &batch) {
                for (int64_t k = 0; k < 3; k++) {
                    int64_t place = (6 * batch.step + 3 * index + k) % 20;

                    CHECK_INT((20 + epoch - 1 - place) % 10, batch.indices[k]);
                }
                CHECK_INT(batch.last ? 2 : 6, batch.real_rows);
            }
        accel_loader_destroy(rank.loader);
    }
    accel_dataset_destroy(dataset);
}

/* ---- what may go wrong ---- */

typedef struct faulty {
    accel_status_t status;
    const char *text;
    int64_t index, count;
} faulty_t;

static accel_status_t faulty_order(void *context, int64_t epoch, int64_t count, int64_t *order)
{
    const faulty_t *faulty = context;

    (void)epoch;
    memset(order, 0, (size_t)count * sizeof(*order));
    order[count - 1] = faulty->index;
    return faulty->text ? accel_fail(faulty->status, "%s", faulty->text) : faulty->status;
}

/* Overlooks that its batch was refused. */
static accel_status_t faulty_batches(void *context, int64_t epoch, accel_batches_t *batches)
{
    const faulty_t *faulty = context;
    const int64_t indices[2] = {faulty->index, 0};
    accel_status_t refused = accel_batches_add(batches, indices, faulty->count);

    (void)epoch, (void)refused;
    return faulty->status;
}

static void check_begin(accel_dataset_t *dataset, accel_loader_options_t options,
                        accel_status_t expected, const char *text)
{
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_loader_create(dataset, &options, &loader));
    (void)accel_fail(ACCEL_ERR_IO, "something old");
    CHECK_STATUS(expected, accel_loader_begin(loader, 0));
    CHECK_STR(text, accel_last_error());
    CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
}

static void samplers_that_fail(void)
{
    accel_dataset_t *dataset = data_indices(5);
    faulty_t faulty = {.status = ACCEL_ERR_IO, .text = "no such list"};
    accel_loader_options_t order =
        *ACCEL_LOADER_OPTIONS(.sampler = faulty_order, .sampler_context = &faulty);
    accel_loader_options_t batches =
        *ACCEL_LOADER_OPTIONS(.batch_sampler = faulty_batches, .sampler_context = &faulty);

    check_begin(dataset, order, ACCEL_ERR_IO, "the sampler failed: no such list");
    faulty = (faulty_t){.status = ACCEL_ERR_FORMAT};
    check_begin(dataset, order, ACCEL_ERR_FORMAT, "the sampler failed: ACCEL_ERR_FORMAT");
    faulty = (faulty_t){.status = ACCEL_END};
    check_begin(dataset, order, ACCEL_ERR_INVALID,
                "the sampler returned 1; expected ACCEL_OK or an error");
    faulty = (faulty_t){.index = 5};
    check_begin(dataset, order, ACCEL_ERR_INVALID,
                "the sampler gave sample 5 at place 4; expected 0 to 4");
    faulty = (faulty_t){.index = -1};
    check_begin(dataset, order, ACCEL_ERR_INVALID,
                "the sampler gave sample -1 at place 4; expected 0 to 4");
    faulty = (faulty_t){.index = 7, .count = 1};
    check_begin(dataset, batches, ACCEL_ERR_INVALID,
                "the batch sampler failed: accel_batches_add: the batch gave sample 7 at place 0; "
                "expected 0 to 4");
    faulty = (faulty_t){.count = 0};
    check_begin(dataset, batches, ACCEL_ERR_INVALID,
                "the batch sampler failed: accel_batches_add: a batch without samples");
    faulty = (faulty_t){.count = 1, .status = ACCEL_ERR_IO};
    check_begin(dataset, batches, ACCEL_ERR_IO, "the batch sampler failed: ACCEL_ERR_IO");
    accel_dataset_destroy(dataset);
}

static void options_that_contradict(void)
{
    accel_dataset_t *dataset = data_indices(5);
    accel_loader_t *loader;
    struct {
        accel_loader_options_t options;
        const char *text;
    } bad[] = {{{.sampler = backwards, .shuffle = true}, "expected one of shuffle, sampler"},
               {{.sampler = backwards, .batch_sampler = growing}, "expected one of shuffle"},
               {{.batch_sampler = growing, .batch_size = 4}, "batch_size 4 with a batch sampler"},
               {{.batch_sampler = growing, .split_batches = ACCEL_ON},
                "split_batches with a batch sampler"},
               {{.sampler_length = 3}, "sampler_length is 3 without a sampler"},
               {{.sampler = backwards, .sampler_length = -3}, "sampler_length is -3"}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bad[i].options.struct_size = sizeof(bad[i].options);
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_create(dataset, &bad[i].options, &loader));
        CHECK_ERROR(bad[i].text);
        CHECK(loader == NULL);
    }
    CHECK_STATUS(
        ACCEL_ERR_UNSUPPORTED,
        accel_loader_create(
            dataset, ACCEL_LOADER_OPTIONS(.batch_sampler = growing, .presharded = true), &loader));
    CHECK_ERROR("presharded with a batch sampler");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_batches_add(NULL, NULL, 1));
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(batches_of_varying_size), TEST(batches_change_from_epoch_to_epoch), TEST(orders),
          TEST(samplers_that_fail), TEST(options_that_contradict))
