/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(offsetof(accel_tensor_t, device) == 8 && offsetof(accel_tensor_t, ndim) == 16 &&
                   offsetof(accel_tensor_t, dtype) == 20 && offsetof(accel_tensor_t, shape) == 24 &&
                   offsetof(accel_tensor_t, strides) == 32 &&
                   offsetof(accel_tensor_t, byte_offset) == 40 && sizeof(accel_tensor_t) == 48,
               "accel_tensor_t has the layout of DLTensor");

size_t accel_dtype_size(accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_F64:
    case ACCEL_I64:
        return 8;
    case ACCEL_F32:
    case ACCEL_I32:
        return 4;
    case ACCEL_F16:
    case ACCEL_BF16:
        return 2;
    case ACCEL_U8:
        return 1;
    }
    return 0;
}

const char *accel_dtype_name(accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_F64:
        return "float64";
    case ACCEL_F32:
        return "float32";
    case ACCEL_F16:
        return "float16";
    case ACCEL_BF16:
        return "bfloat16";
    case ACCEL_I64:
        return "int64";
    case ACCEL_I32:
        return "int32";
    case ACCEL_U8:
        return "uint8";
    }
    return "invalid";
}

int64_t accel_tensor_numel(const accel_tensor_t *tensor)
{
    int64_t numel = 1;

    if (!tensor || tensor->ndim < 0 || tensor->ndim > ACCEL_MAX_NDIM ||
        (tensor->ndim > 0 && !tensor->shape))
        return -1;
    for (int32_t d = 0; d < tensor->ndim; d++)
        if (tensor->shape[d] < 0 || __builtin_mul_overflow(numel, tensor->shape[d], &numel))
            return -1;
    return numel;
}

accel_tensor_t *accel_tensor_view(accel_tensor_t *view, const void *data, accel_dtype_t dtype,
                                  int32_t ndim, const int64_t *shape)
{
    /* DLTensor has no const; the library writes only where a call says so. */
    *view = (accel_tensor_t){.data = (void *)(uintptr_t)data,
                             .device = {ACCEL_CPU, 0},
                             .ndim = ndim,
                             .dtype = dtype,
                             .shape = (int64_t *)(uintptr_t)shape};
    return view;
}

/* One block: the tensor, its shape, its data. */
accel_status_t accel__tensor_create(accel_dtype_t dtype, int32_t ndim, const int64_t *shape,
                                    accel_tensor_t **tensor)
{
    accel_tensor_t view;
    int64_t numel;
    size_t size, head = sizeof(view) + ACCEL_MAX_NDIM * sizeof(int64_t);
    char *block;

    *tensor = NULL;
    accel_tensor_view(&view, NULL, dtype, ndim, shape);
    numel = accel_tensor_numel(&view);
    if (numel < 0 || !accel__mul_size((size_t)numel, accel_dtype_size(dtype), &size) ||
        size > SIZE_MAX / 2)
        return accel__fail(ACCEL_ERR_INVALID, "a tensor of this shape is too large");
    block = malloc(head + size);
    if (!block)
        return accel__fail_memory("a tensor", head + size);
    view.data = block + head;
    view.shape = (int64_t *)(void *)(block + sizeof(view));
    if (ndim > 0)
        memcpy(view.shape, shape, (size_t)ndim * sizeof(*shape));
    memcpy(block, &view, sizeof(view));
    *tensor = (accel_tensor_t *)(void *)block;
    return ACCEL_OK;
}

void accel_tensor_destroy(accel_tensor_t *tensor)
{
    free(tensor);
}

static bool is_compact(const accel_tensor_t *tensor)
{
    int64_t expected = 1;

    if (!tensor->strides)
        return true;
    for (int32_t d = tensor->ndim - 1; d >= 0; d--) {
        if (tensor->shape[d] != 1 && tensor->strides[d] != expected)
            return false;
        expected *= tensor->shape[d];
    }
    return true;
}

accel_status_t accel__tensor_check(const accel_tensor_t *tensor, const char *what)
{
    int64_t numel;

    if (!tensor)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the tensor is NULL", what);
    if (accel_dtype_size(tensor->dtype) == 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: dtype 0x%x is not known", what,
                           (unsigned)tensor->dtype);
    numel = accel_tensor_numel(tensor);
    if (numel < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the tensor's shape is not valid (ndim %d)", what,
                           (int)tensor->ndim);
    if (tensor->device.type != ACCEL_CPU)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "%s: the tensor is on device type %d, not the CPU", what,
                           (int)tensor->device.type);
    if (numel > 0 && !tensor->data)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the tensor's data is NULL", what);
    if (!is_compact(tensor))
        return accel__fail(ACCEL_ERR_UNSUPPORTED, "%s: the tensor is not compact and row-major",
                           what);
    return ACCEL_OK;
}

void *accel__tensor_data(const accel_tensor_t *tensor)
{
    return (char *)tensor->data + tensor->byte_offset;
}
