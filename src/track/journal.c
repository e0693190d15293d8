/* SPDX-License-Identifier: Apache-2.0 */
/* Rows lie packed in chunks of one size. The thread takes the whole chain of filled chunks,
 * hands their rows out without the lock, and puts each back for reuse: the two sides swap
 * memory and in steady state nothing is allocated.
 *
 * The thread looks by itself every PERIOD_MS, so that an append costs no system call. Only
 * after a while without rows it sleeps until woken. */
#include "track/journal.h"
#include "track/media.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK_SIZE ((size_t)64 << 10)
#define PERIOD_MS 50 /* half of the 100 ms that are promised: delivery takes time too */
#define IDLE_PERIODS 100
#define ALIGN16(size) (((size) + 15) & ~(size_t)15)

typedef struct chunk {
    struct chunk *next;
    size_t used, capacity;
    alignas(16) char data[];
} chunk_t;

struct accel__journal {
    accel__journal_sink_t sink;
    pthread_t thread;
    bool joined;

    pthread_mutex_t lock;  /* for all below */
    pthread_cond_t wake;   /* to the thread: hurry, closing, or a row while asleep */
    pthread_cond_t done;   /* from the thread: rows were delivered */
    chunk_t *first, *last; /* filled, in order */
    chunk_t *spare;
    size_t pending; /* bytes of rows not delivered yet */
    size_t media;   /* bytes of media that these have a share of */
    size_t memory;
    uint64_t appended, delivered; /* rows */
    bool hurry, closing, asleep;
};

/* ---- the thread ---- */

static void wait_one_period(accel__journal_t *journal)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PERIOD_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!journal->hurry && !journal->closing)
        if (pthread_cond_timedwait(&journal->wake, &journal->lock, &until) != 0)
            break;
}

static void wait_for_rows(accel__journal_t *journal)
{
    int idle = 0;

    do {
        wait_one_period(journal);
        if (journal->first || journal->hurry || ++idle < IDLE_PERIODS)
            continue;
        journal->asleep = true;
        while (!journal->first && !journal->hurry && !journal->closing)
            pthread_cond_wait(&journal->wake, &journal->lock);
        journal->asleep = false;
        idle = 0;
        wait_one_period(journal); /* let the first row have company */
    } while (!journal->first && !journal->hurry && !journal->closing);
    journal->hurry = false;
}

/* At once, not with its chunk: a chunk may hold the rows of gigabytes. */
static void let_go_of_media(accel__journal_t *journal, const accel__journal_row_t *row)
{
    accel__media_release(row->values);
    pthread_mutex_lock(&journal->lock);
    journal->media -= row->media;
    pthread_cond_broadcast(&journal->done);
    pthread_mutex_unlock(&journal->lock);
}

static uint64_t deliver_chunk(accel__journal_t *journal, const chunk_t *chunk)
{
    uint64_t rows = 0;
    size_t at = 0;

    while (at < chunk->used) {
        const accel__journal_row_t *row = (const void *)(chunk->data + at);

        journal->sink.deliver(journal->sink.context, row);
        if (row->media > 0)
            let_go_of_media(journal, row);
        at += row->size;
        rows++;
    }
    return rows;
}

/* Back to the spare ones; a chunk made for one huge row goes back to the system. */
static void recycle(accel__journal_t *journal, chunk_t *chunk)
{
    journal->pending -= chunk->used;
    if (chunk->capacity > CHUNK_SIZE) {
        journal->memory -= chunk->capacity;
        free(chunk);
        return;
    }
    chunk->used = 0;
    chunk->next = journal->spare;
    journal->spare = chunk;
}

/* Without the lock while rows are handed out. A flush each chunk keeps a flood of rows from
 * piling up in the trackers, and lets writers that wait go on early. */
static void deliver_batch(accel__journal_t *journal, chunk_t *chunk)
{
    while (chunk) {
        chunk_t *next = chunk->next;
        uint64_t rows;

        pthread_mutex_unlock(&journal->lock);
        rows = deliver_chunk(journal, chunk);
        journal->sink.flush(journal->sink.context);
        pthread_mutex_lock(&journal->lock);
        recycle(journal, chunk);
        journal->delivered += rows;
        pthread_cond_broadcast(&journal->done);
        chunk = next;
    }
}

static void *journal_thread(void *argument)
{
    accel__journal_t *journal = argument;
    chunk_t *batch;

    pthread_mutex_lock(&journal->lock);
    do {
        wait_for_rows(journal);
        batch = journal->first;
        journal->first = journal->last = NULL;
        deliver_batch(journal, batch);
    } while (batch || !journal->closing);
    pthread_mutex_unlock(&journal->lock);
    return NULL;
}

/* Signals are the program's: none may pick this thread to run its handler on. */
static int start_thread(accel__journal_t *journal)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&journal->thread, NULL, journal_thread, journal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_setname_np(journal->thread, "accel-journal");
    return error;
}

