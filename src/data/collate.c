/* SPDX-License-Identifier: Apache-2.0 */
#include "data/collate.h"

#include <stdlib.h>
#include <string.h>

struct accel_collated {
    accel__collated_t *batch;
    const accel__collate_t *how;
    accel_status_t status; /* of the last field asked for */
    uint64_t given;        /* fields, as bits; those beyond 63 share one */
};

static uint64_t field_bit(int32_t field)
{
    return UINT64_C(1) << (field < 63 ? field : 63);
}

accel_status_t accel__collated_init(accel__collated_t *collated, const accel__collate_t *how)
{
    size_t count = (size_t)how->num_fields;

    *collated = (accel__collated_t){.num_fields = how->num_fields,
                                    .fields = calloc(count, sizeof(*collated->fields)),
                                    .shapes = calloc(count * ACCEL_MAX_NDIM, sizeof(int64_t)),
                                    .capacities = calloc(count, sizeof(size_t))};
    if (!collated->fields || !collated->shapes || !collated->capacities) {
        accel__collated_fini(collated);
        return accel__fail_memory("a batch's fields", count * sizeof(*collated->fields));
    }
    for (int32_t f = 0; f < how->num_fields; f++)
        accel_tensor_view(&collated->fields[f], NULL, how->fields[f].dtype, how->fields[f].ndim + 1,
                          collated->shapes + (size_t)f * ACCEL_MAX_NDIM);
    return ACCEL_OK;
}

void accel__collated_fini(accel__collated_t *collated)
{
    for (int32_t f = 0; collated->fields && f < collated->num_fields; f++)
        free(collated->fields[f].data);
    free(collated->fields);
    free(collated->shapes);
    free(collated->capacities);
    *collated = (accel__collated_t){0};
}

/* Half as much again, so that batches a little longer than the last do not all allocate. */
static accel_status_t reserve(accel__collated_t *collated, int32_t field, size_t size)
{
    size_t capacity = collated->capacities[field] + collated->capacities[field] / 2;

    if (size <= collated->capacities[field] && collated->fields[field].data)
        return ACCEL_OK;
    if (capacity < size)
        capacity = size;
    if (capacity < ACCEL__LINE)
        capacity = ACCEL__LINE;
    if (!accel__line_size(&capacity))
        return accel__fail(ACCEL_ERR_INVALID, "a batch of %zu bytes is too large", size);
    free(collated->fields[field].data);
    collated->capacities[field] = 0;
    collated->fields[field].data = aligned_alloc(ACCEL__LINE, capacity);
    if (!collated->fields[field].data)
        return accel__fail_memory("a batch's field", capacity);
    collated->capacities[field] = capacity;
    return ACCEL_OK;
}

accel_status_t accel__collated_field(accel__collated_t *collated, const accel__collate_t *how,
                                     int32_t field, const int64_t *shape, void **data)
{
    static const char what[] = "accel_collate_field";
    accel_status_t status;
    size_t size;

    if (field < 0 || field >= how->num_fields)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field %d; expected 0 to %d", what, (int)field,
                           (int)how->num_fields - 1);
    if (!shape || shape[0] < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the shape of field '%s' %s", what,
                           how->fields[field].name, shape ? "has negative rows" : "is NULL");
    status = accel__field_measure(&how->fields[field], shape + 1, what, &size);
    if (status != ACCEL_OK)
        return status;
    if (!accel__mul_size(size, (size_t)shape[0], &size) || size > PTRDIFF_MAX / 2)
        return accel__fail(ACCEL_ERR_INVALID, "%s: field '%s' is too large", what,
                           how->fields[field].name);
    status = reserve(collated, field, size);
    if (status != ACCEL_OK)
        return status;
    memcpy(collated->fields[field].shape, shape,
           (size_t)collated->fields[field].ndim * sizeof(*shape));
    *data = collated->fields[field].data;
    return ACCEL_OK;
}

void *accel_collate_field(accel_collated_t *batch, int32_t field, const int64_t *shape)
{
    void *data = NULL;

    batch->status = accel__collated_field(batch->batch, batch->how, field, shape, &data);
    if (data)
        batch->given |= field_bit(field);
    return data;
}

static accel_status_t check_given(const accel_collated_t *batch, accel_status_t status)
{
    if (status != ACCEL_OK)
        return batch->status != ACCEL_OK ? batch->status : status;
    for (int32_t f = 0; f < batch->how->num_fields; f++)
        if (!(batch->given & field_bit(f)))
            return accel__fail(ACCEL_ERR_INVALID, "field '%s' was not given",
                               batch->how->fields[f].name);
    return ACCEL_OK;
}

