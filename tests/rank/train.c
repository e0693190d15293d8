/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Training on P ranks is training alone on the whole batch. */
#include "train_net.h"

enum { STEPS = 50, GLOBAL_BATCH = 12 };

typedef struct rule {
    const char *name;
    bool adamw;
    double momentum, weight_decay;
    bool nesterov;
} rule_t;

static const rule_t rules[] = {{"adamw", true, 0, 0.05, false},
                               {"sgd", false, 0, 0, false},
                               {"sgd with momentum", false, 0.9, 0, false},
                               {"sgd with nesterov and weight decay", false, 0.9, 0.01, true}};

typedef struct variant {
    accel_dtype_t first, second;
    bool fixed_memory;
    double max_norm; /* 0: no clipping */
} variant_t;

static accel_optimizer_t *make_optimizer(accel_model_t *model, const rule_t *rule)
{
    accel_optimizer_t *optimizer;

    if (rule->adamw)
        CHECK_OK(accel_adamw_create(
            model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2, .weight_decay = rule->weight_decay),
            &optimizer));
    else
        CHECK_OK(accel_sgd_create(model,
                                  ACCEL_SGD_OPTIONS(.lr = 1e-2, .momentum = rule->momentum,
                                                    .nesterov = rule->nesterov,
                                                    .weight_decay = rule->weight_decay),
                                  &optimizer));
    return optimizer;
}

static void train(accel_t *accelerator, net_t *net, const rule_t *rule, const variant_t *variant)
{
    accel_model_options_t options = accel_model_options_init();
    int64_t share = GLOBAL_BATCH / accel_num_processes(accelerator);
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    double norm = 0;

    options.fixed_memory = variant->fixed_memory;
    net_init(net, variant->first, variant->second, accel_process_index(accelerator));
    model = net_model(net, options);
    optimizer = make_optimizer(model, rule);
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net->count = share;
    for (int64_t step = 0; step < STEPS; step++) {
        net->first = step * GLOBAL_BATCH + accel_process_index(accelerator) * share;
        CHECK_OK(accel_backward(accelerator, model));
        if (variant->max_norm > 0)
            CHECK_OK(accel_clip_grad_norm(accelerator, model, variant->max_norm, &norm));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    CHECK_INT(STEPS, accel_optimizer_num_steps(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

/* By torch's rule, on the gradients of the whole batch. */
static void clip_alone(net_t *net, double max_norm)
{
    double sum = 0, coefficient;

    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            sum += pow(net_get(net, i, net->gradients[i], at), 2);
    coefficient = fmin(1, max_norm / (sqrt(sum) + 1e-6));
    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            net_set(net, i, net->gradients[i], at,
                    coefficient * net_get(net, i, net->gradients[i], at));
}

/* The reference: nothing is prepared, one process sees everything. */
static void train_alone(net_t *net, const rule_t *rule, const variant_t *variant)
{
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    net_init(net, variant->first, variant->second, 0);
    model = net_model(net, accel_model_options_init());
    optimizer = make_optimizer(model, rule);
    net->count = GLOBAL_BATCH;
    for (int64_t step = 0; step < STEPS; step++) {
        net->first = step * GLOBAL_BATCH;
        CHECK_OK(net_backward(net, 1));
        if (variant->max_norm > 0)
            clip_alone(net, variant->max_norm);
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

static void check_variant(accel_t *accelerator, const rule_t *rule, const variant_t *variant)
{
    bool all_f64 = variant->first == ACCEL_F64 && variant->second == ACCEL_F64;
    net_t alone, together;
    char what[128];

    snprintf(what, sizeof(what), "%s, %s, %s, max_norm %g", rule->name,
             accel_dtype_name(variant->first), variant->fixed_memory ? "fixed memory" : "arena",
             variant->max_norm);
    train_alone(&alone, rule, variant);
    train(accelerator, &together, rule, variant);
    net_check_equal(&alone, &together, all_f64 ? 1e-11 : 1e-6, what);
    net_free(&alone);
    net_free(&together);
}

static void check_all(int rank, int size)
{
    static const accel_dtype_t dtypes[][2] = {
        {ACCEL_F32, ACCEL_F32}, {ACCEL_F64, ACCEL_F64}, {ACCEL_F32, ACCEL_F64}};
    accel_t *accelerator = test_accelerator(accel_options_init());

    (void)rank;
    CHECK_INT(size, accel_num_processes(accelerator));
    for (size_t d = 0; d < 3; d++)
        for (size_t r = 0; r < sizeof(rules) / sizeof(*rules); r++)
            for (int other = 0; other < 4; other++) {
                variant_t variant = {dtypes[d][0], dtypes[d][1], other & 1, other & 2 ? 0.4 : 0};

                check_variant(accelerator, &rules[r], &variant);
            }
    accel_destroy(accelerator);
}

static void one_rank_is_alone(void)
{
    TEST_RANKS(1, check_all);
}

static void two_ranks_are_one(void)
{
    TEST_RANKS(2, check_all);
}

static void three_ranks_are_one(void)
{
    TEST_RANKS(3, check_all);
}

static void four_ranks_are_one(void)
{
    TEST_RANKS(4, check_all);
}

/* Every way to the same numbers gives the same bits: another run, fixed memory, and with
 * gradients averaged before the step. */
static void check_bits(int rank, int size)
{
    const variant_t arena = {ACCEL_F32, ACCEL_F64, false, 0.4},
                    fixed = {ACCEL_F32, ACCEL_F64, true, 0.4};
    const variant_t unclipped = {ACCEL_F32, ACCEL_F64, false, 0};
    accel_options_t options = accel_options_init();
    accel_t *accelerator = test_accelerator(options), *averaging;
    net_t first, again, copied, raw, averaged;

    (void)rank, (void)size;
    train(accelerator, &first, &rules[0], &arena);
    train(accelerator, &again, &rules[0], &arena);
    train(accelerator, &copied, &rules[0], &fixed);
    train(accelerator, &raw, &rules[0], &unclipped);
    accel_destroy(accelerator);
    options.gradients = ACCEL_GRADIENTS_AVERAGED;
    averaging = test_accelerator(options);
    train(averaging, &averaged, &rules[0], &unclipped);
    accel_destroy(averaging);
    CHECK(net_same_bytes(&first, &again));
    CHECK(net_same_bytes(&first, &copied));
    CHECK(!net_same_bytes(&first, &raw));
    CHECK(net_same_bytes(&raw, &averaged));
    net_free(&first);
    net_free(&again);
    net_free(&copied);
    net_free(&raw);
    net_free(&averaged);
}

static void runs_are_bit_identical(void)
{
    TEST_RANKS(3, check_bits);
}

TEST_MAIN(TEST(one_rank_is_alone), TEST(two_ranks_are_one), TEST(three_ranks_are_one),
          TEST(four_ranks_are_one), TEST(runs_are_bit_identical))
