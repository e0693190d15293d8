/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * Models on several ranks: moving in and out of the arena, and what goes wrong. */
#include <unistd.h>

#include "train/optimizer.h"
#include "train_net.h"

/* ---- in and out ---- */

static void check_moving(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    net_t net, first;
    accel_model_t *model;
    accel_parameter_t info;

    net_init(&net, ACCEL_F32, ACCEL_F64, rank);
    net_init(&first, ACCEL_F32, ACCEL_F64, 0);
    for (int i = 0; i < NET_PARAMS; i++)
        net_set(&net, i, net.gradients[i], 0, rank + 0.5);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_prepare_model(accelerator, model));
    CHECK(net_same_bytes(&net, &first)); /* rank 0's values */
    for (int i = 0; i < NET_PARAMS; i++) {
        CHECK(net.parameters[i] != net.blocks[i]);
        CHECK(net.gradients[i] != net.blocks[NET_PARAMS + i]);
        CHECK_INT(0, (uintptr_t)net.parameters[i] % 64);
        CHECK_INT(0, (uintptr_t)net.gradients[i] % 64);
        CHECK_NEAR(rank + 0.5, net_get(&net, i, net.gradients[i], 0), 0); /* its own */
        CHECK_OK(accel_model_parameter(model, i, &info));
        CHECK(info.value == net.parameters[i] && info.gradient == net.gradients[i]);
    }

    CHECK_OK(accel_params_begin(model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(accelerator, model));
    if (rank == 0)
        net_set(&net, 1, net.parameters[1], 3, 42);
    CHECK_OK(accel_params_end(model));
    CHECK_NEAR(42, net_value(&net, 1, 3), 0);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_params_end(model));

    for (int i = 0; i < NET_PARAMS; i++)
        net_set(&net, i, net.gradients[i], 1, rank + 0.25);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_prepare_model(accelerator, model));
    CHECK_OK(accel_unprepare_model(accelerator, model));
    for (int i = 0; i < NET_PARAMS; i++) {
        CHECK(net.parameters[i] == net.blocks[i]);
        CHECK(net.gradients[i] == net.blocks[NET_PARAMS + i]);
        CHECK_NEAR(rank + 0.5, net_get(&net, i, net.gradients[i], 0), 0);
        CHECK_NEAR(rank + 0.25, net_get(&net, i, net.gradients[i], 1), 0);
    }
    CHECK_NEAR(42, net_value(&net, 1, 3), 0);
    CHECK_NEAR(net_value(&first, 2, 7), net_value(&net, 2, 7), 0);

    /* Again, and this time the accelerator goes first. */
    CHECK_OK(accel_prepare_model(accelerator, model));
    CHECK(net.parameters[0] != net.blocks[0]);
    accel_destroy(accelerator);
    CHECK(net.parameters[0] == net.blocks[0]);
    CHECK_NEAR(42, net_value(&net, 1, 3), 0);
    accel_model_destroy(model);
    net_free(&net);
    net_free(&first);
    CHECK(size > 0);
}

static void values_move_in_and_out(void)
{
    TEST_RANKS(1, check_moving);
    TEST_RANKS(3, check_moving);
}

static void check_fixed(int rank, int size)
{
    accel_model_options_t options = accel_model_options_init();
    accel_t *accelerator = test_accelerator(accel_options_init());
    net_t net, first;
    accel_model_t *model;

    options.fixed_memory = true;
    net_init(&net, ACCEL_F32, ACCEL_F64, rank);
    net_init(&first, ACCEL_F32, ACCEL_F64, 0);
    model = net_model(&net, options);
    CHECK_OK(accel_prepare_model(accelerator, model));
    CHECK(net_same_bytes(&net, &first));
    for (int i = 0; i < NET_PARAMS; i++)
        CHECK(net.parameters[i] == net.blocks[i] && net.gradients[i] == net.blocks[NET_PARAMS + i]);
    CHECK_OK(accel_params_begin(model));
    if (rank == 0)
        net_set(&net, 2, net.parameters[2], 5, 42);
    CHECK_OK(accel_params_end(model));
    CHECK_NEAR(42, net_value(&net, 2, 5), 0);
    accel_model_destroy(model); /* the model first */
    accel_destroy(accelerator);
    CHECK_NEAR(42, net_value(&net, 2, 5), 0);
    net_free(&net);
    net_free(&first);
    CHECK(size > 0);
}

static void fixed_memory_stays(void)
{
    TEST_RANKS(2, check_fixed);
}

