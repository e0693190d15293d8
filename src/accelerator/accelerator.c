/* SPDX-License-Identifier: Apache-2.0 */
/* The façade: ties the rooms together and holds no algorithm. */
#include "accelerator/accelerator.h"

#include "base/span.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

/* What the loaders' own options leave open. */
static accel_status_t read_loaders(accel_t *accelerator, const accel_options_t *options)
{
    bool on;
    accel_status_t status = accel__tristate(options->split_batches, false, "split_batches",
                                            &accelerator->split_batches);

    if (status == ACCEL_OK)
        status = accel__tristate(options->even_batches, true, "even_batches",
                                 &accelerator->even_batches);
    accelerator->dispatch_batches = options->dispatch_batches;
    return status == ACCEL_OK
               ? accel__tristate(options->dispatch_batches, false, "dispatch_batches", &on)
               : status;
}

static accel_status_t read_schedules(accel_t *accelerator, const accel_options_t *options)
{
    bool with_optimizer = true;
    accel_status_t status = accel__tristate(options->step_scheduler_with_optimizer, true,
                                            "step_scheduler_with_optimizer", &with_optimizer);

    accelerator->gradient_state.schedule_every_call = !with_optimizer;
    if (status == ACCEL_OK)
        status = accel__tristate(options->scale_scheduler_steps, false, "scale_scheduler_steps",
                                 &accelerator->scale_scheduler_steps);
    return status;
}

static accel_status_t read_options(accel_t *accelerator, const accel_options_t *options)
{
    accel_status_t status = accel__precision_init(accelerator, options);

    if (status == ACCEL_OK)
        status = accel__accumulation_init(accelerator, options);
    if (status == ACCEL_OK)
        status = read_loaders(accelerator, options);
    if (status == ACCEL_OK)
        status = read_schedules(accelerator, options);
    if (status == ACCEL_OK && options->gradients != ACCEL_GRADIENTS_LOCAL &&
        options->gradients != ACCEL_GRADIENTS_AVERAGED)
        status = accel__fail(ACCEL_ERR_INVALID,
                             "gradients is %d; expected ACCEL_GRADIENTS_LOCAL "
                             "or ACCEL_GRADIENTS_AVERAGED",
                             (int)options->gradients);
    accelerator->gradient_state.gradients = options->gradients;
    return status;
}

static accel_status_t join_world(accel_t *accelerator, const accel_options_t *options)
{
    accel_comm_options_t comm = accel_comm_options_init();

    comm.num_processes = options->num_processes;
    comm.process_index = options->process_index;
    comm.job_id = options->job_id;
    comm.threads = options->threads;
    comm.join_timeout_ms = options->join_timeout_ms;
    comm.timeout_ms = options->timeout_ms;
    comm.watchdog_ms = options->watchdog_ms;
    return accel__state_init(&accelerator->state, &comm);
}

static accel_status_t create_trackers(accel_t *accelerator, const accel_options_t *options)
{
    accel__trackers_options_t trackers = {
        .log_with = options->log_with,
        .logging_dir = options->logging_dir ? options->logging_dir : options->project_dir,
        .journal = options->journal,
        .process_index = accelerator->state.process_index,
        .num_processes = accelerator->state.num_processes};

    return accel__trackers_create(&trackers, &accelerator->trackers);
}

/* Options that decide what the ranks do together. A rank with others would step, or end an
 * epoch, at another time: better to say so now. */
static accel_status_t compare_options(accel_t *accelerator)
{
    int32_t mine[4] = {(int32_t)accelerator->gradient_state.gradients, accelerator->split_batches,
                       accelerator->even_batches, (int32_t)accelerator->dispatch_batches};
    int32_t first[4];
    accel_status_t status;

    memcpy(first, mine, sizeof(first));
    status = accel_comm_broadcast(accelerator->state.comm, first, 4, ACCEL_I32, 0);
    if (status != ACCEL_OK)
        return status; /* there is nobody left to agree with */
    if (memcmp(first, mine, sizeof(first)) != 0)
        status = accel__fail(ACCEL_ERR_MISMATCH,
                             "gradients, split_batches, even_batches, dispatch_batches are "
                             "%d, %d, %d, %d on rank %d, but %d, %d, %d, %d on rank 0",
                             (int)mine[0], (int)mine[1], (int)mine[2], (int)mine[3],
                             (int)accelerator->state.process_index, (int)first[0], (int)first[1],
                             (int)first[2], (int)first[3]);
    return accel__comm_agree(accelerator->state.comm, "accel_create", status);
}

