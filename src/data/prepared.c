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
    loader->active = NULL;
    loader->prepared = false;
    loader->rank = 0;
    /* Cannot fail: the same options were good for one process when the loader was made. */
    (void)accel__loader_resolve(loader, 1, false, true, &loader->shard);
}

accel_status_t accel__loader_prepare(accel_loader_t *loader, const accel__loader_world_t *world)
{
    accel_shard_t shard;
    accel_status_t status;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "prepare: the loader is NULL");
    if (loader->prepared)
        return accel__fail(ACCEL_ERR_STATE, "prepare: the loader is prepared already");
    if (loader->under_way)
        return accel__fail(ACCEL_ERR_STATE, "prepare: the loader is in an epoch; end it first");
    status = accel__loader_resolve(loader, world->num_processes, world->split_batches,
                                   world->even_batches, &shard);
    if (status != ACCEL_OK)
        return accel__fail(status, "prepare: the loader: %s", accel_last_error());
    accel__reader_clear(&loader->reader);
    loader->shard = shard;
    loader->rank = world->process_index;
    loader->active = world->active;
    loader->prepared = true;
    accel__link_insert(world->prepared, &loader->link, release, loader);
    return ACCEL_OK;
}

void accel__loader_push(accel_loader_t *loader)
{
    if (!loader->active)
        return;
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
    return active->top && active->top->step > 0 && active->top->step == active->top->steps;
}

/* With batches of natural length every gathered row is real. */
int64_t accel__loaders_real_rows(const accel__active_loaders_t *active)
{
    const accel_loader_t *loader = active->top;
    int64_t rows, real;

    if (!loader || loader->step == 0 || !loader->shard.even_batches)
        return -1;
    rows =
        accel_shard_batch(&loader->shard, loader->step - 1, 0, NULL) * loader->shard.num_processes;
    real = accel_shard_real_rows(&loader->shard, loader->step - 1);
    return real < rows ? real : -1;
}

static uint64_t hash_fields(uint64_t hash, const accel_dataset_t *dataset)
{
    for (int32_t f = 0; f < dataset->num_fields; f++) {
        const accel__field_t *field = &dataset->fields[f];

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

/* From the options, not from the shard in force, which before prepare is that of one process. */
uint64_t accel__loader_signature(const accel_loader_t *loader, char *text, size_t size)
{
    const accel_loader_options_t *options = &loader->options;
    const int64_t parts[] = {loader->shard.samples,
                             options->batch_size,
                             options->split_batches,
                             options->drop_last,
                             options->even_batches,
                             options->shuffle,
                             options->shuffle ? (int64_t)loader->seed : 0};
    uint64_t hash = accel__hash(ACCEL__HASH_START, parts, sizeof(parts));

    snprintf(text, size,
             "%lld samples of %d fields (layout %08x), batch_size %lld, split_batches %s, "
             "drop_last %s, even_batches %s, shuffle %s, seed %llu",
             (long long)loader->shard.samples, (int)loader->dataset->num_fields,
             (unsigned)hash_fields(ACCEL__HASH_START, loader->dataset),
             (long long)options->batch_size, tristate_name(options->split_batches),
             yes_no(options->drop_last), tristate_name(options->even_batches),
             yes_no(options->shuffle), (unsigned long long)loader->seed);
    return hash_fields(hash, loader->dataset);
}
