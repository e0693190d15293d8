/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * What find_unused_parameters promises, trait by trait; random programs are in random_unused.c. */
#include "test.h"

#include "base/base.h"

/* More bits than a meeting carries. */
static void many(int rank, int size)
{
    enum { MANY = 3000, WIDTH = 3 };
    accel_t *accelerator = test_accelerator(accel_options_init());
    float *memory = calloc(2 * MANY * WIDTH, sizeof(*memory)), *pointers[2 * MANY];
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    CHECK(memory);
    CHECK_OK(accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = true), &model));
    for (int i = 0; i < MANY; i++) {
        char name[16];

        snprintf(name, sizeof(name), "w%d", i);
        pointers[2 * i] = memory + 2 * i * WIDTH;
        pointers[2 * i + 1] = memory + (2 * i + 1) * WIDTH;
        CHECK_OK(accel_model_add(model, name, ACCEL_F32, ACCEL_SHAPE(WIDTH), &pointers[2 * i],
                                 &pointers[2 * i + 1]));
    }
    CHECK_OK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 0.5), &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (int i = rank; i < MANY; i += 7) {
        pointers[2 * i + 1][1] = 1;
        CHECK_OK(accel_grad_ready(model, i));
    }
    CHECK_OK(accel_backward(accelerator, model));
    CHECK_OK(accel_optimizer_step(optimizer));
    for (int i = 0; i < MANY; i++) {
        CHECK(accel_model_is_used(model, i) == (i % 7 < size));
        CHECK_NEAR(i % 7 < size ? -0.5 : 0, pointers[2 * i][1], 1e-6);
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    free(memory);
}
static void thousands_of_parameters(void)
{
    TEST_RANKS(3, many);
}

/* A bfloat16 parameter and its float32 master, of which `use` says who uses it at which step. */
typedef struct half {
    accel_t *accelerator;
    uint16_t values_block[40], gradients_block[40], *values, *gradients;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_ema_t *ema;
} half_t;

static void half_begin(half_t *half)
{
    memset(half, 0, sizeof(*half));
    half->accelerator = test_accelerator(accel_options_init());
    for (int i = 0; i < 40; i++)
        half->values_block[i] = accel__f32_to_bf16(sinf((float)i));
    half->values = half->values_block;
    half->gradients = half->gradients_block;
    CHECK_OK(accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = true), &half->model));
    CHECK_OK(accel_model_add(half->model, "w", ACCEL_BF16, ACCEL_SHAPE(8, 5), &half->values,
                             &half->gradients));
    CHECK_OK(accel_adamw_create(half->model, ACCEL_ADAMW_OPTIONS(.lr = 3e-3), &half->optimizer));
    CHECK_OK(accel_ema_create(half->model, ACCEL_EMA_OPTIONS(.decay = 0.5), &half->ema));
    CHECK_OK(accel_prepare(half->accelerator, half->model, half->optimizer, NULL, NULL));
}

static void half_step(half_t *half, int number, bool used)
{
    for (int i = 0; i < 40; i++)
        half->gradients[i] = used ? accel__f32_to_bf16(cosf((float)(i * number))) : 0;
    if (used)
        CHECK_OK(accel_grad_ready(half->model, 0)); /* the last one ends the backward */
    else
        CHECK_OK(accel_backward(half->accelerator, half->model));
    CHECK_OK(accel_optimizer_step(half->optimizer));
    CHECK_OK(accel_optimizer_zero_grad(half->optimizer));
    CHECK_OK(accel_ema_update(half->ema));
}

static void half_end(half_t *half)
{
    accel_ema_destroy(half->ema);
    accel_optimizer_destroy(half->optimizer);
    accel_model_destroy(half->model);
    accel_destroy(half->accelerator);
}

/* A step that does not use a parameter is as if it had not been, master, moments and count; its
 * average goes on. */
static void not_been(int rank, int size)
{
    half_t some, all;
    uint16_t before[40];

    (void)size;
    half_begin(&some);
    half_begin(&all);
    for (int step = 1; step <= 6; step++) {
        memcpy(before, some.values, sizeof(before));
        half_step(&some, step, step % 2 == 1 && rank == 0);
        if (step % 2 == 1)
            half_step(&all, step, rank == 0);
        else
            CHECK(memcmp(before, some.values, sizeof(before)) == 0);
        CHECK(accel_model_is_used(some.model, 0) == (step % 2 == 1));
    }
    CHECK(memcmp(some.values, all.values, sizeof(before)) == 0);
    CHECK_INT(6, accel_optimizer_num_steps(some.optimizer));
    CHECK_INT(6, accel_ema_num_updates(some.ema));
    memcpy(before, some.values, sizeof(before));
    for (int step = 0; step < 30; step++)
        half_step(&some, 1, false);
    CHECK_OK(accel_ema_begin(some.ema));
    CHECK(memcmp(before, some.values, sizeof(before)) == 0); /* it has come to the values */
    CHECK_OK(accel_ema_end(some.ema));
    half_end(&all);
    half_end(&some);
}
static void an_unused_step_has_not_been(void)
{
    for (int size = 1; size <= 2; size++)
        TEST_RANKS(size, not_been);
}

