/* SPDX-License-Identifier: Apache-2.0 */
/* Corpora of tokens, lists of files, and files that are cut while they are read. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_ranks.h"

static const char *path_of(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", test_dir(), name);
    return path;
}

static void write_file(const char *path, const void *header, size_t header_size, const void *data,
                       size_t size)
{
    FILE *file = fopen(path, "wb");

    CHECK(file);
    CHECK(fwrite(header, 1, header_size, file) == header_size);
    CHECK(fwrite(data, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

/* ---- tokens ---- */

enum { TOKENS = 10000 };

/* Token i, in a corpus of this width. */
static int64_t token_at(int64_t i, int32_t size)
{
    return size == 1 ? i * 7 % 256 : size == 2 ? i * 31 % 65536 : (i * 2654435761) % 2147483647;
}

static const char *write_tokens(int32_t size, size_t header_size)
{
    const char *path = path_of("tokens.bin");
    static unsigned char data[TOKENS * 4];
    char header[1024];

    for (int64_t i = 0; i < TOKENS; i++) {
        uint32_t token = (uint32_t)token_at(i, size);
        uint16_t half = (uint16_t)token;
        uint8_t byte = (uint8_t)token;

        memcpy(data + i * size,
               size == 4   ? (void *)&token
               : size == 2 ? (void *)&half
                           : &byte,
               (size_t)size);
    }
    memset(header, 'h', sizeof(header));
    write_file(path, header, header_size, data, (size_t)(TOKENS * size));
    return path;
}

static int64_t element(const accel_tensor_t *field, int64_t k)
{
    return field->dtype == ACCEL_I64 ? ((const int64_t *)field->data)[k]
                                     : ((const int32_t *)field->data)[k];
}

static void check_tokens(const accel_token_options_t *options)
{
    int64_t length = options->sequence_length, stride = options->stride ? options->stride : length;
    int32_t size = options->token_size ? options->token_size : 2;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int64_t samples = 0;

    CHECK_OK(accel_token_dataset_create(options, &dataset));
    CHECK_OK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_size = 3, .shuffle = true, .num_workers = 2),
        &loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        CHECK(batch.fields[0].shape[1] == length && batch.fields[1].shape[1] == length);
        CHECK(batch.fields[0].dtype == (options->dtype ? options->dtype : ACCEL_I64));
        for (int64_t row = 0; row < batch.rows; row++)
            for (int64_t k = 0; k < length; k++) {
                int64_t at = batch.indices[row] * stride + k;

                CHECK_INT(token_at(at, size), element(&batch.fields[0], row * length + k));
                CHECK_INT(token_at(at + 1, size), element(&batch.fields[1], row * length + k));
            }
        samples += batch.rows;
    }
    /* As many as fit with their last target, and no more. */
    CHECK_INT(samples, accel_dataset_length(dataset));
    CHECK((samples - 1) * stride + length + 1 <= TOKENS);
    CHECK(samples * stride + length + 1 > TOKENS);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void windows_of_tokens(void)
{
    static const int64_t lengths[] = {1, 2, 64, 2047, 2048, 2049, 4095, 5000, TOKENS - 1};

    for (int32_t size = 1; size <= 4; size *= 2)
        for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
            size_t header = i % 2 ? 1024 : 0;
            const char *path = write_tokens(size, header);

            check_tokens(ACCEL_TOKEN_OPTIONS(.path = path, .token_size = size,
                                             .header_size = header, .sequence_length = lengths[i],
                                             .stride = lengths[i] < 10 ? 5 : 0));
            check_tokens(ACCEL_TOKEN_OPTIONS(.path = path, .token_size = size,
                                             .header_size = header, .sequence_length = lengths[i],
                                             .stride = 333, .dtype = ACCEL_I32));
        }
}

