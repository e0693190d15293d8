/* SPDX-License-Identifier: Apache-2.0 */
/* The half of a benchmark that is equal in all of its programs: the driver says when to measure,
 * so that two programs take turns, and rank 0 gives it the samples.
 *
 *     round_open(rank);
 *     while (round_next()) {
 *         ... for each sample: round_sample(seconds) ...
 *     }
 *     return round_close();
 *
 * The driver's folder is in BENCH_DIR: every rank reads its turns from the pipe go.RANK there,
 * rank 0 writes to the pipe out. Without BENCH_DIR there is one turn, and the samples go to
 * standard output: a program can be run by hand. */
#ifndef BENCH_ROUND_H
#define BENCH_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void round_open(int rank);

/* Wait for the next turn; false when there are no more. */
bool round_next(void);

/* Seconds for what is measured; kept by rank 0, sent at the end of the turn. */
void round_sample(double seconds);

/* The exit code. */
int round_close(void);

/* Seconds of the clock that all processes share (CLOCK_MONOTONIC, Python's time.monotonic). */
double round_now(void);

/* argv[index] as a number above zero; ends the program with a message where it is none. */
int64_t round_argument(int argc, char **argv, int index, const char *what);

/* Write to the file `path` that it is now, and how many processes there are. */
void round_mark(const char *path, int processes);

#ifdef __cplusplus
}
#endif

#endif
