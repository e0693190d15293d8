/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The rank this thread is. */
static _Thread_local int this_rank, this_size;
/* The job of the ranks that run now, set before they start. */
static char job_id[64];
static accel_thread_ranks_t *thread_ranks;
static char directory[256];
static pid_t directory_owner;

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (this_size)
        fprintf(stderr, "%s:%d: rank %d of %d: %s\n", file, line, this_rank, this_size, text);
    else
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
    fflush(NULL);
    _exit(1);
}

void test_check_status(const char *file, int line, const char *call, accel_status_t expected,
                       accel_status_t found)
{
    if (found != expected)
        test_fail(file, line, "%.200s is %s, not %s: %s", call, accel_status_name(found),
                  accel_status_name(expected), accel_last_error());
}

bool test_ranks_are_threads(void)
{
    const char *threads = getenv("ACCEL_TEST_THREADS");

    return threads && strcmp(threads, "1") == 0;
}

void test_world(accel_options_t *options)
{
    options->process_index = this_rank;
    if (thread_ranks) {
        options->threads = thread_ranks;
    } else {
        options->num_processes = this_size;
        options->job_id = job_id;
    }
}

accel_t *test_accelerator(accel_options_t options)
{
    accel_t *accelerator;

    test_world(&options);
    CHECK_OK(accel_create(&options, &accelerator));
    return accelerator;
}

accel_comm_t *test_comm(void)
{
    accel_comm_options_t options = accel_comm_options_init();
    accel_comm_t *comm;

    options.process_index = this_rank;
    if (thread_ranks) {
        options.threads = thread_ranks;
    } else {
        options.num_processes = this_size;
        options.job_id = job_id;
    }
    CHECK_OK(accel_comm_create(&options, &comm));
    return comm;
}

typedef struct rank_thread {
    pthread_t thread;
    int rank, size;
    test_rank_fn fn;
} rank_thread_t;

static void *run_thread(void *argument)
{
    rank_thread_t *rank = argument;

    this_rank = rank->rank;
    this_size = rank->size;
    rank->fn(rank->rank, rank->size);
    return NULL;
}

static void run_as_threads(int size, test_rank_fn fn)
{
    rank_thread_t ranks[64];

    CHECK_OK(accel_thread_ranks_create(size, &thread_ranks));
    for (int r = 0; r < size; r++) {
        ranks[r] = (rank_thread_t){.rank = r, .size = size, .fn = fn};
        CHECK(pthread_create(&ranks[r].thread, NULL, run_thread, &ranks[r]) == 0);
    }
    for (int r = 0; r < size; r++)
        pthread_join(ranks[r].thread, NULL);
    accel_thread_ranks_destroy(thread_ranks);
    thread_ranks = NULL;
}

static pid_t start_process(int rank, int size, test_rank_fn fn)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    this_rank = rank;
    this_size = size;
    fn(rank, size);
    fflush(NULL);
    exit(0); /* not _exit: the leak sanitizer reports at exit */
}

static void run_as_processes(int size, test_rank_fn fn)
{
    static int runs;
    pid_t pids[64];
    int left = size;

    fflush(NULL);
    snprintf(job_id, sizeof(job_id), "test-%d-%d", (int)getpid(), runs++);
    for (int r = 0; r < size; r++)
        pids[r] = start_process(r, size, fn);
    while (left > 0) {
        int status, rank = 0;
        pid_t pid = wait(&status);

        CHECK(pid > 0);
        while (rank < size && pids[rank] != pid)
            rank++;
        if (rank == size)
            continue; /* a child of the test's own */
        pids[rank] = 0;
        left--;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        for (int r = 0; r < size; r++)
            if (pids[r])
                kill(pids[r], SIGKILL);
        if (WIFSIGNALED(status))
            test_fail(__FILE__, __LINE__, "rank %d of %d ended by signal %d", rank, size,
                      WTERMSIG(status));
        test_fail(__FILE__, __LINE__, "rank %d of %d failed", rank, size);
    }
}

void test_ranks(int size, test_rank_fn fn)
{
    if (test_ranks_are_threads())
        run_as_threads(size, fn);
    else
        run_as_processes(size, fn);
}

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_directory(void)
{
    if (getpid() == directory_owner)
        nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_dir(void)
{
    const char *base = getenv("TMPDIR");

    if (directory[0])
        return directory;
    snprintf(directory, sizeof(directory), "%s/accel-test-XXXXXX", base && *base ? base : "/tmp");
    CHECK(mkdtemp(directory));
    directory_owner = getpid();
    atexit(remove_directory);
    return directory;
}

int test_main(int argc, char **argv, const test_t *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        tests[i].run();
        printf("ok %s\n", tests[i].name);
        if (argc > 1)
            return 0;
    }
    if (argc > 1) {
        fprintf(stderr, "%s: no test '%s'\n", argv[0], argv[1]);
        return 2;
    }
    return 0;
}
