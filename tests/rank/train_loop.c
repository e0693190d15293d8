/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * Around the step: windows and their options, scopes, weights, uneven ends, seeds, free_memory.
 * What they compute is in random_training.c. */
#include "train_net.h"

typedef struct world {
    accel_t *accelerator;
    int rank;
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
} world_t;

static world_t begin_world(accel_options_t options, int rank)
{
    world_t world = {.accelerator = test_accelerator(options), .rank = rank};

    return world;
}

/* In place: the model keeps the address of the net. */
static void prepare(world_t *world)
{
    net_init(&world->net, ACCEL_F64, ACCEL_F64, 0);
    world->net.first = world->rank;
    world->net.count = 1;
    world->model = net_model(&world->net, accel_model_options_init());
    CHECK_OK(accel_sgd_create(world->model, ACCEL_SGD_OPTIONS(.lr = 0.1), &world->optimizer));
    CHECK_OK(accel_prepare(world->accelerator, world->model, world->optimizer, NULL, NULL));
}

static void end_world(world_t *world)
{
    accel_optimizer_destroy(world->optimizer);
    accel_model_destroy(world->model);
    accel_destroy(world->accelerator);
    net_free(&world->net);
}

static double first_gradient(const world_t *world)
{
    return net_get(&world->net, 0, world->net.gradients[0], 0);
}

/* ---- scopes ---- */

/* Averaged gradients are equal on all ranks, and those of no_sync are not. */
static bool is_averaged(const world_t *world)
{
    double mine = first_gradient(world), sum;

    CHECK_OK(accel_wait_for_everyone(world->accelerator));
    sum = mine;
    {
        accel_tensor_t view;
        int64_t one = 1;

        accel_tensor_view(&view, &sum, ACCEL_F64, 1, &one);
        CHECK_OK(accel_reduce(world->accelerator, &view, ACCEL_MEAN));
    }
    return fabs(mine - sum) < 1e-12;
}

static void scopes_on_ranks(int rank, int size)
{
    accel_options_t options = accel_options_init();
    world_t world;

    (void)size;
    options.gradients = ACCEL_GRADIENTS_AVERAGED;
    world = begin_world(options, rank);
    prepare(&world);
    CHECK_OK(accel_no_sync_begin(world.accelerator, world.model));
    CHECK(!accel_is_sync_step(world.accelerator));
    CHECK_OK(accel_backward(world.accelerator, world.model));
    CHECK(!is_averaged(&world));
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_INT(0, accel_optimizer_num_steps(world.optimizer));
    CHECK_OK(accel_trigger_sync_in_backward_begin(world.accelerator, world.model));
    CHECK_OK(accel_backward(world.accelerator, world.model));
    CHECK(is_averaged(&world));
    CHECK_OK(accel_trigger_sync_in_backward_end(world.accelerator, world.model));
    CHECK_OK(accel_no_sync_end(world.accelerator, world.model));
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_INT(1, accel_optimizer_num_steps(world.optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_no_sync_end(world.accelerator, world.model));
    CHECK_STATUS(ACCEL_ERR_STATE,
                 accel_trigger_sync_in_backward_end(world.accelerator, world.model));
    end_world(&world);
}

static void scopes(void)
{
    TEST_RANKS(3, scopes_on_ranks);
}

/* One model in no_sync does not keep another from its step. */
static void no_sync_is_of_one_model(void)
{
    world_t world = begin_world(accel_options_init(), 0);
    accel_model_t *models[2];
    accel_optimizer_t *other;
    net_t net;

    prepare(&world);
    net_init(&net, ACCEL_F32, ACCEL_F32, 1);
    net.count = 1;
    models[0] = world.model;
    models[1] = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_sgd_create(models[1], NULL, &other));
    CHECK_OK(accel_prepare(world.accelerator, models[1], other, NULL, NULL));
    CHECK_OK(accel_set_gradient_accumulation_steps(world.accelerator, 2));
    CHECK_INT(2, accel_gradient_accumulation_steps(world.accelerator));
    for (int64_t batch = 0; batch < 4; batch++) {
        CHECK_OK(accel_accumulate_models(world.accelerator, models, 2));
        CHECK_INT(batch % 2, accel_is_sync_step(world.accelerator));
        CHECK_OK(accel_no_sync_begin(world.accelerator, models[0]));
        CHECK_OK(accel_backward(world.accelerator, models[0]));
        CHECK_OK(accel_backward(world.accelerator, models[1]));
        CHECK_OK(accel_optimizer_step(world.optimizer));
        CHECK_OK(accel_optimizer_step(other));
        CHECK_OK(accel_no_sync_end(world.accelerator, models[0]));
        if (batch % 2 == 0) {
            CHECK_STATUS(ACCEL_ERR_STATE,
                         accel_set_gradient_accumulation_steps(world.accelerator, 3));
            CHECK_ERROR("1 batches are on their way");
        }
    }
    CHECK_INT(0, accel_optimizer_num_steps(world.optimizer));
    CHECK_INT(2, accel_optimizer_num_steps(other));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_set_gradient_accumulation_steps(world.accelerator, 0));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_accumulate_models(world.accelerator, NULL, 1));
    accel_optimizer_destroy(other);
    accel_model_destroy(models[1]);
    net_free(&net);
    end_world(&world);
}

