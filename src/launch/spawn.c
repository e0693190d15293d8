/* SPDX-License-Identifier: Apache-2.0 */
/* Starting: the guard, then the ranks, each in a process group of its own.
 *
 * What stays behind when the launcher is killed? PR_SET_PDEATHSIG reaches its children, not
 * theirs. So a guard process, forked before any rank, reads a pipe whose only lasting write
 * end is the launcher's. Each rank writes its process id into it before it executes the
 * program. When the pipe ends the launcher is dead, and the guard kills the groups. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/launch.h"

/* ---- the guard ---- */

static void close_from(int first)
{
    long limit = sysconf(_SC_OPEN_MAX);

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned int)first, ~0u, 0u) == 0)
        return;
#endif
    for (int fd = first; fd < limit; fd++)
        close(fd);
}

/* Read the ranks' ids until the pipe ends, then kill their groups. When all went well the
 * launcher kills the guard before that. */
static _Noreturn void guard(int pipe_fd, pid_t *pids, int32_t capacity)
{
    int32_t count = 0;
    sigset_t all;
    pid_t pid;
    ssize_t n;

    /* Nothing of the terminal or the caller is kept; only SIGKILL ends a guard early. */
    setsid();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "accel-guard");
    if (dup2(pipe_fd, 0) != 0 || chdir("/") != 0)
        _exit(1);
    close_from(1);

    while ((n = read(0, &pid, sizeof(pid))) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n == (ssize_t)sizeof(pid) && count < capacity)
            pids[count++] = pid;
    }
    for (int32_t i = 0; i < count; i++)
        kill(-pids[i], SIGKILL);
    _exit(0);
}

accel_status_t accel__launch_guard(accel__job_t *job)
{
    pid_t *pids = calloc((size_t)job->num_processes, sizeof(*pids));
    accel_status_t status = ACCEL_OK;
    int ends[2];

    if (!pids)
        return accel__fail_memory("the guard", (size_t)job->num_processes * sizeof(*pids));
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(pids);
        return accel__fail_errno(ACCEL_ERR_IO, "the guard: cannot make a pipe");
    }
    job->guard = fork();
    if (job->guard == 0)
        guard(ends[0], pids, job->num_processes);
    if (job->guard < 0) {
        job->guard = 0;
        status = accel__fail_errno(ACCEL_ERR_IO, "the guard: cannot start a process");
        close(ends[1]);
    } else {
        job->guard_fd = ends[1];
    }
    close(ends[0]);
    free(pids);
    return status;
}

/* ---- the ranks ---- */

/* What a new process needs; made before the fork, since after it only system calls are safe. */
typedef struct start {
    const accel__job_t *job;
    char **envp;
    pid_t launcher;
    int input, output, error; /* -1: inherit */
    int report_fd;            /* takes errno if the program cannot be executed */
} start_t;

static bool redirect(int from, int to)
{
    return from < 0 || dup2(from, to) == to;
}

