/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include <dirent.h>
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <accel/plugin/tracker_v1.h>
#include <accel/version.h>

/* ---- the list ---- */

void facts_add(facts_t *facts, const char *name, const char *format, ...)
{
    fact_t *items, fact = {0};
    va_list arguments;
    int length;

    if (facts->failed)
        return;
    va_start(arguments, format);
    length = vasprintf(&fact.value, format, arguments);
    va_end(arguments);
    if (length < 0)
        fact.value = NULL;
    /* One fact, one line. */
    for (char *c = fact.value; c && *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    fact.name = strdup(name);
    items = reallocarray(facts->items, facts->count + 1, sizeof(*items));
    if (items)
        facts->items = items;
    if (!items || !fact.name || !fact.value) {
        facts->failed = true;
        free(fact.name);
        free(fact.value);
        return;
    }
    facts->items[facts->count++] = fact;
}

void facts_fini(facts_t *facts)
{
    for (size_t i = 0; i < facts->count; i++) {
        free(facts->items[i].name);
        free(facts->items[i].value);
    }
    free(facts->items);
}

/* ---- reading the system's files ---- */

/* The first line that begins with `key`, without it, leading blanks and quotes. */
static bool read_line(const char *path, const char *key, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    bool found = false;
    char line[512];

    if (!file)
        return false;
    while (!found && fgets(line, sizeof(line), file)) {
        const char *value = line + strlen(key);

        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        value += strspn(value, " \t:=\"");
        snprintf(text, size, "%.*s", (int)strcspn(value, "\"\n"), value);
        found = true;
    }
    fclose(file);
    return found;
}

static void add_line(facts_t *facts, const char *name, const char *path, const char *key)
{
    char text[512];

    if (read_line(path, key, text, sizeof(text)))
        facts_add(facts, name, "%s", text);
}

/* ---- the system ---- */

/* "0-3,8": the CPUs of a set. */
static void describe_set(const cpu_set_t *set, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < CPU_SETSIZE && used + 16 < size; i++) {
        size_t last = i;

        if (!CPU_ISSET(i, set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        used += (size_t)snprintf(text + used, size - used, last > i ? "%s%zu-%zu" : "%s%zu",
                                 used ? "," : "", i, last);
        i = last;
    }
}

static void add_cpus(facts_t *facts)
{
    char usable[256];
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        facts_add(facts, "cpus", "%ld online", sysconf(_SC_NPROCESSORS_ONLN));
        return;
    }
    describe_set(&set, usable, sizeof(usable));
    facts_add(facts, "cpus", "%ld online, %d usable (%s)", sysconf(_SC_NPROCESSORS_ONLN),
              CPU_COUNT(&set), usable);
}

void facts_add_system(facts_t *facts)
{
    struct utsname name;

    add_line(facts, "system", "/etc/os-release", "PRETTY_NAME=");
    if (uname(&name) == 0)
        facts_add(facts, "kernel", "%s %s %s", name.sysname, name.release, name.machine);
    facts_add(facts, "libc", "glibc %s", gnu_get_libc_version());
    add_line(facts, "cpu", "/proc/cpuinfo", "model name");
    add_cpus(facts);
    add_line(facts, "memory", "/proc/meminfo", "MemTotal");
    add_line(facts, "memory available", "/proc/meminfo", "MemAvailable");
    add_line(facts, "gpu driver", "/proc/driver/nvidia/version", "NVRM version");
}

/* ---- limits ---- */

/* This process's control group of a controller; "" is that of version 2. */
static bool control_group(const char *controller, char *path, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = false;
    char line[1024];

    if (!file)
        return false;
    while (!found && fgets(line, sizeof(line), file)) {
        char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;

        if (!where)
            continue;
        *where++ = '\0';
        where[strcspn(where, "\n")] = '\0';
        if (strcmp(names + 1, controller) != 0)
            continue;
        snprintf(path, size, "%s", strcmp(where, "/") == 0 ? "" : where);
        found = true;
    }
    fclose(file);
    return found;
}

/* A container sees its own group at the mount's root, whatever the path says. */
static void add_group_limit(facts_t *facts, const char *name, const char *controller,
                            const char *mount, const char *file)
{
    char group[1024], path[2048], text[128];

    if (!control_group(controller, group, sizeof(group)))
        return;
    snprintf(path, sizeof(path), "%s%s/%s", mount, group, file);
    if (!read_line(path, "", text, sizeof(text))) {
        snprintf(path, sizeof(path), "%s/%s", mount, file);
        if (!read_line(path, "", text, sizeof(text)))
            return;
    }
    facts_add(facts, name, "%s", text);
}

static void add_limit(facts_t *facts, const char *name, __rlimit_resource_t resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY)
        facts_add(facts, name, "unlimited");
    else
        facts_add(facts, name, "%llu", (unsigned long long)limit.rlim_cur);
}

