/* SPDX-License-Identifier: Apache-2.0 */
/* accel_launch(): the order of things, from options to the last process gone. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/launch.h"

#define GRACE_MS 5000
#define MAX_THREADS 65536

/* ---- what was asked ---- */

static accel_status_t check_environment(const char *const *environment)
{
    for (; environment && *environment; environment++)
        if (**environment == '=' || !strchr(*environment, '='))
            return accel__fail(ACCEL_ERR_INVALID, "environment: '%s' is not NAME=VALUE",
                               *environment);
    return ACCEL_OK;
}

static accel_status_t read_options(accel__job_t *job, const accel_launch_options_t *options)
{
    accel_status_t status =
        accel__options_read(&job->options, sizeof(job->options), options, "accel_launch");

    if (status != ACCEL_OK)
        return status;
    if (job->options.num_processes < 0 || job->options.num_processes > ACCEL_LAUNCH_MAX_PROCESSES)
        return accel__fail(ACCEL_ERR_INVALID, "num_processes is %" PRId32 "; expected 1 to %d",
                           job->options.num_processes, ACCEL_LAUNCH_MAX_PROCESSES);
    if (job->options.threads_per_process < 0 || job->options.threads_per_process > MAX_THREADS)
        return accel__fail(ACCEL_ERR_INVALID,
                           "threads_per_process is %" PRId32 "; expected 1 to %d",
                           job->options.threads_per_process, MAX_THREADS);
    if (job->options.grace_ms == 0)
        job->options.grace_ms = GRACE_MS;
    job->num_processes = job->options.num_processes;
    if (job->num_processes == 0)
        job->num_processes = accel__launch_num_cpus();
    return check_environment(job->options.environment);
}

/* A random UUID, version 4. */
static accel_status_t make_id(char *id, size_t size)
{
    unsigned char b[16];
    accel_status_t status = accel__random_bytes(b, sizeof(b));

    if (status != ACCEL_OK)
        return status;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(id, size, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
    return ACCEL_OK;
}

static accel_status_t make_ranks(accel__job_t *job)
{
    int width = snprintf(NULL, 0, "%" PRId32, job->num_processes - 1);

    job->ranks = calloc((size_t)job->num_processes, sizeof(*job->ranks));
    if (!job->ranks)
        return accel__fail_memory("the ranks", (size_t)job->num_processes * sizeof(*job->ranks));
    for (int32_t i = 0; i < job->num_processes; i++) {
        accel__rank_t *rank = &job->ranks[i];

        rank->index = i;
        snprintf(rank->prefix, sizeof(rank->prefix), "[%*" PRId32 "] ", width, i);
        rank->pidfd = rank->log.fd = -1;
        rank->streams[0] = (accel__stream_t){.fd = -1, .rank = rank, .sink = &job->sinks[0]};
        rank->streams[1] = (accel__stream_t){.fd = -1, .rank = rank, .sink = job->err};
    }
    return ACCEL_OK;
}

/* ---- this process's descriptors and signals ---- */

/* Closed standard descriptors would be given to our pipes, and then to the ranks. */
static accel_status_t hold_standard_fds(accel__job_t *job)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", O_RDWR) != fd)
            return accel__fail_errno(ACCEL_ERR_IO, "/dev/null: cannot be opened");
        job->held_fds |= 1 << fd;
    }
    return ACCEL_OK;
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static accel_status_t open_sinks(accel__job_t *job)
{
    accel_status_t status = accel__sink_init(&job->sinks[0], STDOUT_FILENO, "standard output");

    if (status == ACCEL_OK)
        status = accel__sink_init(&job->sinks[1], STDERR_FILENO, "standard error");
    /* One file, one queue: else the two would cut into each other's lines. */
    job->err = &job->sinks[same_file(STDOUT_FILENO, STDERR_FILENO) ? 0 : 1];
    return status;
}

static accel_status_t open_logs(accel__job_t *job)
{
    accel_status_t status = ACCEL_OK;

    if (!job->options.log_dir)
        return ACCEL_OK;
    status = accel__make_dirs(job->options.log_dir);
    for (int32_t i = 0; i < job->num_processes && status == ACCEL_OK; i++) {
        accel__text_t path = {0};
        int fd = -1;

        accel__text_appendf(&path, "%s/rank-%" PRId32 ".log", job->options.log_dir, i);
        if (path.failed)
            return accel__fail_memory("a path", strlen(job->options.log_dir));
        fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0)
            status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot be opened", path.data);
        else
            status = accel__sink_init(&job->ranks[i].log, fd, "a rank's log file");
        accel__text_free(&path);
    }
    return status;
}

/* Take signals from a descriptor. What was ignored (nohup) stays so. With SIGCHLD ignored
 * the system would reap the ranks behind our back. */
