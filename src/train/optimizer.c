/* SPDX-License-Identifier: Apache-2.0 */
/* What all optimizers share: the step that averages, updates and publishes. */
#include "train/optimizer.h"

#include "base/span.h"

#include <stdlib.h>
#include <string.h>

#include "train/join.h"

double accel__or_default(double value, double fallback)
{
    if (value == 0)
        return fallback;
    return value == ACCEL_ZERO ? 0 : value;
}

accel_status_t accel__optimizer_create(accel_model_t *model, const accel__rule_t *rule,
                                       const char *function, const double hypers[ACCEL__NUM_HYPERS],
                                       accel_optimizer_t **optimizer)
{
    accel__group_t *group;
    accel_status_t status;

    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "the model of an %s optimizer is NULL", rule->name);
    *optimizer = calloc(1, sizeof(**optimizer));
    group = calloc(1, sizeof(*group));
    if (!*optimizer || !group) {
        free(group);
        free(*optimizer);
        *optimizer = NULL;
        return accel__fail_memory("an optimizer", sizeof(**optimizer));
    }
    memcpy(group->hypers, hypers, sizeof(group->hypers));
    (*optimizer)->rule = rule;
    (*optimizer)->model = model;
    (*optimizer)->groups = group;
    (*optimizer)->num_groups = 1;
    status = accel__group_check(rule, function, group);
    if (status != ACCEL_OK) {
        accel_optimizer_destroy(*optimizer);
        *optimizer = NULL;
    }
    return status;
}

void accel_optimizer_destroy(accel_optimizer_t *optimizer)
{
    if (!optimizer)
        return;
    accel__link_remove(&optimizer->link);
    accel__optimizer_free_states(optimizer);
    free(optimizer->custom.name);
    free(optimizer->group_of);
    free(optimizer->groups);
    free(optimizer);
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
    if (optimizer->model->replicated)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "accel_prepare: the parameters of the optimizer's model are replicated: "
                           "the program updates them by itself");
    accel__groups_describe(optimizer, description);
    accel__text_append(description, "", 1);
    if (description->failed)
        return accel__fail_memory("an optimizer's description", description->length);
    return accel__optimizer_make_states(optimizer, accel_comm_rank(state->comm),
                                        accel_comm_size(state->comm));
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
    if (optimizer->model->shows_average)
        return accel__fail(ACCEL_ERR_STATE, "%s: between accel_ema_begin and _end", function);
    if (optimizer->state == optimizer->model->state)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE, "%s: the %s is prepared, the %s is not", function,
                       optimizer->state ? "optimizer" : "model",
                       optimizer->state ? "model" : "optimizer");
}

static void begin_group(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t)
{
    group->t = t;
    optimizer->rule->begin(optimizer, group, t,
                           optimizer->maximize ? -optimizer->grad_scale : optimizer->grad_scale);
}

static void begin_groups(accel_optimizer_t *optimizer, double grad_scale)
{
    optimizer->grad_scale = grad_scale;
    for (int32_t g = 0; g < optimizer->num_groups; g++) {
        accel__group_t *group = &optimizer->groups[g];

        group->t = 0;
        if (!group->frozen && !optimizer->param_steps)
            begin_group(optimizer, group, group->num_steps + 1);
    }
}

/* Is the parameter to be updated? Its group's scalars are then for its own number of updates, which
 * neighbours share as a rule. */
static bool begin_param(accel_optimizer_t *optimizer, int64_t index)
{
    accel__group_t *group = &optimizer->groups[accel__group_of(optimizer, index)];

    if (group->frozen || !accel_model_is_used(optimizer->model, index))
        return false;
    if (optimizer->param_steps && group->t != optimizer->param_steps[index] + 1)
        begin_group(optimizer, group, optimizer->param_steps[index] + 1);
    return true;
}

static void count_param(accel_optimizer_t *optimizer, int64_t index)
{
    const accel__group_t *group = &optimizer->groups[accel__group_of(optimizer, index)];

    optimizer->param_steps[index] += !group->frozen && accel_model_is_used(optimizer->model, index);
}

static void end_groups(accel_optimizer_t *optimizer)
{
    for (int64_t i = 0; i < optimizer->model->num_params && optimizer->param_steps; i++)
        count_param(optimizer, i);
    for (int32_t g = 0; g < optimizer->num_groups; g++)
        optimizer->groups[g].num_steps += !optimizer->groups[g].frozen;
    optimizer->num_steps++;
}

/* Masters and conversions lie in the arena: without one there is nothing to update. */
static accel_status_t check_alone(const accel_model_t *model)
{
    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE &&
            (accel__is_half(param->dtype) || param->gradient_dtype != param->dtype))
            return accel__fail(ACCEL_ERR_STATE,
                               "accel_optimizer_step: '%s' is %s with a %s gradient; such a model "
                               "must be prepared first, also in a process alone",
                               param->name, accel_dtype_name(param->dtype),
                               accel_dtype_name(param->gradient_dtype));
    }
    return ACCEL_OK;
}

