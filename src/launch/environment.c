/* SPDX-License-Identifier: Apache-2.0 */
/* What is run: the program's path, and what each rank finds in its environment. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/launch.h"

/* ---- the program ---- */

/* 0, or why this file cannot be executed. */
static int why_not(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return errno;
    if (S_ISDIR(status.st_mode))
        return EISDIR;
    return access(path, X_OK) == 0 ? 0 : errno;
}

/* The first executable of that name in PATH. A file that cannot be executed does not end
 * the search, but is what gets reported if nothing better comes. */
static accel_status_t search_path(const char *name, char **path, int *reason)
{
    const char *directory = accel__env("PATH");

    *reason = ENOENT;
    if (!directory)
        directory = "/usr/local/bin:/bin:/usr/bin";
    while (directory) {
        const char *end = strchrnul(directory, ':');
        accel__text_t candidate = {0};
        int error;

        accel__text_appendf(&candidate, "%.*s%s%s", (int)(end - directory), directory,
                            end > directory ? "/" : "./", name);
        if (candidate.failed)
            return accel__fail_memory("a path", strlen(name));
        error = why_not(candidate.data);
        if (error == 0) {
            *path = candidate.data;
            *reason = 0;
            return ACCEL_OK;
        }
        if (error == EACCES)
            *reason = error;
        accel__text_free(&candidate);
        directory = *end ? end + 1 : NULL;
    }
    return ACCEL_OK;
}

accel_status_t accel__launch_find_program(const char *name, char **path, int *exit_code)
{
    accel_status_t status;
    int reason;

    *exit_code = 127;
    if (*name == '\0')
        return accel__fail(ACCEL_ERR_NOT_FOUND, "the program's name is empty");
    if (!strchr(name, '/')) {
        status = search_path(name, path, &reason);
        if (status != ACCEL_OK)
            return status;
        if (reason == ENOENT && why_not(name) == 0)
            return accel__fail(ACCEL_ERR_NOT_FOUND,
                               "%s: not in PATH; for the file in this directory say ./%s", name,
                               name);
    } else {
        reason = why_not(name);
        if (reason == 0 && !(*path = accel__strdup(name)))
            return accel__fail_memory("a path", strlen(name) + 1);
    }
    if (reason == 0)
        return ACCEL_OK;
    if (reason == ENOENT || reason == ENOTDIR)
        return accel__fail(ACCEL_ERR_NOT_FOUND, "%s: no such program", name);
    *exit_code = 126;
    if (reason == EISDIR)
        return accel__fail(ACCEL_ERR_INVALID, "%s: is a directory, not a program", name);
    errno = reason;
    return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot be executed", name);
}

/* ---- the CPUs ---- */

int32_t accel__launch_num_cpus(void)
{
    int32_t count = 1;

    /* The set must be as large as the kernel's, whatever that is. */
    for (size_t cpus = 1024; cpus <= 1u << 20; cpus *= 2) {
        size_t size = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = CPU_ALLOC(cpus);
        int result;

        if (!set)
            break;
        result = sched_getaffinity(0, size, set);
        if (result == 0)
            count = CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (result == 0 || errno != EINVAL)
            break;
    }
    return count > 0 ? count : 1;
}

/* ---- the environment ---- */

/* Variables by which an outer launcher describes the process that called us. A rank of
 * ours is none of its ranks: with these left in place MPI or torch.distributed inside a
 * rank would take it for one. What describes the allocation (SLURM_JOB_ID, ...) stays. */
static const char *const outer_prefixes[] = {"TORCHELASTIC_", "OMPI_COMM_WORLD_", "PMIX_", "PMI_",
                                             "MPI_LOCAL",     "MV2_COMM_WORLD_"};
static const char *const outer_names[] = {"GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
                                          "ROLE_NAME", "ROLE_WORLD_SIZE"};

