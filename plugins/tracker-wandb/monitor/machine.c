/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "../run.h"
#include "sample.h"

enum { MAX_DISKS = 64, SECTOR = 512 };
static const double MIB = 1024.0 * 1024.0;

typedef struct {
    char name[64];
    double read, written; /* bytes, when the run began */
} disk_t;

typedef struct {
    double sent, received, retransmitted;
} network_t;

struct accel__wandb_machine {
    pid_t pid;
    bool tree, no_cgroup;
    char **paths;
    size_t num_paths;
    double processors;
    double cpu_seconds, cpu_time; /* at the last sample; cpu_time 0: there was none */
    disk_t disks[MAX_DISKS];
    size_t num_disks;
    network_t network;
};

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- memory and processes ---- */

/* A line "NAME:   123 kB" in bytes; 0 if there is none. */
static double meminfo(const char *text, const char *name)
{
    const char *line = text ? strstr(text, name) : NULL;
    return line ? strtod(line + strlen(name), NULL) * 1024 : 0;
}

static double sample_memory(const accel__wandb_limits_t *limits, accel__wandb_sample_t *sample)
{
    char *text = accel__wandb_read_proc("/proc/meminfo");
    double total = meminfo(text, "MemTotal:"), available = meminfo(text, "MemAvailable:");
    free(text);
    if (limits->memory_limit && (double)limits->memory_limit < total) {
        total = (double)limits->memory_limit;
        available = total > (double)limits->memory_used ? total - (double)limits->memory_used : 0;
    }
    if (total > 0) {
        accel__wandb_sample_add(sample, 100 * (total - available) / total, "memory_percent");
        accel__wandb_sample_add(sample, available / MIB, "proc.memory.availableMB");
    }
    return total;
}

/* The share of the processors used since the last sample: none in the first one. */
static void sample_cpu(accel__wandb_machine_t *machine, const accel__wandb_limits_t *limits,
                       double cpu_seconds, accel__wandb_sample_t *sample)
{
    double now = monotonic(), elapsed = now - machine->cpu_time;
    double used = cpu_seconds - machine->cpu_seconds; /* less than before when a child has ended */
    double cores = limits->cores > 0 ? limits->cores : machine->processors;
    if (machine->cpu_time > 0 && elapsed > 0)
        accel__wandb_sample_add(sample, used > 0 ? 100 * used / elapsed / cores : 0, "cpu");
    machine->cpu_time = now;
    machine->cpu_seconds = cpu_seconds;
}

static void sample_process(accel__wandb_machine_t *machine, accel__wandb_sample_t *sample)
{
    accel__wandb_limits_t limits = {0};
    accel__wandb_usage_t usage;
    bool found = accel__wandb_process_usage(machine->pid, machine->tree, &usage);
    if (!machine->no_cgroup)
        limits = accel__wandb_cgroup_now();
    if (found)
        sample_cpu(machine, &limits, usage.cpu_seconds, sample);
    double total = sample_memory(&limits, sample);
    if (!found)
        return;
    accel__wandb_sample_add(sample, usage.rss / MIB, "proc.memory.rssMB");
    if (total > 0)
        accel__wandb_sample_add(sample, 100 * usage.rss / total, "proc.memory.percent");
    accel__wandb_sample_add(sample, usage.threads, "proc.cpu.threads");
}

/* ---- network ---- */

/* /proc/net/dev: "  eth0: bytes ...", eight columns received, eight sent. */
static void add_interface(char *line, network_t *network)
{
    enum { SENT = 8 };
    char *name = line + strspn(line, " "), *colon = strchr(name, ':');
    if (!colon || !strncmp(name, "lo:", 3))
        return;
    char *at = colon + 1;
    for (int i = 0; i <= SENT; i++) {
        double value = strtod(at, &at);
        if (i == 0)
            network->received += value;
        else if (i == SENT)
            network->sent += value;
    }
}

/* /proc/net/snmp: a line "Tcp: NAME NAME ...", then a line "Tcp: NUMBER NUMBER ...". */
static double tcp_retransmitted(void)
{
    char *text = accel__wandb_read_proc("/proc/net/snmp");
    char *names = text ? strstr(text, "Tcp: ") : NULL, *numbers = names, *name, *number;
    double found = 0;
    strsep(&numbers, "\n");
    while ((name = strsep(&names, " ")) && (number = strsep(&numbers, " "))) {
        if (!strcmp(name, "RetransSegs"))
            found = strtod(number, NULL);
    }
    free(text);
    return found;
}

static network_t read_network(void)
{
    network_t network = {.retransmitted = tcp_retransmitted()};
    char *text = accel__wandb_read_proc("/proc/net/dev"), *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        add_interface(line, &network);
    free(text);
    return network;
}

static void sample_network(const accel__wandb_machine_t *machine, accel__wandb_sample_t *sample)
{
    network_t now = read_network(), then = machine->network;
    accel__wandb_sample_add(sample, now.sent - then.sent, "network.sent");
    accel__wandb_sample_add(sample, now.received - then.received, "network.recv");
    accel__wandb_sample_add(sample, now.retransmitted - then.retransmitted,
                            "network.tcpRetransmits");
}

