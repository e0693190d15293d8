/* SPDX-License-Identifier: Apache-2.0 */
/* Meetings: every rank counts its arrivals in its own slot and looks at the others'. It
 * spins a little where each rank has a CPU, then sleeps on one shared word. A sleep is at
 * most a slice long; between slices it looks after the peers, so that a death is noticed
 * without a thread or a heartbeat. */
#include "comm/world.h"

#include "base/span.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 20000000 /* 20 ms */

/* ---- breaking ---- */

static void ring(accel__segment_t *segment)
{
    atomic_fetch_add(&segment->doorbell, 1);
    if (atomic_load(&segment->sleepers) != 0)
        syscall(SYS_futex, &segment->doorbell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Remember the cause, so that it can be repeated without the segment. */
static accel_status_t break_here(accel_comm_t *comm, accel_status_t status, const char *text)
{
    if (comm->broken == ACCEL_OK) {
        comm->broken = status;
        snprintf(comm->broken_text, sizeof(comm->broken_text), "%.*s", ACCEL__ERROR_SIZE - 1, text);
    }
    return accel__fail(status, "%s", text);
}

accel_status_t accel__break(accel_comm_t *comm, accel_status_t cause, const char *text)
{
    accel__segment_t *segment = comm->segment;
    uint32_t whole = 0;

    if (atomic_compare_exchange_strong(&segment->broken, &whole, 1)) {
        segment->cause = cause;
        segment->cause_rank = comm->world.rank;
        snprintf(segment->cause_text, sizeof(segment->cause_text), "%s", text);
        atomic_store(&segment->broken, 2);
        ring(segment);
    }
    return break_here(comm, cause, text);
}

/* Another rank broke the communicator: say its cause as ours. */
static accel_status_t broken_by_other(accel_comm_t *comm, const accel__call_t *call)
{
    accel__segment_t *segment = comm->segment;
    char text[ACCEL__ERROR_SIZE + 64];

    for (int tries = 0; atomic_load(&segment->broken) == 1 && tries < 1000; tries++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (atomic_load(&segment->broken) != 2)
        return break_here(comm, ACCEL_ERR_REMOTE,
                          "the communicator broke, and the rank that "
                          "knew why died while saying so");
    if (strncmp(segment->cause_text, call->operation, strlen(call->operation)) == 0)
        return break_here(comm, segment->cause, segment->cause_text);
    snprintf(text, sizeof(text), "%s: %s", call->operation, segment->cause_text);
    return break_here(comm, segment->cause, text);
}

/* ---- peers ---- */

static bool all_arrived(const accel_comm_t *comm)
{
    for (int32_t r = 0; r < comm->world.size; r++)
        if (!accel__has_arrived(comm, r))
            return false;
    return true;
}

/* A descriptor that becomes readable when the process behind it is gone. */
static bool is_gone(int fd, bool is_socket)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    char byte;

    if (fd < 0 || poll(&poll_fd, 1, 0) <= 0 || poll_fd.revents == 0)
        return false;
    return !is_socket || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static bool is_dead(const accel_comm_t *comm, int32_t rank)
{
    if (comm->threads || rank == comm->world.rank)
        return false;
    return is_gone(comm->meeting.pidfds[rank], false) || is_gone(comm->meeting.sockets[rank], true);
}

bool accel__is_lost(const accel_comm_t *comm, int32_t rank)
{
    return atomic_load(&accel__slot_of(comm, rank)->left) != 0 || is_dead(comm, rank);
}

/* What the text about a lost rank ends with. */
static accel_status_t break_for(accel_comm_t *comm, accel_status_t cause, int32_t rank,
                                const char *what)
{
    char here[192], there[192], text[ACCEL__ERROR_SIZE];

    accel__describe(accel__own_record(comm), here, sizeof(here));
    accel__describe(accel__last_record(comm, rank), there, sizeof(there));
    snprintf(text, sizeof(text),
             "%s: rank %d (pid %d) %s; rank %d waits in %s, its last call was %s",
             accel__own_record(comm)->operation, (int)rank, (int)accel__slot_of(comm, rank)->pid,
             what, (int)comm->world.rank, here, there);
    return accel__break(comm, cause, text);
}

/* Between two sleeps: has a peer died or left without coming here? A dead one breaks the
 * communicator even if we wait for somebody else; one that left only if we wait for it. */
static accel_status_t look_after_peers(accel_comm_t *comm)
{
    for (int32_t r = 0; r < comm->world.size; r++) {
        bool left = atomic_load(&accel__slot_of(comm, r)->left) != 0;

        if (atomic_load(&comm->segment->broken) != 0)
            return ACCEL_OK; /* the cause is known, and better than its consequence */
        if (left && !accel__has_arrived(comm, r))
            return break_for(comm, ACCEL_ERR_REMOTE, r, "left before");
        if (!left && is_dead(comm, r) && !atomic_load(&accel__slot_of(comm, r)->left))
            return break_for(comm, ACCEL_ERR_REMOTE, r, "died");
    }
    return ACCEL_OK;
}

static accel_status_t fail_timeout(accel_comm_t *comm)
{
    char what[64];

    snprintf(what, sizeof(what), "did not come within %g s", (double)comm->timeout_ns * 1e-9);
    for (int32_t r = 0; r < comm->world.size; r++)
        if (!accel__has_arrived(comm, r))
            return break_for(comm, ACCEL_ERR_TIMEOUT, r, what);
    return ACCEL_OK; /* it came just now */
}

/* Say who is waited for, at ever longer intervals; in the end give up. */
static accel_status_t look_at_clock(accel_comm_t *comm, uint64_t waited, uint64_t *next_report)
{
    if (waited > comm->timeout_ns)
        return fail_timeout(comm);
    if (*next_report != 0 && waited > *next_report) {
        accel__report_wait(comm, (double)waited * 1e-9);
        *next_report *= 2;
    }
    return ACCEL_OK;
}

/* ---- waiting ---- */

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool spin(const accel_comm_t *comm)
{
    for (uint32_t i = 0; i < comm->spins; i++) {
        if (all_arrived(comm))
            return true;
        relax();
    }
    return false;
}

/* One slice of sleep, unless all have arrived or it was rung meanwhile. The order, first
 * counted as a sleeper, then looked, is the other half of accel__arrive's: stored, then
 * looked for sleepers. */
static void sleep_slice(accel_comm_t *comm)
{
    accel__segment_t *segment = comm->segment;
    struct timespec slice = {.tv_nsec = SLICE_NS};
    uint32_t bell;

    atomic_fetch_add(&segment->sleepers, 1);
    bell = atomic_load(&segment->doorbell);
    if (!all_arrived(comm) && atomic_load(&segment->broken) == 0)
        syscall(SYS_futex, &segment->doorbell, FUTEX_WAIT, bell, &slice, NULL, 0);
    atomic_fetch_sub(&segment->sleepers, 1);
}

static accel_status_t arrive(accel_comm_t *comm, const accel__call_t *call)
{
    accel__segment_t *segment = comm->segment;
    uint64_t start, next_report = comm->watchdog_ns;

    comm->arrived++;
    atomic_store(&accel__slot_of(comm, comm->world.rank)->arrived, comm->arrived);
    if (atomic_load(&segment->sleepers) != 0 && all_arrived(comm))
        ring(segment);
    if (spin(comm))
        return ACCEL_OK;
    start = accel__clock_ns();
    while (!all_arrived(comm)) {
        accel_status_t status;

        if (atomic_load(&segment->broken) != 0)
            return broken_by_other(comm, call);
        sleep_slice(comm);
        if (all_arrived(comm))
            break;
        status = look_after_peers(comm);
        if (status == ACCEL_OK)
            status = look_at_clock(comm, accel__clock_ns() - start, &next_report);
        if (status != ACCEL_OK)
            return status;
    }
    return ACCEL_OK;
}

accel_status_t accel__arrive(accel_comm_t *comm, const accel__call_t *call)
{
    accel_status_t status;

    accel__span_begin("wait");
    status = arrive(comm, call);
    accel__span_end();
    return status;
}

/* ---- announcing ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}

static uint64_t signature_of(const accel_comm_t *comm, const accel__call_t *call)
{
    uint64_t hash = mix(comm->sequence, (uint64_t)call->kind);

    if (call->kind == ACCEL__MEET) {
        hash = mix(hash, accel__hash(ACCEL__HASH_START, call->operation, strlen(call->operation)));
        return mix(mix(hash, call->signature), call->size);
    }
    hash = mix(hash, call->count);
    hash = mix(hash, (uint64_t)call->dtype << 32 | (uint64_t)call->reduction);
    return mix(hash, (uint64_t)call->root);
}

/* The end of a path, which tells most; a plain copy, for this is on every call's path. */
static void copy_site(char *site, const char *file)
{
    size_t length = file ? strlen(file) : 0;

    if (length >= ACCEL__SITE_SIZE) {
        file += length - (ACCEL__SITE_SIZE - 1);
        length = ACCEL__SITE_SIZE - 1;
    }
    if (length)
        memcpy(site, file, length);
    site[length] = '\0';
}

static void copy_name(char *name, const char *text)
{
    size_t length = strnlen(text, ACCEL__NAME_SIZE - 1);

    memcpy(name, text, length);
    name[length] = '\0';
}

static accel_status_t fail_mismatch(accel_comm_t *comm, int32_t rank)
{
    const accel__record_t *a = &accel__slot_of(comm, 0)->record[comm->sequence & 1];
    const accel__record_t *b = &accel__slot_of(comm, rank)->record[comm->sequence & 1];
    char first[192], second[192], text[ACCEL__ERROR_SIZE];

    accel__describe(a, first, sizeof(first));
    accel__describe(b, second, sizeof(second));
    if (a->kind == ACCEL__MEET && strcmp(a->operation, b->operation) == 0)
        snprintf(text, sizeof(text),
                 "%s: rank 0 and rank %d give different arguments; rank 0 is in "
                 "%s, rank %d in %s",
                 a->operation, (int)rank, first, (int)rank, second);
    else
        snprintf(text, sizeof(text),
                 "the ranks call different things: rank 0 is in %s, rank %d in %s", first,
                 (int)rank, second);
    return accel__break(comm, ACCEL_ERR_MISMATCH, text);
}

unsigned char *accel__payload(const accel_comm_t *comm, int32_t rank)
{
    return accel__slot_of(comm, rank)->payload[comm->sequence & 1];
}

accel_status_t accel__announce(accel_comm_t *comm, const accel__call_t *call)
{
    accel__slot_t *own = accel__slot_of(comm, comm->world.rank);
    uint32_t parity = (uint32_t)(comm->sequence & 1); /* the caller counted already */
    accel__record_t *record = &own->record[parity];
    accel_status_t status;

    record->sequence = comm->sequence;
    record->signature = own->signature[parity] = signature_of(comm, call);
    record->count = call->count;
    record->kind = (uint32_t)call->kind;
    record->dtype = call->dtype;
    record->reduction = call->reduction;
    record->root = call->root;
    record->line = call->line;
    copy_name(record->operation, call->operation);
    copy_site(record->site, call->file);
    if (atomic_load(&comm->segment->broken) != 0)
        return broken_by_other(comm, call);
    comm->announcing = true;
    status = accel__arrive(comm, call);
    comm->announcing = false;
    if (status != ACCEL_OK)
        return status;
    for (int32_t r = 1; r < comm->world.size; r++)
        if (accel__slot_of(comm, r)->signature[parity] !=
            accel__slot_of(comm, 0)->signature[parity])
            return fail_mismatch(comm, r);
    return ACCEL_OK;
}
