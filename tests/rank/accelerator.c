/* SPDX-License-Identifier: Apache-2.0
 * test-timeout: 120 */
/* The façade: who am I, order, what must agree between ranks, and what bad input says. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <accel/wandb.h>

#include "comm/comm.h"

static void who_am_i(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    int blocks = 0;

    CHECK_INT(size, accel_num_processes(accelerator));
    CHECK_INT(rank, accel_process_index(accelerator));
    CHECK_INT(rank, accel_local_process_index(accelerator));
    CHECK_INT(ACCEL_CPU, accel_device(accelerator).type);
    CHECK(accel_is_main_process(accelerator) == (rank == 0));
    CHECK(accel_is_last_process(accelerator) == (rank == size - 1));
    ACCEL_ON_MAIN_PROCESS(accelerator)
        blocks += 1;
    ACCEL_ON_LAST_PROCESS(accelerator)
        blocks += 10;
    ACCEL_ON_PROCESS(accelerator, 1)
        blocks += 100;
    ACCEL_ON_LOCAL_PROCESS(accelerator, 1) {
        blocks += 1000;
    }
    if (blocks >= 0)
        ACCEL_ON_LOCAL_MAIN_PROCESS(accelerator)
            blocks += 10000;
        else
            test_fail(__FILE__, __LINE__, "an else must belong to the if");
    CHECK_INT((rank == 0 ? 10001 : 0) + (rank == size - 1 ? 10 : 0) + (rank == 1 ? 1100 : 0),
              blocks);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    accel_destroy(accelerator);
}

static void predicates(void)
{
    TEST_RANKS(1, who_am_i);
    TEST_RANKS(3, who_am_i);
}

/* Early stopping: one rank's flag is seen by all, once. */
static void one_rank_triggers(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    bool triggered = true;

    CHECK_OK(accel_check_trigger(accelerator, &triggered));
    CHECK(!triggered);
    for (int setter = 0; setter < size; setter++) {
        if (rank == setter)
            accel_set_trigger(accelerator);
        CHECK_OK(accel_check_trigger(accelerator, &triggered));
        CHECK(triggered);
        CHECK_OK(accel_check_trigger(accelerator, &triggered));
        CHECK(!triggered);
    }
    accel_set_trigger(NULL);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_check_trigger(NULL, &triggered));
    accel_destroy(accelerator);
}

static void triggers(void)
{
    TEST_RANKS(1, one_rank_triggers);
    TEST_RANKS(3, one_rank_triggers);
}

/* Main first: it makes a file that the others must then find. */
static char path[512];

static void main_goes_first(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());

    (void)size;
    for (int round = 0; round < 20; round++) {
        ACCEL_MAIN_PROCESS_FIRST(accelerator) {
            int fd = open(path, rank == 0 ? O_CREAT | O_EXCL | O_WRONLY : O_RDONLY, 0600);

            CHECK(fd >= 0);
            close(fd);
        }
        CHECK_OK(accel_wait_for_everyone(accelerator));
        ACCEL_ON_MAIN_PROCESS(accelerator)
            CHECK(unlink(path) == 0);
        CHECK_OK(accel_wait_for_everyone(accelerator));
    }
    accel_destroy(accelerator);
}

static void main_process_first(void)
{
    snprintf(path, sizeof(path), "%s/file", test_dir());
    TEST_RANKS(4, main_goes_first);
}

static void tensors_of_all(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float rows[6] = {(float)rank, (float)rank + 0.5f, 1, 2, 3, 4};
    accel_tensor_t *result;
    accel_split_t split;

    CHECK_OK(accel_gather(accelerator, ACCEL_TENSOR(rows, ACCEL_F32, 1, 2), &result));
    CHECK_INT(size, result->shape[0]);
    CHECK_INT(2, result->shape[1]);
    for (int r = 0; r < size; r++)
        CHECK_NEAR(r + 0.5, ((float *)result->data)[2 * r + 1], 0);
    accel_tensor_destroy(result);

    CHECK_OK(accel_reduce(accelerator, ACCEL_TENSOR(rows, ACCEL_F32, 6), ACCEL_MEAN));
    CHECK_NEAR((size - 1) / 2.0, rows[0], 1e-6);
    rows[0] = (float)rank;
    CHECK_OK(accel_broadcast(accelerator, ACCEL_TENSOR(rows, ACCEL_F32, 6), size - 1));
    CHECK_NEAR(size - 1, rows[0], 0);

    CHECK_OK(accel_pad_across_processes(accelerator, ACCEL_TENSOR(rows, ACCEL_F32, rank + 1), 0, -1,
                                        false, &result));
    CHECK_INT(size, result->shape[0]);
    CHECK_NEAR(rank == size - 1 ? rows[size - 1] : -1, ((float *)result->data)[size - 1], 0);
    accel_tensor_destroy(result);

    CHECK_OK(accel_split_between_processes(accelerator, 10, false, &split));
    CHECK_INT(10 / size + (rank < 10 % size), split.count);
    accel_destroy(accelerator);
}

