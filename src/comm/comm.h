/* SPDX-License-Identifier: Apache-2.0 */
/* What the other rooms may ask of the communicator beyond <accel/comm.h>. */
#ifndef ACCEL_COMM_COMM_H
#define ACCEL_COMM_COMM_H

#include <accel/comm.h>

#include "base/base.h"

/* The most bytes a rank can contribute to accel__comm_meet(). */
#define ACCEL__MEET_MAX 64

/* A named barrier that carries a few bytes: returns when every rank has come to the same
 * `operation` (static text, at most 31 characters) with the same `signature` (any number
 * that must agree: a hash of shapes, an option). Each rank's `size` bytes at `mine` arrive
 * at `all`, size × num_processes bytes in rank order. size 0: a barrier, all may be NULL.
 * Collective; checked as the public calls are. */
accel_status_t accel__comm_meet(accel_comm_t *comm, const char *operation, uint64_t signature,
                                const void *mine, size_t size, void *all);

/* Did this part of the work go well on every rank? Each rank brings its own status (with
 * its text in accel_last_error() if it is an error). All good: ACCEL_OK. A rank that failed
 * gets its own status and text back, the others ACCEL_ERR_REMOTE and a text that names the
 * lowest failing rank and quotes it. The communicator stays usable. Collective. */
accel_status_t accel__comm_agree(accel_comm_t *comm, const char *operation, accel_status_t mine);

/* The end of an attempt that may have failed on some ranks only, in the midst of whatever each of
 * them was in. As accel__comm_agree, but a rank that failed breaks the communicator, with its
 * status and text, so that the others come out of their collectives and here; and when all ranks
 * have come, the communicator is whole again. *worst is the lowest status of a rank's own, without
 * those that came from the breaking. ACCEL_ERR_REMOTE: a rank died or left, and the communicator
 * stays broken. Nothing posted may be under way. Collective. */
accel_status_t accel__comm_conclude(accel_comm_t *comm, const char *operation, accel_status_t mine,
                                    accel_status_t *worst);

/* Are all ranks on this host, so that memory can be shared? */
bool accel__comm_is_local(const accel_comm_t *comm);

/* One block of zeroed memory, the same for every rank, mapped read-write. Collective; all
 * ranks ask for the same size. base is page-aligned; addresses differ between processes. */
typedef struct accel__shared {
    void *base;
    size_t size;
    uint64_t offset; /* the communicator's own */
} accel__shared_t;

accel_status_t accel__comm_share(accel_comm_t *comm, size_t size, accel__shared_t *shared);

/* Unmap this rank's view. Local; the memory goes back when the communicator is destroyed
 * on all ranks, or to the system at once where no other rank can still use it. */
void accel__comm_unshare(accel_comm_t *comm, accel__shared_t *shared);

/* FNV-1a, for signatures: start from ACCEL__HASH_START. */
#define ACCEL__HASH_START UINT64_C(0xcbf29ce484222325)
static inline uint64_t accel__hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        /* clang-tidy 14 loses track of array initialisers that convert: NOLINTNEXTLINE */
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* dst[i] = the reduction over num_sources arrays of their element i, in order 0, 1, ...; what
 * every path of the library sums with. bf16 and f16 go through fp32, MEAN divides the sum.
 * dst may be any of the sources. */
void accel__reduce_block(void *dst, const void *const *sources, int32_t num_sources, size_t count,
                         accel_dtype_t dtype, accel_reduction_t reduction);

#endif
