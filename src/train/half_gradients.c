/* SPDX-License-Identifier: Apache-2.0 */
/* Low-precision gradients of several backwards of one step. Added up in their own type, small ones
 * would vanish beside the sum: it is kept in float32, in memory that no other rank needs, and
 * rounded once, when the gradients are to be reduced. */
#include "train/params.h"

#include <stdlib.h>
#include <string.h>

/* Elements converted at a time. */
#define CHUNK 512

static void move_to_sum(accel__param_t *param, uint16_t *gradient)
{
    float part[CHUNK];

    for (size_t at = 0; at < param->count; at += CHUNK) {
        size_t count = param->count - at < CHUNK ? param->count - at : CHUNK;

        accel__convert(part, ACCEL_F32, gradient + at, param->gradient_dtype, count);
        for (size_t i = 0; i < count; i++)
            param->accumulated[at + i] += part[i];
    }
    memset(gradient, 0, param->gradient_size);
}

static void bring_back(accel__param_t *param, uint16_t *gradient)
{
    move_to_sum(param, gradient);
    accel__convert(gradient, param->gradient_dtype, param->accumulated, ACCEL_F32, param->count);
    memset(param->accumulated, 0, param->count * sizeof(*param->accumulated));
}

accel_status_t accel__param_accumulate(accel__param_t *param, bool sync_step)
{
    if (!accel__is_half(param->gradient_dtype) || param->count == 0)
        return ACCEL_OK;
    if (sync_step) {
        if (param->has_accumulated)
            bring_back(param, accel__pointer_get(param->gradient_at));
        param->has_accumulated = false;
        return ACCEL_OK;
    }
    if (!param->accumulated)
        param->accumulated = calloc(param->count, sizeof(*param->accumulated));
    if (!param->accumulated)
        return accel__fail_memory("the float32 sum of low-precision gradients",
                                  param->count * sizeof(*param->accumulated));
    move_to_sum(param, accel__pointer_get(param->gradient_at));
    param->has_accumulated = true;
    return ACCEL_OK;
}

accel_status_t accel__model_accumulate(accel_model_t *model)
{
    bool sync_step = accel__model_completes(model);
    accel_status_t status = ACCEL_OK;

    for (int64_t i = 0; i < model->num_params && status == ACCEL_OK; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE)
            status = accel__param_accumulate(model->params[i], sync_step);
    return status;
}

void accel__model_forget_accumulated(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->has_accumulated)
            memset(param->accumulated, 0, param->count * sizeof(*param->accumulated));
        param->has_accumulated = false;
    }
}
