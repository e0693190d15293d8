/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a safetensors file: whole, or not at all. */
#include <accel/safetensors.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "checkpoint/dtypes.h"

#define ALIGNMENT 8

/* What is written, and as what. */
typedef struct item {
    const char *name;
    const accel_tensor_t *tensor;
    const accel__file_dtype_t *dtype;
} item_t;

static size_t size_of(const accel_tensor_t *tensor)
{
    return (size_t)accel_tensor_numel(tensor) * accel_dtype_size(tensor->dtype);
}

/* As the stock library: the widest elements first, so that every tensor lies at a multiple of its
 * own. */
static int in_file_order(const void *a, const void *b)
{
    const item_t *left = a, *right = b;

    if (left->dtype != right->dtype)
        return left->dtype < right->dtype ? -1 : 1;
    return strcmp(left->name, right->name);
}

static accel_status_t check(const accel_named_tensor_t *tensors, int64_t num_tensors)
{
    for (int64_t i = 0; i < num_tensors; i++) {
        accel_status_t status;

        if (!tensors[i].name || strcmp(tensors[i].name, "__metadata__") == 0)
            return accel__fail(ACCEL_ERR_INVALID,
                               "accel_safetensors_save: tensor %lld has the name %s", (long long)i,
                               tensors[i].name ? tensors[i].name : "NULL");
        status = accel__tensor_check(tensors[i].tensor, tensors[i].name);
        if (status != ACCEL_OK)
            return status;
    }
    return ACCEL_OK;
}

/* ---- the header ---- */

static json_t *metadata_of(const accel_safetensors_options_t *options)
{
    static const char *const usual[] = {"format", "pt", NULL};
    const char *const *at = options->metadata ? options->metadata : usual;
    json_t *metadata = json_object();

    for (; metadata && at[0] && at[1]; at += 2)
        if (json_object_set_new(metadata, at[0], json_string(at[1])) != 0) {
            json_decref(metadata);
            return NULL;
        }
    return metadata;
}