static void tensors(void)
{
    TEST_RANKS(1, tensors_of_all);
    TEST_RANKS(3, tensors_of_all);
}

/* ---- what must agree ---- */

static void one_passes_null(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float values[2] = {1, 2};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    const accel_tensor_t *tensors[] = {ACCEL_TENSOR(values, ACCEL_F32, 2)};

    (void)size;
    CHECK_OK(accel_tensor_dataset_create(tensors, 1, &dataset));
    CHECK_OK(accel_loader_create(dataset, NULL, &loader));
    CHECK(accel_prepare(accelerator, NULL, NULL, rank == 1 ? NULL : loader, NULL) < ACCEL_OK);
    CHECK_ERROR("rank 1 passes other objects than rank 0");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_destroy(accelerator);
}

static void loaders_differ(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float values[8] = {1, 2};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    const accel_tensor_t *tensors[] = {ACCEL_TENSOR(values, ACCEL_F32, 8)};

    (void)size;
    CHECK_OK(accel_tensor_dataset_create(tensors, 1, &dataset));
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = rank == 2 ? 4 : 2),
                                 &loader));
    CHECK(accel_prepare(accelerator, NULL, NULL, loader, NULL) < ACCEL_OK);
    CHECK_ERROR("on rank 2, but");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    CHECK_OK(accel_wait_for_everyone(accelerator)); /* the communicator goes on */
    accel_destroy(accelerator);
}

static void models_differ(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float storage[2][12] = {{0}}, *w = storage[0], *g = storage[1];
    accel_model_t *model;

    (void)size;
    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(
        accel_model_add(model, "fc.weight", ACCEL_F32, ACCEL_SHAPE(3, rank == 1 ? 4 : 2), &w, &g));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_prepare(accelerator, model, NULL, NULL, NULL));
    CHECK_ERROR("'fc.weight' float32 [3, 2] on rank 0");
    CHECK_ERROR("[3, 4] on rank 1");
    CHECK(w == storage[0]);
    accel_model_destroy(model);
    accel_destroy(accelerator);
}

static void options_differ(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;

    (void)size;
    test_world(&options);
    options.log_with = rank == 1 ? "wnadb" : NULL;
    CHECK(accel_create(&options, &accelerator) < ACCEL_OK);
    CHECK(accelerator == NULL);
    CHECK_ERROR("wnadb");
    if (rank != 1)
        CHECK_ERROR("accel_create: rank 1 failed:");
}

static void accumulation_differs(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;

    (void)size;
    test_world(&options);
    options.gradient_accumulation_steps = rank == 1 ? 4 : 2;
    CHECK(accel_create(&options, &accelerator) < ACCEL_OK);
    CHECK_ERROR("are 4, 1, 0, 1 on rank 1, but 2, 1, 0, 1 on rank 0");
}

/* A rank goes while the others compare their options: that is what they say, and not that the
 * world is broken for some reason. */
static void one_leaves_within_create(int rank, int size)
{
    accel_options_t options = accel_options_init();
    accel_t *accelerator;
    accel_comm_t *comm;

    (void)size;
    if (rank == 1) {
        comm = test_comm();
        CHECK_OK(accel__comm_agree(comm, "accel_create", ACCEL_OK));
        accel_comm_destroy(comm);
        return;
    }
    test_world(&options);
    CHECK_STATUS(ACCEL_ERR_REMOTE, accel_create(&options, &accelerator));
    CHECK_ERROR("left");
    CHECK(accelerator == NULL);
}

