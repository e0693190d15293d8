/* SPDX-License-Identifier: Apache-2.0 */
/* Posted operations: a thread of the communicator, started with the first, carries them out
 * in order. A blocking call runs on the caller's thread unless something is posted. */
#include "comm/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void complete(accel_comm_t *comm, accel_request_t *request, accel_status_t status)
{
    pthread_mutex_lock(&comm->lock);
    request->status = status;
    if (status < ACCEL_OK)
        snprintf(request->error, sizeof(request->error), "%s", accel_last_error());
    request->done = true;
    comm->pending--;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
}

static accel_request_t *next_request(accel_comm_t *comm)
{
    accel_request_t *request;

    pthread_mutex_lock(&comm->lock);
    while (!comm->first && !comm->stop)
        pthread_cond_wait(&comm->changed, &comm->lock);
    request = comm->first;
    if (request) {
        comm->first = request->next;
        if (!comm->first)
            comm->last = NULL;
    }
    pthread_mutex_unlock(&comm->lock);
    return request;
}

static void *work(void *argument)
{
    accel_comm_t *comm = argument;
    accel_request_t *request;

    while ((request = next_request(comm)) != NULL)
        complete(comm, request, accel__carry_out(comm, &request->call));
    return NULL;
}

/* The thread takes no signals: they are the program's. */
static accel_status_t start_worker(accel_comm_t *comm)
{
    sigset_t all, before;
    int error;

    if (comm->has_worker)
        return ACCEL_OK;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&comm->worker, NULL, work, comm);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return accel__fail(ACCEL_ERR_NO_MEMORY, "cannot start the communicator's thread (error %d)",
                           error);
    comm->has_worker = true;
    return ACCEL_OK;
}

void accel__stop_worker(accel_comm_t *comm)
{
    if (!comm->has_worker)
        return;
    pthread_mutex_lock(&comm->lock);
    comm->stop = true;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
    pthread_join(comm->worker, NULL);
    comm->has_worker = false;
}

static void enqueue(accel_comm_t *comm, accel_request_t *request)
{
    pthread_mutex_lock(&comm->lock);
    if (comm->last)
        comm->last->next = request;
    else
        comm->first = request;
    comm->last = request;
    comm->pending++;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
}

accel_status_t accel__post(accel_comm_t *comm, const accel__call_t *call, accel_request_t **request)
{
    accel_status_t status;

    *request = NULL;
    status = start_worker(comm);
    if (status != ACCEL_OK)
        return status;
    *request = calloc(1, sizeof(**request));
    if (!*request)
        return accel__fail_memory("a request", sizeof(**request));
    (*request)->call = *call;
    (*request)->comm = comm;
    enqueue(comm, *request);
    return ACCEL_OK;
}

static bool anything_posted(accel_comm_t *comm)
{
    bool posted;

    if (!comm->has_worker)
        return false;
    pthread_mutex_lock(&comm->lock);
    posted = comm->pending > 0;
    pthread_mutex_unlock(&comm->lock);
    return posted;
}

accel_status_t accel__run(accel_comm_t *comm, const accel__call_t *call)
{
    accel_request_t *request;
    accel_status_t status;

    if (!anything_posted(comm))
        return accel__carry_out(comm, call);
    status = accel__post(comm, call, &request);
    return status == ACCEL_OK ? accel_request_wait(&request) : status;
}

accel_status_t accel_request_test(accel_request_t *request)
{
    accel_status_t status;

    if (!request)
        return accel__fail(ACCEL_ERR_INVALID, "accel_request_test: the request is NULL");
    pthread_mutex_lock(&request->comm->lock);
    status = request->done ? request->status : ACCEL_IN_PROGRESS;
    pthread_mutex_unlock(&request->comm->lock);
    return status < ACCEL_OK ? accel__fail(status, "%s", request->error) : status;
}

accel_status_t accel_request_wait(accel_request_t **request)
{
    accel_comm_t *comm;
    accel_status_t status;

    if (!request || !*request)
        return accel__fail(ACCEL_ERR_INVALID, "accel_request_wait: the request is NULL");
    comm = (*request)->comm;
    pthread_mutex_lock(&comm->lock);
    while (!(*request)->done)
        pthread_cond_wait(&comm->changed, &comm->lock);
    pthread_mutex_unlock(&comm->lock);
    status = (*request)->status;
    if (status < ACCEL_OK)
        accel__fail(status, "%s", (*request)->error);
    free(*request);
    *request = NULL;
    return status;
}
