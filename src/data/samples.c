/* SPDX-License-Identifier: Apache-2.0 */
#include "data/samples.h"

#include <stdlib.h>
#include <string.h>

/* Consecutive samples are read at once, but not so many that giving up would take long. */
#define MAX_RUN 256

#define FIRST_BLOCK ((size_t)64 << 10)

/* ---- memory that grows ---- */

typedef struct accel__block {
    struct accel__block *next;
    size_t size, used; /* of the memory that begins on the next line */
} block_t;

bool accel__line_size(size_t *size)
{
    if (*size > PTRDIFF_MAX - ACCEL__LINE)
        return false;
    *size = (*size + ACCEL__LINE - 1) / ACCEL__LINE * ACCEL__LINE;
    return true;
}

static block_t *add_block(accel__arena_t *arena, size_t size)
{
    block_t *block = aligned_alloc(ACCEL__LINE, ACCEL__LINE + size);

    if (!block)
        return NULL;
    *block = (block_t){.next = arena->blocks, .size = size};
    arena->blocks = block;
    return block;
}

/* On a line of its own, also if it is empty. */
static void *arena_alloc(accel__arena_t *arena, size_t size)
{
    block_t *block = arena->blocks;
    char *memory;

    if (size == 0)
        size = 1;
    if (!accel__line_size(&size))
        return NULL;
    if (!block || block->size - block->used < size) {
        size_t least = arena->used > FIRST_BLOCK ? arena->used : FIRST_BLOCK;

        block = add_block(arena, size > least ? size : least);
        if (!block)
            return NULL;
    }
    memory = (char *)block + ACCEL__LINE + block->used;
    block->used += size;
    arena->used += size;
    return memory;
}

static void arena_free(accel__arena_t *arena)
{
    while (arena->blocks) {
        block_t *block = arena->blocks;

        arena->blocks = block->next;
        free(block);
    }
    arena->used = 0;
}

static void arena_clear(accel__arena_t *arena)
{
    size_t used = arena->used;

    if (arena->blocks && arena->blocks->next) {
        arena_free(arena);
        (void)add_block(arena, used); /* if not now, then when it is needed */
    }
    if (arena->blocks)
        arena->blocks->used = 0;
    arena->used = 0;
}

/* ---- samples ---- */

/* Bytes of `rows` rows of a field, up to the next line; false if that overflows. */
static bool field_size(const accel__field_t *field, int64_t rows, size_t *size)
{
    return accel__mul_size(field->size, (size_t)rows, size) && accel__line_size(size);
}

static accel_status_t allocate(accel__samples_t *samples, bool views)
{
    size_t num_fields = (size_t)samples->dataset->num_fields, total = 0, size, count;

    for (size_t f = 0; f < num_fields; f++)
        if (!field_size(&samples->dataset->fields[f], samples->capacity, &size) ||
            __builtin_add_overflow(total, size, &total) || total > PTRDIFF_MAX)
            return accel__fail(ACCEL_ERR_INVALID, "a batch of %lld rows is too large",
                               (long long)samples->capacity);
    count = num_fields;
    if (views && (!accel__mul_size(num_fields, (size_t)samples->capacity + 1, &count) ||
                  count > PTRDIFF_MAX / (ACCEL_MAX_NDIM * sizeof(int64_t))))
        return accel__fail(ACCEL_ERR_INVALID, "a batch of %lld rows is too large",
                           (long long)samples->capacity);
    accel__assume(count > 0 && num_fields > 0);
    samples->data = aligned_alloc(ACCEL__LINE, total ? total : ACCEL__LINE);
    samples->fields = calloc(count, sizeof(*samples->fields));
    samples->shapes = calloc(count * ACCEL_MAX_NDIM, sizeof(*samples->shapes));
    samples->places = calloc(num_fields, sizeof(*samples->places));
    if (!samples->data || !samples->fields || !samples->shapes || !samples->places)
        return accel__fail_memory("a batch", total);
    samples->views = views ? samples->fields + num_fields : NULL;
    return ACCEL_OK;
}

