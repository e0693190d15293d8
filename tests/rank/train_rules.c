/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Rules by callback and groups of parameters on several ranks: as on one. */
#include "train_net.h"

enum { STEPS = 12, GLOBAL_BATCH = 12 };

typedef struct setup {
    accel_granularity_t granularity;
    accel_dtype_t gradient_dtype;
    bool clip, averaged, fixed_memory;
} setup_t;

/* What the pieces were; a rank's own. */
typedef struct seen {
    accel_granularity_t granularity;
    int64_t elements, pieces;
} seen_t;

/* A rule that depends on what it sees together: a step is divided by the largest gradient of the
 * row or tensor where those are whole, and by 1 where they are not. */
static void rule(void *context, const accel_update_t *update)
{
    seen_t *seen = context;
    float *p = update->values, *m = update->states[0];
    const float *g = update->gradients;
    int64_t row = update->shape[1], rows;
    float largest;

    CHECK_INT(ACCEL_F32, update->dtype);
    CHECK_INT(2, update->ndim);
    CHECK(update->first >= 0 && update->count > 0 &&
          update->first + update->count <= update->shape[0] * row);
    if (seen->granularity == ACCEL_TENSOR)
        CHECK(update->first == 0 && update->count == update->shape[0] * row);
    if (seen->granularity == ACCEL_ROW)
        CHECK(update->first % row == 0 && update->count % row == 0);
    if (seen->granularity == ACCEL_ELEMENT)
        row = 1;
    if (seen->granularity == ACCEL_TENSOR)
        row = update->count;
    rows = update->count / row;
    for (int64_t r = 0; r < rows; r++) {
        largest = seen->granularity == ACCEL_ELEMENT ? 1 : 0.1f;
        for (int64_t i = r * row; i < (r + 1) * row && seen->granularity != ACCEL_ELEMENT; i++)
            largest = fmaxf(largest, fabsf(g[i]));
        for (int64_t i = r * row; i < (r + 1) * row; i++) {
            m[i] = 0.5f * m[i] + g[i] / largest;
            p[i] -= (float)update->lr * (m[i] + (float)update->weight_decay * p[i]);
        }
    }
    seen->elements += update->count;
    seen->pieces++;
}

static bool is_second(void *context, const accel_parameter_t *parameter)
{
    return strncmp(parameter->name, context, 3) == 0;
}

static accel_optimizer_t *make_optimizer(accel_model_t *model, const setup_t *setup, seen_t *seen)
{
    static char second[] = "fc2";
    static const char *const frozen[] = {"fc1.bias", NULL};
    accel_optimizer_t *optimizer;
    int32_t group;

    *seen = (seen_t){.granularity = setup->granularity};
    CHECK_OK(accel_optimizer_create(
        model,
        ACCEL_OPTIMIZER_OPTIONS(.update = rule, .context = seen, .granularity = setup->granularity,
                                .num_states = 1, .lr = 0.01, .weight_decay = 0.1),
        &optimizer));
    CHECK_OK(accel_optimizer_add_group(
        optimizer, ACCEL_GROUP_OPTIONS(.names = frozen, .frozen = true), &group));
    CHECK_INT(1, group);
    CHECK_OK(accel_optimizer_add_group(optimizer,
                                       ACCEL_GROUP_OPTIONS(.select = is_second, .context = second,
                                                           .lr = 0.003, .weight_decay = ACCEL_ZERO),
                                       &group));
    CHECK_INT(3, accel_optimizer_num_groups(optimizer));
    return optimizer;
}

