/* SPDX-License-Identifier: Apache-2.0 */
/* Safetensors files: what is written is read; what is no such file is refused with the reason. */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include <accel/safetensors.h>

static const char *path_in_dir(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", test_dir(), name);
    return path;
}

static void write_file(const char *path, const char *header, const void *data, size_t size)
{
    uint64_t length = strlen(header);
    FILE *file = fopen(path, "w");

    CHECK(file && fwrite(&length, 1, 8, file) == 8 && fwrite(header, 1, length, file) == length);
    CHECK(fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void what_is_written_is_read(void)
{
    const char *path = path_in_dir("a.safetensors");
    double wide[3] = {1, -2.5, 3e300};
    uint8_t bytes[5] = {1, 2, 3, 4, 5};
    float matrix[6] = {0, 1, 2, 3, 4, 5}, read[6] = {0}, scalar = 7;
    const char *metadata[] = {"format", "pt", "epoch", "3", NULL};
    const accel_named_tensor_t tensors[] = {{"bytes", ACCEL_TENSOR(bytes, ACCEL_U8, 5)},
                                            {"matrix", ACCEL_TENSOR(matrix, ACCEL_F32, 2, 3)},
                                            {"empty", ACCEL_TENSOR(matrix, ACCEL_F32, 0, 3)},
                                            {"wide", ACCEL_TENSOR(wide, ACCEL_F64, 3)}};
    accel_tensor_t dot;
    accel_safetensors_t *file;
    const accel_tensor_t *view;

    CHECK_OK(
        accel_safetensors_save(path, tensors, 4, ACCEL_SAFETENSORS_OPTIONS(.metadata = metadata)));
    CHECK_OK(accel_safetensors_open(path, &file));
    CHECK_INT(4, accel_safetensors_num_tensors(file));
    CHECK(strcmp(accel_safetensors_name(file, 0), "wide") == 0); /* the widest lies first */
    CHECK(!accel_safetensors_name(file, 4) && !accel_safetensors_name(file, -1));
    CHECK(strcmp(accel_safetensors_metadata(file, "epoch"), "3") == 0);
    CHECK(!accel_safetensors_metadata(file, "x"));
    CHECK_OK(accel_safetensors_tensor(file, "matrix", &view));
    CHECK(view->ndim == 2 && view->shape[0] == 2 && view->shape[1] == 3);
    CHECK(memcmp(view->data, matrix, sizeof(matrix)) == 0);
    CHECK_OK(accel_safetensors_read(file, "matrix", ACCEL_TENSOR(read, ACCEL_F32, 2, 3)));
    CHECK(memcmp(read, matrix, sizeof(matrix)) == 0);
    CHECK_OK(accel_safetensors_tensor(file, "empty", &view));
    CHECK_INT(0, accel_tensor_numel(view));
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel_safetensors_read(file, "matrix", ACCEL_TENSOR(read, ACCEL_F32, 3, 2)));
    CHECK_ERROR("tensor 'matrix' is float32 [2, 3]; expected float32 [3, 2]");
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_safetensors_tensor(file, "matrix.", &view));
    CHECK_ERROR("has no tensor 'matrix.' (did you mean 'matrix'?)");
    accel_safetensors_close(file);

    accel_tensor_view(&dot, &scalar, ACCEL_F32, 0, NULL);
    CHECK_OK(accel_safetensors_save(path, &(accel_named_tensor_t){"s", &dot}, 1, NULL));
    CHECK_OK(accel_safetensors_open(path, &file));
    CHECK_OK(accel_safetensors_tensor(file, "s", &view));
    CHECK(view->ndim == 0 && *(const float *)view->data == 7);
    CHECK(strcmp(accel_safetensors_metadata(file, "format"), "pt") == 0);
    accel_safetensors_close(file);
    CHECK_OK(accel_safetensors_save(path, NULL, 0, NULL));
    CHECK_OK(accel_safetensors_open(path, &file));
    CHECK_INT(0, accel_safetensors_num_tensors(file));
    accel_safetensors_close(file);
}

/* dtypes that are not ours, and places that are not aligned, are no defect of the file. */
static void what_is_not_ours_is_named(void)
{
    const char *path = path_in_dir("b.safetensors");
    accel_safetensors_t *file;
    const accel_tensor_t *view;
    float data = 1.5f, read = 0;
    unsigned char bytes[5];

    bytes[0] = 1;
    memcpy(bytes + 1, &data, 4);
    write_file(path,
               "{\"b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
               "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}    ",
               bytes, 5);
    CHECK_OK(accel_safetensors_open(path, &file));
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_safetensors_tensor(file, "b", &view));
    CHECK_ERROR("dtype I8");
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_safetensors_tensor(file, "f", &view));
    CHECK_ERROR("accel_safetensors_read()");
    CHECK_OK(accel_safetensors_read(file, "f", ACCEL_TENSOR(&read, ACCEL_F32, 1)));
    CHECK(read == data);
    accel_safetensors_close(file);
}

