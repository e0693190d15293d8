/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Mixed precision on several ranks: what is trained, what is reduced, what is skipped. */
#include "train_net.h"

enum { STEPS = 30, GLOBAL_BATCH = 12 };

typedef struct way {
    const char *precision;
    accel_dtype_t dtype, gradient_dtype;
    bool fixed_memory, averaged, clip;
    int32_t accumulation;
} way_t;

static accel_t *make_accelerator(const way_t *way)
{
    accel_options_t options = accel_options_init();
    accel_grad_scaler_options_t scaler = accel_grad_scaler_options_init();

    scaler.init_scale = 1024; /* with 65536 the first float16 gradients overflow */
    options.mixed_precision = way->precision;
    options.gradients = way->averaged ? ACCEL_GRADIENTS_AVERAGED : ACCEL_GRADIENTS_LOCAL;
    options.gradient_accumulation_steps = way->accumulation;
    options.grad_scaler = &scaler;
    return test_accelerator(options);
}

/* Rank r takes part r of the samples; `accumulation` backwards make a step. */
static void train(const way_t *way, net_t *net)
{
    accel_t *accelerator = make_accelerator(way);
    accel_model_options_t options = accel_model_options_init();
    int64_t ranks = accel_num_processes(accelerator), rank = accel_process_index(accelerator);
    int64_t share = GLOBAL_BATCH / ranks / way->accumulation;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    options.fixed_memory = way->fixed_memory;
    net_init(net, way->dtype, way->dtype, (double)rank);
    for (int i = 0; i < NET_PARAMS; i++)
        net->gradient_dtypes[i] = way->gradient_dtype;
    model = net_model(net, options);
    CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 0.02, .momentum = 0.9), &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net->count = share;
    for (int64_t batch = 0; batch < STEPS * way->accumulation; batch++) {
        net->first = batch * ranks * share + rank * share;
        CHECK_OK(accel_accumulate(accelerator, model));
        CHECK_OK(accel_backward(accelerator, model));
        if (way->clip)
            CHECK_OK(accel_clip_grad_norm(accelerator, model, 1e9, NULL));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    CHECK_INT(STEPS, accel_optimizer_num_steps(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}

static const char *describe(const way_t *way)
{
    static _Thread_local char text[160];

    snprintf(text, sizeof(text), "%s, %s with %s gradients, %s%s%s, accumulation %d",
             way->precision, accel_dtype_name(way->dtype), accel_dtype_name(way->gradient_dtype),
             way->fixed_memory ? "fixed memory" : "arena", way->averaged ? ", averaged" : "",
             way->clip ? ", clipped" : "", (int)way->accumulation);
    return text;
}

/* Alone, in double from the same values: what all of them should be near. (By SGD: Adam makes of
 * the rounding of a gradient near zero a step as large as any.) */
static void train_exactly(net_t *net)
{
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    net_init(net, ACCEL_F64, ACCEL_F64, 0);
    model = net_model(net, accel_model_options_init());
    CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 0.02, .momentum = 0.9), &optimizer));
    net->count = GLOBAL_BATCH;
    for (int64_t step = 0; step < STEPS; step++) {
        net->first = step * GLOBAL_BATCH;
        CHECK_OK(net_backward(net, 1));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
}

static double tolerance(const way_t *way)
{
    if (way->dtype == ACCEL_F32 && way->gradient_dtype == ACCEL_F32)
        return 2e-6;
    return way->dtype == ACCEL_BF16 || way->gradient_dtype == ACCEL_BF16 ? 0.08 : 0.01;
}

/* Near the exact result on any number of ranks; the same bits when done again, in fixed memory,
 * with averaged gradients, and with a clipping that has nothing to clip. */
