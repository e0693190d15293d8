/* SPDX-License-Identifier: Apache-2.0 */
/* What a loader is made of: its options, and what they come to among the ranks. */
#include "data/loader.h"

#include <stdlib.h>

/* More workers than that are a slip. */
#define MAX_WORKERS 1024
#define MAX_BATCHES 1048576

static const accel__loader_world_t alone = {.num_processes = 1, .even_batches = true};

/* ---- among the ranks ---- */

bool accel__loader_reads(const accel_loader_t *loader)
{
    return !loader->dispatches || loader->rank == 0;
}

int64_t accel__loader_own_length(const accel_loader_t *loader)
{
    if (loader->options.batch_sampler)
        return -1;
    if (loader->options.sampler_length > 0)
        return loader->options.sampler_length;
    return accel_dataset_length(loader->dataset);
}

/* What cannot be had together. */
static accel_status_t check_kinds(const accel_loader_t *loader, bool split_batches, bool dispatches)
{
    const accel_loader_options_t *options = &loader->options;

    if (options->batch_sampler && split_batches)
        return accel__fail(
            ACCEL_ERR_INVALID,
            "split_batches with a batch sampler, whose batches are handed out whole; "
            "expected split_batches off");
    if (options->presharded && dispatches)
        return accel__fail(ACCEL_ERR_INVALID,
                           "presharded data is read by every rank; expected dispatch_batches off");
    return ACCEL_OK;
}

/* A rank with samples of its own shares them with nobody. */
static accel_status_t shard_alone(accel_shard_t *shard, int64_t num_processes)
{
    accel_status_t status = accel_shard_check(shard);

    if (status == ACCEL_OK && shard->split_batches) {
        shard->batch_size /= num_processes;
        shard->split_batches = false;
    }
    shard->num_processes = 1;
    return status;
}

/* One process sees its data as it is: the last batch is naturally short, as upstream's is,
 * which then builds no shard at all. */
static accel_status_t resolve_shard(const accel_loader_t *loader,
                                    const accel__loader_world_t *world, accel_shard_t *shard)
{
    const accel_loader_options_t *options = &loader->options;
    accel_status_t status;

    *shard = (accel_shard_t){.samples = loader->length > 0 ? loader->length : 0,
                             .batch_size = options->batch_size,
                             .num_processes = world->num_processes,
                             .drop_last = options->drop_last};
    status = accel__tristate(options->split_batches, world->split_batches,
                             "the loader's split_batches", &shard->split_batches);
    if (status == ACCEL_OK)
        status = accel__tristate(options->even_batches, world->even_batches,
                                 "the loader's even_batches", &shard->even_batches);
    if (world->num_processes == 1)
        shard->even_batches = false;
    if (status != ACCEL_OK)
        return status;
    return options->presharded ? shard_alone(shard, world->num_processes)
                               : accel_shard_check(shard);
}

/* The main process reads streams, unless it is said otherwise: all would read all of it. */
static accel_status_t resolve_dispatch(const accel_loader_t *loader,
                                       const accel__loader_world_t *world, bool *dispatches)
{
    bool fallback = world->dispatch_batches == ACCEL_DEFAULT
                        ? loader->dataset->begin != NULL
                        : world->dispatch_batches == ACCEL_ON && !loader->options.presharded;
    accel_status_t status = accel__tristate(loader->options.dispatch_batches, fallback,
                                            "the loader's dispatch_batches", dispatches);

    *dispatches &= world->num_processes > 1;
    return status;
}

/* Everybody's lengths, where they are needed. */
static accel_status_t take_lengths(accel_loader_t *loader, const accel__loader_world_t *world)
{
    free(loader->lengths);
    loader->lengths = NULL;
    loader->length = accel__loader_own_length(loader);
    if (loader->dispatches && world->lengths)
        loader->length = world->lengths[0];
    if (!loader->options.presharded || world->num_processes == 1 || !world->lengths)
        return ACCEL_OK;
    loader->lengths = malloc((size_t)world->num_processes * sizeof(*loader->lengths));
    if (!loader->lengths)
        return accel__fail_memory("the ranks' lengths", (size_t)world->num_processes * 8);
    for (int64_t rank = 0; rank < world->num_processes; rank++)
        loader->lengths[rank] = world->lengths[rank];
    return ACCEL_OK;
}

