/* SPDX-License-Identifier: Apache-2.0 */
/* Several datasets, one after the other. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

/* So many places need no allocation. */
#define FEW_FIELDS 32

typedef struct part {
    const accel_dataset_t *dataset;
    int64_t end; /* number of the first sample behind it */
} part_t;

typedef struct parts {
    int64_t length;
    int32_t count;
    part_t parts[];
} parts_t;

/* Which part holds the sample, and at which of the part's own numbers. */
static const part_t *find(const parts_t *parts, int64_t index, int64_t *own)
{
    int32_t low = 0, high = parts->count - 1;

    while (low < high) {
        int32_t middle = low + (high - low) / 2;

        if (index < parts->parts[middle].end)
            high = middle;
        else
            low = middle + 1;
    }
    *own = index - (low > 0 ? parts->parts[low - 1].end : 0);
    return &parts->parts[low];
}

static accel_status_t run_of_part(const part_t *part, int64_t own, int64_t count,
                                  void *const *places)
{
    if (part->dataset->run)
        return part->dataset->run(part->dataset->context, own, count, places);
    return part->dataset->get(part->dataset->context, own, places);
}

/* Where row `row` of a run begins, in room for a number of fields that is not known here. */
static void move(const accel_dataset_t *dataset, void *const *places, int64_t row, void **moved)
{
    for (int32_t f = 0; f < dataset->num_fields; f++)
        moved[f] = (char *)places[f] + (size_t)row * dataset->fields[f].size;
}

static accel_status_t run(void *context, int64_t index, int64_t count, void *const *places)
{
    const parts_t *parts = context;
    const accel_dataset_t *first = parts->parts[0].dataset;
    void *few[FEW_FIELDS], **moved = few;
    accel_status_t status = ACCEL_OK;
    int64_t length;

    if (first->num_fields > FEW_FIELDS)
        moved = malloc((size_t)first->num_fields * sizeof(*moved));
    if (!moved)
        return accel__fail_memory("a sample's places", (size_t)first->num_fields * sizeof(*moved));
    for (int64_t row = 0; row < count && status == ACCEL_OK; row += length) {
        int64_t own;
        const part_t *part = find(parts, index + row, &own);

        length = part->end - (index + row);
        if (!part->dataset->run)
            length = 1;
        else if (length > count - row)
            length = count - row;
        move(first, places, row, moved);
        status = run_of_part(part, own, length, moved);
    }
    if (moved != few)
        free(moved);
    return status;
}

static accel_status_t get_varying(void *context, int64_t index, accel_sample_t *sample)
{
    int64_t own;
    const part_t *part = find(context, index, &own);

    return part->dataset->get_varying(part->dataset->context, own, sample);
}

static bool fields_equal(const accel_dataset_t *a, const accel_dataset_t *b)
{
    if (a->num_fields != b->num_fields)
        return false;
    for (int32_t f = 0; f < a->num_fields; f++)
        if (a->fields[f].dtype != b->fields[f].dtype || a->fields[f].ndim != b->fields[f].ndim ||
            memcmp(a->fields[f].shape, b->fields[f].shape,
                   (size_t)a->fields[f].ndim * sizeof(*a->fields[f].shape)) != 0)
            return false;
    return true;
}

static accel_status_t check(const char *what, accel_dataset_t *const *datasets, int32_t num)
{
    int64_t length = 0;

    if (!datasets || num < 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %d datasets%s; expected 1 or more", what,
                           (int)num, datasets ? "" : " at NULL");
    for (int32_t d = 0; d < num; d++) {
        if (!datasets[d] || datasets[d]->begin)
            return accel__fail(ACCEL_ERR_INVALID, "%s: dataset %d is %s", what, (int)d,
                               datasets[d] ? "a stream; expected map-style data" : "NULL");
        if (!fields_equal(datasets[0], datasets[d]))
            return accel__fail(ACCEL_ERR_INVALID, "%s: dataset %d has other fields than dataset 0",
                               what, (int)d);
        if (!datasets[0]->get_varying != !datasets[d]->get_varying)
            return accel__fail(
                ACCEL_ERR_UNSUPPORTED,
                "%s: `get_varying` gives the samples of dataset %d, and not those of "
                "dataset 0; expected all or none",
                what, (int)(datasets[d]->get_varying ? d : 0));
        if (__builtin_add_overflow(length, datasets[d]->length, &length))
            return accel__fail(ACCEL_ERR_INVALID, "%s: too many samples", what);
    }
    return ACCEL_OK;
}

/* The first one's, as its maker would give them. */
static accel_status_t init_like(const char *what, const accel_dataset_t *first,
                                accel_dataset_t **dataset)
{
    accel_field_t *fields = calloc((size_t)first->num_fields, sizeof(*fields));
    accel_status_t status;

    if (!fields)
        return accel__fail_memory("fields", (size_t)first->num_fields * sizeof(*fields));
    for (int32_t f = 0; f < first->num_fields; f++) {
        fields[f] = (accel_field_t){.name = first->fields[f].name,
                                    .dtype = first->fields[f].dtype,
                                    .ndim = first->fields[f].ndim};
        memcpy(fields[f].shape, first->fields[f].shape, sizeof(fields[f].shape));
    }
    status = accel__dataset_init(what, fields, first->num_fields, dataset);
    free(fields);
    return status;
}

static parts_t *make_parts(accel_dataset_t *const *datasets, int32_t num)
{
    parts_t *parts = malloc(sizeof(*parts) + (size_t)num * sizeof(parts->parts[0]));
    int64_t end = 0;

    if (!parts)
        return NULL;
    parts->count = num;
    for (int32_t d = 0; d < num; d++) {
        end += datasets[d]->length;
        parts->parts[d] = (part_t){.dataset = datasets[d], .end = end};
    }
    parts->length = end;
    return parts;
}

accel_status_t accel_concat_dataset_create(accel_dataset_t *const *datasets, int32_t num_datasets,
                                           accel_dataset_t **dataset)
{
    static const char what[] = "accel_concat_dataset_create";
    accel_status_t status;
    parts_t *parts;

    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    status = check(what, datasets, num_datasets);
    if (status == ACCEL_OK)
        status = init_like(what, datasets[0], dataset);
    if (status != ACCEL_OK)
        return status;
    parts = make_parts(datasets, num_datasets);
    if (!parts) {
        accel_dataset_destroy(*dataset);
        *dataset = NULL;
        return accel__fail_memory("a list of datasets", (size_t)num_datasets * sizeof(part_t));
    }
    (*dataset)->what = "the list of datasets";
    (*dataset)->context = parts;
    (*dataset)->destroy = free;
    (*dataset)->length = parts->length;
    (*dataset)->in_memory = true;
    for (int32_t d = 0; d < num_datasets; d++)
        (*dataset)->in_memory &= datasets[d]->in_memory;
    (*dataset)->run = datasets[0]->get_varying ? NULL : run;
    (*dataset)->get_varying = datasets[0]->get_varying ? get_varying : NULL;
    return ACCEL_OK;
}
