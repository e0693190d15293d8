/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that every rank reads, and keeps its part of. */
#include "vectors.h"

#include "data_ranks.h"

#define MAX_ROWS 64

static accel_loader_options_t options_of(const json_t *row, int32_t num_workers)
{
    return *ACCEL_LOADER_OPTIONS(.batch_size = vectors_int(row, "batch_size"),
                                 .drop_last = vectors_bool(row, "drop_last"),
                                 .split_batches =
                                     vectors_bool(row, "split_batches") ? ACCEL_ON : ACCEL_OFF,
                                 .prefetch = num_workers > 0 ? ACCEL_ON : ACCEL_OFF,
                                 .num_workers = num_workers);
}

/* The rows that are not padding, which trimming must leave, are 0, 1, 2, ... */
static void check_rank(const json_t *row, accel_loader_t *loader, const json_t *expected,
                       int64_t rank, int64_t steps)
{
    int64_t processes = vectors_int(row, "num_processes"), length = vectors_int(row, "dataset_len");
    accel_batch_t batch;
    accel_status_t status;
    int64_t step = 0, real = 0;

    CHECK_OK(accel_loader_begin(loader, 0));
    while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK) {
        const json_t *wanted = json_array_get(expected, (size_t)step);

        data_check_values(&batch);
        VECTORS_CHECK(row, batch.rows == (int64_t)json_array_size(wanted));
        for (int64_t k = 0; k < batch.rows; k++) {
            VECTORS_CHECK(row, batch.indices[k] == vectors_at(wanted, (size_t)k));
            if (rank * batch.rows + k < batch.real_rows && processes > 1)
                VECTORS_CHECK(row, batch.indices[k] == real + rank * batch.rows + k);
        }
        real += batch.real_rows;
        VECTORS_CHECK(row, batch.last == (++step == steps));
    }
    CHECK_STATUS(ACCEL_END, status);
    VECTORS_CHECK(row, step == steps);
    if (!vectors_bool(row, "drop_last"))
        VECTORS_CHECK(row, real == length);
}

/* For one process upstream builds no shard, and its last batch is naturally short: the class by
 * itself, whose results these are, would fill it up. */
static bool is_filled_up_alone(const json_t *row)
{
    return vectors_int(row, "num_processes") == 1 && !vectors_bool(row, "drop_last") &&
           vectors_int(row, "dataset_len") % vectors_int(row, "batch_size") != 0;
}

static void check_row(const json_t *row, int32_t num_workers)
{
    const json_t *expected = json_object_get(row, "expected");
    accel_loader_options_t options = options_of(row, num_workers);
    int64_t processes = vectors_int(row, "num_processes");

    for (int64_t rank = 0; rank < processes; rank++) {
        data_count_t count = {.length = vectors_int(row, "dataset_len")};
        accel_dataset_t *dataset = data_stream(&count, rank % 2);
        data_rank_t made;

        data_rank_prepare(&made, dataset, &options, rank, processes, NULL);
        check_rank(row, made.loader, json_array_get(expected, (size_t)rank), rank,
                   (int64_t)json_array_size(json_array_get(expected, 0)));
        if (rank % 2 && count.length > 0)
            VECTORS_CHECK(row, accel_loader_length(made.loader) ==
                                   (int64_t)json_array_size(json_array_get(expected, 0)));
        else if (count.length > 0)
            CHECK_INT(-1, accel_loader_length(made.loader));
        accel_loader_destroy(made.loader);
        accel_dataset_destroy(dataset);
    }
}

/* len() of upstream's class is not compared: it counts samples, and is wrong with split_batches. */
static void sharded_rows(void)
{
    json_t *root = vectors_load("iterable_dataset_shard"), *row;
    size_t i, refused = 0, alone = 0;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        if (json_is_null(json_object_get(row, "expected")))
            refused++;
        else if (is_filled_up_alone(row))
            alone++;
        else
            check_row(row, (int32_t)(i % 4));
    }
    CHECK_INT(1117, i);
    CHECK(refused > 0 && alone > 0);
    json_decref(root);
}

/* split_batches that cannot be split is refused up front, where upstream's loader gets a batch size
 * of 0. */
static void sizes_that_cannot_be_split(void)
{
    data_count_t count = {.length = 5};
    accel_dataset_t *dataset = data_stream(&count, false);
    accel__active_loaders_t active = {NULL};
    accel__link_t ring;
    accel__loader_world_t world = {
        .num_processes = 2, .dispatch_batches = ACCEL_OFF, .active = &active, .prepared = &ring};
    accel_loader_t *loader;

    accel__link_init(&ring);
    CHECK_OK(
        accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.split_batches = ACCEL_ON), &loader));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__loader_prepare(loader, &world));
    CHECK_ERROR("1 is not a multiple of 2");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* Without padding, ranks get what there is. */
static void uneven_ends(void)
{
    static const int64_t sizes[2][2] = {{2, 1}, {2, 0}};

    for (int64_t rank = 0; rank < 2; rank++) {
        data_count_t count = {.length = 5};
        accel_dataset_t *dataset = data_stream(&count, false);
        accel_batch_t batch;
        data_rank_t made;

        data_rank_prepare(&made, dataset,
                          ACCEL_LOADER_OPTIONS(.batch_size = 2, .even_batches = ACCEL_OFF), rank, 2,
                          NULL);
        CHECK_OK(accel_loader_begin(made.loader, 0));
        for (int64_t step = 0; step < 2; step++) {
            CHECK_OK(accel_loader_next(made.loader, &batch));
            CHECK_INT(sizes[rank][step], batch.rows);
            CHECK_INT(step == 0 ? 4 : 1, batch.real_rows);
            CHECK_INT(-1, accel__loaders_metric_rows(&made.active).keep_rows);
            data_check_values(&batch);
        }
        CHECK(batch.last);
        CHECK_STATUS(ACCEL_END, accel_loader_next(made.loader, &batch));
        accel_loader_destroy(made.loader);
        accel_dataset_destroy(dataset);
    }
}

