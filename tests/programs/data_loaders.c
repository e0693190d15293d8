/* SPDX-License-Identifier: Apache-2.0 */
/* Print what loaders hand out, for configurations from standard input, one a line:
 *
 *     KIND SAMPLES BATCH_SIZE PROCESSES FLAGS SEED SKIP WORKERS
 *
 * KIND: map, stream, batches (of sizes SEED-dependent); FLAGS: letters of s (split_batches), d
 * (drop_last), e (even_batches), p (dispatch_batches), h (shuffle), or -. The ranks are threads.
 * For each, a line of JSON: {"ranks": [[[index, ...], ...], ...], "metrics": [index, ...]} */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

typedef struct configuration {
    char kind[16], flags[16];
    int64_t samples, batch_size, processes, seed, skip;
    int32_t workers;
} configuration_t;

typedef struct rank {
    const configuration_t *configuration;
    accel_thread_ranks_t *threads;
    int32_t index;
    int64_t next;            /* of the stream */
    char *batches, *metrics; /* as JSON */
    size_t batches_size, metrics_size;
} rank_t;

static bool has(const configuration_t *configuration, char flag)
{
    return strchr(configuration->flags, flag) != NULL;
}

/* ---- data ---- */

static accel_status_t get(void *context, int64_t index, void *const *fields)
{
    (void)context;
    memcpy(fields[0], &index, sizeof(index));
    return ACCEL_OK;
}

static accel_status_t begin(void *context, int64_t epoch)
{
    (void)epoch;
    ((rank_t *)context)->next = 0;
    return ACCEL_OK;
}

static accel_status_t next(void *context, void *const *fields)
{
    rank_t *rank = (rank_t *)context;

    if (rank->next == rank->configuration->samples)
        return ACCEL_END;
    return get(NULL, rank->next++, fields);
}

/* Batch b has 1 + (b + seed) * 7 % 4 samples. */
static accel_status_t batches(void *context, int64_t epoch, accel_batches_t *made)
{
    const configuration_t *configuration = ((rank_t *)context)->configuration;
    int64_t at = 0, indices[4];

    (void)epoch;
    for (int64_t b = 0; at < configuration->samples; b++) {
        int64_t size = 1 + (b + configuration->seed) % 97 * 7 % 4, count = 0;

        while (count < size && at < configuration->samples)
            indices[count++] = at++;
        ACCEL_CHECK(accel_batches_add(made, indices, count));
    }
    return ACCEL_OK;
}

static accel_dataset_t *make_dataset(rank_t *rank)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    if (strcmp(rank->configuration->kind, "stream") == 0)
        ACCEL_CHECK(accel_stream_dataset_create(
            ACCEL_STREAM_OPTIONS(.begin = begin, .next = next, .context = rank, .fields = &field,
                                 .num_fields = 1),
            &dataset));
    else
        ACCEL_CHECK(accel_dataset_create(
            ACCEL_DATASET_OPTIONS(.length = rank->configuration->samples, .get = get,
                                  .fields = &field, .num_fields = 1),
            &dataset));
    return dataset;
}

static accel_loader_t *make_loader(rank_t *rank, accel_dataset_t *dataset)
{
    const configuration_t *configuration = rank->configuration;
    bool sampled = strcmp(configuration->kind, "batches") == 0;
    accel_loader_options_t options = accel_loader_options_init();
    accel_loader_t *loader;

    options.batch_size = sampled ? 0 : configuration->batch_size;
    options.batch_sampler = sampled ? batches : NULL;
    options.sampler_context = rank;
    options.drop_last = has(configuration, 'd');
    options.shuffle = has(configuration, 'h');
    options.seed = configuration->seed ? (uint64_t)configuration->seed : ACCEL_SEED_ZERO;
    options.split_batches = has(configuration, 's') ? ACCEL_ON : ACCEL_OFF;
    options.even_batches = has(configuration, 'e') ? ACCEL_ON : ACCEL_OFF;
    options.dispatch_batches = has(configuration, 'p') ? ACCEL_ON : ACCEL_OFF;
    options.num_workers = configuration->workers;
    ACCEL_CHECK(accel_loader_create(dataset, &options, &loader));
    return loader;
}

/* ---- the loop ---- */

static void print_numbers(FILE *to, const char *separator, const int64_t *numbers, int64_t count)
{
    for (int64_t k = 0; k < count; k++)
        fprintf(to, "%s%" PRId64, k ? ", " : separator, numbers[k]);
}

static void run_epoch(rank_t *rank, accel_t *accelerator, accel_loader_t *loader)
{
    FILE *to = open_memstream(&rank->batches, &rank->batches_size);
    FILE *metrics = open_memstream(&rank->metrics, &rank->metrics_size);
    const char *separator = "", *metric_separator = "";
    accel_batch_t batch;

    if (!to || !metrics)
        exit(EXIT_FAILURE);
    ACCEL_CHECK(accel_skip_first_batches(accelerator, loader, rank->configuration->skip));
    ACCEL_EPOCH(loader, 0, &batch) {
        accel_tensor_t *all;

        if (batch.rows > 0) {
            fputs(separator, to);
            print_numbers(to, "[", (const int64_t *)batch.fields[0].data, batch.rows);
            fputc(']', to);
            separator = ", ";
        }
        ACCEL_CHECK(accel_gather_for_metrics(accelerator, &batch.fields[0], &all));
        print_numbers(metrics, metric_separator, (const int64_t *)all->data, all->shape[0]);
        metric_separator = ", ";
        accel_tensor_destroy(all);
    }
    fclose(to);
    fclose(metrics);
}

static void *run_rank(void *argument)
{
    rank_t *rank = (rank_t *)argument;
    accel_dataset_t *dataset = make_dataset(rank);
    accel_loader_t *loader = make_loader(rank, dataset);
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.threads = rank->threads, .process_index = rank->index),
                             &accelerator));
    ACCEL_CHECK(accel_prepare_loader(accelerator, loader));
    run_epoch(rank, accelerator, loader);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
    return NULL;
}

enum { MAX_RANKS = 8 };

static void run(const configuration_t *configuration)
{
    rank_t ranks[MAX_RANKS];
    pthread_t threads[MAX_RANKS];
    accel_thread_ranks_t *world;
    int32_t count = (int32_t)configuration->processes;

    ACCEL_CHECK(accel_thread_ranks_create(count, &world));
    for (int32_t r = 0; r < count; r++) {
        ranks[r] = (rank_t){.configuration = configuration, .threads = world, .index = r};
        if (pthread_create(&threads[r], NULL, run_rank, &ranks[r]) != 0)
            exit(EXIT_FAILURE);
    }
    printf("{\"ranks\": [");
    for (int32_t r = 0; r < count; r++) {
        pthread_join(threads[r], NULL);
        printf("%s[%s]", r ? ", " : "", ranks[r].batches);
        free(ranks[r].batches);
    }
    printf("], \"metrics\": [%s]}\n", ranks[count - 1].metrics);
    for (int32_t r = 0; r < count; r++)
        free(ranks[r].metrics);
    accel_thread_ranks_destroy(world);
}

int main(void)
{
    configuration_t configuration;

    while (scanf("%15s %" SCNd64 " %" SCNd64 " %" SCNd64 " %15s %" SCNd64 " %" SCNd64 " %" SCNd32,
                 configuration.kind, &configuration.samples, &configuration.batch_size,
                 &configuration.processes, configuration.flags, &configuration.seed,
                 &configuration.skip, &configuration.workers) == 8)
        if (configuration.processes >= 1 && configuration.processes <= MAX_RANKS)
            run(&configuration);
    return 0;
}