/* ---- weights ---- */

static void bad_weights_are_named(void)
{
    world_t world = begin_world(accel_options_init(), 0);

    prepare(&world);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_backward_weighted(world.accelerator, world.model, -1));
    CHECK_ERROR("weight is -1; expected a number >= 0");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_backward_weighted(world.accelerator, world.model, NAN));
    CHECK_OK(accel_backward_weighted(world.accelerator, world.model, 2));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(world.accelerator, world.model));
    CHECK_ERROR("in one step");
    CHECK_OK(accel_optimizer_step(world.optimizer));
    CHECK_OK(accel_optimizer_zero_grad(world.optimizer));
    CHECK_OK(accel_backward(world.accelerator, world.model));
    end_world(&world);
}

/* ---- options ---- */

static void bad_options_are_named(void)
{
    accel_gradient_accumulation_options_t accumulation = accel_gradient_accumulation_options_init();
    accel_options_t options = accel_options_init();
    accel_t *accelerator;

    options.num_processes = 1;
    options.job_id = "alone";
    options.gradient_accumulation = &accumulation;
    accumulation.num_steps = -2;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_create(&options, &accelerator));
    CHECK_ERROR("num_steps is -2");
    accumulation.num_steps = 2;
    options.gradient_accumulation_steps = 3;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_create(&options, &accelerator));
    CHECK_ERROR("expected one of them");
    options.gradient_accumulation_steps = 0;
    accumulation.sync_each_batch = (accel_tristate_t)7;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_create(&options, &accelerator));
    CHECK_ERROR("sync_each_batch");
}

/* ---- uneven ends ---- */

static void step(world_t *world)
{
    CHECK_OK(accel_backward(world->accelerator, world->model));
    CHECK_OK(accel_optimizer_step(world->optimizer));
    CHECK_OK(accel_optimizer_zero_grad(world->optimizer));
}

/* Rank r has r batches. A flag that the last one raises is seen by all that still ask. */
static void join_on_ranks(int rank, int size)
{
    world_t world = begin_world(accel_options_init(), rank);
    bool triggered = false;
    int64_t seen = 0;

    prepare(&world);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_join_uneven_inputs_end(world.accelerator));
    CHECK_OK(accel_join_uneven_inputs_begin(world.accelerator, ACCEL_DEFAULT));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_join_uneven_inputs_begin(world.accelerator, ACCEL_DEFAULT));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_free_memory(world.accelerator));
    for (int batch = 0; batch < rank; batch++) {
        step(&world);
        if (batch + 1 == size - 1)
            accel_set_trigger(world.accelerator);
        CHECK_OK(accel_check_trigger(world.accelerator, &triggered));
        seen += triggered;
    }
    CHECK_OK(accel_join_uneven_inputs_end(world.accelerator));
    CHECK_INT(rank > 0 && rank == size - 1, seen);
    CHECK_INT(size - 1, accel_optimizer_num_steps(world.optimizer));
    for (int batch = 0; batch < 2; batch++)
        step(&world); /* all together again */
    CHECK_INT(size + 1, accel_optimizer_num_steps(world.optimizer));
    end_world(&world);
}