/* ---- callbacks that go wrong ---- */

typedef struct faulty {
    data_count_t count;
    int64_t bad; /* this sample fails */
    accel_status_t status, begins;
} faulty_t;

static accel_status_t faulty_begin(void *context, int64_t epoch)
{
    faulty_t *faulty = context;

    if (faulty->begins < 0)
        return accel_fail(faulty->begins, "the socket of epoch %lld is closed", (long long)epoch);
    if (faulty->begins > 0)
        return faulty->begins;
    return data_count_begin(&faulty->count, epoch);
}

static accel_status_t faulty_next(void *context, void *const *fields)
{
    faulty_t *faulty = context;

    if (faulty->count.next == faulty->bad)
        return faulty->status;
    return data_count_next(&faulty->count, fields);
}

static void errors_name_the_sample(void)
{
    faulty_t faulty = {.count = {.length = 10}, .bad = 5, .status = ACCEL_ERR_IO};
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_stream_dataset_create(
        ACCEL_STREAM_OPTIONS(.begin = faulty_begin, .next = faulty_next, .context = &faulty,
                             .fields = &field, .num_fields = 1),
        &dataset));
    for (int32_t workers = 0; workers < 4; workers++) {
        CHECK_OK(
            accel_loader_create(dataset,
                                ACCEL_LOADER_OPTIONS(.batch_size = 2, .num_workers = workers,
                                                     .prefetch = workers ? ACCEL_ON : ACCEL_OFF),
                                &loader));
        faulty.bad = 5;
        faulty.begins = ACCEL_OK;
        CHECK_OK(accel_loader_begin(loader, 0));
        CHECK_OK(accel_loader_next(loader, &batch));
        CHECK_OK(accel_loader_next(loader, &batch));
        CHECK(!batch.last); /* what follows is an error, not the end */
        CHECK_STATUS(ACCEL_ERR_IO, accel_loader_next(loader, &batch));
        CHECK_STR("the stream's callback failed at sample 5: ACCEL_ERR_IO", accel_last_error());
        CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
        faulty.begins = ACCEL_ERR_IO;
        CHECK_STATUS(ACCEL_ERR_IO, accel_loader_begin(loader, 3));
        CHECK_STR("the stream's callback failed at the start of epoch 3: the socket of epoch 3 is "
                  "closed",
                  accel_last_error());
        faulty.begins = ACCEL_END;
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_begin(loader, 3));
        CHECK_ERROR("returned 1 for epoch 3");
        CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_next(loader, &batch));
        faulty.begins = ACCEL_OK;
        faulty.bad = -1;
        CHECK_OK(accel_loader_begin(loader, 4));
        for (int64_t step = 0; step < 5; step++)
            CHECK_OK(accel_loader_next(loader, &batch));
        CHECK(batch.last);
        CHECK_INT(4, faulty.count.epoch);
        CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
        accel_loader_destroy(loader);
    }
    accel_dataset_destroy(dataset);
}

/* A stream may be left and begun again at any place. */
static void leaving_early(void)
{
    data_count_t count = {.length = 1000};
    accel_dataset_t *dataset = data_stream(&count, false);
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 3, .num_workers = 3),
                                 &loader));
    for (int64_t epoch = 0; epoch < 40; epoch++) {
        CHECK_OK(accel_loader_begin(loader, epoch));
        for (int64_t step = 0; step < epoch % 7; step++) {
            CHECK_OK(accel_loader_next(loader, &batch));
            CHECK_INT(3 * step, batch.indices[0]);
            data_check_values(&batch);
        }
    }
    accel_loader_destroy(loader); /* while the workers read */
    accel_dataset_destroy(dataset);
}

static void options_are_checked(void)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    const accel_field_t varies = {
        .name = "text", .dtype = ACCEL_U8, .ndim = 1, .shape = {ACCEL_VARIES}};
    data_count_t count = {.length = 5};
    accel_dataset_t *dataset = data_stream(&count, false), *none;
    accel_loader_t *loader;
    struct {
        accel_stream_options_t options;
        const char *text;
    } bad[] = {
        {{.next = data_count_next, .fields = &field, .num_fields = 1}, "`begin` is NULL"},
        {{.begin = data_count_begin, .fields = &field, .num_fields = 1}, "`next` is NULL"},
        {{.begin = data_count_begin, .next = data_count_next, .fields = &varies, .num_fields = 1},
         "`next_varying`"},
        {{.begin = data_count_begin,
          .next = data_count_next,
          .length = -1,
          .fields = &field,
          .num_fields = 1},
         "length is -1"}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bad[i].options.struct_size = sizeof(bad[i].options);
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_stream_dataset_create(&bad[i].options, &none));
        CHECK_ERROR(bad[i].text);
        CHECK(none == NULL);
    }
    CHECK_INT(-1, accel_dataset_length(dataset));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.shuffle = true), &loader));
    CHECK_ERROR("a stream has an order of its own");
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED,
                 accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.presharded = true), &loader));
    CHECK_ERROR("presharded with a stream");
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(sharded_rows), TEST(sizes_that_cannot_be_split), TEST(uneven_ends),
          TEST(errors_name_the_sample), TEST(leaving_early), TEST(options_are_checked))
