/* SPDX-License-Identifier: Apache-2.0 */
/* What runs beside a run: system metrics and the console, each on a thread of its own. */
#ifndef ACCEL_TRACKER_WANDB_MONITOR_H
#define ACCEL_TRACKER_WANDB_MONITOR_H

#include "../run.h"

/* A thread that does not take the program's signals. Zero or an errno. */
int accel__wandb_thread_start(pthread_t *thread, void *(*work)(void *), void *context);

/* So many milliseconds from now, by CLOCK_MONOTONIC. */
void accel__wandb_deadline(struct timespec *until, long milliseconds);

/* ---- stats.c ---- */

/* NULL: the settings want none, or there is no thread to be had. */
typedef struct accel__wandb_stats accel__wandb_stats_t;
accel__wandb_stats_t *accel__wandb_stats_start(accel__wandb_run_t *run);
/* No record is written after this. */
void accel__wandb_stats_stop(accel__wandb_stats_t *stats);

/* ---- output.c: records of what the program prints, and files/output.log ---- */

typedef struct accel__wandb_output accel__wandb_output_t;
accel__wandb_output_t *accel__wandb_output_start(accel__wandb_run_t *run);
/* Everything printed so far is in the log when this returns. */
void accel__wandb_output_stop(accel__wandb_output_t *output);

/* Take a copy of what was printed. Waits for no file: a thread writes it to the log. With
 * `may_be_last`, a whole line is waited for, some milliseconds at most, as it may be the last word
 * of a dying program. */
void accel__wandb_output_take(accel__wandb_output_t *output, bool is_stderr, const char *data,
                              size_t size, bool may_be_last);

/* Wait for the thread to write what was taken so far, some seconds at most. */
void accel__wandb_output_drain(accel__wandb_output_t *output);

/* ---- capture.c: the streams stdout and stderr of the C library ---- */

/* From here on `output` is handed what the program prints; false: too many runs at once. */
bool accel__wandb_capture_begin(accel__wandb_output_t *output);
void accel__wandb_capture_end(accel__wandb_output_t *output);
/* A line of ours, to the real stderr and into the record of whoever is recording. Unlike the
 * program's own it is never waited for: whoever says it may hold a run's lock. */
void accel__wandb_capture_say(const char *line);

/* ---- iostream.c ---- */

/* Those of std::cout, std::cerr and std::clog that are C's stream `from` in another dress print to
 * `to` from here on. Nothing of theirs waits in between. */
void accel__wandb_iostream_move(bool is_stderr, FILE *from, FILE *to);

#endif
