/* SPDX-License-Identifier: Apache-2.0 */
/* What needs the whole average before the first update: clipping, and the loss scale's question
 * whether everything is finite. Factors are not applied to the gradients but remembered in
 * `clip`, which the step multiplies by as it goes; only gradients that the user sees, averaged on
 * every rank, are changed at once. */
#include "train/params.h"

#include <math.h>
#include <string.h>

#include "train/join.h"
#include "train/kernels.h"

/* The most elements in a run's unit. */
#define MAX_UNIT (ACCEL__PAGE / 2)

typedef struct visit {
    void (*see)(const accel__kernels_t *kernels, void *gradients, size_t count, double *number);
    bool changes; /* the gradients: else none are written back */
} visit_t;

/* One unit of a run: low-precision gradients as float32. */
static void visit_unit(const accel_model_t *model, const accel__run_t *run, size_t at,
                       const visit_t *visit, double *number)
{
    void *gradients = accel__arena_gradients(&model->arena, run, model->arena.rank, at);
    float wide[MAX_UNIT];

    if (!accel__is_half(run->gradient_dtype)) {
        visit->see(accel__kernels(run->gradient_dtype), gradients, run->unit, number);
        return;
    }
    accel__convert(wide, ACCEL_F32, gradients, run->gradient_dtype, run->unit);
    visit->see(accel__kernels(ACCEL_F32), wide, run->unit, number);
    if (visit->changes)
        accel__convert(gradients, run->gradient_dtype, wide, ACCEL_F32, run->unit);
}

/* This rank's slices, or all of its gradients, unit by unit, so that the parts of a sum do not
 * depend on the number of ranks. */
static void visit_gradients(const accel_model_t *model, bool all, const visit_t *visit,
                            double *number)
{
    const accel__arena_t *arena = &model->arena;

    for (int i = 0; i < model->layout.num_runs; i++) {
        const accel__run_t *run = &model->layout.runs[i];
        accel__slice_t part = all ? (accel__slice_t){0, run->count}
                                  : accel__layout_slice(run, arena->rank, arena->num_ranks);

        for (size_t at = part.begin; at < part.end; at += run->unit)
            visit_unit(model, run, at, visit, number);
    }
}

static void add_squares(const accel__kernels_t *kernels, void *gradients, size_t count,
                        double *number)
{
    *number += kernels->sum_of_squares(gradients, count);
}

static void multiply(const accel__kernels_t *kernels, void *gradients, size_t count, double *number)
{
    kernels->scale(gradients, *number, count);
}

static void clamp(const accel__kernels_t *kernels, void *gradients, size_t count, double *number)
{
    kernels->clamp(gradients, *number, count);
}

/* Zero if all are finite, else NaN. */
static void probe(const accel__kernels_t *kernels, void *gradients, size_t count, double *number)
{
    *number += kernels->zero_if_finite(gradients, count);
}

static const visit_t squares = {add_squares, false}, factor = {multiply, true},
                     limits = {clamp, true}, probes = {probe, false};

void accel__model_apply_clip(accel_model_t *model)
{
    if (model->clip != 1)
        visit_gradients(model, true, &factor, &model->clip);
    model->clip = 1;
    accel__model_return_gradients(model);
}

/* The ranks' numbers, added in rank order. The barrier of it also tells that every rank has
 * reduced its slice. */
static accel_status_t add_up(accel__arena_t *arena, const char *operation, double *number)
{
    double total = 0;
    accel_status_t status =
        accel__comm_meet(arena->comm, operation, 0, number, sizeof(*number), arena->met);

    for (int32_t r = 0; status == ACCEL_OK && r < arena->num_ranks; r++) {
        double part;

        memcpy(&part, arena->met + (size_t)r * sizeof(part), sizeof(part));
        total += part;
    }
    *number = total;
    return status;
}

/* Meet, compare `value`, and have the slices reduced. */
static accel_status_t reduce(accel_model_t *model, const char *operation, const char *what,
                             double value)
{
    accel_status_t status;

    accel__model_collect_gradients(model);
    status = accel__model_meet(model, operation, what, value, 0);
    if (status == ACCEL_OK && model->phase == ACCEL__RAW)
        accel__model_reduce_slices(model);
    return status;
}

/* With the slices reduced. */
static accel_status_t unscale(accel_model_t *model, const char *operation)
{
    double sum = 0;
    accel_status_t status;

    if (!model->state->scaler.enabled || model->unscaled)
        return ACCEL_OK;
    visit_gradients(model, false, &probes, &sum);
    status = add_up(&model->arena, operation, &sum);
    if (status != ACCEL_OK)
        return status;
    model->found_inf = isnan(sum);
    model->clip *= 1 / model->loss_scale;
    model->unscaled = true;
    return ACCEL_OK;
}

