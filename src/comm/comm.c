/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls: they check what they are given and hand a call to accel__run. */
#include "comm/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define JOIN_TIMEOUT_MS 60000
#define TIMEOUT_MS 1800000
#define WATCHDOG_MS 60000
#define SPINS 2000

/* Worlds this process has joined: tells the first accelerator's meeting from the second's. */
static _Atomic uint64_t worlds_joined;

/* ---- joining ---- */

static accel_status_t map_segment(accel_comm_t *comm)
{
    size_t size = comm->meeting.segment_size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, comm->meeting.memory, 0);

    if (memory == MAP_FAILED)
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "cannot map %zu bytes of shared memory",
                                 size);
    comm->segment = memory;
    if (comm->world.rank == 0)
        accel__segment_init(comm->segment, comm->world.size);
    return ACCEL_OK;
}

/* Alone: a segment of its own, so that a slot is there to announce in. */
static accel_status_t make_private_segment(accel_comm_t *comm)
{
    size_t size = sizeof(accel__segment_t) + sizeof(accel__slot_t);

    size = (size + ACCEL__LINE - 1) / ACCEL__LINE * ACCEL__LINE;
    comm->segment = aligned_alloc(ACCEL__LINE, size);
    if (!comm->segment)
        return accel__fail_memory("a communicator", size);
    memset(comm->segment, 0, size);
    comm->segment->size = 1;
    return ACCEL_OK;
}

static accel_status_t join(accel_comm_t *comm, const accel_comm_options_t *options)
{
    uint32_t timeout_ms = options->join_timeout_ms ? options->join_timeout_ms : JOIN_TIMEOUT_MS;
    accel_status_t status;

    if (comm->world.size == 1)
        return make_private_segment(comm);
    if (comm->threads)
        return accel__threads_join(comm->threads, comm->world.rank, &comm->segment);
    status = accel__bootstrap(&comm->world, timeout_ms, &comm->meeting);
    return status == ACCEL_OK ? map_segment(comm) : status;
}

/* Spin only if every rank of the host can have a CPU. A rank's own mask misleads: some
 * launchers pin each rank to one CPU, so the masks are put together. */
static uint32_t spins_for(const accel_comm_t *comm)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    for (int32_t r = 0; r < comm->world.size; r++)
        CPU_OR(&cpus, &cpus, &comm->segment->slots[r].cpus);
    return CPU_COUNT(&cpus) >= comm->world.local_size ? SPINS : 0;
}

/* The first operation: everybody is in, and has said where it runs. */
static accel_status_t introduce(accel_comm_t *comm, const accel_comm_options_t *options)
{
    accel__slot_t *slot = &comm->segment->slots[comm->world.rank];
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    uint32_t join_ms = options->join_timeout_ms ? options->join_timeout_ms : JOIN_TIMEOUT_MS;
    accel_status_t status;

    slot->pid = getpid();
    CPU_ZERO(&slot->cpus);
    sched_getaffinity(0, sizeof(slot->cpus), &slot->cpus);
    comm->timeout_ns = (uint64_t)join_ms * 1000000;
    status = accel__comm_meet(comm, "accel_comm_create", 0, NULL, 0, NULL);
    comm->timeout_ns = (uint64_t)timeout_ms * 1000000;
    if (status == ACCEL_OK)
        comm->spins = spins_for(comm);
    return status;
}

static void meeting_none(accel__meeting_t *meeting)
{
    meeting->memory = -1;
    for (int32_t r = 0; r < ACCEL__MAX_LOCAL_RANKS; r++)
        meeting->pidfds[r] = meeting->sockets[r] = -1;
}

/* How the ranks say where they are: the watchdog, and the signal if the environment names one. */
static accel_status_t read_diagnosis(accel_comm_t *comm, const accel_comm_options_t *options)
{
    int64_t watchdog_s = WATCHDOG_MS / 1000, dump_signal = 0;
    bool set;
    accel_status_t status = accel__env_int("ACCEL_WATCHDOG", 0, 1000000, &watchdog_s, &set);

    if (status == ACCEL_OK)
        status = accel__env_int("ACCEL_DUMP_SIGNAL", 1, SIGRTMAX, &dump_signal, &set);
    if (status == ACCEL_OK && set)
        status = accel_dump_on_signal((int)dump_signal);
    comm->watchdog_ns = options->watchdog_ms ? (uint64_t)options->watchdog_ms * 1000000
                                             : (uint64_t)watchdog_s * 1000000000;
    return status;
}

