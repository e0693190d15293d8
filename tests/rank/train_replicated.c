/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 60
 * Values that stay with each rank, for an optimizer of the program's own. */
#include "train_net.h"

enum { GLOBAL_BATCH = 12, STEPS = 10 };

static void step_by_hand(net_t *net)
{
    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++) {
            double gradient = net_get(net, i, net->gradients[i], at);

            net_set(net, i, net->parameters[i], at, net_value(net, i, at) - 0.1 * gradient);
            net_set(net, i, net->gradients[i], at, 0);
        }
}

static void check_stepped_alike(accel_t *accelerator, const net_t *net)
{
    for (int i = 0; i < NET_PARAMS; i++) {
        int64_t count = (int64_t)net_size(i);
        accel_tensor_t *all;

        CHECK_OK(accel_gather(accelerator, ACCEL_TENSOR(net->parameters[i], net->dtypes[i], count),
                              &all));
        for (int32_t r = 1; r < accel_num_processes(accelerator); r++)
            CHECK(memcmp(all->data,
                         (char *)all->data +
                             (size_t)r * net_size(i) * accel_dtype_size(net->dtypes[i]),
                         net_size(i) * accel_dtype_size(net->dtypes[i])) == 0);
        accel_tensor_destroy(all);
    }
}

static void check_replicated(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_model_options_t options = accel_model_options_init();
    accel_optimizer_t *fused;
    accel_model_t *model;
    net_t net, reference;

    options.replicated = true;
    net_init(&net, ACCEL_F64, ACCEL_F64, rank);
    model = net_model(&net, options);
    CHECK_OK(accel_adamw_create(model, NULL, &fused));
    CHECK_OK(accel_prepare(accelerator, model, NULL, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_prepare(accelerator, NULL, fused, NULL, NULL));
    CHECK_ERROR("are replicated");
    for (int i = 0; i < NET_PARAMS; i++) {
        CHECK(net.parameters[i] == net.blocks[i]);
        CHECK(net.gradients[i] != net.blocks[NET_PARAMS + i]);
    }
    net_init(&reference, ACCEL_F64, ACCEL_F64, 0);
    reference.count = GLOBAL_BATCH;
    net.count = GLOBAL_BATCH / size;
    for (int64_t step = 0; step < STEPS; step++) {
        net.first = step * GLOBAL_BATCH + rank * net.count;
        CHECK_OK(accel_backward(accelerator, model));
        step_by_hand(&net);
        reference.first = step * GLOBAL_BATCH;
        CHECK_OK(net_backward(&reference, 1));
        step_by_hand(&reference);
    }
    net_check_equal(&reference, &net, 1e-12, "replicated");
    check_stepped_alike(accelerator, &net);

    CHECK_OK(accel_params_begin(model)); /* what rank 0 writes is everybody's */
    net_set(&net, 0, net.parameters[0], 0, rank == 0 ? 42 : 7);
    CHECK_OK(accel_params_end(model));
    CHECK_NEAR(42, net_value(&net, 0, 0), 0);
    check_stepped_alike(accelerator, &net);
    accel_optimizer_destroy(fused);
    accel_model_destroy(model);
    CHECK_NEAR(42, net_value(&net, 0, 0), 0);
    accel_destroy(accelerator);
    net_free(&net);
    net_free(&reference);
}

static void each_rank_steps_its_own(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, check_replicated);
}

static void check_no_restore(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_model_options_t options = accel_model_options_init();
    accel_model_t *model;
    net_t net;

    options.no_restore = true;
    net_init(&net, ACCEL_F32, ACCEL_F64, rank);
    model = net_model(&net, options);
    CHECK_OK(accel_prepare(accelerator, model, NULL, NULL, NULL));
    for (int i = 0; i < 2 * NET_PARAMS; i++) { /* the owner has no use for them any more */
        free(net.blocks[i]);
        net.blocks[i] = NULL;
    }
    net.count = GLOBAL_BATCH / size;
    CHECK_OK(accel_backward(accelerator, model));
    CHECK_OK(accel_sync_gradients(accelerator, model));
    accel_model_destroy(model);
    for (int i = 0; i < NET_PARAMS; i++)
        CHECK(!net.parameters[i] && !net.gradients[i]);
    accel_destroy(accelerator);
}

static void blocks_need_not_stay(void)
{
    TEST_RANKS(2, check_no_restore);
}

static void options_that_do_not_go_together(void)
{
    accel_model_options_t options = accel_model_options_init();
    accel_model_t *model;

    options.fixed_memory = options.replicated = true;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_create(&options, &model));
    CHECK_ERROR("replicated does not go with fixed_memory");
    options.replicated = false;
    options.no_restore = true;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_create(&options, &model));
    CHECK_ERROR("no_restore does not go with fixed_memory");
    options.fixed_memory = false;
    options.bucket_cap_mb = NAN;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_create(&options, &model));
    CHECK_ERROR("bucket_cap_mb is nan");
}

TEST_MAIN(TEST(each_rank_steps_its_own), TEST(blocks_need_not_stay),
          TEST(options_that_do_not_go_together))
