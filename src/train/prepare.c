/* SPDX-License-Identifier: Apache-2.0 */
/* Into the arena and out again. */
#include "train/params.h"

#include <stdlib.h>
#include <string.h>

/* "'fc2.weight' float32 [64, 10]" */
static void describe_param(const accel__param_t *param, bool may_be_unused, accel__text_t *text)
{
    static const char *const kinds[] = {
        [ACCEL_TRAINABLE] = "", [ACCEL_FROZEN] = " (frozen)", [ACCEL_BUFFER] = " (buffer)"};

    accel__text_appendf(text, "'%s' %s [", param->name, accel_dtype_name(param->dtype));
    for (int32_t i = 0; i < param->ndim; i++)
        accel__text_appendf(text, "%s%lld", i ? ", " : "", (long long)param->shape[i]);
    accel__text_appendf(text, "]%s", kinds[param->kind]);
    if (param->kind == ACCEL_TRAINABLE && param->gradient_dtype != param->dtype)
        accel__text_appendf(text, " with %s gradient", accel_dtype_name(param->gradient_dtype));
    if (param->copy_at)
        accel__text_appendf(text, " with a copy");
    if (may_be_unused && param->kind == ACCEL_TRAINABLE)
        accel__text_appendf(text, " that may be unused");
    accel__text_append(text, "", 1);
}

static void free_local(accel_model_t *model)
{
    accel__overlap_free(&model->overlap);
    accel__used_free(&model->used);
}

/* What can go wrong on this rank alone. */
static accel_status_t prepare_locally(accel_model_t *model, accel__gradient_state_t *state,
                                      accel__text_t *description)
{
    accel_status_t status;

    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: model is NULL");
    if (model->state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the model is prepared already");
    if (!accel__comm_is_local(state->comm))
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "accel_prepare: a model's ranks must be on one host");
    for (int64_t i = 0; i < model->num_params; i++)
        describe_param(model->params[i], model->find_unused, description);
    if (description->failed)
        return accel__fail_memory("a model's description", description->length);
    status = accel__model_seal(model);
    if (status != ACCEL_OK)
        return status;
    accel__layout_place_copies(&model->layout, state->autocast);
    status = accel__overlap_init(&model->overlap, &model->arena, &model->layout);
    if (status == ACCEL_OK)
        status = accel__used_init(&model->used, model->layout.used_words);
    if (status == ACCEL_OK)
        status = accel__arena_reserve(&model->arena, state->comm);
    if (status != ACCEL_OK)
        free_local(model);
    return status;
}

/* The owner's values into the arena: as the master, or as the copy that a master is made of. */
static void bring_values(accel_model_t *model, const accel__param_t *param)
{
    const accel__run_t *run;

    memcpy(accel__param_values(model, param), accel__pointer_get(param->value_at), param->size);
    if (param->kind != ACCEL_TRAINABLE)
        return;
    run = accel__param_run(model, param);
    if (accel__is_half(param->dtype))
        accel__convert(accel__param_master(model, param), run->dtype,
                       accel__param_copy(model, param), run->copy_dtype, param->count);
    else
        accel__arena_copy(&model->arena, run, param->first, param->count);
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
        if (arena->rank == 0 && !model->replicated)
            bring_values(model, param);
        if (param->kind == ACCEL_TRAINABLE)
            memcpy(accel__param_gradients(model, param), accel__pointer_get(param->gradient_at),
                   param->gradient_size);
    }
    return accel__comm_meet(arena->comm, "accel_prepare", model->layout.size, NULL, 0, NULL);
}

/* Rank 0's, of what every rank has for itself: buffers, or the values of a replicated model. */
static accel_status_t broadcast(const accel_model_t *model, accel_comm_t *comm, bool buffers)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];
        accel_status_t status;

        if ((param->kind == ACCEL_BUFFER) != buffers || param->count == 0)
            continue;
        status = accel_comm_broadcast(comm, accel__pointer_get(param->value_at), param->count,
                                      param->dtype, 0);
        if (status != ACCEL_OK)
            return status;
    }
    return ACCEL_OK;
}

static void redirect_pointer(void *at, void *to, void **own)
{
    *own = accel__pointer_get(at);
    accel__pointer_set(at, to);
}

