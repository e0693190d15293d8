/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

accel_status_t accel__write_full(int fd, const void *data, size_t size, const char *path)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot write %zu bytes", path, size);
        at += n;
        size -= (size_t)n;
    }
    return ACCEL_OK;
}

accel_status_t accel__make_dirs(const char *path)
{
    char *copy = accel__strdup(path);
    struct stat status;
    accel_status_t result = ACCEL_OK;

    if (!copy)
        return accel__fail_memory("a path", strlen(path) + 1);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST && stat(copy, &status) != 0)
            result = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot make the directory", copy);
        *slash = '/';
        if (result != ACCEL_OK)
            break;
    }
    if (result == ACCEL_OK && mkdir(copy, 0777) != 0 &&
        (errno != EEXIST || stat(copy, &status) != 0 || !S_ISDIR(status.st_mode)))
        result = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot make the directory", copy);
    free(copy);
    return result;
}
