/* SPDX-License-Identifier: Apache-2.0 */
/* Which runs a name on the command line stands for: a log, a run's folder, a folder of runs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "tool.h"

/* From a working directory down to a log: wandb/RUN/LOG, runs/jsonl/PROJECT/RUN, and one to spare.
 */
enum { DEPTH = 5 };

/* ---- files ---- */

bool mapping_open(mapping_t *mapping, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), error = 0;
    struct stat status;
    void *data = NULL;

    *mapping = (mapping_t){(const unsigned char *)"", 0};
    if (fd < 0)
        return false;
    if (fstat(fd, &status) != 0)
        error = errno;
    else if (!S_ISREG(status.st_mode))
        error = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    else if (status.st_size > 0)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        error = errno;
    close(fd);
    errno = error;
    if (!error && data)
        *mapping = (mapping_t){data, (size_t)status.st_size};
    return error == 0;
}

void mapping_close(mapping_t *mapping)
{
    if (mapping->size)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (mapping_t){NULL, 0};
}

/* ---- runs ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Once each: a run may be named and be in a folder that is named. */
static void add(sources_t *sources, const char *path, run_format_t format, bool named)
{
    char *real = realpath(path, NULL);

    if (!real)
        real = need(strdup(path));
    for (size_t i = 0; i < sources->count; i++)
        if (strcmp(sources->items[i].path, real) == 0) {
            free(real);
            return;
        }
    sources->items =
        grow(sources->items, sources->count, &sources->capacity, sizeof(*sources->items));
    sources->items[sources->count++] = (source_t){real, format, named};
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.' || strcmp(entry->d_name, ".wandb") == 0;
}

static int search(sources_t *sources, const char *folder, int depth);

/* The number of runs that an entry of a folder stands for. Links are left aside: latest-run is
 * there twice otherwise. */
static int search_entry(sources_t *sources, const char *folder, const char *name, int depth)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = need(malloc(size));
    struct stat status;
    int found = 0;

    snprintf(path, size, "%s/%s", folder, name);
    if (lstat(path, &status) != 0) {
        free(path);
        return 0;
    }
    if (S_ISDIR(status.st_mode) && depth > 0) {
        found = search(sources, path, depth - 1);
    } else if (S_ISREG(status.st_mode) && ends_with(name, ".wandb")) {
        add(sources, path, RUN_WANDB, false);
        found = 1;
    } else if (S_ISREG(status.st_mode) && strcmp(name, "history.jsonl") == 0) {
        add(sources, folder, RUN_JSONL, false);
        found = 1;
    }
    free(path);
    return found > 0 ? found : 0;
}

/* The number of runs in a folder, or -1 if it cannot be read. Names of runs begin with the date, so
 * that the order of names is the order of time. */
static int search(sources_t *sources, const char *folder, int depth)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_visible, by_name), found = 0;

    if (count < 0)
        return -1;
    for (int i = 0; i < count; i++) {
        found += search_entry(sources, folder, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return found;
}

/* Any file of a folder of JSON lines stands for the run. */
static void add_jsonl_of(sources_t *sources, const char *name)
{
    const char *slash = strrchr(name, '/');
    char *folder = slash ? need(strndup(name, (size_t)(slash - name))) : need(strdup("."));

    add(sources, *folder ? folder : "/", RUN_JSONL, true);
    free(folder);
}

bool sources_find(sources_t *sources, const char *name)
{
    struct stat status;
    int found;

    if (stat(name, &status) != 0) {
        tool_say("report", "%s: %s", name, errno == ENOENT ? "no such run" : strerror(errno));
        return false;
    }
    if (!S_ISDIR(status.st_mode)) {
        if (ends_with(name, "history.jsonl") || ends_with(name, "run.json"))
            add_jsonl_of(sources, name);
        else
            add(sources, name, RUN_WANDB, true);
        return true;
    }
    found = search(sources, name, DEPTH);
    if (found < 0)
        tool_say("report", "%s: %s", name, strerror(errno));
    else if (found == 0)
        tool_say("report", "%s: no runs in this folder: no *.wandb log and no history.jsonl", name);
    return found > 0;
}

void sources_free(sources_t *sources)
{
    for (size_t i = 0; i < sources->count; i++)
        free(sources->items[i].path);
    free(sources->items);
}
