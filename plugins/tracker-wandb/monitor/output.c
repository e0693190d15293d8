/* SPDX-License-Identifier: Apache-2.0 */
/* What the program prints, on its way into the log: taken into memory by the thread that prints,
 * written as output_raw records and to files/output.log by a thread of ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fold.h"
#include "monitor.h"
#include "utf8.h"

enum {
    CAPACITY = 32 << 20,   /* bytes of address space; memory only where text is */
    KEPT = 1 << 20,        /* memory that stays after a burst */
    PIECE_MAX = 32 << 10,  /* text of a record */
    COMMIT_SIZE = 1 << 18, /* text between two writes of the log */
    GATHER = 50,           /* milliseconds from the first text to the record */
    LINE_WAIT = 10,        /* for a line on stderr */
    LINE_PAUSE = 5,        /* and not again within */
    DRAIN_LIMIT = 2000,
};

/* A piece of text of one stream, behind which its bytes lie. */
typedef struct {
    struct timespec time;
    uint32_t size;
    bool is_stderr;
} piece_t;

typedef struct {
    char *data; /* CAPACITY bytes */
    size_t used, last;
} buffer_t;

struct accel__wandb_output {
    pthread_t thread;
    pid_t owner;
    accel__wandb_run_t *run;
    pthread_mutex_t lock;
    pthread_cond_t wake, written;
    buffer_t filling, draining;
    uint64_t num_taken, num_written; /* bytes */
    uint64_t num_lost;               /* text that found no room */
    bool stopping, urgent;
    struct timespec waited; /* when a line was last waited for */

    /* the thread's own */
    struct {
        char bytes[4];
        size_t count;
    } partial[2]; /* the beginning of a character */
    accel__wandb_fold_t *fold;
    int file; /* output.log; -1: nothing was printed so far, or it could not be written */
    bool file_failed;
    off_t final_size;
    accel__wandb_text_t final, open; /* lines that will stay as they are, lines that may change */
};

/* ---- the thread that prints ---- */

static bool append(buffer_t *buffer, bool is_stderr, struct timespec time, const char *data,
                   size_t size)
{
    piece_t piece = {time, (uint32_t)size, is_stderr}, last = {0};
    if (buffer->used)
        memcpy(&last, buffer->data + buffer->last, sizeof(last));
    bool merges = buffer->used && last.is_stderr == is_stderr && last.size + size <= PIECE_MAX;
    if (buffer->used + size + sizeof(piece) > CAPACITY)
        return false;
    if (merges) {
        piece.time = last.time;
        piece.size += last.size;
    } else {
        buffer->last = buffer->used;
        buffer->used += sizeof(piece);
    }
    memcpy(buffer->data + buffer->last, &piece, sizeof(piece));
    memcpy(buffer->data + buffer->used, data, size);
    buffer->used += size;
    return true;
}

static bool waited_just_now(const accel__wandb_output_t *output)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double past = (double)(now.tv_sec - output->waited.tv_sec) * 1e3 +
                  (double)(now.tv_nsec - output->waited.tv_nsec) / 1e6;
    return past < LINE_PAUSE;
}

/* With the lock held. */
static void wait_until_written(accel__wandb_output_t *output, long milliseconds)
{
    struct timespec until;
    uint64_t wanted = output->num_taken;
    accel__wandb_deadline(&until, milliseconds);
    output->urgent = true;
    pthread_cond_signal(&output->wake);
    while (output->num_written < wanted &&
           pthread_cond_clockwait(&output->written, &output->lock, CLOCK_MONOTONIC, &until) == 0)
        continue;
    clock_gettime(CLOCK_MONOTONIC, &output->waited);
}

/* Not waited for without an end: a signal's handler may print while its thread holds the lock. */
static bool lock_soon(accel__wandb_output_t *output)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    return pthread_mutex_timedlock(&output->lock, &until) == 0;
}

void accel__wandb_output_take(accel__wandb_output_t *output, bool is_stderr, const char *data,
                              size_t size, bool may_be_last)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!size || !lock_soon(output))
        return;
    bool is_line = data[size - 1] == '\n', was_empty = output->filling.used == 0;
    for (size_t part; size; data += part, size -= part) {
        part = size < PIECE_MAX ? size : PIECE_MAX;
        if (append(&output->filling, is_stderr, now, data, part))
            output->num_taken += part;
        else
            output->num_lost += part;
    }
    if (may_be_last && is_line && !waited_just_now(output))
        wait_until_written(output, LINE_WAIT);
    else if (was_empty)
        pthread_cond_signal(&output->wake);
    pthread_mutex_unlock(&output->lock);
}

