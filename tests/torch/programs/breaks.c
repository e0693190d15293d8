/* SPDX-License-Identifier: Apache-2.0 */
/* Two ranks train, and after a step the second one breaks HOW; run by tests/oracle/torch_native.py:
 *
 *     program-torch-breaks-VERSION ODD HOW
 *
 * ODD is modules/odd.cpp. HOW: "forward" throws, "backward" throws, "kill" is SIGKILL in backward,
 * "none" is an end without destroying anything. */
#include <accel/torch.h>

#include "checks.h"

enum { STEPS = 3, FINE = 0, THROW_IN_BACKWARD = 4, DIE_IN_BACKWARD = 8, THROW_IN_FORWARD = 9 };

static int64_t what(const char *how)
{
    return strcmp(how, "forward") == 0    ? THROW_IN_FORWARD
           : strcmp(how, "backward") == 0 ? THROW_IN_BACKWARD
           : strcmp(how, "kill") == 0     ? DIE_IN_BACKWARD
                                          : FINE;
}

int main(int argc, char **argv)
{
    accel_torch_module_t *module;
    accel_optimizer_t *optimizer;
    accel_model_t *model;
    accel_t *accelerator;

    if (argc < 3)
        return 2;
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_torch_create(argv[1], "restless", NULL,
                                   ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_adamw_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (int step = 0; step < STEPS; step++) {
        bool breaks = step > 0 && accel_process_index(accelerator) == 1;
        int64_t action = breaks ? what(argv[2]) : FINE;

        ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(&action, ACCEL_I64, 1), 1));
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    return 0;
}
