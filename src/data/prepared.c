/* SPDX-License-Identifier: Apache-2.0 */
/* A loader that belongs to an accelerator: its shard of the ranks', and its place among the
 * loaders under way. */
#include "comm/comm.h"
#include "data/loader.h"

/* The accelerator goes first: the loader is of one process again. */
static void release(void *object)
{
    accel_loader_t *loader = object;

    accel_loader_end(loader);
    accel__link_remove(&loader->link);
    accel__reader_clear(&loader->reader);
    accel__dispatch_free(&loader->dispatch);
    loader->active = NULL;
    loader->comm = NULL;
    loader->prepared = false;
    /* Cannot fail: the same options were good for one process when the loader was made. */
    (void)accel__loader_resolve(loader, NULL);
}

void accel__loader_set_default_seed(accel_loader_t *loader, uint64_t seed)
{
    if (loader->options.seed == 0 && !loader->prepared && !loader->has_state)
        loader->seed = seed;
}

accel_status_t accel__loader_prepare(accel_loader_t *loader, const accel__loader_world_t *world)
{
    accel_status_t status;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "prepare: the loader is NULL");
    if (loader->prepared)
        return accel__fail(ACCEL_ERR_STATE, "prepare: the loader is prepared already");
    if (loader->under_way)
        return accel__fail(ACCEL_ERR_STATE, "prepare: the loader is in an epoch; end it first");
    status = accel__loader_resolve(loader, world);
    if (status != ACCEL_OK)
        return accel__fail(status, "prepare: the loader: %s", accel_last_error());
    accel__reader_clear(&loader->reader);
    loader->comm = world->comm;
    loader->active = world->active;
    loader->prepared = true;
    accel__link_insert(world->prepared, &loader->link, release, loader);
    return ACCEL_OK;
}

/* One process alone, and presharded data, have nothing to even out. */
static bool can_override(const accel_loader_t *loader)
{
    return !loader->dispatches && !loader->dataset->begin && loader->num_ranks > 1;
}

accel_status_t accel__loaders_even_begin(accel__link_t *prepared, bool even_batches)
{
    for (const accel__link_t *link = prepared->next; link != prepared; link = link->next) {
        accel_loader_t *loader = link->object;

        if (loader->dispatches)
            accel__log(
                ACCEL_LOG_WARNING,
                "join_uneven_inputs: even_batches of a loader that dispatches stays as it is");
        if (!can_override(loader))
            continue;
        if (loader->under_way)
            return accel__fail(ACCEL_ERR_STATE, "join_uneven_inputs: a loader is in an epoch; "
                                                "begin the scope before it");
        loader->overrides_even = true;
        loader->even_before = loader->shard.even_batches;
        loader->shard.even_batches = even_batches;
        accel__reader_clear(&loader->reader);
    }
    return ACCEL_OK;
}

void accel__loaders_even_end(accel__link_t *prepared)
{
    for (const accel__link_t *link = prepared->next; link != prepared; link = link->next) {
        accel_loader_t *loader = link->object;

        if (!loader->overrides_even)
            continue;
        accel_loader_end(loader);
        loader->overrides_even = false;
        loader->shard.even_batches = loader->even_before;
        accel__reader_clear(&loader->reader);
    }
}

void accel__loader_push(accel_loader_t *loader)
{
    if (!loader->active || loader->active->top == loader)
        return;
    accel__loader_pop(loader);
    loader->outer = loader->active->top;
    loader->active->top = loader;
}

void accel__loader_pop(accel_loader_t *loader)
{
    accel_loader_t **place;

    if (!loader->active)
        return;
    for (place = &loader->active->top; *place; place = &(*place)->outer)
        if (*place == loader) {
            *place = loader->outer;
            break;
        }
    loader->outer = NULL;
}

bool accel__loaders_at_end(const accel__active_loaders_t *active)
{
    return active->top && active->top->has_batch && active->top->step.last;
}

