/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <time.h>

#include "monitor.h"

enum { JOIN_LIMIT = 5 }; /* seconds */

int accel__wandb_thread_start(pthread_t *thread, void *(*work)(void *), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!error)
        error = pthread_create(thread, NULL, work, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

bool accel__wandb_thread_join(pthread_t thread)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_LIMIT;
    if (pthread_timedjoin_np(thread, NULL, &until) == 0)
        return true;
    (void)pthread_detach(thread);
    return false;
}

void accel__wandb_deadline(struct timespec *until, long milliseconds)
{
    clock_gettime(CLOCK_MONOTONIC, until);
    until->tv_sec += milliseconds / 1000;
    until->tv_nsec += milliseconds % 1000 * 1000000;
    if (until->tv_nsec >= 1000000000) {
        until->tv_nsec -= 1000000000;
        until->tv_sec++;
    }
}