static void check_ways(int rank, int size)
{
    static const struct {
        const char *precision;
        accel_dtype_t dtype, gradient_dtype;
    } kinds[] = {{"no", ACCEL_F32, ACCEL_F32},    {"fp16", ACCEL_F32, ACCEL_F32},
                 {"bf16", ACCEL_BF16, ACCEL_F32}, {"bf16", ACCEL_BF16, ACCEL_BF16},
                 {"fp16", ACCEL_F16, ACCEL_F32},  {"fp16", ACCEL_F16, ACCEL_F16},
                 {"bf16", ACCEL_F32, ACCEL_BF16}};
    net_t exact, first, again;

    (void)rank, (void)size;
    train_exactly(&exact);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (int32_t accumulation = 1; accumulation <= 3; accumulation += 2) {
            way_t way = {.precision = kinds[k].precision,
                         .dtype = kinds[k].dtype,
                         .gradient_dtype = kinds[k].gradient_dtype,
                         .accumulation = size == 3 ? (accumulation + 1) / 2 : accumulation};

            train(&way, &first);
            net_check_equal(&exact, &first, tolerance(&way), describe(&way));
            for (int other = 0; other < 4; other++) {
                way.fixed_memory = other == 1;
                way.averaged = other == 2;
                way.clip = other == 3;
                train(&way, &again);
                if (!net_same_bytes(&first, &again))
                    test_fail(__FILE__, __LINE__, "other bits: %s", describe(&way));
                net_free(&again);
            }
            net_free(&first);
        }
    net_free(&exact);
}

static void one_rank(void)
{
    TEST_RANKS(1, check_ways);
}

static void two_ranks(void)
{
    TEST_RANKS(2, check_ways);
}

static void three_ranks(void)
{
    TEST_RANKS(3, check_ways);
}

static void four_ranks(void)
{
    TEST_RANKS(4, check_ways);
}

/* ---- by hand ---- */

enum { COUNT = 5000 }; /* several pages, for several owners */

/* One parameter whose gradients the program sets. */
typedef struct hand {
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_dtype_t dtype, gradient_dtype;
    void *values, *gradients, *copy;
    void *blocks[2];
} hand_t;

static void hand_init(hand_t *hand, accel_options_t options, accel_dtype_t dtype,
                      accel_dtype_t gradient_dtype)
{
    *hand = (hand_t){.dtype = dtype, .gradient_dtype = gradient_dtype};
    hand->accelerator = test_accelerator(options);
    hand->values = hand->blocks[0] = calloc(COUNT, sizeof(double));
    hand->gradients = hand->blocks[1] = calloc(COUNT, sizeof(double));
    for (size_t i = 0; i < COUNT; i++)
        net_store(dtype, hand->values, i, 1);
    CHECK_OK(accel_model_create(NULL, &hand->model));
    CHECK_OK(accel_model_add(hand->model, "w", dtype, ACCEL_SHAPE(COUNT), &hand->values,
                             &hand->gradients));
    CHECK_OK(accel_model_set_gradient_dtype(hand->model, "w", gradient_dtype));
    if (dtype == ACCEL_F32)
        CHECK_OK(accel_model_add_copy(hand->model, "w", &hand->copy));
    CHECK_OK(accel_sgd_create(hand->model, ACCEL_SGD_OPTIONS(.lr = 0.125), &hand->optimizer));
    CHECK_OK(accel_prepare(hand->accelerator, hand->model, hand->optimizer, NULL, NULL));
}

static void hand_free(hand_t *hand)
{
    accel_optimizer_destroy(hand->optimizer);
    accel_model_destroy(hand->model);
    accel_destroy(hand->accelerator);
    CHECK(hand->values == hand->blocks[0] && hand->gradients == hand->blocks[1] && !hand->copy);
    free(hand->blocks[0]);
    free(hand->blocks[1]);
}

static void hand_backward(hand_t *hand, double gradient)
{
    for (size_t i = 0; i < COUNT; i++)
        net_store(hand->gradient_dtype, hand->gradients, i,
                  net_load(hand->gradient_dtype, hand->gradients, i) + gradient);
    CHECK_OK(accel_backward(hand->accelerator, hand->model));
}

static void hand_check(const hand_t *hand, double value)
{
    for (size_t i = 0; i < COUNT; i++)
        CHECK_NEAR(value, net_load(hand->dtype, hand->values, i), 0);
}