/* The ranks agree once they have met, so that a rank whose options are bad is named
 * everywhere instead of missing. */
static accel_status_t create(accel_t *accelerator, const accel_options_t *options,
                             accel_status_t options_status)
{
    accel_status_t status = ACCEL_OK;
    char reason[512];

    snprintf(reason, sizeof(reason), "%s", accel_last_error());
    status = join_world(accelerator, options);
    if (status != ACCEL_OK)
        return options_status != ACCEL_OK ? accel__fail(options_status, "%s", reason) : status;
    accelerator->gradient_state.comm = accelerator->state.comm;
    accelerator->gradient_state.sync_step = true;
    accelerator->gradient_state.schedule_steps =
        accelerator->scale_scheduler_steps && !accelerator->split_batches
            ? accelerator->state.num_processes
            : 1;
    status = options_status != ACCEL_OK ? accel__fail(options_status, "%s", reason)
                                        : create_trackers(accelerator, options);
    status = accel__comm_agree(accelerator->state.comm, "accel_create", status);
    if (status == ACCEL_OK)
        status = compare_options(accelerator);
    if (status == ACCEL_OK)
        status = accel__accumulation_compare(accelerator);
    return status == ACCEL_OK ? accel__precision_compare(accelerator) : status;
}

accel_status_t accel_create(const accel_options_t *options, accel_t **accelerator)
{
    accel_options_t read = {0};
    accel_status_t status;

    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "accel_create: accelerator is NULL");
    *accelerator = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_create: options");
    if (status != ACCEL_OK)
        return status;
    *accelerator = calloc(1, sizeof(**accelerator));
    if (!*accelerator)
        return accel__fail_memory("an accelerator", sizeof(**accelerator));
    accel__link_init(&(*accelerator)->gradient_state.prepared);
    accel__link_init(&(*accelerator)->loaders);
    status = create(*accelerator, &read, read_options(*accelerator, &read));
    if (status != ACCEL_OK) {
        accel_destroy(*accelerator);
        *accelerator = NULL;
    }
    return status;
}

void accel_destroy(accel_t *accelerator)
{
    if (!accelerator)
        return;
    accel__trackers_destroy(accelerator->trackers);
    accel__link_release_after(&accelerator->loaders, &accelerator->loaders);
    accel__link_release_after(&accelerator->gradient_state.prepared,
                              &accelerator->gradient_state.prepared);
    accel__state_fini(&accelerator->state);
    free(accelerator);
}

/* ---- who am I ---- */

int32_t accel_num_processes(const accel_t *accelerator)
{
    return accelerator ? accelerator->state.num_processes : 1;
}

int32_t accel_process_index(const accel_t *accelerator)
{
    return accelerator ? accelerator->state.process_index : 0;
}

int32_t accel_local_process_index(const accel_t *accelerator)
{
    return accelerator ? accelerator->state.local_process_index : 0;
}

accel_device_t accel_device(const accel_t *accelerator)
{
    return accelerator ? accelerator->state.device : (accel_device_t){ACCEL_CPU, 0};
}

bool accel_is_main_process(const accel_t *accelerator)
{
    return accel_process_index(accelerator) == 0;
}

bool accel_is_local_main_process(const accel_t *accelerator)
{
    return accel_local_process_index(accelerator) == 0;
}

bool accel_is_last_process(const accel_t *accelerator)
{
    return accel_process_index(accelerator) == accel_num_processes(accelerator) - 1;
}

bool accel_is_process(const accel_t *accelerator, int32_t process_index)
{
    return accel_process_index(accelerator) == process_index;
}

