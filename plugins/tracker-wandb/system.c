/* SPDX-License-Identifier: Apache-2.0 */
/* The environment records: first what the program is, then what the machine has. */
#include <gnu/libc-version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "apikey.h"
#include "monitor/sample.h"
#include "run.h"

static char *keep(accel__wandb_run_t *run, const char *text)
{
    return accel__wandb_arena_copy(&run->arena, text, strlen(text));
}

/* As Python's platform.platform() says it. */
static char *os_text(accel__wandb_run_t *run)
{
    struct utsname system;
    if (uname(&system) < 0)
        return NULL;
    char text[512];
    snprintf(text, sizeof(text), "%s-%s-%s-with-glibc%s", system.sysname, system.release,
             system.machine, gnu_get_libc_version());
    return keep(run, text);
}

static char *executable_path(accel__wandb_run_t *run)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return length < 0 ? NULL : accel__wandb_arena_copy(&run->arena, path, (size_t)length);
}

/* A key given on the command line, or to a job, is not written down. */
static char *without_key(accel__wandb_run_t *run, const char *text, const char *key)
{
    char *copy = keep(run, text);
    size_t length = key ? strlen(key) : 0;
    for (char *at = copy; at && length && (at = strstr(at, key)); at += length)
        memset(at, '*', length);
    return copy;
}

/* /proc/self/cmdline: texts, each ended by a NUL; the first is the program. */
static void put_arguments(accel__wandb_run_t *run, Wandb__EnvironmentRecord *record,
                          const char *key)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    accel__wandb_text_t text = {0};
    char piece[4096];
    for (size_t got = 1; file && got;) {
        got = fread(piece, 1, sizeof(piece), file);
        accel__wandb_text_append(&text, piece, got);
    }
    if (file)
        fclose(file);
    size_t count = 0;
    for (size_t i = 0; i < text.length; i++)
        count += text.data[i] == '\0';
    record->args = count > 1 ? accel__wandb_arena_take(&run->arena, count * sizeof(char *)) : NULL;
    const char *at = text.data;
    for (size_t i = 0; record->args && i < count; i++, at += strlen(at) + 1) {
        if (i > 0)
            accel__wandb_put(run, &record->args[record->n_args++], without_key(run, at, key));
    }
    accel__wandb_text_free(&text);
}

static Wandb__EnvironmentRecord *new_environment(accel__wandb_run_t *run)
{
    Wandb__EnvironmentRecord *record =
        accel__wandb_new(run, &wandb__environment_record__descriptor);
    accel__wandb_put(run, &record->writer_id, run->writer_id);
    return record;
}

static void emit(accel__wandb_run_t *run, Wandb__EnvironmentRecord *environment)
{
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    record->environment = environment;
    accel__wandb_emit(run, record, false);
}

/* Slurm's variables, lower case, without their prefix. */

enum { MAX_SLURM = 256 };

typedef struct {
    accel__wandb_run_t *run;
    Wandb__EnvironmentRecord *record;
    const char *key;
} slurm_t;

static void take_slurm(void *context, const char *name, size_t length, const char *value)
{
    slurm_t *slurm = context;
    accel__wandb_run_t *run = slurm->run;
    Wandb__EnvironmentRecord *record = slurm->record;
    if (!record->slurm)
        record->slurm = accel__wandb_arena_take(&run->arena, MAX_SLURM * sizeof(*record->slurm));
    if (!record->slurm || record->n_slurm == MAX_SLURM)
        return;
    size_t prefix = strlen("SLURM_");
    char *key = accel__wandb_arena_copy(&run->arena, name + prefix, length - prefix);
    for (char *c = key; c && *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    Wandb__TextPair *pair = accel__wandb_new(run, &wandb__text_pair__descriptor);
    accel__wandb_put(run, &pair->key, key);
    accel__wandb_put(run, &pair->value, without_key(run, value, slurm->key));
    record->slurm[record->n_slurm++] = pair;
}

static void emit_program(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    Wandb__EnvironmentRecord *record = new_environment(run);
    char *program = executable_path(run), *key = NULL;
    (void)accel__wandb_api_key_find(settings, &key); /* that in netrc, too */
    accel__wandb_put(run, &record->os, os_text(run));
    record->started_at = accel__wandb_timestamp(run, run->started_at);
    accel__wandb_put(run, &record->docker, settings->docker);
    put_arguments(run, record, key);
    accel__wandb_put(run, &record->program, settings->program ? settings->program : program);
    accel__wandb_put(run, &record->executable,
                     settings->executable ? settings->executable : program);
    record->git = accel__wandb_git_record(run);
    accel__wandb_put(run, &record->email, settings->email);
    accel__wandb_put(run, &record->root, settings->root_dir);
    accel__wandb_put(run, &record->host, settings->host);
    accel__wandb_put(run, &record->username, settings->username);
    accel__wandb_environ("SLURM_", take_slurm, &(slurm_t){run, record, key});
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    emit(run, record);
}

/* ---- the machine ---- */

typedef struct {
    unsigned logical, physical;
    char model[128];
} cpu_t;

static const char *value_of(const char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0)
        return NULL;
    line += length + strspn(line + length, " \t");
    return *line == ':' ? line + 1 + strspn(line + 1, " ") : NULL;
}

