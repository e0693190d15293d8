/* SPDX-License-Identifier: Apache-2.0 */
#include "sync_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double sync_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- names ---- */

size_t sync_run_length(const char *log)
{
    const char *slash = strrchr(log, '/');

    return slash && slash != log ? (size_t)(slash - log) : strlen(log);
}

/* The folder that holds the run's: its logs are those of the same name in folders beside it. */
static size_t runs_length(const char *log)
{
    size_t length = sync_run_length(log);

    while (length && log[length - 1] != '/')
        length--;
    return length;
}

static bool same_run(const char *a, const char *b)
{
    const char *name_a = strrchr(a, '/'), *name_b = strrchr(b, '/');
    size_t length = runs_length(a);

    return name_a && name_b && !strcmp(name_a, name_b) && length == runs_length(b) &&
           !strncmp(a, b, length);
}

/* ---- one log ---- */

static void copy(char *place, size_t size, const char *text)
{
    snprintf(place, size, "%s", text ? text : "");
}

static bool is_wanted(const sync_job_t *job)
{
    return !job->jobs->stop && !(job->jobs->options.follow && job->over);
}

static bool take(void *context, const accel_wandb_sync_progress_t *progress)
{
    sync_job_t *job = context;

    if (progress->event == ACCEL_WANDB_SYNC_NOTE) {
        job->jobs->note(job->log, progress->text);
        return true;
    }
    pthread_mutex_lock(&job->jobs->lock);
    if (progress->event == ACCEL_WANDB_SYNC_RUNNING || progress->event == ACCEL_WANDB_SYNC_DONE) {
        job->log_bytes = progress->log_bytes;
        job->sent_bytes = progress->sent_bytes;
        job->num_rows = progress->num_rows;
        job->num_files = progress->num_files;
        copy(job->trouble, sizeof(job->trouble), progress->text);
        if (progress->url)
            copy(job->url, sizeof(job->url), progress->url);
    }
    pthread_mutex_unlock(&job->jobs->lock);
    return is_wanted(job);
}

/* At rest: also what a follower left undone. */
static bool take_at_rest(void *context, const accel_wandb_sync_progress_t *progress)
{
    const sync_job_t *job = context;

    (void)take(context, progress);
    return !job->jobs->stop;
}

static void *work(void *context)
{
    sync_job_t *job = context;
    sync_jobs_t *jobs = job->jobs;
    accel_wandb_sync_options_t options = jobs->options;
    accel_wandb_sync_result_t result = {0};
    accel_status_t status = ACCEL_ERR_CANCELLED;

    options.context = job;
    options.progress = take;
    if (is_wanted(job))
        status = accel_wandb_sync(job->log, &options, &result);
    if (status == ACCEL_ERR_CANCELLED && options.follow && !jobs->stop) {
        options.follow = false;
        options.progress = take_at_rest;
        status = accel_wandb_sync(job->log, &options, &result);
    }
    pthread_mutex_lock(&jobs->lock);
    job->num_files_missed = result.num_files_missed;
    job->state = status == ACCEL_OK ? JOB_SYNCED : JOB_FAILED;
    if (status != ACCEL_OK && jobs->stop)
        job->state = JOB_STOPPED;
    if (status != ACCEL_OK)
        copy(job->error, sizeof(job->error), accel_last_error());
    job->ended = sync_now();
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* ---- all of them ---- */

bool sync_jobs_add(sync_jobs_t *jobs, const char *log)
{
    sync_job_t *job, **grown;

    for (size_t i = 0; i < jobs->count; i++)
        if (!strcmp(jobs->jobs[i]->log, log))
            return true;
    grown = realloc(jobs->jobs, (jobs->count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    jobs->jobs = grown;
    job = calloc(1, sizeof(*job));
    if (!job)
        return false;
    job->jobs = jobs;
    job->log = strdup(log);
    if (!job->log) {
        free(job);
        return false;
    }
    for (size_t i = 0; i < jobs->count; i++)
        if (same_run(jobs->jobs[i]->log, log))
            jobs->jobs[i]->over = true;
    jobs->jobs[jobs->count++] = job;
    return true;
}

static job_state_t state_of(sync_job_t *job)
{
    pthread_mutex_lock(&job->jobs->lock);
    job_state_t state = job->state;
    pthread_mutex_unlock(&job->jobs->lock);
    return state;
}

size_t sync_jobs_in(sync_jobs_t *jobs, job_state_t state)
{
    size_t count = 0;

    for (size_t i = 0; i < jobs->count; i++)
        count += state_of(jobs->jobs[i]) == state;
    return count;
}

static bool may_start(sync_jobs_t *jobs, size_t index)
{
    if (state_of(jobs->jobs[index]) != JOB_WAITS)
        return false;
    for (size_t i = 0; i < index; i++) {
        job_state_t before = state_of(jobs->jobs[i]);
        if ((before == JOB_WAITS || before == JOB_RUNS) &&
            same_run(jobs->jobs[i]->log, jobs->jobs[index]->log))
            return false;
    }
    return true;
}

void sync_jobs_join(sync_job_t *job)
{
    if (job->has_thread)
        pthread_join(job->thread, NULL);
    job->has_thread = false;
}

bool sync_jobs_start(sync_jobs_t *jobs)
{
    int64_t running = (int64_t)sync_jobs_in(jobs, JOB_RUNS);

    for (size_t i = 0; i < jobs->count && running < jobs->most; i++) {
        sync_job_t *job = jobs->jobs[i];
        if (!may_start(jobs, i))
            continue;
        sync_jobs_join(job);
        job->state = JOB_RUNS;
        job->told = false;
        if (pthread_create(&job->thread, NULL, work, job) != 0) {
            job->state = JOB_WAITS;
            return running > 0; /* later, when another has ended */
        }
        job->has_thread = true;
        running++;
    }
    return true;
}

void sync_jobs_free(sync_jobs_t *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        sync_jobs_join(jobs->jobs[i]);
        free(jobs->jobs[i]->log);
        free(jobs->jobs[i]);
    }
    free(jobs->jobs);
    pthread_mutex_destroy(&jobs->lock);
}
