/* SPDX-License-Identifier: Apache-2.0 */
/* One thread fills the slots in a ring, in the order of the steps; the caller takes them in
 * the same order. So the batches, and the order in which a dataset's callback is asked for
 * samples, are the same with and without the thread. */
#include "data/reader.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

void accel__reader_init(accel__reader_t *reader, bool threaded)
{
    *reader = (accel__reader_t){.threaded = threaded};
    atomic_init(&reader->cancelled, false);
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->work, NULL);
    pthread_cond_init(&reader->change, NULL);
}

/* Errors live on the thread that made them: keep the text with the batch. */
static void fill(accel__reader_t *reader, int64_t step)
{
    accel__slot_t *slot = &reader->slots[step % reader->num_slots];

    slot->status = accel__slot_fill(slot, &reader->plan, step, &reader->cancelled);
    if (slot->status != ACCEL_OK)
        snprintf(slot->error, sizeof(slot->error), "%s", accel_last_error());
}

static bool has_work(const accel__reader_t *reader)
{
    return reader->filled < reader->limit && reader->filled - reader->released < reader->num_slots;
}

static void *run(void *argument)
{
    accel__reader_t *reader = argument;

    pthread_mutex_lock(&reader->lock);
    while (!reader->quit) {
        int64_t step = reader->filled;

        if (!has_work(reader)) {
            pthread_cond_wait(&reader->work, &reader->lock);
            continue;
        }
        reader->busy = true;
        pthread_mutex_unlock(&reader->lock);
        fill(reader, step);
        pthread_mutex_lock(&reader->lock);
        reader->busy = false;
        reader->filled++;
        if (reader->slots[step % reader->num_slots].status != ACCEL_OK)
            reader->limit = reader->filled;
        pthread_cond_signal(&reader->change);
    }
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* The program's signals are for its own threads. */
static accel_status_t start_thread(accel__reader_t *reader)
{
    sigset_t all, before;

    if (reader->started)
        return ACCEL_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&reader->thread, NULL, run, reader);
    reader->started = errno == 0;
    reader->process_mark = accel__process_mark();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!reader->started)
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "cannot start the loader's thread");
    pthread_setname_np(reader->thread, "accel-loader");
    return ACCEL_OK;
}

static accel_status_t allocate(accel__reader_t *reader, const accel__plan_t *plan)
{
    int count = reader->threaded ? ACCEL__READER_SLOTS : 1;
    /* No batch is longer than the first rank's first. */
    int64_t capacity = accel_shard_batch(&plan->shard, 0, 0, NULL);

    while (reader->num_slots < count) {
        accel_status_t status =
            accel__slot_init(&reader->slots[reader->num_slots], plan->dataset, capacity);

        if (status != ACCEL_OK) {
            accel__reader_clear(reader);
            return status;
        }
        reader->num_slots++;
    }
    return ACCEL_OK;
}

accel_status_t accel__reader_start(accel__reader_t *reader, const accel__plan_t *plan)
{
    accel_status_t status = allocate(reader, plan);

    if (status == ACCEL_OK && reader->threaded)
        status = start_thread(reader);
    if (status != ACCEL_OK)
        return status;
    pthread_mutex_lock(&reader->lock);
    reader->plan = *plan;
    reader->filled = reader->taken = reader->released = 0;
    reader->limit = plan->steps;
    atomic_store(&reader->cancelled, false);
    pthread_cond_signal(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    return ACCEL_OK;
}

static void wait_filled(accel__reader_t *reader, int64_t step)
{
    pthread_mutex_lock(&reader->lock);
    reader->released = step;
    pthread_cond_signal(&reader->work);
    while (reader->filled <= step)
        pthread_cond_wait(&reader->change, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
}

accel_status_t accel__reader_take(accel__reader_t *reader, const accel__slot_t **slot)
{
    int64_t step = reader->taken++;

    if (reader->threaded)
        wait_filled(reader, step);
    else
        fill(reader, step);
    *slot = &reader->slots[step % reader->num_slots];
    if ((*slot)->status != ACCEL_OK)
        return accel__fail((*slot)->status, "%s", (*slot)->error);
    return ACCEL_OK;
}

/* In a child of a fork there is no such thread to stop, and nobody who waits on anything. */
static bool in_child(const accel__reader_t *reader)
{
    return reader->started && reader->process_mark != accel__process_mark();
}

void accel__reader_stop(accel__reader_t *reader)
{
    if (in_child(reader))
        return;
    atomic_store(&reader->cancelled, true);
    pthread_mutex_lock(&reader->lock);
    reader->limit = 0;
    while (reader->busy)
        pthread_cond_wait(&reader->change, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
}

void accel__reader_clear(accel__reader_t *reader)
{
    while (reader->num_slots > 0)
        accel__slot_fini(&reader->slots[--reader->num_slots]);
}

void accel__reader_fini(accel__reader_t *reader)
{
    if (in_child(reader)) {
        accel__reader_clear(reader);
        return;
    }
    accel__reader_stop(reader);
    if (reader->started) {
        pthread_mutex_lock(&reader->lock);
        reader->quit = true;
        pthread_cond_signal(&reader->work);
        pthread_mutex_unlock(&reader->lock);
        pthread_join(reader->thread, NULL);
    }
    accel__reader_clear(reader);
    pthread_cond_destroy(&reader->change);
    pthread_cond_destroy(&reader->work);
    pthread_mutex_destroy(&reader->lock);
}
