/* SPDX-License-Identifier: Apache-2.0 */
/* What an optimizer keeps beside the parameters, for what one rank owns of them. */
#include "train/optimizer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- who updates what ---- */

/* Elements of a parameter that must stay together. */
static size_t whole(const accel_optimizer_t *optimizer, const accel__param_t *param)
{
    switch (optimizer->custom.granularity) {
    case ACCEL_ROW:
        return param->ndim < 2 || param->shape[0] == 0 ? param->count
                                                       : param->count / (size_t)param->shape[0];
    case ACCEL_TENSOR:
        return param->count;
    case ACCEL_ELEMENT:
        break;
    }
    return 1;
}

/* `at`, or where the row or tensor ends that it would cut. */
static size_t move_bound(const accel_optimizer_t *optimizer, int run, size_t at)
{
    const accel_model_t *model = optimizer->model;

    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && param->run == run && at > param->first &&
            at < param->first + param->count)
            return param->first + accel__round_up(at - param->first, whole(optimizer, param));
    }
    return at;
}

accel__slice_t accel__optimizer_slice(const accel_optimizer_t *optimizer, int run, int32_t owner,
                                      int32_t num_owners)
{
    accel__slice_t slice =
        accel__layout_slice(&optimizer->model->layout.runs[run], owner, num_owners);

    if (optimizer->custom.granularity != ACCEL_ELEMENT) {
        slice.begin = move_bound(optimizer, run, slice.begin);
        slice.end = move_bound(optimizer, run, slice.end);
    }
    return slice;
}

/* ---- segments ---- */

/* A parameter's elements, up to where the next one begins, belong to the segment before if that
 * is of the same run and group: padding is zero and stays so. Unless each is updated for itself. */
static void add_segment(accel_optimizer_t *optimizer, int64_t index, size_t end)
{
    const accel__param_t *param = optimizer->model->params[index];
    int32_t group = accel__group_of(optimizer, index);
    accel__segment_t *last =
        optimizer->num_segments > 0 ? &optimizer->segments[optimizer->num_segments - 1] : NULL;

    if (last && last->run == param->run && last->group == group && !optimizer->custom.update &&
        !optimizer->param_steps) {
        last->end = end;
        return;
    }
    optimizer->segments[optimizer->num_segments++] =
        (accel__segment_t){.run = param->run,
                           .begin = param->first,
                           .end = end,
                           .group = group,
                           .index = index,
                           .param = optimizer->custom.update ? param : NULL};
}

/* The trainable parameter of that run after `index`, or where the run ends. */
static size_t next_first(const accel_model_t *model, int64_t index, int run)
{
    for (int64_t i = index + 1; i < model->num_params; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE && model->params[i]->run == run)
            return model->params[i]->first;
    return model->layout.runs[run].count;
}

static accel_status_t make_segments(accel_optimizer_t *optimizer)
{
    const accel_model_t *model = optimizer->model;
    size_t size = ((size_t)model->num_params + 1) * sizeof(*optimizer->segments);

    free(optimizer->segments);
    optimizer->num_segments = 0;
    optimizer->segments = malloc(size);
    if (!optimizer->segments)
        return accel__fail_memory("an optimizer's segments", size);
    for (int run = 0; run < model->layout.num_runs; run++)
        for (int64_t i = 0; i < model->num_params; i++) {
            const accel__param_t *param = model->params[i];

            if (param->kind == ACCEL_TRAINABLE && param->run == run)
                add_segment(optimizer, i,
                            optimizer->custom.update ? param->first + param->count
                                                     : next_first(model, i, run));
        }
    return ACCEL_OK;
}

/* ---- memory ---- */

