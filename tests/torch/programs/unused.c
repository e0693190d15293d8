/* SPDX-License-Identifier: Apache-2.0 */
/* Train an archive that uses other parameters by step and rank, for tests/oracle/torch_unused.py:
 *
 *     program-torch-unused-VERSION ARCHIVE STEPS WEIGHTS
 *
 * Its forward computes the loss of a float64 tensor: the step, the rank and the number of ranks. */
#include <stdlib.h>

#include <accel/accel.h>
#include <accel/torch.h>

int main(int argc, char **argv)
{
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    const int64_t shape[] = {3};
    double numbers[3];
    accel_tensor_t input;

    if (argc != 4)
        return 2;
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(
        accel_torch_load(argv[1], ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2, .weight_decay = 0.1),
                                   &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    accel_tensor_view(&input, numbers, ACCEL_F64, 1, shape);
    numbers[1] = accel_process_index(accelerator);
    numbers[2] = accel_num_processes(accelerator);
    for (numbers[0] = 0; numbers[0] < atoi(argv[2]); numbers[0]++) {
        ACCEL_CHECK(accel_torch_forward(module, &input, 1));
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    ACCEL_ON_MAIN_PROCESS(accelerator)
        ACCEL_CHECK(accel_torch_save_weights(module, argv[3]));
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_optimizer_destroy(optimizer);
    accel_torch_destroy(module);
    accel_destroy(accelerator);
    return 0;
}
