/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

#include <math.h>

static void begin(accel_optimizer_t *optimizer, int64_t t, double grad_scale)
{
    const accel_adamw_options_t *options = &optimizer->options.adamw;
    double correction1 = 1 - pow(options->beta1, (double)t);
    double correction2 = 1 - pow(options->beta2, (double)t);

    optimizer->step.adamw =
        (accel__adamw_step_t){.grad_scale = grad_scale,
                              .decay = 1 - optimizer->lr * options->weight_decay,
                              .beta1 = options->beta1,
                              .beta2 = options->beta2,
                              .eps = options->eps,
                              .step_size = optimizer->lr / correction1,
                              .bias_correction2_sqrt = sqrt(correction2)};
}

static void update(const accel_optimizer_t *optimizer, const accel__piece_t *piece)
{
    accel__kernels(piece->dtype)
        ->adamw(&optimizer->step.adamw, piece->values, piece->gradients, piece->states[0],
                piece->states[1], piece->count);
}

static void describe(const accel_optimizer_t *optimizer, accel__text_t *text)
{
    const accel_adamw_options_t *options = &optimizer->options.adamw;

    accel__text_appendf(text, "AdamW (lr %.17g, betas %.17g %.17g, eps %.17g, weight_decay %.17g)",
                        optimizer->lr, options->beta1, options->beta2, options->eps,
                        options->weight_decay);
}

static const accel__rule_t rule = {
    .name = "AdamW", .begin = begin, .update = update, .describe = describe};

static double or_default(double value, double fallback)
{
    if (value == 0)
        return fallback;
    return value == ACCEL_ZERO ? 0 : value;
}

static accel_status_t check(const accel_adamw_options_t *options)
{
    static const char name[] = "accel_adamw_create";
    accel_status_t status = accel__check_option(name, "lr", options->lr, 0, INFINITY);

    if (status == ACCEL_OK)
        status = accel__check_option(name, "beta1", options->beta1, 0, 1);
    if (status == ACCEL_OK)
        status = accel__check_option(name, "beta2", options->beta2, 0, 1);
    if (status == ACCEL_OK)
        status = accel__check_option(name, "eps", options->eps, 0, INFINITY);
    if (status == ACCEL_OK)
        status = accel__check_option(name, "weight_decay", options->weight_decay, 0, INFINITY);
    return status;
}

accel_status_t accel_adamw_create(accel_model_t *model, const accel_adamw_options_t *options,
                                  accel_optimizer_t **optimizer)
{
    accel_adamw_options_t read = {0};
    accel_status_t status;

    if (!optimizer)
        return accel__fail(ACCEL_ERR_INVALID, "accel_adamw_create: optimizer is NULL");
    *optimizer = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_adamw_options_t");
    if (status != ACCEL_OK)
        return status;
    read.lr = or_default(read.lr, 1e-3);
    read.beta1 = or_default(read.beta1, 0.9);
    read.beta2 = or_default(read.beta2, 0.999);
    read.eps = or_default(read.eps, 1e-8);
    read.weight_decay = or_default(read.weight_decay, 1e-2);
    status = check(&read);
    if (status == ACCEL_OK)
        status = accel__optimizer_create(model, &rule, optimizer);
    if (status != ACCEL_OK)
        return status;
    (*optimizer)->options.adamw = read;
    (*optimizer)->lr = read.lr;
    (*optimizer)->num_states = 2;
    return ACCEL_OK;
}
