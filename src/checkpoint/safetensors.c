/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a safetensors file: the header is checked whole, the tensors are where the file is
 * mapped. */
#include <accel/safetensors.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "checkpoint/dtypes.h"

#define LENGTH_SIZE 8
#define HEADER_MAX ((uint64_t)100 << 20) /* the stock reader's limit */

typedef struct entry {
    char *name;
    const accel__file_dtype_t *dtype;
    uint64_t begin, end; /* from the end of the header */
    int64_t shape[ACCEL_MAX_NDIM];
    size_t ndim; /* may be more than ACCEL_MAX_NDIM */
    accel_tensor_t view;
} entry_t;

struct accel_safetensors {
    char *path;
    unsigned char *bytes; /* the whole file */
    size_t size, header_size;
    entry_t *entries; /* by their place in the file */
    size_t num_entries;
    json_t *metadata; /* NULL: none */
};

static accel_status_t bad(const accel_safetensors_t *file, const char *format, ...)
    ACCEL_PRINTF(2, 3);
static accel_status_t bad(const accel_safetensors_t *file, const char *format, ...)
{
    char what[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return accel__fail(ACCEL_ERR_FORMAT, "%s is no valid safetensors file: %s", file->path, what);
}

/* ---- the header ---- */

/* The elements of a shape, or false if they are too many to count. */
static bool count_elements(const json_t *shape, uint64_t *count)
{
    size_t i;
    json_t *extent;

    *count = 1;
    json_array_foreach(shape, i, extent)
    {
        json_int_t value = json_integer_value(extent);

        if (!json_is_integer(extent) || value < 0 ||
            __builtin_mul_overflow(*count, (uint64_t)value, count))
            return false;
    }
    return true;
}

static accel_status_t read_shape(const accel_safetensors_t *file, entry_t *entry,
                                 const json_t *shape)
{
    uint64_t count, bits;

    if (!json_is_array(shape) || !count_elements(shape, &count) ||
        __builtin_mul_overflow(count, (uint64_t)entry->dtype->bits, &bits))
        return bad(file, "tensor '%s' has no shape that can be", entry->name);
    entry->ndim = json_array_size(shape);
    for (size_t i = 0; i < entry->ndim && i < ACCEL_MAX_NDIM; i++)
        entry->shape[i] = json_integer_value(json_array_get(shape, i));
    if (bits % 8 != 0 || bits / 8 != entry->end - entry->begin)
        return bad(file,
                   "tensor '%s' takes %" PRIu64 " bytes by its shape and %" PRIu64
                   " by its data_offsets",
                   entry->name, bits / 8, entry->end - entry->begin);
    return ACCEL_OK;
}

static accel_status_t read_offsets(const accel_safetensors_t *file, entry_t *entry,
                                   const json_t *offsets)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    uint64_t room = file->size - LENGTH_SIZE - file->header_size;

    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
        (uint64_t)json_integer_value(end) > room)
        return bad(file, "the data_offsets of tensor '%s' do not lie in its %" PRIu64 " bytes",
                   entry->name, room);
    entry->begin = (uint64_t)json_integer_value(begin);
    entry->end = (uint64_t)json_integer_value(end);
    return ACCEL_OK;
}

static accel_status_t read_entry(const accel_safetensors_t *file, entry_t *entry, const char *name,
                                 const json_t *about)
{
    const char *dtype = json_string_value(json_object_get(about, "dtype"));
    accel_status_t status;

    entry->name = accel__strdup(name);
    if (!entry->name)
        return accel__fail_memory("a tensor's name", strlen(name));
    entry->dtype = dtype ? accel__file_dtype_by_name(dtype) : NULL;
    if (!entry->dtype)
        return bad(file, "tensor '%s' has the dtype %s", name, dtype ? dtype : "(none)");
    status = read_offsets(file, entry, json_object_get(about, "data_offsets"));
    return status == ACCEL_OK ? read_shape(file, entry, json_object_get(about, "shape")) : status;
}

static accel_status_t read_metadata(accel_safetensors_t *file, json_t *metadata)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return bad(file, "__metadata__ is no object");
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return bad(
        file, "__metadata__ has '%s', which is no text", key);
    file->metadata = json_incref(metadata);
    return ACCEL_OK;
}