accel_status_t accel__collate(const accel__collate_t *how, const accel__samples_t *samples,
                              const int64_t *indices, int64_t count, accel__collated_t *collated)
{
    const accel_samples_t given = {.count = count,
                                   .indices = indices,
                                   .num_fields = samples->dataset->num_fields,
                                   .fields = samples->views};
    accel_collated_t batch = {.batch = collated, .how = how};
    uint64_t failures = accel__failures();
    accel_status_t status = how->fn(how->context, &given, &batch);

    if (status > ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID,
                           "the collate callback returned %d at the batch that begins with sample "
                           "%lld; expected ACCEL_OK or an error",
                           (int)status, (long long)indices[0]);
    status = check_given(&batch, status);
    if (status == ACCEL_OK)
        return ACCEL_OK;
    return accel__fail(
        status, "the collate callback failed at the batch that begins with sample %lld: %s",
        (long long)indices[0],
        accel__failures() != failures ? accel_last_error() : accel_status_name(status));
}

accel_status_t accel__collate_nothing(const accel__collate_t *how, accel__collated_t *collated)
{
    accel_status_t status = ACCEL_OK;

    for (int32_t f = 0; f < how->num_fields && status == ACCEL_OK; f++) {
        int64_t shape[ACCEL_MAX_NDIM] = {0};
        void *data;

        for (int32_t d = 0; d < how->fields[f].ndim; d++)
            if (how->fields[f].shape[d] != ACCEL_VARIES)
                shape[d + 1] = how->fields[f].shape[d];
        status = accel__collated_field(collated, how, f, shape, &data);
    }
    return status;
}

/* ---- padding ---- */

/* The largest extents of field f. */
static void largest(const accel_samples_t *samples, int32_t f, int64_t *shape)
{
    const accel_tensor_t *first = &samples->fields[f];

    shape[0] = samples->count;
    memcpy(shape + 1, first->shape, (size_t)first->ndim * sizeof(*shape));
    for (int64_t s = 1; s < samples->count; s++) {
        const accel_tensor_t *sample = &samples->fields[s * samples->num_fields + f];

        for (int32_t d = 0; d < sample->ndim; d++)
            if (sample->shape[d] > shape[d + 1])
                shape[d + 1] = sample->shape[d];
    }
}

/* A sample into a block of `shape`, whose last extents are contiguous in both. */
static void place(char *to, const int64_t *shape, const char *from, const int64_t *extents,
                  int32_t ndim, size_t element)
{
    size_t to_step = element, from_step = element;

    if (ndim <= 1) {
        memcpy(to, from, (ndim ? (size_t)extents[0] : 1) * element);
        return;
    }
    for (int32_t d = 1; d < ndim; d++) {
        to_step *= (size_t)shape[d];
        from_step *= (size_t)extents[d];
    }
    for (int64_t i = 0; i < extents[0]; i++)
        place(to + (size_t)i * to_step, shape + 1, from + (size_t)i * from_step, extents + 1,
              ndim - 1, element);
}

/* Samples without elements have nothing to copy, and those that are full nothing to fill. */
static accel_status_t pad_field(const accel_samples_t *samples, int32_t f, double value,
                                accel_collated_t *batch)
{
    const accel_tensor_t *first = &samples->fields[f];
    int64_t shape[ACCEL_MAX_NDIM], numel = 1;
    accel__element_t element;
    accel_status_t status = accel__element_make(first->dtype, value, "the padding", &element);
    char *data;

    if (status != ACCEL_OK)
        return status;
    largest(samples, f, shape);
    data = accel_collate_field(batch, f, shape);
    if (!data)
        return batch->status;
    for (int32_t d = 0; d < first->ndim; d++)
        numel *= shape[d + 1];
    for (int64_t s = 0; s < samples->count; s++, data += (size_t)numel * element.size) {
        const accel_tensor_t *sample = &samples->fields[s * samples->num_fields + f];
        int64_t own = accel_tensor_numel(sample);

        if (own < numel)
            accel__element_fill(&element, data, (size_t)numel);
        if (own > 0)
            place(data, shape + 1, sample->data, sample->shape, sample->ndim, element.size);
    }
    return ACCEL_OK;
}

accel_status_t accel_collate_pad(void *context, const accel_samples_t *samples,
                                 accel_collated_t *batch)
{
    const double *values = context;

    if (batch->how->num_fields != samples->num_fields)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_collate_pad makes the dataset's own %d fields, not %d",
                           (int)samples->num_fields, (int)batch->how->num_fields);
    for (int32_t f = 0; f < samples->num_fields; f++) {
        const accel__field_t *field = &batch->how->fields[f];
        accel_status_t status;

        if (field->dtype != samples->fields[f].dtype || field->ndim != samples->fields[f].ndim)
            return accel__fail(ACCEL_ERR_INVALID,
                               "accel_collate_pad: field '%s' of the batches is not the dataset's",
                               field->name);
        status = pad_field(samples, f, values ? values[f] : 0, batch);
        if (status != ACCEL_OK)
            return status;
    }
    return ACCEL_OK;
}
