/* SPDX-License-Identifier: Apache-2.0 */
/* What groups, rules by callback, schedules, averages and scalers refuse, and say. */
#include "test.h"
#include "train/train.h"

static float memory[4][4];

typedef struct owner {
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    float *at[4];
} owner_t;

static void make(owner_t *owner)
{
    for (int i = 0; i < 4; i++)
        owner->at[i] = memory[i];
    CHECK_OK(accel_model_create(NULL, &owner->model));
    CHECK_OK(accel_model_add(owner->model, "fc.weight", ACCEL_F32, ACCEL_SHAPE(2, 2), &owner->at[0],
                             &owner->at[1]));
    CHECK_OK(accel_model_add(owner->model, "fc.bias", ACCEL_F32, ACCEL_SHAPE(4), &owner->at[2],
                             &owner->at[3]));
    CHECK_OK(accel_sgd_create(owner->model, ACCEL_SGD_OPTIONS(.lr = 0.5), &owner->optimizer));
}

static void done(owner_t *owner)
{
    accel_optimizer_destroy(owner->optimizer);
    accel_model_destroy(owner->model);
}

#define GROUP_REFUSED(text, ...)                                                                 \
    do {                                                                                         \
        CHECK_STATUS(                                                                            \
            ACCEL_ERR_INVALID,                                                                   \
            accel_optimizer_add_group(owner.optimizer, ACCEL_GROUP_OPTIONS(__VA_ARGS__), NULL)); \
        CHECK_ERROR(text);                                                                       \
    } while (0)

static void bad_groups_are_named(void)
{
    static const char *const names[] = {"fc.weight", "fc.wieght", NULL};
    owner_t owner;
    int32_t group = 7;

    make(&owner);
    GROUP_REFUSED("which parameters?", .lr = 1);
    GROUP_REFUSED("SGD has no beta1", .pattern = "*", .beta1 = 0.5);
    GROUP_REFUSED("weight_decay is -3", .pattern = "*", .weight_decay = -3);
    GROUP_REFUSED("no trainable parameter 'fc.wieght'", .names = names);
    GROUP_REFUSED("like 'gpt.*' belongs to it", .pattern = "gpt.*");
    GROUP_REFUSED("the optimizer was created without", .pattern = "*", .momentum = 0.9);
    GROUP_REFUSED("ndim_below is -1", .ndim_below = -1);
    CHECK_INT(1, accel_optimizer_num_groups(owner.optimizer));
    CHECK_OK(
        accel_optimizer_add_group(owner.optimizer, ACCEL_GROUP_OPTIONS(.ndim_below = 2), &group));
    CHECK_INT(1, group);
    GROUP_REFUSED("that is not in an earlier group", .pattern = "*.bias");
    CHECK_OK(accel_optimizer_set_lr(owner.optimizer, 0.25));
    CHECK_NEAR(0.25, accel_optimizer_get_group_lr(owner.optimizer, 1), 0); /* none of its own */
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_set_group_lr(owner.optimizer, 2, 1));
    CHECK_ERROR("group is 2; the optimizer has 2");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_set_frozen(owner.optimizer, -1, true));
    CHECK_NEAR(0, accel_optimizer_get_group_lr(owner.optimizer, 9), 0);
    CHECK_OK(accel_optimizer_step(owner.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_add_group(
                                      owner.optimizer, ACCEL_GROUP_OPTIONS(.pattern = "*"), NULL));
    CHECK_ERROR("too late");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_add_group(NULL, NULL, NULL));
    done(&owner);
}

static void update(void *context, const accel_update_t *piece)
{
    (void)context, (void)piece;
}

static void bad_rules_are_named(void)
{
    owner_t owner;
    accel_optimizer_t *optimizer;

    make(&owner);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_create(owner.model, NULL, &optimizer));
    CHECK_ERROR("update is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_optimizer_create(owner.model,
                                        ACCEL_OPTIMIZER_OPTIONS(.update = update, .num_states = 5),
                                        &optimizer));
    CHECK_ERROR("num_states is 5; expected 0 to 4");
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_optimizer_create(
            owner.model,
            ACCEL_OPTIMIZER_OPTIONS(.update = update, .granularity = (accel_granularity_t)4),
            &optimizer));
    CHECK(!optimizer);
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_rmsprop_create(owner.model, ACCEL_RMSPROP_OPTIONS(.alpha = -2), &optimizer));
    CHECK_ERROR("alpha is -2");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_adagrad_create(owner.model,
                                      ACCEL_ADAGRAD_OPTIONS(.initial_accumulator_value = NAN),
                                      &optimizer));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_adam_create(owner.model, ACCEL_ADAM_OPTIONS(.beta1 = 1.5), &optimizer));
    done(&owner);
}

#define SCHEDULE_REFUSED(text, ...)                                                                \
    do {                                                                                           \
        CHECK_STATUS(ACCEL_ERR_INVALID,                                                            \
                     accel_scheduler_create(owner.optimizer, ACCEL_SCHEDULER_OPTIONS(__VA_ARGS__), \
                                            &scheduler));                                          \
        CHECK_ERROR(text);                                                                         \
        CHECK(!scheduler);                                                                         \
    } while (0)

