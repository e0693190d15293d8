/* SPDX-License-Identifier: Apache-2.0 */
/* What our schedules do, for the judge beside transformers and torch.
 *
 *     program-train_schedules NAME STEPS NAME=VALUE...
 *
 * lr= and group_lr= are the rates of two groups, `beta1` makes the optimizer Adam, `momentum` SGD
 * with momentum; the rest are options of the schedule; milestones=A,B,...; restart=N: after N steps
 * go on in a new schedule from the old one's state. Before each step both rates are written as raw
 * doubles, and after an update with gradients of 1 both parameters, which also tell the momentum.
 */
#include <math.h>
#include <stdio.h>

#include "arguments.h"

/* A loss that falls, rests and falls again; the judge has the same. */
static double metric(long step)
{
    return step < 20 ? 1 - 0.02 * (double)step : step < 70 ? 0.6 + 0.01 * (double)(step % 3) : 0.3;
}

static double halves(void *context, int64_t step, int32_t group)
{
    (void)context;
    return pow(group == 0 ? 0.5 : 0.9, (double)(step / 7));
}

static accel_optimizer_t *make_optimizer(accel_model_t *model, char **arguments)
{
    accel_optimizer_t *optimizer;
    double lr = argument_option(arguments, "lr");

    if (argument(arguments, "beta1"))
        ACCEL_CHECK(accel_adam_create(
            model, ACCEL_ADAM_OPTIONS(.lr = lr, .beta1 = argument_option(arguments, "beta1")),
            &optimizer));
    else
        ACCEL_CHECK(accel_sgd_create(
            model, ACCEL_SGD_OPTIONS(.lr = lr, .momentum = argument_number(arguments, "momentum")),
            &optimizer));
    ACCEL_CHECK(accel_optimizer_add_group(
        optimizer,
        ACCEL_GROUP_OPTIONS(.pattern = "second", .lr = argument_option(arguments, "group_lr")),
        NULL));
    return optimizer;
}

static int32_t read_milestones(const char *text, int64_t *milestones)
{
    int32_t count = 0;
    char *end;

    while (text && *text && count < 16) {
        milestones[count++] = strtoll(text, &end, 10);
        text = *end ? end + 1 : end;
    }
    return count;
}

static accel_scheduler_options_t read_options(const char *name, char **arguments,
                                              int64_t *milestones)
{
    return (accel_scheduler_options_t){
        .struct_size = sizeof(accel_scheduler_options_t),
        .name = name,
        .num_warmup_steps = argument_count(arguments, "num_warmup_steps"),
        .num_training_steps = argument_count(arguments, "num_training_steps"),
        .num_cycles = argument_option(arguments, "num_cycles"),
        .lr_end = argument_option(arguments, "lr_end"),
        .power = argument_option(arguments, "power"),
        .timescale = argument_count(arguments, "timescale"),
        .min_lr = argument_option(arguments, "min_lr"),
        .min_lr_rate = argument_option(arguments, "min_lr_rate"),
        .warmup_lr_rate = argument_option(arguments, "warmup_lr_rate"),
        .num_stable_steps = argument_count(arguments, "num_stable_steps"),
        .num_decay_steps = argument_count(arguments, "num_decay_steps"),
        .warmup_type = argument(arguments, "warmup_type"),
        .decay_type = argument(arguments, "decay_type"),
        .min_lr_ratio = argument_option(arguments, "min_lr_ratio"),
        .step_size = argument_count(arguments, "step_size"),
        .gamma = argument_option(arguments, "gamma"),
        .milestones = milestones,
        .num_milestones = read_milestones(argument(arguments, "milestones"), milestones),
        .max_lr = argument_number(arguments, "max_lr"),
        .pct_start = argument_option(arguments, "pct_start"),
        .anneal_strategy = argument(arguments, "anneal_strategy"),
        .cycle_momentum = argument_count(arguments, "cycle_momentum") ? ACCEL_ON : ACCEL_OFF,
        .base_momentum = argument_option(arguments, "base_momentum"),
        .max_momentum = argument_option(arguments, "max_momentum"),
        .div_factor = argument_option(arguments, "div_factor"),
        .final_div_factor = argument_option(arguments, "final_div_factor"),
        .three_phase = argument_count(arguments, "three_phase") != 0,
        .mode = argument(arguments, "mode"),
        .factor = argument_option(arguments, "factor"),
        .patience = argument(arguments, "patience") ? argument_count(arguments, "patience") : 0,
        .cooldown = argument_count(arguments, "cooldown"),
        .threshold = argument_option(arguments, "threshold"),
        .threshold_mode = argument(arguments, "threshold_mode"),
        .eps = argument_option(arguments, "eps"),
        .lambda = strcmp(name, "lambda") == 0 ? halves : NULL};
}

static void write_rates(const accel_optimizer_t *optimizer)
{
    for (int32_t group = 0; group < 2; group++) {
        double lr = accel_optimizer_get_group_lr(optimizer, group);

        fwrite(&lr, sizeof(lr), 1, stdout);
    }
}

/* A schedule that is made anew takes the rates that the optimizer began with as its bases. */
static void restart(accel_optimizer_t *optimizer, const accel_scheduler_options_t *options,
                    char **arguments, accel_scheduler_t **scheduler)
{
    accel_scheduler_state_t state = accel_scheduler_get_state(*scheduler);

    accel_scheduler_destroy(*scheduler);
    ACCEL_CHECK(accel_optimizer_set_group_lr(optimizer, 0, argument_number(arguments, "lr")));
    ACCEL_CHECK(accel_optimizer_set_group_lr(optimizer, 1, argument_number(arguments, "group_lr")));
    ACCEL_CHECK(accel_scheduler_create(optimizer, options, scheduler));
    ACCEL_CHECK(accel_scheduler_set_state(*scheduler, &state));
}

static void run(accel_optimizer_t *optimizer, const accel_scheduler_options_t *options, long steps,
                char **arguments, const double *values)
{
    accel_scheduler_t *scheduler;
    int64_t restart_at = argument_count(arguments, "restart");

    ACCEL_CHECK(accel_scheduler_create(optimizer, options, &scheduler));
    for (long step = 0; step < steps; step++) {
        if (step > 0 && step == restart_at)
            restart(optimizer, options, arguments, &scheduler);
        write_rates(optimizer);
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        fwrite(values, sizeof(*values), 2, stdout);
        ACCEL_CHECK(accel_scheduler_step_metric(scheduler, metric(step)));
    }
    accel_scheduler_destroy(scheduler);
}

int main(int argc, char **argv)
{
    double values[2] = {0}, gradients[2] = {1, 1},
           *at[4] = {&values[0], &values[1], &gradients[0], &gradients[1]};
    int64_t milestones[16];
    accel_scheduler_options_t options;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    if (argc < 3) {
        fprintf(stderr, "usage: see the head of the source\n");
        return 2;
    }
    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "first", ACCEL_F64, 0, NULL, &at[0], &at[2]));
    ACCEL_CHECK(accel_model_add(model, "second", ACCEL_F64, 0, NULL, &at[1], &at[3]));
    optimizer = make_optimizer(model, argv + 3);
    options = read_options(argv[1], argv + 3, milestones);
    run(optimizer, &options, strtol(argv[2], NULL, 10), argv + 3, values);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    return fflush(stdout) == 0 ? 0 : 1;
}
