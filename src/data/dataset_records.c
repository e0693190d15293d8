/* SPDX-License-Identifier: Apache-2.0 */
/* A file of fixed-size records, read straight into the batch: what the system has cached is copied
 * once, and a file larger than memory is read as far as it is used. */
#include "data/dataset.h"
#include "data/file.h"

#include <stdlib.h>
#include <string.h>

/* Fields of a record that one call reads. */
#define MAX_PIECES 256

/* Records up to this size are read here first, as many at a time as fit: copying them once more
 * costs less than telling the system where each of their fields goes. */
#define SCRATCH_SIZE 16384

typedef struct records {
    accel__file_t file;
    uint64_t header_size;
    size_t record_size;
    const accel_dataset_t *dataset;
} records_t;

/* Pieces that are collected until a call is worth it. */
typedef struct gathering {
    const accel__file_t *file;
    uint64_t offset; /* of the first piece */
    size_t size;
    int count;
    struct iovec pieces[MAX_PIECES];
} gathering_t;

static uint64_t offset_of(const records_t *records, int64_t index)
{
    return records->header_size + (uint64_t)index * records->record_size;
}

static void destroy(void *context)
{
    records_t *records = context;

    accel__file_close(&records->file);
    free(records);
}

static accel_status_t flush(gathering_t *gathering)
{
    accel_status_t status =
        accel__file_read(gathering->file, gathering->offset, gathering->pieces, gathering->count);

    gathering->offset += gathering->size;
    gathering->size = 0;
    gathering->count = 0;
    return status;
}

static accel_status_t add(gathering_t *gathering, void *to, size_t size)
{
    gathering->pieces[gathering->count++] = (struct iovec){.iov_base = to, .iov_len = size};
    gathering->size += size;
    return gathering->count == MAX_PIECES ? flush(gathering) : ACCEL_OK;
}

static accel_status_t read_one_field(const records_t *records, int64_t index, int64_t count,
                                     void *const *places)
{
    struct iovec piece = {.iov_base = places[0], .iov_len = (size_t)count * records->record_size};

    return accel__file_read(&records->file, offset_of(records, index), &piece, 1);
}

static void scatter(const records_t *records, const char *from, int64_t first, int64_t count,
                    void *const *places)
{
    for (int64_t row = first; row < first + count; row++)
        for (int32_t f = 0; f < records->dataset->num_fields; f++) {
            size_t size = records->dataset->fields[f].size;

            memcpy((char *)places[f] + (size_t)row * size, from, size);
            from += size;
        }
}

static accel_status_t read_small(const records_t *records, int64_t index, int64_t count,
                                 void *const *places)
{
    int64_t at_once = SCRATCH_SIZE / (int64_t)records->record_size;
    char scratch[SCRATCH_SIZE];

    for (int64_t row = 0; row < count; row += at_once) {
        int64_t rows = count - row < at_once ? count - row : at_once;
        struct iovec piece = {.iov_base = scratch, .iov_len = (size_t)rows * records->record_size};
        accel_status_t status =
            accel__file_read(&records->file, offset_of(records, index + row), &piece, 1);

        if (status != ACCEL_OK)
            return status;
        scatter(records, scratch, row, rows, places);
    }
    return ACCEL_OK;
}

/* A record of large fields, straight to where they go. */
static accel_status_t read_large(const records_t *records, int64_t index, int64_t row,
                                 void *const *places)
{
    gathering_t gathering = {.file = &records->file, .offset = offset_of(records, index)};
    accel_status_t status = ACCEL_OK;

    for (int32_t f = 0; f < records->dataset->num_fields && status == ACCEL_OK; f++) {
        size_t size = records->dataset->fields[f].size;

        status = add(&gathering, (char *)places[f] + (size_t)row * size, size);
    }
    return status == ACCEL_OK && gathering.count > 0 ? flush(&gathering) : status;
}

static accel_status_t run(void *context, int64_t index, int64_t count, void *const *places)
{
    const records_t *records = context;
    accel_status_t status = ACCEL_OK;

    if (records->dataset->num_fields == 1)
        return read_one_field(records, index, count, places);
    if (records->record_size <= SCRATCH_SIZE)
        return read_small(records, index, count, places);
    for (int64_t row = 0; row < count && status == ACCEL_OK; row++)
        status = read_large(records, index + row, row, places);
    return status;
}

static accel_status_t open_records(records_t *records, const char *path, accel_dataset_t *dataset)
{
    accel_status_t status;

    if (accel__fields_vary(dataset->fields, dataset->num_fields))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: records of a fixed size have no fields that vary", path);
    for (int32_t f = 0; f < dataset->num_fields; f++)
        if (__builtin_add_overflow(records->record_size, dataset->fields[f].size,
                                   &records->record_size))
            return accel__fail(ACCEL_ERR_INVALID, "%s: the record is too large", path);
    status = accel__file_open(&records->file, path, "the records");
    if (status != ACCEL_OK)
        return status;
    return accel__file_count(&records->file, records->header_size, records->record_size, "records",
                             &dataset->length);
}

accel_status_t accel_record_dataset_create(const char *path, const accel_field_t *fields,
                                           int32_t num_fields, uint64_t header_size,
                                           accel_dataset_t **dataset)
{
    static const char what[] = "accel_record_dataset_create";
    accel_dataset_t *made;
    records_t *records;
    accel_status_t status;

    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    if (!path || !*path)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the path is %s", what, path ? "empty" : "NULL");
    status = accel__dataset_init(what, fields, num_fields, &made);
    if (status != ACCEL_OK)
        return status;
    records = calloc(1, sizeof(*records));
    if (!records) {
        accel_dataset_destroy(made);
        return accel__fail_memory("a record dataset", sizeof(*records));
    }
    *records = (records_t){.file = {.fd = -1}, .header_size = header_size, .dataset = made};
    made->what = "reading the records";
    made->context = records;
    made->destroy = destroy;
    made->run = run;
    status = open_records(records, path, made);
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return ACCEL_OK;
}