/* Cores are told apart by package and number; a kernel that names neither counts as one each. */
static void add_core(unsigned (*cores)[2], unsigned *count, unsigned package, unsigned core)
{
    for (unsigned i = 0; i < *count; i++) {
        if (cores[i][0] == package && cores[i][1] == core)
            return;
    }
    cores[*count][0] = package;
    cores[(*count)++][1] = core;
}

enum { MAX_CORES = 4096 };

static cpu_t read_cpu(void)
{
    cpu_t cpu = {0};
    unsigned(*cores)[2] = calloc(MAX_CORES, sizeof(*cores));
    unsigned package = 0;
    char line[1024];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && cores && fgets(line, sizeof(line), file)) {
        const char *model = value_of(line, "model name"), *id = value_of(line, "physical id");
        const char *core = value_of(line, "core id");
        if (model && !cpu.model[0])
            snprintf(cpu.model, sizeof(cpu.model), "%.*s", (int)strcspn(model, "\r\n"), model);
        if (id)
            package = (unsigned)strtoul(id, NULL, 10);
        if (core && cpu.physical < MAX_CORES)
            add_core(cores, &cpu.physical, package, (unsigned)strtoul(core, NULL, 10));
    }
    if (file)
        fclose(file);
    free(cores);
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        cpu.logical = (unsigned)CPU_COUNT(&allowed);
    else
        cpu.logical = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (!cpu.physical)
        cpu.physical = cpu.logical;
    return cpu;
}

double accel__wandb_cpu_count(void)
{
    return read_cpu().physical;
}

static uint64_t read_memory(void)
{
    char line[256];
    uint64_t total = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && !total && fgets(line, sizeof(line), file)) {
        const char *value = value_of(line, "MemTotal");
        if (value)
            total = strtoull(value, NULL, 10) * 1024;
    }
    if (file)
        fclose(file);
    return total;
}

static void put_disks(accel__wandb_run_t *run, Wandb__EnvironmentRecord *record)
{
    const accel__wandb_names_t *paths = &run->settings.stats_disk_paths;
    record->disk = accel__wandb_arena_take(&run->arena, paths->count * sizeof(*record->disk));
    for (size_t i = 0; record->disk && i < paths->count; i++) {
        struct statvfs disk;
        if (statvfs(paths->names[i], &disk) < 0)
            continue;
        Wandb__DiskPair *pair = accel__wandb_new(run, &wandb__disk_pair__descriptor);
        accel__wandb_put(run, &pair->key, paths->names[i]);
        pair->value = accel__wandb_new(run, &wandb__disk_info__descriptor);
        pair->value->total = (uint64_t)disk.f_blocks * disk.f_frsize;
        pair->value->used = (uint64_t)(disk.f_blocks - disk.f_bfree) * disk.f_frsize;
        record->disk[record->n_disk++] = pair;
    }
}

static Wandb__GpuNvidiaInfo *describe_gpu(accel__wandb_run_t *run, const accel__wandb_gpu_t *gpu)
{
    Wandb__GpuNvidiaInfo *info = accel__wandb_new(run, &wandb__gpu_nvidia_info__descriptor);
    accel__wandb_put(run, &info->name, keep(run, gpu->name));
    accel__wandb_put(run, &info->architecture, gpu->architecture);
    accel__wandb_put(run, &info->uuid, gpu->uuid[0] ? keep(run, gpu->uuid) : NULL);
    info->memory_total = gpu->memory_total;
    info->cuda_cores = gpu->cores;
    return info;
}

static void put_gpus(accel__wandb_run_t *run, Wandb__EnvironmentRecord *record,
                     const accel__wandb_nvml_t *nvml)
{
    unsigned count = accel__wandb_nvml_count(nvml);
    char version[32];
    record->gpu_count = count;
    record->gpu_nvidia = accel__wandb_arena_take(&run->arena, count * sizeof(*record->gpu_nvidia));
    for (unsigned i = 0; record->gpu_nvidia && i < count; i++) {
        accel__wandb_gpu_t gpu;
        if (!accel__wandb_nvml_describe(nvml, i, &gpu))
            continue;
        record->gpu_nvidia[record->n_gpu_nvidia++] = describe_gpu(run, &gpu);
        if (i == 0)
            accel__wandb_put(run, &record->gpu_type, keep(run, gpu.name));
    }
    if (accel__wandb_nvml_cuda_version(nvml, version, sizeof(version)))
        accel__wandb_put(run, &record->cuda_version, keep(run, version));
}

void accel__wandb_emit_machine(accel__wandb_run_t *run, const struct accel__wandb_nvml *nvml)
{
    Wandb__EnvironmentRecord *record = new_environment(run);
    cpu_t cpu = read_cpu();
    record->cpu_count = cpu.physical;
    record->cpu_count_logical = cpu.logical;
    if (cpu.model[0]) {
        record->cpu = accel__wandb_new(run, &wandb__cpu_info__descriptor);
        accel__wandb_put(run, &record->cpu->model, keep(run, cpu.model));
    }
    put_disks(run, record);
    record->memory = accel__wandb_new(run, &wandb__memory_info__descriptor);
    record->memory->total = read_memory();
    if (nvml)
        put_gpus(run, record, nvml);
    emit(run, record);
}

void accel__wandb_emit_environment(accel__wandb_run_t *run)
{
    emit_program(run);
    if (!run->settings.disable_machine_info && !accel__wandb_nvml_present())
        accel__wandb_emit_machine(run, NULL);
}
