/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's parts: what is run (environment.c), starting it (spawn.c), its output
 * (output.c), watching over it (supervise.c) and the closing words (report.c). */
#ifndef ACCEL_LAUNCH_LAUNCH_H
#define ACCEL_LAUNCH_LAUNCH_H

#include <accel/launch.h>

#include <signal.h>
#include <stdio.h>

#include "base/base.h"

/* ---- output ---- */

/* The last lines of a rank, kept for the report. */
#define ACCEL__TAIL_LINES 10
#define ACCEL__TAIL_WIDTH 500

typedef struct accel__tail {
    char lines[ACCEL__TAIL_LINES][ACCEL__TAIL_WIDTH];
    size_t count;   /* of lines ever remembered */
    bool rewritten; /* the newest ended in a carriage return: the next one replaces it */
} accel__tail_t;

/* Where lines go: the launcher's standard output or error, or a rank's log file. */
typedef struct accel__sink {
    int fd; /* -1: none */
    const char *name;
    accel__text_t pending;
    size_t sent;                      /* of pending */
    size_t chunk;                     /* the most a write may take without blocking */
    const struct accel__stream *open; /* whose unfinished line stands at the end */
    bool returned;                    /* and ends in a carriage return */
    bool failed;                      /* takes nothing any more */
} accel__sink_t;

/* One rank's standard output or error, as it comes in. */
typedef struct accel__stream {
    int fd; /* -1: ended */
    struct accel__rank *rank;
    accel__sink_t *sink;
    char *data;
    size_t length;
} accel__stream_t;

/* ---- the job ---- */

typedef struct accel__rank {
    int32_t index;
    char prefix[16];            /* "[ 3] " */
    pid_t pid;                  /* and process group; 0: not started */
    int pidfd;                  /* -1: the system has none */
    accel__stream_t streams[2]; /* standard output, standard error */
    accel__sink_t log;
    accel__tail_t tail;

    bool ended;
    bool stopped; /* we had told it to stop before it ended */
    int how;      /* CLD_EXITED, CLD_KILLED or CLD_DUMPED */
    int result;   /* exit code or signal */
    uint64_t ended_ns;
} accel__rank_t;

typedef struct accel__job {
    accel_launch_options_t options;
    int32_t num_processes;
    accel__rank_t *ranks;

    char *program; /* path to execute */
    char *const *argv;
    char id[37];

    pid_t guard;
    int guard_fd; /* write end; the guard acts when it closes */
    int signal_fd;
    int death_fd; /* epoll over the pidfds: hands out deaths in their order */
    sigset_t caller_mask;
    struct sigaction caller_sigchld;
    bool signals_taken;
    int held_fds; /* bits of standard descriptors that were closed */

    accel__sink_t sinks[2]; /* standard output, standard error */
    accel__sink_t *err;     /* the first one, if both are the same file */
    bool log_failed;        /* said once */

    uint64_t start_ns;
    int32_t num_ended;
    int32_t culprit;    /* the rank to blame; -1: none */
    uint64_t settle_ns; /* until then a better culprit may turn up; 0: settled */
    bool stopping;
    bool abandoned;   /* unread output is given up */
    int interrupted;  /* by this signal */
    uint64_t kill_ns; /* end of the grace time; 0: none running */
    bool killed;      /* the grace time was not enough, or cut short */
} accel__job_t;

/* ---- environment.c ---- */

/* Find the program as the shell would. *exit_code is 127 or 126 on failure. */
accel_status_t accel__launch_find_program(const char *name, char **path, int *exit_code);

/* The CPUs this process may run on, at least 1. */
int32_t accel__launch_num_cpus(void);

/* The environment of one rank, one block to free(). */
accel_status_t accel__launch_environment(const accel__job_t *job, int32_t rank, char ***envp);

/* ---- spawn.c ---- */

accel_status_t accel__launch_guard(accel__job_t *job);

/* *exit_code is 126 if the program turned out not to be one. */
accel_status_t accel__launch_spawn(accel__job_t *job, int *exit_code);

/* ---- output.c ---- */

accel_status_t accel__sink_init(accel__sink_t *sink, int fd, const char *name);
void accel__sink_fini(accel__sink_t *sink);
bool accel__sink_has_room(const accel__sink_t *sink);
bool accel__sink_has_pending(const accel__sink_t *sink);

/* Write what goes without blocking. A reader that is gone is ACCEL_END. */
accel_status_t accel__sink_flush(accel__sink_t *sink);

/* Take in what is there, up to what the sink has room for; pass on the whole lines. With
 * `drain`, an empty pipe ends the stream. */
accel_status_t accel__stream_read(accel__job_t *job, accel__stream_t *stream, bool drain);

/* A line of the launcher's own. */
void accel__launch_say(accel__job_t *job, const char *format, ...) ACCEL_PRINTF(2, 3);

/* ---- supervise.c ---- */

/* Until every rank has ended and all output, also the launcher's own, is passed on. */
accel_status_t accel__launch_supervise(accel__job_t *job);

/* A signal for every rank's group. */
void accel__launch_signal_all(const accel__job_t *job, int signal);

/* ---- report.c ---- */

/* Failed, by exit code or signal? */
bool accel__rank_failed(const accel__rank_t *rank);

int accel__launch_exit_code(const accel__job_t *job);
void accel__launch_report(accel__job_t *job);

#endif
