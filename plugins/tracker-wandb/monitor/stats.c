/* SPDX-License-Identifier: Apache-2.0 */
/* The sampling of system metrics: at once when the run starts, then at each interval. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "monitor.h"
#include "sample.h"

enum {
    BEGIN_LIMIT = 5000, /* milliseconds that a short run waits for its first sample */
    JOIN_LIMIT = 2,     /* seconds */
};

struct accel__wandb_stats {
    pthread_t thread;
    pid_t owner; /* a forked child has the memory, but not the thread */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    accel__wandb_run_t *run; /* under the lock; NULL: stopped */
    bool looks, samples;     /* for GPUs; again and again */
    bool has_begun;          /* has looked, and sampled once */
    double interval;
    pid_t pid; /* whose GPUs are told apart */
    accel__wandb_machine_t *machine;
    accel__wandb_nvml_t *nvml;
};

static void emit_stats(accel__wandb_run_t *run, const accel__wandb_sample_t *sample,
                       struct timespec time)
{
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    Wandb__StatsRecord *stats = accel__wandb_new(run, &wandb__stats_record__descriptor);
    stats->timestamp = accel__wandb_timestamp(run, time);
    stats->item = accel__wandb_arena_take(&run->arena, sample->count * sizeof(*stats->item));
    for (size_t i = 0; stats->item && i < sample->count; i++) {
        accel_item_t value = accel_item_float("", sample->measures[i].value);
        accel__wandb_text_t text = {0};
        Wandb__StatsItem *item = accel__wandb_new(run, &wandb__stats_item__descriptor);
        accel__wandb_json_value(&text, &value, ACCEL__WANDB_JSON_FRONT);
        accel__wandb_put(run, &item->key, sample->measures[i].key);
        if (!text.failed)
            accel__wandb_put(run, &item->value_json,
                             accel__wandb_arena_copy(&run->arena, text.data, text.length));
        accel__wandb_text_free(&text);
        stats->item[stats->n_item++] = item;
    }
    record->stats = stats;
    accel__wandb_emit(run, record, false);
}

static void write_sample(accel__wandb_stats_t *stats, const accel__wandb_sample_t *sample,
                         struct timespec time)
{
    pthread_mutex_lock(&stats->lock);
    accel__wandb_run_t *run = stats->run;
    if (run && sample->count) {
        accel__wandb_lock(run);
        if (accel__wandb_is_writing(run)) {
            emit_stats(run, sample, time);
            accel__wandb_commit_aside(run);
        }
        accel__wandb_unlock(run);
    }
    pthread_mutex_unlock(&stats->lock);
}

/* What the machine has. Asking the GPUs' driver takes a while: so it is not done by the program's
 * thread, when the run starts. */
static void find_gpus(accel__wandb_stats_t *stats)
{
    stats->nvml = accel__wandb_nvml_open();
    pthread_mutex_lock(&stats->lock);
    accel__wandb_run_t *run = stats->run;
    if (run && !run->settings.disable_machine_info) {
        accel__wandb_lock(run);
        if (accel__wandb_is_writing(run)) {
            accel__wandb_emit_machine(run, stats->nvml);
            accel__wandb_commit_aside(run);
        }
        accel__wandb_unlock(run);
    }
    pthread_mutex_unlock(&stats->lock);
}

/* ---- the thread ---- */

static void take_sample(accel__wandb_stats_t *stats)
{
    accel__wandb_sample_t sample = {0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stats->machine)
        accel__wandb_machine_sample(stats->machine, &sample);
    if (stats->nvml)
        accel__wandb_nvml_sample(stats->nvml, stats->pid, &sample);
    write_sample(stats, &sample, now);
    accel__wandb_sample_free(&sample);
}

/* Until the next multiple of the interval after `begun`; false: it is over. */
static bool wait_for_next(accel__wandb_stats_t *stats, const struct timespec *begun)
{
    struct timespec now, until;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double past =
        (double)(now.tv_sec - begun->tv_sec) + (double)(now.tv_nsec - begun->tv_nsec) / 1e9;
    double next = (floor(past / stats->interval) + 1) * stats->interval;
    double nanoseconds = (double)begun->tv_nsec + (next - floor(next)) * 1e9;
    until.tv_sec = begun->tv_sec + (time_t)floor(next) + (nanoseconds >= 1e9);
    until.tv_nsec = (long)(nanoseconds >= 1e9 ? nanoseconds - 1e9 : nanoseconds);
    int error = 0;
    pthread_mutex_lock(&stats->lock);
    while (stats->run && error != ETIMEDOUT)
        error = pthread_cond_clockwait(&stats->wake, &stats->lock, CLOCK_MONOTONIC, &until);
    bool more = stats->run != NULL;
    pthread_mutex_unlock(&stats->lock);
    return more;
}

static void *sample_until_stopped(void *context)
{
    accel__wandb_stats_t *stats = context;
    struct timespec begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    (void)pthread_setname_np(pthread_self(), "wandb-stats");
    if (stats->looks)
        find_gpus(stats);
    if (stats->samples)
        take_sample(stats);
    pthread_mutex_lock(&stats->lock);
    stats->has_begun = true;
    pthread_cond_broadcast(&stats->wake);
    pthread_mutex_unlock(&stats->lock);
    while (stats->samples && wait_for_next(stats, &begun))
        take_sample(stats);
    accel__wandb_nvml_close(stats->nvml);
    return NULL;
}

static void destroy(accel__wandb_stats_t *stats)
{
    accel__wandb_machine_destroy(stats->machine);
    pthread_cond_destroy(&stats->wake);
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

accel__wandb_stats_t *accel__wandb_stats_start(accel__wandb_run_t *run)
{
    bool has_gpus = accel__wandb_nvml_present();
    bool is_wanted =
        !run->settings.disable_stats || (has_gpus && !run->settings.disable_machine_info);
    accel__wandb_stats_t *stats = is_wanted ? calloc(1, sizeof(*stats)) : NULL;
    if (!stats)
        return NULL;
    stats->looks = has_gpus;
    stats->samples = !run->settings.disable_stats;
    stats->run = run;
    stats->owner = getpid();
    stats->pid = run->settings.stats_pid > 0 ? (pid_t)run->settings.stats_pid : stats->owner;
    stats->interval = run->settings.stats_sampling_interval;
    stats->machine = accel__wandb_machine_create(&run->settings);
    pthread_mutex_init(&stats->lock, NULL);
    pthread_cond_init(&stats->wake, NULL);
    int error = accel__wandb_thread_start(&stats->thread, sample_until_stopped, stats);
    if (!error)
        return stats;
    accel__wandb_debug(run, "no system metrics: no thread (error %d)", error);
    destroy(stats);
    return NULL;
}

/* A thread that hangs in a dead file system, or in the driver, is left behind with what it has. */
static bool joins(pthread_t thread)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_LIMIT;
    if (pthread_timedjoin_np(thread, NULL, &until) == 0)
        return true;
    (void)pthread_detach(thread);
    return false;
}

void accel__wandb_stats_stop(accel__wandb_stats_t *stats)
{
    if (!stats || stats->owner != getpid())
        return;
    struct timespec until;
    accel__wandb_deadline(&until, BEGIN_LIMIT);
    pthread_mutex_lock(&stats->lock);
    while (!stats->has_begun &&
           pthread_cond_clockwait(&stats->wake, &stats->lock, CLOCK_MONOTONIC, &until) == 0)
        continue;
    stats->run = NULL;
    pthread_cond_broadcast(&stats->wake);
    pthread_mutex_unlock(&stats->lock);
    if (joins(stats->thread))
        destroy(stats);
}
