/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator: the processes of a job ("ranks"), and collectives among them.
 *
 * An accelerator brings its own communicator, so most programs never include this
 * header. It serves those that want the collectives alone.
 *
 * Collective calls must be made by every rank, in the same order, with equal kind,
 * dtype, count, reduction and root. Each carries these, a sequence number and its call
 * site through shared memory. A rank that makes another call, dies, leaves or does not
 * come in time makes the call fail on every other rank, with a text that names the
 * rank and where it is:
 *     ACCEL_ERR_MISMATCH  the ranks called different things
 *     ACCEL_ERR_REMOTE    a rank died, left, or reported a failure of its own
 *     ACCEL_ERR_TIMEOUT   a rank did not come within the time-out
 * After any of these the communicator is broken: every later call on it returns
 * ACCEL_ERR_STATE at once, repeating the cause. (Calls above this header, such as
 * accel_gather(), compare shapes and options before they start; a difference found there
 * has the same codes and breaks nothing.)
 *
 * A child that a rank forks is not the rank: its collectives are refused.
 *
 * Sums are formed in rank order 0..P-1, so results are bit-identical from run to run
 * and on all ranks. bf16 and f16 are combined in fp32 and rounded once, to nearest even.
 *
 * A communicator is used by one thread at a time. Buffers are CPU memory. */
#ifndef ACCEL_COMM_H
#define ACCEL_COMM_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_comm accel_comm_t;

/* A collective that has been posted and may still be under way. */
typedef struct accel_request accel_request_t;

/* The meeting place of ranks that are threads of this process. */
typedef struct accel_thread_ranks accel_thread_ranks_t;

typedef struct accel_comm_options {
    size_t struct_size;

    /* Where the ranks come from. With nothing set, the environment says: `accel launch`,
     * torchrun, Open MPI, MPICH, Slurm, or RANK and WORLD_SIZE (in that order), else one process
     * alone. */
    int32_t num_processes;         /* > 0: the world, given here; process_index and job_id count */
    int32_t process_index;         /* 0 .. num_processes - 1 */
    const char *job_id;            /* the same text on every rank of the job; required then */
    accel_thread_ranks_t *threads; /* ranks are threads; process_index counts; borrowed */

    uint32_t join_timeout_ms; /* for all ranks to meet; 0: 60,000 */
    uint32_t timeout_ms;      /* for one operation; 0: 1,800,000 */
    /* A rank that has waited so long says so, once, by a warning that names whom it waits for and
     * where each of them was last; and again after twice the time, and so on. 0:
     * ACCEL_WATCHDOG (seconds; 0 there: never), else 60,000. */
    uint32_t watchdog_ms;
} accel_comm_options_t;

ACCEL__OPTIONS_INIT(accel_comm_options)
#define ACCEL_COMM_OPTIONS(...) ACCEL__OPTIONS(accel_comm_options_t, __VA_ARGS__)

/* Join the world. Collective. On success *comm is the caller's. On failure it is NULL,
 * and the text names the rank that is missing, or what differs between the ranks. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_create(const accel_comm_options_t *options,
                                                           accel_comm_t **comm);

/* Leave. Local: peers still inside a collective learn that this rank left. NULL is fine. */
ACCEL_API void accel_comm_destroy(accel_comm_t *comm);

/* Report a failure of this rank's own: every other rank's current or next collective
 * fails with ACCEL_ERR_REMOTE and `text`. Returns `status`. Local. */
ACCEL_API accel_status_t accel_comm_abort(accel_comm_t *comm, accel_status_t status,
                                          const char *text);

/* With NULL: those of a process alone. */
ACCEL_API int32_t accel_comm_rank(const accel_comm_t *comm);
ACCEL_API int32_t accel_comm_size(const accel_comm_t *comm);
ACCEL_API int32_t accel_comm_local_rank(const accel_comm_t *comm);
ACCEL_API int32_t accel_comm_local_size(const accel_comm_t *comm);