/* The optimizer's model is another than the one that is prepared: nothing stays prepared. */
static void all_or_none(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    float storage[4][4] = {{1, 2, 3, 4}, {0}}, *w[2] = {storage[0], storage[1]};
    float *g[2] = {storage[2], storage[3]};
    accel_model_t *models[2];
    accel_optimizer_t *optimizer;

    (void)rank, (void)size;
    for (int m = 0; m < 2; m++) {
        CHECK_OK(accel_model_create(NULL, &models[m]));
        CHECK_OK(accel_model_add(models[m], "w", ACCEL_F32, ACCEL_SHAPE(4), &w[m], &g[m]));
    }
    CHECK_OK(accel_sgd_create(models[1], NULL, &optimizer));
    CHECK(accel_prepare(accelerator, models[0], optimizer, NULL, NULL) < ACCEL_OK);
    CHECK(w[0] == storage[0] && w[0][3] == 4);
    CHECK_OK(accel_prepare(accelerator, models[1], optimizer, NULL, NULL));
    CHECK(w[1] != storage[1]);
    CHECK_OK(accel_wait_for_everyone(accelerator));
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(models[0]);
    accel_model_destroy(models[1]);
    accel_destroy(accelerator);
}

static void agreement(void)
{
    TEST_RANKS(2, accumulation_differs);
    TEST_RANKS(2, one_leaves_within_create);
    TEST_RANKS(2, all_or_none);
    TEST_RANKS(3, one_passes_null);
    TEST_RANKS(3, loaders_differ);
    TEST_RANKS(2, models_differ);
    TEST_RANKS(3, options_differ);
}

/* ---- bad input ---- */

static void expect_refusal(accel_options_t options, const char *text)
{
    accel_t *accelerator = (accel_t *)1;

    options.num_processes = 1;
    CHECK(accel_create(&options, &accelerator) < ACCEL_OK);
    CHECK(accelerator == NULL);
    CHECK_ERROR(text);
}

#define REFUSED(text, ...) \
    expect_refusal((accel_options_t){.struct_size = sizeof(accel_options_t), __VA_ARGS__}, text)

static void bad_options(void)
{
    REFUSED("mixed_precision is 'fp8', which needs", .mixed_precision = "fp8");
    REFUSED("mixed_precision is 'half'; expected 'no', 'bf16' or 'fp16'",
            .mixed_precision = "half");
    REFUSED("comm_hook is 'power_sgd'", .comm_hook = "power_sgd");
    REFUSED("growth_factor is 0.5", .grad_scaler = ACCEL_GRAD_SCALER_OPTIONS(.growth_factor = 0.5));
    REFUSED("gradient_accumulation_steps is -2", .gradient_accumulation_steps = -2);
    REFUSED("split_batches is 7", .split_batches = (accel_tristate_t)7);
    REFUSED("gradients is 9", .gradients = (accel_gradients_t)9);
    REFUSED("journal", .log_with = "jsonl", .logging_dir = "/tmp", .journal = "later");
    REFUSED("jsonl", .log_with = "jsonl"); /* wants a directory */
    REFUSED("wandb", .log_with = "wandbb");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_create(NULL, NULL));
}

static void expect_environment_refused(const char *name, const char *value)
{
    accel_t *accelerator;

    CHECK(setenv(name, value, 1) == 0);
    CHECK(accel_create(NULL, &accelerator) < ACCEL_OK);
    CHECK_ERROR(name);
    CHECK_ERROR(value);
    CHECK(unsetenv(name) == 0);
}

