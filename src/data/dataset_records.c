/* SPDX-License-Identifier: Apache-2.0 */
/* A file of fixed-size records, mapped: the page cache holds it once for all ranks of a host,
 * and a file larger than memory is read as far as it is used. */
#include "data/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct records {
    char *path;
    int fd;
    const char *data; /* the whole file; NULL if that is empty */
    uint64_t file_size, header_size;
    size_t record_size;
    const accel_dataset_t *dataset;
} records_t;

static void destroy(void *context)
{
    records_t *records = context;

    if (records->data)
        munmap((void *)(uintptr_t)records->data, (size_t)records->file_size);
    if (records->fd >= 0)
        close(records->fd);
    free(records->path);
    free(records);
}

static accel_status_t get(void *context, int64_t index, void *const *fields)
{
    const records_t *records = context;
    const char *from =
        records->data + records->header_size + (uint64_t)index * records->record_size;

    for (int32_t f = 0; f < records->dataset->num_fields; f++) {
        size_t size = records->dataset->fields[f].size;

        memcpy(fields[f], from, size);
        from += size;
    }
    return ACCEL_OK;
}

/* Touching a mapped page beyond the end of a file that was cut since is a SIGBUS, and a
 * library has no business catching that. Looking before each batch costs less than a
 * microsecond and leaves only a file that is cut within the batch. */
static accel_status_t check(void *context)
{
    const records_t *records = context;
    struct stat status;

    if (fstat(records->fd, &status) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot look at the file", records->path);
    if ((uint64_t)status.st_size < records->file_size)
        return accel__fail(ACCEL_ERR_IO,
                           "%s: the file was cut from %llu to %llu bytes while in use",
                           records->path, (unsigned long long)records->file_size,
                           (unsigned long long)status.st_size);
    return ACCEL_OK;
}

static accel_status_t measure(records_t *records)
{
    struct stat status;
    uint64_t body;

    /* Without O_NONBLOCK, opening a named pipe would wait for a writer. */
    records->fd = open(records->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (records->fd < 0)
        return accel__fail_errno(errno == ENOENT ? ACCEL_ERR_NOT_FOUND : ACCEL_ERR_IO,
                                 "%s: cannot open the records", records->path);
    if (fstat(records->fd, &status) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot look at the file", records->path);
    if (!S_ISREG(status.st_mode))
        return accel__fail(ACCEL_ERR_IO, "%s: not a regular file", records->path);
    records->file_size = (uint64_t)status.st_size;
    if (records->file_size < records->header_size)
        return accel__fail(ACCEL_ERR_FORMAT, "%s: %llu bytes, shorter than the header of %llu",
                           records->path, (unsigned long long)records->file_size,
                           (unsigned long long)records->header_size);
    accel__assume(records->record_size > 0);
    body = records->file_size - records->header_size;
    if (body % records->record_size != 0)
        return accel__fail(ACCEL_ERR_FORMAT,
                           "%s: %llu bytes after a header of %llu are not a whole number of "
                           "records of %zu bytes (%llu are left over)",
                           records->path, (unsigned long long)body,
                           (unsigned long long)records->header_size, records->record_size,
                           (unsigned long long)(body % records->record_size));
    return ACCEL_OK;
}

static accel_status_t map(records_t *records)
{
    void *data;

    if (records->file_size == 0)
        return ACCEL_OK;
    if (records->file_size > SIZE_MAX)
        return accel__fail(ACCEL_ERR_UNSUPPORTED, "%s: %llu bytes do not fit the address space",
                           records->path, (unsigned long long)records->file_size);
    data = mmap(NULL, (size_t)records->file_size, PROT_READ, MAP_SHARED, records->fd, 0);
    if (data == MAP_FAILED)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot map %llu bytes", records->path,
                                 (unsigned long long)records->file_size);
    records->data = data;
    return ACCEL_OK;
}

static accel_status_t open_records(records_t *records, const char *path,
                                   const accel_dataset_t *dataset)
{
    accel_status_t status;

    records->path = accel__strdup(path);
    if (!records->path)
        return accel__fail_memory("a path", strlen(path) + 1);
    for (int32_t f = 0; f < dataset->num_fields; f++)
        if (__builtin_add_overflow(records->record_size, dataset->fields[f].size,
                                   &records->record_size))
            return accel__fail(ACCEL_ERR_INVALID, "%s: the record is too large", path);
    status = measure(records);
    return status == ACCEL_OK ? map(records) : status;
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
    *records = (records_t){.fd = -1, .header_size = header_size, .dataset = made};
    made->context = records;
    made->destroy = destroy;
    made->get = get;
    made->check = check;
    status = open_records(records, path, made);
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    made->length = (int64_t)((records->file_size - header_size) / records->record_size);
    *dataset = made;
    return ACCEL_OK;
}
