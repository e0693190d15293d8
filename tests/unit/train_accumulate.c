/* SPDX-License-Identifier: Apache-2.0 */
/* Which batches step, and what schedules count: against upstream's own code. */
#include "train/optimizer.h"
#include "vectors.h"

static void accumulation_as_upstream(void)
{
    json_t *root = vectors_load("gradient_accumulation"), *row;
    json_t *rows = json_object_get(root, "vectors");
    size_t index, checked = 0;

    json_array_foreach(rows, index, row)
    {
        accel__gradient_state_t state = {.num_steps = (int32_t)vectors_int(row, "num_steps"),
                                         .ignore_loader_end =
                                             !vectors_bool(row, "sync_with_dataloader"),
                                         .sync_step = true};
        int64_t batches = vectors_int(row, "batches_per_epoch"), steps = 0;

        for (size_t epoch = 0; epoch < 2; epoch++) {
            json_t *flags = json_array_get(json_object_get(row, "sync_gradients"), epoch);
            json_t *counters = json_array_get(json_object_get(row, "step_counter"), epoch);

            VECTORS_CHECK(row, json_array_size(flags) == (size_t)batches);
            for (int64_t batch = 0; batch < batches; batch++) {
                accel__accumulate(&state, batches - batch);
                VECTORS_CHECK(row, accel__is_sync_step(&state) ==
                                       (vectors_at(flags, (size_t)batch) != 0));
                VECTORS_CHECK(row, state.step == vectors_at(counters, (size_t)batch));
                steps += accel__is_sync_step(&state);
            }
        }
        VECTORS_CHECK(row, steps == vectors_int(row, "optimizer_steps"));
        checked++;
    }
    CHECK_INT((int64_t)json_array_size(rows), checked);
    json_decref(root);
}

static void no_sync_nests(void)
{
    accel__gradient_state_t state = {.num_steps = 4, .sync_step = true};

    CHECK(accel__is_sync_step(&state));
    CHECK_NEAR(0.25, accel__gradient_scale(&state), 0);
    state.no_sync_depth = 2;
    CHECK(!accel__is_sync_step(&state));
    state.no_sync_depth = 1;
    CHECK(!accel__is_sync_step(&state));
    state.no_sync_depth = 0;
    CHECK(accel__is_sync_step(&state));
}

static bool contains(json_t *numbers, int64_t number)
{
    size_t index;
    json_t *item;

    json_array_foreach(numbers, index, item) if (json_integer_value(item) == number) return true;
    return false;
}

/* One with an end of its own where upstream's has a total. */
static accel_scheduler_t *make_scheduler(accel_optimizer_t *optimizer, const json_t *row)
{
    const json_t *total = json_object_get(row, "scheduler_total_steps");
    accel_scheduler_t *scheduler;

    CHECK_OK(accel_scheduler_create(
        optimizer,
        ACCEL_SCHEDULER_OPTIONS(.name = json_is_null(total) ? "constant" : "one_cycle",
                                .num_training_steps = json_integer_value(total),
                                .cycle_momentum = ACCEL_OFF),
        &scheduler));
    return scheduler;
}

/* With upstream's rule on: num_processes steps of its own unless batches are split. Knowingly
 * different: stepped at every call, upstream's runs past its end, where torch's OneCycleLR would
 * raise; ours stays there. */
static void check_scheduler_row(const json_t *row)
{
    int64_t batches = vectors_int(row, "batches_per_epoch");
    json_t *expected = json_object_get(row, "inner_steps_after_each_batch");
    json_t *skipped = json_object_get(row, "optimizer_skipped_at_batch");
    const json_t *total = json_object_get(row, "scheduler_total_steps");
    int64_t most = json_is_null(total) ? INT64_MAX : json_integer_value(total);
    accel__gradient_state_t state = {
        .num_steps = (int32_t)vectors_int(row, "gradient_accumulation_steps"),
        .schedule_every_call = !vectors_bool(row, "step_scheduler_with_optimizer"),
        .schedule_steps =
            vectors_bool(row, "split_batches") ? 1 : (int32_t)vectors_int(row, "num_processes"),
        .sync_step = true};
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    int64_t steps;

    accel__link_init(&state.prepared);
    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 1), &optimizer));
    scheduler = make_scheduler(optimizer, row);
    CHECK_OK(accel__scheduler_prepare(scheduler, &state));
    CHECK_STATUS(ACCEL_ERR_STATE, accel__scheduler_prepare(scheduler, &state));
    for (int64_t batch = 0; batch < 2 * batches; batch++) {
        accel__accumulate(&state, batches - batch % batches);
        optimizer->skipped = contains(skipped, batch);
        CHECK_OK(accel_scheduler_step(scheduler));
        steps = vectors_at(expected, (size_t)batch);
        VECTORS_CHECK(row,
                      accel_scheduler_get_state(scheduler).step == (steps < most ? steps : most));
    }
    accel__link_release_after(&state.prepared, &state.prepared);
    CHECK(state.prepared.next == &state.prepared);
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

static void schedules_step_as_upstream(void)
{
    json_t *root = vectors_load("scheduler_steps"), *row;
    size_t index;

    json_array_foreach(json_object_get(root, "vectors"), index, row) check_scheduler_row(row);
    CHECK(index > 20);
    json_decref(root);
}

static void bad_schedules_are_named(void)
{
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler = (accel_scheduler_t *)&model;

    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_sgd_create(model, NULL, &optimizer));
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosin"), &scheduler));
    CHECK_ERROR("no schedule 'cosin'; did you mean 'cosine'?");
    CHECK(!scheduler);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_scheduler_create(optimizer, NULL, &scheduler));
    CHECK_ERROR("num_training_steps is 0");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_scheduler_create(
                     optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "constant", .num_warmup_steps = -1),
                     &scheduler));
    CHECK_ERROR("num_warmup_steps is -1");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_scheduler_create(
                     optimizer, ACCEL_SCHEDULER_OPTIONS(.num_training_steps = 9, .num_cycles = NAN),
                     &scheduler));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_scheduler_create(NULL, NULL, &scheduler));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_scheduler_step(NULL));
    accel_scheduler_destroy(NULL);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

TEST_MAIN(TEST(accumulation_as_upstream), TEST(no_sync_nests), TEST(schedules_step_as_upstream),
          TEST(bad_schedules_are_named))
