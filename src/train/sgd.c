/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

#include <float.h>
#include <math.h>

static void begin(accel_optimizer_t *optimizer, int64_t t, double grad_scale)
{
    const accel_sgd_options_t *options = &optimizer->options.sgd;

    optimizer->step.sgd = (accel__sgd_step_t){
        .grad_scale = grad_scale,
        .lr = optimizer->lr,
        .momentum = options->momentum,
        .weight_decay = options->weight_decay,
        .one_minus_dampening = t == 1 ? 1 : 1 - options->dampening, /* the buffer is zero then */
        .nesterov = options->nesterov};
}

static void update(const accel_optimizer_t *optimizer, const accel__piece_t *piece)
{
    const accel__kernels_t *kernels = accel__kernels(piece->dtype);
    const accel__sgd_step_t *step = &optimizer->step.sgd;

    if (optimizer->num_states == 0)
        kernels->sgd(step, piece->values, piece->gradients, piece->count);
    else
        kernels->sgd_momentum(step, piece->values, piece->gradients, piece->states[0],
                              piece->count);
}

static void describe(const accel_optimizer_t *optimizer, accel__text_t *text)
{
    const accel_sgd_options_t *options = &optimizer->options.sgd;

    accel__text_appendf(
        text, "SGD (lr %.17g, momentum %.17g, dampening %.17g, weight_decay %.17g, nesterov %s)",
        optimizer->lr, options->momentum, options->dampening, options->weight_decay,
        options->nesterov ? "on" : "off");
}

static const accel__rule_t rule = {
    .name = "SGD", .begin = begin, .update = update, .describe = describe};

static accel_status_t check(const accel_sgd_options_t *options)
{
    static const char name[] = "accel_sgd_create";
    accel_status_t status = accel__check_option(name, "lr", options->lr, 0, INFINITY);

    if (status == ACCEL_OK)
        status = accel__check_option(name, "momentum", options->momentum, 0, INFINITY);
    if (status == ACCEL_OK)
        status = accel__check_option(name, "dampening", options->dampening, -DBL_MAX, INFINITY);
    if (status == ACCEL_OK)
        status = accel__check_option(name, "weight_decay", options->weight_decay, 0, INFINITY);
    if (status == ACCEL_OK && options->nesterov &&
        (options->momentum <= 0 || options->dampening != 0))
        status = accel__fail(ACCEL_ERR_INVALID,
                             "%s: nesterov wants momentum > 0 and dampening 0; momentum is %g, "
                             "dampening %g",
                             name, options->momentum, options->dampening);
    return status;
}

accel_status_t accel_sgd_create(accel_model_t *model, const accel_sgd_options_t *options,
                                accel_optimizer_t **optimizer)
{
    accel_sgd_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "accel_sgd_create: optimizer is NULL");
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_sgd_options_t");
    if (status != ACCEL_OK)
        return status;
    if (read.lr == 0)
        read.lr = 1e-3;
    status = check(&read);
    if (status == ACCEL_OK)
        status = accel__optimizer_create(model, &rule, optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->options.sgd = read;
    (*optimizer)->lr = read.lr;
    (*optimizer)->num_states = read.momentum != 0;
    return ACCEL_OK;
}
