/* SPDX-License-Identifier: Apache-2.0 */
/* Averages of the parameters. A rank averages the slices that its optimizers update: nobody else
 * writes them, so an update needs no barrier; showing the averages to all does. */
#include <accel/ema.h>

#include <stdlib.h>
#include <string.h>

#include "train/kernels.h"
#include "train/params.h"

/* Bytes exchanged at a time. */
#define BLOCK 4096

struct accel_ema {
    accel_model_t *model; /* borrowed */
    double decay;
    bool equal_weights;
    int64_t num_updates;
    bool shown; /* between _begin and _end: the averages are in the model, its values here */
    int32_t rank, num_ranks;  /* whose slices */
    int num_runs;             /* 0: no memory yet */
    unsigned char **averages; /* by run */
};

accel_status_t accel_ema_create(accel_model_t *model, const accel_ema_options_t *options,
                                accel_ema_t **ema)
{
    accel_ema_options_t read = {0};
    accel_status_t status;

    if (!ema || !model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_ema_create: %s is NULL",
                           ema ? "model" : "ema");
    *ema = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_ema_options_t");
    if (status != ACCEL_OK)
        return status;
    if (read.decay == 0)
        read.decay = 0.999;
    if (read.decay == ACCEL_ZERO)
        read.decay = 0;
    if (!(read.decay >= 0 && read.decay <= 1))
        return accel__fail(ACCEL_ERR_INVALID, "accel_ema_create: decay is %g; expected 0 to 1",
                           read.decay);
    *ema = calloc(1, sizeof(**ema));
    if (!*ema)
        return accel__fail_memory("an average of parameters", sizeof(**ema));
    (*ema)->model = model;
    (*ema)->decay = read.decay;
    (*ema)->equal_weights = read.equal_weights;
    return ACCEL_OK;
}

/* Are the values where their owner has them, all on this rank? */
static bool is_local(const accel_model_t *model)
{
    return !model->state || model->replicated;
}

static void free_averages(accel_ema_t *ema)
{
    for (int r = 0; r < ema->num_runs; r++)
        free(ema->averages[r]);
    free(ema->averages);
    ema->averages = NULL;
    ema->num_runs = 0;
}

void accel_ema_destroy(accel_ema_t *ema)
{
    if (!ema)
        return;
    if (ema->shown)
        ema->model->shows_average = false;
    free_averages(ema);
    free(ema);
}

int64_t accel_ema_num_updates(const accel_ema_t *ema)
{
    return ema ? ema->num_updates : 0;
}

static accel__slice_t own_slice(const accel_ema_t *ema, int run)
{
    return accel__layout_slice(&ema->model->layout.runs[run], ema->rank, ema->num_ranks);
}

/* Averages that have begun cannot change ranks: other parts of them lie elsewhere. */
static accel_status_t make_averages(accel_ema_t *ema)
{
    accel_model_t *model = ema->model;
    int32_t rank = is_local(model) ? 0 : model->arena.rank;
    int32_t num_ranks = is_local(model) ? 1 : model->arena.num_ranks;
    size_t runs;

    if (ema->num_runs > 0 && ema->rank == rank && ema->num_ranks == num_ranks)
        return ACCEL_OK;
    if (ema->num_updates > 0)
        return accel__fail(ACCEL_ERR_STATE,
                           "the average has updates divided among %d ranks; prepare the model "
                           "before the first",
                           (int)ema->num_ranks);
    accel__model_seal(model);
    free_averages(ema);
    ema->rank = rank;
    ema->num_ranks = num_ranks;
    runs = (size_t)model->layout.num_runs;
    ema->averages = calloc(runs + 1, sizeof(*ema->averages));
    if (!ema->averages)
        return accel__fail_memory("averages of parameters", (runs + 1) * sizeof(*ema->averages));
    for (size_t r = 0; r < runs; r++) {
        accel__slice_t own = own_slice(ema, (int)r);
        size_t size = (own.end - own.begin) * accel_dtype_size(model->layout.runs[r].dtype);

        ema->averages[r] = calloc(1, size + 1);
        if (!ema->averages[r])
            return accel__fail_memory("averages of parameters", size);
        ema->num_runs++;
    }
    return ACCEL_OK;
}

/* `values` and `average`, `count` elements of both, which stand for one another. */
typedef void (*pair_fn)(accel_ema_t *ema, accel_dtype_t dtype, unsigned char *values,
                        unsigned char *average, size_t count);

static void take(accel_ema_t *ema, accel_dtype_t dtype, unsigned char *values,
                 unsigned char *average, size_t count)
{
    double weight = ema->equal_weights ? 1 / ((double)ema->num_updates + 1) : 1 - ema->decay;

    if (ema->num_updates == 0)
        memcpy(average, values, count * accel_dtype_size(dtype));
    else
        accel__kernels(dtype)->lerp(average, values, weight, count);
}

static void exchange(accel_ema_t *ema, accel_dtype_t dtype, unsigned char *values,
                     unsigned char *average, size_t count)
{
    size_t size = count * accel_dtype_size(dtype);
    unsigned char block[BLOCK];

    (void)ema;
    accel__assume(values && average);
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t part = size - at < BLOCK ? size - at : BLOCK;

        memcpy(block, values + at, part);
        memcpy(values + at, average + at, part);
        memcpy(average + at, block, part);
    }
}

