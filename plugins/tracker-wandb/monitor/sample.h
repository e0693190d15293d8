/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured at one moment, under stock's keys, and who measures it. A source that fails
 * leaves its keys out. */
#ifndef ACCEL_TRACKER_WANDB_SAMPLE_H
#define ACCEL_TRACKER_WANDB_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../settings.h"

typedef struct {
    char *key;
    double value;
} accel__wandb_measure_t;

/* Start from {0}. A measure there is no memory for is left out. */
typedef struct {
    accel__wandb_measure_t *measures;
    size_t count, capacity;
} accel__wandb_sample_t;

void accel__wandb_sample_add(accel__wandb_sample_t *sample, double value, const char *format, ...)
    ACCEL_PRINTF(3, 4);
void accel__wandb_sample_free(accel__wandb_sample_t *sample);

/* ---- process.c ---- */

enum { ACCEL__WANDB_MAX_TREE = 4096 };

typedef struct {
    double cpu_seconds;  /* used so far */
    double threads, rss; /* rss: bytes */
} accel__wandb_usage_t;

/* The process and, with `tree`, its descendants. False if it is not there. */
bool accel__wandb_process_usage(pid_t pid, bool tree, accel__wandb_usage_t *usage);
/* The process and its descendants; returns how many. */
size_t accel__wandb_process_tree(pid_t pid, pid_t pids[ACCEL__WANDB_MAX_TREE]);

/* ---- cgroup.c ---- */

/* What the control groups of this process allow; 0: no limit. */
typedef struct {
    double cores;
    uint64_t memory_limit, memory_used;
} accel__wandb_limits_t;

/* By the texts of /proc/self/cgroup and /proc/self/mountinfo. The tightest limit counts, of the
 * process's own group and of those above it. */
accel__wandb_limits_t accel__wandb_cgroup_limits(const char *groups, const char *mounts);
/* The same, of this process. */
accel__wandb_limits_t accel__wandb_cgroup_now(void);

/* ---- machine.c: processors, memory, disks, network ---- */

typedef struct accel__wandb_machine accel__wandb_machine_t;

/* Counters of disks and network are counted from here. NULL without memory. */
accel__wandb_machine_t *accel__wandb_machine_create(const accel__wandb_settings_t *settings);
void accel__wandb_machine_sample(accel__wandb_machine_t *machine, accel__wandb_sample_t *sample);
void accel__wandb_machine_destroy(accel__wandb_machine_t *machine);

/* A file below /proc or /sys as text, to free(); NULL if it cannot be read. */
char *accel__wandb_read_proc(const char *path);

/* ---- nvml.c: NVIDIA's GPUs, by libnvidia-ml.so.1 ---- */

typedef struct accel__wandb_nvml accel__wandb_nvml_t;

typedef struct {
    char name[96], uuid[96];
    const char *architecture; /* NULL: unknown */
    uint64_t memory_total;
    unsigned cores;
} accel__wandb_gpu_t;

/* Is there such a library? */
bool accel__wandb_nvml_present(void);
/* NULL: there is none, or no such GPU. Takes up to some seconds. */
accel__wandb_nvml_t *accel__wandb_nvml_open(void);
unsigned accel__wandb_nvml_count(const accel__wandb_nvml_t *nvml);
bool accel__wandb_nvml_describe(const accel__wandb_nvml_t *nvml, unsigned index,
                                accel__wandb_gpu_t *gpu);
/* "12.8"; false if the driver does not tell. */
bool accel__wandb_nvml_cuda_version(const accel__wandb_nvml_t *nvml, char *text, size_t size);
void accel__wandb_nvml_sample(accel__wandb_nvml_t *nvml, pid_t pid, accel__wandb_sample_t *sample);
void accel__wandb_nvml_close(accel__wandb_nvml_t *nvml);

#endif
