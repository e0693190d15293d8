/* SPDX-License-Identifier: Apache-2.0 */
/* A file of fixed-size records, read straight into the batch: what the system has cached is copied
 * once, and a file larger than memory is read as far as it is used. */
#include "data/dataset.h"
#include "data/file.h"

#include <stdlib.h>

/* Fields of records that one call reads. */
#define MAX_PIECES 256

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

/* Consecutive records of a single field are one piece. */
static accel_status_t run(void *context, int64_t index, int64_t count, void *const *places)
{
    const records_t *records = context;
    int32_t num_fields = records->dataset->num_fields;
    gathering_t gathering = {.file = &records->file,
                             .offset = records->header_size +
                                       (uint64_t)index * records->record_size};
    accel_status_t status = ACCEL_OK;

    if (num_fields == 1)
        status = add(&gathering, places[0], (size_t)count * records->record_size);
    for (int64_t row = 0; num_fields > 1 && row < count; row++)
        for (int32_t f = 0; f < num_fields && status == ACCEL_OK; f++) {
            size_t size = records->dataset->fields[f].size;

            status = add(&gathering, (char *)places[f] + (size_t)row * size, size);
        }
    return status == ACCEL_OK && gathering.count > 0 ? flush(&gathering) : status;
}

static accel_status_t open_records(records_t *records, const char *path, accel_dataset_t *dataset)
{
    accel_status_t status;

    if (accel__fields_vary(dataset->fields, dataset->num_fields))
        return accel__fail(ACCEL_ERR_INVALID, "%s: records of a fixed size have no fields that vary",
                           path);
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