/* 256 + 1 is 256 in bfloat16, and 256 + 1 + 1 is 258 in float32. */
static void check_sums(int rank, int size)
{
    static const double parts[] = {256, 1, 1};
    accel_options_t options = accel_options_init();
    hand_t hand;

    (void)size;
    options.gradient_accumulation_steps = 3;
    hand_init(&hand, options, ACCEL_F32, ACCEL_BF16);
    for (int batch = 0; batch < 3; batch++) { /* over the backwards of a step */
        CHECK_OK(accel_accumulate(hand.accelerator, hand.model));
        hand_backward(&hand, parts[batch]);
        CHECK_OK(accel_optimizer_step(hand.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(hand.optimizer));
    }
    hand_check(&hand, 1 - 0.125 * 258);
    hand_free(&hand);

    hand_init(&hand, accel_options_init(), ACCEL_F32, ACCEL_BF16);
    hand_backward(&hand, parts[rank]); /* over the ranks */
    CHECK_OK(accel_optimizer_step(hand.optimizer));
    hand_check(&hand, 1 - 0.125 * 258 / 3);
    hand_free(&hand);
}

static void sums_are_of_float32(void)
{
    TEST_RANKS(3, check_sums);
}

/* 257 is 256 in bfloat16, 1.5 stays; the mean 128.75 becomes 129. */
static void check_hook(int rank, int size)
{
    accel_options_t options = accel_options_init();
    hand_t hand;

    (void)size;
    options.comm_hook = "bf16";
    hand_init(&hand, options, ACCEL_F32, ACCEL_F32);
    hand_backward(&hand, rank == 0 ? 257 : 1.5);
    CHECK_OK(accel_sync_gradients(hand.accelerator, hand.model));
    CHECK_NEAR(129, ((const float *)hand.gradients)[COUNT - 1], 0);
    CHECK_OK(accel_optimizer_step(hand.optimizer));
    hand_check(&hand, 1 - 0.125 * 129);
    hand_free(&hand);

    options.comm_hook = "fp16"; /* 257 fits there, 0x1p-26 does not */
    hand_init(&hand, options, ACCEL_F32, ACCEL_F32);
    hand_backward(&hand, rank == 0 ? 257 : 0x1p-26);
    CHECK_OK(accel_optimizer_step(hand.optimizer));
    hand_check(&hand, 1 - 0.125 * 128.5);
    hand_free(&hand);
}

static void hooks_round_what_is_reduced(void)
{
    TEST_RANKS(2, check_hook);
}

/* Copies are what the masters round to, after every step and after writing by hand. */
static void check_copies(int rank, int size)
{
    static const char *const precisions[] = {"bf16", "fp16"};
    static const accel_dtype_t dtypes[] = {ACCEL_BF16, ACCEL_F16};
    accel_options_t options = accel_options_init();
    hand_t hand;

    (void)size;
    hand_init(&hand, options, ACCEL_F32, ACCEL_F32);
    CHECK(!hand.copy); /* no mixed precision: none */
    hand_free(&hand);
    for (int p = 0; p < 2; p++) {
        options.mixed_precision = precisions[p];
        hand_init(&hand, options, ACCEL_F32, ACCEL_F32);
        CHECK(hand.copy);
        for (int step = 0; step < 5; step++) {
            hand_backward(&hand, 0.0137 * (step + 1) * accel_gradient_scale(hand.accelerator));
            CHECK_OK(accel_optimizer_step(hand.optimizer));
            CHECK_OK(accel_optimizer_zero_grad(hand.optimizer));
            if (step == 3) {
                CHECK_OK(accel_params_begin(hand.model));
                for (size_t i = 0; rank == 0 && i < COUNT; i++)
                    ((float *)hand.values)[i] = 0.3f;
                CHECK_OK(accel_params_end(hand.model));
            }
            for (size_t i = 0; i < COUNT; i++) {
                uint16_t expected[4] = {0}; /* room for any element */

                net_store(dtypes[p], expected, 0, (double)((const float *)hand.values)[i]);
                CHECK_INT(expected[0], ((const uint16_t *)hand.copy)[i]);
            }
            CHECK_OK(accel_wait_for_everyone(hand.accelerator));
        }
        hand_free(&hand);
    }
}

static void copies_follow_their_masters(void)
{
    TEST_RANKS(3, check_copies);
}

/* A step too small for bfloat16 is not lost: it lives in the master. */
static void check_masters(int rank, int size)
{
    hand_t hand;

    (void)size;
    hand_init(&hand, accel_options_init(), ACCEL_BF16, ACCEL_BF16);
    for (int step = 0; step < 8; step++) { /* 2^-9 each: a unit of bfloat16 below 1 is 2^-8 */
        hand_backward(&hand, 0x1p-6);
        CHECK_OK(accel_optimizer_step(hand.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(hand.optimizer));
    }
    hand_check(&hand, 1 - 8 * 0x1p-9);
    CHECK_OK(accel_params_begin(hand.model));
    if (rank == 0)
        net_store(ACCEL_BF16, hand.values, 7, 3);
    CHECK_OK(accel_params_end(hand.model));
    hand_backward(&hand, 0x1p-6);
    CHECK_OK(accel_optimizer_step(hand.optimizer));
    CHECK_NEAR(1 - 8 * 0x1p-9, net_load(ACCEL_BF16, hand.values, 0), 0x1p-8);
    CHECK_NEAR(3, net_load(ACCEL_BF16, hand.values, 7), 0); /* what was written is the master */
    hand_free(&hand);
}

static void masters_keep_small_steps(void)
{
    TEST_RANKS(2, check_masters);
}

/* An infinity on one rank: nobody steps, the schedule waits; then all go on. */
static void check_skip(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_scheduler_t *scheduler;
    hand_t hand;

    options.mixed_precision = "fp16";
    hand_init(&hand, options, ACCEL_F32, ACCEL_F16);
    CHECK_STR("fp16", accel_mixed_precision(hand.accelerator));
    CHECK_NEAR(65536, accel_gradient_scale(hand.accelerator), 0);
    CHECK_OK(accel_scheduler_create(
        hand.optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "linear", .num_training_steps = 4),
        &scheduler));
    CHECK_OK(accel_prepare_scheduler(hand.accelerator, scheduler));
    for (int step = 0; step < 3; step++) {
        bool bad = step == 1;

        if (bad && rank == size - 1)
            ((uint16_t *)hand.gradients)[COUNT / 2] = 0x7c00;
        hand_backward(&hand, 0.5 * accel_gradient_scale(hand.accelerator) / 65536);
        CHECK_OK(accel_optimizer_step(hand.optimizer));
        CHECK_OK(accel_scheduler_step(scheduler));
        CHECK(accel_optimizer_step_was_skipped(hand.optimizer) == bad);
        CHECK(accel_step_was_skipped(hand.accelerator) == bad);
        CHECK_OK(accel_optimizer_zero_grad(hand.optimizer));
        CHECK_NEAR(bad || step == 0 ? 0.125 * 3 / 4 : 0.125 * 2 / 4,
                   accel_optimizer_get_lr(hand.optimizer), 1e-15);
    }
    CHECK_INT(2, accel_optimizer_num_steps(hand.optimizer));
    CHECK_NEAR(32768, accel_get_grad_scaler_state(hand.accelerator).scale, 0);
    hand_check(&hand, (double)(float)(1 - 0.125 * 0.5 / 65536 - 0.09375 * 0.5 / 65536));
    accel_scheduler_destroy(scheduler);
    hand_free(&hand);
}

static void all_skip_together(void)
{
    TEST_RANKS(1, check_skip);
    TEST_RANKS(4, check_skip);
}

static void check_refusals(int rank, int size)
{
    accel_options_t options = accel_options_init();
    hand_t hand;

    (void)size;
    options.mixed_precision = rank == 0 ? "bf16" : "no";
    {
        accel_t *accelerator;

        test_world(&options);
        CHECK(accel_create(&options, &accelerator) < ACCEL_OK);
        CHECK_ERROR("mixed_precision");
    }
    options = accel_options_init();
    options.mixed_precision = "fp16";
    options.gradients = ACCEL_GRADIENTS_AVERAGED;
    hand_init(&hand, options, ACCEL_F32, ACCEL_F16);
    hand_backward(&hand, 1);
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED,
                 accel_clip_grad_norm(hand.accelerator, hand.model, 1, NULL));
    CHECK_ERROR("they would vanish");
    CHECK_OK(accel_optimizer_step(hand.optimizer)); /* which divides in float32 */
    CHECK_NEAR((double)(float)(1 - 0.125 / 65536), ((const float *)hand.values)[0], 0);
    hand_free(&hand);
}

