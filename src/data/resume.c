/* SPDX-License-Identifier: Apache-2.0 */
/* Going on in the middle of an epoch. */
#include "data/loader.h"

accel_status_t accel_loader_skip(accel_loader_t *loader, int64_t batches)
{
    if (!loader || batches < 0)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_skip: %s",
                           loader ? "the number of batches is negative" : "the loader is NULL");
    loader->skip = batches;
    return ACCEL_OK;
}

/* A batch sampler's order is known only once it was asked, a rank's own only to that rank. */
static int64_t comparable_length(const accel_loader_t *loader)
{
    return loader->options.batch_sampler || loader->options.presharded ? -1 : loader->length;
}

accel_status_t accel_loader_get_state(const accel_loader_t *loader, accel_loader_state_t *state)
{
    if (!loader || !state)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_get_state: the %s is NULL",
                           loader ? "state" : "loader");
    if (loader->has_state) {
        *state = loader->state;
        return ACCEL_OK;
    }
    *state = (accel_loader_state_t){.epoch = loader->epoch,
                                    .position = loader->position,
                                    .length = comparable_length(loader),
                                    .shuffle = loader->options.shuffle,
                                    .seed = loader->seed};
    return ACCEL_OK;
}

static accel_status_t check_state(const accel_loader_t *loader, const accel_loader_state_t *state)
{
    int64_t length = comparable_length(loader);

    if (state->epoch < 0 || state->position < 0)
        return accel__fail(ACCEL_ERR_INVALID, "epoch %lld, position %lld; expected 0 or more",
                           (long long)state->epoch, (long long)state->position);
    if (length >= 0 && state->length >= 0 && state->length != length)
        return accel__fail(ACCEL_ERR_MISMATCH, "the state is of %lld samples, the loader has %lld",
                           (long long)state->length, (long long)length);
    if (length >= 0 && state->position > length)
        return accel__fail(ACCEL_ERR_INVALID, "position %lld of %lld samples",
                           (long long)state->position, (long long)length);
    if (state->shuffle != loader->options.shuffle)
        return accel__fail(ACCEL_ERR_MISMATCH, "the state is of a loader that %s, this one %s",
                           state->shuffle ? "shuffles" : "does not shuffle",
                           state->shuffle ? "does not" : "does");
    return ACCEL_OK;
}

accel_status_t accel_loader_set_state(accel_loader_t *loader, const accel_loader_state_t *state)
{
    accel_status_t status;

    if (!loader || !state)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_set_state: the %s is NULL",
                           loader ? "state" : "loader");
    status = check_state(loader, state);
    if (status != ACCEL_OK)
        return accel__fail(status, "accel_loader_set_state: %s", accel_last_error());
    accel_loader_end(loader);
    loader->state = *state;
    loader->has_state = true;
    loader->seed = state->seed;
    return ACCEL_OK;
}

/* The first batch that begins at this place of the epoch, or beyond it. */
static int64_t batch_at(const accel_batches_t *batches, int64_t position)
{
    int64_t low = 0, high = batches->count;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (batches->offsets[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* In samples, or in batches where a sampler makes them. */
static accel_status_t start_of_state(const accel_loader_t *loader, int64_t *start)
{
    *start = loader->state.position;
    if (!loader->order.offsets)
        return ACCEL_OK;
    *start = batch_at(&loader->order, loader->state.position);
    if (loader->order.offsets[*start] == loader->state.position)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_MISMATCH,
                       "accel_loader_begin: no batch of the batch sampler begins at sample %lld, "
                       "where the loader's state is",
                       (long long)loader->state.position);
}

accel_status_t accel__loader_find_start(accel_loader_t *loader, int64_t epoch, int64_t *start)
{
    int64_t global = accel__shard_global_batch(&loader->shard), skipped;
    bool bounded = accel__loader_reads(loader) && !loader->dataset->begin && !loader->lengths;
    accel_status_t status = ACCEL_OK;

    *start = 0;
    if (loader->has_state && loader->state.epoch != epoch)
        return accel__fail(ACCEL_ERR_STATE,
                           "accel_loader_begin: epoch %lld, but the loader's state is of epoch "
                           "%lld: begin that one",
                           (long long)epoch, (long long)loader->state.epoch);
    if (loader->has_state && accel__loader_reads(loader))
        status = start_of_state(loader, start);
    if (status != ACCEL_OK)
        return status;
    if (__builtin_mul_overflow(loader->skip, global, &skipped) ||
        __builtin_add_overflow(*start, skipped, start))
        *start = INT64_MAX - global;
    if (bounded && *start > loader->shard.samples)
        *start = loader->shard.samples;
    loader->first_step = *start / global;
    loader->position = loader->order.offsets ? loader->order.offsets[*start] : *start;
    loader->has_state = false;
    loader->skip = 0;
    return ACCEL_OK;
}