void accel__wandb_output_drain(accel__wandb_output_t *output)
{
    if (!lock_soon(output))
        return;
    wait_until_written(output, DRAIN_LIMIT);
    pthread_mutex_unlock(&output->lock);
}

/* ---- files/output.log: everything before `final_size` stays, the rest is written anew ---- */

static void take_line(void *context, const accel__wandb_line_t *line)
{
    accel__wandb_output_t *output = context;
    accel__wandb_text_t *text = line->final ? &output->final : &output->open;
    accel__wandb_text_append(text, line->text, line->length);
    accel__wandb_text_append(text, "\n", 1);
}

static int write_at(int file, const accel__wandb_text_t *text, off_t offset)
{
    for (size_t done = 0; done < text->length;) {
        ssize_t size = pwrite(file, text->data + done, text->length - done, offset + (off_t)done);
        if (size < 0 && errno != EINTR)
            return errno;
        done += size > 0 ? (size_t)size : 0;
    }
    return 0;
}

static int open_file(accel__wandb_output_t *output)
{
    char *path = accel__wandb_join(output->run->dir, "files/output.log");
    if (!path)
        return ENOMEM;
    output->file = accel__wandb_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int error = output->file < 0 ? errno : 0;
    free(path);
    return error;
}

static void write_file(accel__wandb_output_t *output)
{
    output->open.length = 0;
    accel__wandb_fold_flush(output->fold);
    off_t middle = output->final_size + (off_t)output->final.length;
    int error = output->final.failed || output->open.failed ? ENOMEM : 0;
    if (!error && output->file < 0)
        error = open_file(output);
    if (!error)
        error = write_at(output->file, &output->final, output->final_size);
    if (!error)
        error = write_at(output->file, &output->open, middle);
    if (!error && ftruncate(output->file, middle + (off_t)output->open.length) < 0)
        error = errno;
    if (error) {
        accel__wandb_debug(output->run, "output.log ends here: error %d", error);
        output->file_failed = true;
    }
    output->final_size = middle;
    output->final.length = 0;
}

/* ---- records ---- */

/* Whole characters; what is none, and NUL, which a record's text cannot hold, is replaced. */
static size_t clean(accel__wandb_output_t *output, const piece_t *piece, const char *data,
                    char *text)
{
    size_t count = output->partial[piece->is_stderr].count, length = 0, size = piece->size + count;
    char *joined = malloc(size);
    if (!joined)
        return 0;
    memcpy(joined, output->partial[piece->is_stderr].bytes, count);
    memcpy(joined + count, data, piece->size);
    output->partial[piece->is_stderr].count = 0;
    for (size_t at = 0, step; at < size; at += step) {
        uint32_t code;
        step = accel__wandb_utf8_decode(joined + at, size - at, &code);
        if (!step) {
            output->partial[piece->is_stderr].count = size - at;
            memcpy(output->partial[piece->is_stderr].bytes, joined + at, size - at);
            break;
        }
        length += accel__wandb_utf8_encode(code ? code : ACCEL__WANDB_NO_CHARACTER, text + length);
    }
    free(joined);
    text[length] = '\0';
    return length;
}

static void emit_text(accel__wandb_run_t *run, const piece_t *piece, char *text)
{
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    Wandb__OutputRawRecord *raw = accel__wandb_new(run, &wandb__output_raw_record__descriptor);
    raw->output_type = piece->is_stderr ? WANDB__OUTPUT_RAW_RECORD__OUTPUT_TYPE__STDERR
                                        : WANDB__OUTPUT_RAW_RECORD__OUTPUT_TYPE__STDOUT;
    raw->timestamp = accel__wandb_timestamp(run, piece->time);
    raw->line = text;
    record->output_raw = raw;
    accel__wandb_emit(run, record, true);
}

static void record_piece(accel__wandb_output_t *output, const piece_t *piece, const char *data)
{
    char *text = malloc((piece->size + sizeof(output->partial[0].bytes)) * 3 + 1);
    size_t length = text ? clean(output, piece, data, text) : 0;
    if (length) {
        emit_text(output->run, piece, text);
        if (!output->file_failed)
            (void)accel__wandb_fold_feed(output->fold, piece->is_stderr, piece->time, text, length);
    }
    free(text);
}

