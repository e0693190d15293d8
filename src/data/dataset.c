/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"

#include <stdlib.h>

static accel_status_t set_field(accel__field_t *field, const accel_field_t *from, const char *what,
                                int index)
{
    size_t size = accel_dtype_size(from->dtype);

    if (size == 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field %d has dtype 0x%x, which is not known",
                           what, index, (unsigned)from->dtype);
    if (from->ndim < 0 || from->ndim > ACCEL_MAX_NDIM - 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field %d has ndim %d; expected 0 to %d", what,
                           index, (int)from->ndim, ACCEL_MAX_NDIM - 1);
    for (int32_t d = 0; d < from->ndim; d++) {
        if (from->shape[d] < 1)
            return accel__fail(ACCEL_ERR_INVALID,
                               "%s: field %d has extent %lld in dimension %d; expected 1 or more",
                               what, index, (long long)from->shape[d], (int)d);
        if (!accel__mul_size(size, (size_t)from->shape[d], &size) || size > PTRDIFF_MAX)
            return accel__fail(ACCEL_ERR_INVALID, "%s: field %d is too large", what, index);
        field->shape[d] = from->shape[d];
    }
    field->name = accel__strdup(from->name ? from->name : "");
    if (!field->name)
        return accel__fail_memory("a field's name", 1);
    field->dtype = from->dtype;
    field->ndim = from->ndim;
    field->size = size;
    return ACCEL_OK;
}

accel_status_t accel__dataset_init(const char *what, const accel_field_t *fields,
                                   int32_t num_fields, accel_dataset_t **dataset)
{
    accel_dataset_t *made;
    accel_status_t status = ACCEL_OK;

    *dataset = NULL;
    if (num_fields < 1 || !fields)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %d fields%s; expected 1 or more", what,
                           (int)num_fields, fields ? "" : " at NULL");
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a dataset", sizeof(*made));
    made->what = what;
    made->fields = calloc((size_t)num_fields, sizeof(*made->fields));
    if (!made->fields)
        status = accel__fail_memory("a dataset's fields", (size_t)num_fields * sizeof(*fields));
    for (int32_t f = 0; f < num_fields && status == ACCEL_OK; f++) {
        made->num_fields++;
        status = set_field(&made->fields[f], &fields[f], what, f);
    }
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return ACCEL_OK;
}

accel_status_t accel_dataset_create(const accel_dataset_options_t *options,
                                    accel_dataset_t **dataset)
{
    static const char what[] = "accel_dataset_create";
    accel_dataset_options_t read = {0};
    accel_status_t status;

    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    status = accel__options_read(&read, sizeof(read), options, what);
    if (status != ACCEL_OK)
        return status;
    if (read.length < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: length is %lld; expected 0 or more", what,
                           (long long)read.length);
    if (!read.get)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the callback `get` is NULL", what);
    status = accel__dataset_init(what, read.fields, read.num_fields, dataset);
    if (status != ACCEL_OK)
        return status;
    (*dataset)->what = "the dataset's callback";
    (*dataset)->length = read.length;
    (*dataset)->get = read.get;
    (*dataset)->context = read.context;
    return ACCEL_OK;
}

/* A callback may fail with a line of its own, or with a bare status. */
static accel_status_t fail_sample(const accel_dataset_t *dataset, int64_t index,
                                  accel_status_t status, bool has_text)
{
    if (status > ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s returned %d at sample %lld; expected ACCEL_OK or an error",
                           dataset->what, (int)status, (long long)index);
    return accel__fail(status, "%s failed at sample %lld: %s", dataset->what, (long long)index,
                       has_text ? accel_last_error() : accel_status_name(status));
}

accel_status_t accel__dataset_get(const accel_dataset_t *dataset, int64_t index,
                                  void *const *fields)
{
    uint64_t failures = accel__failures();
    accel_status_t status = dataset->get(dataset->context, index, fields);

    if (status == ACCEL_OK)
        return ACCEL_OK;
    return fail_sample(dataset, index, status, accel__failures() != failures);
}

int64_t accel_dataset_length(const accel_dataset_t *dataset)
{
    return dataset ? dataset->length : 0;
}

void accel_dataset_destroy(accel_dataset_t *dataset)
{
    if (!dataset)
        return;
    if (dataset->destroy)
        dataset->destroy(dataset->context);
    for (int32_t f = 0; f < dataset->num_fields; f++)
        free(dataset->fields[f].name);
    free(dataset->fields);
    free(dataset);
}