static accel_status_t create(const accel_comm_options_t *options, accel_comm_t *comm)
{
    size_t used;
    accel_status_t status = accel__discover(options, &comm->world);

    if (status != ACCEL_OK)
        return status;
    used = strlen(comm->world.key);
    snprintf(comm->world.key + used, sizeof(comm->world.key) - used, ":%" PRIu64,
             comm->world.size > 1 && !options->threads ? atomic_fetch_add(&worlds_joined, 1) : 0);
    comm->threads = options->threads;
    status = read_diagnosis(comm, options);
    if (status == ACCEL_OK)
        status = join(comm, options);
    if (status == ACCEL_OK)
        status = introduce(comm, options);
    if (status == ACCEL_OK)
        accel__list(comm);
    return status;
}

accel_status_t accel_comm_create(const accel_comm_options_t *options, accel_comm_t **comm)
{
    accel_comm_options_t read = {0};
    accel_status_t status;

    if (!comm)
        return accel__fail(ACCEL_ERR_INVALID, "accel_comm_create: comm is NULL");
    *comm = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_comm_create: options");
    if (status != ACCEL_OK)
        return status;
    *comm = calloc(1, sizeof(**comm));
    if (!*comm)
        return accel__fail_memory("a communicator", sizeof(**comm));
    pthread_mutex_init(&(*comm)->lock, NULL);
    pthread_cond_init(&(*comm)->changed, NULL);
    meeting_none(&(*comm)->meeting);
    (*comm)->process_mark = accel__process_mark();
    status = create(&read, *comm);
    if (status != ACCEL_OK) {
        accel_comm_destroy(*comm);
        *comm = NULL;
    }
    return status;
}

bool accel__is_rank(const accel_comm_t *comm)
{
    return comm->process_mark == accel__process_mark();
}

/* In a child of a fork only the copy goes: the rank, and its thread, are the parent's. */
void accel_comm_destroy(accel_comm_t *comm)
{
    bool is_rank = comm && accel__is_rank(comm);

    if (!comm)
        return;
    accel__unlist(comm);
    if (is_rank)
        accel__stop_worker(comm);
    while (comm->blocks)
        accel_comm_free(comm, accel__block_part(comm->blocks, comm->world.rank));
    if (comm->segment) {
        if (is_rank)
            atomic_store(&comm->segment->slots[comm->world.rank].left, 1);
        if (comm->world.size == 1)
            free(comm->segment);
        else if (!comm->threads)
            munmap(comm->segment, comm->meeting.segment_size);
    }
    accel__meeting_close(&comm->meeting);
    if (is_rank) { /* in the child the thread seems to wait on it for ever */
        pthread_cond_destroy(&comm->changed);
        pthread_mutex_destroy(&comm->lock);
    }
    free(comm);
}

accel_status_t accel_comm_abort(accel_comm_t *comm, accel_status_t status, const char *text)
{
    char whole[ACCEL__ERROR_SIZE];

    if (!comm || status >= ACCEL_OK)
        return accel__fail(ACCEL_ERR_INVALID, "accel_comm_abort: %s",
                           comm ? "the status is not an error" : "comm is NULL");
    snprintf(whole, sizeof(whole), "rank %d failed: %s", (int)comm->world.rank, text ? text : "");
    accel__break(comm, ACCEL_ERR_REMOTE, whole);
    return accel__fail(status, "%s", text ? text : "");
}

int32_t accel_comm_rank(const accel_comm_t *comm)
{
    return comm ? comm->world.rank : 0;
}

int32_t accel_comm_size(const accel_comm_t *comm)
{
    return comm ? comm->world.size : 1;
}

int32_t accel_comm_local_rank(const accel_comm_t *comm)
{
    return comm ? comm->world.local_rank : 0;
}