/* Frozen parameters are shared, buffers are each rank's own; both start as rank 0's, and no
 * optimizer touches them. Empty parameters are parameters. */
static void check_kinds(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float weight[3] = {1, 2, 3}, gradient[3] = {1, 1, 1}, empty[1], no_gradient[1];
    int64_t frozen[2] = {rank + 7, rank + 8};
    uint8_t running[5] = {(uint8_t)rank, 1, 2, 3, (uint8_t)(rank + 4)};
    float *weight_at = weight, *gradient_at = gradient, *empty_at = empty;
    float *no_gradient_at = no_gradient;
    float mean[2] = {1, 1}, *mean_at = mean;
    int64_t *frozen_at = frozen;
    uint8_t *running_at = running;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_model_add_buffer(model, "running", ACCEL_U8, ACCEL_SHAPE(5), &running_at));
    CHECK_OK(accel_model_add_buffer(model, "mean", ACCEL_F32, ACCEL_SHAPE(2), &mean_at));
    CHECK_OK(accel_model_add_frozen(model, "frozen", ACCEL_I64, ACCEL_SHAPE(2), &frozen_at));
    CHECK_OK(
        accel_model_add(model, "empty", ACCEL_F32, ACCEL_SHAPE(0, 4), &empty_at, &no_gradient_at));
    CHECK_OK(accel_model_add(model, "weight", ACCEL_F32, ACCEL_SHAPE(3), &weight_at, &gradient_at));
    CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 0.5), &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    CHECK_INT(7, frozen_at[0]);
    CHECK(frozen_at != frozen && running_at == running);
    CHECK_INT(0, running[0]);
    CHECK_INT(4, running[4]);
    gradient_at[0] = (float)(2 * (rank + 1)); /* the mean is size + 1 */
    CHECK_OK(accel_backward(accelerator, model));
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_NEAR(1 - 0.5 * (size + 1), weight_at[0], 0);
    CHECK_NEAR(2.5, weight_at[2], 0);
    CHECK_INT(8, frozen_at[1]);
    running[0] = (uint8_t)(10 + rank);
    CHECK_OK(accel_sync_buffers(accelerator, model));
    CHECK_INT(10, running[0]);
    mean[1] = (float)rank;
    running[0] = (uint8_t)rank;
    CHECK_OK(accel_average_buffers(accelerator, model));
    CHECK_NEAR((size - 1) / 2.0, mean[1], 0);
    CHECK_INT(rank, running[0]); /* of no floating point */
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    CHECK(frozen_at == frozen);
    CHECK_INT(7, frozen[0]);
    accel_destroy(accelerator);
}

static void kinds_of_parameters(void)
{
    TEST_RANKS(1, check_kinds);
    TEST_RANKS(3, check_kinds);
}

/* A model without parameters trains nothing, and does it together. */
static void check_empty(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    double norm = 1;

    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    CHECK_OK(accel_backward(accelerator, model));
    CHECK_OK(accel_clip_grad_norm(accelerator, model, 1, &norm));
    CHECK_NEAR(0, norm, 0);
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_OK(accel_optimizer_zero_grad(optimizer));
    accel_model_destroy(model);
    accel_optimizer_destroy(optimizer);
    accel_destroy(accelerator);
    CHECK(rank < size);
}

static void a_model_without_parameters(void)
{
    TEST_RANKS(2, check_empty);
}

/* An optimizer that has begun alone goes on in a world of one; in a larger one its state would
 * lie with the wrong ranks. */
static void check_begun_alone(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    net_init(&net, ACCEL_F32, ACCEL_F64, 0);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_optimizer_step(optimizer));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_prepare_optimizer(accelerator, optimizer));
    CHECK_ERROR("the optimizer's model is not prepared");
    CHECK_OK(accel_prepare_model(accelerator, model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(optimizer));
    CHECK_ERROR("the model is prepared, the optimizer is not");
    if (size == 1) {
        CHECK_OK(accel_prepare_optimizer(accelerator, optimizer));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_INT(2, accel_optimizer_num_steps(optimizer));
    } else {
        CHECK_STATUS(ACCEL_ERR_STATE, accel_prepare_optimizer(accelerator, optimizer));
        CHECK_ERROR("prepare it before the first step");
    }
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    net_free(&net);
    CHECK(rank < size);
}

static void an_optimizer_begun_alone(void)
{
    TEST_RANKS(1, check_begun_alone);
    TEST_RANKS(2, check_begun_alone);
}

/* ---- ranks that differ ---- */

