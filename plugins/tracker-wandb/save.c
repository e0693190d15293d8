/* SPDX-License-Identifier: Apache-2.0 */
/* run.save: files of the program's become files of the run. */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

/* "/a/b/../c/./d" as "/a/c/d": by the words alone, as a glob's folders need not exist. */
static char *normalised(const char *path)
{
    char *here = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
    accel__wandb_text_t text = {0};
    accel__wandb_text_puts(&text, here && strcmp(here, "/") != 0 ? here : "");
    text.failed = text.failed || !here;
    free(here);
    while (*path && !text.failed) {
        size_t length = strcspn(path, "/");
        if (length == 2 && !strncmp(path, "..", 2)) {
            char *slash = strrchr(text.data, '/');
            text.length = slash ? (size_t)(slash - text.data) : 0;
            text.data[text.length] = '\0';
        } else if (length && !(length == 1 && *path == '.')) {
            accel__wandb_text_puts(&text, "/");
            accel__wandb_text_append(&text, path, length);
        }
        path += length + (path[length] == '/');
    }
    if (!text.length)
        accel__wandb_text_puts(&text, "/");
    if (text.failed)
        accel__wandb_text_free(&text);
    return text.data;
}

/* Without a base path: an absolute glob keeps the last of its folders, a relative one all. */
static char *find_base(const char *glob, const char *base_path)
{
    if (base_path)
        return normalised(base_path);
    if (*glob != '/')
        return normalised(".");
    char *base = normalised(glob);
    for (int i = 0; base && i < 2; i++) {
        char *slash = strrchr(base, '/');
        slash[slash == base] = '\0';
    }
    return base;
}

/* What follows the base in a path below it, or NULL. */
static const char *below(const char *path, const char *base)
{
    size_t length = strlen(base);
    if (length == 1) /* the root */
        return path + 1;
    return !strncmp(path, base, length) && path[length] == '/' ? path + length + 1 : NULL;
}

static int link_file(const char *source, const char *target)
{
    struct stat a, b;
    char *folder = strndup(target, (size_t)(strrchr(target, '/') - target));
    int error = folder ? accel__wandb_make_dirs(folder) : ENOMEM;
    free(folder);
    if (error)
        return error;
    if (stat(source, &a) == 0 && stat(target, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino)
        return 0;
    if (unlink(target) < 0 && errno != ENOENT)
        return errno;
    return symlink(source, target) == 0 ? 0 : errno;
}

static accel_status_t save_file(const accel__wandb_run_t *run, const char *source, const char *name)
{
    accel__wandb_text_t target = {0};
    accel__wandb_text_printf(&target, "%s/files/%s", run->dir, name);
    int error = target.failed ? ENOMEM : link_file(source, target.data);
    accel__wandb_text_free(&target);
    if (!error)
        return ACCEL_OK;
    return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot link into the run's files", source);
}

/* The base's own characters stand for themselves. */
static char *pattern_of(const char *base, const char *glob)
{
    accel__wandb_text_t text = {0};
    for (const char *c = base; *c; c++) {
        accel__wandb_text_puts(&text, strchr("*?[\\", *c) ? "\\" : "");
        accel__wandb_text_append(&text, c, 1);
    }
    accel__wandb_text_printf(&text, "%s%s", base[1] ? "/" : "", glob);
    if (text.failed)
        accel__wandb_text_free(&text);
    return text.data;
}

static bool is_file(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISREG(facts.st_mode);
}

/* Link what was found, and tell of it in one record, as stock does; that is empty if nothing was.
 */
static accel_status_t save_found(accel__wandb_run_t *run, const char *base, const glob_t *found,
                                 accel_wandb_policy_t policy)
{
    char **names = accel__wandb_arena_take(&run->arena, (found->gl_pathc + 1) * sizeof(*names));
    accel_status_t status = ACCEL_OK;
    size_t count = 0;
    for (size_t i = 0; names && i < found->gl_pathc && !status; i++) {
        const char *name = below(found->gl_pathv[i], base);
        if (!is_file(found->gl_pathv[i]))
            continue;
        status = save_file(run, found->gl_pathv[i], name);
        if (!status)
            names[count++] = accel__wandb_arena_copy(&run->arena, name, strlen(name));
    }
    if (names && !run->arena.failed)
        accel__wandb_emit_files(run, names, count, policy);
    accel_status_t written = accel__wandb_commit(run);
    return status ? status : written;
}

static accel_status_t save_matches(accel__wandb_run_t *run, const char *base, const char *relative,
                                   accel_wandb_policy_t policy)
{
    char *pattern = pattern_of(base, relative);
    glob_t found = {0};
    int failed = pattern ? glob(pattern, 0, NULL, &found) : GLOB_NOSPACE;
    free(pattern);
    accel_status_t status;
    if (failed == GLOB_NOSPACE)
        status = accel__wandb_fail_memory();
    else if (failed && failed != GLOB_NOMATCH)
        status = accel__wandb_fail(ACCEL_ERR_IO, "wandb: '%s' cannot be read", base);
    else
        status = save_found(run, base, &found, policy);
    globfree(&found);
    return status;
}

accel_status_t accel__wandb_run_save(accel__wandb_run_t *run, const char *glob,
                                     const char *base_path, accel_wandb_policy_t policy)
{
    if (!glob || !*glob)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: save needs a glob");
    if (policy != ACCEL_WANDB_LIVE && policy != ACCEL_WANDB_NOW && policy != ACCEL_WANDB_END)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: save's policy is %d, not ACCEL_WANDB_LIVE, _NOW or _END",
                                 (int)policy);
    if (!accel__wandb_is_writing(run))
        return ACCEL_OK;
    char *path = normalised(glob), *base = find_base(glob, base_path);
    const char *relative = path && base ? below(path, base) : NULL;
    accel_status_t status;
    if (!path || !base) {
        status = accel__wandb_fail_memory();
    } else if (!relative) {
        status = accel__wandb_fail(ACCEL_ERR_INVALID,
                                   "wandb: save's glob '%s' lies outside of the base path %s", glob,
                                   base);
    } else {
        accel__wandb_use_feature(run, &run->features.save);
        status = save_matches(run, base, relative, policy);
    }
    free(path);
    free(base);
    return status;
}
