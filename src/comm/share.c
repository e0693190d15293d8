/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that all ranks of the host see: it follows the segment in the same file. */
#include "comm/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

bool accel__comm_is_local(const accel_comm_t *comm)
{
    return comm->world.local_size == comm->world.size;
}

static accel_status_t map_block(accel_comm_t *comm, size_t size, uint64_t offset, int flags,
                                accel__shared_t *shared)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags,
                        flags & MAP_ANONYMOUS ? -1 : comm->meeting.memory, (off_t)offset);

    if (memory == MAP_FAILED)
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "cannot map %zu bytes of memory", size);
    *shared = (accel__shared_t){.base = memory, .size = size, .offset = offset};
    return ACCEL_OK;
}

/* Rank 0 finds the place: a file offset for processes, an address for threads. */
static accel_status_t reserve(accel_comm_t *comm, size_t size, uint64_t *place)
{
    int error;

    if (comm->threads) {
        *place = (uint64_t)(uintptr_t)accel__threads_alloc(comm->threads, size);
        return *place ? ACCEL_OK : accel__fail_memory("shared memory", size);
    }
    *place = comm->segment->shared_end;
    error = posix_fallocate(comm->meeting.memory, (off_t)*place, (off_t)size);
    if (error) {
        errno = error;
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "%zu bytes of shared memory", size);
    }
    comm->segment->shared_end = *place + size;
    return ACCEL_OK;
}

/* How many ranks use a block. Blocks far apart in the file may have a counter in common: then
 * the pages of all but the last stay until the communicator goes. */
static _Atomic int32_t *users_of(const accel_comm_t *comm, const accel__shared_t *shared)
{
    return &comm->segment->users[(shared->offset / 4096) % ACCEL__USERS];
}

accel_status_t accel__comm_share(accel_comm_t *comm, size_t size, accel__shared_t *shared)
{
    uint64_t place = 0, places[ACCEL__MAX_LOCAL_RANKS];
    accel_status_t status = ACCEL_OK;

    *shared = (accel__shared_t){0};
    size = (size + 4095) & ~(size_t)4095;
    if (comm->world.size == 1)
        return map_block(comm, size, 0, MAP_PRIVATE | MAP_ANONYMOUS, shared);
    if (comm->world.rank == 0)
        status = reserve(comm, size, &place);
    status = accel__comm_agree(comm, "sharing memory", status);
    if (status != ACCEL_OK)
        return status;
    status = accel__comm_meet(comm, "sharing memory", size, &place, sizeof(place), places);
    if (status != ACCEL_OK)
        return status;
    if (comm->threads)
        *shared = (accel__shared_t){.base = (void *)(uintptr_t)places[0], .size = size};
    else
        status = map_block(comm, size, places[0], MAP_SHARED, shared);
    if (status == ACCEL_OK && !comm->threads)
        atomic_fetch_add(users_of(comm, shared), 1);
    status = accel__comm_agree(comm, "sharing memory", status);
    if (status != ACCEL_OK)
        accel__comm_unshare(comm, shared);
    return status;
}

/* The last user of a block gives its pages back; the file keeps a hole there. A block shared
 * by threads goes with their meeting place. */
void accel__comm_unshare(accel_comm_t *comm, accel__shared_t *shared)
{
    bool is_file = comm->world.size > 1 && !comm->threads;

    if (shared->base && (is_file || comm->world.size == 1))
        munmap(shared->base, shared->size);
    if (shared->base && is_file && accel__is_rank(comm) &&
        atomic_fetch_sub(users_of(comm, shared), 1) == 1)
        fallocate(comm->meeting.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)shared->offset, (off_t)shared->size);
    *shared = (accel__shared_t){0};
}

accel_status_t accel_comm_alloc(accel_comm_t *comm, size_t size, void **memory)
{
    accel__block_t *block;
    size_t each = (size + 4095) & ~(size_t)4095, all;
    accel_status_t status;

    if (!comm || !memory)
        return accel__fail(ACCEL_ERR_INVALID, "accel_comm_alloc: %s is NULL",
                           comm ? "memory" : "comm");
    *memory = NULL;
    if (size == 0 || each < size || !accel__mul_size(each, (size_t)comm->world.size, &all) ||
        all > (size_t)INT64_MAX / 2)
        return accel__fail(ACCEL_ERR_INVALID, "accel_comm_alloc: cannot allocate %zu bytes", size);
    block = malloc(sizeof(*block));
    status = accel__comm_agree(comm, "accel_comm_alloc",
                               block ? ACCEL_OK : accel__fail_memory("a block", sizeof(*block)));
    accel__assume(block || status != ACCEL_OK);
    if (status == ACCEL_OK)
        status = accel__comm_share(comm, all, &block->shared);
    if (status != ACCEL_OK) {
        free(block);
        return status;
    }
    block->size = each;
    block->serial = ++comm->num_blocks;
    block->next = comm->blocks;
    comm->blocks = block;
    *memory = accel__block_part(block, comm->world.rank);
    return ACCEL_OK;
}

void accel_comm_free(accel_comm_t *comm, void *memory)
{
    accel__block_t **link = comm ? &comm->blocks : NULL;

    while (memory && link && *link) {
        accel__block_t *block = *link;

        if (accel__block_part(block, comm->world.rank) == memory) {
            *link = block->next;
            accel__comm_unshare(comm, &block->shared);
            free(block);
            return;
        }
        link = &block->next;
    }
}
