/* SPDX-License-Identifier: Apache-2.0 */
/* What all optimizers share: state, and the step that averages, updates and publishes. */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

accel_status_t accel__check_option(const char *function, const char *name, double value, double min,
                                   double max)
{
    if (value >= min && value < max)
        return ACCEL_OK;
    if (isinf(max))
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is %g; expected a finite number >= %g",
                           function, name, value, min);
    return accel__fail(ACCEL_ERR_INVALID, "%s: %s is %g; expected %g <= %s < %g", function, name,
                       value, min, name, max);
}

accel_status_t accel__optimizer_create(accel_model_t *model, const accel__rule_t *rule,
                                       accel_optimizer_t **optimizer)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "the model of an %s optimizer is NULL", rule->name);
    *optimizer = calloc(1, sizeof(**optimizer));
    if (!*optimizer)
        return accel__fail_memory("an optimizer", sizeof(**optimizer));
    (*optimizer)->rule = rule;
    (*optimizer)->model = model;
    return ACCEL_OK;
}

static void free_states(accel_optimizer_t *optimizer)
{
    for (int r = 0; r < ACCEL__NUM_RUNS; r++)
        for (int s = 0; s < ACCEL__MAX_STATES; s++) {
            free(optimizer->states[r][s]);
            optimizer->states[r][s] = NULL;
        }
    optimizer->num_owners = 0;
}

void accel_optimizer_destroy(accel_optimizer_t *optimizer)
{
    if (!optimizer)
        return;
    accel__link_remove(&optimizer->link);
    free_states(optimizer);
    free(optimizer->average);
    free(optimizer);
}

/* Zeroed memory on a cache line, a large block on huge pages where the system grants them:
 * state is a rank's own, and every step walks through all of it. */
static accel_status_t make_block(size_t size, unsigned char **block)
{
    const size_t huge = (size_t)2 << 20;
    size_t alignment = size < huge ? ACCEL__PARAMETER_ALIGN : huge;
    size_t rounded = accel__round_up(size, alignment);

    *block = NULL;
    if (size == 0)
        return ACCEL_OK;
    *block = aligned_alloc(alignment, rounded);
    if (!*block)
        return accel__fail_memory("optimizer state", rounded);
    if (alignment == huge)
        (void)madvise(*block, rounded, MADV_HUGEPAGE); /* a hint */
    memset(*block, 0, size);
    return ACCEL_OK;
}

/* State for the slices of one owner. State that has begun to count cannot change owners: its
 * other parts lie with other ranks. */
static accel_status_t make_states(accel_optimizer_t *optimizer, int32_t owner, int32_t num_owners)
{
    accel_status_t status = ACCEL_OK;

    if (optimizer->num_owners == num_owners && optimizer->owner == owner)
        return ACCEL_OK;
    if (optimizer->num_steps > 0)
        return accel__fail(ACCEL_ERR_STATE,
                           "the optimizer has made steps with its state divided among %d ranks; "
                           "prepare it before the first step",
                           (int)optimizer->num_owners);
    accel__model_seal(optimizer->model);
    free_states(optimizer);
    for (int r = 0; r < ACCEL__NUM_RUNS; r++) {
        accel__slice_t slice =
            accel__layout_slice(&optimizer->model->layout.runs[r], owner, num_owners);

        for (int32_t s = 0; s < optimizer->num_states && status == ACCEL_OK; s++)
            status = make_block(slice.end - slice.begin, &optimizer->states[r][s]);
    }
    if (status == ACCEL_OK && !optimizer->average)
        status = make_block(ACCEL__BLOCK, &optimizer->average);
    if (status != ACCEL_OK) {
        free_states(optimizer);
        return status;
    }
    optimizer->owner = owner;
    optimizer->num_owners = num_owners;
    return ACCEL_OK;
}

/* ---- prepare ---- */

static void forget_state(void *object)
{
    accel_optimizer_t *optimizer = object;

    accel__link_remove(&optimizer->link);
    optimizer->state = NULL;
}

static accel_status_t prepare_locally(accel_optimizer_t *optimizer, accel__gradient_state_t *state,
                                      accel__text_t *description)
{
    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "accel_prepare: optimizer is NULL");
    if (optimizer->state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the optimizer is prepared already");
    if (optimizer->model->state != state)
        return accel__fail(ACCEL_ERR_STATE, "accel_prepare: the optimizer's model is not prepared "
                                            "by this accelerator; hand it over before, or with it");
    optimizer->rule->describe(optimizer, description);
    accel__text_append(description, "", 1);
    if (description->failed)
        return accel__fail_memory("an optimizer's description", description->length);
    return make_states(optimizer, accel_comm_rank(state->comm), accel_comm_size(state->comm));
}

accel_status_t accel__optimizer_prepare(accel_optimizer_t *optimizer,
                                        accel__gradient_state_t *state)
{
    accel__text_t description = {0};
    accel_status_t status = prepare_locally(optimizer, state, &description);

    status = accel__compare(state->comm, status, "the optimizer", false, &description);
    accel__text_free(&description);
    if (status != ACCEL_OK)
        return status;
    optimizer->state = state;
    accel__link_insert(&state->prepared, &optimizer->link, forget_state, optimizer);
    return ACCEL_OK;
}

/* ---- step ---- */

/* Is it the model's step on all ranks, or this process's own? An optimizer on the wrong side
 * of prepare is a mistake. */
