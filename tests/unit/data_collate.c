/* SPDX-License-Identifier: Apache-2.0 */
/* Samples that vary in size, and what makes batches of them. */
#include <malloc.h>

#include "data_ranks.h"

/* Sample i: i % 7 tokens, all of them i; a picture of (1 + i % 3) x (2 + i % 4) pixels that count
 * up; and i itself. */
static const accel_field_t fields[] = {
    {.name = "tokens", .dtype = ACCEL_I32, .ndim = 1, .shape = {ACCEL_VARIES}},
    {.name = "picture", .dtype = ACCEL_F32, .ndim = 2, .shape = {ACCEL_VARIES, ACCEL_VARIES}},
    {.name = "index", .dtype = ACCEL_I64}};

static accel_status_t fill_sample(int64_t index, accel_sample_t *sample)
{
    int64_t length = index % 7, shape[2] = {1 + index % 3, 2 + index % 4};
    int32_t *tokens = accel_sample_field(sample, 0, &length);
    float *picture = accel_sample_field(sample, 1, shape);
    int64_t *number = accel_sample_field(sample, 2, NULL);

    if (!tokens || !picture || !number)
        return ACCEL_ERR_NO_MEMORY;
    for (int64_t k = 0; k < length; k++)
        tokens[k] = (int32_t)index;
    for (int64_t k = 0; k < shape[0] * shape[1]; k++)
        picture[k] = (float)(100 * index + k);
    *number = index;
    return ACCEL_OK;
}

static accel_status_t get(void *context, int64_t index, accel_sample_t *sample)
{
    (void)context;
    return fill_sample(index, sample);
}

static accel_status_t next(void *context, accel_sample_t *sample)
{
    data_count_t *count = context;

    return count->next == count->length ? ACCEL_END : fill_sample(count->next++, sample);
}

static accel_dataset_t *dataset_of(int64_t length)
{
    accel_dataset_t *dataset;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = length, .get_varying = get,
                                                        .fields = fields, .num_fields = 3),
                                  &dataset));
    return dataset;
}

/* The extents are the largest in the batch; beyond a sample's own is padding. */
static void check_padded(const accel_batch_t *batch)
{
    const accel_tensor_t *tokens = &batch->fields[0], *picture = &batch->fields[1];
    int64_t longest = 0, high = 0, wide = 0;

    CHECK_INT(3, batch->num_fields);
    data_check_values(&(accel_batch_t){
        .rows = batch->rows, .indices = batch->indices, .fields = batch->fields + 2});
    CHECK_INT(0, (intptr_t)tokens->data % 64);
    CHECK_INT(0, (intptr_t)picture->data % 64);
    for (int64_t row = 0; row < batch->rows; row++) {
        int64_t i = batch->indices[row];

        longest = i % 7 > longest ? i % 7 : longest;
        high = 1 + i % 3 > high ? 1 + i % 3 : high;
        wide = 2 + i % 4 > wide ? 2 + i % 4 : wide;
    }
    CHECK(tokens->shape[0] == batch->rows && tokens->shape[1] == longest);
    CHECK(picture->shape[1] == high && picture->shape[2] == wide);
    for (int64_t row = 0; row < batch->rows; row++) {
        int64_t i = batch->indices[row];

        for (int64_t k = 0; k < longest; k++)
            CHECK_INT(k < i % 7 ? i : -100, ((const int32_t *)tokens->data)[row * longest + k]);
        for (int64_t y = 0; y < high; y++)
            for (int64_t x = 0; x < wide; x++) {
                bool inside = y < 1 + i % 3 && x < 2 + i % 4;

                CHECK_NEAR(inside ? (double)(100 * i + y * (2 + i % 4) + x) : 0.5,
                           ((const float *)picture->data)[(row * high + y) * wide + x], 0);
            }
    }
}

