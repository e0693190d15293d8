/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of control groups, version 2 and 1: a container or a job has fewer processors and less
 * memory than its machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

/* A hierarchy: where it is mounted, which of its directories is there, and the process's own. */
typedef struct {
    char mount[2048], root[1024], group[1024];
} hierarchy_t;

/* "4:memory:/path", or "0::/path" of version 2, whose `controller` is "". */
static bool find_group(const char *groups, const char *controller, char *group, size_t size)
{
    size_t length = strlen(controller);
    for (const char *line = groups; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        for (const char *name = names + 1; name <= path; name += strcspn(name, ",:") + 1) {
            if (strcspn(name, ",:") != length || strncmp(name, controller, length) != 0)
                continue;
            snprintf(group, size, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
            return true;
        }
    }
    return false;
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at && *at; at += strspn(at, ",")) {
        size_t here = strcspn(at, ", \n");
        if (here == length && !strncmp(at, word, length))
            return true;
        at += here;
        if (*at != ',')
            break;
    }
    return false;
}

/* A line of mountinfo: id, parent, device, root, mount point, ..., "-", type, source, options. */
static bool find_mount(const char *mounts, const char *controller, hierarchy_t *found)
{
    for (const char *line = mounts; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char type[32] = "", options[256] = "";
        const char *dash = strstr(line, " - "), *end = strchrnul(line, '\n');
        if (!dash || dash > end || sscanf(dash, " - %31s %*s %255s", type, options) != 2)
            continue;
        bool ours = *controller ? !strcmp(type, "cgroup") && has_word(options, controller)
                                : !strcmp(type, "cgroup2");
        if (ours && sscanf(line, "%*s %*s %*s %1023s %2047s", found->root, found->mount) == 2)
            return true;
    }
    return false;
}

/* The directory of the process's own group. In a container the mount may show a part only. */
static bool find_directory(const char *groups, const char *mounts, const char *controller,
                           accel__wandb_text_t *path, size_t *top)
{
    hierarchy_t *found = calloc(1, sizeof(*found));
    bool good = found && find_group(groups, controller, found->group, sizeof(found->group)) &&
                find_mount(mounts, controller, found);
    if (good) {
        size_t root = strcmp(found->root, "/") ? strlen(found->root) : 0;
        bool below = !strncmp(found->group, found->root, root);
        accel__wandb_text_puts(path, found->mount);
        *top = path->length;
        accel__wandb_text_puts(path, below ? found->group + root : "");
        while (path->length > *top && path->data[path->length - 1] == '/')
            path->data[--path->length] = '\0';
    }
    free(found);
    return good && !path->failed;
}

static char *read_value(const accel__wandb_text_t *directory, const char *name)
{
    char *path = accel__wandb_join(directory->data, name);
    char *text = path ? accel__wandb_read_proc(path) : NULL;
    free(path);
    return text;
}

static double read_number(const accel__wandb_text_t *directory, const char *name)
{
    char *text = read_value(directory, name);
    double number = text ? strtod(text, NULL) : 0; /* "max" is none: 0 */
    free(text);
    return number;
}

typedef struct {
    const char *memory_limit, *memory_used;
} names_t;

static void take_memory(const accel__wandb_text_t *directory, const names_t *names,
                        accel__wandb_limits_t *limits)
{
    enum { NO_LIMIT_BITS = 60 }; /* version 1 says "as much as a page counter can hold" */
    double limit = read_number(directory, names->memory_limit);
    if (limit <= 0 || limit >= (double)(UINT64_C(1) << NO_LIMIT_BITS))
        return;
    if (limits->memory_limit && (double)limits->memory_limit <= limit)
        return;
    limits->memory_limit = (uint64_t)limit;
    limits->memory_used = (uint64_t)read_number(directory, names->memory_used);
}

static void take_cores(double quota, double period, accel__wandb_limits_t *limits)
{
    double cores = quota > 0 && period > 0 ? quota / period : 0;
    if (cores > 0 && (limits->cores == 0 || cores < limits->cores))
        limits->cores = cores;
}

static void take_v2(const accel__wandb_text_t *directory, accel__wandb_limits_t *limits)
{
    static const names_t names = {"memory.max", "memory.current"};
    char *text = read_value(directory, "cpu.max"), *rest = text;
    if (text) {
        double quota = strtod(text, &rest);
        take_cores(quota, strtod(rest, NULL), limits);
    }
    free(text);
    take_memory(directory, &names, limits);
}

static void take_v1_memory(const accel__wandb_text_t *directory, accel__wandb_limits_t *limits)
{
    static const names_t names = {"memory.limit_in_bytes", "memory.usage_in_bytes"};
    take_memory(directory, &names, limits);
}

static void take_v1_cpu(const accel__wandb_text_t *directory, accel__wandb_limits_t *limits)
{
    take_cores(read_number(directory, "cpu.cfs_quota_us"),
               read_number(directory, "cpu.cfs_period_us"), limits);
}

accel__wandb_limits_t accel__wandb_cgroup_limits(const char *groups, const char *mounts)
{
    static const struct {
        const char *controller;
        void (*take)(const accel__wandb_text_t *directory, accel__wandb_limits_t *limits);
    } kinds[] = {{"", take_v2}, {"memory", take_v1_memory}, {"cpu", take_v1_cpu}};
    accel__wandb_limits_t limits = {0};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        accel__wandb_text_t path = {0};
        size_t top = 0;
        bool more = find_directory(groups, mounts, kinds[i].controller, &path, &top);
        while (more) {
            kinds[i].take(&path, &limits);
            char *slash = path.length > top ? strrchr(path.data + top, '/') : NULL;
            more = slash != NULL;
            if (slash) {
                *slash = '\0';
                path.length = (size_t)(slash - path.data);
            }
        }
        accel__wandb_text_free(&path);
    }
    return limits;
}

accel__wandb_limits_t accel__wandb_cgroup_now(void)
{
    char *groups = accel__wandb_read_proc("/proc/self/cgroup");
    char *mounts = accel__wandb_read_proc("/proc/self/mountinfo");
    accel__wandb_limits_t limits = accel__wandb_cgroup_limits(groups, mounts);
    free(groups);
    free(mounts);
    return limits;
}
