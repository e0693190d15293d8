/* SPDX-License-Identifier: Apache-2.0 */
/* From the ranks' pipes to the launcher's standard output and error.
 *
 * Whole lines are passed on, so that ranks do not cut into each other. Nothing here waits
 * for a slow reader: what cannot be written is kept, and while much is kept the ranks'
 * pipes are left to fill, which slows them down as the reader itself would. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/launch.h"

/* A line longer than this is passed on in pieces. */
#define LINE_SIZE 65536
/* With more pending than this, the ranks wait. */
#define PENDING_SIZE 262144

/* ---- sinks ---- */

accel_status_t accel__sink_init(accel__sink_t *sink, int fd, const char *name)
{
    struct stat status;
    bool waits;

    if (fstat(fd, &status) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot be used", name);
    *sink = (accel__sink_t){.fd = fd, .name = name};
    /* A pipe that polls writable takes this much at once; files never wait. */
    waits = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(fd);
    sink->chunk = waits ? PIPE_BUF : SSIZE_MAX;
    return ACCEL_OK;
}

void accel__sink_fini(accel__sink_t *sink)
{
    accel__text_free(&sink->pending);
    sink->fd = -1;
}

bool accel__sink_has_pending(const accel__sink_t *sink)
{
    return sink->pending.length > sink->sent;
}

bool accel__sink_has_room(const accel__sink_t *sink)
{
    return sink->pending.length - sink->sent < PENDING_SIZE;
}

static void forget_pending(accel__sink_t *sink)
{
    sink->pending.length = sink->sent = 0;
}

accel_status_t accel__sink_flush(accel__sink_t *sink)
{
    size_t size = sink->pending.length - sink->sent;
    ssize_t n;

    if (sink->pending.failed)
        return accel__fail_memory("the ranks' output", sink->pending.length);
    if (size == 0)
        return ACCEL_OK;
    n = write(sink->fd, sink->pending.data + sink->sent, size < sink->chunk ? size : sink->chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return ACCEL_OK;
    if (n < 0) {
        sink->failed = true;
        forget_pending(sink);
        return errno == EPIPE ? ACCEL_END
                              : accel__fail_errno(ACCEL_ERR_IO,
                                                  "%s: cannot be written; the ranks' "
                                                  "output is lost",
                                                  sink->name);
    }
    sink->sent += (size_t)n;
    if (sink->sent == sink->pending.length)
        forget_pending(sink);
    return ACCEL_OK;
}

static void put(accel__sink_t *sink, const char *data, size_t length)
{
    if (sink->fd < 0 || sink->failed)
        return;
    /* Move up once most of it is gone, so that a slow reader does not make it grow. */
    if (sink->sent > PENDING_SIZE) {
        memmove(sink->pending.data, sink->pending.data + sink->sent,
                sink->pending.length - sink->sent);
        sink->pending.length -= sink->sent;
        sink->sent = 0;
    }
    accel__text_append(&sink->pending, data, length);
}

/* Another writer's unfinished line is ended first. */
static void close_line(accel__sink_t *sink, const accel__stream_t *stream)
{
    if (sink->open && sink->open != stream) {
        put(sink, "\n", 1);
        sink->open = NULL;
    }
}

/* ---- lines ---- */

static void remember(accel__tail_t *tail, const char *line, size_t length)
{
    bool rewritten = length > 0 && line[length - 1] == '\r', cut;
    char *slot;

    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    if (length == 0)
        return;
    if (tail->rewritten && tail->count > 0)
        tail->count--;
    slot = tail->lines[tail->count++ % ACCEL__TAIL_LINES];
    cut = length >= ACCEL__TAIL_WIDTH;
    length = cut ? ACCEL__TAIL_WIDTH - sizeof("...") : length;
    memcpy(slot, line, length);
    if (cut)
        memcpy(slot + length, "...", sizeof("..."));
    else
        slot[length] = '\0';
    tail->rewritten = rewritten;
}

/* What a terminal would show of a line that rewrites itself: the part after the last
 * carriage return that something follows. */
static const char *final_part(const char *line, size_t *length)
{
    size_t end = *length;
    const char *last;

    while (end > 0 && (line[end - 1] == '\n' || line[end - 1] == '\r'))
        end--;
    last = memrchr(line, '\r', end);
    if (!last)
        return line;
    *length -= (size_t)(last + 1 - line);
    return last + 1;
}

/* Pass on a line, or a piece of one. */
static void pass(const accel__job_t *job, accel__stream_t *stream, const char *line, size_t length)
{
    accel__rank_t *rank = stream->rank;
    accel__sink_t *sink = stream->sink;
    bool ends = line[length - 1] == '\n', begins;

    close_line(&rank->log, stream);
    put(&rank->log, line, length);
    rank->log.open = ends ? NULL : stream;

    if (!job->options.no_prefix && rank->index > 0)
        line = final_part(line, &length);
    remember(&rank->tail, line, length);
    close_line(sink, stream);
    begins = !sink->open || (sink->returned && line[0] != '\n');
    if (begins && !job->options.no_prefix)
        put(sink, rank->prefix, strlen(rank->prefix));
    put(sink, line, length);
    sink->open = ends ? NULL : stream;
    sink->returned = line[length - 1] == '\r';
}

/* The end of the first line, or NULL. Progress bars end in a carriage return: those of rank
 * 0 are shown as they move, of the others only what remains in the end. */
static const char *line_end(const accel__job_t *job, const accel__stream_t *stream,
                            const char *start, size_t length)
{
    const char *newline = memchr(start, '\n', length);
    const char *back;

    if (job->options.no_prefix || stream->rank->index > 0)
        return newline;
    back = memchr(start, '\r', newline ? (size_t)(newline - start) : length);
    return !back || (newline && newline == back + 1) ? newline : back;
}

static void pass_lines(const accel__job_t *job, accel__stream_t *stream, bool all)
{
    const char *start = stream->data;
    size_t left = stream->length;

    while (left > 0) {
        const char *end = line_end(job, stream, start, left);
        size_t length = end ? (size_t)(end - start) + 1 : left;

        if (!end && !all && left < LINE_SIZE)
            break;
        pass(job, stream, start, length);
        start += length;
        left -= length;
    }
    if (left > 0)
        memmove(stream->data, start, left);
    stream->length = left;
}

accel_status_t accel__stream_read(accel__job_t *job, accel__stream_t *stream, bool drain)
{
    ssize_t n;

    if (!stream->data && !(stream->data = malloc(LINE_SIZE)))
        return accel__fail_memory("the ranks' output", LINE_SIZE);
    n = read(stream->fd, stream->data + stream->length, LINE_SIZE - stream->length);
    if (n < 0 && (errno == EINTR || (errno == EAGAIN && !drain)))
        return ACCEL_OK;
    if (n > 0)
        stream->length += (size_t)n;
    pass_lines(job, stream, n <= 0);
    if (n <= 0) {
        close(stream->fd);
        stream->fd = -1;
        free(stream->data);
        stream->data = NULL;
    }
    return ACCEL_OK;
}

void accel__launch_say(accel__job_t *job, const char *format, ...)
{
    accel__text_t line = {0};
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    accel__text_appendf(&line, "%s\n", text);
    close_line(job->err, NULL);
    if (!line.failed)
        put(job->err, line.data, line.length);
    accel__text_free(&line);
}
