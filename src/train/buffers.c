/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers of all ranks. */
#include "train/params.h"

static bool is_float(accel_dtype_t dtype)
{
    return dtype == ACCEL_F32 || dtype == ACCEL_F64 || accel__is_half(dtype);
}

accel_status_t accel__model_average_buffers(accel_model_t *model)
{
    accel_status_t status = accel__model_usable(model, "accel_average_buffers");

    for (int64_t i = 0; i < model->num_params && status == ACCEL_OK; i++) {
        const accel__param_t *param = model->params[i];
        void *values = accel__pointer_get(param->value_at);

        if (param->kind == ACCEL_BUFFER && param->count > 0 && is_float(param->dtype))
            status = accel_comm_allreduce(model->state->comm, values, values, param->count,
                                          param->dtype, ACCEL_MEAN);
    }
    return status;
}