static void lay_out_views(accel__samples_t *samples, int32_t f, int64_t *shape)
{
    const accel__field_t *field = &samples->dataset->fields[f];
    int32_t num_fields = samples->dataset->num_fields;
    char *data = samples->fields[f].data;

    for (int64_t row = 0; row < samples->capacity; row++) {
        int64_t *own = shape + (row * num_fields + f) * ACCEL_MAX_NDIM;

        memcpy(own, field->shape, (size_t)field->ndim * sizeof(*own));
        accel_tensor_view(&samples->views[row * num_fields + f], data, field->dtype, field->ndim,
                          own);
        data += field->size;
    }
}

static void lay_out(accel__samples_t *samples)
{
    int32_t num_fields = samples->dataset->num_fields;
    char *data = samples->data;
    size_t size;

    for (int32_t f = 0; f < num_fields; f++) {
        const accel__field_t *field = &samples->dataset->fields[f];
        int64_t *shape = samples->shapes + (size_t)f * ACCEL_MAX_NDIM;

        memcpy(shape + 1, field->shape, (size_t)field->ndim * sizeof(*shape));
        accel_tensor_view(&samples->fields[f], data, field->dtype, field->ndim + 1, shape);
        if (samples->views)
            lay_out_views(samples, f, samples->shapes + (size_t)num_fields * ACCEL_MAX_NDIM);
        field_size(field, samples->capacity, &size);
        data += size;
    }
}

accel_status_t accel__samples_init(accel__samples_t *samples, const accel_dataset_t *dataset,
                                   int64_t capacity, bool views)
{
    accel_status_t status;

    *samples = (accel__samples_t){.dataset = dataset, .capacity = capacity};
    status = allocate(samples, views || accel__fields_vary(dataset->fields, dataset->num_fields));
    if (status != ACCEL_OK) {
        accel__samples_fini(samples);
        return status;
    }
    lay_out(samples);
    return ACCEL_OK;
}

void accel__samples_fini(accel__samples_t *samples)
{
    free(samples->data);
    free(samples->fields);
    free(samples->shapes);
    free(samples->places);
    arena_free(&samples->arena);
    *samples = (accel__samples_t){0};
}

void accel__samples_clear(accel__samples_t *samples)
{
    arena_clear(&samples->arena);
}

/* ---- samples whose fields vary ---- */

struct accel_sample {
    accel__samples_t *samples;
    int64_t row;
    accel_status_t status; /* of the last field asked for */
};

static accel_tensor_t *view_of(accel__samples_t *samples, int64_t row, int32_t field)
{
    return &samples->views[row * samples->dataset->num_fields + field];
}

/* What does not vary has its place in the batch. */
static void *fixed_place(const accel__samples_t *samples, int64_t row, int32_t field)
{
    return (char *)samples->fields[field].data + (size_t)row * samples->dataset->fields[field].size;
}

static accel_status_t sample_field(const accel_sample_t *sample, int32_t field,
                                   const int64_t *shape, void **data)
{
    accel__samples_t *samples = sample->samples;
    const accel_dataset_t *dataset = samples->dataset;
    accel_tensor_t *view;
    accel_status_t status;
    size_t size;

    if (field < 0 || field >= dataset->num_fields)
        return accel__fail(ACCEL_ERR_INVALID, "accel_sample_field: field %d; expected 0 to %d",
                           (int)field, (int)dataset->num_fields - 1);
    status = accel__field_measure(&dataset->fields[field], shape, "accel_sample_field", &size);
    if (status != ACCEL_OK)
        return status;
    view = view_of(samples, sample->row, field);
    view->data = dataset->fields[field].varies ? arena_alloc(&samples->arena, size)
                                               : fixed_place(samples, sample->row, field);
    if (!view->data)
        return accel__fail_memory("a sample", size);
    if (view->ndim > 0)
        memcpy(view->shape, shape, (size_t)view->ndim * sizeof(*shape));
    *data = view->data;
    return ACCEL_OK;
}

void *accel_sample_field(accel_sample_t *sample, int32_t field, const int64_t *shape)
{
    void *data = NULL;

    sample->status = sample_field(sample, field, shape, &data);
    return data;
}