void accel__optimizer_free_states(accel_optimizer_t *optimizer)
{
    for (int r = 0; r < optimizer->num_runs; r++)
        for (int s = 0; s < ACCEL_MAX_STATES; s++)
            free(optimizer->states[r][s]);
    free(optimizer->states);
    free(optimizer->owned);
    free(optimizer->average);
    free(optimizer->wide);
    free(optimizer->segments);
    free(optimizer->param_steps);
    optimizer->param_steps = NULL;
    optimizer->states = NULL;
    optimizer->owned = NULL;
    optimizer->num_runs = 0;
    optimizer->average = optimizer->wide = NULL;
    optimizer->segments = NULL;
    optimizer->num_segments = 0;
    optimizer->num_owners = 0;
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

/* Adagrad's sums need not begin at zero. */
static void fill(void *block, accel_dtype_t dtype, size_t count, double value)
{
    if (value == 0 || !block)
        return;
    for (size_t i = 0; i < count; i++) {
        if (dtype == ACCEL_F64)
            ((double *)block)[i] = value;
        else
            ((float *)block)[i] = (float)value;
    }
}

static accel_status_t make_run_states(accel_optimizer_t *optimizer, int r)
{
    accel_dtype_t dtype = optimizer->model->layout.runs[r].dtype;
    unsigned char **states = optimizer->states[r];
    size_t count = optimizer->owned[r].end - optimizer->owned[r].begin;
    accel_status_t status = ACCEL_OK;

    for (int32_t s = 0; s < optimizer->num_states && status == ACCEL_OK; s++) {
        status = make_block(count * accel_dtype_size(dtype), &states[s]);
        if (status == ACCEL_OK)
            fill(states[s], dtype, count, optimizer->initial_accumulator_value);
    }
    return status;
}

static accel_status_t make_runs(accel_optimizer_t *optimizer)
{
    size_t runs = (size_t)optimizer->model->layout.num_runs;

    optimizer->owned = calloc(runs + 1, sizeof(*optimizer->owned));
    optimizer->states = calloc(runs + 1, sizeof(*optimizer->states));
    if (!optimizer->owned || !optimizer->states)
        return accel__fail_memory("an optimizer's runs", (runs + 1) * sizeof(*optimizer->states));
    optimizer->num_runs = (int)runs;
    return ACCEL_OK;
}

/* Room to average in: a few kilobytes, or what a rule wants to see whole. */
static accel_status_t make_scratch(accel_optimizer_t *optimizer)
{
    const accel_model_t *model = optimizer->model;
    size_t most = ACCEL__BLOCK / sizeof(float);
    accel_status_t status;

    for (int64_t i = 0; i < model->num_params; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE && whole(optimizer, model->params[i]) > most)
            most = whole(optimizer, model->params[i]);
    optimizer->block = most;
    status = make_block(most * sizeof(double), &optimizer->average);
    return status == ACCEL_OK ? make_block(most * sizeof(double), &optimizer->wide) : status;
}

static accel_status_t make_param_steps(accel_optimizer_t *optimizer)
{
    const accel_model_t *model = optimizer->model;
    size_t count = (size_t)model->num_params + 1;

    if (!model->find_unused)
        return ACCEL_OK;
    optimizer->param_steps = calloc(count, sizeof(*optimizer->param_steps));
    return optimizer->param_steps ? ACCEL_OK
                                  : accel__fail_memory("a count of updates for each parameter",
                                                       count * sizeof(*optimizer->param_steps));
}

static accel_status_t make_owned(accel_optimizer_t *optimizer, int32_t owner, int32_t num_owners)
{
    accel_status_t status = make_runs(optimizer);

    for (int r = 0; r < optimizer->num_runs && status == ACCEL_OK; r++) {
        optimizer->owned[r] = accel__optimizer_slice(optimizer, r, owner, num_owners);
        status = make_run_states(optimizer, r);
    }
    return status;
}

accel_status_t accel__optimizer_make_states(accel_optimizer_t *optimizer, int32_t owner,
                                            int32_t num_owners)
{
    accel_status_t status;

    if (optimizer->num_owners == num_owners && optimizer->owner == owner)
        return ACCEL_OK;
    if (optimizer->num_steps > 0)
        return accel__fail(ACCEL_ERR_STATE,
                           "the optimizer has made steps with its state divided among %d ranks; "
                           "prepare it before the first step",
                           (int)optimizer->num_owners);
    accel__model_seal(optimizer->model);
    accel__optimizer_free_states(optimizer);
    status = make_param_steps(optimizer);
    if (status == ACCEL_OK)
        status = make_segments(optimizer);
    if (status == ACCEL_OK)
        status = make_owned(optimizer, owner, num_owners);
    if (status == ACCEL_OK)
        status = make_scratch(optimizer);
    if (status != ACCEL_OK) {
        accel__optimizer_free_states(optimizer);
        return status;
    }
    optimizer->owner = owner;
    optimizer->num_owners = num_owners;
    return ACCEL_OK;
}

void accel__optimizer_states_at(const accel_optimizer_t *optimizer, int run, size_t first,
                                accel__piece_t *piece)
{
    size_t offset = (first - optimizer->owned[run].begin) *
                    accel_dtype_size(optimizer->model->layout.runs[run].dtype);

    for (int32_t s = 0; s < optimizer->num_states; s++)
        piece->states[s] = optimizer->states[run][s] + offset;
}