static void padding(void)
{
    double values[3] = {-100, 0.5, 0};
    accel_dataset_t *dataset = dataset_of(100);

    for (int32_t workers = 0; workers <= 3; workers++)
        for (int64_t rank = 0; rank < 2; rank++) {
            accel_batch_t batch;
            data_rank_t made;

            data_rank_prepare(
                &made, dataset,
                ACCEL_LOADER_OPTIONS(.batch_size = 4, .shuffle = true, .num_workers = workers,
                                     .prefetch = workers ? ACCEL_ON : ACCEL_OFF,
                                     .collate = accel_collate_pad, .collate_context = values),
                rank, 2, NULL);
            for (int64_t epoch = 0; epoch < 2; epoch++)
                ACCEL_EPOCH(made.loader, epoch, &batch) {
                    CHECK_INT(4, batch.rows);
                    check_padded(&batch);
                }
            accel_loader_destroy(made.loader);
        }
    accel_dataset_destroy(dataset);
}

/* A stream's varying samples, the last batch filled up with the first. */
static void padding_of_streams(void)
{
    double values[3] = {-100, 0.5, 0};
    data_count_t count = {.length = 21};
    accel_dataset_t *dataset;

    CHECK_OK(accel_stream_dataset_create(
        ACCEL_STREAM_OPTIONS(.begin = data_count_begin, .next_varying = next, .context = &count,
                             .fields = fields, .num_fields = 3),
        &dataset));
    for (int64_t rank = 0; rank < 3; rank++) {
        accel_batch_t batch;
        data_rank_t made;
        int64_t steps = 0;

        data_rank_prepare(&made, dataset,
                          ACCEL_LOADER_OPTIONS(.batch_size = 4, .num_workers = 2,
                                               .collate = accel_collate_pad,
                                               .collate_context = values),
                          rank, 3, NULL);
        ACCEL_EPOCH(made.loader, 0, &batch) {
            CHECK_INT(4, batch.rows);
            for (int64_t k = 0; k < 4; k++) {
                int64_t at = 12 * batch.step + 4 * rank + k;

                CHECK_INT(at < 21 ? at : at - 21, batch.indices[k]);
            }
            check_padded(&batch);
            steps++;
        }
        CHECK_INT(2, steps);
        accel_loader_destroy(made.loader);
    }
    accel_dataset_destroy(dataset);
}

/* ---- a collate of the program's own ---- */

/* Sequences one after the other, and where each begins: other rows than samples. */
static accel_status_t pack(void *context, const accel_samples_t *samples, accel_collated_t *batch)
{
    int64_t total = 0, starts = samples->count + 1;
    int32_t *tokens;
    int64_t *offsets;

    CHECK_STR("ours", context);
    for (int64_t s = 0; s < samples->count; s++)
        total += samples->fields[s * samples->num_fields].shape[0];
    tokens = accel_collate_field(batch, 0, &total);
    offsets = accel_collate_field(batch, 1, &starts);
    if (!tokens || !offsets)
        return ACCEL_ERR_NO_MEMORY;
    offsets[0] = 0;
    for (int64_t s = 0; s < samples->count; s++) {
        const accel_tensor_t *sample = &samples->fields[s * samples->num_fields];

        CHECK_INT(samples->indices[s] % 7, sample->shape[0]);
        memcpy(tokens + offsets[s], sample->data, (size_t)sample->shape[0] * sizeof(*tokens));
        offsets[s + 1] = offsets[s] + sample->shape[0];
    }
    return ACCEL_OK;
}

static const accel_field_t packed[] = {{.name = "tokens", .dtype = ACCEL_I32},
                                       {.name = "offsets", .dtype = ACCEL_I64}};