static accel_status_t check_prepared(const accel_optimizer_t *optimizer, const char *function)
{
    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", function);
    if (optimizer->state == optimizer->model->state)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE, "%s: the %s is prepared, the %s is not", function,
                       optimizer->state ? "optimizer" : "model",
                       optimizer->state ? "model" : "optimizer");
}

/* One process alone: each parameter where its owner has it. The state is laid out as in an
 * arena of one rank. */
static accel_status_t step_alone(accel_optimizer_t *optimizer)
{
    const accel_model_t *model = optimizer->model;
    accel_status_t status = make_states(optimizer, 0, 1);

    if (status != ACCEL_OK)
        return status;
    optimizer->rule->begin(optimizer, optimizer->num_steps + 1, 1);
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];
        int r = param->dtype == ACCEL_F64;
        accel__piece_t piece = {.dtype = param->dtype, .count = param->count};

        if (param->kind != ACCEL_TRAINABLE)
            continue;
        piece.values = accel__pointer_get(param->value_at);
        piece.gradients = accel__pointer_get(param->gradient_at);
        for (int32_t s = 0; s < optimizer->num_states && param->count > 0; s++)
            piece.states[s] =
                optimizer->states[r][s] + (param->offset - model->layout.runs[r].offset);
        optimizer->rule->update(optimizer, &piece);
    }
    optimizer->num_steps++;
    return ACCEL_OK;
}

/* The average of the gradients in a block of this rank's slice: summed now, if it was not
 * before. */
static const void *averaged_block(accel_optimizer_t *optimizer, size_t offset, size_t count,
                                  accel_dtype_t dtype)
{
    accel__arena_t *arena = &optimizer->model->arena;

    if (optimizer->model->phase != ACCEL__RAW || arena->num_ranks == 1)
        return arena->gradients[arena->rank] + offset;
    accel__arena_average(arena, offset, count, dtype, optimizer->average);
    return optimizer->average;
}

static void update_slice(accel_optimizer_t *optimizer, int r)
{
    const accel__arena_t *arena = &optimizer->model->arena;
    const accel__run_t *run = &optimizer->model->layout.runs[r];
    accel__slice_t own = accel__layout_slice(run, arena->rank, arena->num_ranks);

    for (size_t at = own.begin; at < own.end; at += ACCEL__BLOCK) {
        size_t size = own.end - at < ACCEL__BLOCK ? own.end - at : ACCEL__BLOCK;
        accel__piece_t piece = {.dtype = run->dtype,
                                .values = arena->values + at,
                                .count = size / accel_dtype_size(run->dtype)};

        for (int32_t s = 0; s < optimizer->num_states; s++)
            piece.states[s] = optimizer->states[r][s] + (at - own.begin);
        piece.gradients = averaged_block(optimizer, at, piece.count, run->dtype);
        optimizer->rule->update(optimizer, &piece);
    }
}

/* Between the barriers each rank writes its own slice of the values and nobody reads any; the
 * first says that all gradients are complete, the second that all values are new. */
static accel_status_t step_together(accel_optimizer_t *optimizer)
{
    static const char name[] = "accel_optimizer_step";
    accel_model_t *model = optimizer->model;
    accel_status_t status = accel__model_usable(model, name);

    if (status != ACCEL_OK)
        return status;
    if (model->phase == ACCEL__SPENT)
        return accel__fail(ACCEL_ERR_STATE, "%s: the clipped gradients were used by a step already",
                           name);
    accel__model_collect_gradients(model);
    status = accel__model_meet(model, name, "the learning rate", optimizer->lr);
    if (status != ACCEL_OK)
        return status;
    accel__arena_update_begin(&model->arena);
    optimizer->rule->begin(optimizer, optimizer->num_steps + 1, model->clip);
    for (int r = 0; r < ACCEL__NUM_RUNS; r++)
        update_slice(optimizer, r);
    status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status; /* the version stays odd: the model is torn */
    accel__arena_update_end(&model->arena);
    if (model->phase == ACCEL__REDUCED)
        model->phase = ACCEL__SPENT;
    accel__model_return_values(model);
    optimizer->num_steps++;
    return ACCEL_OK;
}

accel_status_t accel_optimizer_step(accel_optimizer_t *optimizer)
{
    accel_status_t status = check_prepared(optimizer, "accel_optimizer_step");

    if (status != ACCEL_OK)
        return status;
    if (!optimizer->state)
        return step_alone(optimizer);
    if (!accel__is_sync_step(optimizer->state))
        return ACCEL_OK;
    return step_together(optimizer);
}

accel_status_t accel_optimizer_zero_grad(accel_optimizer_t *optimizer)
{
    accel_status_t status = check_prepared(optimizer, "accel_optimizer_zero_grad");

    if (status != ACCEL_OK)
        return status;
    if (!optimizer->state || accel__is_sync_step(optimizer->state))
        accel__model_zero_gradients(optimizer->model);
    return ACCEL_OK;
}

double accel_optimizer_get_lr(const accel_optimizer_t *optimizer)
{
    return optimizer ? optimizer->lr : 0;
}

accel_status_t accel_optimizer_set_lr(accel_optimizer_t *optimizer, double lr)
{
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "accel_optimizer_set_lr: optimizer is NULL");
    status = accel__check_option("accel_optimizer_set_lr", "lr", lr, 0, INFINITY);
    if (status == ACCEL_OK)
        optimizer->lr = lr;
    return status;
}

int64_t accel_optimizer_num_steps(const accel_optimizer_t *optimizer)
{
    return optimizer ? optimizer->num_steps : 0;
}