accel_status_t accel__model_find_inf(accel_model_t *model, const char *operation)
{
    accel_status_t status;

    if (!model->state->scaler.enabled || model->unscaled)
        return ACCEL_OK;
    status = reduce(model, operation, "the loss scale", model->loss_scale);
    return status == ACCEL_OK ? unscale(model, operation) : status;
}

/* May the call go on? *nothing: off a sync step it has nothing to do. */
static accel_status_t begin(const accel_model_t *model, const char *operation, bool *nothing)
{
    accel_status_t status = accel__model_usable(model, operation);

    *nothing = status == ACCEL_OK && !accel__model_syncs(model->state, model);
    if (status != ACCEL_OK || *nothing)
        return status;
    return accel__model_check_unspent(model, operation);
}

/* What the user sees must be unscaled in place, and float16 has no room for that below. */
static accel_status_t check_in_place(const accel_model_t *model, const char *operation)
{
    if (model->phase != ACCEL__AVERAGED || !model->state->scaler.enabled || model->unscaled)
        return ACCEL_OK;
    for (int i = 0; i < model->layout.num_runs; i++)
        if (model->layout.runs[i].gradient_dtype == ACCEL_F16)
            return accel__fail(ACCEL_ERR_UNSUPPORTED,
                               "%s: float16 gradients that are averaged on every rank cannot be "
                               "unscaled in place: they would vanish; register float32 gradients, "
                               "or leave them local",
                               operation);
    return ACCEL_OK;
}

accel_status_t accel__model_unscale_gradients(accel_model_t *model)
{
    static const char name[] = "accel_unscale_gradients";
    bool nothing;
    accel_status_t status = begin(model, name, &nothing);

    if (status != ACCEL_OK || nothing)
        return status;
    status = check_in_place(model, name);
    if (status == ACCEL_OK && model->state->scaler.enabled && !model->unscaled)
        status = accel__join_announce(model->state, ACCEL__JOIN_UNSCALE, &model->link, 0, 0);
    if (status == ACCEL_OK)
        status = accel__model_find_inf(model, name);
    if (status == ACCEL_OK && model->phase == ACCEL__AVERAGED)
        accel__model_apply_clip(model);
    return status;
}

/* torch.nn.utils.clip_grad_norm_'s; a norm that is no number makes the coefficient one, too. */
static double clip_coefficient(double max_norm, double norm)
{
    double coefficient = max_norm / (norm + 1e-6);

    return coefficient >= 1 ? 1 : coefficient;
}

static accel_status_t check_limit(const accel_model_t *model, const char *operation,
                                  const char *what, double limit)
{
    if (!(limit >= 0))
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is %g; expected a number >= 0", operation,
                           what, limit);
    return check_in_place(model, operation);
}

accel_status_t accel__model_clip_grad_norm(accel_model_t *model, double max_norm, double *norm)
{
    static const char name[] = "accel_clip_grad_norm";
    bool nothing;
    accel_status_t status = begin(model, name, &nothing);
    double total = 0;

    if (norm)
        *norm = 0;
    if (status != ACCEL_OK || nothing)
        return status;
    status = check_limit(model, name, "max_norm", max_norm);
    if (status == ACCEL_OK)
        status =
            accel__join_announce(model->state, ACCEL__JOIN_CLIP_NORM, &model->link, max_norm, 0);
    if (status == ACCEL_OK)
        status = reduce(model, name, "max_norm", max_norm);
    if (status == ACCEL_OK)
        status = unscale(model, name);
    if (status != ACCEL_OK)
        return status;
    visit_gradients(model, false, &squares, &total);
    status = add_up(&model->arena, name, &total);
    if (status != ACCEL_OK)
        return status;
    total = model->clip * sqrt(total);
    if (norm)
        *norm = total;
    model->clip *= clip_coefficient(max_norm, total);
    if (model->phase == ACCEL__AVERAGED)
        accel__model_apply_clip(model);
    return ACCEL_OK;
}

accel_status_t accel__model_clip_grad_value(accel_model_t *model, double clip_value)
{
    static const char name[] = "accel_clip_grad_value";
    bool nothing;
    accel_status_t status = begin(model, name, &nothing);
    double limit;

    if (status != ACCEL_OK || nothing)
        return status;
    status = check_limit(model, name, "clip_value", clip_value);
    if (status == ACCEL_OK)
        status =
            accel__join_announce(model->state, ACCEL__JOIN_CLIP_VALUE, &model->link, clip_value, 0);
    if (status == ACCEL_OK)
        status = reduce(model, name, "clip_value", clip_value);
    if (status == ACCEL_OK)
        status = unscale(model, name);
    if (status != ACCEL_OK)
        return status;
    limit = model->clip > 0 ? clip_value / model->clip : clip_value; /* of zero times anything */
    visit_gradients(model, model->phase == ACCEL__AVERAGED, &limits, &limit);
    if (model->phase == ACCEL__AVERAGED)
        accel__model_apply_clip(model);
    return ACCEL_OK;
}
