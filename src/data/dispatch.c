/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that the main process reads for all: it tells how the step's global batch looks,
 * broadcasts it, and each rank copies its part of the rows. */
#include "comm/comm.h"
#include "data/loader.h"

#include <stdlib.h>
#include <string.h>

/* What the main process says of a step; of an epoch, where it starts and how long it is. */
typedef accel__dispatch_note_t note_t;

void accel__dispatch_free(accel__dispatch_t *dispatch)
{
    accel__collated_fini(&dispatch->whole);
    for (int32_t k = 0; k < dispatch->num_parts; k++) {
        accel__collated_fini(&dispatch->parts[k]);
        free(dispatch->indices[k]);
    }
    free(dispatch->parts);
    free(dispatch->indices);
    free(dispatch->whole_indices);
    free(dispatch->notes);
    *dispatch = (accel__dispatch_t){0};
}

/* One part for each batch that the program keeps. */
static accel_status_t allocate(accel_loader_t *loader)
{
    accel__dispatch_t *dispatch = &loader->dispatch;
    size_t count = (size_t)loader->options.keep_batches;
    accel_status_t status;

    if (dispatch->parts)
        return ACCEL_OK;
    status = accel__collated_init(&dispatch->whole, &loader->collate);
    dispatch->parts = calloc(count, sizeof(*dispatch->parts));
    dispatch->indices = calloc(count, sizeof(*dispatch->indices));
    dispatch->notes = calloc((size_t)loader->num_ranks, sizeof(*dispatch->notes));
    if (!dispatch->parts || !dispatch->indices || !dispatch->notes)
        status = accel__fail_memory("dispatched batches", count * sizeof(*dispatch->parts));
    while (status == ACCEL_OK && dispatch->num_parts < loader->options.keep_batches) {
        status = accel__collated_init(&dispatch->parts[dispatch->num_parts], &loader->collate);
        dispatch->num_parts += status == ACCEL_OK;
    }
    if (status != ACCEL_OK)
        accel__dispatch_free(dispatch);
    return status;
}

/* Every rank's note becomes the main process's. */
static accel_status_t share_note(accel_loader_t *loader, const char *call, note_t *note)
{
    note_t *all = loader->dispatch.notes;
    accel_status_t status = accel__comm_meet(loader->comm, call, 0, note, sizeof(*note), all);

    accel__assume(all);
    *note = all[0];
    return status;
}

/* How long the epoch is, and where it starts, is known where it is read. */
accel_status_t accel__dispatch_begin(accel_loader_t *loader, accel_status_t status)
{
    static const char call[] = "accel_loader_begin";
    note_t note = {
        .steps = loader->steps, .first_step = loader->first_step, .position = loader->position};

    if (status == ACCEL_OK)
        status = allocate(loader);
    status = accel__comm_agree(loader->comm, call, status);
    if (status == ACCEL_OK)
        status = share_note(loader, call, &note);
    if (status != ACCEL_OK)
        return status;
    loader->steps = note.steps;
    loader->first_step = note.first_step;
    loader->position = note.position;
    return ACCEL_OK;
}

/* ---- the global batch ---- */

/* Rows are dealt, so they must be those of the samples. */
static accel_status_t check_rows(const accel__slot_t *slot)
{
    int32_t num_fields;
    const accel_tensor_t *fields = accel__slot_fields(slot, &num_fields);

    for (int32_t f = 0; f < num_fields; f++)
        if (fields[f].shape[0] != slot->step.rows)
            return accel__fail(ACCEL_ERR_INVALID,
                               "the collate made %lld rows of %lld samples, which cannot be "
                               "dispatched; expected as many, or dispatch_batches off",
                               (long long)fields[f].shape[0], (long long)slot->step.rows);
    return ACCEL_OK;
}

