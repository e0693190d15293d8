/* SPDX-License-Identifier: Apache-2.0 */
/* Watching over the ranks: one loop over their pipes, their deaths, signals and time. It
 * never waits anywhere else, so a death is seen at once however slow the reader is. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/launch.h"

/* After the first failure the others have a moment before they are told to stop: to find out
 * by themselves and say what it means to them, and for a death that explains more to show. */
#define SETTLE_NS UINT64_C(100000000)

/* ---- stopping ---- */

/* Ended ranks too: their group may hold processes they started. Ended ones are reaped only
 * when all is over, so these numbers stay ours. */
void accel__launch_signal_all(const accel__job_t *job, int signal)
{
    for (int32_t i = 0; i < job->num_processes; i++)
        if (job->ranks[i].pid > 0)
            kill(-job->ranks[i].pid, signal);
}

static void stop_all(accel__job_t *job, int signal)
{
    job->stopping = true;
    job->settle_ns = 0;
    job->kill_ns = accel__clock_ns() + (uint64_t)job->options.grace_ms * 1000000u;
    for (int32_t i = 0; i < job->num_processes; i++)
        job->ranks[i].stopped = !job->ranks[i].ended;
    accel__launch_signal_all(job, signal);
    /* A stopped process acts on it only when it goes on. */
    accel__launch_signal_all(job, SIGCONT);
}

static bool all_ended(const accel__job_t *job)
{
    return job->num_ended == job->num_processes;
}

static void kill_all(accel__job_t *job)
{
    job->kill_ns = 0;
    job->killed = job->killed || !all_ended(job);
    accel__launch_signal_all(job, SIGKILL);
}

/* Did the culprit die of that signal just now? Then someone signals the whole job, ranks and
 * all, as Slurm does, and that rank did not fail. */
static bool is_for_everybody(const accel__job_t *job, int signal)
{
    const accel__rank_t *culprit = job->culprit < 0 ? NULL : &job->ranks[job->culprit];

    return culprit && job->settle_ns && culprit->how != CLD_EXITED && culprit->result == signal;
}

/* The first signal asks; a second one, or one that comes when only a slow reader is left,
 * ends the matter. */
static void interrupt(accel__job_t *job, int signal)
{
    bool for_everybody = is_for_everybody(job, signal);

    if (for_everybody)
        job->culprit = -1;
    if (job->culprit < 0 && !job->interrupted)
        job->interrupted = signal;
    if (all_ended(job) && !for_everybody)
        job->abandoned = true;
    else if (job->stopping)
        kill_all(job);
    else
        stop_all(job, signal);
}

/* Nobody reads our output: end as a program that writes there would. It cuts no grace short,
 * since ^C on a pipeline takes the reader first. */
static void reader_gone(accel__job_t *job)
{
    if (job->culprit < 0 && !job->interrupted)
        job->interrupted = SIGPIPE;
    if (!job->stopping && !all_ended(job))
        stop_all(job, SIGTERM);
}

/* ---- deaths ---- */

/* Could this end be the consequence of another rank's? Ranks that learn of a dead one return
 * a code, abort, or write where nobody reads. */
static bool may_be_consequence(const accel__rank_t *rank)
{
    return rank->how == CLD_EXITED || rank->result == SIGABRT || rank->result == SIGPIPE;
}

/* The first failure is to blame, but for a moment it gives way to one that explains it. */
static void accuse(accel__job_t *job, const accel__rank_t *rank)
{
    if (job->culprit < 0)
        job->settle_ns = rank->ended_ns + SETTLE_NS;
    else if (!may_be_consequence(&job->ranks[job->culprit]) || may_be_consequence(rank))
        return;
    job->culprit = rank->index;
}

