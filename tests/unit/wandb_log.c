/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the W&B plugin that have known answers: framing, digests, numbers. */
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/base.h"
#include "run.h"
#include "test.h"

static const accel_host_v1_t host = {sizeof(host), accel__fail,      accel__log,
                                     "0.1.0",      accel_media_view, accel_last_error};

static json_t *load_vectors(const char *name)
{
    char path[4096];
    const char *source = getenv("ACCEL_SOURCE_DIR");
    snprintf(path, sizeof(path), "%s/tests/vectors/%s", source ? source : ".", name);
    json_t *vectors = json_load_file(path, 0, NULL);
    CHECK(vectors);
    return vectors;
}

static const char *test_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", test_dir(), name);
    return path;
}

static char *read_all(const char *path, size_t *size)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    CHECK(file && fstat(fileno(file), &info) == 0);
    char *data = malloc((size_t)info.st_size + 1);
    CHECK(data);
    *size = fread(data, 1, (size_t)info.st_size, file);
    CHECK_INT(info.st_size, *size);
    fclose(file);
    return data;
}

static void md5_text(const char *data, size_t size, char text[33])
{
    unsigned char hash[16];
    CHECK(EVP_Digest(data, size, hash, NULL, EVP_md5(), NULL) == 1);
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

static void check_chunks(const unsigned char *data, json_t *chunks)
{
    size_t index;
    json_t *chunk;
    json_array_foreach(chunks, index, chunk)
    {
        const unsigned char *at = data + json_integer_value(json_array_get(chunk, 0));
        char crc[9];
        snprintf(crc, sizeof(crc), "%02x%02x%02x%02x", at[3], at[2], at[1], at[0]);
        CHECK_STR(json_string_value(json_array_get(chunk, 1)), crc);
        CHECK_INT(json_integer_value(json_array_get(chunk, 2)), at[4] | at[5] << 8);
        CHECK_INT(json_integer_value(json_array_get(chunk, 3)), at[6]);
    }
}

/* A vector's records; `together`: committed at once, or one by one. */
static void write_case(json_t *lengths, const char *path, bool together)
{
    accel__wandb_log_t log;
    size_t record;
    json_t *length;
    CHECK_INT(0, accel__wandb_log_open(&log, path));
    json_array_foreach(lengths, record, length)
    {
        size_t size = (size_t)json_integer_value(length);
        unsigned char *data = malloc(size + 1);
        CHECK(data);
        for (size_t i = 0; i < size; i++)
            data[i] = (unsigned char)((i * 31 + record * 7 + 1) & 255);
        accel__wandb_log_append(&log, data, size);
        free(data);
        if (!together)
            CHECK_INT(0, accel__wandb_log_commit(&log));
    }
    CHECK_INT(0, accel__wandb_log_commit(&log));
    accel__wandb_log_close(&log);
}

static void framing_vectors(void)
{
    json_t *vectors = load_vectors("wandb_framing.json"), *vector;
    const char *name;
    size_t cases = 0;
    json_object_foreach(json_object_get(vectors, "cases"), name, vector)
    {
        for (int together = 0; together < 2; together++, cases++) {
            size_t size;
            char md5[33];
            const char *path = test_path("framing");
            write_case(json_object_get(vector, "lengths"), path, together);
            char *data = read_all(path, &size);
            CHECK_INT(json_integer_value(json_object_get(vector, "file_size")), size);
            check_chunks((unsigned char *)data,
                         json_object_get(vector, "chunks_offset_crc_len_type"));
            md5_text(data, size, md5);
            CHECK_STR(json_string_value(json_object_get(vector, "md5")), md5);
            free(data);
            CHECK(unlink(path) == 0);
        }
    }
    CHECK_INT(20, cases);
    json_decref(vectors);
}

static void an_existing_log_is_left_alone(void)
{
    accel__wandb_log_t log;
    const char *path = test_path("there");
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CHECK(accel__wandb_log_open(&log, path) != 0);
}

/* What did not fit is cut off again, and what was there before stays. */
static void a_failed_commit_leaves_whole_records(void)
{
    static char record[6000];
    accel__wandb_log_t log;
    struct stat info;
    const char *path = test_path("full");
    CHECK_INT(0, accel__wandb_log_open(&log, path));
    accel__wandb_log_append(&log, record, sizeof(record));
    CHECK_INT(0, accel__wandb_log_commit(&log));
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){10000, RLIM_INFINITY}) == 0);
    accel__wandb_log_append(&log, record, sizeof(record));
    CHECK(accel__wandb_log_commit(&log) != 0);
    CHECK(stat(path, &info) == 0);
    CHECK_INT(7 + 7 + sizeof(record), info.st_size);
    accel__wandb_log_append(&log, record, 1000);
    CHECK_INT(0, accel__wandb_log_commit(&log));
    CHECK(stat(path, &info) == 0);
    CHECK_INT(7 + 7 + sizeof(record) + 7 + 1000, info.st_size);
    accel__wandb_log_close(&log);
}

