/* SPDX-License-Identifier: Apache-2.0 */
/* Which world the environment describes. The innermost launcher comes first: a program
 * started by `accel launch` inside an mpirun belongs to the former. */
#include "comm/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RANKS_MAX 1000000

/* The variables of one launcher; NULL where it has none. */
typedef struct launcher {
    const char *name;
    const char *rank, *size, *local_rank, *local_size;
} launcher_t;

static const launcher_t accel_launch = {"accel launch", "RANK", "WORLD_SIZE", "LOCAL_RANK",
                                        "LOCAL_WORLD_SIZE"};
static const launcher_t torchrun = {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK",
                                    "LOCAL_WORLD_SIZE"};
static const launcher_t open_mpi = {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                    "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
static const launcher_t mpich = {"MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID",
                                 "MPI_LOCALNRANKS"};
static const launcher_t slurm = {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
                                 NULL};
static const launcher_t plain = {"RANK and WORLD_SIZE", "RANK", "WORLD_SIZE", "LOCAL_RANK",
                                 "LOCAL_WORLD_SIZE"};

static accel_status_t read_number(const launcher_t *launcher, const char *name, int64_t min,
                                  int64_t max, int32_t *value)
{
    int64_t number = 0;
    bool set;
    accel_status_t status = accel__env_int(name, min, max, &number, &set);

    if (status == ACCEL_OK && !set)
        return accel__fail(ACCEL_ERR_INVALID, "%s is not set, though %s started this process", name,
                           launcher->name);
    *value = (int32_t)number;
    return status;
}

/* Where a launcher says nothing of hosts, all ranks are taken to be on this one. */
static accel_status_t read_or(const launcher_t *launcher, const char *name, int64_t min,
                              int64_t max, int32_t *value)
{
    return name && accel__env(name) ? read_number(launcher, name, min, max, value) : ACCEL_OK;
}

static accel_status_t read_ranks(const launcher_t *launcher, accel__world_t *world)
{
    accel_status_t status;

    world->launcher = launcher->name;
    status = read_number(launcher, launcher->size, 1, RANKS_MAX, &world->size);
    if (status == ACCEL_OK)
        status = read_number(launcher, launcher->rank, 0, world->size - 1, &world->rank);
    if (status != ACCEL_OK)
        return status;
    world->local_size = world->size;
    world->local_rank = world->rank;
    status = read_or(launcher, launcher->local_size, 1, world->size, &world->local_size);
    if (status == ACCEL_OK)
        status =
            read_or(launcher, launcher->local_rank, 0, world->local_size - 1, &world->local_rank);
    return status;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* torchrun's run id is "none" unless set; the folder of the attempt tells two apart. */
static void torchrun_key(char *key, size_t size)
{
    const char *file = or_empty(accel__env("TORCHELASTIC_ERROR_FILE"));
    const char *end = strrchr(file, '/');
    size_t length = end ? (size_t)(end - file) : 0;

    while (length > 0 && file[length - 1] != '/') /* .../attempt_0/RANK/error.json */
        length--;
    snprintf(key, size, "torchrun:%s:%s:%s:%s:%.*s", or_empty(accel__env("TORCHELASTIC_RUN_ID")),
             or_empty(accel__env("MASTER_ADDR")), or_empty(accel__env("MASTER_PORT")),
             or_empty(accel__env("TORCHELASTIC_RESTART_COUNT")), (int)length, file);
}

/* MPICH's environment names no job, but all ranks talk to one proxy: its pid is the key. */
static accel_status_t mpich_key(char *key, size_t size)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int64_t fd = -1;
    bool set;
    accel_status_t status = accel__env_int("PMI_FD", 0, INT32_MAX, &fd, &set);

    if (status != ACCEL_OK)
        return status;
    if (getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return accel__fail_errno(ACCEL_ERR_STATE,
                                 "PMI_FD is %d, which is not MPICH's socket any more", (int)fd);
    snprintf(key, size, "mpich:%d", (int)peer.pid);
    return ACCEL_OK;
}

/* The tasks of this node, from "2(x3),1": node SLURM_NODEID's entry. */
static accel_status_t slurm_local_size(accel__world_t *world)
{
    const char *text = accel__env("SLURM_STEP_TASKS_PER_NODE");
    int64_t node = 0;
    bool set;
    accel_status_t status = accel__env_int("SLURM_NODEID", 0, RANKS_MAX, &node, &set);

    if (status != ACCEL_OK || !text)
        return status;
    for (const char *at = text; *at;) {
        char *end;
        long tasks = strtol(at, &end, 10), repeat = 1;

        if (end == at || tasks < 1)
            break;
        if (strncmp(end, "(x", 2) == 0) {
            repeat = strtol(end + 2, &end, 10);
            if (*end++ != ')')
                break;
        }
        if (node < repeat) {
            world->local_size = (int32_t)tasks;
            return tasks <= world->size && world->local_rank < tasks
                       ? ACCEL_OK
                       : accel__fail(ACCEL_ERR_INVALID,
                                     "SLURM_STEP_TASKS_PER_NODE is '%s', which does not hold local "
                                     "rank %d of %d tasks",
                                     text, (int)world->local_rank, (int)world->size);
        }
        node -= repeat;
        at = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            break;
    }
    return accel__fail(ACCEL_ERR_INVALID,
                       "SLURM_STEP_TASKS_PER_NODE is '%s'; expected a list such as 2(x3),1", text);
}

static accel_status_t from_environment(accel__world_t *world)
{
    accel_status_t status;

    if (accel__env("ACCEL_JOB_ID")) {
        snprintf(world->key, sizeof(world->key), "accel:%s", accel__env("ACCEL_JOB_ID"));
        return read_ranks(&accel_launch, world);
    }
    if (accel__env("TORCHELASTIC_RUN_ID")) {
        torchrun_key(world->key, sizeof(world->key));
        return read_ranks(&torchrun, world);
    }
    if (accel__env("OMPI_COMM_WORLD_SIZE")) {
        snprintf(world->key, sizeof(world->key), "ompi:%s", or_empty(accel__env("PMIX_NAMESPACE")));
        return read_ranks(&open_mpi, world);
    }
    if (accel__env("PMI_FD") && accel__env("PMI_SIZE")) {
        status = read_ranks(&mpich, world);
        if (status == ACCEL_OK && world->size > 1)
            status = mpich_key(world->key, sizeof(world->key));
        return status;
    }
    if (accel__env("SLURM_JOB_ID") && accel__env("SLURM_STEP_ID") &&
        accel__env("SLURM_STEP_NUM_TASKS")) {
        snprintf(world->key, sizeof(world->key), "slurm:%s:%s", accel__env("SLURM_JOB_ID"),
                 accel__env("SLURM_STEP_ID"));
        status = read_ranks(&slurm, world);
        return status == ACCEL_OK ? slurm_local_size(world) : status;
    }
    if (accel__env("RANK") && accel__env("WORLD_SIZE")) {
        snprintf(world->key, sizeof(world->key), "plain:%s:%s", or_empty(accel__env("MASTER_ADDR")),
                 or_empty(accel__env("MASTER_PORT")));
        return read_ranks(&plain, world);
    }
    *world = (accel__world_t){.size = 1, .local_size = 1, .launcher = "no launcher"};
    return ACCEL_OK;
}

static accel_status_t from_options(const accel_comm_options_t *options, int32_t size,
                                   accel__world_t *world)
{
    if (options->process_index < 0 || options->process_index >= size)
        return accel__fail(ACCEL_ERR_INVALID, "process_index is %d; expected 0 to %d",
                           (int)options->process_index, (int)size - 1);
    if (!options->threads && size > 1 && (!options->job_id || !*options->job_id))
        return accel__fail(
            ACCEL_ERR_INVALID,
            "num_processes is given without job_id; give the same text on all ranks");
    *world = (accel__world_t){.rank = options->process_index,
                              .size = size,
                              .local_rank = options->process_index,
                              .local_size = size,
                              .launcher = "the program"};
    snprintf(world->key, sizeof(world->key), "options:%s", or_empty(options->job_id));
    return ACCEL_OK;
}

accel_status_t accel__discover(const accel_comm_options_t *options, accel__world_t *world)
{
    accel_status_t status;

    *world = (accel__world_t){0};
    if (options->num_processes < 0)
        return accel__fail(ACCEL_ERR_INVALID, "num_processes is %d; expected 1 or more",
                           (int)options->num_processes);
    if (options->threads)
        status = from_options(options, accel__threads_size(options->threads), world);
    else if (options->num_processes > 0)
        status = from_options(options, options->num_processes, world);
    else
        status = from_environment(world);
    if (status != ACCEL_OK)
        return status;
    if (world->local_size < world->size)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "%s started %d processes, %d of them on this host; this version's "
                           "communicator serves the processes of one host",
                           world->launcher, (int)world->size, (int)world->local_size);
    if (world->size > ACCEL__MAX_LOCAL_RANKS)
        return accel__fail(ACCEL_ERR_UNSUPPORTED, "%d processes on one host; at most %d",
                           (int)world->size, ACCEL__MAX_LOCAL_RANKS);
    return ACCEL_OK;
}