/* Skipped batches are numbered, too: `number` is that of the batch that comes next. */
int64_t accel__loaders_batches_left(const accel__active_loaders_t *active)
{
    const accel_loader_t *loader = active->top;

    if (accel__loaders_at_end(active))
        return 1;
    if (!loader || !loader->has_batch || loader->steps - loader->number < 1)
        return -1; /* a stream may have less, or more, than it said */
    return loader->steps - loader->number + 1;
}

/* Padding is at the end of the gathered rows; but where ranks have data of their own it is at the
 * end of each rank's. With batches of natural length every row is real. */
accel__metric_rows_t accel__loaders_metric_rows(const accel__active_loaders_t *active)
{
    accel__metric_rows_t rows = {.keep_rows = -1, .own_rows = -1};
    const accel_loader_t *loader = active->top;

    if (!loader || !loader->has_batch || loader->step.real_rows == loader->step.step_rows)
        return rows;
    if (loader->lengths) {
        rows.own_rows = loader->step.own_rows;
        rows.batch_rows = loader->step.rows;
    } else {
        rows.keep_rows = loader->step.real_rows;
    }
    return rows;
}

static uint64_t hash_fields(uint64_t hash, const accel__field_t *fields, int32_t num_fields)
{
    for (int32_t f = 0; f < num_fields; f++) {
        const accel__field_t *field = &fields[f];

        hash = accel__hash(hash, &field->dtype, sizeof(field->dtype));
        hash = accel__hash(hash, &field->ndim, sizeof(field->ndim));
        hash = accel__hash(hash, field->shape, (size_t)field->ndim * sizeof(*field->shape));
    }
    return hash;
}

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

static const char *tristate_name(accel_tristate_t value)
{
    return value == ACCEL_DEFAULT ? "default" : yes_no(value == ACCEL_ON);
}

static const char *order_name(const accel_loader_options_t *options)
{
    return options->shuffle         ? "shuffled"
           : options->sampler       ? "a sampler's"
           : options->batch_sampler ? "a batch sampler's"
                                    : "as stored";
}

/* Only a rank that reads nothing, or its own, may have another length. */
static int64_t common_length(const accel_loader_t *loader)
{
    const accel_loader_options_t *options = &loader->options;

    if (options->presharded || loader->dataset->begin || options->dispatch_batches == ACCEL_ON)
        return -1;
    return accel_dataset_length(loader->dataset);
}

/* From the options, not from the shard in force, which before prepare is that of one process. */
uint64_t accel__loader_signature(const accel_loader_t *loader, char *text, size_t size)
{
    const accel_loader_options_t *options = &loader->options;
    const int64_t parts[] = {common_length(loader),
                             options->batch_size,
                             options->split_batches,
                             options->drop_last,
                             options->even_batches,
                             options->dispatch_batches,
                             options->presharded,
                             options->shuffle,
                             options->shuffle ? (int64_t)loader->seed : 0,
                             options->sampler != NULL,
                             options->sampler_length,
                             options->batch_sampler != NULL,
                             loader->dataset->begin != NULL,
                             options->collate != NULL};
    uint64_t hash = accel__hash(ACCEL__HASH_START, parts, sizeof(parts));

    hash = hash_fields(hash, loader->collate.fields, loader->collate.num_fields);
    snprintf(text, size,
             "%lld samples, %d fields (layout %08x%s), batch_size %lld, order %s, seed %llu, "
             "split_batches %s, drop_last %s, even_batches %s, dispatch_batches %s, presharded %s",
             (long long)accel_dataset_length(loader->dataset), (int)loader->collate.num_fields,
             (unsigned)hash_fields(ACCEL__HASH_START, loader->collate.fields,
                                   loader->collate.num_fields),
             options->collate ? ", collated" : "", (long long)options->batch_size,
             order_name(options), (unsigned long long)loader->seed,
             tristate_name(options->split_batches), yes_no(options->drop_last),
             tristate_name(options->even_batches), tristate_name(options->dispatch_batches),
             yes_no(options->presharded));
    return hash;
}