/* ---- disks ---- */

/* A line of /proc/diskstats: numbers of the device, its name, then eleven and more counters. */
static bool parse_disk(const char *line, unsigned *major_number, unsigned *minor_number,
                       disk_t *disk)
{
    unsigned long long sectors_read, sectors_written;
    if (sscanf(line, "%u %u %63s %*u %*u %llu %*u %*u %*u %llu", major_number, minor_number,
               disk->name, &sectors_read, &sectors_written) != 5)
        return false;
    disk->read = (double)sectors_read * SECTOR;
    disk->written = (double)sectors_written * SECTOR;
    return true;
}

static bool is_pseudo(const char *name)
{
    return !strncmp(name, "loop", 4) || !strncmp(name, "ram", 3) || !strncmp(name, "zram", 4);
}

static bool holds_path(const accel__wandb_machine_t *machine, unsigned major_number,
                       unsigned minor_number)
{
    for (size_t i = 0; i < machine->num_paths; i++) {
        struct stat info;
        if (stat(machine->paths[i], &info) == 0 && major(info.st_dev) == major_number &&
            minor(info.st_dev) == minor_number)
            return true;
    }
    return false;
}

/* The devices that hold the paths; where none is known by number (an overlay, a volume), all. */
static void find_disks(accel__wandb_machine_t *machine)
{
    char *text = accel__wandb_read_proc("/proc/diskstats");
    for (int all = 0; text && all < 2 && !machine->num_disks; all++) {
        for (char *line = text; line && machine->num_disks < MAX_DISKS;) {
            unsigned major_number, minor_number;
            disk_t disk;
            if (parse_disk(line, &major_number, &minor_number, &disk) &&
                (all ? !is_pseudo(disk.name) : holds_path(machine, major_number, minor_number)))
                machine->disks[machine->num_disks++] = disk;
            line = strchr(line, '\n');
            line += line != NULL;
        }
    }
    free(text);
}

static void sample_disks(const accel__wandb_machine_t *machine, accel__wandb_sample_t *sample)
{
    char *text = accel__wandb_read_proc("/proc/diskstats"), *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        unsigned major_number, minor_number;
        disk_t now;
        if (!parse_disk(line, &major_number, &minor_number, &now))
            continue;
        for (size_t i = 0; i < machine->num_disks; i++) {
            const disk_t *then = &machine->disks[i];
            if (strcmp(then->name, now.name) != 0)
                continue;
            accel__wandb_sample_add(sample, (now.read - then->read) / MIB, "disk.%s.in", now.name);
            accel__wandb_sample_add(sample, (now.written - then->written) / MIB, "disk.%s.out",
                                    now.name);
        }
    }
    free(text);
}

/* As df counts: what only root may use is not there. */
static void sample_usage(const accel__wandb_machine_t *machine, accel__wandb_sample_t *sample)
{
    for (size_t i = 0; i < machine->num_paths; i++) {
        const char *path = machine->paths[i];
        struct statvfs disk;
        if (statvfs(path, &disk) < 0)
            continue;
        double used = (double)(disk.f_blocks - disk.f_bfree), free_blocks = (double)disk.f_bavail;
        if (used + free_blocks > 0)
            accel__wandb_sample_add(sample, 100 * used / (used + free_blocks),
                                    "disk.%s.usagePercent", path);
        accel__wandb_sample_add(sample, used * (double)disk.f_frsize / MIB / 1024,
                                "disk.%s.usageGB", path);
    }
}

/* ---- the whole ---- */

/* A copy of what is wanted: a thread that hangs in a dead file system may outlive the run. */
accel__wandb_machine_t *accel__wandb_machine_create(const accel__wandb_settings_t *settings)
{
    const accel__wandb_names_t *paths = &settings->stats_disk_paths;
    accel__wandb_machine_t *machine = calloc(1, sizeof(*machine));
    if (!machine)
        return NULL;
    machine->pid = settings->stats_pid > 0 ? (pid_t)settings->stats_pid : getpid();
    machine->tree = settings->stats_track_process_tree;
    machine->no_cgroup = settings->stats_no_cgroup;
    machine->paths = calloc(paths->count + 1, sizeof(*machine->paths));
    for (size_t i = 0; machine->paths && i < paths->count; i++) {
        machine->paths[i] = strdup(paths->names[i]);
        if (!machine->paths[i])
            break;
        machine->num_paths++;
    }
    machine->processors = accel__wandb_cpu_count();
    machine->network = read_network();
    find_disks(machine);
    return machine;
}

void accel__wandb_machine_sample(accel__wandb_machine_t *machine, accel__wandb_sample_t *sample)
{
    sample_process(machine, sample);
    sample_network(machine, sample);
    sample_disks(machine, sample);
    sample_usage(machine, sample);
}

void accel__wandb_machine_destroy(accel__wandb_machine_t *machine)
{
    if (!machine)
        return;
    for (size_t i = 0; i < machine->num_paths; i++)
        free(machine->paths[i]);
    free(machine->paths);
    free(machine);
}
