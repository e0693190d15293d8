/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * Accumulation, averages, clipping: what a program sees of gradients on several ranks. */
#include "train_net.h"

enum { GLOBAL_BATCH = 12 };

typedef struct world {
    accel_t *accelerator;
    int64_t rank, share; /* samples a rank of a global batch */
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
} world_t;

static void begin_world(world_t *world, accel_options_t options, accel_model_options_t model)
{
    *world = (world_t){.accelerator = test_accelerator(options)};
    world->rank = accel_process_index(world->accelerator);
    world->share = GLOBAL_BATCH / accel_num_processes(world->accelerator);
    net_init(&world->net, ACCEL_F64, ACCEL_F64, (double)world->rank);
    world->net.count = world->share;
    world->model = net_model(&world->net, model);
    CHECK_OK(accel_adamw_create(world->model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &world->optimizer));
    CHECK_OK(accel_prepare(world->accelerator, world->model, world->optimizer, NULL, NULL));
}

static void end_world(world_t *world)
{
    accel_optimizer_destroy(world->optimizer);
    accel_model_destroy(world->model);
    accel_destroy(world->accelerator);
    net_free(&world->net);
}

/* Backward on this rank's part of the global batch that begins at sample `first`. */
static void backward(world_t *world, int64_t first)
{
    world->net.first = first + world->rank * world->share;
    CHECK_OK(accel_backward(world->accelerator, world->model));
}

/* What one process would have: rank 0's parameters, the whole batch. */
static void begin_reference(net_t *net, int64_t first, int64_t count)
{
    net_init(net, ACCEL_F64, ACCEL_F64, 0);
    net->first = first;
    net->count = count;
    CHECK_OK(net_backward(net, 1));
}

static double gradient(const net_t *net, int i, size_t at)
{
    return net_get(net, i, net->gradients[i], at);
}

static double gradient_norm(const net_t *net)
{
    double sum = 0;

    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            sum += gradient(net, i, at) * gradient(net, i, at);
    return sqrt(sum);
}

/* max |a - factor b| over all gradients */
static double gradient_difference(const net_t *a, const net_t *b, double factor)
{
    double difference = 0;

    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            difference = fmax(difference, fabs(gradient(a, i, at) - factor * gradient(b, i, at)));
    return difference;
}

/* ---- accumulation is a bigger step ---- */

static void check_accumulation(int32_t num_steps, accel_gradients_t gradients, bool fixed_memory)
{
    enum { OPTIMIZER_STEPS = 10 };
    accel_options_t options = accel_options_init();
    accel_model_options_t model_options = accel_model_options_init();
    accel_scheduler_t *scheduler;
    accel_optimizer_t *optimizer;
    accel_model_t *model;
    world_t world;
    net_t reference;
    double norm = -1;

    options.gradient_accumulation_steps = num_steps;
    options.gradients = gradients;
    model_options.fixed_memory = fixed_memory;
    begin_world(&world, options, model_options);
    CHECK_OK(accel_scheduler_create(
        world.optimizer, ACCEL_SCHEDULER_OPTIONS(.num_training_steps = 100), &scheduler));
    CHECK_OK(accel_prepare(world.accelerator, NULL, NULL, NULL, scheduler));
    CHECK_NEAR(1.0 / num_steps, accel_gradient_scale(world.accelerator), 0);
    for (int64_t batch = 0; batch < OPTIMIZER_STEPS * num_steps; batch++) {
        bool sync = (batch + 1) % num_steps == 0;

        CHECK_OK(accel_accumulate(world.accelerator, world.model));
        CHECK_INT(sync, accel_is_sync_step(world.accelerator));
        backward(&world, batch * GLOBAL_BATCH);
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 1e6, &norm));
        CHECK((norm > 0) == sync);
        CHECK_OK(accel_optimizer_step(world.optimizer));
        CHECK_OK(accel_scheduler_step(scheduler));
        CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
        CHECK_INT((batch + 1) / num_steps, accel_optimizer_num_steps(world.optimizer));
    }

    net_init(&reference, ACCEL_F64, ACCEL_F64, 0);
    model = net_model(&reference, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &optimizer));
    reference.count = GLOBAL_BATCH * num_steps;
    accel_scheduler_destroy(scheduler);
    CHECK_OK(accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.num_training_steps = 100),
                                    &scheduler));
    for (int64_t step = 0; step < OPTIMIZER_STEPS; step++) {
        reference.first = step * reference.count;
        CHECK_OK(net_backward(&reference, 1));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_scheduler_step(scheduler));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
    }
    CHECK_NEAR(accel_optimizer_get_lr(optimizer), accel_optimizer_get_lr(world.optimizer), 0);
    net_check_equal(&reference, &world.net, 1e-11, "accumulation");
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    net_free(&reference);
    end_world(&world);
}