static accel_status_t read_batch(accel_loader_t *loader, const accel__slot_t **slot, note_t *note)
{
    accel_status_t status = accel__reader_take(&loader->reader, slot);

    if (status == ACCEL_OK)
        status = check_rows(*slot);
    *note = (note_t){.status = status};
    if (status == ACCEL_OK) {
        note->rows = (*slot)->step.rows;
        note->real_rows = (*slot)->step.real_rows;
        note->last = (*slot)->step.last;
    }
    return status;
}

/* A rank that cannot go on once the others have begun to exchange data takes them with it. */
static accel_status_t abort_all(const accel_loader_t *loader, accel_status_t status)
{
    return accel_comm_abort(loader->comm, status, accel_last_error());
}

static accel_status_t reserve_indices(accel__dispatch_t *dispatch, int64_t rows)
{
    size_t size = (size_t)rows * sizeof(int64_t);
    int64_t *larger;

    if (rows <= dispatch->capacity)
        return ACCEL_OK;
    larger = realloc(dispatch->whole_indices, size);
    if (!larger)
        return accel__fail_memory("a batch's indices", size);
    dispatch->whole_indices = larger;
    for (int32_t k = 0; k < dispatch->num_parts; k++) {
        larger = realloc(dispatch->indices[k], size);
        if (!larger)
            return accel__fail_memory("a batch's indices", size);
        dispatch->indices[k] = larger;
    }
    dispatch->capacity = rows;
    return ACCEL_OK;
}

/* The extents of the global batch's fields: known everywhere, unless a collate decides. */
static accel_status_t share_shapes(accel_loader_t *loader, int64_t rows, const accel__slot_t *slot,
                                   int64_t *shapes)
{
    const accel__collate_t *collate = &loader->collate;
    int32_t num_fields;

    for (int32_t f = 0; f < collate->num_fields; f++) {
        int64_t *shape = shapes + (size_t)f * ACCEL_MAX_NDIM;

        shape[0] = rows;
        memcpy(shape + 1, collate->fields[f].shape,
               (size_t)collate->fields[f].ndim * sizeof(*shape));
        if (slot && collate->fn)
            memcpy(shape, accel__slot_fields(slot, &num_fields)[f].shape,
                   (size_t)(collate->fields[f].ndim + 1) * sizeof(*shape));
    }
    if (!collate->fn)
        return ACCEL_OK;
    return accel_comm_broadcast(loader->comm, shapes, (size_t)collate->num_fields * ACCEL_MAX_NDIM,
                                ACCEL_I64, 0);
}

/* The main process's tensors lie where they were read, the others' in `whole`. */
static accel_status_t place_whole(accel_loader_t *loader, const int64_t *shapes, int64_t rows)
{
    accel_status_t status = reserve_indices(&loader->dispatch, rows);

    for (int32_t f = 0; f < loader->collate.num_fields && status == ACCEL_OK; f++) {
        void *data;

        status = accel__collated_field(&loader->dispatch.whole, &loader->collate, f,
                                       shapes + (size_t)f * ACCEL_MAX_NDIM, &data);
    }
    return status == ACCEL_OK ? status : abort_all(loader, status);
}

static size_t row_size(const accel_tensor_t *field)
{
    size_t size = accel_dtype_size(field->dtype);

    for (int32_t d = 1; d < field->ndim; d++)
        size *= (size_t)field->shape[d];
    return size;
}

