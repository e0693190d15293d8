/* SPDX-License-Identifier: Apache-2.0 */
/* From each rank's gradients to the average.
 *
 * A rank reduces only its own slice, into its own gradients: nobody else reads that slice of
 * them, so that needs no second buffer and no lock. Barriers stand where one rank's reads end
 * and another's writes begin. */
#include "train/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

accel_status_t accel__model_usable(const accel_model_t *model, const char *operation)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "%s: model is NULL", operation);
    if (!model->state)
        return accel__fail(ACCEL_ERR_STATE, "%s: the model is not prepared", operation);
    if (model->writing)
        return accel__fail(ACCEL_ERR_STATE, "%s: between accel_params_begin and _end", operation);
    if (accel__arena_is_torn(&model->arena))
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: an update of the model did not come to its end: its parameters "
                           "are part old, part new",
                           operation);
    return ACCEL_OK;
}

/* Gradients that were reduced in this rank's slice only cannot be added to, reduced again or
 * stepped again. */
accel_status_t accel__model_check_unspent(const accel_model_t *model, const char *operation)
{
    if (model->phase != ACCEL__SPENT)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE,
                       "%s: the gradients were clipped and used by a step; clear them with "
                       "accel_optimizer_zero_grad first",
                       operation);
}

void accel__model_collect_gradients(accel_model_t *model)
{
    if (!model->fixed_memory || model->phase != ACCEL__RAW)
        return;
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && param->size > 0)
            memcpy(accel__param_gradients(model, param), accel__pointer_get(param->gradient_at),
                   param->gradient_size);
    }
}

void accel__model_return_gradients(accel_model_t *model)
{
    if (!model->fixed_memory)
        return;
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && param->size > 0)
            memcpy(accel__pointer_get(param->gradient_at), accel__param_gradients(model, param),
                   param->gradient_size);
    }
}

static void return_copy(const accel_model_t *model, const accel__param_t *param)
{
    const unsigned char *copy = accel__param_copy(model, param);

    if (copy)
        memcpy(accel__pointer_get(param->copy_at), copy,
               param->count * accel_dtype_size(accel__param_run(model, param)->copy_dtype));
}

void accel__model_return_values(accel_model_t *model)
{
    if (!model->fixed_memory)
        return;
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind != ACCEL_BUFFER && param->size > 0)
            memcpy(accel__pointer_get(param->value_at), accel__param_values(model, param),
                   param->size);
        if (param->copy_at && param->size > 0)
            return_copy(model, param);
    }
}

void accel__model_forget_reduction(accel_model_t *model)
{
    model->phase = ACCEL__RAW;
    model->clip = 1;
    model->unscaled = false;
    model->found_inf = false;
}

void accel__model_zero_gradients(accel_model_t *model)
{
    accel__model_forget_reduction(model);
    accel__model_forget_accumulated(model);
    if (model->overwrites_gradients)
        return;
    if (model->state && !model->fixed_memory) {
        memset(model->arena.gradients[model->arena.rank], 0, model->layout.gradients_size);
        return;
    }
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && param->size > 0)
            memset(accel__pointer_get(param->gradient_at), 0, param->gradient_size);
    }
}

/* What each rank brings to a barrier. */
typedef struct call {
    double value;
    uint64_t hash, phase;
} call_t;

accel_status_t accel__model_meet(accel_model_t *model, const char *operation, const char *what,
                                 double value, uint64_t hash)
{
    accel__arena_t *arena = &model->arena;
    call_t mine = {value, hash, (uint64_t)model->phase}, first, other;
    accel_status_t status =
        accel__comm_meet(arena->comm, operation, 0, &mine, sizeof(mine), arena->met);

    if (status != ACCEL_OK)
        return status;
    memcpy(&first, arena->met, sizeof(first));
    for (int32_t r = 1; r < arena->num_ranks; r++) {
        memcpy(&other, arena->met + (size_t)r * sizeof(other), sizeof(other));
        if (memcmp(&other.value, &first.value, sizeof(other.value)) != 0)
            return accel__fail(ACCEL_ERR_MISMATCH, "%s: %s is %.17g on rank 0 but %.17g on rank %d",
                               operation, what, first.value, other.value, (int)r);
        if (other.hash != first.hash)
            return accel__fail(ACCEL_ERR_MISMATCH,
                               "%s: the rates of the parameters' groups differ between ranks 0 and "
                               "%d",
                               operation, (int)r);
        if (other.phase != first.phase)
            return accel__fail(ACCEL_ERR_MISMATCH,
                               "%s: ranks 0 and %d have not done the same with their gradients",
                               operation, (int)r);
    }
    return ACCEL_OK;
}

void accel__model_reduce_slices(accel_model_t *model)
{
    accel__arena_t *arena = &model->arena;

    for (int r = 0; r < model->layout.num_runs && arena->num_ranks > 1; r++) {
        const accel__run_t *run = &model->layout.runs[r];
        accel__slice_t own = accel__layout_slice(run, arena->rank, arena->num_ranks);

        for (size_t at = own.begin; at < own.end; at += run->unit)
            accel__arena_average(arena, run, at, run->unit,
                                 accel__arena_gradients(arena, run, arena->rank, at));
    }
    model->phase = ACCEL__REDUCED;
}

