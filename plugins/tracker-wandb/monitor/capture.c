/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's streams stdout and stderr, replaced by streams that write to the same descriptor
 * and then hand on a copy.
 *
 * The descriptors themselves stay as they are: what was printed has reached the terminal, pipe or
 * file before anybody records it, whether or not the program lives on, and children write to where
 * they always did. docs/decisions/console-by-stdio.md weighs this against redirected descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "monitor.h"

enum { MAX_OUTPUTS = 16 };

typedef struct {
    FILE *real, *wrapper;
    bool is_stderr, closed; /* closed: by the program, which is not to be touched again */
} stream_t;

/* There is one pair of streams in a process, whatever the number of runs. A wrapper is never
 * freed: the program may have copied the pointer, and then goes on writing through it. */
static struct {
    pthread_rwlock_t lock;
    pid_t owner;
    accel__wandb_output_t *outputs[MAX_OUTPUTS];
    size_t count;
    stream_t streams[2];
} console = {.lock = PTHREAD_RWLOCK_INITIALIZER, .streams = {{0}, {.is_stderr = true}}};

/* A forked child prints on its own account. Where the lock is taken, a run begins or ends at this
 * moment, or a signal's handler prints while its own thread does that: it is not waited for. */
static void hand_on(bool is_stderr, const char *data, size_t size, bool may_be_last)
{
    if (console.owner != getpid() || pthread_rwlock_tryrdlock(&console.lock))
        return;
    for (size_t i = 0; i < console.count; i++)
        accel__wandb_output_take(console.outputs[i], is_stderr, data, size, may_be_last);
    pthread_rwlock_unlock(&console.lock);
}

/* ---- the wrapper's functions ---- */

static ssize_t write_through(void *cookie, const char *data, size_t size)
{
    stream_t *stream = cookie;
    (void)fflush(stream->real); /* whoever copied the pointer before prints there */
    int error = accel__wandb_write_all(fileno(stream->real), data, size);
    int saved = error ? error : errno;
    hand_on(stream->is_stderr, data, size, stream->is_stderr);
    errno = saved;
    return error ? 0 : (ssize_t)size;
}

static int seek_through(void *cookie, off64_t *position, int whence)
{
    const stream_t *stream = cookie;
    off64_t found = lseek64(fileno(stream->real), *position, whence);
    if (found < 0)
        return -1;
    *position = found;
    return 0;
}

static int close_through(void *cookie)
{
    stream_t *stream = cookie;
    stream->closed = true;
    return fclose(stream->real);
}

/* ---- putting them in place ---- */

/* As the real stream is buffered. */
static int buffering(const stream_t *stream)
{
    size_t size = __fbufsize(stream->real);
    bool untouched = size == 0;
    if (size == 1 || (untouched && stream->is_stderr))
        return _IONBF;
    /* setvbuf() without a buffer leaves a stream untouched but for this mark */
    if (__flbf(stream->real) || (untouched && isatty(fileno(stream->real)) == 1))
        return _IOLBF;
    return _IOFBF;
}

/* What a stream with functions of its own lacks, and a program may ask of stdout: a descriptor, for
 * isatty(fileno(stdout)) and dup2(); and room for wide characters. freopen() and wprintf() turn the
 * wrapper into a plain stream of that descriptor: the output is right, and no longer recorded. */
static void take_over(FILE *wrapper, const FILE *real)
{
    wrapper->_fileno = real->_fileno;
    wrapper->_codecvt = real->_codecvt;
    wrapper->_wide_data = real->_wide_data;
    wrapper->_mode = real->_mode;
}

static bool make_wrapper(stream_t *stream)
{
    static const cookie_io_functions_t functions = {
        .write = write_through, .seek = seek_through, .close = close_through};
    int mode = buffering(stream);
    stream->wrapper = fopencookie(stream, "w", functions);
    if (!stream->wrapper)
        return false;
    (void)setvbuf(stream->wrapper, NULL, mode, mode == _IONBF ? 0 : BUFSIZ);
    take_over(stream->wrapper, stream->real);
    return true;
}

static void wrap(FILE **variable, stream_t *stream)
{
    if (stream->closed || *variable == stream->wrapper || !*variable || fileno(*variable) < 0)
        return;
    if (fcntl(fileno(*variable), F_GETFD) < 0 || fwide(*variable, 0) > 0)
        return; /* closed by whoever started the program; or a stream of wide characters */
    (void)fflush(*variable);
    stream->real = *variable;
    if (!stream->wrapper && !make_wrapper(stream))
        return;
    *variable = stream->wrapper;
    accel__wandb_iostream_move(stream->is_stderr, stream->real, stream->wrapper);
}

static void unwrap(FILE **variable, const stream_t *stream)
{
    if (!stream->closed && stream->wrapper && *variable == stream->wrapper) {
        (void)fflush(stream->wrapper);
        *variable = stream->real;
        accel__wandb_iostream_move(stream->is_stderr, stream->wrapper, stream->real);
    }
}

bool accel__wandb_capture_begin(accel__wandb_output_t *output)
{
    pthread_rwlock_wrlock(&console.lock);
    if (console.owner != getpid())
        console.count = 0; /* a forked child: the runs in the list are its parent's */
    console.owner = getpid();
    bool room = console.count < MAX_OUTPUTS;
    if (room) {
        console.outputs[console.count++] = output;
        wrap(&stdout, &console.streams[0]);
        wrap(&stderr, &console.streams[1]);
    }
    pthread_rwlock_unlock(&console.lock);
    return room;
}

static void flush_wrappers(void)
{
    for (size_t i = 0; i < 2; i++) {
        if (console.streams[i].wrapper && !console.streams[i].closed)
            (void)fflush(console.streams[i].wrapper);
    }
}

void accel__wandb_capture_end(accel__wandb_output_t *output)
{
    flush_wrappers(); /* before the lock, as it hands on */
    pthread_rwlock_wrlock(&console.lock);
    for (size_t i = 0; i < console.count; i++) {
        if (console.outputs[i] == output)
            console.outputs[i--] = console.outputs[--console.count];
    }
    bool last = console.count == 0;
    pthread_rwlock_unlock(&console.lock);
    if (last) {
        unwrap(&stdout, &console.streams[0]);
        unwrap(&stderr, &console.streams[1]);
    }
}

void accel__wandb_capture_say(const char *line)
{
    const stream_t *stream = &console.streams[1];
    if (stream->closed)
        return;
    bool is_wrapped = stream->wrapper && stderr == stream->wrapper;
    fputs(line, is_wrapped ? stream->real : stderr);
    if (is_wrapped)
        hand_on(true, line, strlen(line), false);
}

/* A program that ends without ending its run: its last words are in the log all the same. */
__attribute__((destructor)) static void record_the_rest(void)
{
    if (console.owner != getpid() || !console.count)
        return;
    flush_wrappers();
    for (size_t i = 0; i < console.count; i++)
        accel__wandb_output_drain(console.outputs[i]);
}