static void what_cannot_be_is_refused(void)
{
    TEST_RANKS(2, check_refusals);
}

/* Scopes, one rank. */
static void check_autocast(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;

    (void)rank, (void)size;
    CHECK_INT(ACCEL_F32, accel_autocast_dtype(NULL));
    options.mixed_precision = "bf16";
    accelerator = test_accelerator(options);
    CHECK_INT(ACCEL_BF16, accel_autocast_dtype(accelerator));
    CHECK_OK(accel_autocast_begin(accelerator, false));
    CHECK_INT(ACCEL_F32, accel_autocast_dtype(accelerator));
    CHECK_OK(accel_autocast_begin(accelerator, true));
    CHECK_INT(ACCEL_BF16, accel_autocast_dtype(accelerator));
    CHECK_OK(accel_autocast_end(accelerator));
    CHECK_INT(ACCEL_F32, accel_autocast_dtype(accelerator));
    CHECK_OK(accel_autocast_end(accelerator));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_autocast_end(accelerator));
    for (int i = 0; i < 64; i++)
        CHECK_OK(accel_autocast_begin(accelerator, true));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_autocast_begin(accelerator, true));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_set_grad_scaler_state(
                                      accelerator, &(accel_grad_scaler_state_t){.scale = 2}));
    accel_destroy(accelerator);
}

