/* SPDX-License-Identifier: Apache-2.0 */
/* From each rank's gradients to the average.
 *
 * A rank reduces only its own slice, into its own gradients, or everybody's: nobody else reads or
 * writes that slice of any, so that needs no second buffer and no lock. Barriers stand where one
 * rank's reads end and another's writes begin. */
#include "train/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/join.h"

accel_status_t accel__model_usable(const accel_model_t *model, const char *operation)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "%s: model is NULL", operation);
    if (!model->state)
        return accel__fail(ACCEL_ERR_STATE, "%s: the model is not prepared", operation);
    if (model->writing)
        return accel__fail(ACCEL_ERR_STATE, "%s: between accel_params_begin and _end", operation);
    if (model->shows_average)
        return accel__fail(ACCEL_ERR_STATE, "%s: between accel_ema_begin and _end", operation);
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

static void collect_gradient(const accel_model_t *model, const accel__param_t *param)
{
    if (param->size > 0)
        memcpy(accel__param_gradients(model, param), accel__pointer_get(param->gradient_at),
               param->gradient_size);
}

void accel__model_collect_gradients(accel_model_t *model)
{
    if (!model->fixed_memory || model->phase != ACCEL__RAW)
        return;
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && !param->ready)
            collect_gradient(model, param);
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
    model->corrected = false;
    model->unscaled = false;
    model->found_inf = false;
}

static void forget_ready(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++)
        model->params[i]->ready = false;
    model->num_ready = 0;
}

void accel__model_next_window(accel_model_t *model)
{
    forget_ready(model);
    accel__overlap_next_window(&model->overlap);
    if (!accel__model_syncs(model->state, model))
        return;
    accel__share_forget(&model->share);
    if (model->replicated) /* whose owner clears the gradients without a word */
        accel__used_forget(&model->used);
}

void accel__model_zero_gradients(accel_model_t *model)
{
    accel__model_forget_reduction(model);
    forget_ready(model);
    accel__overlap_drop(&model->overlap);
    accel__model_forget_accumulated(model);
    accel__share_forget(&model->share);
    accel__used_forget(&model->used);
    if (!model->overwrites_gradients)
        accel__model_clear_gradients(model);
}

void accel__model_clear_gradients(accel_model_t *model)
{
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

accel_status_t accel_model_zero_grad(accel_model_t *model)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_model_zero_grad: model is NULL");
    accel__model_zero_gradients(model);
    return ACCEL_OK;
}

/* What each rank brings to a barrier. */
typedef struct call {
    double value;
    uint64_t hash;
    accel__share_t share;
    uint8_t phase, announced;
    uint8_t used_side; /* where its bits of used parameters are */
    uint32_t model;
} call_t;

/* The same on every rank? */
static accel_status_t compare_calls(const call_t *first, const call_t *other, int32_t rank,
                                    const char *operation, const char *what)
{
    if (other->model != first->model)
        return accel__fail(
            ACCEL_ERR_MISMATCH,
            "%s: rank 0 is at model %u, counted as they were prepared, but rank %d at "
            "model %u; expected the same order on all ranks",
            operation, (unsigned)first->model, (int)rank, (unsigned)other->model);
    if (memcmp(&other->value, &first->value, sizeof(other->value)) != 0)
        return accel__fail(ACCEL_ERR_MISMATCH, "%s: %s is %.17g on rank 0 but %.17g on rank %d",
                           operation, what, first->value, other->value, (int)rank);
    if (other->hash != first->hash)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "%s: the rates of the parameters' groups differ between ranks 0 and %d",
                           operation, (int)rank);
    if (other->phase != first->phase)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "%s: ranks 0 and %d have not done the same with their gradients",
                           operation, (int)rank);
    return ACCEL_OK;
}

/* Before the gradients are used for the first time: their window's length, and its weights. */
static void correct(accel_model_t *model, const accel__share_t *all)
{
    if (model->corrected || !accel__model_syncs(model->state, model))
        return;
    model->clip *= accel__share_correction(all, model->arena.num_ranks);
    model->corrected = true;
}