static void packing(void)
{
    char name[] = "ours";
    accel_dataset_t *dataset = dataset_of(50);
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(
        accel_loader_create(dataset,
                            ACCEL_LOADER_OPTIONS(.batch_size = 8, .num_workers = 2, .collate = pack,
                                                 .collate_context = name, .collate_fields = packed,
                                                 .num_collate_fields = 2),
                            &loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        const int64_t *offsets = batch.fields[1].data;
        const int32_t *tokens = batch.fields[0].data;

        CHECK_INT(batch.rows + 1, batch.fields[1].shape[0]);
        CHECK_INT(offsets[batch.rows], batch.fields[0].shape[0]);
        for (int64_t row = 0; row < batch.rows; row++) {
            CHECK_INT(batch.indices[row] % 7, offsets[row + 1] - offsets[row]);
            for (int64_t k = offsets[row]; k < offsets[row + 1]; k++)
                CHECK_INT(batch.indices[row], tokens[k]);
        }
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* A rank without data at a step gets fields without rows, and no callback is asked. */
static void steps_without_rows(void)
{
    accel_dataset_t *dataset = dataset_of(5);
    accel_batch_t batch;
    data_rank_t rank;

    data_rank_prepare(&rank, dataset,
                      ACCEL_LOADER_OPTIONS(.batch_size = 4, .even_batches = ACCEL_OFF,
                                           .collate = accel_collate_pad),
                      1, 2, NULL);
    CHECK_OK(accel_loader_begin(rank.loader, 0));
    CHECK_OK(accel_loader_next(rank.loader, &batch));
    CHECK_INT(1, batch.rows);
    accel_loader_destroy(rank.loader);
    data_rank_prepare(&rank, dataset,
                      ACCEL_LOADER_OPTIONS(.batch_size = 5, .even_batches = ACCEL_OFF,
                                           .collate = accel_collate_pad),
                      1, 2, NULL);
    CHECK_OK(accel_loader_begin(rank.loader, 0));
    CHECK_OK(accel_loader_next(rank.loader, &batch));
    CHECK_INT(0, batch.rows);
    CHECK_INT(5, batch.real_rows);
    CHECK(batch.fields[1].shape[0] == 0 && batch.fields[1].data);
    CHECK_INT(0, accel_tensor_numel(&batch.fields[0]));
    accel_loader_destroy(rank.loader);
    accel_dataset_destroy(dataset);
}

/* ---- what may go wrong ---- */

typedef struct faulty {
    int32_t field;
    int64_t shape[3];
    accel_status_t status;
} faulty_t;

static accel_status_t faulty_get(void *context, int64_t index, accel_sample_t *sample)
{
    const faulty_t *faulty = context;

    if (index != 3)
        return fill_sample(index, sample);
    if (faulty->field != -1 && !accel_sample_field(sample, faulty->field, faulty->shape))
        return ACCEL_ERR_NO_MEMORY;
    return faulty->status;
}

static accel_status_t faulty_collate(void *context, const accel_samples_t *samples,
                                     accel_collated_t *batch)
{
    const faulty_t *faulty = context;
    accel_status_t status;

    if (samples->indices[0] != 2) {
        status = accel_collate_pad(NULL, samples, batch);
        CHECK_OK(status);
        return status;
    }
    if (faulty->field != -1 && !accel_collate_field(batch, faulty->field, faulty->shape))
        return ACCEL_ERR_NO_MEMORY;
    return faulty->status;
}

static void check_error(accel_dataset_t *dataset, accel_loader_options_t options,
                        accel_status_t expected, const char *text)
{
    accel_loader_t *loader;
    accel_batch_t batch;

    options.batch_size = 2;
    CHECK_OK(accel_loader_create(dataset, &options, &loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_STATUS(expected, accel_loader_next(loader, &batch));
    CHECK_STR(text, accel_last_error());
    accel_loader_destroy(loader);
}

static void samples_that_do_not_fit(void)
{
    faulty_t faulty;
    accel_loader_options_t options =
        *ACCEL_LOADER_OPTIONS(.collate = accel_collate_pad, .num_workers = 2);
    accel_dataset_t *dataset;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 10, .get_varying = faulty_get,
                                                        .context = &faulty, .fields = fields,
                                                        .num_fields = 3),
                                  &dataset));
    faulty = (faulty_t){.field = 3, .shape = {1}};
    check_error(
        dataset, options, ACCEL_ERR_INVALID,
        "the dataset's callback failed at sample 3: accel_sample_field: field 3; expected 0 "
        "to 2");
    faulty = (faulty_t){.field = 0, .shape = {-2}};
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the dataset's callback failed at sample 3: accel_sample_field: field 'tokens' has "
                "extent -2 in dimension 0");
    faulty = (faulty_t){.field = 0, .shape = {1}};
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the dataset's callback failed at sample 3: field 'picture' was not given");
    faulty = (faulty_t){.field = 1, .shape = {INT64_MAX / 2, 3}};
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the dataset's callback failed at sample 3: accel_sample_field: field 'picture' is "
                "too large");
    faulty = (faulty_t){.field = -1, .status = ACCEL_ERR_IO};
    check_error(dataset, options, ACCEL_ERR_IO,
                "the dataset's callback failed at sample 3: ACCEL_ERR_IO");
    accel_dataset_destroy(dataset);
}

