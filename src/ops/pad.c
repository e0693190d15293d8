/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

/* Seen along `dim`, the tensor is a row of blocks; each is copied and filled up. */
static void copy_padded(const accel_tensor_t *tensor, int32_t dim, const accel__element_t *element,
                        bool pad_first, accel_tensor_t *padded)
{
    /* A tensor without elements may have no address. */
    const char *from = tensor->data ? accel__tensor_data(tensor) : padded->data;
    size_t blocks = 1, inner = 1, length, missing;
    char *to = padded->data;

    if (accel_tensor_numel(padded) == 0)
        return;
    for (int32_t d = 0; d < dim; d++)
        blocks *= (size_t)tensor->shape[d];
    for (int32_t d = dim + 1; d < tensor->ndim; d++)
        inner *= (size_t)tensor->shape[d];
    length = (size_t)tensor->shape[dim] * inner * element->size;
    missing = (size_t)(padded->shape[dim] - tensor->shape[dim]) * inner;
    for (size_t b = 0; b < blocks; b++) {
        if (pad_first)
            to = accel__element_fill(element, to, missing);
        memcpy(to, from, length);
        to += length;
        from += length;
        if (!pad_first)
            to = accel__element_fill(element, to, missing);
    }
}

static accel_status_t copy_unchanged(const accel_tensor_t *tensor, accel_tensor_t **copy)
{
    size_t size = (size_t)accel_tensor_numel(tensor) * accel_dtype_size(tensor->dtype);
    accel_status_t status = accel__tensor_create(tensor->dtype, tensor->ndim, tensor->shape, copy);

    if (status == ACCEL_OK && size > 0)
        memcpy((*copy)->data, accel__tensor_data(tensor), size);
    return status;
}

static accel_status_t check(const accel_tensor_t *tensor, double pad_index,
                            accel__element_t *element, accel_tensor_t **padded)
{
    static const char what[] = "accel_pad_across_processes";
    accel_status_t status = accel__tensor_check(tensor, what);

    if (!padded)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *padded = NULL;
    return status == ACCEL_OK
               ? accel__element_make(tensor->dtype, pad_index,
                                     "accel_pad_across_processes: pad_index", element)
               : status;
}

accel_status_t accel__ops_pad_across_processes(accel_comm_t *comm, const accel_tensor_t *tensor,
                                               int32_t dim, double pad_index, bool pad_first,
                                               accel_tensor_t **padded)
{
    accel__ops_call_t call = {.operation = "accel_pad_across_processes",
                              .tensor = tensor,
                              .free_dims = ACCEL_MAX_NDIM,
                              .setting_name = "dim",
                              .setting = dim};
    int64_t shape[ACCEL_MAX_NDIM];
    accel__element_t element = {.size = 0};
    accel__note_t *notes;
    accel_status_t status;

    call.status = check(tensor, pad_index, &element, padded);
    if (call.status == ACCEL_OK && dim < 0)
        call.setting = dim += tensor->ndim;
    if (call.status == ACCEL_OK && dim >= 0 && dim < tensor->ndim)
        call.extent = tensor->shape[dim];
    status = accel__ops_meet(comm, &call, &notes);
    if (status != ACCEL_OK)
        return status;
    if (dim < 0 || dim >= tensor->ndim) {
        free(notes);
        return copy_unchanged(tensor, padded);
    }
    memcpy(shape, tensor->shape, (size_t)tensor->ndim * sizeof(*shape));
    for (int32_t r = 0; r < accel_comm_size(comm); r++)
        shape[dim] = notes[r].extent > shape[dim] ? notes[r].extent : shape[dim];
    free(notes);
    status = accel__tensor_create(tensor->dtype, tensor->ndim, shape, padded);
    if (status == ACCEL_OK)
        copy_padded(tensor, dim, &element, pad_first, *padded);
    return status;
}