/* The other ranks' slices of the average into this rank's gradients. */
static void gather_slices(accel_model_t *model)
{
    const accel__arena_t *arena = &model->arena;

    for (int i = 0; i < model->layout.num_runs; i++)
        for (int32_t r = 0; r < arena->num_ranks; r++) {
            const accel__run_t *run = &model->layout.runs[i];
            accel__slice_t slice = accel__layout_slice(run, r, arena->num_ranks);

            if (r != arena->rank)
                memcpy(accel__arena_gradients(arena, run, arena->rank, slice.begin),
                       accel__arena_gradients(arena, run, r, slice.begin),
                       (slice.end - slice.begin) * accel_dtype_size(run->gradient_dtype));
        }
}

/* Reduce, and wait until all have. */
static accel_status_t reduce_raw(accel_model_t *model, const char *operation)
{
    accel_status_t status;

    accel__model_collect_gradients(model);
    status = accel__model_meet(model, operation, "", 0, 0);
    if (status != ACCEL_OK)
        return status;
    accel__model_reduce_slices(model);
    return accel__comm_meet(model->arena.comm, operation, 0, NULL, 0, NULL);
}

accel_status_t accel__model_sync_gradients(accel_model_t *model)
{
    static const char name[] = "accel_sync_gradients";
    accel_status_t status = accel__model_usable(model, name);

    if (status != ACCEL_OK)
        return status;
    status = accel__model_check_unspent(model, name);
    if (status != ACCEL_OK || model->phase == ACCEL__AVERAGED)
        return status;
    if (model->phase == ACCEL__RAW)
        status = reduce_raw(model, name);
    if (status != ACCEL_OK)
        return status;
    gather_slices(model);
    status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    model->phase = ACCEL__AVERAGED;
    accel__model_apply_clip(model);
    return ACCEL_OK;
}

/* A rank whose backward failed would be waited for at the next collective: tell the others
 * now. Alone there is nobody to tell, and the program may try again. */
static accel_status_t backward_failed(const accel_model_t *model, accel_status_t status)
{
    const accel__arena_t *arena = &model->arena;

    accel__fail(status, "accel_backward: the model's backward returned %s: %s",
                accel_status_name(status), accel_last_error());
    if (arena->num_ranks == 1)
        return status;
    return accel_comm_abort(arena->comm, status, accel_last_error());
}

/* New gradients are about to be made. Added to an average, they are each rank's own again. */
static accel_status_t begin_gradients(accel_model_t *model, const char *operation)
{
    accel_status_t status = accel__model_usable(model, operation);

    if (status != ACCEL_OK)
        return status;
    if (model->phase == ACCEL__REDUCED && !model->overwrites_gradients)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: the gradients were clipped; step and clear them before the next "
                           "backward",
                           operation);
    if (!model->overwrites_gradients)
        status = accel__model_check_unspent(model, operation);
    if (status != ACCEL_OK)
        return status;
    accel__model_forget_reduction(model);
    model->loss_scale = model->state->scaler.scale;
    return ACCEL_OK;
}

static accel_status_t finish_gradients(accel_model_t *model)
{
    if (accel__is_sync_step(model->state) && model->state->gradients == ACCEL_GRADIENTS_AVERAGED)
        return accel__model_sync_gradients(model);
    return ACCEL_OK;
}

accel_status_t accel__model_backward(accel_model_t *model)
{
    accel_status_t status = begin_gradients(model, "accel_backward");

    if (status != ACCEL_OK)
        return status;
    if (model->backward) {
        status = model->backward(model->context, accel__gradient_scale(model->state));
        if (status < ACCEL_OK)
            return backward_failed(model, status);
    }
    status = accel__model_accumulate(model);
    if (status != ACCEL_OK)
        return backward_failed(model, status);
    return finish_gradients(model);
}

static void forget_ready(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++)
        model->params[i]->ready = false;
    model->num_ready = 0;
}

accel_status_t accel_grad_ready(accel_model_t *model, int64_t index)
{
    static const char name[] = "accel_grad_ready";
    accel_status_t status = accel__model_usable(model, name);
    accel__param_t *param;

    if (status != ACCEL_OK)
        return status;
    if (index < 0 || index >= model->num_params)
        return accel__fail(ACCEL_ERR_INVALID, "%s: index is %lld; the model has %lld parameters",
                           name, (long long)index, (long long)model->num_params);
    param = model->params[index];
    if (param->kind != ACCEL_TRAINABLE)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is not trainable", name, param->name);
    if (!accel__is_sync_step(model->state))
        return accel__param_accumulate(param, false);
    if (param->ready)
        return accel__fail(ACCEL_ERR_STATE, "%s: '%s' was ready before in this backward", name,
                           param->name);
    if (model->num_ready == 0)
        status = begin_gradients(model, name);
    if (status != ACCEL_OK)
        return status;
    status = accel__param_accumulate(param, true);
    if (status != ACCEL_OK)
        return status;
    param->ready = true;
    if (++model->num_ready < model->num_trainable)
        return ACCEL_OK;
    forget_ready(model);
    return finish_gradients(model);
}