/* How many elements go at a time: whole rows of a rule that asks for them. */
static size_t block_of(const accel_optimizer_t *optimizer, const accel__segment_t *segment)
{
    const accel__param_t *param = segment->param;
    size_t row;

    if (optimizer->custom.granularity == ACCEL_ELEMENT)
        return ACCEL__BLOCK / accel_dtype_size(optimizer->model->layout.runs[segment->run].dtype);
    if (optimizer->custom.granularity == ACCEL_TENSOR || param->ndim < 2 || param->count == 0)
        return optimizer->block;
    row = param->count / (size_t)param->shape[0];
    return optimizer->block / row * row;
}

static void update_alone(accel_optimizer_t *optimizer, const accel__param_t *param,
                         const accel__group_t *group)
{
    accel__segment_t segment = {.run = param->run, .param = param};
    size_t block = block_of(optimizer, &segment), width = accel_dtype_size(param->dtype);

    for (size_t at = 0; at < param->count; at += block) {
        accel__piece_t piece = {.dtype = param->dtype, .param = param, .first = at};

        piece.count = param->count - at < block ? param->count - at : block;
        piece.values = (unsigned char *)accel__pointer_get(param->value_at) + at * width;
        piece.gradients = (unsigned char *)accel__pointer_get(param->gradient_at) + at * width;
        accel__optimizer_states_at(optimizer, param->run, param->first + at, &piece);
        optimizer->rule->update(optimizer, group, &piece);
    }
}

/* One process alone: each parameter where its owner has it. The state is laid out as in an
 * arena of one rank. */
static accel_status_t step_alone(accel_optimizer_t *optimizer)
{
    const accel_model_t *model = optimizer->model;
    accel_status_t status = check_alone(model);

    if (status == ACCEL_OK)
        status = accel__optimizer_make_states(optimizer, 0, 1);
    if (status != ACCEL_OK)
        return status;
    begin_groups(optimizer, 1);
    for (int64_t i = 0; i < model->num_params; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE && begin_param(optimizer, i))
            update_alone(optimizer, model->params[i],
                         &optimizer->groups[accel__group_of(optimizer, i)]);
    end_groups(optimizer);
    return ACCEL_OK;
}

/* Averaged slices of several ranks: a rule that wants whole rows may reach over the bound. */
static const void *gather_average(accel_optimizer_t *optimizer, const accel__run_t *run,
                                  size_t first, size_t count)
{
    const accel__arena_t *arena = &optimizer->model->arena;
    size_t width = accel_dtype_size(run->gradient_dtype);

    for (int32_t r = 0; r < arena->num_ranks; r++) {
        accel__slice_t slice = accel__layout_slice(run, r, arena->num_ranks);
        size_t begin = slice.begin > first ? slice.begin : first;
        size_t end = slice.end < first + count ? slice.end : first + count;

        if (begin < end)
            memcpy(optimizer->average + (begin - first) * width,
                   accel__arena_gradients(arena, run, r, begin), (end - begin) * width);
    }
    return optimizer->average;
}

/* The average of `count` gradients of their own type: summed now, if it was not before. */
static const void *averaged(accel_optimizer_t *optimizer, int bucket, size_t first, size_t count)
{
    const accel__run_t *run = &optimizer->model->layout.runs[bucket];
    accel__arena_t *arena = &optimizer->model->arena;

    if (arena->num_ranks > 1 && optimizer->model->phase == ACCEL__RAW &&
        accel__overlap_is_raw(&optimizer->model->overlap, bucket)) {
        accel__arena_average(arena, run, first, count, optimizer->average);
        return optimizer->average;
    }
    if (optimizer->custom.granularity != ACCEL_ELEMENT && optimizer->model->phase == ACCEL__REDUCED)
        return gather_average(optimizer, run, first, count);
    return accel__arena_gradients(arena, run, arena->rank, first);
}

static void update_block(accel_optimizer_t *optimizer, const accel__segment_t *segment,
                         size_t first, size_t count)
{
    const accel__arena_t *arena = &optimizer->model->arena;
    const accel__run_t *run = &optimizer->model->layout.runs[segment->run];
    accel__piece_t piece = {.dtype = run->dtype,
                            .values = accel__arena_values(arena, run, first),
                            .gradients = averaged(optimizer, segment->run, first, count),
                            .count = count,
                            .param = segment->param,
                            .first = first - segment->begin};

    if (run->gradient_dtype != run->dtype) {
        accel__convert(optimizer->wide, run->dtype, piece.gradients, run->gradient_dtype, count);
        piece.gradients = optimizer->wide;
    }
    accel__optimizer_states_at(optimizer, segment->run, first, &piece);
    optimizer->rule->update(optimizer, &optimizer->groups[segment->group], &piece);
    accel__arena_copy(arena, run, first, count);
}

static void update_segment(accel_optimizer_t *optimizer, const accel__segment_t *segment)
{
    accel__slice_t own = optimizer->owned[segment->run];
    size_t begin = segment->begin > own.begin ? segment->begin : own.begin;
    size_t end = segment->end < own.end ? segment->end : own.end;
    size_t block = block_of(optimizer, segment);

    for (size_t at = begin; at < end; at += block)
        update_block(optimizer, segment, at, end - at < block ? end - at : block);
}

