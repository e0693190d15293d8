/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 32768, CHUNK_HEADER = 7, FILE_HEADER = 7 };
enum { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };
enum { LARGEST_RECORD = 1 << 30 }; /* nobody writes such: a hostile file shall not fill memory */

typedef struct {
    unsigned char bytes[BLOCK]; /* header and payload */
    size_t size;                /* of the payload */
    int kind;
} chunk_t;

typedef enum { CHUNK, PADDING, MISSING, DAMAGED, FAILED } found_t;

accel_status_t accel__wandb_reader_open(accel__wandb_reader_t *reader, const char *path)
{
    static const unsigned char expected[FILE_HEADER] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};
    unsigned char header[FILE_HEADER] = {0};
    *reader = (accel__wandb_reader_t){
        .fd = open(path, O_RDONLY | O_CLOEXEC), .path = strdup(path), .offset = FILE_HEADER};
    accel_status_t status = ACCEL_OK;
    if (!reader->path)
        status = accel__wandb_fail_memory();
    else if (reader->fd < 0)
        status = accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", path);
    else if (pread(reader->fd, header, sizeof(header), 0) != sizeof(header) ||
             memcmp(header, expected, sizeof(header)) != 0)
        status = accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: %s is no .wandb log", path);
    if (status)
        accel__wandb_reader_close(reader);
    return status;
}

void accel__wandb_reader_close(accel__wandb_reader_t *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->path);
    accel__wandb_text_free(&reader->record);
    *reader = (accel__wandb_reader_t){.fd = -1};
}

uint64_t accel__wandb_reader_size(const accel__wandb_reader_t *reader)
{
    struct stat about;
    return fstat(reader->fd, &about) == 0 && about.st_size > 0 ? (uint64_t)about.st_size : 0;
}

/* All `size` bytes, or fewer at the end of the file; -1: the system refused. */
static ssize_t read_at(const accel__wandb_reader_t *reader, void *data, size_t size, uint64_t at)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(reader->fd, (char *)data + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static uint32_t little_endian(const unsigned char *bytes, int count)
{
    uint32_t value = 0;
    for (int i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static bool checksum_good(const chunk_t *chunk)
{
    uLong crc = crc32(crc32(0, NULL, 0), chunk->bytes + 6, (uInt)(chunk->size + 1));
    return crc == little_endian(chunk->bytes, 4);
}

/* The chunk at `at`. In a growing file, broken bytes in the last block may be a write that is
 * under way: they are missing until another block follows. */
static found_t read_chunk(const accel__wandb_reader_t *reader, uint64_t at, chunk_t *chunk)
{
    size_t left = BLOCK - (size_t)(at % BLOCK);
    if (left < CHUNK_HEADER)
        return PADDING;
    ssize_t got = read_at(reader, chunk->bytes, CHUNK_HEADER, at);
    if (got < 0)
        return FAILED;
    if (got < CHUNK_HEADER)
        return MISSING;
    chunk->size = little_endian(chunk->bytes + 4, 2);
    chunk->kind = chunk->bytes[6];
    bool good = chunk->size <= left - CHUNK_HEADER && chunk->kind >= FULL && chunk->kind <= LAST;
    if (good) {
        got = read_at(reader, chunk->bytes + CHUNK_HEADER, chunk->size, at + CHUNK_HEADER);
        if (got < 0)
            return FAILED;
        if ((size_t)got < chunk->size)
            return MISSING;
        good = checksum_good(chunk);
    }
    if (good)
        return CHUNK;
    return accel__wandb_reader_size(reader) > at - at % BLOCK + BLOCK ? DAMAGED : MISSING;
}

static uint64_t next_block(uint64_t at)
{
    return at - at % BLOCK + BLOCK;
}

/* The chunks from `at` on as one record. Leaves reader->offset where the next look begins, which is
 * `at` again if the record is not whole yet. */
static found_t read_record(accel__wandb_reader_t *reader)
{
    chunk_t chunk; /* 32 KiB: not to be cleared for every record */
    uint64_t at = reader->offset;
    chunk.kind = 0;
    chunk.size = 0;
    reader->record.length = 0;
    for (bool first = true;; first = false) {
        found_t found = read_chunk(reader, at, &chunk);
        if (found == PADDING) {
            at = next_block(at);
            found = read_chunk(reader, at, &chunk);
        }
        if (found == MISSING || found == FAILED)
            return found;
        if (found == DAMAGED) {
            reader->offset = next_block(at);
            return DAMAGED;
        }
        bool starts = chunk.kind == FULL || chunk.kind == FIRST;
        if (first && !starts) { /* the rest of a record whose beginning was lost */
            reader->offset = at + CHUNK_HEADER + chunk.size;
            return DAMAGED;
        }
        if ((!first && starts) || reader->record.length + chunk.size > LARGEST_RECORD) {
            reader->offset = starts ? at : next_block(at);
            return DAMAGED;
        }
        accel__wandb_text_append(&reader->record, chunk.bytes + CHUNK_HEADER, chunk.size);
        at += CHUNK_HEADER + chunk.size;
        if (chunk.kind == FULL || chunk.kind == LAST) {
            reader->offset = at;
            return CHUNK;
        }
    }
}

accel__wandb_read_t accel__wandb_reader_next(accel__wandb_reader_t *reader)
{
    if (reader->record.capacity > 1 << 20) /* one large record must not hold its memory for good */
        accel__wandb_text_free(&reader->record);
    for (;;) {
        switch (read_record(reader)) {
        case CHUNK:
            if (!reader->record.failed)
                return ACCEL__WANDB_READ_RECORD;
            accel__wandb_text_free(&reader->record);
            (void)accel__wandb_fail_memory();
            return ACCEL__WANDB_READ_FAILED;
        case DAMAGED:
            reader->skipped++;
            break;
        case MISSING:
        case PADDING:
            return accel__wandb_reader_size(reader) > reader->offset ? ACCEL__WANDB_READ_TAIL
                                                                     : ACCEL__WANDB_READ_END;
        case FAILED:
            (void)accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", reader->path);
            return ACCEL__WANDB_READ_FAILED;
        }
    }
}
