/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "track/journal.h"

#define THREADS 4
#define ROWS 5000

/* What the journal's thread saw. Written there, read after drain or close. */
typedef struct seen {
    int64_t next[THREADS]; /* the step expected from each thread */
    int64_t rows, flushes;
    bool wrong;
    char text[64];
    atomic_bool hold, holding; /* keep the journal's thread in deliver */
    sigset_t mask;
} seen_t;

static void deliver(void *context, const accel__journal_row_t *row)
{
    seen_t *seen = context;
    const accel_item_t *thread = accel__dict_find(row->values, "thread");
    const accel_item_t *text = accel__dict_find(row->values, "text");

    atomic_store(&seen->holding, true);
    while (atomic_load(&seen->hold))
        usleep(1000);
    seen->rows++;
    if (thread && row->step != seen->next[thread->value.i]++)
        seen->wrong = true;
    if (text)
        snprintf(seen->text, sizeof(seen->text), "%.60s", text->value.s);
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
}

static void flush(void *context)
{
    ((seen_t *)context)->flushes++;
}

static accel__journal_t *make(seen_t *seen)
{
    accel__journal_sink_t sink = {deliver, flush, seen};
    accel__journal_t *journal;

    CHECK_OK(accel__journal_create(&sink, &journal));
    return journal;
}

typedef struct writer {
    pthread_t thread;
    accel__journal_t *journal;
    int index;
} writer_t;

static void *write_rows(void *argument)
{
    writer_t *writer = argument;

    for (int i = 0; i < ROWS; i++)
        CHECK_OK(accel__journal_append(
            writer->journal, NULL,
            ACCEL_DICT("thread", writer->index, "text", "some text", "nested", ACCEL_DICT("x", i)),
            i, 0.0));
    return NULL;
}

static void no_row_is_lost_or_out_of_order(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);
    writer_t writers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        writers[i] = (writer_t){.journal = journal, .index = i};
        CHECK(pthread_create(&writers[i].thread, NULL, write_rows, &writers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i].thread, NULL);
    accel__journal_drain(journal);
    CHECK_INT(THREADS * ROWS, seen.rows);
    CHECK(!seen.wrong);
    CHECK(seen.flushes > 0);
    accel__journal_destroy(journal);
}

static void close_delivers_what_is_left(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);
    char text[] = "as it was";

    CHECK_OK(accel__journal_append(journal, NULL, ACCEL_DICT("text", text), 0, 0.0));
    strcpy(text, "changed");
    accel__journal_close(journal);
    CHECK_INT(1, seen.rows);
    CHECK_STR("as it was", seen.text);
    CHECK_STATUS(ACCEL_ERR_STATE,
                 accel__journal_append(journal, NULL, ACCEL_DICT("text", text), 0, 0.0));
    accel__journal_drain(journal);
    accel__journal_destroy(journal);
}

static void rows_leave_by_themselves(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);

    /* Nobody drains: the thread must come by itself. The test's own time-out guards. */
    CHECK_OK(accel__journal_append(journal, NULL, ACCEL_DICT("a", 1), 0, 0.0));
    while (!atomic_load(&seen.holding))
        usleep(1000);
    accel__journal_destroy(journal);
    CHECK_INT(1, seen.rows);
}

static void memory_does_not_grow(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);
    size_t before = 0;

    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 1000; i++)
            CHECK_OK(accel__journal_append(journal, NULL, ACCEL_DICT("a", 1.0, "b", 2.0), i, 0.0));
        accel__journal_drain(journal);
        if (round == 10)
            before = accel__journal_memory(journal);
    }
    /* The thread may or may not get between two chunks; it never needs more than all rows. */
    CHECK(accel__journal_memory(journal) <= before + ((size_t)512 << 10));
    CHECK(accel__journal_memory(journal) <= ACCEL__JOURNAL_LIMIT);
    accel__journal_destroy(journal);
}

static void a_row_larger_than_the_limit_goes_alone(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);
    size_t size = 2 * ACCEL__JOURNAL_LIMIT;
    char *text = malloc(size + 1);

    CHECK(text);
    memset(text, 'x', size);
    text[size] = '\0';
    for (int i = 0; i < 3; i++)
        CHECK_OK(accel__journal_append(journal, NULL, ACCEL_DICT("text", text), i, 0.0));
    accel__journal_drain(journal);
    CHECK_INT(3, seen.rows);
    CHECK(accel__journal_memory(journal) < ACCEL__JOURNAL_LIMIT);
    free(text);
    accel__journal_destroy(journal);
}

typedef struct producer {
    accel__journal_t *journal;
    atomic_llong appended;
} producer_t;

/* More than fits: comes to an end only because the journal's thread makes room. */
#define PRESSED_ROWS 60000

static void *produce(void *argument)
{
    producer_t *producer = argument;

    for (int i = 0; i < PRESSED_ROWS; i++) {
        CHECK_OK(accel__journal_append(producer->journal, NULL,
                                       ACCEL_DICT("thread", 0, "pad",
                                                  "0123456789012345678901234567890123456789"
                                                  "0123456789012345678901234567890123456789"),
                                       i, 0.0));
        atomic_fetch_add(&producer->appended, 1);
    }
    return NULL;
}

static void a_full_journal_holds_the_writer_back(void)
{
    seen_t seen = {0};
    accel__journal_t *journal;
    producer_t producer = {0};
    pthread_t thread;
    long long held, before = -1;

    atomic_store(&seen.hold, true);
    journal = make(&seen);
    producer.journal = journal;
    CHECK(pthread_create(&thread, NULL, produce, &producer) == 0);
    while (!atomic_load(&seen.holding))
        usleep(1000);
    while ((held = atomic_load(&producer.appended)) != before || held == 0) {
        before = held;
        usleep(200000);
    }
    CHECK(held < PRESSED_ROWS);
    CHECK(accel__journal_memory(journal) <= ACCEL__JOURNAL_LIMIT + ((size_t)128 << 10));
    atomic_store(&seen.hold, false);
    pthread_join(thread, NULL);
    accel__journal_drain(journal);
    CHECK_INT(PRESSED_ROWS, seen.rows);
    CHECK(!seen.wrong);
    accel__journal_destroy(journal);
}

static void the_thread_takes_no_signals(void)
{
    seen_t seen = {0};
    accel__journal_t *journal = make(&seen);

    CHECK_OK(accel__journal_append(journal, NULL, NULL, 0, 0.0));
    accel__journal_drain(journal);
    CHECK(sigismember(&seen.mask, SIGINT) == 1 && sigismember(&seen.mask, SIGTERM) == 1 &&
          sigismember(&seen.mask, SIGUSR1) == 1);
    accel__journal_destroy(journal);
}

TEST_MAIN(TEST(no_row_is_lost_or_out_of_order), TEST(close_delivers_what_is_left),
          TEST(rows_leave_by_themselves), TEST(memory_does_not_grow),
          TEST(a_row_larger_than_the_limit_goes_alone), TEST(a_full_journal_holds_the_writer_back),
          TEST(the_thread_takes_no_signals))
