/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

static void begin(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                  double grad_scale)
{
    const double *hypers = group->hypers;

    group->step.sgd = (accel__sgd_step_t){
        .grad_scale = grad_scale,
        .lr = hypers[ACCEL__LR],
        .momentum = hypers[ACCEL__MOMENTUM],
        .weight_decay = hypers[ACCEL__WEIGHT_DECAY],
        .one_minus_dampening = t == 1 ? 1 : 1 - hypers[ACCEL__DAMPENING], /* of a zero buffer */
        .nesterov = optimizer->nesterov};
}

static void update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece)
{
    const accel__kernels_t *kernels = accel__kernels(piece->dtype);
    const accel__sgd_step_t *step = &group->step.sgd;

    if (optimizer->num_states == 0)
        kernels->sgd(step, piece->values, piece->gradients, piece->count);
    else
        kernels->sgd_momentum(step, piece->values, piece->gradients, piece->states[0],
                              piece->count);
}

static const accel__rule_t rule = {.name = "SGD",
                                   .uses = ACCEL__USES(ACCEL__LR) | ACCEL__USES(ACCEL__MOMENTUM) |
                                           ACCEL__USES(ACCEL__DAMPENING) |
                                           ACCEL__USES(ACCEL__WEIGHT_DECAY),
                                   .begin = begin,
                                   .update = update};

accel_status_t accel_sgd_create(accel_model_t *model, const accel_sgd_options_t *options,
                                accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_sgd_create";
    accel_sgd_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_sgd_options_t");
    if (status != ACCEL_OK)
        return status;
    if (read.nesterov && (read.momentum <= 0 || read.dampening != 0))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: nesterov wants momentum > 0 and dampening 0; momentum is %g, "
                           "dampening %g",
                           name, read.momentum, read.dampening);
    status = accel__optimizer_create(
        model, &rule, name,
        (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-3),
                                    [ACCEL__MOMENTUM] = read.momentum,
                                    [ACCEL__DAMPENING] = read.dampening,
                                    [ACCEL__WEIGHT_DECAY] =
                                        accel__or_default(read.weight_decay, 0)},
        optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->nesterov = read.nesterov;
    (*optimizer)->maximize = read.maximize;
    (*optimizer)->num_states = read.momentum != 0;
    return ACCEL_OK;
}
