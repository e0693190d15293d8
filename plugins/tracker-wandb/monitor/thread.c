/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <time.h>

#include "monitor.h"

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
