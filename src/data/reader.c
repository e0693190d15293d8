/* SPDX-License-Identifier: Apache-2.0 */
/* Workers fill the slots of a ring. Each claims the next step, so which of them reads a batch is
 * left to chance, but what is in it follows from its step alone; and the caller takes the steps in
 * order. So the batches are the same with any number of workers, and without. */
#include "data/reader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void accel__reader_init(accel__reader_t *reader, int32_t num_workers, int32_t prefetch_factor,
                        int32_t keep_batches)
{
    *reader = (accel__reader_t){.num_workers = num_workers,
                                .prefetch_factor = prefetch_factor,
                                .keep_batches = keep_batches};
    atomic_init(&reader->cancelled, false);
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->work, NULL);
    pthread_cond_init(&reader->change, NULL);
    pthread_cond_init(&reader->turn, NULL);
}

static accel__slot_t *slot_of(const accel__reader_t *reader, int64_t step)
{
    return &reader->slots[step % reader->num_slots];
}

/* ---- filling ---- */

static bool is_stream(const accel__reader_t *reader)
{
    return reader->plan.dataset->begin;
}

/* Only one thread asks the stream, in the order of the steps; what follows on the samples may be
 * done by several. */
static accel_status_t read_stream(accel__reader_t *reader, accel__slot_t *slot, int64_t step)
{
    accel_status_t status;

    pthread_mutex_lock(&reader->lock);
    while (reader->next_of_stream != step)
        pthread_cond_wait(&reader->turn, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
    status = accel__source_fill(&reader->stream, slot, &reader->plan, &reader->cancelled);
    pthread_mutex_lock(&reader->lock);
    reader->next_of_stream++;
    pthread_cond_broadcast(&reader->turn);
    pthread_mutex_unlock(&reader->lock);
    return status;
}

/* Errors live on the thread that made them: keep the text with the batch. */
static void fill(accel__reader_t *reader, int64_t step)
{
    accel__slot_t *slot = slot_of(reader, step);

    if (is_stream(reader))
        slot->status = read_stream(reader, slot, step);
    else
        slot->status = accel__slot_read(slot, &reader->plan, step, &reader->cancelled);
    if (slot->status == ACCEL_OK)
        slot->status = accel__slot_finish(slot, &reader->plan);
    if (slot->status < ACCEL_OK)
        snprintf(slot->error, sizeof(slot->error), "%s", accel_last_error());
}

/* The epoch ends before a step that is not there, and after one that failed. Under the lock. */
static void filled(accel__reader_t *reader, int64_t step)
{
    accel__slot_t *slot = slot_of(reader, step);
    int64_t limit = slot->status == ACCEL_END ? step : step + 1;

    slot->holds = step;
    if (slot->status != ACCEL_OK && limit < reader->limit)
        reader->limit = limit;
}

/* ---- workers ---- */

static bool has_work(const accel__reader_t *reader)
{
    return reader->claimed < reader->limit &&
           reader->claimed - reader->released < reader->num_slots;
}

static void *run(void *argument)
{
    accel__reader_t *reader = argument;

    pthread_mutex_lock(&reader->lock);
    while (!reader->quit) {
        int64_t step = reader->claimed;

        if (!has_work(reader)) {
            pthread_cond_wait(&reader->work, &reader->lock);
            continue;
        }
        reader->claimed++;
        reader->busy++;
        pthread_mutex_unlock(&reader->lock);
        fill(reader, step);
        pthread_mutex_lock(&reader->lock);
        reader->busy--;
        filled(reader, step);
        pthread_cond_signal(&reader->change);
    }
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* The program's signals are for its own threads. */
static accel_status_t start_threads(accel__reader_t *reader)
{
    sigset_t all, before;

    if (!reader->threads)
        reader->threads = calloc((size_t)reader->num_workers, sizeof(*reader->threads));
    if (!reader->threads)
        return accel__fail_memory("the loader's workers", sizeof(*reader->threads));
    reader->process_mark = accel__process_mark();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = 0;
    while (reader->num_threads < reader->num_workers && errno == 0) {
        pthread_t *thread = &reader->threads[reader->num_threads];

        errno = pthread_create(thread, NULL, run, reader);
        if (errno == 0) {
            pthread_setname_np(*thread, "accel-loader");
            reader->num_threads++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (reader->num_threads < reader->num_workers)
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "cannot start the loader's worker %d of %d",
                                 (int)reader->num_threads + 1, (int)reader->num_workers);
    return ACCEL_OK;
}

/* ---- an epoch ---- */

/* Those that the caller keeps, and those that are read ahead. A stream is one ahead in any case:
 * without the next batch nobody knows whether this one is the last. */
static int64_t slots_wanted(const accel__reader_t *reader, const accel__plan_t *plan)
{
    if (reader->num_workers > 0)
        return reader->keep_batches + (int64_t)reader->num_workers * reader->prefetch_factor;
    return reader->keep_batches + (plan->dataset->begin ? 1 : 0);
}

static accel_status_t allocate(accel__reader_t *reader, const accel__plan_t *plan)
{
    int64_t count = slots_wanted(reader, plan), capacity = accel__plan_capacity(plan);

    if (capacity > reader->capacity)
        accel__reader_clear(reader);
    if (!reader->slots) {
        reader->slots = calloc((size_t)count, sizeof(*reader->slots));
        reader->capacity = capacity;
    }
    if (!reader->slots)
        return accel__fail_memory("a loader's batches", (size_t)count * sizeof(*reader->slots));
    while (reader->num_slots < count) {
        accel_status_t status = accel__slot_init(&reader->slots[reader->num_slots], plan, capacity);

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

    if (status == ACCEL_OK && plan->dataset->begin)
        status = accel__source_start(&reader->stream, plan);
    if (status == ACCEL_OK && reader->num_threads < reader->num_workers)
        status = start_threads(reader);
    if (status != ACCEL_OK)
        return status;
    pthread_mutex_lock(&reader->lock);
    reader->plan = *plan;
    reader->taken = reader->claimed = reader->released = reader->next_of_stream = 0;
    reader->limit = plan->steps;
    for (int64_t s = 0; s < reader->num_slots; s++)
        reader->slots[s].holds = -1;
    atomic_store(&reader->cancelled, false);
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    return ACCEL_OK;
}

/* Is it known whether there is such a step, and its batch ready if there is? Under the lock. */
static bool is_known(const accel__reader_t *reader, int64_t step)
{
    return step >= reader->limit || slot_of(reader, step)->holds == step;
}

static void await(accel__reader_t *reader, int64_t step)
{
    pthread_mutex_lock(&reader->lock);
    while (!is_known(reader, step)) {
        if (reader->num_workers > 0) {
            pthread_cond_wait(&reader->change, &reader->lock);
            continue;
        }
        pthread_mutex_unlock(&reader->lock);
        fill(reader, step);
        pthread_mutex_lock(&reader->lock);
        filled(reader, step);
    }
    pthread_mutex_unlock(&reader->lock);
}

accel_status_t accel__reader_take(accel__reader_t *reader, const accel__slot_t **slot)
{
    int64_t step = reader->taken++;
    accel__slot_t *taken = slot_of(reader, step);
    bool there;

    pthread_mutex_lock(&reader->lock);
    if (step >= reader->keep_batches)
        reader->released = step - reader->keep_batches + 1;
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    await(reader, step);
    if (is_stream(reader))
        await(reader, step + 1);
    pthread_mutex_lock(&reader->lock);
    there = step < reader->limit;
    if (is_stream(reader))
        taken->step.last = step + 1 == reader->limit;
    pthread_mutex_unlock(&reader->lock);
    if (!there)
        return ACCEL_END;
    *slot = taken;
    return taken->status == ACCEL_OK ? ACCEL_OK : accel__fail(taken->status, "%s", taken->error);
}

/* In a child of a fork there are no such threads to stop, and nobody who waits on anything. */
static bool in_child(const accel__reader_t *reader)
{
    return reader->num_threads > 0 && reader->process_mark != accel__process_mark();
}

void accel__reader_stop(accel__reader_t *reader)
{
    if (in_child(reader))
        return;
    atomic_store(&reader->cancelled, true);
    pthread_mutex_lock(&reader->lock);
    reader->limit = 0;
    while (reader->busy > 0)
        pthread_cond_wait(&reader->change, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
}

void accel__reader_clear(accel__reader_t *reader)
{
    while (reader->num_slots > 0)
        accel__slot_fini(&reader->slots[--reader->num_slots]);
    free(reader->slots);
    reader->slots = NULL;
    reader->capacity = 0;
    accel__source_fini(&reader->stream);
}

void accel__reader_fini(accel__reader_t *reader)
{
    if (in_child(reader)) {
        accel__reader_clear(reader);
        free(reader->threads);
        return;
    }
    accel__reader_stop(reader);
    pthread_mutex_lock(&reader->lock);
    reader->quit = true;
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    while (reader->num_threads > 0)
        pthread_join(reader->threads[--reader->num_threads], NULL);
    free(reader->threads);
    accel__reader_clear(reader);
    pthread_cond_destroy(&reader->turn);
    pthread_cond_destroy(&reader->change);
    pthread_cond_destroy(&reader->work);
    pthread_mutex_destroy(&reader->lock);
}
