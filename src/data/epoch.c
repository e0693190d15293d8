/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: begin, next, end. */
#include "base/span.h"
#include "comm/comm.h"
#include "data/loader.h"

/* ---- the plan ---- */

/* Who dispatches reads whole global batches, as a process alone would, and fills up what does
 * not come out even for the ranks. */
static accel__plan_t plan_of(const accel_loader_t *loader)
{
    accel__plan_t plan = {.dataset = loader->dataset,
                          .collate = &loader->collate,
                          .shard = loader->shard,
                          .rank = loader->lengths ? 0 : loader->rank,
                          .order = loader->order.length > 0 ? loader->order.numbers : NULL,
                          .offsets = loader->order.offsets,
                          .lengths = loader->lengths,
                          .num_ranks = loader->num_ranks};

    if (loader->dispatches) {
        plan.multiple = loader->shard.even_batches ? loader->num_ranks : 1;
        plan.shard.batch_size = accel__shard_global_batch(&loader->shard);
        plan.shard.num_processes = 1;
        plan.shard.split_batches = plan.shard.even_batches = false;
        plan.rank = 0;
    }
    return plan;
}

static int64_t count_steps(const accel_loader_t *loader)
{
    accel__plan_t plan = plan_of(loader);

    if (loader->dataset->begin)
        return loader->length < 0 ? -1 : accel__shard_steps_from(&loader->shard, 0);
    return accel__plan_steps(&plan);
}

int64_t accel_loader_length(const accel_loader_t *loader)
{
    if (!loader)
        return 0;
    return loader->options.batch_sampler ? loader->steps : count_steps(loader);
}

accel_shard_t accel_loader_shard(const accel_loader_t *loader)
{
    return loader ? loader->shard : (accel_shard_t){0};
}

/* ---- begin ---- */

static accel_status_t begin_stream(const accel_loader_t *loader, int64_t epoch)
{
    const accel_dataset_t *dataset = loader->dataset;
    uint64_t failures = accel__failures();
    accel_status_t status;

    if (!dataset->begin)
        return ACCEL_OK;
    status = dataset->begin(dataset->context, epoch);
    if (status == ACCEL_OK)
        return ACCEL_OK;
    if (status > ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s returned %d for epoch %lld; expected ACCEL_OK or an error",
                           dataset->what, (int)status, (long long)epoch);
    return accel__fail(
        status, "%s failed at the start of epoch %lld: %s", dataset->what, (long long)epoch,
        accel__failures() != failures ? accel_last_error() : accel_status_name(status));
}

static accel_status_t start(accel_loader_t *loader, int64_t epoch)
{
    accel__plan_t plan;
    int64_t first;
    accel_status_t status = accel__loader_find_start(loader, epoch, &first);

    if (status != ACCEL_OK || !accel__loader_reads(loader))
        return status;
    plan = plan_of(loader);
    plan.start = first;
    plan.steps = accel__plan_steps(&plan);
    loader->steps = count_steps(loader);
    status = begin_stream(loader, epoch);
    return status == ACCEL_OK ? accel__reader_start(&loader->reader, &plan) : status;
}

static accel_status_t begin(accel_loader_t *loader, int64_t epoch)
{
    accel_status_t status = accel__loader_make_order(loader, epoch);

    if (status == ACCEL_OK)
        status = start(loader, epoch);
    return loader->dispatches ? accel__dispatch_begin(loader, status) : status;
}

accel_status_t accel_loader_begin(accel_loader_t *loader, int64_t epoch)
{
    accel_status_t status;

    if (!loader)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_begin: the loader is NULL");
    if (epoch < 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_loader_begin: epoch is %lld; expected 0 or more",
                           (long long)epoch);
    accel_loader_end(loader);
    status = begin(loader, epoch);
    if (status != ACCEL_OK) {
        accel__reader_stop(&loader->reader);
        return status;
    }
    loader->epoch = epoch;
    loader->number = loader->first_step;
    loader->has_batch = false;
    loader->under_way = true;
    accel__loader_push(loader);
    return ACCEL_OK;
}

/* ---- next ---- */

static accel_status_t take(accel_loader_t *loader, accel_batch_t *batch)
{
    const accel__slot_t *slot;
    accel_status_t status = accel__reader_take(&loader->reader, &slot);

    if (status != ACCEL_OK)
        return status;
    loader->step = slot->step;
    *batch = (accel_batch_t){.indices = slot->indices};
    batch->fields = accel__slot_fields(slot, &batch->num_fields);
    return ACCEL_OK;
}

accel_status_t accel_loader_next(accel_loader_t *loader, accel_batch_t *batch)
{
    accel_status_t status;

    if (!loader || !batch)
        return accel__fail(ACCEL_ERR_INVALID, "accel_loader_next: the %s is NULL",
                           loader ? "batch" : "loader");
    if (!loader->under_way)
        return accel__fail(ACCEL_ERR_STATE,
                           "accel_loader_next: no epoch is under way; call accel_loader_begin()");
    accel__span_begin("data");
    status = loader->dispatches ? accel__dispatch_next(loader, batch) : take(loader, batch);
    accel__span_end();
    if (status != ACCEL_OK) {
        accel_loader_end(loader);
        if (status == ACCEL_END) {
            loader->epoch++;
            loader->position = 0;
        }
        return status;
    }
    batch->rows = loader->step.rows;
    batch->real_rows = loader->step.real_rows;
    batch->last = loader->step.last;
    batch->step = loader->number++;
    loader->position += loader->lengths ? loader->shard.batch_size : batch->real_rows;
    loader->has_batch = true;
    accel__loader_push(loader);
    return ACCEL_OK;
}

/* ---- end ---- */

void accel_loader_end(accel_loader_t *loader)
{
    if (!loader || !loader->under_way)
        return;
    accel__reader_stop(&loader->reader);
    loader->under_way = false;
    accel__loader_pop(loader);
}