static void accumulate_all(int rank, int size)
{
    (void)rank, (void)size;
    for (int32_t num_steps = 2; num_steps <= 3; num_steps++)
        for (int other = 0; other < 4; other++)
            check_accumulation(
                num_steps, other & 1 ? ACCEL_GRADIENTS_AVERAGED : ACCEL_GRADIENTS_LOCAL, other & 2);
}

static void accumulation_is_a_bigger_step(void)
{
    TEST_RANKS(1, accumulate_all);
    TEST_RANKS(3, accumulate_all);
}

/* ---- what the user sees ---- */

static void check_averaged(int rank, int size)
{
    for (int fixed = 0; fixed < 2; fixed++) {
        accel_options_t options = accel_options_init();
        accel_model_options_t model_options = accel_model_options_init();
        world_t world;
        net_t whole, own;
        double norm;

        options.gradients = ACCEL_GRADIENTS_AVERAGED;
        model_options.fixed_memory = fixed;
        begin_world(&world, options, model_options);
        begin_reference(&whole, 0, GLOBAL_BATCH);
        begin_reference(&own, rank * world.share, world.share);

        CHECK_OK(accel_no_sync_begin(world.accelerator, world.model));
        CHECK_OK(accel_no_sync_begin(world.accelerator, world.model));
        CHECK_OK(accel_no_sync_end(world.accelerator, world.model));
        backward(&world, 0);
        CHECK(gradient_difference(&world.net, &own, 1) <= 1e-14);
        CHECK(gradient_difference(&world.net, &whole, 1) > 1e-3);
        CHECK_OK(accel_no_sync_end(world.accelerator, world.model));

        backward(&world, 0); /* added to what no_sync left */
        CHECK(gradient_difference(&world.net, &whole, 2) <= 1e-13);
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 0.5, &norm));
        CHECK_NEAR(2 * gradient_norm(&whole), norm, 1e-12);
        CHECK_NEAR(0.5, gradient_norm(&world.net), 1e-5);
        CHECK(gradient_difference(&world.net, &whole, 2 * 0.5 / (norm + 1e-6)) <= 1e-13);
        CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
        CHECK_NEAR(0, gradient_norm(&world.net), 0);
        end_world(&world);
        net_free(&whole);
        net_free(&own);
    }
    CHECK(size > 1);
}

static void averaged_gradients_are_seen(void)
{
    TEST_RANKS(2, check_averaged);
    TEST_RANKS(3, check_averaged);
}

static void check_local(int rank, int size)
{
    for (int fixed = 0; fixed < 2; fixed++) {
        accel_model_options_t model_options = accel_model_options_init();
        world_t world;
        net_t whole, own;
        double norm, second;

        model_options.fixed_memory = fixed;
        begin_world(&world, accel_options_init(), model_options);
        begin_reference(&whole, 0, GLOBAL_BATCH);
        begin_reference(&own, rank * world.share, world.share);
        backward(&world, 0);
        CHECK(gradient_difference(&world.net, &own, 1) <= 1e-14);
        for (int twice = 0; twice < 2; twice++) {
            CHECK_OK(accel_sync_gradients(world.accelerator, world.model));
            CHECK(gradient_difference(&world.net, &whole, 1) <= 1e-14);
        }
        CHECK_OK(accel_optimizer_zero_grad(world.optimizer));

        /* clipped twice, and only then seen */
        backward(&world, 0);
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 0.5, &norm));
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 0.25, &second));
        CHECK_NEAR(gradient_norm(&whole), norm, 1e-12);
        CHECK_NEAR(0.5, second, 1e-5);
        CHECK_OK(accel_sync_gradients(world.accelerator, world.model));
        CHECK_NEAR(0.25, gradient_norm(&world.net), 1e-5);
        CHECK_OK(accel_optimizer_zero_grad(world.optimizer));

        /* a norm far away changes nothing */
        backward(&world, 0);
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, INFINITY, NULL));
        CHECK_OK(accel_sync_gradients(world.accelerator, world.model));
        CHECK(gradient_difference(&world.net, &whole, 1) <= 1e-14);
        end_world(&world);
        net_free(&whole);
        net_free(&own);
    }
    CHECK(size > 0);
}

static void local_gradients_are_synced_on_request(void)
{
    TEST_RANKS(1, check_local);
    TEST_RANKS(4, check_local);
}

/* ---- grad_ready ---- */

static void check_ready(int rank, int size)
{
    accel_options_t options = accel_options_init();
    world_t world;
    net_t whole;

    options.gradients = ACCEL_GRADIENTS_AVERAGED;
    begin_world(&world, options, accel_model_options_init());
    begin_reference(&whole, 0, GLOBAL_BATCH);
    world.net.first = rank * world.share;
    CHECK_OK(net_backward(&world.net, accel_gradient_scale(world.accelerator)));
    for (int64_t i = NET_PARAMS - 1; i > 0; i--)
        CHECK_OK(accel_grad_ready(world.model, i));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_grad_ready(world.model, 1));
    CHECK_ERROR("'fc1.bias' was ready before");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_grad_ready(world.model, NET_PARAMS));
    CHECK(gradient_difference(&world.net, &whole, 1) > 1e-3);
    CHECK_OK(accel_grad_ready(world.model, 0));
    CHECK(gradient_difference(&world.net, &whole, 1) <= 1e-14);
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
    CHECK_OK(accel_grad_ready(world.model, 1)); /* a new step */
    end_world(&world);
    net_free(&whole);
    CHECK(size == 2);
}

