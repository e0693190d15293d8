/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "data/loader.h"

static const accel_field_t pair[] = {{.name = "x", .dtype = ACCEL_F32, .ndim = 1, .shape = {3}},
                                     {.name = "y", .dtype = ACCEL_U8}};
#define PAIR_SIZE 13

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", test_dir(), name);
    return path;
}

/* A file of `size` bytes that count up. */
static const char *write_file(const char *name, size_t size)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");

    CHECK(file);
    for (size_t i = 0; i < size; i++)
        CHECK(fputc((int)(i & 0xff), file) != EOF);
    CHECK(fclose(file) == 0);
    return path;
}

static accel_loader_t *loader_of(accel_dataset_t *dataset, int64_t batch_size)
{
    accel_loader_t *loader;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = batch_size), &loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    return loader;
}

static accel_status_t get_nothing(void *context, int64_t index, void *const *fields)
{
    (void)context, (void)index, (void)fields;
    return ACCEL_OK;
}

static void callback_options_are_checked(void)
{
    const accel_field_t no_dtype = {.name = "x"};
    const accel_field_t deep = {.dtype = ACCEL_F32, .ndim = ACCEL_MAX_NDIM};
    const accel_field_t flat = {.dtype = ACCEL_F32, .ndim = 1, .shape = {0}};
    const accel_field_t huge = {.dtype = ACCEL_F32, .ndim = 2, .shape = {INT64_MAX, 8}};
    struct {
        accel_dataset_options_t options;
        const char *text;
    } bad[] = {
        {{.length = -1, .get = get_nothing, .fields = pair, .num_fields = 2}, "length is -1"},
        {{.length = 1, .fields = pair, .num_fields = 2}, "`get` is NULL"},
        {{.length = 1, .get = get_nothing, .fields = pair}, "0 fields"},
        {{.length = 1, .get = get_nothing, .fields = pair, .num_fields = -2}, "-2 fields"},
        {{.length = 1, .get = get_nothing, .num_fields = 2}, "NULL"},
        {{.length = 1, .get = get_nothing, .fields = &no_dtype, .num_fields = 1}, "dtype 0x0"},
        {{.length = 1, .get = get_nothing, .fields = &deep, .num_fields = 1}, "ndim 8"},
        {{.length = 1, .get = get_nothing, .fields = &flat, .num_fields = 1}, "extent 0"},
        {{.length = 1, .get = get_nothing, .fields = &huge, .num_fields = 1}, "too large"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        accel_dataset_t *dataset = (accel_dataset_t *)&bad;

        bad[i].options.struct_size = sizeof(bad[i].options);
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_dataset_create(&bad[i].options, &dataset));
        CHECK_ERROR(bad[i].text);
        CHECK(dataset == NULL);
    }
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_dataset_create(&bad[0].options, NULL));
    accel_dataset_destroy(NULL);
    CHECK_INT(0, accel_dataset_length(NULL));
}

static void rows_of_tensors(void)
{
    float x[4][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}};
    int64_t y[4] = {10, 11, 12, 13};
    const accel_tensor_t *tensors[] = {ACCEL_TENSOR(x, ACCEL_F32, 4, 2),
                                       ACCEL_TENSOR(y, ACCEL_I64, 4)};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_tensor_dataset_create(tensors, 2, &dataset));
    CHECK_INT(4, accel_dataset_length(dataset));
    loader = loader_of(dataset, 3);
    CHECK_INT(0, loader->reader.num_workers); /* not worth a thread */
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(2, batch.num_fields);
    CHECK_INT(2, batch.fields[0].ndim);
    CHECK_INT(3, batch.fields[0].shape[0]);
    CHECK_INT(2, batch.fields[0].shape[1]);
    CHECK_INT(1, batch.fields[1].ndim);
    CHECK(memcmp(batch.fields[0].data, x, 3 * sizeof(*x)) == 0);
    CHECK(memcmp(batch.fields[1].data, y, 3 * sizeof(*y)) == 0);
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(1, batch.rows);
    CHECK(memcmp(batch.fields[0].data, x[3], sizeof(*x)) == 0);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void tensors_are_checked(void)
{
    float x[4] = {0};
    const accel_tensor_t *uneven[] = {ACCEL_TENSOR(x, ACCEL_F32, 4), ACCEL_TENSOR(x, ACCEL_F32, 3)};
    const accel_tensor_t *missing[] = {ACCEL_TENSOR(x, ACCEL_F32, 4), NULL};
    const accel_tensor_t *number[] = {
        &(accel_tensor_t){.data = x, .device = {ACCEL_CPU, 0}, .dtype = ACCEL_F32}};
    const accel_tensor_t *no_data[] = {ACCEL_TENSOR(NULL, ACCEL_F32, 4)};
    accel_dataset_t *dataset;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(uneven, 2, &dataset));
    CHECK_ERROR("tensor 1 has 3 rows, tensor 0 has 4");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(missing, 2, &dataset));
    CHECK_ERROR("tensor 1: the tensor is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(number, 1, &dataset));
    CHECK_ERROR("no dimension");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(no_data, 1, &dataset));
    CHECK_ERROR("data is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(uneven, 0, &dataset));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tensor_dataset_create(NULL, 1, &dataset));
    CHECK(dataset == NULL);
}

