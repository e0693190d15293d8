/* SPDX-License-Identifier: Apache-2.0 */
#include "train/join.h"

#include <stdlib.h>

#include "train/optimizer.h"
#include "train/params.h"
#include "train/schedule.h"

static const char name[] = "accel_join_uneven_inputs";

static const char *const calls[] = {"accel_join_uneven_inputs_end", "accel_sync_gradients",
                                    "accel_unscale_gradients",      "accel_clip_grad_norm",
                                    "accel_clip_grad_value",        "accel_optimizer_step",
                                    "accel_scheduler_step",         "accel_check_trigger"};

static int64_t place_of(const accel__gradient_state_t *state, const accel__link_t *object)
{
    int64_t place = 0;

    if (!object)
        return -1;
    for (const accel__link_t *link = state->prepared.next; link != object; link = link->next)
        place++;
    return place;
}

/* Every rank has prepared the same objects in the same order. */
static void *object_at(const accel__gradient_state_t *state, int64_t place)
{
    const accel__link_t *link = state->prepared.next;

    for (; place > 0; place--)
        link = link->next;
    return link->object;
}

/* Of all ranks' notes: what those with batches are about to do. They must agree. */
static accel_status_t find_active(const accel__join_note_t *notes, int32_t num_ranks,
                                  accel__join_note_t *active)
{
    int32_t first = -1;

    *active = (accel__join_note_t){.operation = ACCEL__JOIN_DONE, .object = -1};
    for (int32_t r = 0; r < num_ranks; r++) {
        if (notes[r].operation == ACCEL__JOIN_DONE)
            continue;
        if (first < 0) {
            first = r;
            *active = notes[r];
        } else if (notes[r].operation != active->operation || notes[r].object != active->object) {
            return accel__fail(ACCEL_ERR_MISMATCH,
                               "%s: rank %d calls %s, rank %d calls %s (object %lld, object %lld)",
                               name, (int)first, calls[active->operation], (int)r,
                               calls[notes[r].operation], (long long)active->object,
                               (long long)notes[r].object);
        }
    }
    return ACCEL_OK;
}

static accel_status_t meet(const accel__gradient_state_t *state, const accel__join_note_t *mine,
                           accel__join_note_t *active)
{
    int32_t num_ranks = accel_comm_size(state->comm);
    accel__join_note_t *notes = calloc((size_t)num_ranks, sizeof(*notes));
    accel_status_t status;

    if (!notes) {
        status = accel__fail_memory("the ranks' notes", sizeof(*notes));
        return accel_comm_abort(state->comm, status, accel_last_error());
    }
    status = accel__comm_meet(state->comm, name, 0, mine, sizeof(*mine), notes);
    if (status == ACCEL_OK)
        status = find_active(notes, num_ranks, active);
    free(notes);
    return status;
}

accel_status_t accel__join_announce(const accel__gradient_state_t *state,
                                    accel__join_operation_t operation, const accel__link_t *object,
                                    double value, double lr)
{
    accel__join_note_t mine = {.operation = operation, .value = value, .lr = lr}, active;

    if (!state || !state->joining || state->shadowing)
        return ACCEL_OK;
    mine.object = place_of(state, object);
    return meet(state, &mine, &active);
}

accel_status_t accel__join_next(const accel__gradient_state_t *state, accel__join_note_t *note)
{
    accel__join_note_t mine = {.operation = ACCEL__JOIN_DONE, .object = -1};

    return meet(state, &mine, note);
}

/* A foreign optimizer has no step that this library could make for it. */
accel_status_t accel__join_check(const accel__gradient_state_t *state)
{
    for (const accel__link_t *link = state->prepared.next; link != &state->prepared;
         link = link->next) {
        const accel_model_t *model = accel__model_of_link(link);

        if (model && model->replicated)
            return accel__fail(ACCEL_ERR_UNSUPPORTED,
                               "%s_begin: the parameters of a prepared model are replicated: only "
                               "the program can update them",
                               name);
    }
    return ACCEL_OK;
}

/* ---- a rank without batches ---- */

/* Batches of a window that never came to its step still count; what an earlier step used, not. */
void accel__join_begin_shadow(accel__gradient_state_t *state)
{
    for (const accel__link_t *link = state->prepared.next; link != &state->prepared;
         link = link->next) {
        accel_model_t *model = accel__model_of_link(link);

        if (model && model->share.backwards == 0) {
            accel__model_zero_gradients(model);
            accel__model_clear_gradients(model);
        }
    }
    state->sync_step = true;
    state->shadowing = true;
}

static accel_status_t mirror_on_model(accel_model_t *model, const accel__join_note_t *note)
{
    if (model->phase == ACCEL__RAW)
        model->loss_scale = model->state->scaler.scale;
    switch ((accel__join_operation_t)note->operation) {
    case ACCEL__JOIN_SYNC:
        if (model->phase == ACCEL__AVERAGED) /* the others have added to theirs */
            accel__model_forget_reduction(model);
        model->state->sync_step = note->value != 0;
        return accel__model_sync_gradients(model);
    case ACCEL__JOIN_UNSCALE:
        return accel__model_unscale_gradients(model);
    case ACCEL__JOIN_CLIP_NORM:
        return accel__model_clip_grad_norm(model, note->value, NULL);
    default:
        return accel__model_clip_grad_value(model, note->value);
    }
}

static accel_status_t mirror_step(accel_optimizer_t *optimizer, double lr)
{
    accel_model_t *model = optimizer->model;
    accel_status_t status = ACCEL_OK;

    if (model->phase == ACCEL__RAW)
        model->loss_scale = model->state->scaler.scale;
    if (accel_optimizer_get_lr(optimizer) != lr)
        status = accel_optimizer_set_lr(optimizer, lr);
    if (status == ACCEL_OK)
        status = accel_optimizer_step(optimizer);
    if (status != ACCEL_OK)
        return status;
    accel__model_zero_gradients(model);
    if (model->overwrites_gradients)
        accel__model_clear_gradients(model);
    return ACCEL_OK;
}

accel_status_t accel__join_mirror(accel__gradient_state_t *state, const accel__join_note_t *note)
{
    void *object = object_at(state, note->object);

    state->sync_step = true;
    if (note->operation == ACCEL__JOIN_STEP)
        return mirror_step(object, note->lr);
    if (note->operation == ACCEL__JOIN_SCHEDULE)
        return accel_scheduler_step_metric(object, note->value);
    return mirror_on_model(object, note);
}
