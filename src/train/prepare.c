/* SPDX-License-Identifier: Apache-2.0 */
/* Into the arena and out again. */
#include "train/params.h"

#include <stdlib.h>
#include <string.h>

/* "'fc2.weight' float32 [64, 10]" */
static void describe_param(const accel__param_t *param, accel__text_t *text)
{
    static const char *const kinds[] = {
        [ACCEL_TRAINABLE] = "", [ACCEL_FROZEN] = " (frozen)", [ACCEL_BUFFER] = " (buffer)"};

    accel__text_appendf(text, "'%s' %s [", param->name, accel_dtype_name(param->dtype));
    for (int32_t i = 0; i < param->ndim; i++)
        accel__text_appendf(text, "%s%lld", i ? ", " : "", (long long)param->shape[i]);
    accel__text_appendf(text, "]%s", kinds[param->kind]);
    accel__text_append(text, "", 1);
}

/* What can go wrong on this rank alone. */
static accel_status_t prepare_locally(accel_model_t *model, accel__gradient_state_t *state,
                                      accel__text_t *description)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: model is NULL");
    if (model->state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the model is prepared already");
    if (!accel__comm_is_local(state->comm))
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "accel_prepare: a model's ranks must be on one host");
    for (int64_t i = 0; i < model->num_params; i++)
        describe_param(model->params[i], description);
    if (description->failed)
        return accel__fail_memory("a model's description", description->length);
    accel__model_seal(model);
    return accel__arena_reserve(&model->arena, state->comm);
}

/* Each rank touches what it will work on; only then rank 0's values come in. */
static accel_status_t fill_arena(accel_model_t *model)
{
    accel__arena_t *arena = &model->arena;
    accel_status_t status;

    accel__arena_touch(arena, &model->layout);
    status = accel__comm_meet(arena->comm, "accel_prepare", model->layout.size, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER || param->size == 0)
            continue;
        if (arena->rank == 0)
            memcpy(arena->values + param->offset, accel__pointer_get(param->value_at), param->size);
        if (param->kind == ACCEL_TRAINABLE)
            memcpy(arena->gradients[arena->rank] + param->offset,
                   accel__pointer_get(param->gradient_at), param->size);
    }
    return accel__comm_meet(arena->comm, "accel_prepare", model->layout.size, NULL, 0, NULL);
}

static accel_status_t broadcast_buffers(const accel_model_t *model, accel_comm_t *comm)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];
        accel_status_t status;

        if (param->kind != ACCEL_BUFFER || param->count == 0)
            continue;
        status = accel_comm_broadcast(comm, accel__pointer_get(param->value_at), param->count,
                                      param->dtype, 0);
        if (status != ACCEL_OK)
            return status;
    }
    return ACCEL_OK;
}

/* The owner's pointers to the arena. */
static void redirect(accel_model_t *model)
{
    const accel__arena_t *arena = &model->arena;

    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER)
            continue;
        param->own_value = accel__pointer_get(param->value_at);
        accel__pointer_set(param->value_at, arena->values + param->offset);
        if (param->kind != ACCEL_TRAINABLE)
            continue;
        param->own_gradient = accel__pointer_get(param->gradient_at);
        accel__pointer_set(param->gradient_at, arena->gradients[arena->rank] + param->offset);
    }
}

/* The owner's values and pointers back. */
static void restore(accel_model_t *model)
{
    const accel__arena_t *arena = &model->arena;

    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER)
            continue;
        accel__pointer_set(param->value_at, param->own_value);
        if (param->size > 0)
            memcpy(param->own_value, arena->values + param->offset, param->size);
        if (param->kind != ACCEL_TRAINABLE)
            continue;
        accel__pointer_set(param->gradient_at, param->own_gradient);
        if (param->size > 0)
            memcpy(param->own_gradient, arena->gradients[arena->rank] + param->offset, param->size);
    }
}

static void release_model(void *object)
{
    accel__model_unprepare(object);
}

accel_status_t accel__model_prepare(accel_model_t *model, accel__gradient_state_t *state)
{
    accel__text_t description = {0};
    accel_status_t status = prepare_locally(model, state, &description);
    bool reserved = status == ACCEL_OK;

    status = accel__compare(state->comm, status, "parameter", true, &description);
    if (status == ACCEL_OK)
        status = accel__arena_map(&model->arena, &model->layout);
    if (status == ACCEL_OK)
        status = fill_arena(model);
    if (status == ACCEL_OK)
        status = broadcast_buffers(model, state->comm);
    accel__text_free(&description);
    if (status != ACCEL_OK) {
        if (reserved)
            accel__arena_release(&model->arena);
        return status;
    }
    model->state = state;
    model->phase = ACCEL__RAW;
    model->clip = 1;
    model->num_ready = 0;
    model->writing = false;
    if (model->fixed_memory)
        accel__model_return_values(model);
    else
        redirect(model);
    accel__link_insert(&state->prepared, &model->link, release_model, model);
    return ACCEL_OK;
}

const accel__gradient_state_t *accel__model_state(const accel_model_t *model)
{
    return model->state;
}

void accel__model_unprepare(accel_model_t *model)
{
    if (!model->state)
        return;
    if (accel__arena_is_torn(&model->arena))
        accel__log(ACCEL_LOG_WARNING, "a model is unprepared after an update that did not end: its "
                                      "parameters are part old, part new");
    accel__link_remove(&model->link);
    if (!model->fixed_memory)
        restore(model);
    accel__arena_release(&model->arena);
    model->state = NULL;
}

accel_status_t accel__model_sync_buffers(accel_model_t *model)
{
    accel_status_t status = accel__model_usable(model, "accel_sync_buffers");

    return status == ACCEL_OK ? broadcast_buffers(model, model->state->comm) : status;
}

accel_status_t accel_params_begin(accel_model_t *model)
{
    accel_status_t status = accel__model_usable(model, "accel_params_begin");

    if (status != ACCEL_OK)
        return status;
    status = accel__comm_meet(model->arena.comm, "accel_params_begin", 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    accel__arena_update_begin(&model->arena);
    model->writing = true;
    return ACCEL_OK;
}

/* Rank 0 wrote, into the arena or into its own fixed memory. */
static void take_values(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind != ACCEL_BUFFER && param->size > 0)
            memcpy(model->arena.values + param->offset, accel__pointer_get(param->value_at),
                   param->size);
    }
}

accel_status_t accel_params_end(accel_model_t *model)
{
    accel_status_t status;

    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_params_end: model is NULL");
    if (!model->state || !model->writing)
        return accel__fail(ACCEL_ERR_STATE, "accel_params_end without accel_params_begin");
    if (model->fixed_memory && model->arena.rank == 0)
        take_values(model);
    status = accel__comm_meet(model->arena.comm, "accel_params_end", 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    accel__arena_update_end(&model->arena);
    model->writing = false;
    accel__model_return_values(model);
    return ACCEL_OK;
}