/* The log's lock is given back now and then: a burst of text does not keep rows waiting. */
static void record_buffer(accel__wandb_output_t *output, const buffer_t *buffer)
{
    size_t at = 0;
    while (at < buffer->used) {
        size_t end = at + COMMIT_SIZE;
        accel__wandb_lock(output->run);
        while (at < buffer->used && at < end) {
            piece_t piece;
            memcpy(&piece, buffer->data + at, sizeof(piece));
            at += sizeof(piece);
            record_piece(output, &piece, buffer->data + at);
            at += piece.size;
        }
        accel__wandb_commit_aside(output->run);
        accel__wandb_unlock(output->run);
    }
    if (!output->file_failed)
        write_file(output);
}

static void note_loss(accel__wandb_output_t *output, uint64_t lost)
{
    char text[120];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    buffer_t note = {.data = calloc(1, sizeof(piece_t) + sizeof(text))};
    int length = snprintf(text, sizeof(text), "[%llu bytes of output came too fast for the log]\n",
                          (unsigned long long)lost);
    if (note.data && append(&note, true, now, text, (size_t)length))
        record_buffer(output, &note);
    free(note.data);
}

/* ---- the thread ---- */

/* With the lock held: wait for text, and a moment for more. */
static void gather(accel__wandb_output_t *output)
{
    struct timespec until;
    while (!output->stopping && !output->filling.used && !output->urgent)
        pthread_cond_wait(&output->wake, &output->lock);
    accel__wandb_deadline(&until, GATHER);
    while (!output->stopping && !output->urgent && output->filling.used < CAPACITY / 4 &&
           pthread_cond_clockwait(&output->wake, &output->lock, CLOCK_MONOTONIC, &until) == 0)
        continue;
}

static void *write_until_stopped(void *context)
{
    accel__wandb_output_t *output = context;
    bool more = true;
    (void)pthread_setname_np(pthread_self(), "wandb-console");
    while (more) {
        pthread_mutex_lock(&output->lock);
        gather(output);
        buffer_t full = output->filling;
        uint64_t taken = output->num_taken, lost = output->num_lost;
        output->filling = output->draining;
        output->draining = full;
        output->num_lost = 0;
        output->urgent = false;
        more = !output->stopping;
        pthread_mutex_unlock(&output->lock);

        if (full.used)
            record_buffer(output, &full);
        if (lost)
            note_loss(output, lost);
        if (full.used > KEPT)
            (void)madvise(full.data, CAPACITY, MADV_DONTNEED);

        pthread_mutex_lock(&output->lock);
        output->draining.used = 0;
        output->num_written = taken;
        pthread_cond_broadcast(&output->written);
        pthread_mutex_unlock(&output->lock);
    }
    return NULL;
}

/* ---- the whole ---- */

static bool map(buffer_t *buffer)
{
    void *data = mmap(NULL, CAPACITY, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    buffer->data = data == MAP_FAILED ? NULL : data;
    return buffer->data != NULL;
}

static void destroy(accel__wandb_output_t *output)
{
    buffer_t *buffers[] = {&output->filling, &output->draining};
    for (size_t i = 0; i < 2; i++) {
        if (buffers[i]->data)
            munmap(buffers[i]->data, CAPACITY);
    }
    if (output->file >= 0)
        close(output->file);
    accel__wandb_fold_destroy(output->fold);
    accel__wandb_text_free(&output->final);
    accel__wandb_text_free(&output->open);
    pthread_cond_destroy(&output->wake);
    pthread_cond_destroy(&output->written);
    pthread_mutex_destroy(&output->lock);
    free(output);
}

accel__wandb_output_t *accel__wandb_output_start(accel__wandb_run_t *run)
{
    const char *kind = run->settings.console;
    accel__wandb_output_t *output =
        kind && !strcmp(kind, "off") ? NULL : calloc(1, sizeof(*output));
    if (!output)
        return NULL;
    output->run = run;
    output->file = -1;
    output->owner = getpid();
    pthread_mutex_init(&output->lock, NULL);
    pthread_cond_init(&output->wake, NULL);
    pthread_cond_init(&output->written, NULL);
    output->fold = accel__wandb_fold_create(take_line, output);
    bool started = output->fold && map(&output->filling) && map(&output->draining) &&
                   accel__wandb_thread_start(&output->thread, write_until_stopped, output) == 0;
    if (started && accel__wandb_capture_begin(output))
        return output;
    if (started)
        accel__wandb_output_stop(output);
    else
        destroy(output);
    return NULL;
}

void accel__wandb_output_stop(accel__wandb_output_t *output)
{
    if (!output || output->owner != getpid())
        return;
    accel__wandb_capture_end(output);
    pthread_mutex_lock(&output->lock);
    output->stopping = true;
    pthread_cond_signal(&output->wake);
    pthread_mutex_unlock(&output->lock);
    pthread_join(output->thread, NULL); /* it waits for the log's file system alone */
    destroy(output);
}
