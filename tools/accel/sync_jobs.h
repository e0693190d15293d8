/* SPDX-License-Identifier: Apache-2.0 */
/* The logs that `accel sync` sends: several at a time, each on a thread of its own. */
#ifndef ACCEL_TOOLS_SYNC_JOBS_H
#define ACCEL_TOOLS_SYNC_JOBS_H

#include <accel/wandb.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

typedef enum { JOB_WAITS, JOB_RUNS, JOB_SYNCED, JOB_FAILED, JOB_STOPPED } job_state_t;

struct sync_jobs;

typedef struct sync_job {
    struct sync_jobs *jobs;
    char *log;
    pthread_t thread;
    bool has_thread, told;
    double ended;     /* when it failed, by the clock of sync_now() */
    atomic_bool over; /* nobody writes to the log any more, whether it has its end or not */
    /* under the list's lock */
    job_state_t state;
    int64_t log_bytes, sent_bytes, num_rows, num_files, num_files_missed;
    char url[512], trouble[256], error[512];
} sync_job_t;

typedef struct sync_jobs {
    accel_wandb_sync_options_t options; /* without progress */
    int64_t most;                       /* at a time */
    void (*note)(const char *log, const char *text);
    atomic_bool stop;
    pthread_mutex_t lock;
    sync_job_t **jobs; /* in the order in which they were found: oldest first */
    size_t count;
} sync_jobs_t;

/* Add a log that is not there yet. Where it goes on with the run of an earlier one, that one is
 * over. False without memory. */
bool sync_jobs_add(sync_jobs_t *jobs, const char *log);

/* Start what may be started: logs of one run go one after the other. False if a thread cannot be
 * had. */
bool sync_jobs_start(sync_jobs_t *jobs);

size_t sync_jobs_in(sync_jobs_t *jobs, job_state_t state);
void sync_jobs_join(sync_job_t *job);
void sync_jobs_free(sync_jobs_t *jobs);

/* Where the run lies, for people: the log's folder. The length within `log`. */
size_t sync_run_length(const char *log);

/* Seconds on a clock that nobody sets. */
double sync_now(void);

#endif
