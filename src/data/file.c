/* SPDX-License-Identifier: Apache-2.0 */
#include "data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static accel_status_t look(accel__file_t *file, const char *what)
{
    struct stat status;

    /* Without O_NONBLOCK, opening a named pipe would wait for a writer. */
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0)
        return accel__fail_errno(errno == ENOENT ? ACCEL_ERR_NOT_FOUND : ACCEL_ERR_IO,
                                 "%s: cannot open %s", file->path, what);
    if (fstat(file->fd, &status) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot look at the file", file->path);
    if (!S_ISREG(status.st_mode))
        return accel__fail(ACCEL_ERR_IO, "%s: not a regular file", file->path);
    file->size = (uint64_t)status.st_size;
    return ACCEL_OK;
}

accel_status_t accel__file_open(accel__file_t *file, const char *path, const char *what)
{
    accel_status_t status;

    *file = (accel__file_t){.fd = -1};
    file->path = accel__strdup(path);
    if (!file->path)
        return accel__fail_memory("a path", strlen(path) + 1);
    status = look(file, what);
    if (status != ACCEL_OK)
        accel__file_close(file);
    return status;
}

void accel__file_close(accel__file_t *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (accel__file_t){.fd = -1};
}

accel_status_t accel__file_count(const accel__file_t *file, uint64_t header_size, size_t unit,
                                 const char *units, int64_t *count)
{
    uint64_t body;

    accel__assume(unit > 0);
    if (file->size < header_size)
        return accel__fail(ACCEL_ERR_FORMAT, "%s: %llu bytes, shorter than the header of %llu",
                           file->path, (unsigned long long)file->size,
                           (unsigned long long)header_size);
    body = file->size - header_size;
    if (body % unit != 0)
        return accel__fail(ACCEL_ERR_FORMAT,
                           "%s: %llu bytes after a header of %llu are not a whole number of %s of "
                           "%zu bytes (%llu are left over)",
                           file->path, (unsigned long long)body, (unsigned long long)header_size,
                           units, unit, (unsigned long long)(body % unit));
    *count = (int64_t)(body / unit);
    return ACCEL_OK;
}

/* What a read has filled is taken off the pieces. */
static void advance(struct iovec **pieces, int *count, size_t filled)
{
    while (*count > 0 && filled >= (*pieces)->iov_len) {
        filled -= (*pieces)->iov_len;
        (*pieces)++;
        (*count)--;
    }
    if (*count > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + filled;
        (*pieces)->iov_len -= filled;
    }
}

static accel_status_t fail_short(const accel__file_t *file)
{
    struct stat status;

    if (fstat(file->fd, &status) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot look at the file", file->path);
    return accel__fail(ACCEL_ERR_IO, "%s: the file was cut from %llu to %llu bytes while in use",
                       file->path, (unsigned long long)file->size,
                       (unsigned long long)status.st_size);
}

accel_status_t accel__file_read(const accel__file_t *file, uint64_t offset, struct iovec *pieces,
                                int count)
{
    while (count > 0) {
        ssize_t filled = preadv(file->fd, pieces, count, (off_t)offset);

        if (filled < 0 && errno == EINTR)
            continue;
        if (filled < 0)
            return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot read at byte %llu", file->path,
                                     (unsigned long long)offset);
        if (filled == 0)
            return fail_short(file);
        offset += (uint64_t)filled;
        advance(&pieces, &count, (size_t)filled);
    }
    return ACCEL_OK;
}