int32_t accel_comm_local_size(const accel_comm_t *comm)
{
    return comm ? comm->world.local_size : 1;
}

/* ---- checking calls ---- */

/* Everything that another rank does not need to know about to be refused. */
static accel_status_t check_call(const accel_comm_t *comm, const accel__call_t *call)
{
    size_t width = accel_dtype_size(call->dtype), total;

    if (!comm)
        return accel__fail(ACCEL_ERR_INVALID, "%s: comm is NULL", call->operation);
    if (call->kind == ACCEL__BARRIER)
        return ACCEL_OK;
    if (width == 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: dtype 0x%x is not known", call->operation,
                           (unsigned)call->dtype);
    if (!accel__mul_size(call->count, width * (size_t)comm->world.size, &total))
        return accel__fail(ACCEL_ERR_INVALID, "%s: %zu elements are too many", call->operation,
                           call->count);
    if (call->count > 0 && (!call->recv || (call->kind != ACCEL__BROADCAST && !call->send)))
        return accel__fail(ACCEL_ERR_INVALID, "%s: a buffer is NULL", call->operation);
    if ((unsigned)call->reduction > ACCEL_MIN)
        return accel__fail(ACCEL_ERR_INVALID, "%s: reduction %d is not known", call->operation,
                           (int)call->reduction);
    if (call->root < 0 || call->root >= comm->world.size)
        return accel__fail(ACCEL_ERR_INVALID, "%s: rank %d of %d does not exist", call->operation,
                           (int)call->root, (int)comm->world.size);
    return ACCEL_OK;
}

static accel_status_t run(accel_comm_t *comm, accel__call_t call)
{
    accel_status_t status = check_call(comm, &call);

    if (status != ACCEL_OK)
        return status;
    call.file = accel__call_site(&call.line);
    return accel__run(comm, &call);
}

static accel_status_t post(accel_comm_t *comm, accel__call_t call, accel_request_t **request)
{
    accel_status_t status;

    if (!request)
        return accel__fail(ACCEL_ERR_INVALID, "%s: request is NULL", call.operation);
    *request = NULL;
    status = check_call(comm, &call);
    if (status != ACCEL_OK)
        return status;
    call.file = accel__call_site(&call.line);
    return accel__post(comm, &call, request);
}

/* ---- the collectives ---- */

static accel__call_t allreduce_call(const void *send, void *recv, size_t count, accel_dtype_t dtype,
                                    accel_reduction_t reduction)
{
    return (accel__call_t){.kind = ACCEL__ALLREDUCE,
                           .operation = "allreduce",
                           .send = send,
                           .recv = recv,
                           .count = count,
                           .dtype = dtype,
                           .reduction = reduction};
}

static accel__call_t reduce_scatter_call(const void *send, void *recv, size_t count,
                                         accel_dtype_t dtype, accel_reduction_t reduction)
{
    return (accel__call_t){.kind = ACCEL__REDUCE_SCATTER,
                           .operation = "reduce_scatter",
                           .send = send,
                           .recv = recv,
                           .count = count,
                           .dtype = dtype,
                           .reduction = reduction};
}

static accel__call_t allgather_call(const void *send, void *recv, size_t count, accel_dtype_t dtype)
{
    return (accel__call_t){.kind = ACCEL__ALLGATHER,
                           .operation = "allgather",
                           .send = send,
                           .recv = recv,
                           .count = count,
                           .dtype = dtype};
}

static accel__call_t broadcast_call(void *buffer, size_t count, accel_dtype_t dtype, int32_t root)
{
    return (accel__call_t){.kind = ACCEL__BROADCAST,
                           .operation = "broadcast",
                           .send = buffer,
                           .recv = buffer,
                           .count = count,
                           .dtype = dtype,
                           .root = root};
}

static accel__call_t barrier_call(void)
{
    return (accel__call_t){.kind = ACCEL__BARRIER, .operation = "barrier", .dtype = ACCEL_U8};
}

accel_status_t accel_comm_allreduce(accel_comm_t *comm, const void *send, void *recv, size_t count,
                                    accel_dtype_t dtype, accel_reduction_t reduction)
{
    return run(comm, allreduce_call(send, recv, count, dtype, reduction));
}