/* The owner's pointers to the arena. */
static void redirect(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER)
            continue;
        if (!model->replicated)
            redirect_pointer(param->value_at, accel__param_values(model, param), &param->own_value);
        if (param->kind != ACCEL_TRAINABLE)
            continue;
        redirect_pointer(param->gradient_at, accel__param_gradients(model, param),
                         &param->own_gradient);
        if (param->copy_at && accel__param_copy(model, param))
            redirect_pointer(param->copy_at, accel__param_copy(model, param), &param->own_copy);
    }
}

static void restore_pointer(const accel_model_t *model, void *at, void *own, const void *values,
                            size_t size)
{
    accel__pointer_set(at, model->no_restore ? NULL : own);
    if (size > 0 && !model->no_restore)
        memcpy(own, values, size);
}

/* The owner's values and pointers back. */
static void restore(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER)
            continue;
        if (!model->replicated)
            restore_pointer(model, param->value_at, param->own_value,
                            accel__param_values(model, param), param->size);
        if (param->kind != ACCEL_TRAINABLE)
            continue;
        restore_pointer(model, param->gradient_at, param->own_gradient,
                        accel__param_gradients(model, param), param->gradient_size);
        if (param->copy_at && accel__param_copy(model, param))
            accel__pointer_set(param->copy_at, param->own_copy);
    }
}

static void release_model(void *object)
{
    accel__model_unprepare(object);
}

accel_model_t *accel__model_of_link(const accel__link_t *link)
{
    return link->release == release_model ? link->object : NULL;
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
        status = broadcast(model, state->comm, true);
    if (status == ACCEL_OK && model->replicated)
        status = broadcast(model, state->comm, false);
    accel__text_free(&description);
    if (status != ACCEL_OK) {
        if (reserved) {
            free_local(model);
            accel__arena_release(&model->arena);
        }
        return status;
    }
    model->state = state;
    model->number = state->num_models++;
    model->arena.wire = state->wire;
    accel__model_forget_reduction(model);
    accel__model_forget_accumulated(model);
    model->loss_scale = state->scaler.scale;
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
    free_local(model);
    accel__arena_release(&model->arena);
    model->state->no_sync_depth -= model->no_sync_depth; /* scopes end with what they were of */
    model->no_sync_depth = model->trigger_sync_depth = 0;
    accel__share_forget(&model->share);
    model->state = NULL;
}

accel_status_t accel__model_sync_buffers(accel_model_t *model)
{
    accel_status_t status = accel__model_usable(model, "accel_sync_buffers");

    return status == ACCEL_OK ? broadcast(model, model->state->comm, true) : status;
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

/* The master of a low-precision parameter keeps its precision where nothing was written. */
static void take_halves(const accel_model_t *model, const accel__param_t *param)
{
    const accel__run_t *run = accel__param_run(model, param);
    float *master = (float *)(void *)accel__param_master(model, param);
    const uint16_t *copy = (const uint16_t *)(const void *)accel__param_copy(model, param);

    for (size_t i = 0; i < param->count; i++) {
        uint16_t rounded;

        accel__convert(&rounded, run->copy_dtype, &master[i], ACCEL_F32, 1);
        if (rounded != copy[i])
            accel__convert(&master[i], ACCEL_F32, &copy[i], run->copy_dtype, 1);
    }
}

/* Rank 0 wrote, into the arena or into its own fixed memory. */
static void take_values(accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_BUFFER || param->size == 0)
            continue;
        if (model->fixed_memory)
            memcpy(accel__param_values(model, param), accel__pointer_get(param->value_at),
                   param->size);
        if (param->kind == ACCEL_TRAINABLE && accel__is_half(param->dtype))
            take_halves(model, param);
        else if (param->kind == ACCEL_TRAINABLE)
            accel__arena_copy(&model->arena, accel__param_run(model, param), param->first,
                              param->count);
    }
}

accel_status_t accel_params_end(accel_model_t *model)
{
    accel_status_t status;

    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_params_end: model is NULL");
    if (!model->state || !model->writing)
        return accel__fail(ACCEL_ERR_STATE, "accel_params_end without accel_params_begin");
    if (model->arena.rank == 0 && !model->replicated)
        take_values(model);
    status = accel__comm_meet(model->arena.comm, "accel_params_end", 0, NULL, 0, NULL);
    if (status == ACCEL_OK && model->replicated)
        status = broadcast(model, model->arena.comm, false);
    if (status != ACCEL_OK)
        return status;
    accel__arena_update_end(&model->arena);
    model->writing = false;
    accel__model_return_values(model);
    return ACCEL_OK;
}
