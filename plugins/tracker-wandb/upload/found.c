/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../host.h"
#include "sync.h"

void accel__wandb_logs_free(accel__wandb_logs_t *logs)
{
    for (size_t i = 0; i < logs->count; i++)
        free(logs->paths[i]);
    free(logs->paths);
    *logs = (accel__wandb_logs_t){0};
}

static accel_status_t add(accel__wandb_logs_t *logs, const char *path)
{
    if (logs->count == logs->capacity) {
        size_t capacity = logs->capacity * 2 + 16;
        char **grown = realloc(logs->paths, capacity * sizeof(*grown));
        if (!grown)
            return accel__wandb_fail_memory();
        logs->paths = grown;
        logs->capacity = capacity;
    }
    logs->paths[logs->count] = strdup(path);
    return logs->paths[logs->count++] ? ACCEL_OK : accel__wandb_fail_memory();
}

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

static bool is_log(const char *name)
{
    size_t length = strlen(name);
    return begins(name, "run-") && length > 10 && !strcmp(name + length - 6, ".wandb");
}

static bool is_run_folder(const char *name)
{
    return begins(name, "run-") || begins(name, "offline-run-");
}

/* The date and time in "offline-run-20260102_030405-id" or "run-...": what folders are sorted by.
 */
static const char *date_of(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return begins(name, "offline-") ? name + strlen("offline-") : name;
}

static int by_folder_date(const void *a, const void *b)
{
    return strcmp(date_of(*(char *const *)a), date_of(*(char *const *)b));
}

/* The entries of a folder that are wanted, sorted. */
static accel_status_t list(const char *path, bool (*wanted)(const char *name),
                           accel__wandb_logs_t *entries)
{
    accel_status_t status = ACCEL_OK;
    DIR *folder = opendir(path);
    struct dirent *entry;
    if (!folder)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", path);
    while (!status && (entry = readdir(folder))) {
        if (!wanted(entry->d_name))
            continue;
        char *joined = accel__wandb_join(path, entry->d_name);
        status = joined ? add(entries, joined) : accel__wandb_fail_memory();
        free(joined);
    }
    closedir(folder);
    if (entries->count)
        qsort(entries->paths, entries->count, sizeof(*entries->paths), by_folder_date);
    return status;
}

static accel_status_t find_in_folder(const char *path, accel__wandb_logs_t *logs)
{
    accel__wandb_logs_t folders = {0};
    accel_status_t status = list(path, is_log, logs);
    if (!status && !logs->count)
        status = list(path, is_run_folder, &folders);
    for (size_t i = 0; i < folders.count && !status; i++) {
        accel__wandb_logs_t inner = {0};
        struct stat about;
        if (lstat(folders.paths[i], &about) == 0 && S_ISDIR(about.st_mode))
            status = list(folders.paths[i], is_log, &inner);
        for (size_t j = 0; j < inner.count && !status; j++)
            status = add(logs, inner.paths[j]);
        accel__wandb_logs_free(&inner);
    }
    accel__wandb_logs_free(&folders);
    return status;
}

accel_status_t accel__wandb_logs_find(const char *path, accel__wandb_logs_t *logs)
{
    struct stat about;
    *logs = (accel__wandb_logs_t){0};
    if (stat(path, &about) < 0)
        return accel__wandb_fail_errno(errno == ENOENT ? ACCEL_ERR_NOT_FOUND : ACCEL_ERR_IO, errno,
                                       "cannot read", path);
    accel_status_t status = S_ISDIR(about.st_mode) ? find_in_folder(path, logs) : add(logs, path);
    if (!status && !logs->count)
        status = accel__wandb_fail(ACCEL_ERR_NOT_FOUND,
                                   "wandb: %s holds no run: expected a .wandb log, a run's folder, "
                                   "or a folder of runs",
                                   path);
    if (status)
        accel__wandb_logs_free(logs);
    return status;
}

bool accel__wandb_logs_is_online(const char *log_path)
{
    char *whole = realpath(log_path, NULL), *slash = whole ? strrchr(whole, '/') : NULL;
    bool online = false;
    if (slash) {
        *slash = '\0';
        slash = strrchr(whole, '/');
        online = slash && begins(slash + 1, "run-");
    }
    free(whole);
    return online;
}
