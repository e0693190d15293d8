/* SPDX-License-Identifier: Apache-2.0 */
/* The façade's training half: prepare and the step. */
#include "accelerator/accelerator.h"

#include "base/span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

accel_status_t accel__check_object(const accel_t *accelerator, const void *object, const char *call,
                                   const char *what)
{
    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "%s: accelerator is NULL", call);
    if (!object)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is NULL", call, what);
    return ACCEL_OK;
}

accel_status_t accel__check_model(const accel_t *accelerator, const accel_model_t *model,
                                  const char *call)
{
    accel_status_t status = accel__check_object(accelerator, model, call, "model");
    const accel__gradient_state_t *state;

    if (status != ACCEL_OK)
        return status;
    state = accel__model_state(model);
    if (state == &accelerator->gradient_state)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE, "%s: the model is %s", call,
                       state ? "prepared by another accelerator"
                             : "not prepared; call accel_prepare() first");
}

/* ---- prepare ---- */

accel_status_t accel_prepare_model(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_object(accelerator, model, "accel_prepare_model", "model");

    return status == ACCEL_OK ? accel__model_prepare(model, &accelerator->gradient_state) : status;
}

accel_status_t accel_prepare_optimizer(accel_t *accelerator, accel_optimizer_t *optimizer)
{
    accel_status_t status =
        accel__check_object(accelerator, optimizer, "accel_prepare_optimizer", "optimizer");

    return status == ACCEL_OK ? accel__optimizer_prepare(optimizer, &accelerator->gradient_state)
                              : status;
}

accel_status_t accel_prepare_scheduler(accel_t *accelerator, accel_scheduler_t *scheduler)
{
    accel_status_t status =
        accel__check_object(accelerator, scheduler, "accel_prepare_scheduler", "scheduler");

    if (status != ACCEL_OK)
        return status;
    return accel__comm_agree(accelerator->state.comm, "accel_prepare_scheduler",
                             accel__scheduler_prepare(scheduler, &accelerator->gradient_state));
}

/* Loaders that differ between ranks would hand out other samples than anybody thinks: each
 * rank compares its signature with rank 0's. */
static accel_status_t compare_loaders(accel_t *accelerator, const accel_loader_t *loader)
{
    accel_comm_t *comm = accelerator->state.comm;
    char text[512] = "", first[512];
    uint64_t mine[1], of_first[1];
    accel_status_t status;

    mine[0] = of_first[0] = accel__loader_signature(loader, text, sizeof(text));
    memcpy(first, text, sizeof(first));
    status = accel_comm_broadcast(comm, of_first, 1, ACCEL_I64, 0);
    if (status == ACCEL_OK)
        status = accel_comm_broadcast(comm, first, sizeof(first), ACCEL_U8, 0);
    if (status != ACCEL_OK)
        return status;
    status = mine[0] == of_first[0]
                 ? ACCEL_OK
                 : accel__fail(ACCEL_ERR_MISMATCH, "the loader is %s on rank %d, but %s on rank 0",
                               text, (int)accelerator->state.process_index, first);
    return accel__comm_agree(comm, "accel_prepare_loader", status);
}

static accel_status_t prepare_loader(accel_t *accelerator, accel_loader_t *loader,
                                     const int64_t *lengths)
{
    accel__loader_world_t world = {.process_index = accelerator->state.process_index,
                                   .num_processes = accelerator->state.num_processes,
                                   .split_batches = accelerator->split_batches,
                                   .even_batches = accelerator->even_batches,
                                   .dispatch_batches = accelerator->dispatch_batches,
                                   .comm = accelerator->state.comm,
                                   .lengths = lengths,
                                   .active = &accelerator->active_loaders,
                                   .prepared = &accelerator->loaders};

    return accel__comm_agree(accelerator->state.comm, "accel_prepare_loader",
                             accel__loader_prepare(loader, &world));
}

accel_status_t accel_prepare_loader(accel_t *accelerator, accel_loader_t *loader)
{
    accel_status_t status =
        accel__check_object(accelerator, loader, "accel_prepare_loader", "loader");
    int64_t length, *lengths;

    if (status != ACCEL_OK)
        return status;
    if (accelerator->has_seed)
        accel__loader_set_default_seed(loader, accelerator->seed);
    status = compare_loaders(accelerator, loader);
    if (status != ACCEL_OK)
        return status;
    lengths = malloc((size_t)accelerator->state.num_processes * sizeof(*lengths));
    if (!lengths)
        status = accel__fail_memory("the lengths of a loader's data", sizeof(*lengths));
    status = accel__comm_agree(accelerator->state.comm, "accel_prepare_loader", status);
    length = accel__loader_own_length(loader);
    if (status == ACCEL_OK)
        status = accel__comm_meet(accelerator->state.comm, "accel_prepare_loader", 0, &length,
                                  sizeof(length), lengths);
    if (status == ACCEL_OK)
        status = prepare_loader(accelerator, loader, lengths);
    free(lengths);
    return status;
}

accel_status_t accel_skip_first_batches(accel_t *accelerator, accel_loader_t *loader,
                                        int64_t num_batches)
{
    accel_status_t status =
        accel__check_object(accelerator, loader, "accel_skip_first_batches", "loader");

    return status == ACCEL_OK ? accel_loader_skip(loader, num_batches) : status;
}

