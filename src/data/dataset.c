/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"

#include <stdlib.h>

/* The extents, and with them the size. */
static accel_status_t set_shape(accel__field_t *field, const accel_field_t *from, const char *what,
                                int index)
{
    size_t size = accel_dtype_size(from->dtype);

    for (int32_t d = 0; d < from->ndim; d++) {
        int64_t extent = from->shape[d];

        if (extent < 1 && extent != ACCEL_VARIES)
            return accel__fail(ACCEL_ERR_INVALID,
                               "%s: field %d has extent %lld in dimension %d; expected 1 or more, "
                               "or ACCEL_VARIES",
                               what, index, (long long)extent, (int)d);
        if (extent == ACCEL_VARIES)
            field->varies = true;
        else if (!accel__mul_size(size, (size_t)extent, &size) || size > PTRDIFF_MAX)
            return accel__fail(ACCEL_ERR_INVALID, "%s: field %d is too large", what, index);
        field->shape[d] = extent;
    }
    field->size = field->varies ? 0 : size;
    return ACCEL_OK;
}

static accel_status_t set_field(accel__field_t *field, const accel_field_t *from, const char *what,
                                int index)
{
    if (accel_dtype_size(from->dtype) == 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field %d has dtype 0x%x, which is not known",
                           what, index, (unsigned)from->dtype);
    if (from->ndim < 0 || from->ndim > ACCEL_MAX_NDIM - 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field %d has ndim %d; expected 0 to %d", what,
                           index, (int)from->ndim, ACCEL_MAX_NDIM - 1);
    field->dtype = from->dtype;
    field->ndim = from->ndim;
    field->name = accel__strdup(from->name ? from->name : "");
    if (!field->name)
        return accel__fail_memory("a field's name", 1);
    return set_shape(field, from, what, index);
}

accel_status_t accel__fields_copy(const char *what, const accel_field_t *fields, int32_t num_fields,
                                  accel__field_t **copy)
{
    accel_status_t status = ACCEL_OK;

    *copy = NULL;
    if (num_fields < 1 || !fields)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %d fields%s; expected 1 or more", what,
                           (int)num_fields, fields ? "" : " at NULL");
    *copy = calloc((size_t)num_fields, sizeof(**copy));
    if (!*copy)
        return accel__fail_memory("fields", (size_t)num_fields * sizeof(**copy));
    for (int32_t f = 0; f < num_fields && status == ACCEL_OK; f++)
        status = set_field(&(*copy)[f], &fields[f], what, f);
    if (status != ACCEL_OK) {
        accel__fields_free(*copy, num_fields);
        *copy = NULL;
    }
    return status;
}

void accel__fields_free(accel__field_t *fields, int32_t num_fields)
{
    for (int32_t f = 0; fields && f < num_fields; f++)
        free(fields[f].name);
    free(fields);
}

bool accel__fields_vary(const accel__field_t *fields, int32_t num_fields)
{
    for (int32_t f = 0; f < num_fields; f++)
        if (fields[f].varies)
            return true;
    return false;
}

accel_status_t accel__field_measure(const accel__field_t *field, const int64_t *shape,
                                    const char *what, size_t *size)
{
    *size = accel_dtype_size(field->dtype);
    if (field->ndim > 0 && !shape)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the shape of field '%s' is NULL", what,
                           field->name);
    for (int32_t d = 0; d < field->ndim; d++) {
        if (shape[d] < 0)
            return accel__fail(ACCEL_ERR_INVALID, "%s: field '%s' has extent %lld in dimension %d",
                               what, field->name, (long long)shape[d], (int)d);
        if (field->shape[d] != ACCEL_VARIES && shape[d] != field->shape[d])
            return accel__fail(
                ACCEL_ERR_INVALID, "%s: field '%s' has extent %lld in dimension %d; expected %lld",
                what, field->name, (long long)shape[d], (int)d, (long long)field->shape[d]);
        if (!accel__mul_size(*size, (size_t)shape[d], size) || *size > PTRDIFF_MAX / 2)
            return accel__fail(ACCEL_ERR_INVALID, "%s: field '%s' is too large", what, field->name);
    }
    return ACCEL_OK;
}