/* Combine `count` elements over all ranks; every rank gets the result in `recv`, which
 * may be `send`. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_allreduce(accel_comm_t *comm, const void *send,
                                                              void *recv, size_t count,
                                                              accel_dtype_t dtype,
                                                              accel_reduction_t reduction);

/* `size` bytes of this rank's own, zeroed and page-aligned, where the other ranks reach them
 * too. An accel_comm_allreduce() in place whose buffer lies in such memory, on every rank at
 * the same distance from its start, reads and writes each element once, without a copy in
 * between. Collective; all ranks ask for the same size. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_alloc(accel_comm_t *comm, size_t size,
                                                          void **memory);

/* Give such memory back, when no rank is in a collective on it any more. Local; NULL is fine.
 * What is left is freed with the communicator. */
ACCEL_API void accel_comm_free(accel_comm_t *comm, void *memory);

/* `send` holds size × count elements; rank r gets the combination of the r-th `count`. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_comm_reduce_scatter(accel_comm_t *comm, const void *send, void *recv, size_t count,
                          accel_dtype_t dtype, accel_reduction_t reduction);

/* `recv` gets the `count` elements of rank 0, then of rank 1, ...: size × count. `send`
 * may be this rank's place in `recv`. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_allgather(accel_comm_t *comm, const void *send,
                                                              void *recv, size_t count,
                                                              accel_dtype_t dtype);

/* Every rank's `buffer` becomes that of rank `root`. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_broadcast(accel_comm_t *comm, void *buffer,
                                                              size_t count, accel_dtype_t dtype,
                                                              int32_t root);

/* Return when every rank has called. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_barrier(accel_comm_t *comm);

/* The same, posted: the call returns at once, a thread of the communicator does the
 * work, in the order of the calls (blocking calls queue behind). The buffers stay the
 * operation's until accel_request_wait() returned. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_comm_iallreduce(accel_comm_t *comm, const void *send, void *recv, size_t count,
                      accel_dtype_t dtype, accel_reduction_t reduction, accel_request_t **request);
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_comm_ireduce_scatter(accel_comm_t *comm, const void *send, void *recv, size_t count,
                           accel_dtype_t dtype, accel_reduction_t reduction,
                           accel_request_t **request);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_iallgather(accel_comm_t *comm, const void *send,
                                                               void *recv, size_t count,
                                                               accel_dtype_t dtype,
                                                               accel_request_t **request);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_ibroadcast(accel_comm_t *comm, void *buffer,
                                                               size_t count, accel_dtype_t dtype,
                                                               int32_t root,
                                                               accel_request_t **request);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_comm_ibarrier(accel_comm_t *comm,
                                                             accel_request_t **request);

/* ACCEL_OK once complete, ACCEL_IN_PROGRESS before, or the operation's error. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_request_test(accel_request_t *request);

/* Wait for completion, free the request and set *request to NULL. Returns the
 * operation's status. Every request must be waited for, before the communicator goes. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_request_wait(accel_request_t **request);

/* Write where every rank is to a descriptor, a line each: the call it is in or was in last, with
 * its place in the program. Local; from any thread, and from a signal handler. */
ACCEL_API void accel_comm_dump(const accel_comm_t *comm, int fd);

/* Do that for all communicators of this process, to stderr, whenever the signal comes (SIGUSR2, for
 * one). The library installs no handler of its own accord; the environment variable
 * ACCEL_DUMP_SIGNAL, a signal's number, asks for this too. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_dump_on_signal(int signal);

/* A world of `num_processes` ranks that are threads of this process: for tests, and for
 * programs that bring their own threads. Each thread passes it, with its process_index,
 * to accel_comm_create() or accel_create(). Destroy it after all ranks left. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_thread_ranks_create(int32_t num_processes,
                                                                   accel_thread_ranks_t **ranks);
ACCEL_API void accel_thread_ranks_destroy(accel_thread_ranks_t *ranks);

#ifdef __cplusplus
}
#endif

#endif
