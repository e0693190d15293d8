/* SPDX-License-Identifier: Apache-2.0 */
/* A corpus of tokens in a flat file: windows of it, and the same one place on. */
#include "data/dataset.h"
#include "data/file.h"

#include <stdlib.h>

/* Tokens that are read and widened at a time, on the stack. */
#define CHUNK 2048

typedef struct tokens {
    accel__file_t file;
    uint64_t header_size;
    size_t token_size;
    int64_t length, stride; /* of a sample, in tokens */
    accel_dtype_t dtype;
} tokens_t;

static void destroy(void *context)
{
    tokens_t *tokens = context;

    accel__file_close(&tokens->file);
    free(tokens);
}

/* `count` tokens from the token `first` on. */
static accel_status_t read_chunk(const tokens_t *tokens, int64_t first, int64_t count,
                                 uint32_t *chunk)
{
    union {
        uint8_t of_1[CHUNK];
        uint16_t of_2[CHUNK];
    } raw;
    struct iovec piece = {.iov_base = tokens->token_size == 4 ? (void *)chunk : &raw,
                          .iov_len = (size_t)count * tokens->token_size};
    accel_status_t status = accel__file_read(
        &tokens->file, tokens->header_size + (uint64_t)first * tokens->token_size, &piece, 1);

    if (status != ACCEL_OK)
        return status;
    if (tokens->token_size == 1)
        for (int64_t k = 0; k < count; k++)
            chunk[k] = raw.of_1[k];
    if (tokens->token_size == 2)
        for (int64_t k = 0; k < count; k++)
            chunk[k] = raw.of_2[k];
    return ACCEL_OK;
}

/* Whatever is beyond int32 is no token of a 32-bit field. */
static accel_status_t check_range(const tokens_t *tokens, int64_t first, int64_t count,
                                  const uint32_t *chunk)
{
    uint32_t bits = 0;

    for (int64_t k = 0; k < count; k++) /* all of them were read: NOLINTNEXTLINE */
        bits |= chunk[k];
    if (bits <= INT32_MAX || tokens->dtype == ACCEL_I64)
        return ACCEL_OK;
    for (int64_t k = 0; k < count; k++)
        if (chunk[k] > INT32_MAX)
            return accel__fail(ACCEL_ERR_FORMAT, "%s: token %lld is %lu, which is no int32",
                               tokens->file.path, (long long)(first + k), (unsigned long)chunk[k]);
    return ACCEL_OK;
}

static void widen(const tokens_t *tokens, void *field, int64_t at, const uint32_t *chunk,
                  int64_t count)
{
    if (tokens->dtype == ACCEL_I64)
        for (int64_t k = 0; k < count; k++)
            ((int64_t *)field)[at + k] = chunk[k];
    else
        for (int64_t k = 0; k < count; k++)
            ((int32_t *)field)[at + k] = (int32_t)chunk[k];
}

/* Of length + 1 tokens the first `length` are the input and the last the targets. */
static accel_status_t read_sample(const tokens_t *tokens, int64_t index, void *inputs,
                                  void *targets)
{
    int64_t first = index * tokens->stride, count;

    for (int64_t at = 0; at <= tokens->length; at += count) {
        uint32_t chunk[CHUNK];
        bool is_first = at == 0, ends;
        accel_status_t status;

        count = tokens->length + 1 - at < CHUNK ? tokens->length + 1 - at : CHUNK;
        ends = at + count > tokens->length;
        status = read_chunk(tokens, first + at, count, chunk);
        if (status == ACCEL_OK)
            status = check_range(tokens, first + at, count, chunk);
        if (status != ACCEL_OK)
            return status;
        widen(tokens, inputs, at, chunk, count - ends);
        widen(tokens, targets, at - !is_first, chunk + is_first, count - is_first);
    }
    return ACCEL_OK;
}

static accel_status_t run(void *context, int64_t index, int64_t count, void *const *places)
{
    const tokens_t *tokens = context;
    size_t size = (size_t)tokens->length * accel_dtype_size(tokens->dtype);
    accel_status_t status = ACCEL_OK;

    for (int64_t row = 0; row < count && status == ACCEL_OK; row++)
        status = read_sample(tokens, index + row, (char *)places[0] + (size_t)row * size,
                             (char *)places[1] + (size_t)row * size);
    return status;
}

/* The options' zeros become what they stand for. */
static accel_status_t read_options(accel_token_options_t *read,
                                   const accel_token_options_t *options, const char *what)
{
    accel_status_t status = accel__options_read(read, sizeof(*read), options, what);

    if (status != ACCEL_OK)
        return status;
    if (read->token_size == 0)
        read->token_size = 2;
    if (read->stride == 0)
        read->stride = read->sequence_length;
    if (read->dtype == 0)
        read->dtype = ACCEL_I64;
    if (!read->path || !*read->path)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the path is %s", what,
                           read->path ? "empty" : "NULL");
    if (read->token_size != 1 && read->token_size != 2 && read->token_size != 4)
        return accel__fail(ACCEL_ERR_INVALID, "%s: token_size is %d; expected 1, 2 or 4", what,
                           (int)read->token_size);
    if (read->sequence_length < 1 || read->stride < 1)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: sequence_length is %lld, stride %lld; expected 1 or more", what,
                           (long long)read->sequence_length, (long long)read->stride);
    if (read->dtype != ACCEL_I64 && read->dtype != ACCEL_I32)
        return accel__fail(ACCEL_ERR_INVALID, "%s: dtype is %s; expected int64 or int32", what,
                           accel_dtype_name(read->dtype));
    return ACCEL_OK;
}

static accel_status_t open_tokens(tokens_t *tokens, const char *path, int64_t *length)
{
    int64_t count = 0;
    accel_status_t status = accel__file_open(&tokens->file, path, "the tokens");

    if (status == ACCEL_OK)
        status = accel__file_count(&tokens->file, tokens->header_size, tokens->token_size, "tokens",
                                   &count);
    /* The last target is one token beyond the last input. */
    *length = count <= tokens->length ? 0 : (count - 1 - tokens->length) / tokens->stride + 1;
    return status;
}

static accel_status_t make(const accel_token_options_t *options, accel_dataset_t *made)
{
    tokens_t *tokens = calloc(1, sizeof(*tokens));

    if (!tokens)
        return accel__fail_memory("a token dataset", sizeof(*tokens));
    *tokens = (tokens_t){.file = {.fd = -1},
                         .header_size = options->header_size,
                         .token_size = (size_t)options->token_size,
                         .length = options->sequence_length,
                         .stride = options->stride,
                         .dtype = options->dtype};
    made->what = "reading the tokens";
    made->context = tokens;
    made->destroy = destroy;
    made->run = run;
    return open_tokens(tokens, options->path, &made->length);
}

accel_status_t accel_token_dataset_create(const accel_token_options_t *options,
                                          accel_dataset_t **dataset)
{
    static const char what[] = "accel_token_dataset_create";
    accel_token_options_t read = {0};
    accel_dataset_t *made;
    accel_status_t status;

    if (!dataset)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the result's address is NULL", what);
    *dataset = NULL;
    status = read_options(&read, options, what);
    if (status != ACCEL_OK)
        return status;
    status =
        accel__dataset_init(what,
                            (accel_field_t[]){{"inputs", read.dtype, 1, {read.sequence_length}},
                                              {"targets", read.dtype, 1, {read.sequence_length}}},
                            2, &made);
    if (status != ACCEL_OK)
        return status;
    status = make(&read, made);
    if (status != ACCEL_OK) {
        accel_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return ACCEL_OK;
}