static void autocast_scopes_nest(void)
{
    TEST_RANKS(1, check_autocast);
}

/* ---- averages ---- */

/* Shown on every rank at once, and back to the bit. */
static void check_average(int rank, int size)
{
    hand_t hand;
    accel_ema_t *ema;

    (void)rank, (void)size;
    hand_init(&hand, accel_options_init(), ACCEL_BF16, ACCEL_F32);
    CHECK_OK(accel_ema_create(hand.model, ACCEL_EMA_OPTIONS(.decay = 0.5), &ema));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_ema_begin(ema));
    for (int step = 0; step < 3; step++) { /* 0.5, 0, -0.5: averages 0.5, 0.25, -0.125 */
        hand_backward(&hand, 4);
        CHECK_OK(accel_optimizer_step(hand.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(hand.optimizer));
        CHECK_OK(accel_ema_update(ema));
    }
    CHECK_OK(accel_ema_begin(ema));
    hand_check(&hand, -0.125);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(hand.accelerator, hand.model));
    CHECK_ERROR("between accel_ema_begin and _end");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(hand.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_ema_update(ema));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_ema_begin(ema));
    CHECK_OK(accel_ema_end(ema));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_ema_end(ema));
    hand_check(&hand, -0.5);
    CHECK_INT(3, accel_ema_num_updates(ema));
    accel_ema_destroy(ema);
    accel_ema_destroy(NULL);
    hand_free(&hand);
}

static void averages_are_shown_and_hidden(void)
{
    TEST_RANKS(1, check_average);
    TEST_RANKS(3, check_average);
}

TEST_MAIN(TEST(one_rank), TEST(two_ranks), TEST(three_ranks), TEST(four_ranks),
          TEST(sums_are_of_float32), TEST(hooks_round_what_is_reduced),
          TEST(copies_follow_their_masters), TEST(masters_keep_small_steps),
          TEST(all_skip_together), TEST(what_cannot_be_is_refused), TEST(autocast_scopes_nest),
          TEST(averages_are_shown_and_hidden))