static bool is_outer(const char *entry)
{
    size_t length = (size_t)(strchrnul(entry, '=') - entry);

    for (size_t i = 0; i < sizeof(outer_prefixes) / sizeof(*outer_prefixes); i++)
        if (strncmp(entry, outer_prefixes[i], strlen(outer_prefixes[i])) == 0)
            return true;
    for (size_t i = 0; i < sizeof(outer_names) / sizeof(*outer_names); i++)
        if (strlen(outer_names[i]) == length && memcmp(entry, outer_names[i], length) == 0)
            return true;
    return false;
}

/* Do "NAME=value" and "NAME" or "NAME=other" mean the same variable? */
static bool same_name(const char *a, const char *b)
{
    size_t length = (size_t)(strchrnul(a, '=') - a);

    return strncmp(a, b, length) == 0 && (b[length] == '=' || b[length] == '\0');
}

static bool is_overridden(const char *entry, const accel__text_t *ours)
{
    for (size_t at = 0; at < ours->length; at += strlen(ours->data + at) + 1)
        if (same_name(ours->data + at, entry))
            return true;
    return false;
}

/* NAME=value and its NUL, unless the variable is there already. */
static void set_text(accel__text_t *ours, const char *name, const char *value)
{
    if (is_overridden(name, ours))
        return;
    accel__text_appendf(ours, "%s=%s", name, value);
    accel__text_append(ours, "", 1);
}

static void set_int(accel__text_t *ours, const char *name, int32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%" PRId32, value);
    set_text(ours, name, text);
}

/* The variables we set; those the caller gave come first, and win. */
static void add_ours(const accel__job_t *job, int32_t rank, accel__text_t *ours)
{
    const char *const *extra = job->options.environment;
    int32_t threads = job->options.threads_per_process;

    for (; extra && *extra; extra++)
        accel__text_append(ours, *extra, strlen(*extra) + 1);
    set_int(ours, "RANK", rank);
    set_int(ours, "LOCAL_RANK", rank);
    set_int(ours, "WORLD_SIZE", job->num_processes);
    set_int(ours, "LOCAL_WORLD_SIZE", job->num_processes);
    set_text(ours, "MASTER_ADDR", "127.0.0.1");
    if (!accel__env("MASTER_PORT"))
        set_text(ours, "MASTER_PORT", "29500");
    set_text(ours, "ACCEL_JOB_ID", job->id);
    if (threads == 0 && !accel__env("OMP_NUM_THREADS")) {
        threads = accel__launch_num_cpus() / job->num_processes;
        threads = threads > 0 ? threads : 1;
    }
    if (threads > 0)
        set_int(ours, "OMP_NUM_THREADS", threads);
}

/* One block: the pointers, then our strings; the inherited ones stay where they are. */
accel_status_t accel__launch_environment(const accel__job_t *job, int32_t rank, char ***envp)
{
    accel__text_t ours = {0};
    size_t count = 1, inherited = 0, size;
    char *text;

    add_ours(job, rank, &ours);
    if (ours.failed)
        return accel__fail_memory("a rank's environment", ours.length);
    for (size_t at = 0; at < ours.length; at += strlen(ours.data + at) + 1)
        count++;
    for (char **entry = environ; entry && *entry; entry++)
        count++;

    size = count * sizeof(**envp) + ours.length;
    *envp = malloc(size);
    if (!*envp) {
        accel__text_free(&ours);
        return accel__fail_memory("a rank's environment", size);
    }
    text = (char *)(*envp + count);
    memcpy(text, ours.data, ours.length);
    for (char **entry = environ; entry && *entry; entry++)
        if (!is_outer(*entry) && !is_overridden(*entry, &ours))
            (*envp)[inherited++] = *entry;
    for (size_t at = 0; at < ours.length; at += strlen(text + at) + 1)
        (*envp)[inherited++] = text + at;
    (*envp)[inherited] = NULL;
    accel__text_free(&ours);
    return ACCEL_OK;
}
