/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the communicator: who the ranks are, how they meet, and the memory they share. */
#ifndef ACCEL_COMM_WORLD_H
#define ACCEL_COMM_WORLD_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "comm/comm.h"

/* ---- who (discover.c) ---- */

/* The world as the environment or the options describe it. */
typedef struct accel__world {
    int32_t rank, size;
    int32_t local_rank, local_size;
    char key[512];        /* equal on all ranks of a job, different between jobs; "" if alone */
    const char *launcher; /* for messages: "torchrun", ...; static text */
} accel__world_t;

accel_status_t accel__discover(const accel_comm_options_t *options, accel__world_t *world);

/* ---- the shared segment ---- */

#define ACCEL__LINE 128 /* two cache lines: the adjacent-line prefetcher pairs them */
#define ACCEL__MAX_LOCAL_RANKS 240
#define ACCEL__SITE_SIZE 48
#define ACCEL__NAME_SIZE 32
#define ACCEL__ERROR_SIZE 512
#define ACCEL__USERS 512

/* One operation as a rank announces it. */
typedef struct accel__record {
    uint64_t sequence;  /* 1 for the first */
    uint64_t signature; /* hash of all that must agree, sequence included */
    uint64_t count;
    uint32_t kind;
    accel_dtype_t dtype;
    accel_reduction_t reduction;
    int32_t root;
    int32_t line;
    char operation[ACCEL__NAME_SIZE];
    char site[ACCEL__SITE_SIZE];
} accel__record_t;

/* Written by its rank alone, read by all. Records and payloads are kept for two operations:
 * a rank can be at most one meeting ahead of another that still reads. */
typedef struct accel__slot {
    _Alignas(ACCEL__LINE) _Atomic uint32_t arrived; /* meetings this rank has come to */
    _Atomic uint32_t left;                          /* the rank left in good order */
    uint64_t signature[2];
    unsigned char payload[2][ACCEL__MEET_MAX];
    _Alignas(ACCEL__LINE) accel__record_t record[2];
    char error[ACCEL__ERROR_SIZE]; /* of accel__comm_agree and _conclude */
    int32_t pid;
    cpu_set_t cpus;
    /* repair.c: meetings that a broken communicator does not hinder, and what is brought there */
    _Alignas(ACCEL__LINE) _Atomic uint32_t repairs;
    int32_t verdict;
    uint64_t num_blocks;
} accel__slot_t;

typedef struct accel__segment {
    uint32_t magic;
    int32_t size;
    size_t chunk_size;                               /* of one staging buffer */
    size_t total_size;                               /* of the segment, staging included */
    _Alignas(ACCEL__LINE) _Atomic uint32_t doorbell; /* sleepers wait on it */
    _Atomic uint32_t sleepers;
    /* 0: whole; 1: somebody is writing the cause; 2: broken, and the cause is readable */
    _Alignas(ACCEL__LINE) _Atomic uint32_t broken;
    accel_status_t cause;
    int32_t cause_rank;
    char cause_text[ACCEL__ERROR_SIZE];
    uint64_t shared_end; /* file offset where the next shared block goes; rank 0's */
    _Atomic int32_t users[ACCEL__USERS]; /* of shared blocks: share.c */
    _Alignas(ACCEL__LINE) accel__slot_t slots[];
} accel__segment_t;

/* Three staging buffers a rank: see collectives.c. */
#define ACCEL__STAGES 3

size_t accel__segment_size(int32_t num_ranks, size_t *chunk_size);
void accel__segment_init(accel__segment_t *segment, int32_t num_ranks);
void *accel__segment_stage(const accel__segment_t *segment, int32_t rank, uint64_t chunk);

/* ---- how processes meet (bootstrap.c) ---- */

/* What a rank holds after the meeting; descriptors are -1 where there are none. */
typedef struct accel__meeting {
    int memory; /* the memfd that holds the segment */
    size_t segment_size;
    int pidfds[ACCEL__MAX_LOCAL_RANKS];  /* of every other rank, if the kernel has them */
    int sockets[ACCEL__MAX_LOCAL_RANKS]; /* rank 0: to each other rank; others: [0] */
} accel__meeting_t;

accel_status_t accel__bootstrap(const accel__world_t *world, uint32_t timeout_ms,
                                accel__meeting_t *meeting);
void accel__meeting_close(accel__meeting_t *meeting);

/* ---- ranks as threads (threads.c) ---- */

/* The nth world of these ranks that this rank joins; n is counted per rank. */
accel_status_t accel__threads_join(accel_thread_ranks_t *ranks, int32_t rank,
                                   accel__segment_t **segment);
int32_t accel__threads_size(const accel_thread_ranks_t *ranks);
/* A block that lives as long as `ranks`. */
void *accel__threads_alloc(accel_thread_ranks_t *ranks, size_t size);

/* ---- the handle ---- */

typedef enum accel__kind {
    ACCEL__MEET,
    ACCEL__ALLREDUCE,
    ACCEL__REDUCE_SCATTER,
    ACCEL__ALLGATHER,
    ACCEL__BROADCAST,
    ACCEL__BARRIER
} accel__kind_t;

