/* SPDX-License-Identifier: Apache-2.0 */
/* Paths come from a server and folders from anywhere: every step is made from the folder before it,
 * and no symbolic link is followed, so that nothing is written outside. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote.h"
#include "run.h"

bool accel__wandb_path_stays_inside(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.') ||
            (length == 2 && !memcmp(path, "..", 2)))
            return false;
        if (!path[length])
            return true;
        path += length + 1;
    }
}

bool accel__wandb_digest_hex(const char *base64, char hex[33])
{
    unsigned char bytes[18];
    if (!base64 || strlen(base64) != 24 || strcmp(base64 + 22, "==") != 0 ||
        EVP_DecodeBlock(bytes, (const unsigned char *)base64, 24) != 18)
        return false;
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* The folder that the path's last part is in, and that part. -1 and errno otherwise. */
static int open_folder(int root_fd, const char *path, bool make, const char **name)
{
    int folder = dup(root_fd);
    const char *slash;
    while (folder >= 0 && (slash = strchr(path, '/'))) {
        char *part = strndup(path, (size_t)(slash - path));
        int next = -1, error = ENOMEM;
        if (part && make && mkdirat(folder, part, 0777) < 0 && errno != EEXIST)
            error = errno;
        else if (part) {
            next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            error = errno;
        }
        free(part);
        close(folder);
        folder = next;
        errno = error;
        path = slash + 1;
    }
    *name = path;
    return folder;
}

bool accel__wandb_place_has(int root_fd, const char *path, const char *digest)
{
    const char *name;
    struct stat facts;
    char found[25];
    int64_t size;
    bool has = false;
    int folder = open_folder(root_fd, path, false, &name);
    int fd = folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) &&
        accel__wandb_fd_digest(fd, path, -1, found, &size) == ACCEL_OK)
        has = !strcmp(found, digest);
    if (fd >= 0)
        close(fd);
    if (folder >= 0)
        close(folder);
    return has;
}

static accel_status_t copy_checked(int from, int to, const char *path, const char *digest)
{
    char found[25];
    int64_t size;
    accel_status_t status = accel__wandb_fd_digest(from, path, to, found, &size);
    if (!status && strcmp(found, digest) != 0)
        status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                   "wandb: '%s' has the digest %s, and the artifact says %s", path,
                                   found, digest);
    return status;
}

accel_status_t accel__wandb_place_copy(int root_fd, const char *path, int from, const char *digest)
{
    const char *name;
    char aside[48], id[9];
    accel_status_t status = accel__wandb_random_id(id, 8);
    if (status)
        return status;
    snprintf(aside, sizeof(aside), ".accel-%s.part", id);
    int folder = open_folder(root_fd, path, true, &name);
    int fd = folder < 0 ? -1
                        : openat(folder, aside,
                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        int error = errno;
        if (folder >= 0)
            close(folder);
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error,
                                       error == ELOOP || error == ENOTDIR
                                           ? "no folder, or a symbolic link, is in the way of"
                                           : "cannot write the artifact's file",
                                       path);
    }
    status = copy_checked(from, fd, path, digest);
    if (close(fd) < 0 && !status)
        status =
            accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write the artifact's file", path);
    if (!status && renameat(folder, aside, folder, name) < 0)
        status =
            accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write the artifact's file", path);
    if (status)
        (void)unlinkat(folder, aside, 0);
    close(folder);
    return status;
}