/* ---- digests ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const accel__wandb_manifest_line_t *)a)->path,
                  ((const accel__wandb_manifest_line_t *)b)->path);
}

static void check_artifact(json_t *vector)
{
    json_t *files = json_object_get(vector, "files_utf8"), *value;
    json_t *contents = json_object_get(json_object_get(vector, "manifest"), "contents");
    json_t *reference = json_object_get(vector, "reference_entry");
    accel__wandb_manifest_line_t lines[8];
    static char digests[8][25];
    const char *name;
    size_t count = 0;
    json_object_foreach(files ? files : reference, name, value)
    {
        lines[count].path = name;
        lines[count].digest = json_string_value(json_object_get(value, "digest"));
        if (files) {
            int64_t size;
            const char *path = test_path("content");
            FILE *file = fopen(path, "w");
            CHECK(file && fputs(json_string_value(value), file) >= 0 && fclose(file) == 0);
            CHECK_OK(accel__wandb_file_digest(path, -1, digests[count], &size));
            json_t *entry = json_object_get(contents, name);
            CHECK_STR(json_string_value(json_object_get(entry, "digest")), digests[count]);
            CHECK_INT(json_integer_value(json_object_get(entry, "size")), size);
            lines[count].digest = digests[count];
        }
        count++;
    }
    char digest[33];
    qsort(lines, count, sizeof(*lines), by_path);
    CHECK_OK(accel__wandb_manifest_digest(lines, count, digest));
    CHECK_STR(json_string_value(json_object_get(vector, "digest")), digest);
}

static void artifact_digest_vectors(void)
{
    accel__wandb_set_host(&host);
    json_t *vectors = load_vectors("wandb_artifact_digest.json"), *vector;
    size_t index;
    CHECK_INT(4, json_array_size(vectors));
    json_array_foreach(vectors, index, vector) check_artifact(vector);
    json_decref(vectors);
}

/* ---- numbers ---- */

static void check_number(double value, const char *front, const char *core)
{
    accel__wandb_text_t text = {0};
    accel__wandb_json_number(&text, value, ACCEL__WANDB_JSON_FRONT);
    CHECK_STR(front, text.data);
    accel__wandb_text_free(&text);
    accel__wandb_json_number(&text, value, ACCEL__WANDB_JSON_CORE);
    CHECK_STR(core, text.data);
    accel__wandb_text_free(&text);
}

/* Expected: what wandb 0.31.0 writes for the same values. */
static void numbers_are_spelt_as_stock_does(void)
{
    check_number(0, "0.0", "0");
    check_number(-0.0, "-0.0", "-0");
    check_number(100, "100.0", "100");
    check_number(1e-4, "0.0001", "0.0001");
    check_number(-1.5e-5, "-0.000015", "-1.5e-05");
    check_number(1e-6, "1e-6", "1e-06");
    check_number(1.25e-7, "1.25e-7", "1.25e-07");
    check_number(5e-324, "5e-324", "5e-324");
    check_number(1234567890123456.0, "1234567890123456.0", "1.234567890123456e+15");
    check_number(1e16, "1e+16", "1e+16");
    check_number(1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308");
    check_number(0.1 + 0.2, "0.30000000000000004", "0.30000000000000004");
    check_number(123456, "123456.0", "123456");
    check_number(1234567.5, "1234567.5", "1.2345675e+06");
    check_number(NAN, "null", "NaN");
    check_number(INFINITY, "Infinity", "Infinity");
    check_number(-INFINITY, "-Infinity", "-Infinity");
}

static void numbers_read_back(void)
{
    uint64_t bits = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 20000; i++) {
        double value;
        accel__wandb_text_t text = {0};
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        accel__wandb_json_number(&text, value,
                                 i % 2 ? ACCEL__WANDB_JSON_FRONT : ACCEL__WANDB_JSON_CORE);
        CHECK(strtod(text.data, NULL) == value);
        accel__wandb_text_free(&text);
    }
}

/* A program may log to one step for hours. */
static void row_lets_go_of_what_was_replaced(void)
{
    const accel_item_t kept[] = {accel_item_int("kept", 1), accel_item_end()};
    accel__wandb_row_t row = {0};
    accel__wandb_set_host(&host);
    CHECK_OK(accel__wandb_row_merge(&row, kept, ACCEL__WANDB_JSON_CORE));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100000; i++) {
        const accel_item_t values[] = {accel_item_int("x", i), accel_item_end()};
        CHECK_OK(accel__wandb_row_merge(&row, values, ACCEL__WANDB_JSON_CORE));
    }
    CHECK(mallinfo2().uordblks < before + (4 << 20));
    CHECK_INT(2, (long long)row.count);
    CHECK_STR("1", accel__wandb_row_find(&row, "kept")->json);
    CHECK_STR("99999", accel__wandb_row_find(&row, "x")->json);
    accel__wandb_row_clear(&row);
    free(row.leaves);
}

TEST_MAIN(TEST(row_lets_go_of_what_was_replaced), TEST(framing_vectors),
          TEST(an_existing_log_is_left_alone), TEST(a_failed_commit_leaves_whole_records),
          TEST(artifact_digest_vectors), TEST(numbers_are_spelt_as_stock_does),
          TEST(numbers_read_back))
