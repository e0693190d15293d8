/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"

char *accel__wandb_read_proc(const char *path)
{
    return accel__wandb_read_small(path, 4 << 20);
}

/* /proc/PID/stat: the name may hold blanks and parentheses; the rest is numbers. */
static bool add_process(pid_t pid, accel__wandb_usage_t *usage)
{
    enum { STATE = 3, UTIME = 14, STIME = 15, THREADS = 20, RSS = 24 };
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    char *text = accel__wandb_read_proc(path), *at = text ? strrchr(text, ')') : NULL;
    double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    int field = STATE - 1;
    for (at = at ? strchr(at, ' ') : NULL; at && field < RSS; at = strchr(at + 1, ' ')) {
        double value = ++field == STATE ? 0 : strtod(at + 1, NULL);
        if (field == UTIME || field == STIME)
            usage->cpu_seconds += value / ticks;
        else if (field == THREADS)
            usage->threads += value;
        else if (field == RSS)
            usage->rss += value * page;
    }
    free(text);
    return field == RSS;
}

/* The kernel lists a process's children by the thread that made them. */
static size_t add_children(pid_t pid, pid_t *pids, size_t count)
{
    char path[512];
    snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0]))
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/task/%s/children", (long)pid, task->d_name);
        char *text = accel__wandb_read_proc(path), *rest = text, *word;
        while (count < ACCEL__WANDB_MAX_TREE && (word = strsep(&rest, " \n"))) {
            if (*word)
                pids[count++] = (pid_t)strtol(word, NULL, 10);
        }
        free(text);
    }
    if (tasks)
        closedir(tasks);
    return count;
}

size_t accel__wandb_process_tree(pid_t pid, pid_t pids[ACCEL__WANDB_MAX_TREE])
{
    size_t count = 0;
    pids[count++] = pid;
    for (size_t i = 0; i < count; i++)
        count = add_children(pids[i], pids, count);
    return count;
}

bool accel__wandb_process_usage(pid_t pid, bool tree, accel__wandb_usage_t *usage)
{
    *usage = (accel__wandb_usage_t){0};
    if (!add_process(pid, usage))
        return false;
    pid_t *pids = tree ? calloc(ACCEL__WANDB_MAX_TREE, sizeof(*pids)) : NULL;
    size_t count = pids ? accel__wandb_process_tree(pid, pids) : 0;
    for (size_t i = 1; i < count; i++)
        (void)add_process(pids[i], usage); /* it may just have ended */
    free(pids);
    return true;
}