void facts_add_limits(facts_t *facts)
{
    const char *unified = "/sys/fs/cgroup";

    add_group_limit(facts, "cgroup memory limit", "", unified, "memory.max");
    add_group_limit(facts, "cgroup cpu quota", "", unified, "cpu.max");
    add_group_limit(facts, "cgroup memory limit", "memory", "/sys/fs/cgroup/memory",
                    "memory.limit_in_bytes");
    add_group_limit(facts, "cgroup cpu quota", "cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us");
    add_limit(facts, "limit open files", RLIMIT_NOFILE);
    add_limit(facts, "limit processes", RLIMIT_NPROC);
    add_limit(facts, "limit locked memory", RLIMIT_MEMLOCK);
    add_limit(facts, "limit core size", RLIMIT_CORE);
}

/* ---- other launchers ---- */

static void add_program(facts_t *facts, const char *name)
{
    const char *directory = getenv("PATH");

    while (directory && *directory) {
        size_t length = strcspn(directory, ":");
        char path[PATH_MAX], real[PATH_MAX];
        int written = snprintf(path, sizeof(path), "%.*s/%s", (int)length, directory, name);

        if (written > 0 && (size_t)written < sizeof(path) && access(path, X_OK) == 0) {
            facts_add(facts, name, "%s", realpath(path, real) ? real : path);
            return;
        }
        directory += length + (directory[length] == ':');
    }
}

void facts_add_programs(facts_t *facts)
{
    static const char *const names[] = {"mpirun", "srun", "torchrun", "accelerate", "wandb"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        add_program(facts, names[i]);
}

/* ---- plugins ---- */

static accel_status_t host_fail(accel_status_t status, const char *format, ...)
{
    (void)format;
    return status;
}

static void host_log(accel_log_level_t level, const char *format, ...)
{
    (void)level;
    (void)format;
}

/* As the library would load it, up to the class. */
static void add_plugin(facts_t *facts, const char *path)
{
    static const accel_host_v1_t host = {.struct_size = sizeof(host),
                                         .fail = host_fail,
                                         .log = host_log,
                                         .version = ACCEL_VERSION};
    const accel_tracker_class_t *tracker_class = NULL;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    accel_tracker_plugin_v1_fn create = NULL;
    const char *state = "loads";
    void *symbol;

    if (!object) {
        facts_add(facts, "plugin", "%s: does not load: %s", path, dlerror());
        return;
    }
    symbol = dlsym(object, ACCEL_TRACKER_PLUGIN_V1);
    memcpy(&create, &symbol, sizeof(create));
    if (!create)
        state = "has no symbol " ACCEL_TRACKER_PLUGIN_V1;
    else if (create(&host, &tracker_class) != ACCEL_OK || !tracker_class)
        state = "loads, and refuses this version";
    facts_add(facts, "plugin", "%s: %s", path, state);
    /* Left loaded: a plugin need not survive being unloaded. */
}

static bool is_plugin(const char *name)
{
    const char *ending = strrchr(name, '.');

    return strncmp(name, "libaccel-tracker-", strlen("libaccel-tracker-")) == 0 && ending &&
           strcmp(ending, ".so") == 0;
}

static void add_plugin_directory(facts_t *facts, const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);

    facts_add(facts, "plugin directory", "%s%s", directory, count < 0 ? " (cannot be read)" : "");
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);

        if (is_plugin(entries[i]->d_name) && length > 0 && (size_t)length < sizeof(path))
            add_plugin(facts, path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* ACCEL_PLUGIN_PATH, then accel/ beside the library. */
void facts_add_plugins(facts_t *facts)
{
    const char *path = getenv("ACCEL_PLUGIN_PATH");
    char directory[PATH_MAX];
    Dl_info library;

    while (path && *path) {
        size_t length = strcspn(path, ":");

        if (length > 0 && length < sizeof(directory)) {
            snprintf(directory, sizeof(directory), "%.*s", (int)length, path);
            add_plugin_directory(facts, directory);
        }
        path += length + (path[length] == ':');
    }
    if (dladdr((const void *)(uintptr_t)accel_version, &library) && library.dli_fname &&
        strrchr(library.dli_fname, '/')) {
        int length = (int)(strrchr(library.dli_fname, '/') - library.dli_fname);

        if (snprintf(directory, sizeof(directory), "%.*s/accel", length, library.dli_fname) > 0)
            add_plugin_directory(facts, directory);
    }
}