static int by_place(const void *a, const void *b)
{
    const entry_t *left = a, *right = b;

    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

/* Tensors that overlap, or bytes that nobody owns, could hide something. */
static accel_status_t check_places(const accel_safetensors_t *file)
{
    uint64_t at = 0, room = file->size - LENGTH_SIZE - file->header_size;

    for (size_t i = 0; i < file->num_entries; i++) {
        if (file->entries[i].begin != at)
            return bad(file, "tensor '%s' begins at %" PRIu64 "; expected %" PRIu64,
                       file->entries[i].name, file->entries[i].begin, at);
        at = file->entries[i].end;
    }
    if (at != room)
        return bad(file, "its tensors take %" PRIu64 " bytes, but there are %" PRIu64, at, room);
    return ACCEL_OK;
}

static void make_view(const accel_safetensors_t *file, entry_t *entry)
{
    entry->view =
        (accel_tensor_t){.data = file->bytes + LENGTH_SIZE + file->header_size + entry->begin,
                         .device = {ACCEL_CPU, 0},
                         .ndim = (int32_t)entry->ndim,
                         .dtype = (accel_dtype_t)entry->dtype->dtype,
                         .shape = entry->shape};
}

static accel_status_t read_header(accel_safetensors_t *file, json_t *header)
{
    accel_status_t status = ACCEL_OK;
    const char *name;
    json_t *about;

    if (!json_is_object(header))
        return bad(file, "the header is no object");
    file->entries = calloc(json_object_size(header) + 1, sizeof(*file->entries));
    if (!file->entries)
        return accel__fail_memory("a file's tensors", json_object_size(header));
    json_object_foreach(header, name, about)
    {
        status = strcmp(name, "__metadata__") == 0
                     ? read_metadata(file, about)
                     : read_entry(file, &file->entries[file->num_entries++], name, about);
        if (status != ACCEL_OK)
            return status;
    }
    qsort(file->entries, file->num_entries, sizeof(*file->entries), by_place);
    for (size_t i = 0; i < file->num_entries; i++)
        make_view(file, &file->entries[i]);
    return check_places(file);
}

static accel_status_t parse(accel_safetensors_t *file)
{
    uint64_t length = 0;
    json_error_t error;
    json_t *header;
    accel_status_t status;

    if (file->size < LENGTH_SIZE)
        return bad(file, "it has %zu bytes, and not the 8 of a header's length", file->size);
    for (size_t i = LENGTH_SIZE; i-- > 0;)
        length = length << 8 | file->bytes[i];
    if (length > HEADER_MAX || length > file->size - LENGTH_SIZE)
        return bad(file, "a header of %" PRIu64 " bytes in a file of %zu", length, file->size);
    file->header_size = (size_t)length;
    header = json_loadb((const char *)file->bytes + LENGTH_SIZE, file->header_size,
                        JSON_REJECT_DUPLICATES, &error);
    if (!header)
        return bad(file, "its header is no JSON: %s (at byte %d)", error.text, error.position);
    status = read_header(file, header);
    json_decref(header);
    return status;
}

/* ---- open and close ---- */

static accel_status_t map(accel_safetensors_t *file)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    accel_status_t status = ACCEL_OK;
    struct stat about;

    if (fd < 0)
        return accel__fail_errno(errno == ENOENT ? ACCEL_ERR_NOT_FOUND : ACCEL_ERR_IO, "%s",
                                 file->path);
    if (fstat(fd, &about) != 0)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s", file->path);
    else if (!S_ISREG(about.st_mode))
        status = accel__fail(ACCEL_ERR_INVALID, "%s is no regular file", file->path);
    else if (about.st_size < LENGTH_SIZE)
        file->size = (size_t)about.st_size;
    else {
        file->bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (file->bytes == MAP_FAILED) {
            file->bytes = NULL;
            status = accel__fail_errno(ACCEL_ERR_IO, "%s: mmap", file->path);
        } else {
            file->size = (size_t)about.st_size;
        }
    }
    close(fd);
    return status;
}

accel_status_t accel_safetensors_open(const char *path, accel_safetensors_t **file)
{
    accel_status_t status;

    if (!path || !file)
        return accel__fail(ACCEL_ERR_INVALID, "accel_safetensors_open: %s is NULL",
                           path ? "file" : "path");
    *file = calloc(1, sizeof(**file));
    if (*file)
        (*file)->path = accel__strdup(path);
    if (!*file || !(*file)->path) {
        free(*file);
        *file = NULL;
        return accel__fail_memory("a safetensors file", sizeof(**file));
    }
    status = map(*file);
    if (status == ACCEL_OK)
        status = parse(*file);
    if (status != ACCEL_OK) {
        accel_safetensors_close(*file);
        *file = NULL;
    }
    return status;
}

void accel_safetensors_close(accel_safetensors_t *file)
{
    if (!file)
        return;
    if (file->bytes)
        munmap(file->bytes, file->size);
    for (size_t i = 0; i < file->num_entries; i++)
        free(file->entries[i].name);
    free(file->entries);
    json_decref(file->metadata);
    free(file->path);
    free(file);
}

/* ---- what is in it ---- */

int64_t accel_safetensors_num_tensors(const accel_safetensors_t *file)
{
    return file ? (int64_t)file->num_entries : 0;
}

const char *accel_safetensors_name(const accel_safetensors_t *file, int64_t index)
{
    return index >= 0 && index < accel_safetensors_num_tensors(file) ? file->entries[index].name
                                                                     : NULL;
}

