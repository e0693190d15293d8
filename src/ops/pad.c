/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One element, as it lies in memory. */
typedef struct element {
    unsigned char bytes[8];
    size_t size;
} element_t;

static void put(element_t *element, const void *value)
{
    memcpy(element->bytes, value, element->size);
}

static accel_status_t whole_number(double value, accel_dtype_t dtype, double min, double beyond)
{
    if (value >= min && value < beyond && trunc(value) == value)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "accel_pad_across_processes: pad_index %g is no %s",
                       value, accel_dtype_name(dtype));
}

/* `value` in the tensor's dtype; floats are rounded, integers must hold it. */
static accel_status_t make_element(accel_dtype_t dtype, double value, element_t *element)
{
    accel_status_t status = ACCEL_OK;

    element->size = accel_dtype_size(dtype);
    switch (dtype) {
    case ACCEL_F64:
        put(element, &value);
        break;
    case ACCEL_F32:
        put(element, &(float){(float)value});
        break;
    case ACCEL_F16:
        put(element, &(uint16_t){accel__f32_to_f16((float)value)});
        break;
    case ACCEL_BF16:
        put(element, &(uint16_t){accel__f32_to_bf16((float)value)});
        break;
    case ACCEL_I64:
        status = whole_number(value, dtype, -0x1p63, 0x1p63);
        if (status == ACCEL_OK)
            put(element, &(int64_t){(int64_t)value});
        break;
    case ACCEL_I32:
        status = whole_number(value, dtype, -0x1p31, 0x1p31);
        if (status == ACCEL_OK)
            put(element, &(int32_t){(int32_t)value});
        break;
    case ACCEL_U8:
        status = whole_number(value, dtype, 0, 256);
        if (status == ACCEL_OK)
            put(element, &(uint8_t){(uint8_t)value});
        break;
    }
    return status;
}

/* Write `count` elements, return the place after them. */
static char *fill(char *to, const element_t *element, size_t count)
{
    for (size_t i = 0; i < count; i++, to += element->size)
        memcpy(to, element->bytes, element->size);
    return to;
}

/* Seen along `dim`, the tensor is a row of blocks; each is copied and filled up. */
static void copy_padded(const accel_tensor_t *tensor, int32_t dim, const element_t *element,
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
            to = fill(to, element, missing);
        memcpy(to, from, length);
        to += length;
        from += length;
        if (!pad_first)
            to = fill(to, element, missing);
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

static accel_status_t check(const accel_tensor_t *tensor, double pad_index, element_t *element,
                            accel_tensor_t **padded)
{
    static const char what[] = "accel_pad_across_processes";
    accel_status_t status = accel__tensor_check(tensor, what);

    if (!padded)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *padded = NULL;
    return status == ACCEL_OK ? make_element(tensor->dtype, pad_index, element) : status;
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
    element_t element = {.size = 0};
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
