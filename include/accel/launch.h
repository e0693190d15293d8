/* SPDX-License-Identifier: Apache-2.0 */
/* Start N processes of a program on this host and look after them: what `accel launch`
 * does, for programs that launch others. */
#ifndef ACCEL_LAUNCH_H
#define ACCEL_LAUNCH_H

#include <accel/options.h>
#include <accel/status.h>

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_launch_options {
    size_t struct_size;
    int32_t num_processes;     /* 0: the CPUs this process may use */
    int32_t threads_per_process; /* OMP_NUM_THREADS; 0: as set, else CPUs / num_processes, at least 1 */
    uint32_t grace_ms;         /* between SIGTERM and SIGKILL; 0: 5,000 */
    bool no_prefix;            /* pass the ranks' output through without "[rank] " */
    bool quiet;                /* no closing report on failure */
} accel_launch_options_t;

ACCEL__OPTIONS_INIT(accel_launch_options)
#define ACCEL_LAUNCH_OPTIONS(...) ACCEL__OPTIONS(accel_launch_options_t, __VA_ARGS__)

/* Run argv[0] (looked up in PATH), NULL-terminated, num_processes times, and wait for all.
 *
 * Each process gets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR,
 * MASTER_PORT, ACCEL_JOB_ID and OMP_NUM_THREADS, a process group of its own, and standard
 * output and error that are passed on whole line by whole line to this process's.
 * Standard input goes to rank 0. When a process fails, the others get SIGTERM, after
 * grace_ms SIGKILL, and the first failure is reported on standard error with its rank,
 * signal or exit code and last lines. SIGINT and SIGTERM are forwarded; while the call
 * runs they, SIGHUP and SIGCHLD are blocked in the calling thread and taken from a
 * descriptor, and restored after. When this process is killed, a guard ends the ranks.
 *
 * *exit_code is 0, the first failing process's code, or 128 + the signal that ended it.
 * The status is an error only if the processes could not be started. Call it from a
 * process with one thread. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_launch(const accel_launch_options_t *options,
                                                      char *const *argv, int *exit_code);

#ifdef __cplusplus
}
#endif

#endif
