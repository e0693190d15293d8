/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

/* A 0-d tensor is a row of its own, also where there is one process alone. */
typedef struct row_view {
    accel_tensor_t tensor;
    int64_t shape[ACCEL_MAX_NDIM];
    size_t row_size; /* bytes */
} row_view_t;

static accel_status_t view_rows(const accel_tensor_t *tensor, const char *operation,
                                row_view_t *view)
{
    accel_status_t status = accel__tensor_check(tensor, operation);
    int32_t ndim;

    if (status != ACCEL_OK)
        return status;
    ndim = tensor->ndim > 0 ? tensor->ndim : 1;
    view->shape[0] = 1;
    view->row_size = accel_dtype_size(tensor->dtype);
    for (int32_t d = 0; d < tensor->ndim; d++)
        view->shape[d] = tensor->shape[d];
    for (int32_t d = 1; d < ndim; d++)
        view->row_size *= (size_t)view->shape[d];
    accel_tensor_view(&view->tensor, tensor->data ? accel__tensor_data(tensor) : NULL,
                      tensor->dtype, ndim, view->shape);
    return ACCEL_OK;
}

/* The ranks' rows lie `stride` rows apart: close the gaps. */
static void close_gaps(char *data, const accel__note_t *notes, int32_t size, size_t stride,
                       size_t row_size)
{
    char *end = data;

    for (int32_t r = 0; r < size; r++) {
        size_t part = (size_t)notes[r].extent * row_size;

        memmove(end, data + (size_t)r * stride * row_size, part);
        end += part;
    }
}

/* All-gather wants equal counts, so every rank sends as many rows as the longest has, from
 * its place in the result. */
static accel_status_t exchange(accel_comm_t *comm, const row_view_t *view,
                               const accel__note_t *notes, accel_tensor_t **gathered)
{
    int32_t size = accel_comm_size(comm);
    size_t rank = (size_t)accel_comm_rank(comm), used = (size_t)view->shape[0] * view->row_size;
    int64_t shape[ACCEL_MAX_NDIM], longest = 0, total = 0;
    accel_status_t status;
    char *own;

    for (int32_t r = 0; r < size; r++) {
        longest = notes[r].extent > longest ? notes[r].extent : longest;
        if (__builtin_add_overflow(total, notes[r].extent, &total))
            return accel__fail(ACCEL_ERR_INVALID, "accel_gather: too many rows");
    }
    memcpy(shape, view->shape, sizeof(shape));
    if (__builtin_mul_overflow(longest, (int64_t)size, &shape[0]))
        return accel__fail(ACCEL_ERR_INVALID, "accel_gather: too many rows");
    status = accel__tensor_create(view->tensor.dtype, view->tensor.ndim, shape, gathered);
    if (status != ACCEL_OK)
        return accel__ops_give_up(comm, status);
    accel__assume(*gathered);
    own = (char *)(*gathered)->data + rank * (size_t)longest * view->row_size;
    if (used > 0)
        memcpy(own, view->tensor.data, used);
    memset(own + used, 0, (size_t)longest * view->row_size - used);
    if (longest > 0 && view->row_size > 0)
        status = accel_comm_allgather(comm, own, (*gathered)->data,
                                      (size_t)longest * view->row_size, ACCEL_U8);
    if (total < shape[0])
        close_gaps((*gathered)->data, notes, size, (size_t)longest, view->row_size);
    (*gathered)->shape[0] = total;
    return status;
}

accel_status_t accel__ops_gather_rows(accel_comm_t *comm, const char *operation,
                                      const accel_tensor_t *tensor, int64_t keep_rows,
                                      int64_t *rows, accel_tensor_t **gathered)
{
    row_view_t view = {.row_size = 0};
    accel__ops_call_t call = {.operation = operation,
                              .tensor = &view.tensor,
                              .free_dims = 1,
                              .setting_name = "rows to keep",
                              .setting = keep_rows < 0 ? -1 : keep_rows};
    accel__note_t *notes;
    accel_status_t status;

    if (gathered)
        *gathered = NULL;
    call.status =
        gathered ? view_rows(tensor, operation, &view)
                 : accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", operation);
    call.extent = view.shape[0];
    status = accel__ops_meet(comm, &call, &notes);
    if (status != ACCEL_OK)
        return status;
    accel__assume(gathered);
    status = exchange(comm, &view, notes, gathered);
    if (status != ACCEL_OK) {
        accel_tensor_destroy(*gathered);
        *gathered = NULL;
    } else if (keep_rows >= 0 && keep_rows < (*gathered)->shape[0]) {
        (*gathered)->shape[0] = keep_rows;
    }
    for (int32_t r = 0; rows && r < accel_comm_size(comm); r++)
        rows[r] = notes[r].extent;
    free(notes);
    return status;
}

accel_status_t accel__ops_gather(accel_comm_t *comm, const accel_tensor_t *tensor,
                                 int64_t keep_rows, accel_tensor_t **gathered)
{
    return accel__ops_gather_rows(comm, "accel_gather", tensor, keep_rows, NULL, gathered);
}
