/* SPDX-License-Identifier: Apache-2.0 */
/* A data file, read by place. It is not mapped: a page of a mapping that lies beyond the end of a
 * file that was cut since is a signal, where a read is an error. */
#ifndef ACCEL_DATA_FILE_H
#define ACCEL_DATA_FILE_H

#include <sys/uio.h>

#include "base/base.h"

typedef struct accel__file {
    char *path;
    int fd;        /* -1: not open */
    uint64_t size; /* when it was opened */
} accel__file_t;

/* `what` says what is in it, for the message: "the records". On an error the file is closed. */
accel_status_t accel__file_open(accel__file_t *file, const char *path, const char *what);
void accel__file_close(accel__file_t *file);

/* Bytes after the header, which are to be a whole number of units of `unit` bytes: how many units.
 * `units` says what they are. */
accel_status_t accel__file_count(const accel__file_t *file, uint64_t header_size, size_t unit,
                                 const char *units, int64_t *count);

/* Fill all of the pieces from `offset` on; they are used up. Any number of threads. */
accel_status_t accel__file_read(const accel__file_t *file, uint64_t offset, struct iovec *pieces,
                                int count);

#endif