static void the_last_ready_gradient_syncs(void)
{
    TEST_RANKS(2, check_ready);
}

/* ---- a model that sets its gradients ---- */

static accel_status_t set_gradients(void *context, double scale)
{
    net_t *net = context;

    for (int i = 0; i < NET_PARAMS; i++)
        memset(net->gradients[i], 0, net_size(i) * sizeof(double));
    return net_backward(net, scale);
}

static void check_overwriting(int rank, int size)
{
    accel_model_options_t options = accel_model_options_init();
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    world_t world;
    net_t net;

    begin_world(&world, accel_options_init(), options);
    net_init(&net, ACCEL_F64, ACCEL_F64, rank);
    options.overwrites_gradients = true;
    options.backward = set_gradients;
    options.context = &net;
    CHECK_OK(accel_model_create(&options, &model));
    for (int i = 0; i < NET_PARAMS; i++)
        CHECK_OK(accel_model_add(model, net_names[i], ACCEL_F64, 2, net_shapes[i],
                                 &net.parameters[i], &net.gradients[i]));
    CHECK_OK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net.count = world.share;
    for (int64_t step = 0; step < 5; step++) {
        net.first = step * GLOBAL_BATCH + rank * world.share;
        CHECK_OK(accel_backward(accelerator, model));
        CHECK_OK(accel_clip_grad_norm(accelerator, model, 0.5, NULL));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_OK(accel_optimizer_zero_grad(optimizer));
        CHECK(gradient_norm(&net) > 0); /* free: nothing was written */
        backward(&world, step * GLOBAL_BATCH);
        CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 0.5, NULL));
        CHECK_OK(accel_optimizer_step(world.optimizer));
        CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
    }
    CHECK(net_same_bytes(&net, &world.net));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    net_free(&net);
    end_world(&world);
    CHECK(size == 2);
}

static void overwriting_models_need_no_zeros(void)
{
    TEST_RANKS(2, check_overwriting);
}

/* ---- calls out of order ---- */

static void check_order(int rank, int size)
{
    world_t world;

    begin_world(&world, accel_options_init(), accel_model_options_init());
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_clip_grad_norm(world.accelerator, world.model, NAN, NULL));
    CHECK_ERROR("max_norm is nan");
    backward(&world, 0);
    CHECK_OK(accel_clip_grad_norm(world.accelerator, world.model, 1, NULL));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(world.accelerator, world.model));
    CHECK_ERROR("gradients were clipped");
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(world.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_sync_gradients(world.accelerator, world.model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(world.accelerator, world.model));
    CHECK_ERROR("accel_optimizer_zero_grad");
    CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
    backward(&world, 0);

    /* Learning rates that differ are found before anything is written. */
    CHECK_OK(accel_optimizer_set_lr(world.optimizer, rank == 1 ? 0.25 : 0.5));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_optimizer_step(world.optimizer));
    CHECK_ERROR("the learning rate is 0.5 on rank 0 but 0.25 on rank 1");
    CHECK_OK(accel_optimizer_set_lr(world.optimizer, 0.5));
    CHECK_OK(accel_optimizer_step(world.optimizer));
    end_world(&world);
    CHECK(size == 2);
}

static void calls_out_of_order_are_refused(void)
{
    TEST_RANKS(2, check_order);
}

/* Two models of the same shapes: only their order tells them apart. */
static void check_two(int rank, int size)
{
    world_t world;
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    begin_world(&world, accel_options_init(), accel_model_options_init());
    net_init(&net, ACCEL_F64, ACCEL_F64, 1);
    net.count = world.share;
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &optimizer));
    CHECK_OK(accel_prepare(world.accelerator, model, optimizer, NULL, NULL));
    backward(&world, 0);
    CHECK_OK(accel_backward(world.accelerator, model));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_optimizer_step(rank == 1 ? optimizer : world.optimizer));
    CHECK_ERROR("rank 0 is at model 0");
    CHECK_ERROR("rank 1 at model 1");
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_OK(accel_optimizer_step(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    end_world(&world);
    net_free(&net);
    CHECK(size == 2);
}

static void models_are_met_in_one_order(void)
{
    TEST_RANKS(2, check_two);
}

TEST_MAIN(TEST(accumulation_is_a_bigger_step), TEST(averaged_gradients_are_seen),
          TEST(local_gradients_are_synced_on_request), TEST(the_last_ready_gradient_syncs),
          TEST(overwriting_models_need_no_zeros), TEST(calls_out_of_order_are_refused),
          TEST(models_are_met_in_one_order))
