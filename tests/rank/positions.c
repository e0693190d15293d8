/* SPDX-License-Identifier: Apache-2.0 */
/* Who is waited for, and where: the watchdog's warnings, and dumps. */
#include "test.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- the watchdog ---- */

typedef struct heard {
    int count;
    char first[1024];
} heard_t;

static void hear(void *context, accel_log_level_t level, const char *message)
{
    heard_t *heard = context;

    if (level == ACCEL_LOG_WARNING && strstr(message, "has waited") && heard->count++ == 0)
        snprintf(heard->first, sizeof(heard->first), "%s", message);
}

static void one_is_slow(int rank, int size)
{
    accel_options_t options = accel_options_init();
    heard_t heard = {.count = 0}; /* rank 0, which is who speaks */
    accel_t *accelerator;

    options.watchdog_ms = 100;
    accelerator = test_accelerator(options);
    if (rank == 0)
        accel_set_log_callback(hear, &heard);
    accel_set_call_site("train.c", 33);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    accel_set_call_site("train.c", 44);
    if (rank == size - 1)
        sleep_ms(900);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    if (rank == 0) {
        char expected[128];

        accel_set_log_callback(NULL, NULL);
        CHECK(heard.count >= 1 && heard.count <= 4); /* at 100, 200, 400, 800 ms */
        snprintf(expected, sizeof(expected), "for rank %d (pid ", size - 1);
        CHECK(strstr(heard.first, "rank 0 has waited 0 s in #"));
        CHECK(strstr(heard.first, "accel_wait_for_everyone at train.c:44"));
        CHECK(strstr(heard.first, expected));
        CHECK(strstr(heard.first, "whose last call was #"));
        CHECK(strstr(heard.first, "at train.c:33"));
    }
    accel_destroy(accelerator);
}

static void a_slow_rank_is_named(void)
{
    TEST_RANKS(2, one_is_slow);
    TEST_RANKS(3, one_is_slow);
}

static void one_is_slow_in_silence(int rank, int size)
{
    accel_options_t options = accel_options_init();
    heard_t heard = {.count = 0};
    accel_t *accelerator = test_accelerator(options);

    if (rank == 0)
        accel_set_log_callback(hear, &heard);
    if (rank == size - 1)
        sleep_ms(300);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    CHECK(heard.count == 0);
    accel_set_log_callback(NULL, NULL);
    accel_destroy(accelerator);
}

static void patience_is_the_default(void)
{
    TEST_RANKS(2, one_is_slow_in_silence);
}

/* ---- dumps ---- */

static void read_all(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;

    while (length + 1 < size && (n = read(fd, text + length, size - length - 1)) > 0)
        length += (size_t)n;
    text[length] = '\0';
}

static void dump_while_one_works(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    char text[2048];
    int ends[2];

    (void)size;
    accel_set_call_site("loop.c", 7);
    CHECK_OK(accel_comm_barrier(comm));
    if (rank == 1) { /* the others wait, or are about to: what they were in is known */
        sleep_ms(200);
        CHECK(pipe(ends) == 0);
        accel_comm_dump(comm, ends[1]);
        close(ends[1]);
        read_all(ends[0], text, sizeof(text));
        close(ends[0]);
        CHECK(strstr(text, "accel: rank 0 (pid "));
        CHECK(strstr(text, ") is in or after #"));
        CHECK(strstr(text, "broadcast of 3 float32 from rank 1 at loop.c:8"));
        CHECK(strstr(text, ") works after #"));
        CHECK(strstr(text, "barrier at loop.c:7"));
    }
    accel_set_call_site("loop.c", 8);
    CHECK_OK(accel_comm_broadcast(comm, (float[3]){1, 2, 3}, 3, ACCEL_F32, 1));
    accel_comm_destroy(comm);
}

static void a_dump_tells_who_works(void)
{
    TEST_RANKS(2, dump_while_one_works);
    TEST_RANKS(4, dump_while_one_works);
}

static void dump_by_signal(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    char text[2048];
    int ends[2], err;

    (void)size;
    CHECK_OK(accel_dump_on_signal(SIGUSR2));
    CHECK_OK(accel_comm_barrier(comm));
    if (rank == 0 && !test_ranks_are_threads()) {
        CHECK(pipe(ends) == 0);
        err = dup(STDERR_FILENO);
        CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
        CHECK(raise(SIGUSR2) == 0);
        CHECK(dup2(err, STDERR_FILENO) >= 0);
        close(err);
        close(ends[1]);
        read_all(ends[0], text, sizeof(text));
        close(ends[0]);
        CHECK(strstr(text, "accel: rank 0 (pid ") && strstr(text, "accel: rank 1 (pid "));
    }
    CHECK_OK(accel_comm_barrier(comm));
    accel_comm_destroy(comm);
    CHECK(raise(SIGUSR2) == 0); /* nothing is listed any more */
}

static void a_signal_asks_for_it(void)
{
    TEST_RANKS(2, dump_by_signal);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_dump_on_signal(SIGKILL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_dump_on_signal(4711));
}

static void bad_settings_are_named(void)
{
    accel_comm_t *comm;

    CHECK(setenv("ACCEL_WATCHDOG", "1min", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(NULL, &comm));
    CHECK_ERROR("ACCEL_WATCHDOG");
    CHECK_ERROR("1min");
    CHECK(unsetenv("ACCEL_WATCHDOG") == 0 && setenv("ACCEL_DUMP_SIGNAL", "usr2", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(NULL, &comm));
    CHECK_ERROR("ACCEL_DUMP_SIGNAL");
}

TEST_MAIN(TEST(a_slow_rank_is_named), TEST(patience_is_the_default), TEST(a_dump_tells_who_works),
          TEST(a_signal_asks_for_it), TEST(bad_settings_are_named))
