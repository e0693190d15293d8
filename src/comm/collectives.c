/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives over staging buffers in shared memory.
 *
 * Large arrays go through in chunks, each through the next of three buffers a rank, with
 * one meeting a chunk. That is enough: a rank fills buffer c mod 3 for chunk c after
 * meeting c - 1, to which all ranks came after they were done with chunk c - 3, which was
 * in that buffer before.
 *
 *     all-reduce, step c:   meet c | copy out c - 1 | reduce own slice of c | copy in c + 1
 *
 * The reduced slice replaces the rank's own contribution in place: nobody else reads it. */
#include "comm/reduce.h"
#include "comm/world.h"

#include <stdint.h>
#include <string.h>

static void *stage(const accel_comm_t *comm, int32_t rank, uint64_t chunk)
{
    return accel__segment_stage(comm->segment, rank, chunk);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const char *at(const void *base, size_t bytes)
{
    return (const char *)base + bytes;
}

/* The first meeting of a call also compares what the ranks announced. */
static accel_status_t meet(accel_comm_t *comm, const accel__call_t *call, bool first)
{
    return first ? accel__announce(comm, call) : accel__arrive(comm, call);
}

/* Elements begin .. begin + count - 1 of a chunk are `rank`'s to reduce. */
static void slice_of(int32_t rank, int32_t size, size_t elements, size_t *begin, size_t *count)
{
    size_t each = (elements + (size_t)size - 1) / (size_t)size;

    each = (each + 63) & ~(size_t)63; /* whole cache lines, for every dtype */
    *begin = min_size((size_t)rank * each, elements);
    *count = min_size(each, elements - *begin);
}

static void reduce_own_slice(accel_comm_t *comm, const accel__call_t *call, uint64_t chunk,
                             size_t elements)
{
    const void *sources[ACCEL__MAX_LOCAL_RANKS];
    size_t width = accel_dtype_size(call->dtype), begin, count;

    slice_of(comm->world.rank, comm->world.size, elements, &begin, &count);
    for (int32_t r = 0; r < comm->world.size; r++)
        sources[r] = at(stage(comm, r, chunk), begin * width);
    accel__reduce_block((char *)stage(comm, comm->world.rank, chunk) + begin * width, sources,
                        comm->world.size, count, call->dtype, call->reduction);
}

static void copy_out_slices(accel_comm_t *comm, const accel__call_t *call, uint64_t chunk,
                            char *recv, size_t elements)
{
    size_t width = accel_dtype_size(call->dtype), begin, count;

    for (int32_t r = 0; r < comm->world.size; r++) {
        slice_of(r, comm->world.size, elements, &begin, &count);
        memcpy(recv + begin * width, at(stage(comm, r, chunk), begin * width), count * width);
    }
}

/* Few bytes travel in the announcement itself, and every rank reduces them all. */
static accel_status_t allreduce_small(accel_comm_t *comm, const accel__call_t *call)
{
    const void *sources[ACCEL__MAX_LOCAL_RANKS];
    size_t bytes = call->count * accel_dtype_size(call->dtype);
    accel_status_t status;

    memcpy(accel__payload(comm, comm->world.rank), call->send, bytes);
    status = accel__announce(comm, call);
    if (status != ACCEL_OK)
        return status;
    for (int32_t r = 0; r < comm->world.size; r++)
        sources[r] = accel__payload(comm, r);
    accel__reduce_block(call->recv, sources, comm->world.size, call->count, call->dtype,
                        call->reduction);
    return ACCEL_OK;
}

static void copy_in(accel_comm_t *comm, const accel__call_t *call, uint64_t chunk, size_t done,
                    size_t elements)
{
    size_t width = accel_dtype_size(call->dtype);

    memcpy(stage(comm, comm->world.rank, chunk), at(call->send, done * width), elements * width);
}

/* From the first meeting on, to which every rank came with its first chunk in place. */
static accel_status_t allreduce_staged(accel_comm_t *comm, const accel__call_t *call,
                                       uint64_t first, size_t per_chunk)
{
    size_t width = accel_dtype_size(call->dtype);
    size_t chunks = (call->count + per_chunk - 1) / per_chunk;

    for (size_t c = 0; c <= chunks; c++) {
        size_t done = c * per_chunk;
        accel_status_t status = c == 0 ? ACCEL_OK : accel__arrive(comm, call);

        if (status != ACCEL_OK)
            return status;
        if (c > 0)
            copy_out_slices(comm, call, first + c - 1,
                            (char *)call->recv + (done - per_chunk) * width,
                            min_size(per_chunk, call->count - (done - per_chunk)));
        if (c < chunks)
            reduce_own_slice(comm, call, first + c, min_size(per_chunk, call->count - done));
        if (c + 1 < chunks)
            copy_in(comm, call, first + c + 1, done + per_chunk,
                    min_size(per_chunk, call->count - done - per_chunk));
    }
    return ACCEL_OK;
}

/* The block of accel_comm_alloc() that holds the whole buffer, if the call is in place. */
static const accel__block_t *block_of(const accel_comm_t *comm, const accel__call_t *call)
{
    size_t bytes = call->count * accel_dtype_size(call->dtype);

    for (const accel__block_t *block = comm->blocks; block; block = block->next) {
        uintptr_t own = (uintptr_t)accel__block_part(block, comm->world.rank);
        uintptr_t buffer = (uintptr_t)call->recv;

        if (call->send == call->recv && buffer >= own && bytes <= block->size &&
            buffer - own <= block->size - bytes)
            return block;
    }
    return NULL;
}

/* Where a rank's buffer lies, as it tells the others: nowhere special is {0, 0}. */
typedef struct place {
    uint64_t serial, offset;
} place_t;

static place_t place_of(const accel_comm_t *comm, const accel__call_t *call,
                        const accel__block_t *block)
{
    if (!block)
        return (place_t){0};
    return (place_t){
        block->serial,
        (uint64_t)((uintptr_t)call->recv - (uintptr_t)accel__block_part(block, comm->world.rank))};
}

static bool all_places_are(const accel_comm_t *comm, place_t place)
{
    for (int32_t r = 0; r < comm->world.size; r++)
        if (memcmp(accel__payload(comm, r), &place, sizeof(place)) != 0)
            return false;
    return true;
}

/* Every rank reduces its slice of all ranks' buffers, and writes it into all of them. */
static accel_status_t allreduce_in_place(accel_comm_t *comm, const accel__call_t *call,
                                         const accel__block_t *block, size_t offset)
{
    void *buffers[ACCEL__MAX_LOCAL_RANKS];
    const void *sources[ACCEL__MAX_LOCAL_RANKS];
    accel__reduction_t reduction = {buffers, sources, comm->world.size, comm->world.size,
                                    call->reduction};
    size_t begin, count;

    for (int32_t r = 0; r < comm->world.size; r++) {
        buffers[r] = (char *)accel__block_part(block, r) + offset;
        sources[r] = buffers[r];
    }
    slice_of(comm->world.rank, comm->world.size, call->count, &begin, &count);
    accel__reduce(&reduction, begin, count, call->dtype);
    return accel__arrive(comm, call);
}

/* Before the first meeting a rank does not know where the others' buffers lie. If they turn
 * out to differ, those that hoped to do without staging catch up, and all meet again. */
static accel_status_t allreduce(accel_comm_t *comm, const accel__call_t *call)
{
    size_t width = accel_dtype_size(call->dtype), per_chunk = comm->segment->chunk_size / width;
    const accel__block_t *block = block_of(comm, call);
    place_t place = place_of(comm, call, block);
    uint64_t first = comm->chunk;
    accel_status_t status;

    if (call->count * width <= ACCEL__MEET_MAX)
        return allreduce_small(comm, call);
    comm->chunk += (call->count + per_chunk - 1) / per_chunk;
    memcpy(accel__payload(comm, comm->world.rank), &place, sizeof(place));
    if (!block)
        copy_in(comm, call, first, 0, min_size(per_chunk, call->count));
    status = accel__announce(comm, call);
    if (status == ACCEL_OK && block && all_places_are(comm, place))
        return allreduce_in_place(comm, call, block, place.offset);
    if (status == ACCEL_OK && !all_places_are(comm, (place_t){0})) {
        if (block)
            copy_in(comm, call, first, 0, min_size(per_chunk, call->count));
        status = accel__arrive(comm, call);
    }
    return status == ACCEL_OK ? allreduce_staged(comm, call, first, per_chunk) : status;
}

/* A chunk holds a piece of every rank's part, one after the other. */
static void copy_in_parts(accel_comm_t *comm, const accel__call_t *call, uint64_t chunk,
                          size_t done, size_t elements)
{
    size_t width = accel_dtype_size(call->dtype);
    char *to = stage(comm, comm->world.rank, chunk);

    for (size_t r = 0; r < (size_t)comm->world.size; r++)
        memcpy(to + r * elements * width, at(call->send, (r * call->count + done) * width),
               elements * width);
}

static accel_status_t reduce_scatter(accel_comm_t *comm, const accel__call_t *call)
{
    size_t width = accel_dtype_size(call->dtype);
    size_t per_chunk = comm->segment->chunk_size / width / (size_t)comm->world.size;

    for (size_t done = 0; done < call->count; done += per_chunk) {
        const void *sources[ACCEL__MAX_LOCAL_RANKS];
        size_t elements = min_size(per_chunk, call->count - done);
        uint64_t chunk = comm->chunk++;
        accel_status_t status;

        copy_in_parts(comm, call, chunk, done, elements);
        status = meet(comm, call, done == 0);
        if (status != ACCEL_OK)
            return status;
        for (int32_t r = 0; r < comm->world.size; r++)
            sources[r] = at(stage(comm, r, chunk), (size_t)comm->world.rank * elements * width);
        accel__reduce_block((char *)call->recv + done * width, sources, comm->world.size, elements,
                            call->dtype, call->reduction);
    }
    return ACCEL_OK;
}

static accel_status_t allgather(accel_comm_t *comm, const accel__call_t *call)
{
    size_t bytes = call->count * accel_dtype_size(call->dtype);

    for (size_t done = 0; done < bytes; done += comm->segment->chunk_size) {
        size_t size = min_size(comm->segment->chunk_size, bytes - done);
        uint64_t chunk = comm->chunk++;
        accel_status_t status;

        memcpy(stage(comm, comm->world.rank, chunk), at(call->send, done), size);
        status = meet(comm, call, done == 0);
        if (status != ACCEL_OK)
            return status;
        for (int32_t r = 0; r < comm->world.size; r++)
            memcpy((char *)call->recv + (size_t)r * bytes + done, stage(comm, r, chunk), size);
    }
    return ACCEL_OK;
}

static accel_status_t broadcast(accel_comm_t *comm, const accel__call_t *call)
{
    size_t bytes = call->count * accel_dtype_size(call->dtype);
    bool is_root = comm->world.rank == call->root;

    for (size_t done = 0; done < bytes; done += comm->segment->chunk_size) {
        size_t size = min_size(comm->segment->chunk_size, bytes - done);
        uint64_t chunk = comm->chunk++;
        accel_status_t status;

        if (is_root)
            memcpy(stage(comm, call->root, chunk), at(call->recv, done), size);
        status = meet(comm, call, done == 0);
        if (status != ACCEL_OK)
            return status;
        if (!is_root)
            memcpy((char *)call->recv + done, stage(comm, call->root, chunk), size);
    }
    return ACCEL_OK;
}

static accel_status_t exchange(accel_comm_t *comm, const accel__call_t *call)
{
    accel_status_t status;

    if (call->size)
        memcpy(accel__payload(comm, comm->world.rank), call->send, call->size);
    status = accel__announce(comm, call);
    for (int32_t r = 0; status == ACCEL_OK && call->size && r < comm->world.size; r++)
        memcpy((char *)call->recv + (size_t)r * call->size, accel__payload(comm, r), call->size);
    return status;
}

/* Alone, every collective is at most a copy; a MEAN or SUM of one is itself. */
static accel_status_t alone(const accel__call_t *call)
{
    size_t bytes =
        call->kind == ACCEL__MEET ? call->size : call->count * accel_dtype_size(call->dtype);

    if (call->kind != ACCEL__BROADCAST && call->kind != ACCEL__BARRIER && bytes &&
        call->recv != call->send)
        memmove(call->recv, call->send, bytes);
    return ACCEL_OK;
}

accel_status_t accel__carry_out(accel_comm_t *comm, const accel__call_t *call)
{
    if (comm->broken != ACCEL_OK)
        return accel__fail(ACCEL_ERR_STATE, "%s: the communicator broke before: %s",
                           call->operation, comm->broken_text);
    if (comm->world.size == 1) {
        comm->sequence++;
        return alone(call);
    }
    if (!accel__is_rank(comm))
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: this process is a child that rank %d forked, not the rank itself",
                           call->operation, (int)comm->world.rank);
    comm->sequence++;
    if (call->count == 0 && call->kind != ACCEL__MEET)
        return accel__announce(comm, call);
    switch (call->kind) {
    case ACCEL__ALLREDUCE:
        return allreduce(comm, call);
    case ACCEL__REDUCE_SCATTER:
        return reduce_scatter(comm, call);
    case ACCEL__ALLGATHER:
        return allgather(comm, call);
    case ACCEL__BROADCAST:
        return broadcast(comm, call);
    case ACCEL__MEET:
        return exchange(comm, call);
    case ACCEL__BARRIER:
        break;
    }
    return accel__announce(comm, call);
}
