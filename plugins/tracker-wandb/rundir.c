/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a run: wandb/offline-run-DATE_TIME-ID with its files, logs and log. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

/* ---- the root: what was asked for, or the temporary directory ---- */

static accel_status_t make_absolute(accel__wandb_settings_t *settings)
{
    char *here = getcwd(NULL, 0), *path = NULL;
    if (!here)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot find", "the working directory");
    if (!settings->root_dir)
        path = strdup(here);
    else if (settings->root_dir[0] != '/')
        path = accel__wandb_join(here, settings->root_dir);
    else
        path = strdup(settings->root_dir);
    free(here);
    if (!path)
        return accel__wandb_fail_memory();
    free(settings->root_dir);
    settings->root_dir = path;
    return ACCEL_OK;
}

static accel_status_t fall_back(accel__wandb_run_t *run)
{
    const char *temporary = accel__wandb_env("TMPDIR");
    char *path = strdup(temporary && temporary[0] == '/' ? temporary : "/tmp");
    if (!path)
        return accel__wandb_fail_memory();
    accel__wandb_warn(&run->console, "Falling back to temporary directory %s.", path);
    free(run->settings.root_dir);
    run->settings.root_dir = path;
    if (access(path, R_OK | W_OK) == 0)
        return ACCEL_OK;
    return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write to the temporary directory",
                                   path);
}

static accel_status_t find_root(accel__wandb_run_t *run)
{
    accel_status_t status = make_absolute(&run->settings);
    if (status)
        return status;
    int error = accel__wandb_make_dirs(run->settings.root_dir);
    if (!error && access(run->settings.root_dir, R_OK | W_OK) < 0)
        error = errno;
    if (!error)
        return ACCEL_OK;
    if (run->settings.explicit_dir)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot write to 'dir'",
                                       run->settings.root_dir);
    accel__wandb_warn(&run->console, "Path %s wasn't read/writable", run->settings.root_dir);
    return fall_back(run);
}

/* ---- the id, and the one that resume="auto" goes on with ---- */

static char *resume_path(const accel__wandb_run_t *run)
{
    return accel__wandb_join(run->wandb_dir, "wandb-resume.json");
}

static char *load_resume_id(const accel__wandb_run_t *run)
{
    char *path = resume_path(run), *id = NULL;
    json_t *data = path ? json_load_file(path, 0, NULL) : NULL;
    const char *found = json_string_value(json_object_get(data, "run_id"));
    if (found && *found && !strpbrk(found, ":;,#?/'"))
        id = strdup(found);
    json_decref(data);
    free(path);
    return id;
}

static accel_status_t save_resume_id(const accel__wandb_run_t *run)
{
    char *path = resume_path(run);
    json_t *data = json_pack("{s:s}", "run_id", run->settings.run_id);
    bool saved = path && data && json_dump_file(data, path, 0) == 0;
    accel_status_t status = ACCEL_OK;
    if (!saved)
        status = accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write",
                                         path ? path : run->wandb_dir);
    json_decref(data);
    free(path);
    return status;
}

void accel__wandb_rundir_forget_resume(const accel__wandb_run_t *run)
{
    char *path = resume_path(run);
    if (path)
        (void)unlink(path);
    free(path);
}

static accel_status_t find_id(accel__wandb_run_t *run)
{
    accel__wandb_settings_t *settings = &run->settings;
    bool automatic = settings->resume && !strcmp(settings->resume, "auto");
    if (automatic && !settings->run_id)
        settings->run_id = load_resume_id(run);
    if (!settings->run_id) {
        char id[9];
        accel_status_t status = accel__wandb_random_id(id, 8);
        if (status)
            return status;
        settings->run_id = strdup(id);
        if (!settings->run_id)
            return accel__wandb_fail_memory();
    }
    return automatic ? save_resume_id(run) : ACCEL_OK;
}

/* ---- the folder ---- */

/* A second run of this id within a second gets a number. */
static accel_status_t make_dir(accel__wandb_run_t *run)
{
    struct tm local;
    char date[32];
    if (!localtime_r(&run->start_time.tv_sec, &local))
        return accel__wandb_fail(ACCEL_ERR_INTERNAL, "wandb: the clock's time is no date");
    strftime(date, sizeof(date), "%Y%m%d_%H%M%S", &local);
    for (int number = 0; number < 10000; number++) {
        accel__wandb_text_t path = {0};
        accel__wandb_text_printf(&path, "%s/%s-%s-%s", run->wandb_dir,
                                 accel__wandb_is_online(run) ? "run" : "offline-run", date,
                                 run->settings.run_id);
        if (number)
            accel__wandb_text_printf(&path, "-%d", number);
        if (path.failed) {
            accel__wandb_text_free(&path);
            return accel__wandb_fail_memory();
        }
        free(run->dir);
        run->dir = path.data;
        if (mkdir(run->dir, 0777) == 0)
            return ACCEL_OK;
        if (errno != EEXIST)
            break;
    }
    return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot make the run folder", run->dir);
}