static accel_status_t take_signals(accel__job_t *job)
{
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP};
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGPIPE);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        struct sigaction current;

        if (sigaction(wanted[i], NULL, &current) == 0 && current.sa_handler != SIG_IGN)
            sigaddset(&set, wanted[i]);
    }
    if (sigaction(SIGCHLD, NULL, &job->caller_sigchld) != 0 ||
        sigprocmask(SIG_BLOCK, &set, &job->caller_mask) != 0)
        return accel__fail_errno(ACCEL_ERR_INTERNAL, "cannot block signals");
    job->signals_taken = true;
    if (job->caller_sigchld.sa_handler == SIG_IGN && sigaction(SIGCHLD, &action, NULL) != 0)
        return accel__fail_errno(ACCEL_ERR_INTERNAL, "cannot set SIGCHLD");
    job->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (job->signal_fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot take signals");
    job->death_fd = epoll_create1(EPOLL_CLOEXEC);
    if (job->death_fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot watch processes");
    return ACCEL_OK;
}

static void give_back_signals(accel__job_t *job)
{
    struct timespec now = {0};
    sigset_t ours;

    if (!job->signals_taken)
        return;
    /* A SIGPIPE or SIGCHLD that is still pending was our doing. */
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGCHLD);
    while (sigtimedwait(&ours, NULL, &now) > 0)
        ;
    sigaction(SIGCHLD, &job->caller_sigchld, NULL);
    sigprocmask(SIG_SETMASK, &job->caller_mask, NULL);
}

/* ---- the end ---- */

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void await(pid_t pid)
{
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* First nothing is left in the groups, then the guard goes, then the numbers of the ranks
 * are given back. */
static void end_processes(accel__job_t *job)
{
    if (job->ranks)
        accel__launch_signal_all(job, SIGKILL);
    if (job->guard > 0)
        kill(job->guard, SIGKILL);
    await(job->guard);
    for (int32_t i = 0; job->ranks && i < job->num_processes; i++)
        await(job->ranks[i].pid);
}

static void clean_up(accel__job_t *job)
{
    end_processes(job);
    for (int32_t i = 0; job->ranks && i < job->num_processes; i++) {
        accel__rank_t *rank = &job->ranks[i];

        close_fd(rank->pidfd);
        close_fd(rank->log.fd);
        accel__sink_fini(&rank->log);
        for (int k = 0; k < 2; k++) {
            close_fd(rank->streams[k].fd);
            free(rank->streams[k].data);
        }
    }
    close_fd(job->guard_fd);
    close_fd(job->signal_fd);
    close_fd(job->death_fd);
    give_back_signals(job);
    for (int fd = 0; fd <= 2; fd++)
        if (job->held_fds & 1 << fd)
            close(fd);
    for (int i = 0; i < 2; i++)
        accel__sink_fini(&job->sinks[i]);
    free(job->program);
    free(job->ranks);
}

static accel_status_t run(accel__job_t *job, int *exit_code)
{
    accel_status_t status = accel__launch_find_program(job->argv[0], &job->program, exit_code);

    if (status != ACCEL_OK)
        return status;
    *exit_code = 125;
    if ((status = hold_standard_fds(job)) != ACCEL_OK || (status = open_sinks(job)) != ACCEL_OK ||
        (status = make_ranks(job)) != ACCEL_OK ||
        (status = make_id(job->id, sizeof(job->id))) != ACCEL_OK ||
        (status = open_logs(job)) != ACCEL_OK || (status = take_signals(job)) != ACCEL_OK ||
        (status = accel__launch_guard(job)) != ACCEL_OK ||
        (status = accel__launch_spawn(job, exit_code)) != ACCEL_OK ||
        (status = accel__launch_supervise(job)) != ACCEL_OK)
        return status;
    *exit_code = accel__launch_exit_code(job);
    accel__launch_report(job);
    /* The closing words go the way the ranks' output went. */
    return accel__launch_supervise(job);
}

accel_status_t accel_launch(const accel_launch_options_t *options, char *const *argv,
                            int *exit_code)
{
    accel__job_t job = {
        .argv = argv, .culprit = -1, .guard_fd = -1, .signal_fd = -1, .death_fd = -1};
    accel_status_t status;

    if (!exit_code)
        return accel__fail(ACCEL_ERR_INVALID, "accel_launch: exit_code is NULL");
    *exit_code = 2;
    if (!argv || !argv[0])
        return accel__fail(ACCEL_ERR_INVALID, "accel_launch: there is no program to run");
    status = read_options(&job, options);
    if (status != ACCEL_OK)
        return status;
    status = run(&job, exit_code);
    clean_up(&job);
    return status;
}
