/* SPDX-License-Identifier: Apache-2.0 */
/* The code of the guide's page on data: arrays, a callback, a file of records, metrics, a list of
 * inputs. Prints the same on any number of processes.
 *
 *     ./guide_data [DIRECTORY] ; accel launch -n 2 ./guide_data */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

enum { SAMPLES = 1000, PIXELS = 16, BATCH = 32, CLASSES = 4 };

static float images[SAMPLES][PIXELS];
static int64_t labels[SAMPLES];

static void fill(void)
{
    uint32_t random = 1;

    for (int i = 0; i < SAMPLES; i++)
        for (int k = 0; k < PIXELS; k++, random = random * 1664525 + 1013904223)
            images[i][k] = (float)(random >> 8) / 16777216.0f;
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = (int64_t)(images[i][0] * CLASSES);
}

/* How often the class is right that a rule of thumb predicts. */
static void predict(const accel_batch_t *batch, int64_t *correct)
{
    const float *pixels = (const float *)batch->fields[0].data;
    const int64_t *classes = (const int64_t *)batch->fields[1].data;

    for (int64_t i = 0; i < batch->rows; i++)
        correct[i] = (int64_t)(pixels[i * PIXELS] * CLASSES + 0.2f) == classes[i];
}

static int64_t sum(const accel_tensor_t *tensor)
{
    int64_t total = 0;

    for (int64_t i = 0; i < tensor->shape[0]; i++)
        total += ((const int64_t *)tensor->data)[i];
    return total;
}

static void metrics(accel_t *accelerator, accel_loader_t *validation, const char *what)
{
    accel_batch_t batch;
    int64_t correct[BATCH], right = 0, count = 0;

    /* [metrics] */
    ACCEL_CHECK(accel_loader_begin(validation, 0));
    while (ACCEL_NEXT(validation, &batch)) {
        accel_tensor_t *all;

        predict(&batch, correct); /* of this process's rows */
        ACCEL_CHECK(accel_gather_for_metrics(accelerator,
                                             ACCEL_TENSOR(correct, ACCEL_I64, batch.rows), &all));
        right += sum(all);
        count += all->shape[0];
        accel_tensor_destroy(all);
    }
    accel_print(accelerator, "%lld of %lld are right", (long long)right, (long long)count);
    /* [/metrics] */
    accel_print(accelerator, ": %s\n", what);
}

static void arrays(accel_t *accelerator)
{
    /* [arrays] */
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    ACCEL_CHECK(accel_tensor_dataset_create(
        (const accel_tensor_t *[]){ACCEL_TENSOR(images, ACCEL_F32, SAMPLES, PIXELS),
                                   ACCEL_TENSOR(labels, ACCEL_I64, SAMPLES)},
        2, &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_size = BATCH, .shuffle = true), &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));

    for (int64_t epoch = 0; epoch < 2; epoch++) {
        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        while (ACCEL_NEXT(loader, &batch)) {
            const float *x = (const float *)batch.fields[0].data;     /* [rows, PIXELS] */
            const int64_t *y = (const int64_t *)batch.fields[1].data; /* [rows] */

            if (batch.rows > 0 && (int64_t)(x[0] * CLASSES) != y[0])
                abort(); /* sample batch.indices[0] */
        }
    }
    /* [/arrays] */
    metrics(accelerator, loader, "arrays");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* [callback] */
static accel_status_t get_sample(void *context, int64_t index, void *const *fields)
{
    (void)context; /* what the dataset was created with */
    if (!isfinite(images[index][0]))
        return accel_fail(ACCEL_ERR_FORMAT, "image %lld is damaged", (long long)index);
    memcpy(fields[0], images[index], sizeof(images[index]));
    memcpy(fields[1], &labels[index], sizeof(labels[index]));
    return ACCEL_OK;
}
/* [/callback] */

static void serve(accel_t *accelerator, accel_dataset_t *dataset, const char *what)
{
    accel_loader_t *loader;

    ACCEL_CHECK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = BATCH), &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    metrics(accelerator, loader, what);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void callback(accel_t *accelerator)
{
    accel_dataset_t *dataset;

    /* [callback] */
    static const accel_field_t fields[] = {{"image", ACCEL_F32, 1, {PIXELS}},
                                           {"label", ACCEL_I64, 0, {0}}};

    ACCEL_CHECK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = SAMPLES, .get = get_sample,
                                                           .fields = fields, .num_fields = 2),
                                     &dataset));
    /* [/callback] */
    serve(accelerator, dataset, "a callback");
}

static void records(accel_t *accelerator, const char *path)
{
    accel_dataset_t *dataset;

    /* [records] */
    static const accel_field_t fields[] = {{"image", ACCEL_F32, 1, {PIXELS}},
                                           {"label", ACCEL_I64, 0, {0}}};

    ACCEL_MAIN_PROCESS_FIRST(accelerator) {
        if (accel_is_main_process(accelerator)) {
            FILE *file = fopen(path, "wb");

            for (int i = 0; file && i < SAMPLES; i++) {
                fwrite(images[i], sizeof(images[i]), 1, file);
                fwrite(&labels[i], sizeof(labels[i]), 1, file);
            }
            if (!file || fclose(file) != 0)
                exit(1);
        }
    }
    ACCEL_CHECK(accel_record_dataset_create(path, fields, 2, 0, &dataset));
    /* [/records] */
    serve(accelerator, dataset, "a file of records");
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        remove(path);
    }
}

static void inputs(accel_t *accelerator)
{
    static const char *const prompts[] = {"one", "two", "three", "four", "five"};
    int64_t letters = 0;

    /* [split] */
    accel_split_t mine;

    ACCEL_CHECK(accel_split_between_processes(accelerator, 5, false, &mine));
    for (int64_t i = mine.begin; i < mine.begin + mine.count; i++)
        letters += (int64_t)strlen(prompts[i]);
    ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&letters, ACCEL_I64, 1), ACCEL_SUM));
    /* [/split] */
    accel_print(accelerator, "%lld letters\n", (long long)letters);
}

int main(int argc, char **argv)
{
    char path[4096];
    accel_t *accelerator;

    snprintf(path, sizeof(path), "%s/guide_data.rec", argc > 1 ? argv[1] : ".");
    fill();
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    arrays(accelerator);
    callback(accelerator);
    records(accelerator, path);
    inputs(accelerator);
    accel_destroy(accelerator);
    return 0;
}
