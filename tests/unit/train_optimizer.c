/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers of one process alone, their options, and the loops beneath. */
#include "test.h"
#include "train/optimizer.h"

static void bad_options_are_named(void)
{
    accel_model_t *model;
    accel_optimizer_t *optimizer = (accel_optimizer_t *)&model;

    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_adamw_create(NULL, NULL, &optimizer));
    CHECK_ERROR("the model of an AdamW optimizer is NULL");
    CHECK(!optimizer);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_adamw_create(model, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = -2), &optimizer));
    CHECK_ERROR("accel_adamw_create: lr is -2; expected a finite number >= 0");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.beta2 = 1), &optimizer));
    CHECK_ERROR("beta2 is 1; expected 0 <= beta2 < 1");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.eps = NAN), &optimizer));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = INFINITY), &optimizer));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_sgd_create(model, ACCEL_SGD_OPTIONS(.momentum = -0.5), &optimizer));
    CHECK_ERROR("momentum is -0.5");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_sgd_create(model, ACCEL_SGD_OPTIONS(.nesterov = true), &optimizer));
    CHECK_ERROR("nesterov wants momentum > 0 and dampening 0");
    CHECK(!optimizer);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_step(NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_zero_grad(NULL));

    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_NEAR(1e-3, accel_optimizer_get_lr(optimizer), 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_set_lr(optimizer, -1));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_optimizer_set_lr(optimizer, NAN));
    CHECK_OK(accel_optimizer_set_lr(optimizer, 0));
    CHECK_NEAR(0, accel_optimizer_get_lr(optimizer), 0);
    accel_optimizer_destroy(optimizer);
    accel_optimizer_destroy(NULL);
    accel_model_destroy(model);
}

/* One step by hand: p = 2, g = 0.5. */
static void one_step_by_hand(void)
{
    double value = 2, gradient = 0.5, *value_at = &value, *gradient_at = &gradient;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_model_add(model, "p", ACCEL_F64, 0, NULL, &value_at, &gradient_at));
    CHECK_OK(
        accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 0.1, .eps = ACCEL_ZERO), &optimizer));
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_NEAR(2 * (1 - 0.1 * 0.01) - 0.1, value, 1e-15); /* the first step is lr * sign(g) */
    CHECK_INT(1, accel_optimizer_num_steps(optimizer));
    CHECK_OK(accel_optimizer_zero_grad(optimizer));
    CHECK_NEAR(0, gradient, 0);
    accel_optimizer_destroy(optimizer);

    value = 2, gradient = 0.5;
    CHECK_OK(accel_sgd_create(
        model, ACCEL_SGD_OPTIONS(.lr = 0.1, .momentum = 0.5, .weight_decay = 0.25), &optimizer));
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_NEAR(2 - 0.1, value, 1e-15); /* the buffer is g + wd p = 1 */
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_NEAR(1.9 - 0.1 * (0.5 * 1 + 0.5 + 0.25 * 1.9), value, 1e-15);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

/* ---- the loops ---- */

enum { COUNT = 1003 }; /* no multiple of any vector */

enum { ARRAYS = 8 };

typedef struct arrays {
    float narrow[ARRAYS][COUNT];
    double wide[ARRAYS][COUNT];
    double sums[4];
} arrays_t;

static void fill(arrays_t *arrays)
{
    memset(arrays, 0, sizeof(*arrays));
    for (int i = 0; i < COUNT; i++) {
        arrays->narrow[0][i] = (float)(arrays->wide[0][i] = sin(1.3 * i));
        arrays->narrow[1][i] = (float)(arrays->wide[1][i] = cos(0.7 * i) * exp(-0.01 * i));
    }
}

