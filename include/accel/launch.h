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

/* The most processes of one launch. */
#define ACCEL_LAUNCH_MAX_PROCESSES 4096

typedef struct accel_launch_options {
    size_t struct_size;
    int32_t num_processes; /* 0: the CPUs this process may use */
    /* OMP_NUM_THREADS; 0: as set, else CPUs / num_processes, at least 1. */
    int32_t threads_per_process;
    uint32_t grace_ms;   /* between the first signal and SIGKILL; 0: 5,000 */
    bool no_prefix;      /* pass the ranks' output through as it is, without "[rank] " */
    bool quiet;          /* no closing report */
    const char *log_dir; /* also write each rank's output to log_dir/rank-N.log; NULL: no */
    /* "NAME=VALUE" entries to set for every rank, ended by NULL; NULL: none. */
    const char *const *environment;
} accel_launch_options_t;

ACCEL__OPTIONS_INIT(accel_launch_options)
#define ACCEL_LAUNCH_OPTIONS(...) ACCEL__OPTIONS(accel_launch_options_t, __VA_ARGS__)

/* Run argv[0] (looked up in PATH), NULL-terminated, num_processes times, and wait for all.
 *
 * Each process gets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR,
 * MASTER_PORT (29500 unless set), ACCEL_JOB_ID and OMP_NUM_THREADS; variables of an outer
 * torchrun or MPI launcher are taken out. It gets a process group of its own, and standard
 * output and error that are passed on whole line by whole line to this process's. Standard
 * input goes to rank 0, unless it is a terminal; all others read /dev/null.
 *
 * When a process fails, the others get SIGTERM, after grace_ms SIGKILL, and the first
 * failure is reported on standard error with its rank, signal or exit code and last lines.
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT are forwarded, with the same grace; a second one
 * kills at once. SIGUSR1 and SIGUSR2 are forwarded and nothing more; SIGTSTP stops the
 * ranks and this process until SIGCONT. While the call runs these and SIGCHLD are blocked
 * in the calling thread and taken from a descriptor, except those that were ignored; all is
 * restored after. A closed standard output stops the job.
 *
 * Whatever is left in the ranks' process groups at the end is killed. When this process is
 * killed itself, a guard process kills the groups.
 *
 * *exit_code is 0 if all processes returned 0; else the first failing one's exit code, or
 * 128 + the signal that killed it; or 128 + the signal that interrupted this call. The
 * status is an error only if the processes could not be started or watched; then *exit_code
 * is what a shell would say: 127 no such program, 126 it cannot be executed, 2 wrong
 * options, else 125. Call it from a process with one thread. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_launch(const accel_launch_options_t *options,
                                                      char *const *argv, int *exit_code);

#ifdef __cplusplus
}
#endif

#endif
