/* SPDX-License-Identifier: Apache-2.0 */
/* accel_launch() as a call: what it refuses, and that it leaves its caller as it was. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/launch.h>

static char *sh(const char *script, char **argv)
{
    argv[0] = (char *)"sh";
    argv[1] = (char *)"-c";
    argv[2] = (char *)script;
    argv[3] = NULL;
    return argv[0];
}

static int run(const accel_launch_options_t *options, const char *script)
{
    char *argv[4];
    int code = -1;

    sh(script, argv);
    CHECK_OK(accel_launch(options, argv, &code));
    return code;
}

static void refuses(void)
{
    char *argv[] = {(char *)"true", NULL}, *nothing[] = {NULL};
    const char *const malformed[] = {"A=1", "B", NULL};
    accel_launch_options_t uninitialised = {.num_processes = 1};
    int code = -1;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_launch(NULL, argv, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_launch(NULL, NULL, &code));
    CHECK_INT(2, code);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_launch(NULL, nothing, &code));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_launch(&uninitialised, argv, &code));
    CHECK_ERROR("struct_size");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_launch(ACCEL_LAUNCH_OPTIONS(.num_processes = -1), argv, &code));
    CHECK_ERROR("num_processes is -1; expected 1 to 4096");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_launch(ACCEL_LAUNCH_OPTIONS(.num_processes = 4097), argv, &code));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_launch(ACCEL_LAUNCH_OPTIONS(.threads_per_process = -1), argv, &code));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_launch(ACCEL_LAUNCH_OPTIONS(.environment = malformed), argv, &code));
    CHECK_ERROR("'B' is not NAME=VALUE");
    CHECK_INT(2, code);
    argv[0] = (char *)"/does/not/exist";
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_launch(NULL, argv, &code));
    CHECK_INT(127, code);
}

static void exit_codes(void)
{
    const accel_launch_options_t *two = ACCEL_LAUNCH_OPTIONS(.num_processes = 2, .quiet = true);

    CHECK_INT(0, run(two, "exit 0"));
    CHECK_INT(9, run(two, "[ $RANK = 0 ] || exit 9"));
    CHECK_INT(128 + SIGSEGV, run(two, "[ $RANK = 0 ] || kill -SEGV $$"));
    CHECK_INT(255, run(two, "exit 255"));
}

static void environment(void)
{
    const char *const set[] = {"MASTER_PORT=1234", "ACCEL_TEST_X=a b=c", NULL};

    CHECK_INT(0, run(ACCEL_LAUNCH_OPTIONS(.num_processes = 2, .environment = set),
                     "[ $MASTER_PORT,\"$ACCEL_TEST_X\" = '1234,a b=c' ]"));
    CHECK(getenv("ACCEL_TEST_X") == NULL);
    CHECK(getenv("ACCEL_JOB_ID") == NULL);
    CHECK_INT(0, run(ACCEL_LAUNCH_OPTIONS(.num_processes = 1, .threads_per_process = 3),
                     "[ $OMP_NUM_THREADS = 3 ]"));
}

static int count_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CHECK(directory != NULL);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static volatile sig_atomic_t pipes;

static void count_pipe(int signal)
{
    (void)signal;
    pipes++;
}

/* Descriptors, children, signal mask and dispositions are as before; also after a launch
 * whose reader went away. */
static void leaves_nothing(void)
{
    int files = count_files(), out = dup(1), ends[2];
    struct sigaction action = {.sa_handler = SIG_IGN}, found;
    sigset_t before, after;

    CHECK(out >= 0);
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    action.sa_handler = count_pipe;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);

    CHECK_INT(3, run(ACCEL_LAUNCH_OPTIONS(.num_processes = 3, .quiet = true), "exit 3"));
    CHECK(pipe(ends) == 0);
    CHECK(dup2(ends[1], 1) == 1);
    close(ends[0]);
    close(ends[1]);
    CHECK_INT(128 + SIGPIPE, run(ACCEL_LAUNCH_OPTIONS(.num_processes = 2), "yes"));
    CHECK(dup2(out, 1) == 1);
    close(out);

    CHECK_INT(0, pipes);
    CHECK_INT(files, count_files());
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
    for (int i = 1; i < NSIG; i++)
        CHECK_INT(sigismember(&before, i), sigismember(&after, i));
    CHECK(sigaction(SIGCHLD, NULL, &found) == 0 && found.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGPIPE, NULL, &found) == 0 && found.sa_handler == count_pipe);
}

TEST_MAIN(TEST(refuses), TEST(exit_codes), TEST(environment), TEST(leaves_nothing))
