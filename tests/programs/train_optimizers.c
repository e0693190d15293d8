/* SPDX-License-Identifier: Apache-2.0 */
/* What our optimizers compute, for the judge beside torch.
 *
 *     program-train_optimizers RULE alone|prepared|half STEPS NAME=VALUE...
 *
 * The options are those of the rule; those that begin with "group_" are of a group of the second
 * parameter; ema=DECAY averages; unused=1 leaves parameters out of some steps. Writes the
 * parameters after each step (with ema, the averages) as raw doubles: float32 ones, then float64
 * ones; with "half" one parameter in bfloat16, with a bfloat16 gradient. Values and gradients are
 * made of whole numbers, so that the judge makes the same ones. */
#include <inttypes.h>
#include <stdio.h>

#include "arguments.h"

enum { ROWS = 37, COLUMNS = 41, COUNT = ROWS * COLUMNS };

static float narrow[COUNT], narrow_gradient[COUNT];
static double wide[COUNT], wide_gradient[COUNT];
static uint16_t half[COUNT], half_gradient[COUNT];

/* In [-1, 1), exact in double. */
static double number(uint32_t i, uint32_t step)
{
    uint32_t bits = i * UINT32_C(2654435761) + step * UINT32_C(2246822519) + UINT32_C(374761393);

    bits ^= bits >> 15;
    bits *= UINT32_C(2246822519);
    bits ^= bits >> 13;
    return (double)bits / 2147483648.0 - 1;
}

