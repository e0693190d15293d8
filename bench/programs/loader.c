/* SPDX-License-Identifier: Apache-2.0 */
/* The time of an epoch of shuffled batches from a callback:
 *     loader SAMPLES LENGTH BATCH
 * A sample is LENGTH 32-bit tokens of a long text, and the same one place on, as a language
 * model is fed. One sample of the benchmark is one epoch; every token of a batch is read once. */
#include <accel/accel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "round.h"

typedef struct {
    int32_t *tokens;
    int64_t length;
} text_t;

static accel_status_t get(void *context, int64_t index, void *const *fields)
{
    const text_t *text = (const text_t *)context;
    size_t size = (size_t)text->length * sizeof(int32_t);

    memcpy(fields[0], text->tokens + index, size);
    memcpy(fields[1], text->tokens + index + 1, size);
    return ACCEL_OK;
}

static int64_t sum_of(const accel_tensor_t *tensor)
{
    const int32_t *tokens = (const int32_t *)tensor->data;
    int64_t sum = 0, count = accel_tensor_numel(tensor);

    for (int64_t i = 0; i < count; i++)
        sum += tokens[i];
    return sum;
}

static void epoch(accel_loader_t *loader, int64_t number, int64_t samples)
{
    accel_batch_t batch;
    int64_t rows = 0, sum = 0;
    double start = round_now();

    ACCEL_CHECK(accel_loader_begin(loader, number));
    while (ACCEL_NEXT(loader, &batch)) {
        rows += batch.rows;
        sum += sum_of(&batch.fields[0]) + sum_of(&batch.fields[1]);
    }
    round_sample(round_now() - start);
    if (rows != samples || sum <= 0) {
        fprintf(stderr, "loader: %lld rows of %lld\n", (long long)rows, (long long)samples);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int64_t samples = round_argument(argc, argv, 1, "samples"), number = 0;
    text_t text = {.length = round_argument(argc, argv, 2, "the length of a sample")};
    const accel_field_t fields[] = {{"input", ACCEL_I32, 1, {text.length}},
                                    {"target", ACCEL_I32, 1, {text.length}}};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_t *accelerator;

    text.tokens = (int32_t *)malloc((size_t)(samples + text.length + 1) * sizeof(int32_t));
    for (int64_t i = 0; text.tokens && i < samples + text.length + 1; i++)
        text.tokens[i] = (int32_t)(i % 50257);
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(
        accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = samples, .get = get, .context = &text,
                                                   .fields = fields, .num_fields = 2),
                             &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = round_argument(argc, argv, 3, "the batch size"),
                             .shuffle = true),
        &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    round_open(0);
    while (round_next())
        epoch(loader, number++, samples);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
    free(text.tokens);
    return round_close();
}