/* By what the ranks have brought: the same bits on all of them. */
static void find_used(accel_model_t *model)
{
    const accel__arena_t *arena = &model->arena;
    call_t call;

    accel__used_begin(&model->used);
    for (int32_t r = 0; r < arena->num_ranks; r++) {
        memcpy(&call, arena->met + (size_t)r * sizeof(call), sizeof(call));
        accel__used_join(&model->used, arena, r, call.used_side);
    }
}

/* A backward that announces no gradient trains nothing, without a sign of it. */
static void warn_of_silence(accel_model_t *model, const accel__share_t *all)
{
    accel__used_t *used = &model->used;

    if (used->any_ever || used->num_words == 0 || all->backwards == 0)
        return;
    for (size_t i = 0; i < used->num_words && !used->any_ever; i++)
        used->any_ever = used->anywhere[i] != 0;
    if (!used->any_ever && model->arena.rank == 0)
        accel__log(ACCEL_LOG_WARNING,
                   "the backward announced no gradient, so that no parameter is trained: with "
                   "find_unused_parameters call accel_grad_ready() for each that it makes");
    used->any_ever = true;
}

accel_status_t accel__model_meet(accel_model_t *model, const char *operation, const char *what,
                                 double value, uint64_t hash)
{
    accel__arena_t *arena = &model->arena;
    call_t mine = {.value = value,
                   .hash = hash,
                   .share = accel__model_share(model),
                   .phase = (uint8_t)model->phase,
                   .announced = model->overlap.announced,
                   .used_side = (uint8_t)accel__used_publish(&model->used, arena),
                   .model = model->number};
    call_t first, other;
    accel__share_t all;
    accel_status_t status =
        accel__comm_meet(arena->comm, operation, 0, &mine, sizeof(mine), arena->met);

    if (status != ACCEL_OK)
        return status;
    memcpy(&first, arena->met, sizeof(first));
    all = first.share;
    model->overlap.announced_anywhere = first.announced != 0;
    for (int32_t r = 1; r < arena->num_ranks; r++) {
        memcpy(&other, arena->met + (size_t)r * sizeof(other), sizeof(other));
        model->overlap.announced_anywhere |= other.announced != 0;
        status = compare_calls(&first, &other, r, operation, what);
        if (status == ACCEL_OK)
            status = accel__share_join(&all, &other.share, operation);
        if (status != ACCEL_OK)
            return status;
    }
    correct(model, &all);
    find_used(model);
    warn_of_silence(model, &all);
    return ACCEL_OK;
}

void accel__model_reduce_slices(accel_model_t *model)
{
    accel__overlap_reduce_all(&model->overlap, false);
    model->phase = ACCEL__REDUCED;
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
    status = accel__join_announce(model->state, ACCEL__JOIN_SYNC, &model->link,
                                  accel__model_syncs(model->state, model), 0);
    if (status != ACCEL_OK)
        return status;
    accel__model_collect_gradients(model);
    status = accel__model_meet(model, name, "", 0, 0);
    if (status != ACCEL_OK)
        return status;
    accel__overlap_reduce_all(&model->overlap, true);
    status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    model->phase = ACCEL__AVERAGED;
    accel__model_next_window(model);
    accel__model_apply_clip(model);
    return ACCEL_OK;
}

/* A rank whose backward failed would be waited for at the next collective: tell the others
 * now. Alone there is nobody to tell, and the program may try again. */
static accel_status_t backward_failed(accel_model_t *model, accel_status_t status)
{
    const accel__arena_t *arena = &model->arena;

    accel__fail(status, "accel_backward: the model's backward returned %s: %s",
                accel_status_name(status), accel_last_error());
    forget_ready(model);
    accel__overlap_drop(&model->overlap);
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
    if (model->overlap.announced && !model->overwrites_gradients && model->phase == ACCEL__RAW)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: the reduction of the last backward's gradients has begun; step, or "
                           "call accel_sync_gradients(), before the next backward",
                           operation);
    if (!model->overwrites_gradients)
        status = accel__model_check_unspent(model, operation);
    if (status != ACCEL_OK)
        return status;
    if (model->overlap.announced) /* never to be reduced: they are overwritten */
        accel__overlap_drop(&model->overlap);
    forget_ready(model);
    accel__model_forget_reduction(model);
    model->loss_scale = model->state->scaler.scale;
    return ACCEL_OK;
}