static _Noreturn void become_rank(const start_t *start)
{
    pid_t self = getpid();
    int reason;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It may have died before that call. */
    if (getppid() != start->launcher)
        _exit(127);
    if (write(start->job->guard_fd, &self, sizeof(self)) == (ssize_t)sizeof(self) &&
        redirect(start->input, 0) && redirect(start->output, 1) && redirect(start->error, 2)) {
        sigprocmask(SIG_SETMASK, &start->job->caller_mask, NULL);
        execve(start->job->program, start->job->argv, start->envp);
    }
    reason = errno;
    while (write(start->report_fd, &reason, sizeof(reason)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* A pipe that the rank writes and we read without waiting. */
static accel_status_t make_pipe(accel__stream_t *stream, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "rank %d: cannot make a pipe", stream->rank->index);
    stream->fd = ends[0];
    *write_end = ends[1];
    if (fcntl(stream->fd, F_SETFL, O_NONBLOCK) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "rank %d: cannot set up a pipe",
                                 stream->rank->index);
    return ACCEL_OK;
}

/* A descriptor that turns readable when the rank dies. Systems without it (Linux before 5.3)
 * leave us SIGCHLD, which does not tell who was first. */
static accel_status_t watch_death(accel__job_t *job, accel__rank_t *rank)
{
#ifdef SYS_pidfd_open
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = rank};

    rank->pidfd = (int)syscall(SYS_pidfd_open, rank->pid, 0);
    if (rank->pidfd >= 0 && epoll_ctl(job->death_fd, EPOLL_CTL_ADD, rank->pidfd, &event) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "rank %d: cannot be watched", rank->index);
    if (rank->pidfd < 0 && (errno == EMFILE || errno == ENFILE))
        return accel__fail_errno(ACCEL_ERR_IO, "rank %d: cannot be watched", rank->index);
#else
    (void)job;
    rank->pidfd = -1;
#endif
    return ACCEL_OK;
}

static accel_status_t spawn_rank(accel__job_t *job, accel__rank_t *rank, start_t *start)
{
    accel_status_t status;
    pid_t pid;

    start->output = start->error = -1;
    status = accel__launch_environment(job, rank->index, &start->envp);
    if (status != ACCEL_OK)
        return status;
    status = make_pipe(&rank->streams[0], &start->output);
    if (status == ACCEL_OK)
        status = make_pipe(&rank->streams[1], &start->error);
    if (status == ACCEL_OK) {
        pid = fork();
        if (pid == 0)
            become_rank(start);
        if (pid < 0) {
            status = accel__fail_errno(ACCEL_ERR_IO, "rank %d of %d cannot be started", rank->index,
                                       job->num_processes);
        } else {
            /* Here too: whoever comes first, the group is there before we signal it. */
            setpgid(pid, pid);
            rank->pid = pid;
            status = watch_death(job, rank);
        }
    }
    if (start->output >= 0)
        close(start->output);
    if (start->error >= 0)
        close(start->error);
    free(start->envp);
    return status;
}

/* All programs run, or one of them told why not. */
static accel_status_t await_executed(const accel__job_t *job, int fd)
{
    int reason;
    ssize_t n;

    do
        n = read(fd, &reason, sizeof(reason));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return ACCEL_OK;
    if (n == (ssize_t)sizeof(reason))
        errno = reason;
    if (errno == ENOENT)
        return accel__fail(ACCEL_ERR_IO,
                           "%s: cannot be executed: its interpreter (the #! line, or the dynamic "
                           "linker) does not exist",
                           job->program);
    if (errno == ENOEXEC)
        return accel__fail(ACCEL_ERR_IO,
                           "%s: cannot be executed: neither a program of this machine nor a script "
                           "with a #! line",
                           job->program);
    return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot be executed", job->program);
}

accel_status_t accel__launch_spawn(accel__job_t *job, int *exit_code)
{
    accel_status_t status = ACCEL_OK;
    int report[2] = {-1, -1}, null_fd;
    start_t start = {.job = job, .launcher = getpid()};

    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "/dev/null: cannot be opened");
    if (pipe2(report, O_CLOEXEC) != 0) {
        status = accel__fail_errno(ACCEL_ERR_IO, "cannot make a pipe");
        goto done;
    }
    start.report_fd = report[1];
    job->start_ns = accel__clock_ns();
    for (int32_t i = 0; i < job->num_processes && status == ACCEL_OK; i++) {
        /* A background group that reads the terminal would be stopped by it. */
        start.input = i == 0 && !isatty(STDIN_FILENO) ? -1 : null_fd;
        status = spawn_rank(job, &job->ranks[i], &start);
    }
    close(report[1]);
    if (status == ACCEL_OK) {
        status = await_executed(job, report[0]);
        *exit_code = status == ACCEL_OK ? *exit_code : 126;
    }
    close(report[0]);
done:
    close(null_fd);
    return status;
}