accel_status_t accel__journal_create(const accel__journal_sink_t *sink, accel__journal_t **journal)
{
    accel__journal_t *made = calloc(1, sizeof(*made));
    pthread_condattr_t monotonic;
    int error;

    *journal = NULL;
    if (!made)
        return accel__fail_memory("a journal", sizeof(*made));
    made->sink = *sink;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&made->wake, &monotonic);
    pthread_cond_init(&made->done, NULL);
    pthread_condattr_destroy(&monotonic);
    error = start_thread(made);
    if (error != 0) {
        made->joined = true;
        accel__journal_destroy(made);
        return accel__fail(ACCEL_ERR_NO_MEMORY, "cannot start the journal's thread: error %d",
                           error);
    }
    *journal = made;
    return ACCEL_OK;
}

/* ---- appending ---- */

static chunk_t *take_chunk(accel__journal_t *journal, size_t size)
{
    chunk_t *chunk = journal->spare;
    size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;

    if (chunk && size <= CHUNK_SIZE) {
        journal->spare = chunk->next;
        chunk->next = NULL;
        return chunk;
    }
    chunk = malloc(sizeof(*chunk) + capacity);
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->used = 0;
    chunk->capacity = capacity;
    journal->memory += capacity;
    return chunk;
}

/* A chunk at the end of the chain with room for `size` bytes. */
static chunk_t *chunk_with_room(accel__journal_t *journal, size_t size)
{
    chunk_t *chunk = journal->last;

    if (chunk && chunk->capacity - chunk->used >= size)
        return chunk;
    chunk = take_chunk(journal, size);
    if (!chunk)
        return NULL;
    if (journal->last)
        journal->last->next = chunk;
    else
        journal->first = chunk;
    journal->last = chunk;
    return chunk;
}

static void call_thread(accel__journal_t *journal)
{
    journal->hurry = true;
    pthread_cond_signal(&journal->wake);
}

static bool has_room(const accel__journal_t *journal, const accel__journal_row_t *row)
{
    return (journal->pending == 0 || journal->pending + row->size <= ACCEL__JOURNAL_LIMIT) &&
           (journal->media == 0 || row->media == 0 ||
            journal->media + row->media <= ACCEL__JOURNAL_MEDIA_LIMIT);
}

/* Back-pressure: a row goes in when it fits, or when nothing else is under way. */
static void wait_for_room(accel__journal_t *journal, const accel__journal_row_t *row)
{
    while (!has_room(journal, row) && !journal->closing) {
        call_thread(journal);
        pthread_cond_wait(&journal->done, &journal->lock);
    }
}

static accel_status_t append_locked(accel__journal_t *journal, const accel__journal_row_t *row)
{
    char *record;
    chunk_t *chunk;

    wait_for_room(journal, row);
    if (journal->closing)
        return accel__fail(ACCEL_ERR_STATE, "the journal is closed");
    chunk = chunk_with_room(journal, row->size);
    if (!chunk)
        return accel__fail_memory("a row of the journal", row->size);
    record = chunk->data + chunk->used;
    memcpy(record, row, sizeof(*row));
    ((accel__journal_row_t *)(void *)record)->values =
        accel__dict_pack(row->values, record + ALIGN16(sizeof(*row)));
    if (row->media > 0)
        accel__media_retain(row->values);
    chunk->used += row->size;
    journal->pending += row->size;
    journal->media += row->media;
    journal->appended++;
    if (journal->pending > ACCEL__JOURNAL_LIMIT / 2 && !journal->hurry)
        call_thread(journal);
    else if (journal->asleep)
        pthread_cond_signal(&journal->wake);
    return ACCEL_OK;
}

accel_status_t accel__journal_append(accel__journal_t *journal, void *target,
                                     const accel_item_t *values, int64_t step, double timestamp)
{
    accel__journal_row_t row = {
        .target = target, .step = step, .timestamp = timestamp, .values = values};
    accel_status_t status;

    row.size = ALIGN16(sizeof(row)) + ALIGN16(accel__dict_packed_size(values));
    row.media = accel__media_size(values);
    pthread_mutex_lock(&journal->lock);
    status = append_locked(journal, &row);
    pthread_mutex_unlock(&journal->lock);
    return status;
}

void accel__journal_drain(accel__journal_t *journal)
{
    uint64_t target;

    pthread_mutex_lock(&journal->lock);
    target = journal->appended;
    while (journal->delivered < target) {
        call_thread(journal);
        pthread_cond_wait(&journal->done, &journal->lock);
    }
    pthread_mutex_unlock(&journal->lock);
}

void accel__journal_close(accel__journal_t *journal)
{
    if (journal->joined)
        return;
    pthread_mutex_lock(&journal->lock);
    journal->closing = true;
    pthread_cond_signal(&journal->wake);
    pthread_cond_broadcast(&journal->done);
    pthread_mutex_unlock(&journal->lock);
    pthread_join(journal->thread, NULL);
    journal->joined = true;
}

static void free_chunks(chunk_t *chunk)
{
    while (chunk) {
        chunk_t *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

void accel__journal_destroy(accel__journal_t *journal)
{
    if (!journal)
        return;
    accel__journal_close(journal);
    free_chunks(journal->first);
    free_chunks(journal->spare);
    pthread_cond_destroy(&journal->wake);
    pthread_cond_destroy(&journal->done);
    pthread_mutex_destroy(&journal->lock);
    free(journal);
}

size_t accel__journal_memory(accel__journal_t *journal)
{
    size_t memory;

    pthread_mutex_lock(&journal->lock);
    memory = journal->memory;
    pthread_mutex_unlock(&journal->lock);
    return memory;
}