/* What is given must be the same on all ranks: it decides which collectives follow. */
static accel_status_t compare_arguments(accel_t *accelerator, int32_t given)
{
    int32_t all[1];
    accel_status_t status;

    all[0] = given;
    status = accel_comm_broadcast(accelerator->state.comm, all, 1, ACCEL_I32, 0);
    if (status != ACCEL_OK)
        return status;
    return accel__comm_agree(
        accelerator->state.comm, "accel_prepare",
        all[0] == given ? ACCEL_OK
                        : accel__fail(ACCEL_ERR_MISMATCH,
                                      "accel_prepare: rank %d passes other objects than rank 0 "
                                      "(one of them NULL here and not there)",
                                      (int)accelerator->state.process_index));
}

/* Models first: optimizers want theirs prepared. */
static accel_status_t prepare_all(accel_t *accelerator, accel_model_t *model,
                                  accel_optimizer_t *optimizer, accel_loader_t *loader,
                                  accel_scheduler_t *scheduler)
{
    accel_status_t status = ACCEL_OK;

    if (model)
        status = accel_prepare_model(accelerator, model);
    if (status == ACCEL_OK && optimizer)
        status = accel_prepare_optimizer(accelerator, optimizer);
    if (status == ACCEL_OK && loader)
        status = accel_prepare_loader(accelerator, loader);
    if (status == ACCEL_OK && scheduler)
        status = accel_prepare_scheduler(accelerator, scheduler);
    return status;
}

/* All of them or none: what this call has prepared is let go if a later object fails, which
 * it does on every rank. */
accel_status_t accel_prepare(accel_t *accelerator, accel_model_t *model,
                             accel_optimizer_t *optimizer, accel_loader_t *loader,
                             accel_scheduler_t *scheduler)
{
    const accel__link_t *last, *last_loader;
    accel_status_t status;

    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: accelerator is NULL");
    status = compare_arguments(accelerator, (model ? 1 : 0) | (optimizer ? 2 : 0) |
                                                (loader ? 4 : 0) | (scheduler ? 8 : 0));
    if (status != ACCEL_OK)
        return status;
    last = accelerator->gradient_state.prepared.previous;
    last_loader = accelerator->loaders.previous;
    status = prepare_all(accelerator, model, optimizer, loader, scheduler);
    if (status != ACCEL_OK) {
        accel__link_release_after(&accelerator->loaders, last_loader);
        accel__link_release_after(&accelerator->gradient_state.prepared, last);
    }
    return status;
}

accel_status_t accel_unprepare_model(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_unprepare_model");

    if (status == ACCEL_OK)
        status =
            accel__comm_meet(accelerator->state.comm, "accel_unprepare_model", 0, NULL, 0, NULL);
    if (status == ACCEL_OK)
        accel__model_unprepare(model);
    return status;
}

/* Each is let go as at the accelerator's end, which restores what the ranks shared: nobody may be
 * at it any more. */
accel_status_t accel_free_memory(accel_t *accelerator)
{
    accel__gradient_state_t *state;
    accel_status_t status;

    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "accel_free_memory: accelerator is NULL");
    state = &accelerator->gradient_state;
    if (state->joining)
        return accel__fail(ACCEL_ERR_STATE, "accel_free_memory: within join_uneven_inputs");
    status = accel__comm_meet(accelerator->state.comm, "accel_free_memory", 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status;
    accel__link_release_after(&accelerator->loaders, &accelerator->loaders);
    accel__link_release_after(&state->prepared, &state->prepared);
    accel__accumulate_anew(state);
    return ACCEL_OK;
}

/* ---- the step ---- */

static accel_status_t backward(accel_t *accelerator, accel_model_t *model, const char *call,
                               bool weighted, double weight)
{
    accel_status_t status = accel__check_model(accelerator, model, call);

    if (status != ACCEL_OK)
        return status;
    accel__span_begin("backward");
    status = accel__model_backward(model, weighted, weight);
    accel__span_end();
    return status;
}

accel_status_t accel_backward(accel_t *accelerator, accel_model_t *model)
{
    return backward(accelerator, model, "accel_backward", false, 1);
}

accel_status_t accel_backward_weighted(accel_t *accelerator, accel_model_t *model, double weight)
{
    return backward(accelerator, model, "accel_backward_weighted", true, weight);
}

double accel_gradient_scale(const accel_t *accelerator)
{
    return accelerator ? accel__gradient_scale(&accelerator->gradient_state) : 1;
}

accel_status_t accel_sync_gradients(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_sync_gradients");

    if (status != ACCEL_OK)
        return status;
    accel__span_begin("sync_gradients");
    status = accel__model_sync_gradients(model);
    accel__span_end();
    return status;
}

accel_status_t accel_clip_grad_norm(accel_t *accelerator, accel_model_t *model, double max_norm,
                                    double *norm)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_clip_grad_norm");

    if (status != ACCEL_OK)
        return status;
    accel__span_begin("clip_grad_norm");
    status = accel__model_clip_grad_norm(model, max_norm, norm);
    accel__span_end();
    return status;
}

accel_status_t accel_clip_grad_value(accel_t *accelerator, accel_model_t *model, double clip_value)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_clip_grad_value");

    return status == ACCEL_OK ? accel__model_clip_grad_value(model, clip_value) : status;
}

accel_status_t accel_unscale_gradients(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_unscale_gradients");

    return status == ACCEL_OK ? accel__model_unscale_gradients(model) : status;
}

accel_status_t accel_sync_buffers(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_sync_buffers");

    return status == ACCEL_OK ? accel__model_sync_buffers(model) : status;
}

accel_status_t accel_average_buffers(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_average_buffers");

    return status == ACCEL_OK ? accel__model_average_buffers(model) : status;
}
