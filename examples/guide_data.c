/* SPDX-License-Identifier: Apache-2.0 */
/* The code of the guide's page on data: arrays, a callback, a file of records, texts of any length,
 * a corpus of tokens in two files, a stream, resuming, metrics, a list of inputs. Prints the same
 * on any number of processes.
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

/* ---- texts that vary in length, batches of similar ones ---- */

static const char *const texts[] = {"a",    "quick", "brown", "fox", "jumps",
                                    "over", "the",   "lazy",  "dog", "today"};
enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };

/* [varying] */
static accel_status_t get_text(void *context, int64_t index, accel_sample_t *sample)
{
    int64_t length = (int64_t)strlen(texts[index]);
    int32_t *tokens = accel_sample_field(sample, 0, &length);
    int64_t *own = accel_sample_field(sample, 1, NULL);

    (void)context;
    if (!tokens || !own)
        return ACCEL_ERR_NO_MEMORY; /* the loader says why */
    for (int64_t k = 0; k < length; k++)
        tokens[k] = texts[index][k];
    *own = length;
    return ACCEL_OK;
}
/* [/varying] */

/* [batches] */
static accel_status_t by_length(void *context, int64_t epoch, accel_batches_t *batches)
{
    int64_t shorts[TEXTS], longs[TEXTS], num_shorts = 0, num_longs = 0;
    accel_status_t status;

    (void)context, (void)epoch;
    for (int64_t i = 0; i < TEXTS; i++)
        if (strlen(texts[i]) <= 3)
            shorts[num_shorts++] = i;
        else
            longs[num_longs++] = i;
    status = accel_batches_add(batches, shorts, num_shorts);
    return status == ACCEL_OK ? accel_batches_add(batches, longs, num_longs) : status;
}
/* [/batches] */

static void varying(accel_t *accelerator)
{
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t letters = 0;

    /* [varying] */
    static const accel_field_t fields[] = {{"tokens", ACCEL_I32, 1, {ACCEL_VARIES}},
                                           {"length", ACCEL_I64, 0, {0}}};
    double padding[] = {-1, 0}; /* of each field */

    ACCEL_CHECK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = TEXTS, .get_varying = get_text,
                                                           .fields = fields, .num_fields = 2),
                                     &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_sampler = by_length, .even_batches = ACCEL_OFF,
                             .collate = accel_collate_pad, .collate_context = padding,
                             .num_workers = 2),
        &loader));
    /* [/varying] */
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        const int32_t *tokens = (const int32_t *)batch.fields[0].data;

        for (int64_t i = 0; i < accel_tensor_numel(&batch.fields[0]); i++)
            letters += tokens[i] != -1;
    }
    ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&letters, ACCEL_I64, 1), ACCEL_SUM));
    accel_print(accelerator, "%lld letters in texts\n", (long long)letters);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* ---- a corpus in two files ---- */

static void write_corpus(const char *path, int tokens)
{
    FILE *file = fopen(path, "wb");

    for (int i = 0; file && i < tokens; i++) {
        uint16_t token = (uint16_t)(i % 1000);

        fwrite(&token, sizeof(token), 1, file);
    }
    if (!file || fclose(file) != 0)
        exit(1);
}

static void corpus(accel_t *accelerator, const char *directory)
{
    static char paths[2][4096];
    accel_dataset_t *shards[2], *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t good = 0;

    for (int f = 0; f < 2; f++) {
        snprintf(paths[f], sizeof(paths[f]), "%s/guide_data_%d.bin", directory, f);
        ACCEL_MAIN_PROCESS_FIRST(accelerator) {
            if (accel_is_main_process(accelerator))
                write_corpus(paths[f], 5000);
        }
    }
    /* [tokens] */
    for (int f = 0; f < 2; f++)
        ACCEL_CHECK(accel_token_dataset_create(
            ACCEL_TOKEN_OPTIONS(.path = paths[f], .sequence_length = 64), &shards[f]));
    ACCEL_CHECK(accel_concat_dataset_create(shards, 2, &dataset));
    ACCEL_CHECK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 8, .shuffle = true),
                                    &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        const int64_t *inputs = (const int64_t *)batch.fields[0].data;  /* [rows, 64] */
        const int64_t *targets = (const int64_t *)batch.fields[1].data; /* the same, one on */

        for (int64_t k = 0; k < 64 * batch.rows; k++)
            good += targets[k] == (inputs[k] + 1) % 1000;
    }
    /* [/tokens] */
    good = good > 0 && good % 64 == 0;
    accel_print(accelerator, "%lld sequences, targets %s\n",
                (long long)accel_dataset_length(dataset), good ? "right" : "wrong");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    for (int f = 0; f < 2; f++)
        accel_dataset_destroy(shards[f]);
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        remove(paths[0]);
        remove(paths[1]);
    }
}

/* ---- a stream ---- */

/* [stream] */
typedef struct lines {
    int64_t next, count;
} lines_t;

static accel_status_t begin_lines(void *context, int64_t epoch)
{
    (void)epoch;
    ((lines_t *)context)->next = 0;
    return ACCEL_OK;
}

static accel_status_t next_line(void *context, void *const *fields)
{
    lines_t *lines = (lines_t *)context;

    if (lines->next == lines->count)
        return ACCEL_END;
    memcpy(fields[0], &lines->next, sizeof(lines->next));
    lines->next++;
    return ACCEL_OK;
}
/* [/stream] */

static void stream(accel_t *accelerator)
{
    lines_t lines = {.count = 101};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t count = 0;

    /* [stream] */
    static const accel_field_t field = {"line", ACCEL_I64, 0, {0}};

    ACCEL_CHECK(accel_stream_dataset_create(
        ACCEL_STREAM_OPTIONS(.begin = begin_lines, .next = next_line, .context = &lines,
                             .fields = &field, .num_fields = 1),
        &dataset));
    /* [/stream] */
    ACCEL_CHECK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 7), &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        count += batch.real_rows;
    }
    accel_print(accelerator, "%lld lines of a stream\n", (long long)count);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* ---- going on where a job was stopped ---- */

static void resume(accel_t *accelerator)
{
    const accel_tensor_t *tensors[] = {ACCEL_TENSOR(labels, ACCEL_I64, SAMPLES)};
    accel_loader_options_t options = accel_loader_options_init();
    accel_loader_state_t state;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t seen = 0;

    options.batch_size = 10;
    options.shuffle = true;
    ACCEL_CHECK(accel_tensor_dataset_create(tensors, 1, &dataset));
    ACCEL_CHECK(accel_loader_create(dataset, &options, &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    /* [stop] */
    ACCEL_EPOCH(loader, 3, &batch) {
        seen += batch.real_rows;
        if (batch.step == 4)
            break; /* the job's time is over */
    }
    ACCEL_CHECK(accel_loader_get_state(loader, &state)); /* numbers: store them as you like */
    /* [/stop] */
    accel_loader_destroy(loader);
    options.batch_size = 7; /* other batches, and why not other ranks */
    ACCEL_CHECK(accel_loader_create(dataset, &options, &loader));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    /* [resume] */
    ACCEL_CHECK(accel_loader_set_state(loader, &state));
    ACCEL_EPOCH(loader, state.epoch, &batch) {
        seen += batch.real_rows; /* the samples that are left, in their order */
    }
    /* [/resume] */
    accel_print(accelerator, "%lld of %d seen\n", (long long)seen, SAMPLES);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
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
    varying(accelerator);
    corpus(accelerator, argc > 1 ? argv[1] : ".");
    stream(accelerator);
    resume(accelerator);
    inputs(accelerator);
    accel_destroy(accelerator);
    return 0;
}