/* A replicated model, whose owner steps it: what a reduction found is for that reduction. */
static void replicated(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    double values[2] = {1, 2}, gradients[2] = {0, 0};
    double *value[2] = {&values[0], &values[1]}, *gradient[2] = {&gradients[0], &gradients[1]};
    accel_model_t *model;

    CHECK_OK(accel_model_create(
        ACCEL_MODEL_OPTIONS(.replicated = true, .find_unused_parameters = true), &model));
    for (int i = 0; i < 2; i++)
        CHECK_OK(
            accel_model_add(model, i ? "b" : "a", ACCEL_F64, 0, NULL, &value[i], &gradient[i]));
    CHECK(accel_model_is_used(model, 0)); /* not prepared: nobody has counted */
    CHECK_OK(accel_prepare(accelerator, model, NULL, NULL, NULL));
    CHECK(!accel_model_is_used(model, 0) && !accel_model_is_used(model, 1));
    for (int step = 0; step < 4; step++) {
        *gradient[0] = *gradient[1] = 0;
        if (rank == step % size) {
            *gradient[step % 2] = 6;
            CHECK_OK(accel_grad_ready(model, step % 2));
        }
        CHECK_OK(accel_backward(accelerator, model));
        CHECK(accel_model_is_used(model, step % 2) && !accel_model_is_used(model, 1 - step % 2));
        CHECK_NEAR(6.0 / size, *gradient[step % 2], 0);
        CHECK_NEAR(0, *gradient[1 - step % 2], 0);
    }
    CHECK(!accel_model_is_used(model, 2) && !accel_model_is_used(model, -1));
    CHECK(!accel_model_is_used(NULL, 0));
    accel_model_destroy(model);
    accel_destroy(accelerator);
}
static void a_replicated_model_is_told(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, replicated);
}

/* Gradients of a window that were cleared within it are nobody's use. */
static void cleared(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;
    double value = 1, gradient = 0, *value_at = &value, *gradient_at = &gradient;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    (void)rank, (void)size;
    options.gradient_accumulation_steps = 2;
    accelerator = test_accelerator(options);
    CHECK_OK(accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = true), &model));
    CHECK_OK(accel_model_add(model, "w", ACCEL_F64, 0, NULL, &value_at, &gradient_at));
    CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 1, .weight_decay = 0.5), &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (int step = 0; step < 2; step++) {
        CHECK_OK(accel_accumulate(accelerator, model));
        *gradient_at = 0.5;
        CHECK_OK(accel_grad_ready(model, 0));
        CHECK_OK(accel_backward(accelerator, model));
        CHECK_OK(accel_optimizer_zero_grad(optimizer)); /* nothing, off a sync step */
        CHECK_NEAR(0.5, *gradient_at, 0);
        if (step == 0)
            CHECK_OK(accel_model_zero_grad(model));
        CHECK_OK(accel_accumulate(accelerator, model));
        CHECK_OK(accel_backward(accelerator, model));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
        CHECK_NEAR(step == 0 ? 1 : 0, *value_at, 1e-15);
        CHECK(accel_model_is_used(model, 0) == (step == 1));
    }
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_zero_grad(NULL));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}
static void cleared_gradients_are_not_used(void)
{
    TEST_RANKS(2, cleared);
}

static void count_warning(void *context, accel_log_level_t level, const char *message)
{
    if (level == ACCEL_LOG_WARNING && strstr(message, "the backward announced no gradient"))
        (*(int *)context)++;
}

/* Who asks for it and announces nothing would wonder why nothing is learned. */
static void silent(int rank, int size)
{
    half_t half;
    int warnings = 0;

    (void)rank, (void)size;
    accel_set_log_callback(count_warning, &warnings);
    for (int announced = 0; announced <= 1; announced++) {
        half_begin(&half);
        for (int step = 0; step < 3; step++)
            half_step(&half, 1, announced && step == 0);
        half_end(&half);
        CHECK_INT(1, warnings); /* once, of the first model */
    }
    accel_set_log_callback(NULL, NULL);
}
static void a_silent_backward_is_warned_of(void)
{
    TEST_RANKS(1, silent);
}

static void differing(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float value = 1, gradient = 0, *value_at = &value, *gradient_at = &gradient;
    accel_model_t *model;

    (void)size;
    CHECK_OK(accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = rank == 0), &model));
    CHECK_OK(accel_model_add(model, "w", ACCEL_F32, 0, NULL, &value_at, &gradient_at));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare_model(accelerator, model));
    CHECK_ERROR("'w' float32 [] that may be unused on rank 0 but 'w' float32 [] on rank 1");
    accel_model_destroy(model);
    accel_destroy(accelerator);
}
static void an_option_of_one_rank_is_named(void)
{
    accel_model_t *model;

    TEST_RANKS(2, differing);
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_create(ACCEL_MODEL_OPTIONS(.find_unused_parameters = true,
                                                        .overwrites_gradients = true),
                                    &model));
    CHECK_ERROR("find_unused_parameters does not go with overwrites_gradients");
}

TEST_MAIN(TEST(thousands_of_parameters), TEST(an_unused_step_has_not_been),
          TEST(a_replicated_model_is_told), TEST(cleared_gradients_are_not_used),
          TEST(a_silent_backward_is_warned_of), TEST(an_option_of_one_rank_is_named))