const char *accel_safetensors_dtype(const accel_safetensors_t *file, int64_t index)
{
    return index >= 0 && index < accel_safetensors_num_tensors(file)
               ? file->entries[index].dtype->name
               : NULL;
}

const char *accel_safetensors_metadata(const accel_safetensors_t *file, const char *key)
{
    return file && key ? json_string_value(json_object_get(file->metadata, key)) : NULL;
}

static accel_status_t fail_not_found(const accel_safetensors_t *file, const char *name)
{
    const char **names = calloc(file->num_entries + 1, sizeof(*names));
    const char *nearest = NULL;

    for (size_t i = 0; names && i < file->num_entries; i++)
        names[i] = file->entries[i].name;
    if (names)
        nearest = accel__nearest(name, names, file->num_entries);
    free(names);
    return accel__fail(ACCEL_ERR_NOT_FOUND, "%s has no tensor '%s'%s%s%s", file->path, name,
                       nearest ? " (did you mean '" : "", nearest ? nearest : "",
                       nearest ? "'?)" : "");
}

static accel_status_t find(const accel_safetensors_t *file, const char *name, const entry_t **found)
{
    for (size_t i = 0; i < file->num_entries; i++)
        if (strcmp(file->entries[i].name, name) == 0) {
            const entry_t *entry = &file->entries[i];

            *found = entry;
            if (entry->dtype->dtype >= 0 && entry->ndim <= ACCEL_MAX_NDIM)
                return ACCEL_OK;
            return accel__fail(ACCEL_ERR_UNSUPPORTED,
                               "%s: tensor '%s' has the dtype %s and %zu dimensions; expected one "
                               "of accel's dtypes and at most %d",
                               file->path, name, entry->dtype->name, entry->ndim, ACCEL_MAX_NDIM);
        }
    return fail_not_found(file, name);
}

accel_status_t accel_safetensors_tensor(const accel_safetensors_t *file, const char *name,
                                        const accel_tensor_t **tensor)
{
    const entry_t *entry;
    accel_status_t status;

    if (!file || !name || !tensor)
        return accel__fail(ACCEL_ERR_INVALID, "accel_safetensors_tensor: %s is NULL",
                           !file   ? "file"
                           : !name ? "name"
                                   : "tensor");
    *tensor = NULL;
    status = find(file, name, &entry);
    if (status != ACCEL_OK)
        return status;
    if ((uintptr_t)entry->view.data % accel_dtype_size(entry->view.dtype) != 0)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "%s: tensor '%s' lies at byte %" PRIu64 ", which is no multiple of its "
                           "element's size: copy it with accel_safetensors_read()",
                           file->path, name, LENGTH_SIZE + file->header_size + entry->begin);
    *tensor = &entry->view;
    return ACCEL_OK;
}

static void append_shape(accel__text_t *text, accel_dtype_t dtype, const int64_t *shape,
                         int32_t ndim)
{
    accel__text_appendf(text, "%s [", accel_dtype_name(dtype));
    for (int32_t i = 0; i < ndim; i++)
        accel__text_appendf(text, "%s%" PRId64, i ? ", " : "", shape[i]);
    accel__text_append(text, "]", 1);
}

static bool is_same(const accel_tensor_t *a, const accel_tensor_t *b)
{
    return a->dtype == b->dtype && a->ndim == b->ndim &&
           (a->ndim == 0 || memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof(*a->shape)) == 0);
}

static accel_status_t fail_other(const accel_safetensors_t *file, const entry_t *entry,
                                 const accel_tensor_t *destination)
{
    accel__text_t text = {0};
    accel_status_t status;

    append_shape(&text, entry->view.dtype, entry->shape, entry->view.ndim);
    accel__text_append(&text, "; expected ", 11);
    append_shape(&text, destination->dtype, destination->shape, destination->ndim);
    status = accel__fail(ACCEL_ERR_MISMATCH, "%s: tensor '%s' is %s", file->path, entry->name,
                         text.failed ? "another" : text.data);
    accel__text_free(&text);
    return status;
}

accel_status_t accel_safetensors_read(const accel_safetensors_t *file, const char *name,
                                      accel_tensor_t *destination)
{
    const entry_t *entry;
    accel_status_t status;

    if (!file || !name)
        return accel__fail(ACCEL_ERR_INVALID, "accel_safetensors_read: %s is NULL",
                           file ? "name" : "file");
    status = accel__tensor_check(destination, "accel_safetensors_read: destination");
    if (status == ACCEL_OK)
        status = find(file, name, &entry);
    if (status != ACCEL_OK)
        return status;
    if (!is_same(&entry->view, destination))
        return fail_other(file, entry, destination);
    memcpy(accel__tensor_data(destination), entry->view.data, (size_t)(entry->end - entry->begin));
    return ACCEL_OK;
}