static void bad_environment(void)
{
    accel_t *accelerator;

    expect_environment_refused("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "two");
    CHECK(setenv("ACCEL_JOB_ID", "x", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_create(NULL, &accelerator));
    CHECK_ERROR("WORLD_SIZE is not set, though accel launch started this process");
    CHECK(setenv("WORLD_SIZE", "2", 1) == 0 && setenv("RANK", "0", 1) == 0);
    expect_environment_refused("RANK", "2");
    CHECK(setenv("RANK", "0", 1) == 0);
    expect_environment_refused("WORLD_SIZE", "0x2");
    CHECK(setenv("WORLD_SIZE", "2", 1) == 0);
    CHECK(setenv("LOCAL_WORLD_SIZE", "1", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_create(NULL, &accelerator));
    CHECK_ERROR("one host");
    CHECK(unsetenv("LOCAL_WORLD_SIZE") == 0 && setenv("WORLD_SIZE", "1", 1) == 0);
    CHECK_OK(accel_create(NULL, &accelerator)); /* a world of one meets nobody */
    CHECK_INT(1, accel_num_processes(accelerator));
    accel_destroy(accelerator);
}

static void null_arguments(void)
{
    accel_t *accelerator;
    accel_model_t *model;

    CHECK_OK(accel_create(NULL, &accelerator));
    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_prepare(NULL, model, NULL, NULL, NULL));
    CHECK_OK(accel_prepare(accelerator, NULL, NULL, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_prepare_model(accelerator, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_backward(accelerator, NULL));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(accelerator, model));
    CHECK_ERROR("accel_prepare()");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_gather(accelerator, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_log(NULL, NULL, 0));
    CHECK_INT(1, accel_num_processes(NULL));
    CHECK(accel_is_main_process(NULL) && accel_is_last_process(NULL) && accel_is_sync_step(NULL));
    CHECK(accel_get_tracker(accelerator, "wandb") == NULL);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_wandb_run_log_artifact(NULL, NULL));
    CHECK_OK(accel_end_training(accelerator));
    accel_model_destroy(model);
    accel_destroy(accelerator);
    accel_destroy(NULL);
}

/* Two accelerators are two worlds: a model is of one of them. */
static void another_accelerator(int rank, int size)
{
    accel_t *own = test_accelerator(accel_options_init()), *other;
    float storage[2][4] = {{0}}, *w = storage[0], *g = storage[1];
    accel_model_t *model;

    (void)rank, (void)size;
    CHECK_OK(accel_create(NULL, &other)); /* this process, alone */
    CHECK_OK(accel_model_create(NULL, &model));
    CHECK_OK(accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4), &w, &g));
    CHECK_OK(accel_prepare_model(own, model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_accumulate(other, model));
    CHECK_ERROR("prepared by another accelerator");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_backward(other, model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_unprepare_model(other, model));
    CHECK_OK(accel_backward(own, model));
    CHECK_OK(accel_wait_for_everyone(own));
    accel_model_destroy(model);
    accel_destroy(other);
    accel_destroy(own);
}

static void accelerators(void)
{
    TEST_RANKS(2, another_accelerator);
}

/* Everything prepared, then torn down in either order. */
static void either_order(int rank, int size)
{
    for (int accelerator_first = 0; accelerator_first < 2; accelerator_first++) {
        accel_t *accelerator = test_accelerator(accel_options_init());
        float storage[2][4] = {{1, 2, 3, 4}}, *w = storage[0], *g = storage[1];
        accel_model_t *model;
        accel_optimizer_t *optimizer;
        accel_scheduler_t *scheduler;
        accel_dataset_t *dataset;
        accel_loader_t *loader;
        const accel_tensor_t *tensors[] = {ACCEL_TENSOR(storage[1], ACCEL_F32, 4)};

        (void)size;
        storage[0][0] = (float)rank;
        CHECK_OK(accel_model_create(NULL, &model));
        CHECK_OK(accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4), &w, &g));
        CHECK_OK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 1), &optimizer));
        CHECK_OK(accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "constant"),
                                        &scheduler));
        CHECK_OK(accel_tensor_dataset_create(tensors, 1, &dataset));
        CHECK_OK(accel_loader_create(dataset, NULL, &loader));
        CHECK_OK(accel_prepare(accelerator, model, optimizer, loader, scheduler));
        CHECK(w != storage[0]);
        CHECK_NEAR(0, w[0], 0); /* rank 0's */
        CHECK(accel_prepare(accelerator, model, NULL, NULL, NULL) < ACCEL_OK);
        CHECK_OK(accel_loader_begin(loader, 0));
        for (int i = 0; i < 4; i++)
            g[i] = 1;
        CHECK_OK(accel_backward(accelerator, model));
        CHECK_OK(accel_optimizer_step(optimizer));
        CHECK_NEAR(1, w[1], 0);
        CHECK_OK(accel_wait_for_everyone(accelerator));
        if (accelerator_first)
            accel_destroy(accelerator);
        accel_loader_destroy(loader);
        accel_scheduler_destroy(scheduler);
        accel_optimizer_destroy(optimizer);
        accel_model_destroy(model);
        accel_dataset_destroy(dataset);
        if (!accelerator_first)
            accel_destroy(accelerator);
        CHECK(w == storage[0] && g == storage[1]);
        CHECK_NEAR(-1, storage[0][0], 0);
        CHECK_NEAR(3, storage[0][3], 0);
    }
}

static void teardown(void)
{
    TEST_RANKS(1, either_order);
    TEST_RANKS(3, either_order);
}

TEST_MAIN(TEST(predicates), TEST(triggers), TEST(main_process_first), TEST(tensors),
          TEST(agreement), TEST(bad_options), TEST(bad_environment), TEST(null_arguments),
          TEST(accelerators), TEST(teardown))
