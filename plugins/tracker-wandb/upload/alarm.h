/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting that others can end: the threads of an upload sleep here between requests. A nudge ends
 * the wait in hand or, if there is none, the next; a cancellation all from then on, and the
 * transfers too. */
#ifndef ACCEL_TRACKER_WANDB_ALARM_H
#define ACCEL_TRACKER_WANDB_ALARM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t nudges;
    atomic_bool cancelled;
} accel__wandb_alarm_t;

void accel__wandb_alarm_init(accel__wandb_alarm_t *alarm);
void accel__wandb_alarm_destroy(accel__wandb_alarm_t *alarm);
void accel__wandb_alarm_nudge(accel__wandb_alarm_t *alarm);
void accel__wandb_alarm_cancel(accel__wandb_alarm_t *alarm);
bool accel__wandb_alarm_cancelled(accel__wandb_alarm_t *alarm);

/* Wait for at most `seconds`, or until there are more nudges than *seen, which is brought up to
 * date. NULL for `alarm` is an ordinary sleep. */
void accel__wandb_alarm_wait(accel__wandb_alarm_t *alarm, double seconds, uint64_t *seen);

/* Seconds of the monotonic clock. */
double accel__wandb_monotonic(void);

#endif
