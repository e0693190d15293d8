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

typedef struct arrays {
    float p[COUNT], g[COUNT], m[COUNT], v[COUNT], b[COUNT];
    double wide_p[COUNT], wide_g[COUNT], wide_m[COUNT], wide_v[COUNT], wide_b[COUNT];
    double sums[2];
} arrays_t;

static void fill(arrays_t *arrays)
{
    memset(arrays, 0, sizeof(*arrays));
    for (int i = 0; i < COUNT; i++) {
        arrays->p[i] = (float)(arrays->wide_p[i] = sin(1.3 * i));
        arrays->g[i] = (float)(arrays->wide_g[i] = cos(0.7 * i) * exp(-0.01 * i));
    }
}

static void run(arrays_t *a, const accel__kernels_t *f32, const accel__kernels_t *f64)
{
    accel__adamw_step_t adamw = {0.9, 0.999, 0.9, 0.999, 1e-8, 1e-2, 0.3};
    accel__sgd_step_t sgd = {0.9, 1e-2, 0.9, 1e-3, 0.8, true};

    for (int step = 0; step < 3; step++) {
        f32->adamw(&adamw, a->p, a->g, a->m, a->v, COUNT);
        f64->adamw(&adamw, a->wide_p, a->wide_g, a->wide_m, a->wide_v, COUNT);
        f32->sgd(&sgd, a->p, a->g, COUNT);
        f64->sgd(&sgd, a->wide_p, a->wide_g, COUNT);
        f32->sgd_momentum(&sgd, a->p, a->g, a->b, COUNT);
        f64->sgd_momentum(&sgd, a->wide_p, a->wide_g, a->wide_b, COUNT);
        f32->scale(a->g, 1.1, COUNT);
        f64->scale(a->wide_g, 1.1, COUNT);
    }
    a->sums[0] = f32->sum_of_squares(a->p, COUNT);
    a->sums[1] = f64->sum_of_squares(a->wide_p, COUNT);
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
        sum += plain.wide_p[i] * plain.wide_p[i];
    CHECK_NEAR(sum, plain.sums[1], 1e-12 * sum);
    CHECK(sum > 1);
}

TEST_MAIN(TEST(bad_options_are_named), TEST(one_step_by_hand),
          TEST(instruction_sets_agree_to_the_bit))