/* Of what was reduced early each rank has its slice only. A rule that reads over the bounds of
 * slices wants all of them reduced, or none. */
static accel_status_t receive_gradients(accel_optimizer_t *optimizer, const char *name)
{
    accel_model_t *model = optimizer->model;

    if (model->phase != ACCEL__RAW)
        return ACCEL_OK;
    if (optimizer->custom.granularity == ACCEL_ELEMENT || !model->overlap.announced_anywhere) {
        accel__overlap_receive_all(&model->overlap);
        return ACCEL_OK;
    }
    accel__model_reduce_slices(model);
    return accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
}

/* Meet, so that all gradients are complete and nobody reads values any more, and compare what
 * the groups are about to do. Under fp16 look first whether there will be a step. */
static accel_status_t meet_for_step(accel_optimizer_t *optimizer, const char *name)
{
    accel_model_t *model = optimizer->model;
    accel_status_t status = accel__model_usable(model, name);

    if (status != ACCEL_OK)
        return status;
    if (model->phase == ACCEL__SPENT)
        return accel__fail(ACCEL_ERR_STATE, "%s: the clipped gradients were used by a step already",
                           name);
    status = accel__join_announce(model->state, ACCEL__JOIN_STEP, &optimizer->link, 0,
                                  accel_optimizer_get_lr(optimizer));
    if (status == ACCEL_OK)
        status = accel__model_find_inf(model, name);
    if (status != ACCEL_OK || model->found_inf)
        return status;
    accel__model_collect_gradients(model);
    status = accel__model_meet(model, name, "the learning rate", accel_optimizer_get_lr(optimizer),
                               accel__groups_hash(optimizer));
    return status == ACCEL_OK ? receive_gradients(optimizer, name) : status;
}

/* Between the barriers each rank writes its own slice of the values and nobody reads any; the
 * second says that all values are new. */
static accel_status_t update_together(accel_optimizer_t *optimizer, const char *name)
{
    accel_model_t *model = optimizer->model;
    accel_status_t status;

    accel__arena_update_begin(&model->arena);
    begin_groups(optimizer, model->clip);
    for (int64_t i = 0; i < optimizer->num_segments; i++)
        if (begin_param(optimizer, optimizer->segments[i].index))
            update_segment(optimizer, &optimizer->segments[i]);
    status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status; /* the version stays odd: the model is torn */
    accel__arena_update_end(&model->arena);
    accel__model_return_values(model);
    end_groups(optimizer);
    return ACCEL_OK;
}

static accel_status_t step_together(accel_optimizer_t *optimizer)
{
    static const char name[] = "accel_optimizer_step";
    accel_model_t *model = optimizer->model;
    accel_status_t status = meet_for_step(optimizer, name);

    if (status == ACCEL_OK && !model->found_inf)
        status = update_together(optimizer, name);
    if (status != ACCEL_OK)
        return status;
    optimizer->skipped = model->found_inf;
    accel__scaler_update(&optimizer->state->scaler, model->found_inf);
    if (model->phase == ACCEL__REDUCED ||
        (model->phase == ACCEL__RAW && model->overlap.announced_anywhere))
        model->phase = ACCEL__SPENT;
    accel__model_next_window(model);
    return ACCEL_OK;
}

static accel_status_t step(accel_optimizer_t *optimizer)
{
    accel_status_t status = check_prepared(optimizer, "accel_optimizer_step");

    if (status != ACCEL_OK)
        return status;
    if (!optimizer->state)
        return step_alone(optimizer);
    if (!accel__model_syncs(optimizer->state, optimizer->model))
        return ACCEL_OK;
    return step_together(optimizer);
}

accel_status_t accel_optimizer_step(accel_optimizer_t *optimizer)
{
    accel_status_t status;

    accel__span_begin("optimizer_step");
    status = step(optimizer);
    accel__span_end();
    return status;
}

accel_status_t accel_optimizer_zero_grad(accel_optimizer_t *optimizer)
{
    accel_status_t status = check_prepared(optimizer, "accel_optimizer_zero_grad");

    if (status != ACCEL_OK)
        return status;
    if (optimizer->state && !accel__model_syncs(optimizer->state, optimizer->model))
        return ACCEL_OK;
    accel__span_begin("zero_grad");
    accel__model_zero_gradients(optimizer->model);
    accel__span_end();
    return ACCEL_OK;
}

bool accel_optimizer_step_was_skipped(const accel_optimizer_t *optimizer)
{
    return optimizer && optimizer->skipped;
}

bool accel__any_step_was_skipped(const accel__gradient_state_t *state)
{
    for (const accel__link_t *link = state->prepared.next; link != &state->prepared;
         link = link->next)
        if (link->release == forget_state && ((const accel_optimizer_t *)link->object)->skipped)
            return true;
    return false;
}

int64_t accel_optimizer_num_steps(const accel_optimizer_t *optimizer)
{
    return optimizer ? optimizer->num_steps : 0;
}
