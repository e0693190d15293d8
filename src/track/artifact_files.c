/* SPDX-License-Identifier: Apache-2.0 */
/* From the file system into an artifact: paths, files, directories. */
#include "track/artifact.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- entries ---- */

static void free_entry(const accel_artifact_entry_t *entry)
{
    free((char *)entry->path);
    free((char *)entry->local_path);
    free((char *)entry->reference);
    free((char *)entry->digest);
}

accel_status_t accel__entries_add(accel__entries_t *entries, const accel_artifact_entry_t *entry)
{
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? 2 * entries->capacity : 8;
        accel_artifact_entry_t *items = realloc(entries->items, capacity * sizeof(*items));

        if (!items) {
            free_entry(entry);
            return accel__fail_memory("entries of an artifact", capacity * sizeof(*items));
        }
        entries->items = items;
        entries->capacity = capacity;
    }
    entries->items[entries->count++] = *entry;
    return ACCEL_OK;
}

void accel__entries_free(accel__entries_t *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free_entry(&entries->items[i]);
    free(entries->items);
    *entries = (accel__entries_t){0};
}

accel_status_t accel__entries_refer(accel_artifact_entry_t *entry, const char *uri,
                                    const char *below)
{
    accel__text_t whole = {0};
    bool slash = below && (!*uri || uri[strlen(uri) - 1] != '/');

    accel__text_appendf(&whole, "%s%s%s", uri, slash ? "/" : "", below ? below : "");
    entry->reference = whole.data;
    entry->digest = accel__strdup(whole.data);
    free((char *)entry->local_path);
    entry->local_path = NULL;
    return whole.failed || !entry->digest ? accel__fail_memory("a reference", whole.length)
                                          : ACCEL_OK;
}

/* ---- paths ---- */

static accel_status_t check_utf8(const char *path)
{
    const accel_item_t item[] = {accel_item_string("path", path), accel_item_end()};

    return accel__dict_check(item, path);
}

/* Copies the components of `path` that are not "" or "."; false if one is "..". */
static bool copy_components(const char *path, char *out)
{
    char *at = out;

    while (*path) {
        size_t length = strcspn(path, "/");

        if (length == 2 && strncmp(path, "..", 2) == 0)
            return false;
        if (length > 0 && !(length == 1 && *path == '.')) {
            if (at != out)
                *at++ = '/';
            memcpy(at, path, length);
            at += length;
        }
        path += length;
        path += *path == '/';
    }
    *at = '\0';
    return true;
}

accel_status_t accel__artifact_clean_path(const char *path, char **clean)
{
    accel_status_t status = check_utf8(path);
    char *out;

    *clean = NULL;
    if (status != ACCEL_OK)
        return status;
    out = malloc(strlen(path) + 1);
    if (!out)
        return accel__fail_memory("a path", strlen(path) + 1);
    if (*path == '/' || !copy_components(path, out) || *out == '\0') {
        free(out);
        return accel__fail(ACCEL_ERR_INVALID,
                           "artifact: the path '%s' is not inside the artifact; expected one "
                           "without leading '/' and '..'",
                           path);
    }
    *clean = out;
    return ACCEL_OK;
}

static char *join(const char *directory, const char *name)
{
    accel__text_t text = {0};

    if (directory)
        accel__text_appendf(&text, "%s/%s", directory, name);
    else
        accel__text_appendf(&text, "%s", name);
    if (text.failed)
        accel__text_free(&text);
    return text.data;
}

/* ---- files ---- */

static accel_status_t fail_file(const char *path)
{
    return accel__fail_errno(errno == ENOENT || errno == ENOTDIR ? ACCEL_ERR_NOT_FOUND
                                                                 : ACCEL_ERR_IO,
                             "artifact: cannot read '%s'", path);
}

accel_status_t accel__artifact_collect_file(accel__entries_t *entries, const char *local_path,
                                            const char *path)
{
    accel_artifact_entry_t entry = {0};
    struct stat file;
    char *absolute;

    if (stat(local_path, &file) != 0)
        return fail_file(local_path);
    if (!S_ISREG(file.st_mode))
        return accel__fail(ACCEL_ERR_INVALID, "artifact: '%s' is %s, not a file", local_path,
                           S_ISDIR(file.st_mode) ? "a directory" : "a device, pipe or socket");
    if (access(local_path, R_OK) != 0)
        return fail_file(local_path);
    absolute = realpath(local_path, NULL);
    if (!absolute)
        return fail_file(local_path);
    if (check_utf8(absolute) != ACCEL_OK) {
        free(absolute);
        return ACCEL_ERR_INVALID;
    }
    entry.path = accel__strdup(path);
    entry.local_path = absolute;
    entry.size = (int64_t)file.st_size;
    if (!entry.path) {
        free(absolute);
        return accel__fail_memory("a path", strlen(path) + 1);
    }
    return accel__entries_add(entries, &entry);
}

/* ---- directories ---- */

/* A directory being walked, and the chain of those it lies in: a symbolic link back to one of
 * them would never end. */
typedef struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    const char *local_path;
    const char *prefix; /* inside the artifact; NULL: the top */
} level_t;

static accel_status_t walk(accel__entries_t *entries, const char *local_path, const char *prefix,
                           const level_t *above);

static accel_status_t collect_child(accel__entries_t *entries, const level_t *level,
                                    const char *name)
{
    char *local_path = join(level->local_path, name), *path = join(level->prefix, name);
    accel_status_t status = ACCEL_OK;
    struct stat child;

    if (!local_path || !path)
        status = accel__fail_memory("a path", strlen(name));
    else if (stat(local_path, &child) != 0)
        status = fail_file(local_path);
    else if (S_ISDIR(child.st_mode))
        status = walk(entries, local_path, path, level);
    else if (S_ISREG(child.st_mode) && (status = check_utf8(path)) == ACCEL_OK)
        status = accel__artifact_collect_file(entries, local_path, path);
    free(local_path);
    free(path);
    return status;
}

static accel_status_t collect_children(accel__entries_t *entries, const level_t *level,
                                       DIR *directory)
{
    accel_status_t status = ACCEL_OK;

    while (status == ACCEL_OK) {
        const struct dirent *child;

        errno = 0;
        child = readdir(directory);
        if (!child)
            return errno == 0 ? ACCEL_OK : fail_file(level->local_path);
        if (strcmp(child->d_name, ".") != 0 && strcmp(child->d_name, "..") != 0)
            status = collect_child(entries, level, child->d_name);
    }
    return status;
}

static accel_status_t walk(accel__entries_t *entries, const char *local_path, const char *prefix,
                           const level_t *above)
{
    level_t level = {.above = above, .local_path = local_path, .prefix = prefix};
    DIR *directory = opendir(local_path);
    accel_status_t status;
    struct stat self;

    if (!directory)
        return fail_file(local_path);
    if (fstat(dirfd(directory), &self) != 0) {
        closedir(directory);
        return fail_file(local_path);
    }
    level.device = self.st_dev;
    level.inode = self.st_ino;
    for (; above; above = above->above) {
        if (above->device != level.device || above->inode != level.inode)
            continue;
        closedir(directory);
        return accel__fail(ACCEL_ERR_INVALID,
                           "artifact: '%s' is a symbolic link back to '%s', a loop", local_path,
                           above->local_path);
    }
    status = collect_children(entries, &level, directory);
    closedir(directory);
    return status;
}

accel_status_t accel__artifact_collect_dir(accel__entries_t *entries, const char *local_path,
                                           const char *prefix)
{
    return walk(entries, local_path, prefix, NULL);
}