static void bools_are_bytes(void)
{
    const char *path = path_in_dir("bools.safetensors");
    const char *const bools[] = {"mask", "floats", NULL};
    unsigned char mask[] = {1, 0, 1}, bytes[] = {7, 8};
    float floats[] = {1};
    const accel_named_tensor_t tensors[] = {{"mask", ACCEL_TENSOR(mask, ACCEL_U8, 3)},
                                            {"bytes", ACCEL_TENSOR(bytes, ACCEL_U8, 2)},
                                            {"floats", ACCEL_TENSOR(floats, ACCEL_F32, 1)}};
    accel_safetensors_t *file;
    const accel_tensor_t *view;

    CHECK_OK(accel_safetensors_save(path, tensors, 3, ACCEL_SAFETENSORS_OPTIONS(.bools = bools)));
    CHECK_OK(accel_safetensors_open(path, &file));
    CHECK_STR("F32", accel_safetensors_dtype(file, 0)); /* only bytes can be bools */
    CHECK_STR("U8", accel_safetensors_dtype(file, 1));
    CHECK_STR("mask", accel_safetensors_name(file, 2));
    CHECK_STR("BOOL", accel_safetensors_dtype(file, 2));
    CHECK(!accel_safetensors_dtype(file, 3));
    CHECK_OK(accel_safetensors_tensor(file, "mask", &view));
    CHECK(view->dtype == ACCEL_U8 && memcmp(view->data, mask, 3) == 0);
    accel_safetensors_close(file);
}

static void expect_bad(const char *header, size_t size, const char *text)
{
    static const char data[64];
    const char *path = path_in_dir("bad.safetensors");
    accel_safetensors_t *file;

    write_file(path, header, data, size);
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel_safetensors_open(path, &file));
    CHECK(!file);
    CHECK_ERROR("bad.safetensors is no valid safetensors file");
    CHECK_ERROR(text);
}

#define ONE(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void bad_headers_are_refused(void)
{
    expect_bad("", 8, "its header is no JSON");
    expect_bad("[]", 0, "the header is no object");
    expect_bad("{\"a\":1}", 0, "tensor 'a' has the dtype (none)");
    expect_bad("{\"a\":{}, \"a\":{}}", 0, "duplicate");
    expect_bad(ONE("\"F31\"", "[1]", "[0,4]"), 4, "tensor 'a' has the dtype F31");
    expect_bad(ONE("\"F32\"", "[2]", "[0,4]"), 4, "takes 8 bytes by its shape and 4");
    expect_bad(ONE("\"F32\"", "[1]", "[0,8]"), 4, "do not lie in its 4 bytes");
    expect_bad(ONE("\"F32\"", "[1]", "[4,0]"), 4, "do not lie in its 4 bytes");
    expect_bad(ONE("\"F32\"", "[1]", "[0]"), 4, "do not lie in its 4 bytes");
    expect_bad(ONE("\"F32\"", "[1]", "[-4,0]"), 4, "do not lie in its 4 bytes");
    expect_bad(ONE("\"F32\"", "[-1]", "[0,4]"), 4, "no shape that can be");
    expect_bad(ONE("\"F32\"", "[1.5]", "[0,4]"), 4, "no shape that can be");
    expect_bad(ONE("\"F32\"", "[4294967296,4294967296,4294967296]", "[0,4]"), 4,
               "no shape that can be");
    expect_bad(ONE("\"F32\"", "[1]", "[0,4]"), 8, "take 4 bytes, but there are 8");
    expect_bad("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
               "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
               6, "tensor 'b' begins at 2; expected 4");
    expect_bad("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ has 'a', which is no text");
}

static void short_and_false_files_are_refused(void)
{
    const char *path = path_in_dir("short");
    uint64_t lengths[] = {UINT64_MAX, UINT64_C(1) << 40, 9};
    accel_safetensors_t *file;
    FILE *stream;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        stream = fopen(path, "w");
        CHECK(stream && fwrite(&lengths[i], 1, 8, stream) == 8 && fputs("{}", stream) >= 0);
        CHECK(fclose(stream) == 0);
        CHECK_STATUS(ACCEL_ERR_FORMAT, accel_safetensors_open(path, &file));
        CHECK_ERROR("in a file of 10");
    }
    CHECK(truncate(path, 7) == 0);
    CHECK_STATUS(ACCEL_ERR_FORMAT, accel_safetensors_open(path, &file));
    CHECK_ERROR("it has 7 bytes");
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_safetensors_open(path_in_dir("none"), &file));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_safetensors_open(test_dir(), &file));
}

static void bad_tensors_are_not_written(void)
{
    const char *path = path_in_dir("c.safetensors");
    float x = 1;
    const accel_named_tensor_t twice[] = {{"x", ACCEL_TENSOR(&x, ACCEL_F32, 1)},
                                          {"x", ACCEL_TENSOR(&x, ACCEL_F32, 1)}};
    const accel_named_tensor_t reserved[] = {{"__metadata__", ACCEL_TENSOR(&x, ACCEL_F32, 1)}};
    const accel_named_tensor_t garbled[] = {{"\xff", ACCEL_TENSOR(&x, ACCEL_F32, 1)}};

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_safetensors_save(path, twice, 2, NULL));
    CHECK_ERROR("two tensors 'x'");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_safetensors_save(path, reserved, 1, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_safetensors_save(path, garbled, 1, NULL));
    CHECK_ERROR("no UTF-8");
    CHECK(access(path, F_OK) != 0);
    CHECK_STATUS(ACCEL_ERR_IO, accel_safetensors_save("/nonexistent/x", twice, 1, NULL));
}

TEST_MAIN(TEST(what_is_written_is_read), TEST(bools_are_bytes), TEST(what_is_not_ours_is_named),
          TEST(bad_headers_are_refused), TEST(short_and_false_files_are_refused),
          TEST(bad_tensors_are_not_written))