/* A corpus of 5 GiB, of which all but the end is a hole. */
static void tokens_beyond_4_gib(void)
{
    const int64_t tokens = (INT64_C(5) << 30) / 2, length = 1024;
    const char *path = path_of("sparse.bin");
    uint16_t last[2] = {41, 42};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 2 * (tokens + 1)) == 0);
    CHECK(pwrite(fd, last, sizeof(last), 2 * (tokens - 1)) == sizeof(last));
    CHECK(close(fd) == 0);
    CHECK_OK(accel_token_dataset_create(
        ACCEL_TOKEN_OPTIONS(.path = path, .sequence_length = length), &dataset));
    CHECK_INT(tokens / length, accel_dataset_length(dataset));
    CHECK_OK(accel_loader_create(dataset, NULL, &loader));
    CHECK_OK(accel_loader_skip(loader, tokens / length - 1));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(0, element(&batch.fields[0], length - 2));
    CHECK_INT(41, element(&batch.fields[0], length - 1));
    CHECK_INT(42, element(&batch.fields[1], length - 1));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void corpora_that_are_none(void)
{
    const char *path = path_of("odd.bin"), *missing = path_of("missing.bin");
    uint32_t large[3] = {1, UINT32_C(0x80000000), 3};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    struct {
        accel_token_options_t options;
        const char *text;
    } bad[] = {{{.sequence_length = 4}, "the path is NULL"},
               {{.path = "", .sequence_length = 4}, "the path is empty"},
               {{.path = path, .token_size = 3, .sequence_length = 4}, "token_size is 3"},
               {{.path = path}, "sequence_length is 0"},
               {{.path = path, .sequence_length = 4, .stride = -1}, "stride -1"},
               {{.path = path, .sequence_length = 4, .dtype = ACCEL_F32}, "dtype is float32"}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bad[i].options.struct_size = sizeof(bad[i].options);
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_token_dataset_create(&bad[i].options, &dataset));
        CHECK_ERROR(bad[i].text);
    }
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND,
                 accel_token_dataset_create(
                     ACCEL_TOKEN_OPTIONS(.path = missing, .sequence_length = 4), &dataset));
    CHECK_ERROR("missing.bin: cannot open the tokens: No such file");
    write_file(path, "", 0, "abcde", 5);
    CHECK_STATUS(ACCEL_ERR_FORMAT,
                 accel_token_dataset_create(ACCEL_TOKEN_OPTIONS(.path = path, .sequence_length = 1),
                                            &dataset));
    CHECK_ERROR("5 bytes after a header of 0 are not a whole number of tokens of 2 bytes");
    CHECK_OK(accel_token_dataset_create(
        ACCEL_TOKEN_OPTIONS(.path = path, .token_size = 1, .sequence_length = 5), &dataset));
    CHECK_INT(0, accel_dataset_length(dataset)); /* there is no target for the last */
    accel_dataset_destroy(dataset);

    write_file(path, "", 0, large, sizeof(large));
    CHECK_OK(
        accel_token_dataset_create(ACCEL_TOKEN_OPTIONS(.path = path, .token_size = 4,
                                                       .sequence_length = 2, .dtype = ACCEL_I32),
                                   &dataset));
    CHECK_OK(accel_loader_create(dataset, NULL, &loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel_loader_next(loader, &batch));
    CHECK_ERROR("reading the tokens failed at sample 0");
    CHECK_ERROR("token 1 is 2147483648, which is no int32");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* ---- several files ---- */

static accel_dataset_t *record_file(const char *name, int64_t first, int64_t count)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    const char *path = path_of(name);
    accel_dataset_t *dataset;
    int64_t numbers[64];

    for (int64_t i = 0; i < count; i++)
        numbers[i] = first + i;
    write_file(path, "", 0, numbers, (size_t)count * sizeof(*numbers));
    CHECK_OK(accel_record_dataset_create(path, &field, 1, 0, &dataset));
    return dataset;
}

static accel_status_t get_from_37(void *context, int64_t index, void *const *fields)
{
    return data_get_index(context, index + 37, fields);
}

/* Files, a callback, arrays and nothing at all, one after the other. */
static void one_after_the_other(void)
{
    const accel_field_t field = {.name = "n", .dtype = ACCEL_I64};
    int64_t array[] = {40, 41, 42, 43};
    accel_dataset_t *parts[6], *all;
    accel_loader_t *loader;
    accel_batch_t batch;

    parts[0] = record_file("a.rec", 0, 20);
    parts[1] = record_file("b.rec", 0, 0);
    parts[2] = record_file("c.rec", 20, 17);
    CHECK_OK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = 3, .get = get_from_37, .fields = &field, .num_fields = 1),
        &parts[3]));
    CHECK_OK(accel_tensor_dataset_create(
        (const accel_tensor_t *[]){ACCEL_TENSOR(array, ACCEL_I64, 4)}, 1, &parts[4]));
    parts[5] = record_file("d.rec", 44, 30);
    CHECK_OK(accel_concat_dataset_create(parts, 6, &all));
    CHECK_INT(74, accel_dataset_length(all));
    for (int32_t workers = 0; workers < 3; workers++) {
        CHECK_OK(accel_loader_create(
            all,
            ACCEL_LOADER_OPTIONS(.batch_size = 9, .shuffle = workers == 2, .num_workers = workers,
                                 .prefetch = workers ? ACCEL_ON : ACCEL_OFF),
            &loader));
        ACCEL_EPOCH(loader, 0, &batch) {
            data_check_values(&batch);
        }
        accel_loader_destroy(loader);
    }
    accel_dataset_destroy(all);
    for (int p = 0; p < 6; p++)
        accel_dataset_destroy(parts[p]);
}

