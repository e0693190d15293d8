/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * Reduction that begins before the backward is over: the same bits, whatever was early. */
#include "train_net.h"

#include <time.h>

enum { GLOBAL_BATCH = 12, STEPS = 6 };

/* How a backward says that its gradients are ready. */
typedef enum how {
    SILENT,       /* not at all */
    ALL,          /* all of them, the ranks waiting for each other before the last */
    NOT_THE_SAME, /* rank r leaves out parameter r */
    OUTSIDE       /* after a backward of the program's own */
} how_t;

typedef struct world {
    accel_t *accelerator;
    int64_t rank, share;
    how_t how;
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
} world_t;

static void say_ready(const world_t *world)
{
    for (int64_t i = NET_PARAMS - 1; i >= 0; i--) {
        if (i == 0)
            CHECK_OK(accel_wait_for_everyone(world->accelerator));
        if (world->how == NOT_THE_SAME && i == world->rank)
            continue;
        CHECK_OK(accel_grad_ready(world->model, i));
    }
}

static accel_status_t announcing_backward(void *context, double scale)
{
    world_t *world = context;

    CHECK_OK(net_backward(&world->net, scale));
    if (world->how == ALL || world->how == NOT_THE_SAME)
        say_ready(world);
    return ACCEL_OK;
}

static void begin_world_with(world_t *world, how_t how, accel_backward_fn run,
                             accel_options_t options, bool fixed_memory)
{
    accel_model_options_t model = accel_model_options_init();

    *world = (world_t){.accelerator = test_accelerator(options), .how = how};
    world->rank = accel_process_index(world->accelerator);
    world->share = GLOBAL_BATCH / accel_num_processes(world->accelerator);
    net_init(&world->net, ACCEL_F64, ACCEL_F32, (double)world->rank);
    world->net.count = world->share;
    model.backward = run;
    model.context = world;
    model.fixed_memory = fixed_memory;
    model.bucket_cap_mb = 1e-6; /* one for each parameter */
    CHECK_OK(accel_model_create(&model, &world->model));
    for (int i = 0; i < NET_PARAMS; i++)
        CHECK_OK(accel_model_add(world->model, net_names[i], world->net.dtypes[i], 2, net_shapes[i],
                                 &world->net.parameters[i], &world->net.gradients[i]));
    CHECK_OK(accel_adamw_create(world->model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &world->optimizer));
    CHECK_OK(accel_prepare(world->accelerator, world->model, world->optimizer, NULL, NULL));
    CHECK_INT(NET_PARAMS, accel_model_num_buckets(world->model));
}

static void begin_world(world_t *world, how_t how, accel_options_t options, bool fixed_memory)
{
    begin_world_with(world, how, how == OUTSIDE ? NULL : announcing_backward, options,
                     fixed_memory);
}

static void end_world(world_t *world)
{
    accel_optimizer_destroy(world->optimizer);
    accel_model_destroy(world->model);
    accel_destroy(world->accelerator);
    net_free(&world->net);
}

static void backward(world_t *world, int64_t step)
{
    world->net.first = step * GLOBAL_BATCH + world->rank * world->share;
    if (world->how == OUTSIDE) {
        CHECK_OK(net_backward(&world->net, accel_gradient_scale(world->accelerator)));
        say_ready(world);
    } else {
        CHECK_OK(accel_backward(world->accelerator, world->model));
    }
}

static void check_early(const world_t *world)
{
    int64_t early = accel_model_num_early_buckets(world->model);

    if (!accel_is_sync_step(world->accelerator))
        return;
    if (world->how == SILENT)
        CHECK_INT(0, early);
    else if (world->how == NOT_THE_SAME)
        CHECK(early <= NET_PARAMS - accel_num_processes(world->accelerator));
    else
        CHECK(early >= NET_PARAMS - 1 && early <= NET_PARAMS);
}

static void train(world_t *world, bool clip)
{
    for (int64_t step = 0; step < STEPS; step++) {
        CHECK_OK(accel_accumulate(world->accelerator, world->model));
        backward(world, step);
        check_early(world);
        if (clip)
            CHECK_OK(accel_clip_grad_norm(world->accelerator, world->model, 0.5, NULL));
        CHECK_OK(accel_optimizer_step(world->optimizer));
        CHECK_OK(accel_optimizer_zero_grad(world->optimizer));
    }
}

static void check_same_bits(how_t how, int variant)
{
    accel_options_t options = accel_options_init();
    bool fixed_memory = variant & 1, clip = variant & 2;
    world_t early, late;

    options.gradients = variant & 4 ? ACCEL_GRADIENTS_AVERAGED : ACCEL_GRADIENTS_LOCAL;
    options.gradient_accumulation_steps = variant & 8 ? 2 : 1;
    begin_world(&early, how, options, fixed_memory);
    train(&early, clip);
    begin_world(&late, SILENT, options, fixed_memory);
    train(&late, clip);
    CHECK(net_same_bytes(&early.net, &late.net));
    end_world(&late);
    end_world(&early);
}

static void check_all_variants(int rank, int size)
{
    (void)rank, (void)size;
    for (int variant = 0; variant < 16; variant++) {
        check_same_bits(ALL, variant);
        if (size > 1)
            check_same_bits(NOT_THE_SAME, variant);
        if (!(variant & 8))
            check_same_bits(OUTSIDE, variant);
    }
}