/* Parameter by parameter, where the owner has them. */
static void visit_alone(accel_ema_t *ema, pair_fn visit)
{
    const accel_model_t *model = ema->model;

    for (int64_t i = 0; i < model->num_params; i++) {
        const accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE && param->count > 0)
            visit(ema, param->dtype, accel__pointer_get(param->value_at),
                  ema->averages[param->run] + param->first * accel_dtype_size(param->dtype),
                  param->count);
    }
}

static void visit(accel_ema_t *ema, pair_fn visit_pair)
{
    const accel_model_t *model = ema->model;

    if (is_local(model)) {
        visit_alone(ema, visit_pair);
        return;
    }
    for (int r = 0; r < model->layout.num_runs; r++) {
        const accel__run_t *run = &model->layout.runs[r];
        accel__slice_t own = own_slice(ema, r);

        if (own.begin < own.end)
            visit_pair(ema, run->dtype, accel__arena_values(&model->arena, run, own.begin),
                       ema->averages[r], own.end - own.begin);
    }
}

static accel_status_t check(const accel_ema_t *ema, const char *function)
{
    const accel_model_t *model;

    if (!ema)
        return accel__fail(ACCEL_ERR_INVALID, "%s: ema is NULL", function);
    model = ema->model;
    if (!is_local(model))
        return ACCEL_OK;
    for (int64_t i = 0; i < model->num_params; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE && accel__is_half(model->params[i]->dtype))
            return accel__fail(ACCEL_ERR_STATE,
                               "%s: '%s' is %s; such a model must be prepared first", function,
                               model->params[i]->name, accel_dtype_name(model->params[i]->dtype));
    return ACCEL_OK;
}

accel_status_t accel_ema_update(accel_ema_t *ema)
{
    static const char name[] = "accel_ema_update";
    accel_status_t status = check(ema, name);

    if (status == ACCEL_OK && ema->model->state)
        status = accel__model_usable(ema->model, name);
    if (status != ACCEL_OK ||
        (ema->model->state && !accel__model_syncs(ema->model->state, ema->model)))
        return status;
    if (ema->model->shows_average)
        return accel__fail(ACCEL_ERR_STATE, "%s: between accel_ema_begin and _end", name);
    if (ema->model->state && ema->model->state->joining)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "%s: within join_uneven_inputs, where ranks "
                           "without batches would not see it",
                           name);
    status = make_averages(ema);
    if (status != ACCEL_OK)
        return status;
    visit(ema, take);
    ema->num_updates++;
    return ACCEL_OK;
}

static void renew_copies(accel_ema_t *ema)
{
    const accel_model_t *model = ema->model;

    for (int r = 0; r < model->layout.num_runs; r++) {
        accel__slice_t own = own_slice(ema, r);

        accel__arena_copy(&model->arena, &model->layout.runs[r], own.begin, own.end - own.begin);
    }
}

/* Between the barriers nobody reads values, and each rank writes its own slices. */
static accel_status_t exchange_together(accel_ema_t *ema, const char *name)
{
    accel_model_t *model = ema->model;
    accel_status_t status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);

    if (status != ACCEL_OK)
        return status;
    accel__arena_update_begin(&model->arena);
    visit(ema, exchange);
    renew_copies(ema);
    status = accel__comm_meet(model->arena.comm, name, 0, NULL, 0, NULL);
    if (status != ACCEL_OK)
        return status; /* torn, as after a step that did not end */
    accel__arena_update_end(&model->arena);
    accel__model_return_values(model);
    return ACCEL_OK;
}

accel_status_t accel_ema_begin(accel_ema_t *ema)
{
    static const char name[] = "accel_ema_begin";
    accel_status_t status = check(ema, name);

    if (status == ACCEL_OK && ema->model->state)
        status = accel__model_usable(ema->model, name);
    if (status != ACCEL_OK)
        return status;
    if (ema->model->shows_average)
        return accel__fail(ACCEL_ERR_STATE, "%s: the model shows an average already", name);
    if (ema->num_updates == 0)
        return accel__fail(ACCEL_ERR_STATE, "%s: there is no average before the first update",
                           name);
    status = make_averages(ema); /* finds ranks that have changed */
    if (status == ACCEL_OK && !is_local(ema->model))
        status = exchange_together(ema, name);
    else if (status == ACCEL_OK)
        visit(ema, exchange);
    if (status == ACCEL_OK)
        ema->shown = ema->model->shows_average = true;
    return status;
}

accel_status_t accel_ema_end(accel_ema_t *ema)
{
    static const char name[] = "accel_ema_end";
    accel_status_t status = check(ema, name);

    if (status != ACCEL_OK)
        return status;
    if (!ema->shown)
        return accel__fail(ACCEL_ERR_STATE, "%s without accel_ema_begin", name);
    status = make_averages(ema);
    if (status == ACCEL_OK && !is_local(ema->model))
        status = exchange_together(ema, name);
    else if (status == ACCEL_OK)
        visit(ema, exchange);
    if (status == ACCEL_OK)
        ema->shown = ema->model->shows_average = false;
    return status;
}