/* x: parameters, gradients, six states */
static void run_one(const accel__kernels_t *kernels, void *const x[ARRAYS], double *sums)
{
    accel__adam_step_t adam = {-0.9, 0.999, 0, 0.9, 0.999, 1e-8, 1e-2, 0.3};
    accel__adam_step_t l2 = {0.9, 1, 0.01, 0.4, 0.999, 1e-8, 1e-2, 0.3};
    accel__sgd_step_t sgd = {0.9, 1e-2, 0.9, 1e-3, 0.8, true};
    accel__adagrad_step_t adagrad = {0.9, 1e-2, 1e-3, 1e-10};
    accel__rmsprop_step_t rmsprop = {0.9, 1e-3, 0.99, 1e-4, 1e-3, 0.9};

    kernels->adam(&adam, x[0], x[1], x[2], x[3], NULL, COUNT);
    kernels->adam(&l2, x[0], x[1], x[2], x[3], x[4], COUNT);
    kernels->sgd(&sgd, x[0], x[1], COUNT);
    kernels->sgd_momentum(&sgd, x[0], x[1], x[2], COUNT);
    kernels->adagrad(&adagrad, x[0], x[1], x[3], COUNT);
    kernels->rmsprop(&rmsprop, x[0], x[1], x[3], NULL, NULL, COUNT);
    kernels->rmsprop(&rmsprop, x[0], x[1], x[3], NULL, x[2], COUNT);
    kernels->rmsprop(&rmsprop, x[0], x[1], x[6], x[7], x[2], COUNT);
    kernels->lerp(x[5], x[1], 0.3, COUNT);
    kernels->lerp(x[5], x[1], 0.7, COUNT);
    kernels->scale(x[1], 1.1, COUNT);
    kernels->clamp(x[1], 0.25, COUNT);
    sums[0] = kernels->sum_of_squares(x[0], COUNT);
    sums[1] = kernels->zero_if_finite(x[0], COUNT);
}

static void run(arrays_t *a, const accel__kernels_t *f32, const accel__kernels_t *f64)
{
    void *narrow[ARRAYS], *wide[ARRAYS];

    for (int i = 0; i < ARRAYS; i++) {
        narrow[i] = a->narrow[i];
        wide[i] = a->wide[i];
    }
    for (int step = 0; step < 3; step++) {
        run_one(f32, narrow, a->sums);
        run_one(f64, wide, a->sums + 2);
    }
}

static void instruction_sets_agree_to_the_bit(void)
{
    static arrays_t plain, other;
    double sum = 0;

    fill(&plain);
    run(&plain, accel__kernels_f32(ACCEL__ISA_PLAIN), accel__kernels_f64(ACCEL__ISA_PLAIN));
    for (accel__isa_t isa = ACCEL__ISA_AVX2; isa <= accel__isa_best(); isa++) {
        fill(&other);
        run(&other, accel__kernels_f32(isa), accel__kernels_f64(isa));
        CHECK(memcmp(&plain, &other, sizeof(plain)) == 0);
    }
    for (int i = 0; i < COUNT; i++)
        sum += plain.wide[0][i] * plain.wide[0][i];
    CHECK_NEAR(sum, plain.sums[2], 1e-12 * sum);
    CHECK(sum > 1 && isfinite(sum));
    CHECK_NEAR(0, plain.sums[1], 0);
    CHECK_NEAR(0, plain.sums[3], 0);
}

static void kernels_see_what_is_not_finite(void)
{
    static float x[COUNT];
    static const float bad[] = {INFINITY, -INFINITY, NAN};

    for (accel__isa_t isa = ACCEL__ISA_PLAIN; isa <= accel__isa_best(); isa++)
        for (int at = 0; at < COUNT; at += 167)
            for (int b = 0; b < 3; b++) {
                for (int i = 0; i < COUNT; i++)
                    x[i] = i % 2 ? -3e38f : 3e38f;
                CHECK(accel__kernels_f32(isa)->zero_if_finite(x, COUNT) == 0);
                x[at] = bad[b];
                CHECK(isnan(accel__kernels_f32(isa)->zero_if_finite(x, COUNT)));
                accel__kernels_f32(isa)->clamp(x, 2, COUNT);
                CHECK(isnan(bad[b]) ? isnan(x[at]) : fabsf(x[at]) == 2);
                CHECK(fabsf(x[(at + 1) % COUNT]) == 2);
            }
}

TEST_MAIN(TEST(bad_options_are_named), TEST(one_step_by_hand),
          TEST(instruction_sets_agree_to_the_bit), TEST(kernels_see_what_is_not_finite))
