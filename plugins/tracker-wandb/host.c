/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const accel_host_v1_t *the_host;

const accel_host_v1_t *accel__wandb_host(void)
{
    return the_host;
}

void accel__wandb_set_host(const accel_host_v1_t *host)
{
    the_host = host;
}

const char *accel__wandb_last_error(void)
{
    bool told = the_host->struct_size > offsetof(accel_host_v1_t, last_error);
    return told && the_host->last_error ? the_host->last_error() : "";
}

accel_status_t accel__wandb_fail_errno(accel_status_t status, int error, const char *what,
                                       const char *path)
{
    char text[128];
    const char *reason = strerror_r(error, text, sizeof(text));
    return accel__wandb_fail(status, "wandb: %s %s: %s", what, path, reason);
}

accel_status_t accel__wandb_fail_memory(void)
{
    return accel__wandb_fail(ACCEL_ERR_NO_MEMORY, "wandb: out of memory");
}

static accel_status_t random_bytes(unsigned char *data, size_t size)
{
    while (size) {
        ssize_t got = getrandom(data, size, 0);
        if (got < 0 && errno != EINTR)
            return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", "random bytes");
        if (got > 0) {
            data += got;
            size -= (size_t)got;
        }
    }
    return ACCEL_OK;
}

accel_status_t accel__wandb_random_id(char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t filled = 0;
    while (filled < length) {
        unsigned char bytes[64];
        accel_status_t status = random_bytes(bytes, sizeof(bytes));
        if (status)
            return status;
        for (size_t i = 0; i < sizeof(bytes) && filled < length; i++) {
            if (bytes[i] < 252) /* 7 * 36: every letter is as likely */
                text[filled++] = letters[bytes[i] % 36];
        }
    }
    text[length] = '\0';
    return ACCEL_OK;
}

accel_status_t accel__wandb_uuid(char text[37])
{
    unsigned char bytes[16];
    accel_status_t status = random_bytes(bytes, sizeof(bytes));
    if (status)
        return status;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(ms >> (40 - 8 * i) & 0xff);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x70);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    char *at = text;
    for (int i = 0; i < 16; i++) {
        static const char hex[] = "0123456789abcdef";
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = hex[bytes[i] >> 4];
        *at++ = hex[bytes[i] & 15];
    }
    *at = '\0';
    return ACCEL_OK;
}

/* Edit distance, row by row. */
static size_t distance(const char *a, const char *b)
{
    size_t row[65], length = strlen(b);
    if (length > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[length];
}

const char *accel__wandb_nearest(const char *name, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t smallest = strlen(name) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(name, names[i]);
        if (d < smallest) {
            smallest = d;
            nearest = names[i];
        }
    }
    return nearest;
}

char *accel__wandb_read_small(const char *path, size_t limit)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *data = malloc(limit + 1);
    size_t length = 0;
    ssize_t got = data ? 1 : -1;
    while (got > 0 && length <= limit) {
        got = read(fd, data + length, limit + 1 - length);
        if (got > 0)
            length += (size_t)got;
    }
    close(fd);
    if (got < 0 || length > limit) {
        free(data);
        return NULL;
    }
    data[length] = '\0';
    return data;
}

char *accel__wandb_join(const char *directory, const char *name)
{
    size_t length = strlen(directory), more = strlen(name);
    bool slash = !length || directory[length - 1] != '/';
    char *path = malloc(length + slash + more + 1);
    if (!path)
        return NULL;
    memcpy(path, directory, length);
    if (slash)
        path[length++] = '/';
    memcpy(path + length, name, more);
    path[length + more] = '\0';
    return path;
}

int accel__wandb_make_dirs(const char *path)
{
    if (!*path)
        return ENOENT;
    char *copy = strdup(path);
    if (!copy)
        return ENOMEM;
    int error = 0;
    for (char *slash = strchr(copy + 1, '/'); slash && !error; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            error = errno;
        *slash = '/';
    }
    struct stat info;
    if (!error && mkdir(copy, 0777) < 0)
        error = errno;
    if (error == EEXIST)
        error = stat(copy, &info) == 0 && S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
    free(copy);
    return error;
}

int accel__wandb_open(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), error = errno;
    close(fd);
    errno = error;
    return higher;
}

int accel__wandb_write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written == 0)
            return EIO;
        if (written < 0 && errno != EINTR)
            return errno;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}