typedef struct toy {
    float values[4][64], gradients[4][64];
    float *values_at[4], *gradients_at[4];
    accel_model_t *model;
} toy_t;

static void toy_init(toy_t *toy)
{
    memset(toy, 0, sizeof(*toy));
    for (int i = 0; i < 4; i++) {
        toy->values_at[i] = toy->values[i];
        toy->gradients_at[i] = toy->gradients[i];
    }
    CHECK_OK(accel_model_create(NULL, &toy->model));
}

static void toy_add(toy_t *toy, int i, const char *name, int64_t rows, int64_t columns)
{
    const int64_t shape[] = {rows, columns};

    CHECK_OK(accel_model_add(toy->model, name, ACCEL_F32, 2, shape, &toy->values_at[i],
                             &toy->gradients_at[i]));
}

static void check_mismatch(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_optimizer_t *optimizer;
    toy_t toy;

    toy_init(&toy);
    toy_add(&toy, 0, "fc1.weight", 4, 8);
    toy_add(&toy, 1, "fc2.weight", 6, rank == 1 ? 10 : 9);
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare_model(accelerator, toy.model));
    CHECK_ERROR("accel_prepare: parameter 1 is 'fc2.weight' float32 [6, 9] on rank 0 but "
                "'fc2.weight' float32 [6, 10] on rank 1");
    CHECK(toy.values_at[0] == toy.values[0]);
    accel_model_destroy(toy.model);

    toy_init(&toy);
    toy_add(&toy, 0, "fc1.weight", 4, 8);
    if (rank == 2)
        toy_add(&toy, 1, "extra", 2, 2);
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare_model(accelerator, toy.model));
    CHECK_ERROR("there are 1 parameters on rank 0 but 2 on rank 2; parameter 1 is 'extra' float32 "
                "[2, 2] on rank 2 only");
    accel_model_destroy(toy.model);

    /* One rank alone fails: all do, and the world goes on. */
    toy_init(&toy);
    toy_add(&toy, 0, "fc1.weight", 4, 8);
    CHECK_OK(accel_prepare_model(accelerator, toy.model));
    CHECK_OK(accel_adamw_create(toy.model, ACCEL_ADAMW_OPTIONS(.beta1 = rank == 1 ? 0.8 : 0.9),
                                &optimizer));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare_optimizer(accelerator, optimizer));
    CHECK_ERROR("the optimizer is AdamW (lr 0.001");
    CHECK_ERROR("on rank 1");
    accel_optimizer_destroy(optimizer);
    CHECK_OK(accel_adamw_create(toy.model, NULL, &optimizer));
    CHECK_OK(accel_prepare_optimizer(accelerator, optimizer));
    CHECK_OK(accel_optimizer_step(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(toy.model);
    accel_destroy(accelerator);
    CHECK_INT(3, size);
}

static void differing_ranks_are_told_what_differs(void)
{
    TEST_RANKS(3, check_mismatch);
}

static void check_one_bad_rank(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    toy_t toy, other;

    toy_init(&toy);
    toy_init(&other);
    toy_add(&toy, 0, "weight", 4, 8);
    toy_add(&other, 0, "weight", 4, 8);
    CHECK_OK(accel_prepare_model(accelerator, other.model));
    if (rank == 1) { /* prepared already, here only */
        CHECK_STATUS(ACCEL_ERR_STATE, accel_prepare_model(accelerator, other.model));
        CHECK_ERROR("prepared already");
    } else {
        CHECK_STATUS(ACCEL_ERR_REMOTE, accel_prepare_model(accelerator, toy.model));
        CHECK_ERROR("rank 1");
        CHECK_ERROR("prepared already");
    }
    CHECK(toy.values_at[0] == toy.values[0]);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    accel_model_destroy(toy.model);
    accel_model_destroy(other.model);
    accel_destroy(accelerator);
    CHECK_INT(3, size);
}

static void one_bad_rank_fails_all(void)
{
    TEST_RANKS(3, check_one_bad_rank);
}

/* ---- failures on the way ---- */

static void check_backward_failing(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    net_init(&net, ACCEL_F32, ACCEL_F32, 0);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net.count = 1;
    net.fail = rank == 1;
    if (rank == 1) {
        CHECK_STATUS(ACCEL_ERR_IO, accel_backward(accelerator, model));
        CHECK_ERROR("the sample is on fire");
        CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(optimizer));
    } else {
        accel_status_t status = accel_backward(accelerator, model);

        CHECK_OK(status);
        CHECK_STATUS(ACCEL_ERR_REMOTE, accel_optimizer_step(optimizer));
        CHECK_ERROR("rank 1");
        CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(optimizer));
    }
    CHECK_ERROR("the sample is on fire");
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    net_free(&net);
    CHECK(size == 3);
}