static accel_status_t make_inner(const accel__wandb_run_t *run, const char *name)
{
    char *path = accel__wandb_join(run->dir, name);
    accel_status_t status = ACCEL_OK;
    if (!path)
        return accel__wandb_fail_memory();
    if (mkdir(path, 0777) < 0)
        status = accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot make the run folder", path);
    free(path);
    return status;
}

/* Links are a comfort: where they cannot be made, the run goes on without. Made under another
 * name and moved, so that whoever follows one finds a run, the older or the newer. */
static void make_link(const accel__wandb_run_t *run, const char *name, const char *inner)
{
    accel__wandb_text_t path = {0}, target = {0}, made = {0};
    accel__wandb_text_printf(&path, "%s/%s", run->wandb_dir, name);
    accel__wandb_text_printf(&made, "%s.%ld", path.failed ? "" : path.data, (long)getpid());
    accel__wandb_text_printf(&target, "%s%s", strrchr(run->dir, '/') + 1, inner);
    if (!path.failed && !made.failed && !target.failed && symlink(target.data, made.data) == 0) {
        if (rename(made.data, path.data) < 0)
            (void)unlink(made.data);
    }
    accel__wandb_text_free(&path);
    accel__wandb_text_free(&made);
    accel__wandb_text_free(&target);
}

void accel__wandb_debug(const accel__wandb_run_t *run, const char *format, ...)
{
    char *path = accel__wandb_join(run->dir, "logs/debug.log"), date[32];
    FILE *file = path ? fopen(path, "ae") : NULL;
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    if (file && localtime_r(&now.tv_sec, &local)) {
        va_list arguments;
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
        fprintf(file, "%s,%03ld INFO    %ld ", date, now.tv_nsec / 1000000, (long)getpid());
        va_start(arguments, format);
        vfprintf(file, format, arguments);
        va_end(arguments);
        fputc('\n', file);
    }
    if (file)
        fclose(file);
    free(path);
}

/* As it can be pasted into a shell. */
static void put_quoted(accel__wandb_text_t *text, const char *path)
{
    if (!strpbrk(path, " \t\n'\"\\$`&;()<>|*?[]{}#!~")) {
        accel__wandb_text_puts(text, path);
        return;
    }
    accel__wandb_text_puts(text, "'");
    for (; *path; path++) {
        if (*path == '\'')
            accel__wandb_text_puts(text, "'\\''");
        else
            accel__wandb_text_append(text, path, 1);
    }
    accel__wandb_text_puts(text, "'");
}

static accel_status_t open_log(accel__wandb_run_t *run)
{
    accel__wandb_text_t path = {0}, all = {0}, rest = {0};
    accel__wandb_text_printf(&path, "%s/run-%s.wandb", run->dir, run->settings.run_id);
    accel__wandb_text_puts(&all, "wandb sync ");
    put_quoted(&all, run->dir);
    /* the stock client's sync would send again, and put behind the rest, what has arrived */
    accel__wandb_text_puts(&rest, "accel sync --include-online ");
    put_quoted(&rest, run->dir);
    run->log_path = path.data;
    run->sync_command = all.data;
    run->rest_command = rest.data;
    if (path.failed || all.failed || rest.failed)
        return accel__wandb_fail_memory();
    int error = accel__wandb_log_open(&run->log, run->log_path);
    if (error)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot make the log", run->log_path);
    return ACCEL_OK;
}

static accel_status_t make_wandb_dir(accel__wandb_run_t *run)
{
    accel_status_t status = find_root(run);
    if (status)
        return status;
    run->wandb_dir = accel__wandb_settings_wandb_dir(&run->settings);
    if (!run->wandb_dir)
        return accel__wandb_fail_memory();
    int error = accel__wandb_make_dirs(run->wandb_dir);
    if (error)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot make the folder of runs",
                                       run->wandb_dir);
    return ACCEL_OK;
}

accel_status_t accel__wandb_rundir_create(accel__wandb_run_t *run)
{
    accel_status_t status = make_wandb_dir(run);
    if (!status)
        status = find_id(run);
    if (!status)
        status = accel__wandb_past_read(run);
    if (!status)
        status = make_dir(run);
    if (!status)
        status = make_inner(run, "files");
    if (!status)
        status = make_inner(run, "logs");
    if (!status)
        status = open_log(run);
    if (!status && run->settings.symlink) {
        make_link(run, "latest-run", "");
        make_link(run, "debug.log", "/logs/debug.log");
    }
    return status;
}
