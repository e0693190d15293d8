/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

static void begin(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                  double grad_scale)
{
    const double *hypers = group->hypers;

    (void)optimizer, (void)t;
    group->step.rmsprop = (accel__rmsprop_step_t){.grad_scale = grad_scale,
                                                  .lr = hypers[ACCEL__LR],
                                                  .alpha = hypers[ACCEL__ALPHA],
                                                  .eps = hypers[ACCEL__EPS],
                                                  .weight_decay = hypers[ACCEL__WEIGHT_DECAY],
                                                  .momentum = hypers[ACCEL__MOMENTUM]};
}

/* The states are squares, then means if centered, then the buffer of momentum. */
static void update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece)
{
    void *mean = optimizer->centered ? piece->states[1] : NULL;
    void *buffer = optimizer->num_states > 1 + optimizer->centered
                       ? piece->states[1 + optimizer->centered]
                       : NULL;

    accel__kernels(piece->dtype)
        ->rmsprop(&group->step.rmsprop, piece->values, piece->gradients, piece->states[0], mean,
                  buffer, piece->count);
}

static const accel__rule_t rule = {
    .name = "RMSprop",
    .uses = ACCEL__USES(ACCEL__LR) | ACCEL__USES(ACCEL__ALPHA) | ACCEL__USES(ACCEL__EPS) |
            ACCEL__USES(ACCEL__WEIGHT_DECAY) | ACCEL__USES(ACCEL__MOMENTUM),
    .begin = begin,
    .update = update};

accel_status_t accel_rmsprop_create(accel_model_t *model, const accel_rmsprop_options_t *options,
                                    accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_rmsprop_create";
    accel_rmsprop_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_rmsprop_options_t");
    if (status != ACCEL_OK)
        return status;
    status = accel__optimizer_create(
        model, &rule, name,
        (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-2),
                                    [ACCEL__ALPHA] = accel__or_default(read.alpha, 0.99),
                                    [ACCEL__EPS] = accel__or_default(read.eps, 1e-8),
                                    [ACCEL__WEIGHT_DECAY] = accel__or_default(read.weight_decay, 0),
                                    [ACCEL__MOMENTUM] = accel__or_default(read.momentum, 0)},
        optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->centered = read.centered;
    (*optimizer)->maximize = read.maximize;
    (*optimizer)->num_states =
        1 + read.centered + ((*optimizer)->groups[0].hypers[ACCEL__MOMENTUM] != 0);
    return ACCEL_OK;
}