/* Has it died? It stays a zombie for now: that keeps its number from being given away. */
static void look_after(accel__job_t *job, accel__rank_t *rank)
{
    siginfo_t info = {0};

    if (rank->ended || waitid(P_PID, (id_t)rank->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return;
    rank->ended = true;
    rank->how = info.si_code;
    rank->result = info.si_status;
    rank->ended_ns = accel__clock_ns();
    job->num_ended++;
    if (rank->pidfd >= 0) {
        epoll_ctl(job->death_fd, EPOLL_CTL_DEL, rank->pidfd, NULL);
        close(rank->pidfd);
        rank->pidfd = -1;
    }
    if (accel__rank_failed(rank) && !job->stopping)
        accuse(job, rank);
}

static void read_deaths(accel__job_t *job)
{
    struct epoll_event events[64];
    int count = epoll_wait(job->death_fd, events, 64, 0);

    for (int i = 0; i < count; i++)
        look_after(job, events[i].data.ptr);
}

/* ---- signals ---- */

/* As the terminal's ^Z asks: the ranks stop, then we do, and all go on together. */
static void suspend(const accel__job_t *job)
{
    accel__launch_signal_all(job, SIGSTOP);
    raise(SIGSTOP);
    accel__launch_signal_all(job, SIGCONT);
}

static void take_signal(accel__job_t *job, int signal)
{
    switch (signal) {
    case SIGCHLD:
        for (int32_t i = 0; i < job->num_processes; i++)
            if (job->ranks[i].pidfd < 0)
                look_after(job, &job->ranks[i]);
        break;
    case SIGPIPE: /* told by write() as well */
        break;
    case SIGTSTP:
        suspend(job);
        break;
    case SIGUSR1:
    case SIGUSR2:
        accel__launch_signal_all(job, signal);
        break;
    default:
        interrupt(job, signal);
    }
}

static void read_signals(accel__job_t *job)
{
    struct signalfd_siginfo info;

    while (read(job->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        take_signal(job, (int)info.ssi_signo);
}

/* ---- output ---- */

/* A full disk is no reason to end a long training: say so, and go on without. */
static accel_status_t flush(accel__job_t *job, accel__sink_t *sink)
{
    accel_status_t status = accel__sink_flush(sink);

    if (status == ACCEL_END)
        reader_gone(job);
    else if (status == ACCEL_ERR_IO)
        accel__launch_say(job, "accel launch: %s", accel_last_error());
    else if (status != ACCEL_OK)
        return status;
    return ACCEL_OK;
}

static accel_status_t flush_log(accel__job_t *job, accel__sink_t *log)
{
    while (log->fd >= 0 && !log->failed && accel__sink_has_pending(log)) {
        accel_status_t status = accel__sink_flush(log);

        if (status == ACCEL_ERR_NO_MEMORY)
            return status;
        if (status < 0 && !job->log_failed) {
            job->log_failed = true;
            accel__launch_say(job, "accel launch: %s", accel_last_error());
        }
    }
    return ACCEL_OK;
}

static accel_status_t read_streams(accel__job_t *job, accel__rank_t *rank,
                                   const struct pollfd *polled)
{
    bool drain = all_ended(job);
    accel_status_t status = ACCEL_OK;

    for (int i = 0; i < 2 && status == ACCEL_OK; i++)
        if (rank->streams[i].fd >= 0 && polled[i].fd >= 0 && (polled[i].revents || drain))
            status = accel__stream_read(job, &rank->streams[i], drain);
    return status == ACCEL_OK ? flush_log(job, &rank->log) : status;
}

/* ---- the loop ---- */

/* Two sinks from SLOT_SINKS on, two streams a rank from SLOT_RANKS on. */
enum { SLOT_SIGNALS = 0, SLOT_DEATHS = 1, SLOT_SINKS = 2, SLOT_RANKS = 4 };

/* Did a rank die of what may be on its way to us too? */
static bool expects_signal(const accel__job_t *job)
{
    return is_for_everybody(job, SIGTERM) || is_for_everybody(job, SIGINT) ||
           is_for_everybody(job, SIGHUP);
}

/* True while there is something to wait for. */
static bool prepare_poll(const accel__job_t *job, struct pollfd *polled)
{
    bool busy = !all_ended(job) || expects_signal(job);

    polled[SLOT_SIGNALS] = (struct pollfd){.fd = job->signal_fd, .events = POLLIN};
    polled[SLOT_DEATHS] = (struct pollfd){.fd = job->death_fd, .events = POLLIN};
    for (int i = 0; i < 2; i++) {
        bool pending = accel__sink_has_pending(&job->sinks[i]);

        polled[SLOT_SINKS + i].fd = pending ? job->sinks[i].fd : -1;
        polled[SLOT_SINKS + i].events = POLLOUT;
        busy = busy || pending;
    }
    for (int32_t i = 0; i < 2 * job->num_processes; i++) {
        const accel__stream_t *stream = &job->ranks[i / 2].streams[i % 2];
        bool room = stream->fd >= 0 && accel__sink_has_room(stream->sink);

        polled[SLOT_RANKS + i].fd = room ? stream->fd : -1;
        polled[SLOT_RANKS + i].events = POLLIN;
        busy = busy || stream->fd >= 0;
    }
    return busy && !job->abandoned;
}

/* Milliseconds to the next deadline. */
static int patience(const accel__job_t *job)
{
    uint64_t next = job->settle_ns ? job->settle_ns : job->kill_ns, now = accel__clock_ns();

    /* Everyone has ended: what is still in the pipes is read without waiting for an end
     * that a process outside the groups may hold open. */
    if (all_ended(job))
        for (int32_t i = 0; i < 2 * job->num_processes; i++)
            if (job->ranks[i / 2].streams[i % 2].fd >= 0 &&
                accel__sink_has_room(job->ranks[i / 2].streams[i % 2].sink))
                return 0;
    if (next == 0)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000000u) + 1;
}

static void keep_deadlines(accel__job_t *job)
{
    uint64_t now = accel__clock_ns();

    if (job->settle_ns && now >= job->settle_ns)
        stop_all(job, SIGTERM);
    if (job->kill_ns && now >= job->kill_ns) {
        job->abandoned = all_ended(job) && job->interrupted;
        kill_all(job);
    }
}

static accel_status_t turn(accel__job_t *job, struct pollfd *polled)
{
    bool ended_before = all_ended(job);
    accel_status_t status = ACCEL_OK;

    if (poll(polled, SLOT_RANKS + 2 * (nfds_t)job->num_processes, patience(job)) < 0)
        return errno == EINTR ? ACCEL_OK : accel__fail_errno(ACCEL_ERR_IO, "cannot wait for ranks");
    if (polled[SLOT_DEATHS].revents)
        read_deaths(job);
    if (polled[SLOT_SIGNALS].revents)
        read_signals(job);
    keep_deadlines(job);
    /* Before the last reading, so that nobody in the groups writes any more. */
    if (!ended_before && all_ended(job))
        accel__launch_signal_all(job, SIGKILL);
    for (int i = 0; i < 2 && status == ACCEL_OK; i++)
        if (polled[SLOT_SINKS + i].fd >= 0 && polled[SLOT_SINKS + i].revents)
            status = flush(job, &job->sinks[i]);
    for (int32_t i = 0; i < job->num_processes && status == ACCEL_OK; i++)
        status = read_streams(job, &job->ranks[i], &polled[SLOT_RANKS + 2 * i]);
    return status;
}

accel_status_t accel__launch_supervise(accel__job_t *job)
{
    struct pollfd *polled = calloc(SLOT_RANKS + 2 * (size_t)job->num_processes, sizeof(*polled));
    accel_status_t status = ACCEL_OK;

    if (!polled)
        return accel__fail_memory("the ranks' descriptors", (size_t)job->num_processes);
    while (status == ACCEL_OK && prepare_poll(job, polled))
        status = turn(job, polled);
    free(polled);
    return status;
}
