/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "data/reader.h"

#define LINE 64

/* Bytes of `rows` rows of a field, up to the next cache line; false if that overflows. */
static bool field_size(const accel__field_t *field, int64_t rows, size_t *size)
{
    if (!accel__mul_size(field->size, (size_t)rows, size) || *size > PTRDIFF_MAX - LINE)
        return false;
    *size = (*size + LINE - 1) / LINE * LINE;
    return true;
}

static accel_status_t allocate(accel__slot_t *slot, const accel_dataset_t *dataset,
                               int64_t capacity)
{
    size_t num_fields = (size_t)dataset->num_fields, total = 0, size;

    for (size_t f = 0; f < num_fields; f++)
        if (!field_size(&dataset->fields[f], capacity, &size) ||
            __builtin_add_overflow(total, size, &total) || total > PTRDIFF_MAX)
            return accel__fail(ACCEL_ERR_INVALID, "a batch of %lld rows is too large",
                               (long long)capacity);
    slot->data = aligned_alloc(LINE, total ? total : LINE);
    slot->indices = calloc(capacity ? (size_t)capacity : 1, sizeof(*slot->indices));
    slot->fields = calloc(num_fields, sizeof(*slot->fields));
    slot->shapes = calloc(num_fields * ACCEL_MAX_NDIM, sizeof(*slot->shapes));
    slot->places = calloc(num_fields, sizeof(*slot->places));
    if (!slot->data || !slot->indices || !slot->fields || !slot->shapes || !slot->places)
        return accel__fail_memory("a batch", total);
    return ACCEL_OK;
}

static void lay_out(accel__slot_t *slot, const accel_dataset_t *dataset, int64_t capacity)
{
    char *data = slot->data;
    size_t size;

    for (int32_t f = 0; f < dataset->num_fields; f++) {
        const accel__field_t *field = &dataset->fields[f];
        int64_t *shape = slot->shapes + (size_t)f * ACCEL_MAX_NDIM;

        memcpy(shape + 1, field->shape, (size_t)field->ndim * sizeof(*shape));
        accel_tensor_view(&slot->fields[f], data, field->dtype, field->ndim + 1, shape);
        field_size(field, capacity, &size);
        data += size;
    }
}

accel_status_t accel__slot_init(accel__slot_t *slot, const accel_dataset_t *dataset,
                                int64_t capacity)
{
    accel_status_t status;

    *slot = (accel__slot_t){0};
    status = allocate(slot, dataset, capacity);
    if (status != ACCEL_OK) {
        accel__slot_fini(slot);
        return status;
    }
    lay_out(slot, dataset, capacity);
    return ACCEL_OK;
}

void accel__slot_fini(accel__slot_t *slot)
{
    free(slot->data);
    free(slot->indices);
    free(slot->fields);
    free(slot->shapes);
    free(slot->places);
    *slot = (accel__slot_t){0};
}

static accel_status_t read_rows(accel__slot_t *slot, const accel_dataset_t *dataset,
                                const atomic_bool *cancelled)
{
    for (int32_t f = 0; f < dataset->num_fields; f++)
        slot->places[f] = slot->fields[f].data;
    for (int64_t row = 0; row < slot->rows; row++) {
        accel_status_t status;

        if (atomic_load_explicit(cancelled, memory_order_relaxed))
            return accel__fail(ACCEL_ERR_CANCELLED, "the epoch was given up");
        status = accel__dataset_get(dataset, slot->indices[row], slot->places);
        if (status != ACCEL_OK)
            return status;
        for (int32_t f = 0; f < dataset->num_fields; f++)
            slot->places[f] = (char *)slot->places[f] + dataset->fields[f].size;
    }
    return ACCEL_OK;
}

accel_status_t accel__slot_fill(accel__slot_t *slot, const accel__plan_t *plan, int64_t step,
                                const atomic_bool *cancelled)
{
    const accel_dataset_t *dataset = plan->dataset;
    accel_status_t status = ACCEL_OK;

    slot->rows = accel_shard_batch(&plan->shard, step, plan->rank, slot->indices);
    if (plan->order)
        for (int64_t row = 0; row < slot->rows; row++)
            slot->indices[row] = plan->order[slot->indices[row]];
    for (int32_t f = 0; f < dataset->num_fields; f++)
        slot->fields[f].shape[0] = slot->rows;
    if (slot->rows > 0 && dataset->check)
        status = dataset->check(dataset->context);
    return status == ACCEL_OK ? read_rows(slot, dataset, cancelled) : status;
}