bool accel_is_local_process(const accel_t *accelerator, int32_t local_process_index)
{
    return accel_local_process_index(accelerator) == local_process_index;
}

/* Flushed, so that lines of a job come in order also through a pipe. */
void accel_print(const accel_t *accelerator, const char *format, ...)
{
    va_list arguments;

    if (!accel_is_local_main_process(accelerator))
        return;
    va_start(arguments, format);
    vfprintf(stdout, format, arguments);
    va_end(arguments);
    fflush(stdout);
}

/* ---- waiting ---- */

#define REQUIRE(accelerator, call)                                               \
    do {                                                                         \
        if (!(accelerator))                                                      \
            return accel__fail(ACCEL_ERR_INVALID, call ": accelerator is NULL"); \
    } while (0)

accel_status_t accel_wait_for_everyone(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_wait_for_everyone");
    return accel__comm_meet(accelerator->state.comm, "accel_wait_for_everyone", 0, NULL, 0, NULL);
}

accel_status_t accel_main_process_first_begin(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_main_process_first_begin");
    return accel__state_first_begin(&accelerator->state, accel_is_main_process(accelerator));
}

accel_status_t accel_main_process_first_end(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_main_process_first_end");
    return accel__state_first_end(&accelerator->state, accel_is_main_process(accelerator));
}

accel_status_t accel_local_main_process_first_begin(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_local_main_process_first_begin");
    return accel__state_first_begin(&accelerator->state, accel_is_local_main_process(accelerator));
}

accel_status_t accel_local_main_process_first_end(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_local_main_process_first_end");
    return accel__state_first_end(&accelerator->state, accel_is_local_main_process(accelerator));
}

void accel_set_trigger(accel_t *accelerator)
{
    if (accelerator)
        accelerator->trigger = true;
}

accel_status_t accel_check_trigger(accel_t *accelerator, bool *triggered)
{
    uint8_t any;
    accel_status_t status;

    REQUIRE(accelerator, "accel_check_trigger");
    status = accel__join_announce(&accelerator->gradient_state, ACCEL__JOIN_TRIGGER, NULL, 0, 0);
    if (status != ACCEL_OK)
        return status;
    any = accelerator->trigger;
    accelerator->trigger = false;
    status = accel_comm_allreduce(accelerator->state.comm, &any, &any, 1, ACCEL_U8, ACCEL_MAX);
    if (status == ACCEL_OK && triggered)
        *triggered = any != 0;
    return status;
}

uint64_t accel_set_seed(accel_t *accelerator, uint64_t seed, bool device_specific)
{
    if (accelerator) {
        accelerator->has_seed = true;
        accelerator->seed = seed;
    }
    return device_specific ? seed + (uint64_t)accel_process_index(accelerator) : seed;
}

/* ---- tensors ---- */

accel_status_t accel_gather(accel_t *accelerator, const accel_tensor_t *tensor,
                            accel_tensor_t **gathered)
{
    REQUIRE(accelerator, "accel_gather");
    return accel__ops_gather(accelerator->state.comm, tensor, -1, gathered);
}

/* Where ranks have data of their own, each leaves its own padding at home. */
static accel_tensor_t own_rows(const accel_tensor_t *tensor, const accel__metric_rows_t *rows,
                               int64_t *shape)
{
    accel_tensor_t own = *tensor;

    memcpy(shape, tensor->shape, (size_t)tensor->ndim * sizeof(*shape));
    shape[0] = shape[0] / rows->batch_rows * rows->own_rows;
    own.shape = shape;
    return own;
}

accel_status_t accel_gather_for_metrics(accel_t *accelerator, const accel_tensor_t *tensor,
                                        accel_tensor_t **gathered)
{
    int64_t shape[ACCEL_MAX_NDIM];
    accel__metric_rows_t rows;
    accel_tensor_t own;

    REQUIRE(accelerator, "accel_gather_for_metrics");
    rows = accel__loaders_metric_rows(&accelerator->active_loaders);
    if (rows.own_rows >= 0 && rows.batch_rows > 0 && tensor && tensor->shape && tensor->ndim > 0 &&
        tensor->ndim <= ACCEL_MAX_NDIM && tensor->shape[0] % rows.batch_rows == 0) {
        own = own_rows(tensor, &rows, shape);
        tensor = &own;
    }
    return accel__ops_gather(accelerator->state.comm, tensor, rows.keep_rows, gathered);
}