/* Everybody's copy of the global batch: its fields, and in `whole_indices` its samples. */
static accel_status_t share_batch(accel_loader_t *loader, const note_t *note,
                                  const accel__slot_t *slot, const accel_tensor_t **fields)
{
    accel__dispatch_t *dispatch = &loader->dispatch;
    int64_t *shapes = dispatch->whole.shapes;
    int32_t num_fields = loader->collate.num_fields;
    accel_status_t status = share_shapes(loader, note->rows, slot, shapes);

    if (status == ACCEL_OK && slot) {
        status = reserve_indices(dispatch, note->rows);
        if (status != ACCEL_OK)
            return abort_all(loader, status);
        memcpy(dispatch->whole_indices, slot->indices, (size_t)note->rows * sizeof(int64_t));
        *fields = accel__slot_fields(slot, &num_fields);
    } else if (status == ACCEL_OK) {
        status = place_whole(loader, shapes, note->rows);
        *fields = dispatch->whole.fields;
    }
    if (status == ACCEL_OK)
        status = accel_comm_broadcast(loader->comm, dispatch->whole_indices, (size_t)note->rows,
                                      ACCEL_I64, 0);
    for (int32_t f = 0; f < num_fields && status == ACCEL_OK; f++) {
        size_t size = (size_t)note->rows * row_size(&(*fields)[f]);

        if (size > 0)
            status = accel_comm_broadcast(loader->comm, (*fields)[f].data, size, ACCEL_U8, 0);
    }
    return status;
}

/* ---- this rank's part ---- */

static accel_status_t cut(accel_loader_t *loader, const accel_tensor_t *fields, int64_t first,
                          int64_t rows, accel_batch_t *batch)
{
    accel__dispatch_t *dispatch = &loader->dispatch;
    int64_t k = loader->number % loader->options.keep_batches;
    accel__collated_t *part = &dispatch->parts[k];

    for (int32_t f = 0; f < loader->collate.num_fields; f++) {
        size_t size;
        int64_t shape[ACCEL_MAX_NDIM];
        accel_status_t status;
        void *data;

        accel__assume(fields);
        size = row_size(&fields[f]);
        memcpy(shape, fields[f].shape, (size_t)fields[f].ndim * sizeof(*shape));
        shape[0] = rows;
        status = accel__collated_field(part, &loader->collate, f, shape, &data);
        if (status != ACCEL_OK)
            return abort_all(loader, status);
        memcpy(data, (const char *)fields[f].data + (size_t)first * size, (size_t)rows * size);
    }
    memcpy(dispatch->indices[k], dispatch->whole_indices + first, (size_t)rows * sizeof(int64_t));
    *batch = (accel_batch_t){.num_fields = loader->collate.num_fields,
                             .fields = part->fields,
                             .indices = dispatch->indices[k]};
    return ACCEL_OK;
}

static int64_t between(int64_t value, int64_t most)
{
    return value < 0 ? 0 : value < most ? value : most;
}

/* Equal parts in rank order; what does not come out even was filled up, or is the last ranks'
 * loss. */
static accel_status_t deal(accel_loader_t *loader, const note_t *note, const accel_tensor_t *fields,
                           accel_batch_t *batch)
{
    int64_t share = (note->rows + loader->num_ranks - 1) / loader->num_ranks;
    int64_t first = between(loader->rank * share, note->rows);
    int64_t rows = between(note->rows - first, share);

    loader->step = (accel__step_t){.rows = rows,
                                   .own_rows = between(note->real_rows - first, rows),
                                   .real_rows = note->real_rows,
                                   .step_rows = note->rows,
                                   .last = note->last != 0};
    return cut(loader, fields, first, rows, batch);
}

/* The main process's errors are everybody's. */
accel_status_t accel__dispatch_next(accel_loader_t *loader, accel_batch_t *batch)
{
    static const char call[] = "accel_loader_next";
    const accel__slot_t *slot = NULL;
    const accel_tensor_t *fields = NULL;
    accel_status_t mine = ACCEL_OK, status;
    note_t note = {0};

    if (loader->rank == 0)
        mine = read_batch(loader, &slot, &note);
    status = share_note(loader, call, &note);
    if (status != ACCEL_OK || note.status == ACCEL_END)
        return status == ACCEL_OK ? ACCEL_END : status;
    if (note.status != ACCEL_OK)
        return accel__comm_agree(loader->comm, call, mine);
    status = share_batch(loader, &note, slot, &fields);
    return status == ACCEL_OK ? deal(loader, &note, fields, batch) : status;
}
