/* SPDX-License-Identifier: Apache-2.0 */
/* Making a broken communicator whole again. The ranks meet in counters of their own, which the
 * breaking does not touch: first to know that none is in a collective any more, then, when each
 * has put its part back to the start, to know that all have. */
#include "comm/world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_NS 200000 /* a rare meeting, that may wait for a whole attempt to end */

static bool has_come(const accel_comm_t *comm, int32_t rank)
{
    return (int32_t)(atomic_load(&accel__slot_of(comm, rank)->repairs) - comm->repairs) >= 0;
}

static accel_status_t check_peers(const accel_comm_t *comm, const char *operation, uint64_t start)
{
    for (int32_t r = 0; r < comm->world.size; r++) {
        if (has_come(comm, r))
            continue;
        if (accel__is_lost(comm, r) && !has_come(comm, r))
            return accel__fail(ACCEL_ERR_REMOTE, "%s: rank %d (pid %d) died or left", operation,
                               (int)r, (int)accel__slot_of(comm, r)->pid);
        if (accel__clock_ns() - start > comm->timeout_ns)
            return accel__fail(ACCEL_ERR_TIMEOUT, "%s: rank %d did not come within %g s", operation,
                               (int)r, (double)comm->timeout_ns * 1e-9);
    }
    return ACCEL_OK;
}

static accel_status_t meet(accel_comm_t *comm, const char *operation)
{
    struct timespec pause = {.tv_nsec = POLL_NS};
    uint64_t start = accel__clock_ns();
    accel_status_t status = ACCEL_OK;

    comm->repairs++;
    atomic_store(&accel__slot_of(comm, comm->world.rank)->repairs, comm->repairs);
    for (int32_t r = 0; r < comm->world.size && status == ACCEL_OK; r++)
        while (status == ACCEL_OK && !has_come(comm, r)) {
            nanosleep(&pause, NULL);
            status = check_peers(comm, operation, start);
        }
    return status;
}

/* Between the two meetings every rank puts back its own; rank 0 also what is common. */
static void start_over(accel_comm_t *comm)
{
    accel__slot_t *own = accel__slot_of(comm, comm->world.rank);

    for (int32_t r = 0; r < comm->world.size; r++)
        if (accel__slot_of(comm, r)->num_blocks > comm->num_blocks)
            comm->num_blocks = accel__slot_of(comm, r)->num_blocks;
    comm->sequence = comm->chunk = 0;
    comm->arrived = 0;
    comm->announcing = false;
    comm->broken = ACCEL_OK;
    atomic_store(&own->arrived, 0);
    memset(own->signature, 0, sizeof(own->signature));
    memset(own->record, 0, sizeof(own->record));
    if (comm->world.rank == 0)
        atomic_store(&comm->segment->broken, 0);
}

/* A status that the breaking gave this rank is not of its own making. */
static accel_status_t own_verdict(accel_comm_t *comm, accel_status_t mine)
{
    bool others =
        atomic_load(&comm->segment->broken) == 2 && comm->segment->cause_rank != comm->world.rank;

    return mine < ACCEL_OK && comm->broken != ACCEL_OK && others ? ACCEL_OK : mine;
}

static accel_status_t alone(accel_status_t mine, accel_status_t *worst)
{
    *worst = mine < ACCEL_OK ? mine : ACCEL_OK;
    return *worst;
}

/* The lowest status, and the text of the first rank that brought it. */
static int32_t find_worst(const accel_comm_t *comm, accel_status_t *worst)
{
    int32_t rank = -1;

    *worst = ACCEL_OK;
    for (int32_t r = 0; r < comm->world.size; r++) {
        accel_status_t verdict = (accel_status_t)accel__slot_of(comm, r)->verdict;

        /* running out of memory is the mildest: it asks for another attempt */
        if (verdict < ACCEL_OK && (rank < 0 || *worst == ACCEL_ERR_NO_MEMORY) &&
            (rank < 0 || verdict != ACCEL_ERR_NO_MEMORY)) {
            *worst = verdict;
            rank = r;
        }
    }
    return rank;
}

accel_status_t accel__comm_conclude(accel_comm_t *comm, const char *operation, accel_status_t mine,
                                    accel_status_t *worst)
{
    accel__slot_t *own;
    accel_status_t status;
    int32_t rank;

    if (comm->world.size == 1)
        return alone(mine, worst);
    own = accel__slot_of(comm, comm->world.rank);
    own->verdict = own_verdict(comm, mine);
    own->num_blocks = comm->num_blocks;
    snprintf(own->error, sizeof(own->error), "%s", mine < ACCEL_OK ? accel_last_error() : "");
    if (own->verdict < ACCEL_OK)
        accel__break(comm, (accel_status_t)own->verdict, own->error);
    status = meet(comm, operation);
    if (status != ACCEL_OK)
        return *worst = accel__break(comm, status, accel_last_error());
    rank = find_worst(comm, worst);
    start_over(comm);
    /* the texts may be overwritten once a rank goes on: take ours before the second meeting */
    if (rank == comm->world.rank)
        accel__fail(*worst, "%s", own->error);
    else if (rank >= 0)
        accel__fail(ACCEL_ERR_REMOTE, "%s: rank %d failed: %s", operation, (int)rank,
                    accel__slot_of(comm, rank)->error);
    status = rank < 0 || rank == comm->world.rank ? *worst : ACCEL_ERR_REMOTE;
    if (meet(comm, operation) != ACCEL_OK)
        return *worst = accel__break(comm, ACCEL_ERR_REMOTE, accel_last_error());
    return status;
}