static json_t *shape_of(const accel_tensor_t *tensor)
{
    json_t *shape = json_array();

    for (int32_t i = 0; shape && i < tensor->ndim; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return shape;
}

static accel_status_t add(json_t *header, const item_t *item, size_t *at)
{
    size_t end = *at + size_of(item->tensor);
    json_t *about;

    if (json_object_get(header, item->name))
        return accel__fail(ACCEL_ERR_INVALID, "accel_safetensors_save: there are two tensors '%s'",
                           item->name);
    about = json_pack("{s:s, s:o, s:[I, I]}", "dtype", item->dtype->name, "shape",
                      shape_of(item->tensor), "data_offsets", (json_int_t)*at, (json_int_t)end);
    if (!about || json_object_set_new(header, item->name, about) != 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_safetensors_save: the name of a tensor is no UTF-8, or there is "
                           "no memory for it");
    *at = end;
    return ACCEL_OK;
}

/* The header's text, padded so that the tensors begin at a multiple of 8. */
static accel_status_t make_header(const item_t *items, int64_t num_items,
                                  const accel_safetensors_options_t *options, accel__text_t *text)
{
    json_t *header = json_object(), *metadata = metadata_of(options);
    accel_status_t status = ACCEL_OK;
    size_t at = 0;
    char *dumped;

    if (!header || !metadata || json_object_set(header, "__metadata__", metadata) != 0)
        status = accel__fail(ACCEL_ERR_INVALID,
                             "accel_safetensors_save: the metadata is no UTF-8, or there is no "
                             "memory for it");
    for (int64_t i = 0; i < num_items && status == ACCEL_OK; i++)
        status = add(header, &items[i], &at);
    if (status == ACCEL_OK) {
        dumped = json_dumps(header, JSON_COMPACT);
        accel__text_append(text, dumped ? dumped : "", dumped ? strlen(dumped) : 0);
        free(dumped);
        while (text->length % ALIGNMENT != 0 && !text->failed)
            accel__text_append(text, " ", 1);
        if (text->failed || text->length == 0)
            status = accel__fail_memory("a header", text->length);
    }
    json_decref(metadata);
    json_decref(header);
    return status;
}

/* ---- the file ---- */

static accel_status_t write_all(int fd, const accel__text_t *header, const item_t *items,
                                int64_t num_items, const char *path)
{
    unsigned char length[8];
    accel_status_t status;

    for (size_t i = 0; i < sizeof(length); i++)
        length[i] = (unsigned char)(header->length >> (8 * i));
    status = accel__write_full(fd, length, sizeof(length), path);
    if (status == ACCEL_OK)
        status = accel__write_full(fd, header->data, header->length, path);
    for (int64_t i = 0; i < num_items && status == ACCEL_OK; i++)
        status = accel__write_full(fd, accel__tensor_data(items[i].tensor),
                                   size_of(items[i].tensor), path);
    return status;
}

static accel_status_t write_beside(const char *path, const char *temporary,
                                   const accel__text_t *header, const item_t *items,
                                   int64_t num_items, bool sync)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    accel_status_t status;

    if (fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s", temporary);
    status = write_all(fd, header, items, num_items, temporary);
    if (status == ACCEL_OK && sync && fsync(fd) != 0)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s: fsync", temporary);
    if (close(fd) != 0 && status == ACCEL_OK)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s", temporary);
    if (status == ACCEL_OK && rename(temporary, path) != 0)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s", path);
    if (status != ACCEL_OK)
        unlink(temporary);
    return status;
}

static accel_status_t save(const char *path, item_t *items, int64_t num_items,
                           const accel_safetensors_options_t *options)
{
    accel__text_t header = {0}, temporary = {0};
    accel_status_t status;

    qsort(items, (size_t)num_items, sizeof(*items), in_file_order);
    status = make_header(items, num_items, options, &header);
    accel__text_appendf(&temporary, "%s.tmp.%ld", path, (long)getpid());
    if (status == ACCEL_OK && temporary.failed)
        status = accel__fail_memory("a file's name", strlen(path));
    if (status == ACCEL_OK)
        status = write_beside(path, temporary.data, &header, items, num_items, options->fsync);
    accel__text_free(&temporary);
    accel__text_free(&header);
    return status;
}

static bool is_among(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static void fill(item_t *items, const accel_named_tensor_t *tensors, int64_t num_tensors,
                 const char *const *bools)
{
    for (int64_t i = 0; i < num_tensors; i++) {
        bool is_bool = tensors[i].tensor->dtype == ACCEL_U8 && is_among(bools, tensors[i].name);

        items[i] = (item_t){tensors[i].name, tensors[i].tensor,
                            is_bool ? accel__file_dtype_by_name(ACCEL__FILE_BOOL)
                                    : accel__file_dtype_of(tensors[i].tensor->dtype)};
    }
}

accel_status_t accel_safetensors_save(const char *path, const accel_named_tensor_t *tensors,
                                      int64_t num_tensors,
                                      const accel_safetensors_options_t *options)
{
    accel_safetensors_options_t read = {0};
    accel_status_t status;
    item_t *items;

    if (!path || num_tensors < 0 || (!tensors && num_tensors > 0))
        return accel__fail(ACCEL_ERR_INVALID, "accel_safetensors_save: %s",
                           !path             ? "path is NULL"
                           : num_tensors < 0 ? "num_tensors is negative"
                                             : "tensors is NULL");
    status = accel__options_read(&read, sizeof(read), options, "accel_safetensors_save: options");
    if (status == ACCEL_OK)
        status = check(tensors, num_tensors);
    if (status != ACCEL_OK)
        return status;
    items = malloc(((size_t)num_tensors + 1) * sizeof(*items));
    if (!items)
        return accel__fail_memory("a list of tensors", (size_t)num_tensors);
    fill(items, tensors, num_tensors, read.bools);
    status = save(path, items, num_tensors, &read);
    free(items);
    return status;
}