/* A call, as it is carried out: by the caller, or by the communicator's thread. */
typedef struct accel__call {
    accel__kind_t kind;
    const char *operation;
    const void *send;
    void *recv;
    size_t count;
    accel_dtype_t dtype;
    accel_reduction_t reduction;
    int32_t root;
    uint64_t signature; /* of a meet: the caller's */
    size_t size;        /* of a meet: bytes of payload */
    const char *file;
    int line;
} accel__call_t;

struct accel_request {
    accel__call_t call;
    accel_comm_t *comm;
    accel_request_t *next;
    bool done;
    accel_status_t status;
    char error[ACCEL__ERROR_SIZE];
};

/* Memory of accel_comm_alloc(): every rank's part, one after the other. */
typedef struct accel__block {
    struct accel__block *next;
    accel__shared_t shared;
    size_t size;     /* of a part */
    uint64_t serial; /* 1 for the first; equal on all ranks */
} accel__block_t;

static inline void *accel__block_part(const accel__block_t *block, int32_t rank)
{
    return (char *)block->shared.base + (size_t)rank * block->size;
}

struct accel_comm {
    accel__world_t world;
    accel__segment_t *segment;
    accel__meeting_t meeting;
    accel_thread_ranks_t *threads; /* NULL: ranks are processes */
    unsigned process_mark;         /* of the process that joined */
    uint64_t timeout_ns, watchdog_ns; /* watchdog 0: silent */
    uint32_t spins;    /* looks at a peer before sleeping */
    uint64_t sequence; /* operations so far */
    uint32_t arrived;  /* meetings so far; wraps around */
    uint32_t repairs;  /* of these meetings: repair.c */
    uint64_t chunk;    /* staging buffers used so far */
    bool announcing;   /* at the first meeting of a call */
    accel_status_t broken;
    char broken_text[ACCEL__ERROR_SIZE];
    accel__block_t *blocks;
    uint64_t num_blocks; /* ever allocated */

    /* Posted calls: request.c */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t worker;
    bool has_worker, stop;
    accel_request_t *first, *last;
    uint32_t pending; /* posted and not done */
};

/* ---- looking at the ranks ---- */

static inline accel__slot_t *accel__slot_of(const accel_comm_t *comm, int32_t rank)
{
    return &comm->segment->slots[rank];
}

/* The operation that this rank is in. */
static inline const accel__record_t *accel__own_record(const accel_comm_t *comm)
{
    return &accel__slot_of(comm, comm->world.rank)->record[comm->sequence & 1];
}

/* The last record of a peer that we wait for. Until our own call's first meeting it is that
 * of the call before: the peer may be writing the next at this moment. */
static inline const accel__record_t *accel__last_record(const accel_comm_t *comm, int32_t rank)
{
    uint64_t sequence = comm->sequence - (comm->announcing ? 1 : 0);

    return &accel__slot_of(comm, rank)->record[sequence & 1];
}

static inline bool accel__has_arrived(const accel_comm_t *comm, int32_t rank)
{
    return (int32_t)(atomic_load(&accel__slot_of(comm, rank)->arrived) - comm->arrived) >= 0;
}

/* ---- carrying out (wait.c, collectives.c, request.c) ---- */

/* Announce the call and come to its first meeting; checks that all ranks made the same. */
accel_status_t accel__announce(accel_comm_t *comm, const accel__call_t *call);

/* Come to the next meeting, and wait for all. */
accel_status_t accel__arrive(accel_comm_t *comm, const accel__call_t *call);

/* Make the communicator broken for every rank, with this cause; the first cause stays.
 * Returns what this rank then has to return. */
accel_status_t accel__break(accel_comm_t *comm, accel_status_t cause, const char *text);

/* Has the rank died, or left in good order? */
bool accel__is_lost(const accel_comm_t *comm, int32_t rank);

/* ---- where the ranks are (positions.c) ---- */

/* "#12 accel_gather of 3 float32 at train.c:40" */
void accel__describe(const accel__record_t *record, char *text, size_t size);

/* The watchdog's line: for whom this rank has waited so long. */
void accel__report_wait(const accel_comm_t *comm, double seconds);

/* Of the communicators that a signal's dump shows. */
void accel__list(accel_comm_t *comm);
void accel__unlist(accel_comm_t *comm);

/* Payload of `rank` for the operation under way. */
unsigned char *accel__payload(const accel_comm_t *comm, int32_t rank);

/* Is this the process that joined, not a child it forked? */
bool accel__is_rank(const accel_comm_t *comm);

/* Carry the call out on this thread. */
accel_status_t accel__carry_out(accel_comm_t *comm, const accel__call_t *call);

/* Carry it out in order, behind what has been posted. */
accel_status_t accel__run(accel_comm_t *comm, const accel__call_t *call);
accel_status_t accel__post(accel_comm_t *comm, const accel__call_t *call,
                           accel_request_t **request);
void accel__stop_worker(accel_comm_t *comm);

#endif