/* A callback that was refused memory cannot say that all is well. */
static accel_status_t check_varying(const accel_sample_t *sample, accel_status_t status)
{
    const accel_dataset_t *dataset = sample->samples->dataset;

    if (sample->status != ACCEL_OK && status != ACCEL_OK)
        return sample->status;
    for (int32_t f = 0; f < dataset->num_fields && status == ACCEL_OK; f++)
        if (!view_of(sample->samples, sample->row, f)->data)
            return accel__fail(ACCEL_ERR_INVALID, "field '%s' was not given",
                               dataset->fields[f].name);
    return status;
}

/* From a map-style dataset, or the next of a stream. */
static accel_status_t read_varying(accel__samples_t *samples, int64_t row, int64_t index)
{
    const accel_dataset_t *dataset = samples->dataset;
    accel_sample_t sample = {.samples = samples, .row = row};
    accel_status_t status;

    for (int32_t f = 0; f < dataset->num_fields; f++)
        view_of(samples, row, f)->data = NULL;
    if (dataset->begin)
        status = dataset->next_varying(dataset->context, &sample);
    else
        status = dataset->get_varying(dataset->context, index, &sample);
    return check_varying(&sample, status);
}

/* ---- reading ---- */

static void go_to(accel__samples_t *samples, int64_t row)
{
    for (int32_t f = 0; f < samples->dataset->num_fields; f++)
        samples->places[f] = fixed_place(samples, row, f);
}

/* How many of the indices follow each other. */
static int64_t run_length(const int64_t *indices, int64_t count)
{
    int64_t length = 1;

    while (length < count && length < MAX_RUN && indices[length] == indices[0] + length)
        length++;
    return length;
}

accel_status_t accel__samples_read(accel__samples_t *samples, const int64_t *indices, int64_t count,
                                   const atomic_bool *cancelled)
{
    const accel_dataset_t *dataset = samples->dataset;
    int64_t length;

    for (int64_t row = 0; row < count; row += length) {
        uint64_t failures = accel__failures();
        accel_status_t status;

        if (atomic_load_explicit(cancelled, memory_order_relaxed))
            return accel__fail(ACCEL_ERR_CANCELLED, "the epoch was given up");
        length = dataset->run ? run_length(indices + row, count - row) : 1;
        go_to(samples, row);
        if (dataset->run)
            status = dataset->run(dataset->context, indices[row], length, samples->places);
        else if (dataset->get)
            status = dataset->get(dataset->context, indices[row], samples->places);
        else
            status = read_varying(samples, row, indices[row]);
        if (status != ACCEL_OK)
            return accel__dataset_fail(dataset, indices[row], status, failures);
    }
    return ACCEL_OK;
}

accel_status_t accel__samples_next(accel__samples_t *samples, int64_t row, int64_t index)
{
    const accel_dataset_t *dataset = samples->dataset;
    uint64_t failures = accel__failures();
    accel_status_t status;

    if (dataset->next_varying) {
        status = read_varying(samples, row, index);
    } else {
        go_to(samples, row);
        status = dataset->next(dataset->context, samples->places);
    }
    if (status == ACCEL_OK || status == ACCEL_END)
        return status;
    return accel__dataset_fail(dataset, index, status, failures);
}

accel_status_t accel__samples_copy(accel__samples_t *to, int64_t row, const accel__samples_t *from,
                                   int64_t from_row)
{
    accel_sample_t sample = {.samples = to, .row = row};

    for (int32_t f = 0; f < to->dataset->num_fields; f++) {
        const accel__field_t *field = &to->dataset->fields[f];
        const accel_tensor_t *view;
        void *data;

        if (!field->varies) {
            memcpy(fixed_place(to, row, f), fixed_place(from, from_row, f), field->size);
            if (to->views)
                view_of(to, row, f)->data = fixed_place(to, row, f);
            continue;
        }
        view = &from->views[from_row * to->dataset->num_fields + f];
        data = accel_sample_field(&sample, f, view->shape);
        if (!data)
            return sample.status;
        memcpy(data, view->data, (size_t)accel_tensor_numel(view) * accel_dtype_size(view->dtype));
    }
    return ACCEL_OK;
}
