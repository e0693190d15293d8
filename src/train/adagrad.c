/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

static void begin(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                  double grad_scale)
{
    const double *hypers = group->hypers;

    (void)optimizer;
    group->step.adagrad = (accel__adagrad_step_t){
        .grad_scale = grad_scale,
        .lr = hypers[ACCEL__LR] / (1 + (double)(t - 1) * hypers[ACCEL__LR_DECAY]),
        .weight_decay = hypers[ACCEL__WEIGHT_DECAY],
        .eps = hypers[ACCEL__EPS]};
}

static void update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece)
{
    (void)optimizer;
    accel__kernels(piece->dtype)
        ->adagrad(&group->step.adagrad, piece->values, piece->gradients, piece->states[0],
                  piece->count);
}

static const accel__rule_t rule = {.name = "Adagrad",
                                   .uses = ACCEL__USES(ACCEL__LR) | ACCEL__USES(ACCEL__LR_DECAY) |
                                           ACCEL__USES(ACCEL__WEIGHT_DECAY) |
                                           ACCEL__USES(ACCEL__EPS),
                                   .begin = begin,
                                   .update = update};

accel_status_t accel_adagrad_create(accel_model_t *model, const accel_adagrad_options_t *options,
                                    accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_adagrad_create";
    accel_adagrad_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_adagrad_options_t");
    if (status != ACCEL_OK)
        return status;
    read.initial_accumulator_value = accel__or_default(read.initial_accumulator_value, 0);
    if (!(read.initial_accumulator_value >= 0 && read.initial_accumulator_value < 1e300))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: initial_accumulator_value is %g; expected a finite number >= 0",
                           name, read.initial_accumulator_value);
    status = accel__optimizer_create(
        model, &rule, name,
        (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-2),
                                    [ACCEL__LR_DECAY] = accel__or_default(read.lr_decay, 0),
                                    [ACCEL__WEIGHT_DECAY] = accel__or_default(read.weight_decay, 0),
                                    [ACCEL__EPS] = accel__or_default(read.eps, 1e-10)},
        optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->initial_accumulator_value = read.initial_accumulator_value;
    (*optimizer)->maximize = read.maximize;
    (*optimizer)->num_states = 1;
    return ACCEL_OK;
}