static void collates_that_fail(void)
{
    faulty_t faulty;
    accel_loader_options_t options =
        *ACCEL_LOADER_OPTIONS(.collate = faulty_collate, .collate_context = &faulty);
    accel_dataset_t *dataset = dataset_of(10);

    faulty = (faulty_t){.field = -1, .status = ACCEL_ERR_IO};
    check_error(dataset, options, ACCEL_ERR_IO,
                "the collate callback failed at the batch that begins with sample 2: ACCEL_ERR_IO");
    faulty.status = ACCEL_END;
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the collate callback returned 1 at the batch that begins with sample 2; expected "
                "ACCEL_OK or an error");
    faulty.status = ACCEL_OK;
    check_error(
        dataset, options, ACCEL_ERR_INVALID,
        "the collate callback failed at the batch that begins with sample 2: field 'tokens' "
        "was not given");
    faulty = (faulty_t){.field = 7, .shape = {1}};
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the collate callback failed at the batch that begins with sample 2: "
                "accel_collate_field: field 7; expected 0 to 2");
    faulty = (faulty_t){.field = 0, .shape = {-1, 1}};
    check_error(dataset, options, ACCEL_ERR_INVALID,
                "the collate callback failed at the batch that begins with sample 2: "
                "accel_collate_field: the shape of field 'tokens' has negative rows");
    accel_dataset_destroy(dataset);
}

static void options_are_checked(void)
{
    accel_dataset_t *dataset = dataset_of(10), *none;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_create(dataset, NULL, &loader));
    CHECK_ERROR("the dataset's samples vary in size; expected a collate callback, such as "
                "accel_collate_pad()");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 1, .get = data_get_index,
                                                            .fields = fields, .num_fields = 3),
                                      &none));
    CHECK_ERROR("a field varies; expected the callback `get_varying`");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 1, .get = data_get_index,
                                                            .get_varying = get, .fields = fields,
                                                            .num_fields = 3),
                                      &none));
    CHECK_ERROR("not both");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_record_dataset_create("x", fields, 3, 0, &none));
    CHECK_ERROR("no fields that vary");
    /* Padding makes the dataset's own fields, of which this is none. */
    CHECK_OK(
        accel_loader_create(dataset,
                            ACCEL_LOADER_OPTIONS(.collate = accel_collate_pad,
                                                 .collate_fields = packed, .num_collate_fields = 2),
                            &loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_next(loader, &batch));
    CHECK_ERROR("accel_collate_pad makes the dataset's own 3 fields, not 2");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
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

/* Memory grows with the largest batch, and then no more. */
static void memory_does_not_grow(void)
{
    accel_dataset_t *dataset = dataset_of(2000);
    accel_loader_t *loader;
    accel_batch_t batch;
    size_t before = 0;

    CHECK_OK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = 16, .prefetch = ACCEL_OFF, .collate = accel_collate_pad),
        &loader));
    for (int64_t epoch = 0; epoch < 4; epoch++) {
        ACCEL_EPOCH(loader, epoch, &batch) {
            CHECK_INT(16, batch.rows);
        }
        if (epoch == 1)
            before = memory_in_use();
    }
    CHECK_INT(before, memory_in_use());
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(padding), TEST(padding_of_streams), TEST(packing), TEST(steps_without_rows),
          TEST(samples_that_do_not_fit), TEST(collates_that_fail), TEST(options_are_checked),
          TEST(memory_does_not_grow))