accel_status_t accel__loader_resolve(accel_loader_t *loader, const accel__loader_world_t *world)
{
    accel_shard_t shard = {0};
    accel_status_t status;
    bool dispatches;

    if (!world)
        world = &alone;
    status = resolve_dispatch(loader, world, &dispatches);
    if (status == ACCEL_OK)
        status = resolve_shard(loader, world, &shard);
    if (status == ACCEL_OK)
        status = check_kinds(loader, shard.split_batches, dispatches);
    if (status != ACCEL_OK)
        return status;
    loader->dispatches = dispatches;
    loader->rank = world->process_index;
    loader->num_ranks = world->num_processes;
    status = take_lengths(loader, world);
    shard.samples = loader->length > 0 ? loader->length : 0;
    loader->shard = shard;
    loader->steps = -1;
    return status;
}

/* ---- options ---- */

static accel_status_t check_order(const accel_loader_t *loader)
{
    const accel_loader_options_t *options = &loader->options;
    int kinds = options->shuffle + (options->sampler != NULL) + (options->batch_sampler != NULL);

    if (kinds > 1)
        return accel__fail(ACCEL_ERR_INVALID,
                           "expected one of shuffle, sampler and batch_sampler, not %d", kinds);
    if (kinds > 0 && loader->dataset->begin)
        return accel__fail(ACCEL_ERR_INVALID, "a stream has an order of its own; expected neither "
                                              "shuffle nor a sampler");
    if (options->sampler_length < 0 || (options->sampler_length > 0 && !options->sampler))
        return accel__fail(ACCEL_ERR_INVALID, "sampler_length is %lld%s",
                           (long long)options->sampler_length,
                           options->sampler ? "; expected 0 or more" : " without a sampler");
    if (options->batch_sampler && options->batch_size != 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "batch_size %lld with a batch sampler, which decides; expected 0",
                           (long long)options->batch_size);
    if (options->presharded && (options->batch_sampler || loader->dataset->begin))
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "presharded with %s: the ranks would not know how many steps the others "
                           "make",
                           options->batch_sampler ? "a batch sampler" : "a stream");
    return ACCEL_OK;
}

/* A number of 1 or more whose 0 means `fallback`. */
static accel_status_t read_count(int32_t *value, int32_t fallback, int32_t most, const char *what)
{
    if (*value < 0 || *value > most)
        return accel__fail(ACCEL_ERR_INVALID, "%s is %d; expected 1 to %d, or 0 for %d", what,
                           (int)*value, (int)most, (int)fallback);
    if (*value == 0)
        *value = fallback;
    return ACCEL_OK;
}

/* Copying a small batch takes less time than waking a thread that would. */
static accel_status_t read_workers(accel_loader_options_t *options, bool in_memory)
{
    int32_t asked = options->num_workers;
    accel_status_t status = read_count(&options->num_workers, 1, MAX_WORKERS, "num_workers");
    bool prefetch;

    if (status == ACCEL_OK)
        status = read_count(&options->prefetch_factor, 2, MAX_BATCHES, "prefetch_factor");
    if (status == ACCEL_OK)
        status = read_count(&options->keep_batches, 1, MAX_BATCHES, "keep_batches");
    if (status == ACCEL_OK)
        status = accel__tristate(options->prefetch, asked > 0 || !in_memory,
                                 "the loader's prefetch", &prefetch);
    if (status != ACCEL_OK)
        return status;
    if (!prefetch && asked > 0)
        return accel__fail(ACCEL_ERR_INVALID, "num_workers is %d, but prefetch is off", (int)asked);
    if (!prefetch)
        options->num_workers = 0;
    return ACCEL_OK;
}