accel_status_t accel__dataset_init(const char *what, const accel_field_t *fields,
                                   int32_t num_fields, accel_dataset_t **dataset)
{
    accel_status_t status;

    *dataset = calloc(1, sizeof(**dataset));
    if (!*dataset)
        return accel__fail_memory("a dataset", sizeof(**dataset));
    status = accel__fields_copy(what, fields, num_fields, &(*dataset)->fields);
    if (status != ACCEL_OK) {
        free(*dataset);
        *dataset = NULL;
        return status;
    }
    (*dataset)->num_fields = num_fields;
    (*dataset)->what = what;
    return ACCEL_OK;
}

/* A callback writes into room of a size that is known, or asks for it: not both. */
static accel_status_t check_callbacks(const char *what, const char *name, bool fixed, bool varying,
                                      const accel_dataset_t *dataset)
{
    if (!fixed && !varying)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the callback `%s` is NULL", what, name);
    if (fixed && varying)
        return accel__fail(ACCEL_ERR_INVALID, "%s: expected one of `%s` and `%s_varying`, not both",
                           what, name, name);
    if (fixed && accel__fields_vary(dataset->fields, dataset->num_fields))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: a field varies; expected the callback `%s_varying`", what, name);
    return ACCEL_OK;
}

/* What both kinds of callback datasets begin with. */
static accel_status_t read_options(void *read, size_t size, const void *options, const char *what,
                                   accel_dataset_t **dataset)
{
    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    return accel__options_read(read, size, options, what);
}

accel_status_t accel_dataset_create(const accel_dataset_options_t *options,
                                    accel_dataset_t **dataset)
{
    static const char what[] = "accel_dataset_create";
    accel_dataset_options_t read = {0};
    accel_dataset_t *made;
    accel_status_t status = read_options(&read, sizeof(read), options, what, dataset);

    if (status != ACCEL_OK)
        return status;
    if (read.length < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: length is %lld; expected 0 or more", what,
                           (long long)read.length);
    status = accel__dataset_init(what, read.fields, read.num_fields, &made);
    if (status != ACCEL_OK)
        return status;
    status = check_callbacks(what, "get", read.get, read.get_varying, made);
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    made->what = "the dataset's callback";
    made->length = read.length;
    made->get = read.get;
    made->get_varying = read.get_varying;
    made->context = read.context;
    *dataset = made;
    return ACCEL_OK;
}

accel_status_t accel_stream_dataset_create(const accel_stream_options_t *options,
                                           accel_dataset_t **dataset)
{
    static const char what[] = "accel_stream_dataset_create";
    accel_stream_options_t read = {0};
    accel_dataset_t *made;
    accel_status_t status = read_options(&read, sizeof(read), options, what, dataset);

    if (status != ACCEL_OK)
        return status;
    if (read.length < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: length is %lld; expected 0 or more", what,
                           (long long)read.length);
    if (!read.begin)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the callback `begin` is NULL", what);
    status = accel__dataset_init(what, read.fields, read.num_fields, &made);
    if (status != ACCEL_OK)
        return status;
    status = check_callbacks(what, "next", read.next, read.next_varying, made);
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    made->what = "the stream's callback";
    made->length = read.length > 0 ? read.length : -1;
    made->begin = read.begin;
    made->next = read.next;
    made->next_varying = read.next_varying;
    made->context = read.context;
    *dataset = made;
    return ACCEL_OK;
}

accel_status_t accel__dataset_fail(const accel_dataset_t *dataset, int64_t index,
                                   accel_status_t status, uint64_t failures)
{
    if (status > ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s returned %d at sample %lld; expected ACCEL_OK or an error",
                           dataset->what, (int)status, (long long)index);
    return accel__fail(status, "%s failed at sample %lld: %s", dataset->what, (long long)index,
                       accel__failures() != failures ? accel_last_error()
                                                     : accel_status_name(status));
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
    accel__fields_free(dataset->fields, dataset->num_fields);
    free(dataset);
}