static accel_status_t finish_gradients(accel_model_t *model)
{
    model->num_ready = 0;
    if (accel__model_completes(model) && accel__model_averages(model))
        return accel__model_sync_gradients(model);
    return ACCEL_OK;
}

static accel_status_t run_backward(accel_model_t *model, double weight)
{
    accel_status_t status;

    if (!model->backward)
        return ACCEL_OK;
    model->in_backward = true;
    status = model->backward(model->context, accel__gradient_scale(model->state) * weight);
    model->in_backward = false;
    return status;
}

accel_status_t accel__model_backward(accel_model_t *model, bool weighted, double weight)
{
    accel_status_t status = accel__model_usable(model, "accel_backward");

    if (status == ACCEL_OK && model->num_ready == 0) /* or accel_grad_ready() has begun it */
        status = begin_gradients(model, "accel_backward");
    if (status == ACCEL_OK)
        status = accel__share_add(&model->share, weighted, weight);
    if (status != ACCEL_OK)
        return status;
    status = run_backward(model, weight);
    if (status < ACCEL_OK)
        return backward_failed(model, status);
    status = accel__model_accumulate(model);
    if (status != ACCEL_OK)
        return backward_failed(model, status);
    return finish_gradients(model);
}

/* May this gradient be ready now? */
static accel_status_t check_ready(const accel_model_t *model, int64_t index)
{
    static const char name[] = "accel_grad_ready";
    accel_status_t status = accel__model_usable(model, name);

    if (status != ACCEL_OK)
        return status;
    if (index < 0 || index >= model->num_params)
        return accel__fail(ACCEL_ERR_INVALID, "%s: index is %lld; the model has %lld parameters",
                           name, (long long)index, (long long)model->num_params);
    if (model->params[index]->kind != ACCEL_TRAINABLE)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is not trainable", name,
                           model->params[index]->name);
    if (accel__model_completes(model) && model->params[index]->ready &&
        (model->num_ready > 0 || model->in_backward))
        return accel__fail(ACCEL_ERR_STATE, "%s: '%s' was ready before in this backward", name,
                           model->params[index]->name);
    return ACCEL_OK;
}

accel_status_t accel_grad_ready(accel_model_t *model, int64_t index)
{
    accel_status_t status = check_ready(model, index);
    accel__param_t *param;

    if (status != ACCEL_OK)
        return status;
    param = model->params[index];
    if (accel__model_completes(model) && model->num_ready == 0 && !model->in_backward)
        status = begin_gradients(model, "accel_grad_ready");
    if (status == ACCEL_OK)
        status = accel__param_accumulate(param, accel__model_completes(model));
    if (status != ACCEL_OK)
        return status;
    accel__used_mark(&model->used, index);
    if (!accel__model_completes(model))
        return ACCEL_OK;
    if (model->fixed_memory)
        collect_gradient(model, param);
    param->ready = true;
    model->num_ready++;
    accel__overlap_ready(&model->overlap, param->run, accel__model_averages(model));
    if (model->num_ready < model->num_trainable || model->in_backward)
        return ACCEL_OK;
    status = accel__share_add(&model->share, false, 1);
    return status == ACCEL_OK ? finish_gradients(model) : status;
}

bool accel_model_is_used(const accel_model_t *model, int64_t index)
{
    return model && index >= 0 && index < model->num_params &&
           model->params[index]->kind == ACCEL_TRAINABLE && accel__used_test(&model->used, index);
}

bool accel_model_is_sync_step(const accel_model_t *model)
{
    return model && model->state && accel__model_syncs(model->state, model);
}

bool accel_model_is_averaged(const accel_model_t *model)
{
    return model && model->phase == ACCEL__AVERAGED;
}

int64_t accel_model_num_buckets(const accel_model_t *model)
{
    return model ? model->layout.num_runs : 0;
}

int64_t accel_model_num_early_buckets(const accel_model_t *model)
{
    return model ? model->overlap.num_early : 0;
}
