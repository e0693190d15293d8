/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

/* Where row 0 of each tensor lies, and how long a row is. */
typedef struct rows {
    int32_t count;
    struct {
        const char *data;
        size_t size;
    } tensors[];
} rows_t;

static accel_status_t run(void *context, int64_t index, int64_t count, void *const *places)
{
    const rows_t *rows = context;

    for (int32_t t = 0; t < rows->count; t++)
        memcpy(places[t], rows->tensors[t].data + (size_t)index * rows->tensors[t].size,
               (size_t)count * rows->tensors[t].size);
    return ACCEL_OK;
}

/* What a row of tensor number `index` looks like. */
static accel_status_t row_field(const accel_tensor_t *tensor, int index, int64_t length,
                                accel_field_t *field)
{
    char what[64];
    accel_status_t status;

    snprintf(what, sizeof(what), "accel_tensor_dataset_create: tensor %d", index);
    status = accel__tensor_check(tensor, what);
    if (status != ACCEL_OK)
        return status;
    accel__assume(tensor && tensor->shape);
    if (tensor->ndim < 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s has no dimension to take samples from", what);
    if (tensor->shape[0] != length)
        return accel__fail(ACCEL_ERR_INVALID, "%s has %lld rows, tensor 0 has %lld", what,
                           (long long)tensor->shape[0], (long long)length);
    *field = (accel_field_t){.dtype = tensor->dtype, .ndim = tensor->ndim - 1};
    memcpy(field->shape, tensor->shape + 1, (size_t)field->ndim * sizeof(*field->shape));
    return ACCEL_OK;
}

static accel_status_t make(const accel_tensor_t *const *tensors, int32_t num_tensors,
                           accel_field_t *fields, accel_dataset_t **dataset)
{
    int64_t length =
        tensors[0] && tensors[0]->ndim > 0 && tensors[0]->shape ? tensors[0]->shape[0] : 0;
    size_t size = sizeof(rows_t) + (size_t)num_tensors * sizeof(((rows_t *)NULL)->tensors[0]);
    accel_status_t status;
    rows_t *rows;

    for (int32_t t = 0; t < num_tensors; t++) {
        status = row_field(tensors[t], t, length, &fields[t]);
        if (status != ACCEL_OK)
            return status;
    }
    status = accel__dataset_init("accel_tensor_dataset_create", fields, num_tensors, dataset);
    if (status != ACCEL_OK)
        return status;
    rows = malloc(size);
    if (!rows) {
        accel_dataset_destroy(*dataset);
        *dataset = NULL;
        return accel__fail_memory("a tensor dataset", size);
    }
    rows->count = num_tensors;
    for (int32_t t = 0; t < num_tensors; t++) {
        rows->tensors[t].data = accel__tensor_data(tensors[t]);
        rows->tensors[t].size = (*dataset)->fields[t].size;
    }
    (*dataset)->length = length;
    (*dataset)->run = run;
    (*dataset)->context = rows;
    (*dataset)->destroy = free;
    (*dataset)->in_memory = true;
    return ACCEL_OK;
}

accel_status_t accel_tensor_dataset_create(const accel_tensor_t *const *tensors,
                                           int32_t num_tensors, accel_dataset_t **dataset)
{
    static const char what[] = "accel_tensor_dataset_create";
    accel_field_t *fields;
    accel_status_t status;

    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    if (!tensors || num_tensors < 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %d tensors%s; expected 1 or more", what,
                           (int)num_tensors, tensors ? "" : " at NULL");
    fields = calloc((size_t)num_tensors, sizeof(*fields));
    if (!fields)
        return accel__fail_memory("a dataset's fields", (size_t)num_tensors * sizeof(*fields));
    status = make(tensors, num_tensors, fields, dataset);
    free(fields);
    return status;
}
