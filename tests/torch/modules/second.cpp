/* SPDX-License-Identifier: Apache-2.0 */
/* Another library with classes and modules of the same names: each has its own. */
#include <accel/torch/register.hpp>

struct Sized : torch::nn::Module {
    at::Tensor forward(const at::Tensor &x) { return x * 2; }
};

ACCEL_TORCH_MODULE("sized", Sized)
