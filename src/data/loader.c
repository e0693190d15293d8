/* SPDX-License-Identifier: Apache-2.0 */
#include "data/loader.h"

#include <stdlib.h>

/* One process sees its data as it is: the last batch is naturally short, as upstream's is,
 * which then builds no shard at all. */
accel_status_t accel__loader_resolve(const accel_loader_t *loader, int64_t num_processes,
                                     bool split_batches, bool even_batches, accel_shard_t *shard)
{
    accel_status_t status;

    *shard = (accel_shard_t){.samples = accel_dataset_length(loader->dataset),
                             .batch_size = loader->options.batch_size,
                             .num_processes = num_processes,
                             .drop_last = loader->options.drop_last};
    status = accel__tristate(loader->options.split_batches, split_batches,
                             "the loader's split_batches", &shard->split_batches);
    if (status == ACCEL_OK)
        status = accel__tristate(loader->options.even_batches, even_batches,
                                 "the loader's even_batches", &shard->even_batches);
    if (num_processes == 1)
        shard->even_batches = false;
    return status == ACCEL_OK ? accel_shard_check(shard) : status;
}

/* The options' zeros become what they stand for. */
static accel_status_t read_options(accel_loader_t *loader, const accel_loader_options_t *options,
                                   bool *prefetch)
{
    accel_loader_options_t *read = &loader->options;
    accel_status_t status =
        accel__options_read(read, sizeof(*read), options, "the loader's options");

    if (status != ACCEL_OK)
        return status;
    if (read->batch_size == 0)
        read->batch_size = 1;
    loader->seed = read->seed == 0                 ? ACCEL_DEFAULT_SEED
                   : read->seed == ACCEL_SEED_ZERO ? 0
                                                   : read->seed;
    /* Copying a small batch takes less time than waking a thread that would. */
    status = accel__tristate(read->prefetch, !loader->dataset->in_memory, "the loader's prefetch",
                             prefetch);
    if (status != ACCEL_OK)
        return status;
    return accel__loader_resolve(loader, 1, false, true, &loader->shard);
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

accel_status_t accel_loader_create(accel_dataset_t *dataset, const accel_loader_options_t *options,
                                   accel_loader_t **loader)
{
    accel_loader_t *made;
    accel_status_t status;
    bool prefetch;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_create: the result's address is NULL");
    *loader = NULL;
    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_create: the dataset is NULL");
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a loader", sizeof(*made));
    made->dataset = dataset;
    status = read_options(made, options, &prefetch);
    if (status == ACCEL_OK)
        status = check_batch_size(made);
    if (status != ACCEL_OK) {
        free(made);
        return accel__fail(status, "accel_loader_create: %s", accel_last_error());
    }
    accel__reader_init(&made->reader, prefetch);
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
    free(loader->order);
    free(loader);
}

static accel_status_t make_order(accel_loader_t *loader, int64_t epoch)
{
    size_t size;

    if (!loader->options.shuffle || loader->shard.samples == 0)
        return ACCEL_OK;
    if (!loader->order) {
        if (!accel__mul_size((size_t)loader->shard.samples, sizeof(*loader->order), &size))
            return accel__fail(ACCEL_ERR_INVALID, "%lld samples are too many to shuffle",
                               (long long)loader->shard.samples);
        loader->order = malloc(size);
        if (!loader->order)
            return accel__fail_memory("the order of an epoch", size);
    }
    accel_shuffle(loader->seed, epoch, loader->shard.samples, loader->order);
    return ACCEL_OK;
}

accel_status_t accel_loader_begin(accel_loader_t *loader, int64_t epoch)
{
    accel__plan_t plan;
    accel_status_t status;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_begin: the loader is NULL");
    if (epoch < 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_loader_begin: epoch is %lld; expected 0 or more",
                           (long long)epoch);
    accel_loader_end(loader);
    status = make_order(loader, epoch);
    if (status != ACCEL_OK)
        return status;
    loader->step = 0;
    loader->steps = accel_shard_steps(&loader->shard);
    plan = (accel__plan_t){.dataset = loader->dataset,
                           .shard = loader->shard,
                           .rank = loader->rank,
                           .steps = loader->steps,
                           .order = loader->options.shuffle ? loader->order : NULL};
    status = accel__reader_start(&loader->reader, &plan);
    if (status != ACCEL_OK)
        return status;
    loader->under_way = true;
    accel__loader_push(loader);
    return ACCEL_OK;
}

accel_status_t accel_loader_next(accel_loader_t *loader, accel_batch_t *batch)
{
    const accel__slot_t *slot;
    accel_status_t status;

    if (!loader || !batch)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_next: the %s is NULL",
                           loader ? "batch" : "loader");
    if (!loader->under_way)
        return accel__fail(ACCEL_ERR_STATE,
                           "accel_loader_next: no epoch is under way; call accel_loader_begin()");
    if (loader->step == loader->steps) {
        accel_loader_end(loader);
        return ACCEL_END;
    }
    status = accel__reader_take(&loader->reader, &slot);
    if (status != ACCEL_OK) {
        accel_loader_end(loader);
        return status;
    }
    *batch = (accel_batch_t){.rows = slot->rows,
                             .real_rows = accel_shard_real_rows(&loader->shard, loader->step),
                             .step = loader->step,
                             .last = loader->step + 1 == loader->steps,
                             .num_fields = loader->dataset->num_fields,
                             .fields = slot->fields,
                             .indices = slot->indices};
    loader->step++;
    return ACCEL_OK;
}

void accel_loader_end(accel_loader_t *loader)
{
    if (!loader || !loader->under_way)
        return;
    accel__reader_stop(&loader->reader);
    loader->under_way = false;
    accel__loader_pop(loader);
}

int64_t accel_loader_length(const accel_loader_t *loader)
{
    return loader ? accel_shard_steps(&loader->shard) : 0;
}

accel_shard_t accel_loader_shard(const accel_loader_t *loader)
{
    return loader ? loader->shard : (accel_shard_t){0};
}