static void train(accel_t *accelerator, const setup_t *setup, net_t *net)
{
    accel_model_options_t options = accel_model_options_init();
    int64_t share = GLOBAL_BATCH / accel_num_processes(accelerator);
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    seen_t seen;

    options.fixed_memory = setup->fixed_memory;
    net_init(net, ACCEL_F32, ACCEL_F32, 0);
    for (int i = 0; i < NET_PARAMS; i++)
        net->gradient_dtypes[i] = setup->gradient_dtype;
    model = net_model(net, options);
    optimizer = make_optimizer(model, setup, &seen);
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net->count = share;
    for (int64_t step = 0; step < STEPS; step++) {
        if (step == STEPS / 2) /* fc1.bias */
            CHECK_OK(accel_optimizer_set_frozen(optimizer, 1, false));
        net->first = step * GLOBAL_BATCH + accel_process_index(accelerator) * share;
        CHECK_OK(accel_backward(accelerator, model));
        if (setup->averaged)
            CHECK_OK(accel_sync_gradients(accelerator, model));
        if (setup->clip)
            CHECK_OK(accel_clip_grad_norm(accelerator, model, 0.5, NULL));
        CHECK_OK(accel_optimizer_step(optimizer));
        if (step == STEPS / 2 - 1)
            for (size_t i = 0; i < net_size(1); i++)
                CHECK_NEAR((double)(float)(0.3 * sin(1.7 * (double)i + 1)), net_value(net, 1, i),
                           0);
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    CHECK_OK(accel_reduce(accelerator, ACCEL_TENSOR(&seen.elements, ACCEL_I64, 1), ACCEL_SUM));
    CHECK_INT(STEPS * (accel_model_num_trainable(model) - NET_HIDDEN) + STEPS / 2 * NET_HIDDEN,
              seen.elements);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

/* A process of its own, in this one. */
static accel_t *make_alone(void)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;

    options.num_processes = 1;
    CHECK_OK(accel_create(&options, &accelerator));
    return accelerator;
}

static void check_rules(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init()), *alone = make_alone();

    (void)rank, (void)size;
    for (int other = 0; other < 24; other++) {
        setup_t setup = {.granularity = (accel_granularity_t)(other % 3),
                         .gradient_dtype = other < 12 ? ACCEL_F32 : ACCEL_BF16,
                         .clip = (other / 3) % 2 == 1,
                         .averaged = (other / 6) % 2 == 1,
                         .fixed_memory = other % 5 == 1};
        char what[96];
        net_t one, many;

        snprintf(what, sizeof(what), "granularity %d, %s gradients%s%s", (int)setup.granularity,
                 accel_dtype_name(setup.gradient_dtype), setup.clip ? ", clipped" : "",
                 setup.averaged ? ", averaged" : "");
        train(alone, &setup, &one);
        train(accelerator, &setup, &many);
        net_check_equal(&one, &many, setup.gradient_dtype == ACCEL_F32 ? 1e-5 : 0.02, what);
        net_free(&one);
        net_free(&many);
    }
    accel_destroy(alone);
    accel_destroy(accelerator);
}

static void two_ranks(void)
{
    TEST_RANKS(2, check_rules);
}

static void four_ranks(void)
{
    TEST_RANKS(4, check_rules);
}

/* A group that differs on one rank is named everywhere; a rate that does, at the step. */
static void check_differences(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    net_t net;

    (void)size;
    net_init(&net, ACCEL_F32, ACCEL_F32, 0);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_optimizer_add_group(
        optimizer,
        ACCEL_GROUP_OPTIONS(.pattern = "*.bias", .weight_decay = rank == 1 ? 0.5 : ACCEL_ZERO),
        NULL));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare(accelerator, model, optimizer, NULL, NULL));
    CHECK_ERROR("group (lr");
    accel_optimizer_destroy(optimizer);

    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_optimizer_add_group(optimizer,
                                       ACCEL_GROUP_OPTIONS(.pattern = "*.bias", .lr = 0.5), NULL));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    CHECK_OK(accel_optimizer_set_lr(optimizer, 0.25));
    CHECK_NEAR(0.5, accel_optimizer_get_group_lr(optimizer, 1), 0); /* its own */
    CHECK_OK(accel_optimizer_set_group_lr(optimizer, 1, rank == 1 ? 0.1 : 0.2));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_optimizer_step(optimizer));
    CHECK_ERROR("the rates of the parameters' groups differ between ranks 0 and 1");
    CHECK_OK(accel_optimizer_set_group_lr(optimizer, 1, 0.1));
    CHECK_OK(accel_optimizer_step(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    net_free(&net);
}

static void differences_are_named(void)
{
    TEST_RANKS(3, check_differences);
}

TEST_MAIN(TEST(two_ranks), TEST(four_ranks), TEST(differences_are_named))
