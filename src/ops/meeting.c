/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/meeting.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(accel__note_t) <= ACCEL__MEET_MAX &&
                   ACCEL_MAX_NDIM * sizeof(int64_t) <= ACCEL__MEET_MAX,
               "notes and shapes fit a meeting");

static accel__note_t make_note(const accel__ops_call_t *call)
{
    accel__note_t note = {.status = call->status, .extent = call->extent, .setting = call->setting};
    const accel_tensor_t *tensor = call->tensor;
    uint64_t hash = ACCEL__HASH_START;

    if (call->status != ACCEL_OK)
        return note;
    for (int32_t d = call->free_dims; d < tensor->ndim; d++)
        hash = accel__hash(hash, &tensor->shape[d], sizeof(tensor->shape[d]));
    note.dtype = tensor->dtype;
    note.ndim = tensor->ndim;
    note.shape = hash;
    return note;
}

static bool is_alike(const accel__note_t *a, const accel__note_t *b)
{
    return a->dtype == b->dtype && a->ndim == b->ndim && a->shape == b->shape;
}

/* "rank 2 has float32 [4, 3]" */
static void describe(accel__text_t *text, int32_t rank, const accel__note_t *note,
                     const int64_t *shape)
{
    accel__text_appendf(text, "%srank %d has %s [", rank > 0 ? ", " : "", (int)rank,
                        accel_dtype_name((accel_dtype_t)note->dtype));
    for (int64_t d = 0; d < note->ndim; d++)
        accel__text_appendf(text, "%s%lld", d ? ", " : "", (long long)shape[d]);
    accel__text_append(text, "]", 1);
}

/* What rank 0 has, and each that has something else; and then who is as rank 0. */
static void describe_all(accel__text_t *text, const accel__note_t *notes, const int64_t *shapes,
                         int32_t size)
{
    bool any = false;

    for (int32_t r = 0; r < size; r++)
        if (r == 0 || !is_alike(&notes[r], &notes[0]))
            describe(text, r, &notes[r], shapes + (size_t)r * ACCEL_MAX_NDIM);
    for (int32_t r = 1; r < size; r++)
        if (is_alike(&notes[r], &notes[0])) {
            accel__text_appendf(text, any ? ", %d" : "; as rank 0: %d", (int)r);
            any = true;
        }
}

/* The ranks know that they differ; now they tell each other how. */
static accel_status_t fail_shapes(accel_comm_t *comm, const accel__ops_call_t *call,
                                  const accel__note_t *notes)
{
    int64_t mine[ACCEL_MAX_NDIM] = {0};
    int64_t *shapes = calloc((size_t)accel_comm_size(comm), sizeof(mine));
    accel__text_t text = {0};
    accel_status_t status;

    if (!shapes)
        return accel__ops_give_up(comm, accel__fail_memory("the ranks' shapes", sizeof(mine)));
    for (int32_t d = 0; d < call->tensor->ndim; d++)
        mine[d] = call->tensor->shape[d];
    status = accel__comm_meet(comm, call->operation, 0, mine, sizeof(mine), shapes);
    if (status == ACCEL_OK) {
        describe_all(&text, notes, shapes, accel_comm_size(comm));
        status = accel__fail(ACCEL_ERR_MISMATCH, "%s: %s", call->operation,
                             text.failed ? "the ranks' tensors differ" : text.data);
    }
    accel__text_free(&text);
    free(shapes);
    return status;
}

static accel_status_t compare(accel_comm_t *comm, const accel__ops_call_t *call,
                              const accel__note_t *notes)
{
    int32_t size = accel_comm_size(comm);

    for (int32_t r = 0; r < size; r++)
        if (notes[r].status != ACCEL_OK)
            return accel__comm_agree(comm, call->operation, call->status);
    for (int32_t r = 1; r < size; r++) {
        if (!is_alike(&notes[r], &notes[0]))
            return fail_shapes(comm, call, notes);
        if (call->setting_name && notes[r].setting != notes[0].setting)
            return accel__fail(ACCEL_ERR_MISMATCH, "%s: rank 0 has %s %lld, rank %d has %lld",
                               call->operation, call->setting_name, (long long)notes[0].setting,
                               (int)r, (long long)notes[r].setting);
    }
    return ACCEL_OK;
}

accel_status_t accel__ops_meet(accel_comm_t *comm, const accel__ops_call_t *call,
                               accel__note_t **notes)
{
    accel__note_t mine = make_note(call);
    accel__note_t *all = calloc((size_t)accel_comm_size(comm), sizeof(*all));
    accel_status_t status;

    *notes = NULL;
    if (!all)
        return accel__ops_give_up(comm, accel__fail_memory("the ranks' notes", sizeof(*all)));
    status = accel__comm_meet(comm, call->operation, 0, &mine, sizeof(mine), all);
    if (status == ACCEL_OK)
        status = compare(comm, call, all);
    if (status != ACCEL_OK) {
        free(all);
        return status;
    }
    *notes = all;
    return ACCEL_OK;
}

accel_status_t accel__ops_give_up(accel_comm_t *comm, accel_status_t status)
{
    char text[256];

    if (status != ACCEL_ERR_NO_MEMORY)
        return status;
    snprintf(text, sizeof(text), "%s", accel_last_error());
    return accel_comm_abort(comm, status, text);
}
