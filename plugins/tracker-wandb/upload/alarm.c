/* SPDX-License-Identifier: Apache-2.0 */
#include "alarm.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <time.h>

void accel__wandb_alarm_init(accel__wandb_alarm_t *alarm)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&alarm->lock, NULL);
    pthread_cond_init(&alarm->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    alarm->nudges = 0;
    atomic_init(&alarm->cancelled, false);
}

void accel__wandb_alarm_destroy(accel__wandb_alarm_t *alarm)
{
    pthread_cond_destroy(&alarm->changed);
    pthread_mutex_destroy(&alarm->lock);
}

void accel__wandb_alarm_nudge(accel__wandb_alarm_t *alarm)
{
    pthread_mutex_lock(&alarm->lock);
    alarm->nudges++;
    pthread_cond_broadcast(&alarm->changed);
    pthread_mutex_unlock(&alarm->lock);
}

void accel__wandb_alarm_cancel(accel__wandb_alarm_t *alarm)
{
    atomic_store(&alarm->cancelled, true);
    accel__wandb_alarm_nudge(alarm);
}

bool accel__wandb_alarm_cancelled(accel__wandb_alarm_t *alarm)
{
    return alarm && atomic_load(&alarm->cancelled);
}

static struct timespec from_now(double seconds)
{
    struct timespec time;
    double whole = floor(seconds);
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += (time_t)whole;
    time.tv_nsec += (long)((seconds - whole) * 1e9);
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

void accel__wandb_alarm_wait(accel__wandb_alarm_t *alarm, double seconds, uint64_t *seen)
{
    struct timespec until = from_now(seconds > 0 ? seconds : 0);
    if (!alarm) {
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            continue;
        return;
    }
    pthread_mutex_lock(&alarm->lock);
    while (alarm->nudges == *seen && !atomic_load(&alarm->cancelled)) {
        if (pthread_cond_timedwait(&alarm->changed, &alarm->lock, &until) == ETIMEDOUT)
            break;
    }
    *seen = alarm->nudges;
    pthread_mutex_unlock(&alarm->lock);
}

double accel__wandb_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