static double falls(void *context, int64_t step, int32_t group)
{
    (void)context, (void)group;
    return step < 2 ? 1 : -1;
}

static void bad_schedules_are_named(void)
{
    owner_t owner;
    accel_scheduler_t *scheduler = (accel_scheduler_t *)&owner;

    make(&owner);
    SCHEDULE_REFUSED("wants either min_lr or min_lr_rate", .name = "cosine_with_min_lr",
                     .num_training_steps = 5);
    SCHEDULE_REFUSED("lr_end is 0.7", .name = "polynomial", .lr_end = 0.7, .num_training_steps = 5);
    SCHEDULE_REFUSED("warmup_type is 'cos'; expected 'linear', 'cosine' or '1-sqrt'",
                     .name = "warmup_stable_decay", .warmup_type = "cos");
    SCHEDULE_REFUSED("num_decay_steps is 0", .name = "warmup_stable_decay");
    SCHEDULE_REFUSED("step_size is 0", .name = "step");
    SCHEDULE_REFUSED("gamma is 0", .name = "exponential");
    SCHEDULE_REFUSED("expected milestones", .name = "multi_step");
    SCHEDULE_REFUSED("lambda is NULL", .name = "lambda");
    SCHEDULE_REFUSED("factor is 1", .name = "reduce_lr_on_plateau", .factor = 1);
    SCHEDULE_REFUSED("the SGD optimizer was created without", .name = "one_cycle",
                     .num_training_steps = 9);
    SCHEDULE_REFUSED("pct_start is 2", .name = "one_cycle", .pct_start = 2,
                     .num_training_steps = 9);
    CHECK_OK(accel_scheduler_create(
        owner.optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "lambda", .lambda = falls), &scheduler));
    CHECK_OK(accel_scheduler_step(scheduler));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_scheduler_step(scheduler));
    CHECK_ERROR("the learning rate of step 2 is -0.5");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_scheduler_set_state(scheduler, &(accel_scheduler_state_t){.step = -1}));
    CHECK_OK(accel_scheduler_set_state(scheduler, &(accel_scheduler_state_t){.step = 1}));
    CHECK_OK(
        accel_optimizer_add_group(owner.optimizer, ACCEL_GROUP_OPTIONS(.pattern = "*s"), NULL));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_scheduler_step(scheduler));
    CHECK_ERROR("add groups first");
    accel_scheduler_destroy(scheduler);
    CHECK_OK(accel_scheduler_create(
        owner.optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "reduce_lr_on_plateau"), &scheduler));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_scheduler_step(scheduler));
    CHECK_ERROR("wants a metric");
    accel_scheduler_destroy(scheduler);
    done(&owner);
}

static void bad_averages_are_named(void)
{
    owner_t owner;
    accel_ema_t *ema;

    make(&owner);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_ema_create(NULL, NULL, &ema));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_ema_create(owner.model, ACCEL_EMA_OPTIONS(.decay = 1.5), &ema));
    CHECK_ERROR("decay is 1.5; expected 0 to 1");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_ema_update(NULL));
    CHECK_OK(accel_ema_create(owner.model, NULL, &ema));
    memory[0][0] = 3;
    CHECK_OK(accel_ema_update(ema));
    memory[0][0] = 5;
    CHECK_OK(accel_ema_begin(ema)); /* alone, without an accelerator */
    CHECK_NEAR(3, memory[0][0], 0);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(owner.optimizer));
    CHECK_OK(accel_ema_end(ema));
    CHECK_NEAR(5, memory[0][0], 0);
    accel_ema_destroy(ema);
    done(&owner);
}

static void scalers_are_checked(void)
{
    accel__scaler_t scaler;

    CHECK_OK(accel__scaler_init(&scaler, false, NULL));
    CHECK(!scaler.enabled && scaler.scale == 1);
    accel__scaler_update(&scaler, true);
    CHECK_NEAR(1, scaler.scale, 0);
    CHECK_OK(accel__scaler_init(&scaler, true, ACCEL_GRAD_SCALER_OPTIONS(.enabled = ACCEL_OFF)));
    CHECK(!scaler.enabled && scaler.scale == 1);
    CHECK_OK(accel__scaler_init(&scaler, true, NULL));
    CHECK(scaler.enabled && scaler.scale == 65536 && scaler.growth_interval == 2000);
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__scaler_init(&scaler, true, ACCEL_GRAD_SCALER_OPTIONS(.init_scale = -1)));
    CHECK_ERROR("init_scale is -1");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__scaler_init(&scaler, true, ACCEL_GRAD_SCALER_OPTIONS(.backoff_factor = 1)));
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel__scaler_init(&scaler, true, ACCEL_GRAD_SCALER_OPTIONS(.growth_interval = -5)));
}

TEST_MAIN(TEST(bad_groups_are_named), TEST(bad_rules_are_named), TEST(bad_schedules_are_named),
          TEST(bad_averages_are_named), TEST(scalers_are_checked))
