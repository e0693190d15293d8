/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include "host.h"

enum { BLOCK = 32768, CHUNK_HEADER = 7 };
enum { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

static const unsigned char FILE_HEADER[] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};

int accel__wandb_log_open(accel__wandb_log_t *log, const char *path)
{
    *log = (accel__wandb_log_t){.fd = accel__wandb_open(path, O_WRONLY | O_CREAT | O_EXCL, 0666)};
    if (log->fd < 0)
        return errno;
    accel__wandb_text_append(&log->pending, FILE_HEADER, sizeof(FILE_HEADER));
    return accel__wandb_log_commit(log);
}

static void put_chunk(accel__wandb_log_t *log, const unsigned char *data, size_t size, int kind)
{
    unsigned char header[CHUNK_HEADER];
    header[6] = (unsigned char)kind;
    uLong crc = crc32(crc32(0, NULL, 0), header + 6, 1);
    if (size)
        crc = crc32(crc, data, (uInt)size);
    for (int i = 0; i < 4; i++)
        header[i] = (unsigned char)(crc >> (8 * i) & 0xff);
    header[4] = (unsigned char)(size & 0xff);
    header[5] = (unsigned char)(size >> 8);
    accel__wandb_text_append(&log->pending, header, sizeof(header));
    accel__wandb_text_append(&log->pending, data, size);
}

static int chunk_kind(bool first, bool last)
{
    if (first)
        return last ? FULL : FIRST;
    return last ? LAST : MIDDLE;
}

void accel__wandb_log_append(accel__wandb_log_t *log, const void *record, size_t size)
{
    static const unsigned char zeros[CHUNK_HEADER];
    const unsigned char *data = record;
    bool first = true, last;
    do {
        size_t left = BLOCK - (size_t)((log->committed + log->pending.length) % BLOCK);
        if (left < CHUNK_HEADER) {
            accel__wandb_text_append(&log->pending, zeros, left);
            left = BLOCK;
        }
        size_t part = size < left - CHUNK_HEADER ? size : left - CHUNK_HEADER;
        last = part == size;
        put_chunk(log, data, part, chunk_kind(first, last));
        data += part;
        size -= part;
        first = false;
    } while (!last && !log->pending.failed);
}

int accel__wandb_log_commit(accel__wandb_log_t *log)
{
    int error = log->pending.failed
                    ? ENOMEM
                    : accel__wandb_write_all(log->fd, log->pending.data, log->pending.length);
    if (!error)
        log->committed += log->pending.length;
    /* half a row would hide every later one from readers */
    else if (ftruncate(log->fd, (off_t)log->committed) == 0)
        (void)lseek(log->fd, (off_t)log->committed, SEEK_SET);
    if (log->pending.failed || log->pending.capacity > 1 << 20)
        accel__wandb_text_free(&log->pending);
    log->pending.length = 0;
    return error;
}

void accel__wandb_log_close(accel__wandb_log_t *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    accel__wandb_text_free(&log->pending);
}
