/* SPDX-License-Identifier: Apache-2.0 */
/* Files to the URLs that the server hands out. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "upload.h"

enum { MOST_HEADERS = 32 };

/* A header that the server wants with the upload; one with a line break would be two. */
static bool is_header(const char *text)
{
    return text && strchr(text, ':') && !strpbrk(text, "\r\n") &&
           strncasecmp(text, "authorization:", 14) != 0;
}

/* Behind the first, which takes curl's own content type away unless the server names one. */
static size_t gather_headers(json_t *list, const char *headers[MOST_HEADERS + 1])
{
    size_t count = 1;
    for (size_t i = 0; i < json_array_size(list) && count <= MOST_HEADERS; i++) {
        const char *header = json_string_value(json_array_get(list, i));
        if (!is_header(header))
            continue;
        if (!strncasecmp(header, "content-type:", 13))
            headers[0] = header;
        else
            headers[count++] = header;
    }
    return count;
}

static accel_status_t send_put(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                               const accel__wandb_put_t *put, int fd, int64_t length,
                               long *http_status)
{
    const char *headers[MOST_HEADERS + 1] = {"Content-Type:"}; /* none, but the server's own */
    accel__wandb_listener_t listener = accel__wandb_upload_listener(up);
    accel__wandb_retry_t retry = accel__wandb_upload_retry(up, ACCEL__WANDB_RETRY_TRANSFER, false);
    accel__wandb_reply_t reply;
    accel__wandb_request_t request = {
        .method = ACCEL__WANDB_PUT,
        .url = put->url,
        .headers = headers,
        .num_headers = gather_headers(put->headers, headers),
        .body = put->body,
        .size = put->body ? strlen(put->body) : 0,
        .file = fd,
        .length = length,
        .limit = 1 << 20,
        .anonymous = true,
        .timeout = accel__wandb_upload_timeout(up, ACCEL__WANDB_RETRY_TRANSFER, false)};
    accel_status_t status = ACCEL_OK;
    accel__wandb_http_insist(http, &request, &retry, &listener, &reply);
    *http_status = reply.status;
    if (accel__wandb_reply_good(&reply)) {
        accel__wandb_upload_answered(up);
    } else {
        char text[400];
        accel__wandb_reply_describe(&reply, text, sizeof(text));
        status = accel__wandb_fail(reply.outcome == ACCEL__WANDB_CANCELLED ? ACCEL_ERR_CANCELLED
                                                                           : ACCEL_ERR_IO,
                                   "wandb: cannot upload %s: %s", put->path, text);
    }
    accel__wandb_reply_free(&reply);
    return status;
}

accel_status_t accel__wandb_transfer_put(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                         const accel__wandb_put_t *put, long *http_status)
{
    struct stat about;
    *http_status = 0;
    if (put->body)
        return send_put(up, http, put, -1, 0, http_status);
    int fd = open(put->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not be waited for */
    if (fd < 0)
        return accel__wandb_fail_errno(errno == ENOENT ? ACCEL_ERR_NOT_FOUND : ACCEL_ERR_IO, errno,
                                       "cannot upload", put->path);
    accel_status_t status;
    if (fstat(fd, &about) < 0 || !S_ISREG(about.st_mode))
        status = accel__wandb_fail(ACCEL_ERR_IO, "wandb: cannot upload %s: not a regular file",
                                   put->path);
    else
        status = send_put(up, http, put, fd, about.st_size, http_status);
    close(fd);
    return status;
}
