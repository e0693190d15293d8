/* SPDX-License-Identifier: Apache-2.0 */
/* Where the ranks are: in an error's text, in the watchdog's, and in a dump. A dump may be asked
 * for by a signal, so nothing here but the watchdog calls what a signal handler must not. */
#include "comm/world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- words ---- */

typedef struct words {
    char *text;
    size_t size, length;
} words_t;

static void put(words_t *words, const char *text)
{
    while (*text && words->length + 1 < words->size)
        words->text[words->length++] = *text++;
    if (words->size > 0)
        words->text[words->length] = '\0';
}

static void put_number(words_t *words, uint64_t number)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(words, digits + at);
}

static void put_record(words_t *words, const accel__record_t *record)
{
    static const char *const reductions[] = {" sum", " mean", " max", " min"};

    if (record->sequence == 0) {
        put(words, "nothing yet");
        return;
    }
    put(words, "#");
    put_number(words, record->sequence);
    put(words, " ");
    put(words, record->operation);
    if (record->kind != ACCEL__MEET && record->kind != ACCEL__BARRIER) {
        put(words, " of ");
        put_number(words, record->count);
        put(words, " ");
        put(words, accel_dtype_name(record->dtype));
    }
    if (record->kind == ACCEL__ALLREDUCE || record->kind == ACCEL__REDUCE_SCATTER)
        put(words, reductions[record->reduction & 3]);
    if (record->kind == ACCEL__BROADCAST) {
        put(words, " from rank ");
        put_number(words, (uint64_t)record->root);
    }
    if (record->site[0]) {
        put(words, " at ");
        put(words, record->site);
        put(words, ":");
        put_number(words, (uint64_t)record->line);
    }
}

void accel__describe(const accel__record_t *record, char *text, size_t size)
{
    words_t words = {.text = text, .size = size};

    put_record(&words, record);
}

/* ---- the watchdog ---- */

/* One of those who wait is enough to say so. */
static bool speaks(const accel_comm_t *comm)
{
    for (int32_t r = 0; r < comm->world.rank; r++)
        if (accel__has_arrived(comm, r))
            return false;
    return true;
}

void accel__report_wait(const accel_comm_t *comm, double seconds)
{
    const accel__slot_t *slots = comm->segment->slots;
    char here[192], text[1024];
    words_t words = {.text = text, .size = sizeof(text)};
    int32_t missing = 0;

    if (!speaks(comm))
        return;
    for (int32_t r = 0; r < comm->world.size; r++) {
        if (accel__has_arrived(comm, r) || ++missing > 4)
            continue;
        put(&words, missing > 1 ? "; rank " : "rank ");
        put_number(&words, (uint64_t)r);
        put(&words, " (pid ");
        put_number(&words, (uint64_t)slots[r].pid);
        put(&words, "), whose last call was ");
        put_record(&words, accel__last_record(comm, r));
    }
    if (missing > 4) {
        put(&words, "; and ");
        put_number(&words, (uint64_t)missing - 4);
        put(&words, " more");
    }
    if (missing == 0)
        return;
    accel__describe(accel__own_record(comm), here, sizeof(here));
    accel__log(ACCEL_LOG_WARNING, "rank %d has waited %.0f s in %s for %s", (int)comm->world.rank,
               seconds, here, text);
}

/* ---- the dump ---- */

/* Its latest record; a rank may be writing it at this moment, which garbles a word at worst. */
static const accel__record_t *latest(const accel__slot_t *slot)
{
    return slot->record[0].sequence > slot->record[1].sequence ? &slot->record[0]
                                                               : &slot->record[1];
}

static void put_rank(words_t *words, const accel__segment_t *segment, int32_t rank,
                     uint32_t foremost)
{
    const accel__slot_t *slot = &segment->slots[rank];
    bool left = atomic_load(&slot->left) != 0;
    bool waits = (int32_t)(atomic_load(&slot->arrived) - foremost) >= 0;

    put(words, "accel: rank ");
    put_number(words, (uint64_t)rank);
    put(words, " (pid ");
    put_number(words, (uint64_t)slot->pid);
    put(words, left ? ") has left after " : waits ? ") is in or after " : ") works after ");
    put_record(words, latest(slot));
    put(words, "\n");
}

/* The rank that has come farthest: who is behind it is who the others wait for. */
static uint32_t foremost_of(const accel__segment_t *segment)
{
    uint32_t foremost = atomic_load(&segment->slots[0].arrived);

    for (int32_t r = 1; r < segment->size; r++) {
        uint32_t arrived = atomic_load(&segment->slots[r].arrived);

        if ((int32_t)(arrived - foremost) > 0)
            foremost = arrived;
    }
    return foremost;
}

void accel_comm_dump(const accel_comm_t *comm, int fd)
{
    uint32_t foremost;

    if (!comm || !comm->segment)
        return;
    foremost = foremost_of(comm->segment);
    for (int32_t r = 0; r < comm->segment->size; r++) {
        char line[320];
        words_t words = {.text = line, .size = sizeof(line)};

        put_rank(&words, comm->segment, r, foremost);
        if (write(fd, line, words.length) < 0)
            return; /* nobody listens */
    }
}

/* ---- by a signal ---- */

/* A signal comes to the process: it has to find the communicators. A place is free (NULL), or its
 * communicator lives; `dumping` keeps it alive while a handler reads. */
#define MAX_LISTED 16
static _Atomic(accel_comm_t *) listed[MAX_LISTED];
static _Atomic int dumping;

void accel__list(accel_comm_t *comm)
{
    for (int i = 0; i < MAX_LISTED; i++) {
        accel_comm_t *none = NULL;

        if (atomic_compare_exchange_strong(&listed[i], &none, comm))
            return;
    }
}

void accel__unlist(accel_comm_t *comm)
{
    for (int i = 0; i < MAX_LISTED; i++) {
        accel_comm_t *found = comm;

        atomic_compare_exchange_strong(&listed[i], &found, NULL);
    }
    while (atomic_load(&dumping) > 0)
        sched_yield();
}

static void on_signal(int signal)
{
    int error = errno;

    (void)signal;
    atomic_fetch_add(&dumping, 1);
    for (int i = 0; i < MAX_LISTED; i++)
        accel_comm_dump(atomic_load(&listed[i]), STDERR_FILENO);
    atomic_fetch_sub(&dumping, 1);
    errno = error;
}

accel_status_t accel_dump_on_signal(int signal)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, NULL) == 0)
        return ACCEL_OK;
    return accel__fail_errno(ACCEL_ERR_INVALID, "accel_dump_on_signal: signal %d", signal);
}