static void parts_that_do_not_fit(void)
{
    const accel_field_t real = {.name = "x", .dtype = ACCEL_F32};
    data_count_t count = {.length = 3};
    accel_dataset_t *all, *parts[2] = {data_indices(3), data_stream(&count, true)};

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_concat_dataset_create(parts, 2, &all));
    CHECK_ERROR("dataset 1 is a stream");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_concat_dataset_create(parts, 0, &all));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_concat_dataset_create(NULL, 1, &all));
    accel_dataset_destroy(parts[1]);
    CHECK_OK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = 3, .get = data_get_index, .fields = &real, .num_fields = 1),
        &parts[1]));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_concat_dataset_create(parts, 2, &all));
    CHECK_ERROR("dataset 1 has other fields than dataset 0");
    accel_dataset_destroy(parts[1]);
    parts[1] = NULL;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_concat_dataset_create(parts, 2, &all));
    CHECK_ERROR("dataset 1 is NULL");
    CHECK(all == NULL);
    accel_dataset_destroy(parts[0]);
}

/* ---- files that are cut ---- */

/* While a batch is read: its samples come from a callback that cuts the file of the record
 * dataset that stands behind it in the list. */
typedef struct cutter {
    const char *path;
    off_t size;
} cutter_t;

static accel_status_t cut(void *context, int64_t index, void *const *fields)
{
    const cutter_t *cutter = context;

    CHECK(truncate(cutter->path, cutter->size) == 0);
    memset(fields[0], (int)index, 4096);
    return ACCEL_OK;
}

static void a_file_that_is_cut_within_a_batch(void)
{
    const accel_field_t block = {.name = "b", .dtype = ACCEL_U8, .ndim = 1, .shape = {4096}};
    static char data[8 * 4096];
    cutter_t cutter = {.path = path_of("cut.rec")};
    accel_dataset_t *parts[2], *all;
    accel_loader_t *loader;
    accel_batch_t batch;

    /* Whole pages away, and half a record. */
    for (cutter.size = 0; cutter.size <= 3 * 4096 + 100; cutter.size += 3 * 4096 + 100) {
        write_file(cutter.path, "", 0, data, sizeof(data));
        CHECK_OK(
            accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = 1, .get = cut, .context = &cutter,
                                                       .fields = &block, .num_fields = 1),
                                 &parts[0]));
        CHECK_OK(accel_record_dataset_create(cutter.path, &block, 1, 0, &parts[1]));
        CHECK_OK(accel_concat_dataset_create(parts, 2, &all));
        CHECK_OK(accel_loader_create(all, ACCEL_LOADER_OPTIONS(.batch_size = 9), &loader));
        CHECK_OK(accel_loader_begin(loader, 0));
        CHECK_STATUS(ACCEL_ERR_IO, accel_loader_next(loader, &batch));
        CHECK_ERROR("cut.rec: the file was cut from 32768 to ");
        accel_loader_destroy(loader);
        accel_dataset_destroy(all);
        accel_dataset_destroy(parts[0]);
        accel_dataset_destroy(parts[1]);
    }
}

/* Many fields: more pieces than one call takes. Their sum is beyond what is read in one go. */
static void records_of_many_fields(void)
{
    enum { FIELDS = 300, RECORDS = 5 };
    static accel_field_t fields[FIELDS];
    static uint8_t data[RECORDS * FIELDS * (FIELDS + 1) / 2];
    const char *path = path_of("many.rec");
    size_t record = 0;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    for (int32_t f = 0; f < FIELDS; f++) {
        fields[f] = (accel_field_t){.dtype = ACCEL_U8, .ndim = 1, .shape = {f + 1}};
        record += (size_t)f + 1;
    }
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 2654435761U >> 24);
    write_file(path, "", 0, data, sizeof(data));
    CHECK_OK(accel_record_dataset_create(path, fields, FIELDS, 0, &dataset));
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = RECORDS), &loader));
    ACCEL_EPOCH(loader, 0, &batch) {
        for (size_t row = 0; row < RECORDS; row++) {
            size_t at = row * record;

            for (size_t f = 0; f < FIELDS; at += f + 1, f++)
                CHECK(memcmp((char *)batch.fields[f].data + row * (f + 1), data + at, f + 1) == 0);
        }
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(windows_of_tokens), TEST(tokens_beyond_4_gib), TEST(corpora_that_are_none),
          TEST(one_after_the_other), TEST(parts_that_do_not_fit),
          TEST(a_file_that_is_cut_within_a_batch), TEST(records_of_many_fields))
