/* SPDX-License-Identifier: Apache-2.0 */
/* A .wandb log from anywhere, synced. The first byte says what the rest is: 0, the file; else
 * records, each behind its length in two bytes, so that the checksums are right. */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "log.h"
#include "upload/reader.h"

static void write_records(const char *path, const uint8_t *data, size_t size)
{
    accel__wandb_log_t log;
    unlink(path);
    FUZZ_CHECK(accel__wandb_log_open(&log, path) == 0);
    while (size >= 2) {
        size_t length = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2;
        size -= 2;
        if (length > size)
            length = size;
        accel__wandb_log_append(&log, data, length);
        data += length;
        size -= length;
    }
    FUZZ_CHECK(accel__wandb_log_commit(&log) == 0);
    accel__wandb_log_close(&log);
}

/* It ends, and no record is larger than the file. */
static void read_all(const char *path)
{
    accel__wandb_reader_t reader;
    accel__wandb_read_t found;
    if (accel__wandb_reader_open(&reader, path) != ACCEL_OK)
        return;
    while ((found = accel__wandb_reader_next(&reader)) == ACCEL__WANDB_READ_RECORD)
        FUZZ_CHECK(reader.record.length <= accel__wandb_reader_size(&reader));
    FUZZ_CHECK(found != ACCEL__WANDB_READ_FAILED);
    accel__wandb_reader_close(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_begin();
    const char *path = fuzz_path("run-r.wandb");
    if (!size)
        return 0;
    if (data[0])
        write_records(path, data + 1, size - 1);
    else
        fuzz_write(path, data + 1, size - 1);
    read_all(path);
    fuzz_answers(NULL, 0);
    fuzz_sync(path);
    return 0;
}
