/* SPDX-License-Identifier: Apache-2.0 */
/* The order of an epoch: shuffled, or a sampler's of the program's own. */
#include "comm/comm.h"
#include "data/loader.h"

#include <stdlib.h>
#include <string.h>

void accel__batches_free(accel_batches_t *batches)
{
    free(batches->numbers);
    free(batches->offsets);
    *batches = (accel_batches_t){0};
}

/* Room for `count` numbers, of which `used` are kept; doubled, so that adding is cheap. */
static accel_status_t reserve(int64_t **numbers, int64_t *room, int64_t used, int64_t count)
{
    int64_t wanted = *room < INT64_MAX / 4 ? 2 * *room : count, *larger;
    size_t size;

    if (count <= *room)
        return ACCEL_OK;
    if (wanted < count)
        wanted = count;
    if (!accel__mul_size((size_t)wanted, sizeof(**numbers), &size) || size > PTRDIFF_MAX)
        return accel__fail(ACCEL_ERR_INVALID, "%lld samples are too many to put in order",
                           (long long)count);
    if (used == 0) {
        free(*numbers);
        *numbers = NULL;
        *room = 0;
    }
    larger = realloc(*numbers, size);
    if (!larger)
        return accel__fail_memory("the order of an epoch", size);
    *numbers = larger;
    *room = wanted;
    return ACCEL_OK;
}

/* ---- an order ---- */

static accel_status_t check_numbers(const char *what, const int64_t *numbers, int64_t count,
                                    int64_t samples)
{
    for (int64_t i = 0; i < count; i++)
        if (numbers[i] < 0 || numbers[i] >= samples)
            return accel__fail(ACCEL_ERR_INVALID,
                               "%s gave sample %lld at place %lld; expected 0 to %lld", what,
                               (long long)numbers[i], (long long)i, (long long)samples - 1);
    return ACCEL_OK;
}

static accel_status_t fail_sampler(const char *what, accel_status_t status, uint64_t failures)
{
    if (status > ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID, "%s returned %d; expected ACCEL_OK or an error", what,
                           (int)status);
    return accel__fail(status, "%s failed: %s", what,
                       accel__failures() != failures ? accel_last_error()
                                                     : accel_status_name(status));
}

static accel_status_t sample_order(accel_loader_t *loader, int64_t epoch)
{
    accel_batches_t *order = &loader->order;
    uint64_t failures = accel__failures();
    accel_status_t status = loader->options.sampler(loader->options.sampler_context, epoch,
                                                    order->length, order->numbers);

    if (status != ACCEL_OK)
        return fail_sampler("the sampler", status, failures);
    return check_numbers("the sampler", order->numbers, order->length, order->samples);
}

/* ---- batches ---- */

static accel_status_t add(accel_batches_t *batches, const int64_t *indices, int64_t count)
{
    accel_status_t status;

    if (!indices || count < 1)
        return accel__fail(ACCEL_ERR_INVALID, "accel_batches_add: %s",
                           indices ? "a batch without samples" : "indices is NULL");
    status = check_numbers("accel_batches_add: the batch", indices, count, batches->samples);
    if (status == ACCEL_OK)
        status =
            reserve(&batches->numbers, &batches->room, batches->length, batches->length + count);
    if (status == ACCEL_OK)
        status = reserve(&batches->offsets, &batches->offsets_room, batches->count + 1,
                         batches->count + 2);
    if (status != ACCEL_OK)
        return status;
    memcpy(batches->numbers + batches->length, indices, (size_t)count * sizeof(*indices));
    batches->length += count;
    batches->offsets[++batches->count] = batches->length;
    return ACCEL_OK;
}

accel_status_t accel_batches_add(accel_batches_t *batches, const int64_t *indices, int64_t count)
{
    accel_status_t status;

    if (!batches)
        return accel__fail(ACCEL_ERR_INVALID, "accel_batches_add: batches is NULL");
    status = add(batches, indices, count);
    if (status != ACCEL_OK)
        batches->status = status;
    return status;
}

/* One whose error the callback overlooked counts, too. */
static accel_status_t sample_batches(accel_loader_t *loader, int64_t epoch)
{
    accel_batches_t *order = &loader->order;
    uint64_t failures = accel__failures();
    accel_status_t status = reserve(&order->offsets, &order->offsets_room, 0, 1);

    if (status != ACCEL_OK)
        return status;
    order->offsets[0] = order->length = order->count = 0;
    order->status = ACCEL_OK;
    status = loader->options.batch_sampler(loader->options.sampler_context, epoch, order);
    if (status == ACCEL_OK)
        status = order->status;
    if (status != ACCEL_OK)
        return fail_sampler("the batch sampler", status, failures);
    loader->shard.samples = order->count;
    return ACCEL_OK;
}

/* ---- any of them ---- */

static accel_status_t make_order(accel_loader_t *loader, int64_t epoch)
{
    accel_batches_t *order = &loader->order;
    accel_status_t status;

    order->samples = accel_dataset_length(loader->dataset);
    if (loader->options.batch_sampler)
        return sample_batches(loader, epoch);
    order->length = accel__loader_own_length(loader);
    status = reserve(&order->numbers, &order->room, 0, order->length);
    if (status != ACCEL_OK || order->length == 0)
        return status;
    if (loader->options.sampler)
        return sample_order(loader, epoch);
    accel_shuffle(loader->seed, epoch, order->length, order->numbers);
    return ACCEL_OK;
}

/* Ranks with different orders would train on other samples than anybody thinks, or make different
 * numbers of steps: each compares its own with rank 0's. */
static accel_status_t compare_orders(accel_loader_t *loader)
{
    static const char call[] = "accel_loader_begin";
    const accel_batches_t *order = &loader->order;
    uint64_t hash = ACCEL__HASH_START, *all;
    accel_status_t status;

    all = malloc((size_t)loader->num_ranks * sizeof(*all));
    status = accel__comm_agree(loader->comm, call,
                               all ? ACCEL_OK : accel__fail_memory("an order's hashes", 8));
    if (status == ACCEL_OK) {
        hash = accel__hash(hash, order->numbers, (size_t)order->length * sizeof(int64_t));
        if (order->offsets)
            hash = accel__hash(hash, order->offsets, (size_t)(order->count + 1) * sizeof(int64_t));
        status = accel__comm_meet(loader->comm, call, 0, &hash, sizeof(hash), all);
    }
    accel__assume(all || status != ACCEL_OK);
    for (int64_t rank = 1; status == ACCEL_OK && rank < loader->num_ranks; rank++)
        if (all[rank] != all[0])
            status = accel__fail(
                ACCEL_ERR_MISMATCH, "%s: the %s gave rank %lld another order than rank 0", call,
                loader->options.sampler ? "sampler" : "batch sampler", (long long)rank);
    free(all);
    return status;
}

accel_status_t accel__loader_make_order(accel_loader_t *loader, int64_t epoch)
{
    const accel_loader_options_t *options = &loader->options;
    bool own = options->sampler || options->batch_sampler;
    accel_status_t status = ACCEL_OK;

    if ((own || options->shuffle) && accel__loader_reads(loader))
        status = make_order(loader, epoch);
    if (!own || !loader->comm || loader->num_ranks == 1 || loader->dispatches)
        return status;
    status = accel__comm_agree(loader->comm, "accel_loader_begin", status);
    if (status != ACCEL_OK || loader->lengths)
        return status;
    return compare_orders(loader);
}