/* A gather within the scope meets a rank that is through. */
static void gather_in_join_on_ranks(int rank, int size)
{
    world_t world = begin_world(accel_options_init(), rank);
    accel_tensor_t view, *gathered = NULL;
    double value = 1;
    accel_status_t status;

    (void)size;
    prepare(&world);
    CHECK_OK(accel_join_uneven_inputs_begin(world.accelerator, ACCEL_DEFAULT));
    if (rank == 0) {
        step(&world);
        accel_tensor_view(&view, &value, ACCEL_F64, 0, NULL);
        status = accel_gather(world.accelerator, &view, &gathered);
    } else {
        status = accel_join_uneven_inputs_end(world.accelerator);
    }
    CHECK_INT(ACCEL_ERR_MISMATCH, status);
    CHECK_ERROR("accel_gather");
    CHECK_ERROR("accel_join_uneven_inputs");
    end_world(&world);
}

static void join(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, join_on_ranks);
    TEST_RANKS(2, gather_in_join_on_ranks);
}

/* A loader and what it borrows. */
typedef struct data {
    accel_dataset_t *dataset;
    accel_loader_t *loader;
} data_t;

static data_t make_data(int64_t samples, uint64_t seed, bool shuffle)
{
    static const double zeros[64];
    accel_tensor_t view;
    const accel_tensor_t *tensor = accel_tensor_view(&view, zeros, ACCEL_F64, 1, &samples);
    data_t data;

    CHECK_OK(accel_tensor_dataset_create(&tensor, 1, &data.dataset));
    CHECK_OK(accel_loader_create(
        data.dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2, .shuffle = shuffle, .seed = seed),
        &data.loader));
    return data;
}

static void free_data(data_t *data)
{
    accel_loader_destroy(data->loader);
    accel_dataset_destroy(data->dataset);
}

/* Upstream's table: 7 samples, batches of 2, on 2 ranks: 2, 2 each, or 2, 2 and 2, 1. */
static void even_batches_on_ranks(int rank, int size)
{
    world_t world = begin_world(accel_options_init(), rank);
    data_t data = make_data(7, 0, false);
    accel_loader_t *loader = data.loader;
    accel_batch_t batch;

    (void)size;
    prepare(&world);
    CHECK_OK(accel_prepare_loader(world.accelerator, loader));
    for (int even = 0; even < 2; even++) {
        CHECK_OK(accel_join_uneven_inputs_begin(world.accelerator, even ? ACCEL_ON : ACCEL_OFF));
        CHECK_OK(accel_loader_begin(loader, 0));
        for (int64_t b = 0; b < 2; b++) {
            CHECK_OK(accel_loader_next(loader, &batch));
            CHECK_INT(b == 1 && rank == 1 && !even ? 1 : 2, batch.rows);
        }
        CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
        CHECK_OK(accel_join_uneven_inputs_end(world.accelerator));
        CHECK(accel_loader_shard(loader).even_batches);
    }
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK(accel_join_uneven_inputs_begin(world.accelerator, ACCEL_OFF) < ACCEL_OK);
    CHECK_ERROR("a loader is in an epoch");
    free_data(&data);
    end_world(&world);
}

static void even_batches_for_a_while(void)
{
    TEST_RANKS(2, even_batches_on_ranks);
}

/* ---- a rank that leaves its backward out ---- */