static void a_failing_backward_reaches_all(void)
{
    TEST_RANKS(3, check_backward_failing);
}

/* Alone, nobody is left waiting, and the program may try again. */
static void check_retry(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    net_t net;
    accel_model_t *model;

    (void)rank, (void)size;
    net_init(&net, ACCEL_F32, ACCEL_F32, 0);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_prepare_model(accelerator, model));
    net.count = 1;
    net.fail = true;
    CHECK_STATUS(ACCEL_ERR_IO, accel_backward(accelerator, model));
    net.fail = false;
    CHECK_OK(accel_backward(accelerator, model));
    accel_model_destroy(model);
    accel_destroy(accelerator);
    net_free(&net);
}

static void alone_backward_can_be_retried(void)
{
    TEST_RANKS(1, check_retry);
}

/* An update during which rank 1 fails: the rule of an optimizer whose update reports it. */
static accel_comm_t *torn_comm;

static void torn_begin(const accel_optimizer_t *optimizer, accel__group_t *group, int64_t t,
                       double grad_scale)
{
    (void)optimizer, (void)group, (void)t, (void)grad_scale;
    if (accel_comm_rank(torn_comm) == 1)
        accel_comm_abort(torn_comm, ACCEL_ERR_INTERNAL, "the update fell over");
}

static void torn_update(const accel_optimizer_t *optimizer, const accel__group_t *group,
                        const accel__piece_t *piece)
{
    (void)optimizer, (void)group;
    memset(piece->values, 0, 4);
}

static void check_torn(int rank, int size)
{
    static const accel__rule_t rule = {"torn", 0, torn_begin, torn_update};
    static const double none[ACCEL__NUM_HYPERS];
    accel_t *accelerator;
    accel_optimizer_t *optimizer;
    toy_t toy;

    if (test_ranks_are_threads())
        return; /* torn_comm would be everybody's */
    accelerator = test_accelerator(accel_options_init());
    toy_init(&toy);
    toy_add(&toy, 0, "weight", 4, 8);
    CHECK_OK(accel__optimizer_create(toy.model, &rule, "torn", none, &optimizer));
    CHECK_OK(accel_prepare(accelerator, toy.model, optimizer, NULL, NULL));
    torn_comm = toy.model->arena.comm;
    CHECK(accel_optimizer_step(optimizer) < ACCEL_OK);
    CHECK_ERROR("the update fell over");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_optimizer_step(optimizer));
    CHECK_ERROR("part old, part new");
    CHECK_INT(0, accel_optimizer_num_steps(optimizer));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(toy.model);
    accel_destroy(accelerator);
    CHECK(rank < size);
}

static void a_torn_model_refuses_steps(void)
{
    TEST_RANKS(2, check_torn);
}

static void check_death(int rank, int size)
{
    accel_t *accelerator;
    net_t net;
    accel_model_t *model;
    accel_optimizer_t *optimizer;

    if (test_ranks_are_threads())
        return;
    accelerator = test_accelerator(accel_options_init());
    net_init(&net, ACCEL_F32, ACCEL_F32, 0);
    model = net_model(&net, accel_model_options_init());
    CHECK_OK(accel_adamw_create(model, NULL, &optimizer));
    CHECK_OK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    net.count = 1;
    CHECK_OK(accel_backward(accelerator, model));
    if (rank == 1)
        _exit(0);
    CHECK_STATUS(ACCEL_ERR_REMOTE, accel_optimizer_step(optimizer));
    CHECK_ERROR("rank 1");
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    CHECK(net.parameters[0] == net.blocks[0]);
    accel_destroy(accelerator);
    net_free(&net);
    CHECK(size == 3);
}

static void a_dead_rank_is_named_at_the_step(void)
{
    TEST_RANKS(3, check_death);
}

TEST_MAIN(TEST(values_move_in_and_out), TEST(fixed_memory_stays), TEST(kinds_of_parameters),
          TEST(a_model_without_parameters), TEST(an_optimizer_begun_alone),
          TEST(differing_ranks_are_told_what_differs), TEST(one_bad_rank_fails_all),
          TEST(a_failing_backward_reaches_all), TEST(alone_backward_can_be_retried),
          TEST(a_torn_model_refuses_steps), TEST(a_dead_rank_is_named_at_the_step))