accel_status_t accel_comm_iallreduce(accel_comm_t *comm, const void *send, void *recv, size_t count,
                                     accel_dtype_t dtype, accel_reduction_t reduction,
                                     accel_request_t **request)
{
    return post(comm, allreduce_call(send, recv, count, dtype, reduction), request);
}

accel_status_t accel_comm_reduce_scatter(accel_comm_t *comm, const void *send, void *recv,
                                         size_t count, accel_dtype_t dtype,
                                         accel_reduction_t reduction)
{
    return run(comm, reduce_scatter_call(send, recv, count, dtype, reduction));
}

accel_status_t accel_comm_ireduce_scatter(accel_comm_t *comm, const void *send, void *recv,
                                          size_t count, accel_dtype_t dtype,
                                          accel_reduction_t reduction, accel_request_t **request)
{
    return post(comm, reduce_scatter_call(send, recv, count, dtype, reduction), request);
}

accel_status_t accel_comm_allgather(accel_comm_t *comm, const void *send, void *recv, size_t count,
                                    accel_dtype_t dtype)
{
    return run(comm, allgather_call(send, recv, count, dtype));
}

accel_status_t accel_comm_iallgather(accel_comm_t *comm, const void *send, void *recv, size_t count,
                                     accel_dtype_t dtype, accel_request_t **request)
{
    return post(comm, allgather_call(send, recv, count, dtype), request);
}

accel_status_t accel_comm_broadcast(accel_comm_t *comm, void *buffer, size_t count,
                                    accel_dtype_t dtype, int32_t root)
{
    return run(comm, broadcast_call(buffer, count, dtype, root));
}

accel_status_t accel_comm_ibroadcast(accel_comm_t *comm, void *buffer, size_t count,
                                     accel_dtype_t dtype, int32_t root, accel_request_t **request)
{
    return post(comm, broadcast_call(buffer, count, dtype, root), request);
}

accel_status_t accel_comm_barrier(accel_comm_t *comm)
{
    return run(comm, barrier_call());
}

accel_status_t accel_comm_ibarrier(accel_comm_t *comm, accel_request_t **request)
{
    return post(comm, barrier_call(), request);
}

/* ---- for the other rooms ---- */

accel_status_t accel__comm_meet(accel_comm_t *comm, const char *operation, uint64_t signature,
                                const void *mine, size_t size, void *all)
{
    accel__call_t call = {.kind = ACCEL__MEET,
                          .operation = operation,
                          .send = mine,
                          .recv = all,
                          .size = size,
                          .signature = signature,
                          .dtype = ACCEL_U8};

    if (size > ACCEL__MEET_MAX)
        return accel__fail(ACCEL_ERR_INTERNAL, "%s: a payload of %zu bytes", operation, size);
    call.file = accel__call_site(&call.line);
    return accel__run(comm, &call);
}

accel_status_t accel__comm_agree(accel_comm_t *comm, const char *operation, accel_status_t mine)
{
    int32_t own = (int32_t)mine, all[ACCEL__MAX_LOCAL_RANKS], failed = 0;
    char *text = comm->segment->slots[comm->world.rank].error;
    char whole[ACCEL__ERROR_SIZE + 96];
    accel_status_t status;

    if (mine != ACCEL_OK)
        snprintf(text, ACCEL__ERROR_SIZE, "%s", accel_last_error());
    status = accel__comm_meet(comm, operation, 0, &own, sizeof(own), all);
    if (status != ACCEL_OK)
        return status;
    while (failed < comm->world.size && all[failed] == ACCEL_OK)
        failed++;
    if (failed == comm->world.size)
        return ACCEL_OK;
    snprintf(whole, sizeof(whole), "%s: rank %d failed: %s", operation, (int)failed,
             comm->segment->slots[failed].error);
    if (mine != ACCEL_OK)
        snprintf(whole, sizeof(whole), "%s", text);
    /* Nobody writes its text again before all have read it. */
    status = accel__comm_meet(comm, operation, 1, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    return accel__fail(mine != ACCEL_OK ? mine : ACCEL_ERR_REMOTE, "%s", whole);
}