/* Without fields of its own a batch has those of the dataset. */
static accel_status_t read_collate(accel_loader_t *loader)
{
    const accel_loader_options_t *options = &loader->options;
    const accel_dataset_t *dataset = loader->dataset;
    accel__collate_t *collate = &loader->collate;

    collate->fn = options->collate;
    collate->context = options->collate_context;
    if (options->collate_fields && !options->collate)
        return accel__fail(ACCEL_ERR_INVALID, "collate_fields without a collate callback");
    if (!options->collate && accel__fields_vary(dataset->fields, dataset->num_fields))
        return accel__fail(ACCEL_ERR_INVALID, "the dataset's samples vary in size; expected a "
                                              "collate callback, such as accel_collate_pad()");
    collate->num_fields =
        options->collate_fields ? options->num_collate_fields : dataset->num_fields;
    if (options->collate_fields)
        return accel__fields_copy("collate_fields", options->collate_fields,
                                  options->num_collate_fields, &collate->fields);
    collate->fields = calloc((size_t)dataset->num_fields, sizeof(*collate->fields));
    if (!collate->fields)
        return accel__fail_memory("fields", (size_t)dataset->num_fields * sizeof(*collate->fields));
    for (int32_t f = 0; f < dataset->num_fields; f++) {
        collate->fields[f] = dataset->fields[f];
        collate->fields[f].name = accel__strdup(dataset->fields[f].name);
        if (!collate->fields[f].name)
            return accel__fail_memory("a field's name", 1);
    }
    return ACCEL_OK;
}

/* A batch that no allocation could hold is the caller's slip, not a lack of memory. */
static accel_status_t check_batch_size(const accel_loader_t *loader)
{
    size_t sample = 0, size;

    for (int32_t f = 0; f < loader->dataset->num_fields; f++)
        if (__builtin_add_overflow(sample, loader->dataset->fields[f].size, &sample))
            sample = SIZE_MAX;
    if (!accel__mul_size(sample, (size_t)loader->options.batch_size, &size) ||
        size > PTRDIFF_MAX / 2)
        return accel__fail(ACCEL_ERR_INVALID,
                           "batch_size %lld of samples of %zu bytes is too large",
                           (long long)loader->options.batch_size, sample);
    return ACCEL_OK;
}

/* The options' zeros become what they stand for. */
static accel_status_t read_options(accel_loader_t *loader, const accel_loader_options_t *options)
{
    accel_loader_options_t *read = &loader->options;
    accel_status_t status =
        accel__options_read(read, sizeof(*read), options, "the loader's options");

    if (status == ACCEL_OK)
        status = check_order(loader);
    if (status == ACCEL_OK)
        status = read_workers(read, loader->dataset->in_memory);
    if (status == ACCEL_OK)
        status = read_collate(loader);
    if (status != ACCEL_OK)
        return status;
    if (read->batch_size == 0)
        read->batch_size = 1;
    loader->seed = read->seed == 0                 ? ACCEL_DEFAULT_SEED
                   : read->seed == ACCEL_SEED_ZERO ? 0
                                                   : read->seed;
    status = accel__loader_resolve(loader, NULL);
    return status == ACCEL_OK ? check_batch_size(loader) : status;
}

/* ---- life ---- */

static void free_parts(accel_loader_t *loader)
{
    accel__fields_free(loader->collate.fields, loader->collate.num_fields);
    accel__batches_free(&loader->order);
    accel__dispatch_free(&loader->dispatch);
    free(loader->lengths);
    free(loader);
}

accel_status_t accel_loader_create(accel_dataset_t *dataset, const accel_loader_options_t *options,
                                   accel_loader_t **loader)
{
    accel_loader_t *made;
    accel_status_t status;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_create: the result's address is NULL");
    *loader = NULL;
    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_create: the dataset is NULL");
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a loader", sizeof(*made));
    made->dataset = dataset;
    status = read_options(made, options);
    if (status != ACCEL_OK) {
        free_parts(made);
        return accel__fail(status, "accel_loader_create: %s", accel_last_error());
    }
    accel__reader_init(&made->reader, made->options.num_workers, made->options.prefetch_factor,
                       made->options.keep_batches);
    *loader = made;
    return ACCEL_OK;
}

void accel_loader_destroy(accel_loader_t *loader)
{
    if (!loader)
        return;
    accel_loader_end(loader);
    accel__link_remove(&loader->link);
    accel__reader_fini(&loader->reader);
    free_parts(loader);
}