/* bfloat16 by hand; none of the numbers is near an infinity. */
static uint16_t to_half(double value)
{
    float single = (float)value;
    uint32_t bits;

    memcpy(&bits, &single, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static double from_half(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float single;

    memcpy(&single, &bits, sizeof(single));
    return (double)single;
}

/* Lion, as a rule of the program's own: p -= lr (sign(b1 m + (1 - b1) g) + wd p), element by
 * element; the judge does the same with torch's operations. */
static void lion(void *context, const accel_update_t *update)
{
    (void)context;
    for (int64_t i = 0; i < update->count; i++) {
        bool is_wide = update->dtype == ACCEL_F64;
        double p = is_wide ? ((double *)update->values)[i] : (double)((float *)update->values)[i];
        double g = is_wide ? ((const double *)update->gradients)[i]
                           : (double)((const float *)update->gradients)[i];
        double m =
            is_wide ? ((double *)update->states[0])[i] : (double)((float *)update->states[0])[i];
        double direction = 0.9 * m + 0.1 * g;

        p *= 1 - update->lr * update->weight_decay;
        p -= update->lr * ((direction > 0) - (direction < 0));
        m = 0.99 * m + 0.01 * g;
        if (is_wide) {
            ((double *)update->values)[i] = p;
            ((double *)update->states[0])[i] = m;
        } else {
            ((float *)update->values)[i] = (float)p;
            ((float *)update->states[0])[i] = (float)m;
        }
    }
}

static accel_optimizer_t *make_adam(accel_model_t *model, char **arguments, bool decoupled)
{
    accel_optimizer_t *optimizer;
    accel_adam_options_t adam = {.struct_size = sizeof(adam),
                                 .lr = argument_option(arguments, "lr"),
                                 .beta1 = argument_option(arguments, "beta1"),
                                 .beta2 = argument_option(arguments, "beta2"),
                                 .eps = argument_option(arguments, "eps"),
                                 .weight_decay = argument_option(arguments, "weight_decay"),
                                 .amsgrad = argument_count(arguments, "amsgrad") != 0,
                                 .maximize = argument_count(arguments, "maximize") != 0};
    accel_adamw_options_t adamw = {.struct_size = sizeof(adamw),
                                   .lr = adam.lr,
                                   .beta1 = adam.beta1,
                                   .beta2 = adam.beta2,
                                   .eps = adam.eps,
                                   .weight_decay = adam.weight_decay,
                                   .amsgrad = adam.amsgrad,
                                   .maximize = adam.maximize};

    if (decoupled)
        ACCEL_CHECK(accel_adamw_create(model, &adamw, &optimizer));
    else
        ACCEL_CHECK(accel_adam_create(model, &adam, &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_rmsprop(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;
    accel_rmsprop_options_t options = {.struct_size = sizeof(options),
                                       .lr = argument_option(arguments, "lr"),
                                       .alpha = argument_option(arguments, "alpha"),
                                       .eps = argument_option(arguments, "eps"),
                                       .weight_decay = argument_number(arguments, "weight_decay"),
                                       .momentum = argument_number(arguments, "momentum"),
                                       .centered = argument_count(arguments, "centered") != 0,
                                       .maximize = argument_count(arguments, "maximize") != 0};

    ACCEL_CHECK(accel_rmsprop_create(model, &options, &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_adagrad(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;
    accel_adagrad_options_t options = {.struct_size = sizeof(options),
                                       .lr = argument_option(arguments, "lr"),
                                       .lr_decay = argument_number(arguments, "lr_decay"),
                                       .weight_decay = argument_number(arguments, "weight_decay"),
                                       .initial_accumulator_value =
                                           argument_number(arguments, "initial_accumulator_value"),
                                       .eps = argument_option(arguments, "eps"),
                                       .maximize = argument_count(arguments, "maximize") != 0};

    ACCEL_CHECK(accel_adagrad_create(model, &options, &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_sgd(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;
    accel_sgd_options_t options = {.struct_size = sizeof(options),
                                   .lr = argument_option(arguments, "lr"),
                                   .momentum = argument_number(arguments, "momentum"),
                                   .dampening = argument_number(arguments, "dampening"),
                                   .weight_decay = argument_number(arguments, "weight_decay"),
                                   .nesterov = argument_count(arguments, "nesterov") != 0,
                                   .maximize = argument_count(arguments, "maximize") != 0};

    ACCEL_CHECK(accel_sgd_create(model, &options, &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_lion(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;

    ACCEL_CHECK(accel_optimizer_create(
        model,
        ACCEL_OPTIMIZER_OPTIONS(.name = "lion", .update = lion, .num_states = 1,
                                .granularity =
                                    (accel_granularity_t)argument_count(arguments, "granularity"),
                                .lr = argument_option(arguments, "lr"),
                                .weight_decay = argument_number(arguments, "weight_decay")),
        &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_optimizer(accel_model_t *model, const char *rule, char **arguments)
{
    if (strcmp(rule, "sgd") == 0)
        return make_sgd(model, arguments);
    if (strcmp(rule, "adagrad") == 0)
        return make_adagrad(model, arguments);
    if (strcmp(rule, "rmsprop") == 0)
        return make_rmsprop(model, arguments);
    if (strcmp(rule, "lion") == 0)
        return make_lion(model, arguments);
    return make_adam(model, arguments, strcmp(rule, "adamw") == 0);
}

static void add_group(accel_optimizer_t *optimizer, char **arguments)
{
    accel_group_options_t group = {.struct_size = sizeof(group),
                                   .pattern = "w?de",
                                   .lr = argument_option(arguments, "group_lr"),
                                   .weight_decay = argument_option(arguments, "group_weight_decay"),
                                   .beta1 = argument_option(arguments, "group_beta1"),
                                   .momentum = argument_option(arguments, "group_momentum"),
                                   .frozen = argument_count(arguments, "group_frozen") != 0};

    if (argument(arguments, "group"))
        ACCEL_CHECK(accel_optimizer_add_group(optimizer, &group, NULL));
}

static void write_floats(const float *values)
{
    for (int i = 0; i < COUNT; i++) {
        double value = (double)values[i];

        fwrite(&value, sizeof(value), 1, stdout);
    }
}

static void write_halves(const uint16_t *values)
{
    for (int i = 0; i < COUNT; i++) {
        double value = from_half(values[i]);

        fwrite(&value, sizeof(value), 1, stdout);
    }
}

typedef struct owner {
    float *narrow, *narrow_gradient;
    double *wide, *wide_gradient;
    uint16_t *half, *half_gradient;
    bool is_half, unused;
} owner_t;

static accel_model_t *make_model(owner_t *owner)
{
    accel_model_t *model;

    for (uint32_t i = 0; i < COUNT; i++) {
        narrow[i] = (float)(wide[i] = number(i, 0));
        half[i] = to_half(wide[i]);
    }
    ACCEL_CHECK(
        accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = owner->unused), &model));
    if (owner->is_half) {
        ACCEL_CHECK(accel_model_add(model, "half", ACCEL_BF16, ACCEL_SHAPE(ROWS, COLUMNS),
                                    &owner->half, &owner->half_gradient));
        return model;
    }
    ACCEL_CHECK(accel_model_add(model, "narrow", ACCEL_F32, ACCEL_SHAPE(ROWS, COLUMNS),
                                &owner->narrow, &owner->narrow_gradient));
    ACCEL_CHECK(accel_model_add(model, "wide", ACCEL_F64, ACCEL_SHAPE(ROWS, COLUMNS), &owner->wide,
                                &owner->wide_gradient));
    return model;
}

/* The first parameter begins late and pauses in every third step, the second in every fourth. */
static bool is_used(const owner_t *owner, int64_t param, uint32_t step)
{
    if (!owner->unused)
        return true;
    return param == 0 ? step > 7 && step % 3 != 1 : step % 4 != 2;
}

static void make_gradients(owner_t *owner, uint32_t step)
{
    bool first = is_used(owner, 0, step), second = is_used(owner, 1, step);

    for (uint32_t i = 0; i < COUNT; i++) {
        double gradient = number(i, step);

        owner->narrow_gradient[i] = first ? (float)gradient : 0;
        owner->wide_gradient[i] = second ? gradient : 0;
        owner->half_gradient[i] = first ? to_half(gradient) : 0;
    }
}

/* What autograd's hooks would say; when all have, the backward is over. */
static void say_ready(const owner_t *owner, accel_t *accelerator, accel_model_t *model,
                      uint32_t step)
{
    int64_t num_params = accel_model_num_parameters(model), num_used = 0;

    for (int64_t i = num_params - 1; i >= 0; i--)
        if (is_used(owner, i, step)) {
            ACCEL_CHECK(accel_grad_ready(model, i));
            num_used++;
        }
    if (num_used < num_params)
        ACCEL_CHECK(accel_backward(accelerator, model));
}

static void write_values(const owner_t *owner)
{
    if (owner->is_half) {
        write_halves(owner->half);
    } else {
        write_floats(owner->narrow);
        fwrite(owner->wide, sizeof(double), COUNT, stdout);
    }
}

static void write_average(const owner_t *owner, accel_ema_t *ema)
{
    ACCEL_CHECK(accel_ema_update(ema));
    ACCEL_CHECK(accel_ema_begin(ema));
    write_values(owner);
    ACCEL_CHECK(accel_ema_end(ema));
}

int main(int argc, char **argv)
{
    owner_t owner = {narrow, narrow_gradient, wide,  wide_gradient,
                     half,   half_gradient,   false, false};
    uint32_t steps;
    accel_t *accelerator = NULL;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_ema_t *ema = NULL;

    if (argc < 4) {
        fprintf(stderr, "usage: see the head of the source\n");
        return 2;
    }
    steps = (uint32_t)strtoul(argv[3], NULL, 10);
    owner.is_half = strcmp(argv[2], "half") == 0;
    owner.unused = argument_count(argv + 4, "unused") != 0;
    model = make_model(&owner);
    optimizer = make_optimizer(model, argv[1], argv + 4);
    add_group(optimizer, argv + 4);
    if (argument(argv + 4, "ema"))
        ACCEL_CHECK(accel_ema_create(
            model,
            ACCEL_EMA_OPTIONS(.decay = argument_option(argv + 4, "ema"),
                              .equal_weights = argument_count(argv + 4, "equal_weights") != 0),
            &ema));
    if (strcmp(argv[2], "alone") != 0) {
        ACCEL_CHECK(accel_create(NULL, &accelerator));
        ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    }
    for (uint32_t step = 1; step <= steps; step++) {
        make_gradients(&owner, step);
        if (owner.unused)
            say_ready(&owner, accelerator, model, step);
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        if (ema)
            write_average(&owner, ema);
        else
            write_values(&owner);
    }
    accel_ema_destroy(ema);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    return fflush(stdout) == 0 ? 0 : 1;
}
