/* SPDX-License-Identifier: Apache-2.0 */
/* find_executable_batch_size. */
#include <accel/utils.h>

#include <inttypes.h>

#include "accelerator/accelerator.h"

#define STARTING_BATCH_SIZE 128

/* int(0.9 * size) without its rounding. */
static int64_t reduced(int64_t batch_size)
{
    return batch_size - (batch_size / 10 + (batch_size % 10 != 0));
}

static accel_status_t next_size(const accel_find_batch_size_options_t *options, int64_t *size)
{
    int64_t before = *size;

    *size = options->reduce_batch_size ? options->reduce_batch_size(before) : reduced(before);
    if (*size < before)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_find_executable_batch_size: reduce_batch_size(%" PRId64
                       ") is %" PRId64 "; expected less",
                       before, *size);
}

/* One attempt, and what came of it on all ranks. */
static accel_status_t attempt(accel_t *accelerator, accel_batch_size_fn function, void *context,
                              int64_t batch_size, accel_status_t *worst)
{
    accel_status_t status = function(context, batch_size);

    if (accelerator)
        return accel__comm_conclude(accelerator->state.comm, "accel_find_executable_batch_size",
                                    status, worst);
    *worst = status < ACCEL_OK ? status : ACCEL_OK;
    return *worst;
}

accel_status_t accel_find_executable_batch_size(accel_t *accelerator,
                                                const accel_find_batch_size_options_t *options,
                                                accel_batch_size_fn function, void *context,
                                                int64_t *batch_size)
{
    accel_find_batch_size_options_t read = {0};
    accel_status_t status, worst = ACCEL_OK;
    int64_t size;

    if (!function)
        return accel__fail(ACCEL_ERR_INVALID, "accel_find_executable_batch_size: function is NULL");
    status = accel__options_read(&read, sizeof(read), options,
                                 "accel_find_executable_batch_size: options");
    if (status != ACCEL_OK)
        return status;
    if (read.starting_batch_size < 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_find_executable_batch_size: starting_batch_size is %" PRId64
                           "; expected 1 or more",
                           read.starting_batch_size);
    size = read.starting_batch_size ? read.starting_batch_size : STARTING_BATCH_SIZE;
    while (size > 0) {
        status = attempt(accelerator, function, context, size, &worst);
        if (worst != ACCEL_ERR_NO_MEMORY) {
            if (batch_size)
                *batch_size = size;
            return status;
        }
        accel__log(ACCEL_LOG_INFO, "a batch of %" PRId64 " does not fit into memory: %s", size,
                   accel_last_error());
        status = next_size(&read, &size);
        if (status != ACCEL_OK)
            return status;
    }
    return accel__fail(ACCEL_ERR_NO_MEMORY,
                       "accel_find_executable_batch_size: no batch size fits into memory");
}
