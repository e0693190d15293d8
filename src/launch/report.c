/* SPDX-License-Identifier: Apache-2.0 */
/* What is said at the end, and the exit code. */
#include <signal.h>
#include <string.h>

#include "launch/launch.h"

bool accel__rank_failed(const accel__rank_t *rank)
{
    return rank->how != CLD_EXITED || rank->result != 0;
}

static int code_of(const accel__rank_t *rank)
{
    return rank->how == CLD_EXITED ? rank->result : 128 + rank->result;
}

/* The interruption counts, even if every rank ended well on it: the work is not done. A rank
 * that failed before it counts more. */
int accel__launch_exit_code(const accel__job_t *job)
{
    if (job->culprit >= 0)
        return code_of(&job->ranks[job->culprit]);
    return job->interrupted ? 128 + job->interrupted : 0;
}

static const char *signal_name(int signal, char *text, size_t size)
{
    const char *name = sigabbrev_np(signal);

    if (name)
        snprintf(text, size, "SIG%s", name);
    else
        snprintf(text, size, "a signal");
    return text;
}

/* "; 2 others were stopped, 1 failed after it" */
static void describe_others(const accel__job_t *job, accel__text_t *text)
{
    int stopped = 0, failed = 0;

    for (int32_t i = 0; i < job->num_processes; i++) {
        const accel__rank_t *rank = &job->ranks[i];

        if (i == job->culprit)
            continue;
        if (rank->stopped)
            stopped++;
        else if (accel__rank_failed(rank))
            failed++;
    }
    if (failed > 0)
        accel__text_appendf(text, "; %d other%s failed after it", failed, failed > 1 ? "s" : "");
    if (stopped > 0)
        accel__text_appendf(text, "; %d other%s stopped%s", stopped,
                            stopped > 1 ? "s were" : " was",
                            job->killed ? ", some by SIGKILL" : "");
}

static void describe_end(const accel__rank_t *rank, accel__text_t *text)
{
    char name[32];

    if (rank->how == CLD_EXITED)
        accel__text_appendf(text, "returned exit code %d", rank->result);
    else
        accel__text_appendf(text, "was killed by %s (signal %d%s)",
                            signal_name(rank->result, name, sizeof(name)), rank->result,
                            rank->how == CLD_DUMPED ? ", core dumped" : "");
}

static void show_tail(accel__job_t *job, const accel__rank_t *rank)
{
    const accel__tail_t *tail = &rank->tail;
    size_t first = tail->count > ACCEL__TAIL_LINES ? tail->count - ACCEL__TAIL_LINES : 0;

    accel__launch_say(job, tail->count > 0 ? "  its last lines:" : "  it printed nothing");
    for (size_t i = first; i < tail->count; i++)
        accel__launch_say(job, "    %s%s", rank->prefix, tail->lines[i % ACCEL__TAIL_LINES]);
}

static void report_failure(accel__job_t *job)
{
    const accel__rank_t *rank = &job->ranks[job->culprit];
    accel__text_t text = {0};
    double seconds;

    describe_end(rank, &text);
    seconds = (double)(rank->ended_ns - job->start_ns) * 1e-9;
    accel__text_appendf(&text, seconds < 1 ? " %.3f s after the start" : " %.1f s after the start",
                        seconds);
    describe_others(job, &text);
    if (!text.failed)
        accel__launch_say(job, "accel launch: rank %d (pid %d) %s", rank->index, (int)rank->pid,
                          text.data);
    accel__text_free(&text);
    if (rank->how != CLD_EXITED && rank->result == SIGKILL)
        accel__launch_say(job, "  the launcher did not send it; the kernel does when memory runs "
                               "out: see dmesg");
    show_tail(job, rank);
}

static void report_interruption(accel__job_t *job)
{
    char name[32];

    accel__launch_say(job, "accel launch: interrupted by %s; %s",
                      signal_name(job->interrupted, name, sizeof(name)),
                      job->killed ? "some ranks had to be killed" : "all ranks have ended");
}

void accel__launch_report(accel__job_t *job)
{
    if (job->options.quiet)
        return;
    if (job->culprit >= 0)
        report_failure(job);
    else if (job->interrupted && job->interrupted != SIGPIPE)
        report_interruption(job);
}