static void early_is_the_same_to_the_bit(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, check_all_variants);
}

/* ---- backwards without a step ---- */

static void check_dropped(int rank, int size)
{
    world_t dropping, plain;

    begin_world(&dropping, ALL, accel_options_init(), false);
    begin_world(&plain, SILENT, accel_options_init(), false);
    for (int64_t step = 0; step < STEPS; step++) {
        if (step % 2 == 1) { /* gradients nobody wants */
            dropping.how = NOT_THE_SAME;
            backward(&dropping, step + 7);
            CHECK_OK(accel_optimizer_zero_grad(dropping.optimizer));
            dropping.how = ALL;
        }
        backward(&dropping, step);
        if (step % 2 == 1) /* others may still read what was dropped */
            CHECK_INT(0, accel_model_num_early_buckets(dropping.model));
        else
            check_early(&dropping);
        backward(&plain, step);
        CHECK_OK(accel_optimizer_step(dropping.optimizer));
        CHECK_OK(accel_optimizer_step(plain.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(dropping.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(plain.optimizer));
    }
    CHECK(net_same_bytes(&dropping.net, &plain.net));
    end_world(&plain);
    end_world(&dropping);
    CHECK(rank < size);
}

static void dropped_gradients_are_not_reduced(void)
{
    TEST_RANKS(3, check_dropped);
}

static void check_two_backwards(int rank, int size)
{
    world_t twice;
    net_t reference;

    begin_world(&twice, ALL, accel_options_init(), false);
    backward(&twice, 0);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(twice.accelerator, twice.model));
    CHECK_ERROR("the reduction of the last backward's gradients has begun");
    CHECK_OK(accel_sync_gradients(twice.accelerator, twice.model));
    backward(&twice, 1); /* onto the average */
    CHECK_OK(accel_sync_gradients(twice.accelerator, twice.model));

    net_init(&reference, ACCEL_F64, ACCEL_F32, 0);
    reference.count = GLOBAL_BATCH;
    for (int64_t step = 0; step < 2; step++) {
        reference.first = step * GLOBAL_BATCH;
        CHECK_OK(net_backward(&reference, 1));
    }
    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            CHECK_NEAR(net_get(&reference, i, reference.gradients[i], at),
                       net_get(&twice.net, i, twice.net.gradients[i], at), 1e-6);
    CHECK_OK(accel_optimizer_step(twice.optimizer));
    backward(&twice, 2); /* averaged gradients may be added to */
    CHECK_OK(accel_optimizer_step(twice.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(twice.accelerator, twice.model));
    CHECK_ERROR("accel_optimizer_zero_grad");
    end_world(&twice);
    net_free(&reference);
    CHECK(rank < size);
}

static void two_backwards_want_a_sync_between(void)
{
    TEST_RANKS(2, check_two_backwards);
}

/* ---- a network between the ranks ---- */

enum { WIRE_MS = 30 };

static void rest(int64_t ms)
{
    CHECK(nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL) == 0);
}

/* The backward goes on as long as a bucket is on its way, so that all but the last arrive
 * meanwhile. Without a word from it the step has to wait for all. */
static accel_status_t slow_backward(void *context, double scale)
{
    world_t *world = context;

    CHECK_OK(net_backward(&world->net, scale));
    for (int64_t i = NET_PARAMS - 1; i >= 0; i--) {
        rest(2 * WIRE_MS);
        if (world->how == ALL)
            CHECK_OK(accel_grad_ready(world->model, i));
    }
    return ACCEL_OK;
}

static int64_t early_over_the_wire(world_t *world, how_t how)
{
    begin_world_with(world, how, slow_backward, accel_options_init(), false);
    for (int64_t step = 0; step < 2; step++) {
        world->net.first = step * GLOBAL_BATCH + world->rank * world->share;
        CHECK_OK(accel_wait_for_everyone(world->accelerator));
        CHECK_OK(accel_backward(world->accelerator, world->model));
        CHECK_OK(accel_optimizer_step(world->optimizer));
        CHECK_OK(accel_optimizer_zero_grad(world->optimizer));
    }
    return accel_model_num_early_buckets(world->model);
}

static void check_wire(int rank, int size)
{
    world_t early, late;
    int64_t count;

    CHECK(setenv("ACCEL_TEST_WIRE_US", "30000", 1) == 0);
    count = early_over_the_wire(&early, ALL);
    CHECK(count >= 1 && count < NET_PARAMS); /* the last is on its way when the backward ends */
    CHECK_INT(0, early_over_the_wire(&late, SILENT));
    CHECK(net_same_bytes(&early.net, &late.net));
    end_world(&late);
    end_world(&early);
    CHECK(rank < size);
}

static void buckets_travel_during_the_backward(void)
{
    if (!test_ranks_are_threads()) /* they would share the environment */
        TEST_RANKS(2, check_wire);
}

TEST_MAIN(TEST(early_is_the_same_to_the_bit), TEST(dropped_gradients_are_not_reduced),
          TEST(two_backwards_want_a_sync_between), TEST(buckets_travel_during_the_backward))