static void records_after_a_header(void)
{
    const char *path = write_file("records", 7 + 5 * PAIR_SIZE);
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_record_dataset_create(path, pair, 2, 7, &dataset));
    CHECK_INT(5, accel_dataset_length(dataset));
    loader = loader_of(dataset, 2);
    for (int64_t at = 0; accel_loader_next(loader, &batch) == ACCEL_OK; at += batch.rows)
        for (int64_t row = 0; row < batch.rows; row++) {
            const unsigned char *x = batch.fields[0].data, *y = batch.fields[1].data;
            int64_t first = 7 + (at + row) * PAIR_SIZE;

            for (int64_t b = 0; b < 12; b++)
                CHECK_INT((first + b) & 0xff, x[row * 12 + b]);
            CHECK_INT((first + 12) & 0xff, y[row]);
        }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* Records beyond 4 GiB are where they belong. The file is sparse, and the last of as many
 * processes as there are records starts with the last one. */
static void records_beyond_4_gib(void)
{
    const accel_field_t block = {.name = "n", .dtype = ACCEL_I64, .ndim = 1, .shape = {512}};
    const int64_t last = (INT64_C(5) << 30) / 4096 - 1, value = 42;
    const char *path = path_of("sparse");
    accel__active_loaders_t active = {NULL};
    accel__link_t ring;
    accel__loader_world_t world = {
        .process_index = last, .num_processes = last + 1, .active = &active, .prepared = &ring};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK(ftruncate(fd, (last + 1) * 4096) == 0);
    CHECK(pwrite(fd, &value, sizeof(value), last * 4096) == sizeof(value));
    CHECK(close(fd) == 0);
    CHECK_OK(accel_record_dataset_create(path, &block, 1, 0, &dataset));
    CHECK_INT(last + 1, accel_dataset_length(dataset));
    CHECK_OK(accel_loader_create(dataset, NULL, &loader));
    accel__link_init(&ring);
    CHECK_OK(accel__loader_prepare(loader, &world));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(1, batch.rows);
    CHECK_INT(last, batch.indices[0]);
    CHECK_INT(value, *(const int64_t *)batch.fields[0].data);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void files_that_are_no_records(void)
{
    accel_dataset_t *dataset;
    const char *path = path_of("missing");

    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_record_dataset_create(path, pair, 2, 0, &dataset));
    CHECK_ERROR(path);
    CHECK_ERROR("No such file");
    path = write_file("odd", 5 * PAIR_SIZE + 4);
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel_record_dataset_create(path, pair, 2, 0, &dataset));
    CHECK_ERROR(path);
    CHECK_ERROR("69 bytes after a header of 0 are not a whole number of records of 13 bytes");
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel_record_dataset_create(path, pair, 2, 1000, &dataset));
    CHECK_ERROR("69 bytes, shorter than the header of 1000");
    CHECK_STATUS(ACCEL_ERR_IO, accel_record_dataset_create(test_dir(), pair, 2, 0, &dataset));
    CHECK_ERROR("not a regular file");
    path = path_of("pipe");
    CHECK(mkfifo(path, 0600) == 0);
    CHECK_STATUS(ACCEL_ERR_IO, accel_record_dataset_create(path, pair, 2, 0, &dataset));
    CHECK_ERROR("not a regular file");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_record_dataset_create(NULL, pair, 2, 0, &dataset));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_record_dataset_create("", pair, 2, 0, &dataset));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_record_dataset_create(path, pair, 0, 0, &dataset));
    CHECK(dataset == NULL);
}

static void unreadable_records(void)
{
    const char *path = write_file("secret", PAIR_SIZE);
    accel_dataset_t *dataset;

    CHECK(chmod(path, 0) == 0);
    if (access(path, R_OK) == 0) /* root reads everything */
        return;
    CHECK_STATUS(ACCEL_ERR_IO, accel_record_dataset_create(path, pair, 2, 0, &dataset));
    CHECK_ERROR("Permission denied");
}

static void no_records(void)
{
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_record_dataset_create(write_file("empty", 0), pair, 2, 0, &dataset));
    CHECK_INT(0, accel_dataset_length(dataset));
    loader = loader_of(dataset, 4);
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    CHECK_OK(accel_record_dataset_create(write_file("header", 16), pair, 2, 16, &dataset));
    CHECK_INT(0, accel_dataset_length(dataset));
    accel_dataset_destroy(dataset);
}

/* A file that is cut under us is an error, not the end of the process. */
static void records_that_shrink(void)
{
    const accel_field_t block = {.name = "b", .dtype = ACCEL_U8, .ndim = 1, .shape = {4096}};
    const char *path = write_file("shrinks", 8 * 4096);
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_record_dataset_create(path, &block, 1, 0, &dataset));
    CHECK_OK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2, .prefetch = ACCEL_OFF), &loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK(truncate(path, 4096) == 0);
    CHECK_STATUS(ACCEL_ERR_IO, accel_loader_next(loader, &batch));
    CHECK_ERROR("was cut from 32768 to 4096 bytes");
    CHECK_ERROR(path);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(callback_options_are_checked), TEST(rows_of_tensors), TEST(tensors_are_checked),
          TEST(records_after_a_header), TEST(records_beyond_4_gib), TEST(files_that_are_no_records),
          TEST(unreadable_records), TEST(no_records), TEST(records_that_shrink))
