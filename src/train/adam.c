/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and AdamW: they differ in where weight decay goes. */
#include "train/optimizer.h"

#include <math.h>

#define USES                                                                                 \
    (ACCEL__USES(ACCEL__LR) | ACCEL__USES(ACCEL__WEIGHT_DECAY) | ACCEL__USES(ACCEL__BETA1) | \
     ACCEL__USES(ACCEL__BETA2) | ACCEL__USES(ACCEL__EPS))

static void begin(accel__group_t *group, int64_t t, double grad_scale, bool decoupled)
{
    const double *hypers = group->hypers;
    double lr = hypers[ACCEL__LR], weight_decay = hypers[ACCEL__WEIGHT_DECAY];
    double correction1 = 1 - pow(hypers[ACCEL__BETA1], (double)t);
    double correction2 = 1 - pow(hypers[ACCEL__BETA2], (double)t);

    group->step.adam = (accel__adam_step_t){.grad_scale = grad_scale,
                                            .decay = decoupled ? 1 - lr * weight_decay : 1,
                                            .l2 = decoupled ? 0 : weight_decay,
                                            .beta1 = hypers[ACCEL__BETA1],
                                            .beta2 = hypers[ACCEL__BETA2],
                                            .eps = hypers[ACCEL__EPS],
                                            .step_size = lr / correction1,
                                            .bias_correction2_sqrt = sqrt(correction2)};
}

static void begin_adam(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                       double grad_scale)
{
    (void)optimizer;
    begin(group, t, grad_scale, false);
}

static void begin_adamw(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                        double grad_scale)
{
    (void)optimizer;
    begin(group, t, grad_scale, true);
}

static void update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                   const accel__piece_t *piece)
{
    accel__kernels(piece->dtype)
        ->adam(&group->step.adam, piece->values, piece->gradients, piece->states[0],
               piece->states[1], optimizer->amsgrad ? piece->states[2] : NULL, piece->count);
}

static const accel__rule_t adam = {
    .name = "Adam", .uses = USES, .begin = begin_adam, .update = update};
static const accel__rule_t adamw = {
    .name = "AdamW", .uses = USES, .begin = begin_adamw, .update = update};

static void finish(accel_optimizer_t *optimizer, bool amsgrad, bool maximize)
{
    optimizer->amsgrad = amsgrad;
    optimizer->maximize = maximize;
    optimizer->num_states = amsgrad ? 3 : 2;
}

accel_status_t accel_adam_create(accel_model_t *model, const accel_adam_options_t *options,
                                 accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_adam_create";
    accel_adam_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_adam_options_t");
    if (status != ACCEL_OK)
        return status;
    status = accel__optimizer_create(
        model, &adam, name,
        (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-3),
                                    [ACCEL__BETA1] = accel__or_default(read.beta1, 0.9),
                                    [ACCEL__BETA2] = accel__or_default(read.beta2, 0.999),
                                    [ACCEL__EPS] = accel__or_default(read.eps, 1e-8),
                                    [ACCEL__WEIGHT_DECAY] =
                                        accel__or_default(read.weight_decay, 0)},
        optimizer);
    if (status == ACCEL_OK)
        finish(*optimizer, read.amsgrad, read.maximize);
    return status;
}

accel_status_t accel_adamw_create(accel_model_t *model, const accel_adamw_options_t *options,
                                  accel_optimizer_t **optimizer)
{
    static const char name[] = "accel_adamw_create";
    accel_adamw_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "%s: optimizer is NULL", name);
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_adamw_options_t");
    if (status != ACCEL_OK)
        return status;
    status = accel__optimizer_create(
        model, &adamw, name,
        (double[ACCEL__NUM_HYPERS]){[ACCEL__LR] = accel__or_default(read.lr, 1e-3),
                                    [ACCEL__BETA1] = accel__or_default(read.beta1, 0.9),
                                    [ACCEL__BETA2] = accel__or_default(read.beta2, 0.999),
                                    [ACCEL__EPS] = accel__or_default(read.eps, 1e-8),
                                    [ACCEL__WEIGHT_DECAY] =
                                        accel__or_default(read.weight_decay, 1e-2)},
        optimizer);
    if (status == ACCEL_OK)
        finish(*optimizer, read.amsgrad, read.maximize);
    return status;
}
