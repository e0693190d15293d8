/* SPDX-License-Identifier: Apache-2.0 */
/* What happens in place: reduce and broadcast. */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <stdlib.h>

/* The meeting of an operation that wants the same tensor and setting everywhere. */
static accel_status_t meet_alike(accel_comm_t *comm, const accel__ops_call_t *call, size_t *count)
{
    accel__note_t *notes;
    accel_status_t status = accel__ops_meet(comm, call, &notes);

    if (status != ACCEL_OK)
        return status;
    free(notes);
    *count = (size_t)accel_tensor_numel(call->tensor);
    return ACCEL_OK;
}

static accel_status_t check_reduction(accel_reduction_t reduction)
{
    switch (reduction) {
    case ACCEL_SUM:
    case ACCEL_MEAN:
    case ACCEL_MAX:
    case ACCEL_MIN:
        return ACCEL_OK;
    }
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_reduce: reduction is %d; expected ACCEL_SUM, _MEAN, _MAX or _MIN",
                       (int)reduction);
}

accel_status_t accel__ops_reduce(accel_comm_t *comm, accel_tensor_t *tensor,
                                 accel_reduction_t reduction)
{
    accel__ops_call_t call = {.operation = "accel_reduce",
                              .tensor = tensor,
                              .setting_name = "reduction",
                              .setting = (int64_t)reduction};
    accel_status_t status;
    size_t count;

    call.status = accel__tensor_check(tensor, call.operation);
    if (call.status == ACCEL_OK)
        call.status = check_reduction(reduction);
    status = meet_alike(comm, &call, &count);
    if (status != ACCEL_OK || count == 0)
        return status;
    return accel_comm_allreduce(comm, accel__tensor_data(tensor), accel__tensor_data(tensor), count,
                                tensor->dtype, reduction);
}

accel_status_t accel__ops_broadcast(accel_comm_t *comm, accel_tensor_t *tensor,
                                    int32_t from_process)
{
    accel__ops_call_t call = {.operation = "accel_broadcast",
                              .tensor = tensor,
                              .setting_name = "from_process",
                              .setting = from_process};
    accel_status_t status;
    size_t count;

    call.status = accel__tensor_check(tensor, call.operation);
    if (call.status == ACCEL_OK && (from_process < 0 || from_process >= accel_comm_size(comm)))
        call.status =
            accel__fail(ACCEL_ERR_INVALID, "accel_broadcast: from_process is %d; expected 0 to %d",
                        (int)from_process, (int)accel_comm_size(comm) - 1);
    status = meet_alike(comm, &call, &count);
    if (status != ACCEL_OK || count == 0)
        return status;
    return accel_comm_broadcast(comm, accel__tensor_data(tensor), count, tensor->dtype,
                                from_process);
}