accel_status_t accel_reduce(accel_t *accelerator, accel_tensor_t *tensor,
                            accel_reduction_t reduction)
{
    REQUIRE(accelerator, "accel_reduce");
    return accel__ops_reduce(accelerator->state.comm, tensor, reduction);
}

accel_status_t accel_broadcast(accel_t *accelerator, accel_tensor_t *tensor, int32_t from_process)
{
    REQUIRE(accelerator, "accel_broadcast");
    return accel__ops_broadcast(accelerator->state.comm, tensor, from_process);
}

accel_status_t accel_pad_across_processes(accel_t *accelerator, const accel_tensor_t *tensor,
                                          int32_t dim, double pad_index, bool pad_first,
                                          accel_tensor_t **padded)
{
    REQUIRE(accelerator, "accel_pad_across_processes");
    return accel__ops_pad_across_processes(accelerator->state.comm, tensor, dim, pad_index,
                                           pad_first, padded);
}

accel_status_t accel_gather_object(accel_t *accelerator, const void *bytes, size_t size,
                                   accel_objects_t **objects)
{
    REQUIRE(accelerator, "accel_gather_object");
    if (!objects)
        return accel__fail(ACCEL_ERR_INVALID, "accel_gather_object: objects is NULL");
    return accel__ops_gather_object(accelerator->state.comm, bytes, size, objects);
}

accel_status_t accel_broadcast_object(accel_t *accelerator, const void *bytes, size_t size,
                                      int32_t from_process, accel_objects_t **object)
{
    REQUIRE(accelerator, "accel_broadcast_object");
    if (!object)
        return accel__fail(ACCEL_ERR_INVALID, "accel_broadcast_object: object is NULL");
    return accel__ops_broadcast_object(accelerator->state.comm, bytes, size, from_process, object);
}

accel_status_t accel_split_between_processes(const accel_t *accelerator, int64_t length,
                                             bool apply_padding, accel_split_t *split)
{
    REQUIRE(accelerator, "accel_split_between_processes");
    if (!split || length < 0)
        return accel__fail(ACCEL_ERR_INVALID, "accel_split_between_processes: %s",
                           split ? "the length is negative" : "split is NULL");
    *split = accel_split(length, accelerator->state.num_processes, accelerator->state.process_index,
                         apply_padding);
    return ACCEL_OK;
}

/* ---- tracking ---- */

accel_status_t accel_init_trackers(accel_t *accelerator, const char *project_name,
                                   const accel_item_t *config, const accel_item_t *init_kwargs)
{
    REQUIRE(accelerator, "accel_init_trackers");
    return accel__comm_agree(
        accelerator->state.comm, "accel_init_trackers",
        accel__trackers_init(accelerator->trackers, project_name, config, init_kwargs));
}

accel_status_t accel_log(accel_t *accelerator, const accel_item_t *values, int64_t step)
{
    accel_status_t status;

    REQUIRE(accelerator, "accel_log");
    accel__span_begin("log");
    status = accel__trackers_log(accelerator->trackers, values, step);
    accel__span_end();
    return status;
}

accel_tracker_t *accel_get_tracker(accel_t *accelerator, const char *name)
{
    if (!accelerator || !name) {
        accel__fail(ACCEL_ERR_INVALID, "accel_get_tracker: %s is NULL",
                    accelerator ? "name" : "accelerator");
        return NULL;
    }
    return accel__trackers_get(accelerator->trackers, name);
}

accel_status_t accel_end_training(accel_t *accelerator)
{
    REQUIRE(accelerator, "accel_end_training");
    return accel__comm_agree(accelerator->state.comm, "accel_end_training",
                             accel__trackers_finish(accelerator->trackers, 0));
}