static void skipped_backward_on_ranks(int rank, int size)
{
    world_t world = begin_world(accel_options_init(), rank);

    (void)size;
    prepare(&world);
    step(&world);
    if (rank != 2)
        CHECK_OK(accel_backward(world.accelerator, world.model));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_optimizer_step(world.optimizer));
    CHECK_ERROR("since the last step rank 0 has called accel_backward 1 times, rank 2 0 times");
    end_world(&world);
}

static void a_skipped_backward_is_named(void)
{
    TEST_RANKS(3, skipped_backward_on_ranks);
}

/* ---- seeds, and letting go ---- */

static void order_of(accel_t *accelerator, accel_loader_t *loader, int64_t order[16])
{
    accel_batch_t batch;
    int64_t count = 0;

    CHECK_OK(accel_prepare_loader(accelerator, loader));
    CHECK_OK(accel_loader_begin(loader, 0));
    while (accel_loader_next(loader, &batch) == ACCEL_OK)
        for (int64_t row = 0; row < batch.rows; row++)
            order[count++] = batch.indices[row];
    CHECK_INT(16 / accel_num_processes(accelerator), count);
}

static void seeds_on_ranks(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    data_t data[] = {make_data(16, 0, true), make_data(16, 42, true), make_data(16, 0, true),
                     make_data(16, 7, true)};
    int64_t orders[4][16] = {{0}};

    (void)size;
    order_of(accelerator, data[0].loader, orders[0]); /* before: the default */
    CHECK_INT(42, accel_set_seed(accelerator, 42, false));
    CHECK_INT(42 + rank, accel_set_seed(accelerator, 42, true));
    for (int i = 1; i < 4; i++)
        order_of(accelerator, data[i].loader, orders[i]);
    CHECK(memcmp(orders[0], orders[2], sizeof(orders[0])) != 0);
    CHECK(memcmp(orders[1], orders[2], sizeof(orders[1])) == 0);
    CHECK(memcmp(orders[3], orders[2], sizeof(orders[3])) != 0); /* it has a seed of its own */
    for (int i = 0; i < 4; i++)
        free_data(&data[i]);
    accel_destroy(accelerator);
}

static void seeds(void)
{
    CHECK_INT(5, accel_set_seed(NULL, 5, true));
    TEST_RANKS(1, seeds_on_ranks);
    TEST_RANKS(2, seeds_on_ranks);
}

static void free_memory_on_ranks(int rank, int size)
{
    world_t world = begin_world(accel_options_init(), rank);
    data_t data = make_data(8, 0, false);
    accel_loader_t *loader = data.loader;
    const void *block;

    (void)size;
    prepare(&world);
    block = world.net.blocks[0];
    CHECK_OK(accel_prepare_loader(world.accelerator, loader));
    CHECK(world.net.parameters[0] != block);
    step(&world);
    CHECK_OK(accel_no_sync_begin(world.accelerator, world.model));
    CHECK_OK(accel_free_memory(world.accelerator));
    CHECK(accel_is_sync_step(world.accelerator));
    CHECK(world.net.parameters[0] == block);
    CHECK_INT(1, accel_loader_shard(loader).num_processes);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(world.accelerator, world.model));
    CHECK_OK(accel_prepare(world.accelerator, world.model, world.optimizer, loader, NULL));
    step(&world);
    CHECK_INT(2, accel_optimizer_num_steps(world.optimizer));
    free_data(&data);
    end_world(&world);
}

static void free_memory(void)
{
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_free_memory(NULL));
    TEST_RANKS(1, free_memory_on_ranks);
    TEST_RANKS(3, free_memory_on_ranks);
}

TEST_MAIN(TEST(scopes), TEST(no_sync_is_of_one_model), TEST(bad_weights_are_named),
          TEST(bad_options_are_named), TEST(join), TEST(even_batches_for_a_while),
          TEST(a_skipped_backward_is_named), TEST(seeds), TEST(free_memory))
