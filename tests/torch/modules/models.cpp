/* SPDX-License-Identifier: Apache-2.0 */
/* models.hpp for programs in C, each with its loss as its only output. */
#include "models.hpp"

#include <accel/torch/register.hpp>

namespace
{
template <typename Impl> struct WithLoss : Impl {
    at::Tensor forward(const at::Tensor &x, const at::Tensor &y) { return this->loss(x, y); }
};
using Mlp = WithLoss<models::MlpImpl>;
using Cnn = WithLoss<models::CnnImpl>;
using Gpt = WithLoss<models::GptImpl>;
} // namespace

ACCEL_TORCH_MODULE("mlp", Mlp)
ACCEL_TORCH_MODULE("cnn", Cnn)
ACCEL_TORCH_MODULE("gpt", Gpt)
