/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and buffers in safetensors files, under Python's names. */
#include <accel/torch/weights.hpp>

#include "module.hpp"

using engine::Block;
using engine::Error;

namespace
{
accel::detail::Weights weights_of(const std::vector<Block> &blocks)
{
    accel::detail::Weights weights;

    for (const Block &block : blocks)
        weights.push_back({block.names, block.tensor, block.kind == ACCEL_BUFFER});
    return weights;
}
} // namespace

void accel_torch_module::save_weights(const char *path)
{
    place();
    accel::detail::write_weights(path, weights_of(blocks_));
}

void accel_torch_module::load_weights(const char *path)
{
    place();
    if (is_prepared())
        throw Error(ACCEL_ERR_STATE, "the module's model is prepared, so that its parameters are "
                                     "one copy for all processes; load before accel_prepare()");
    accel::detail::read_weights(path, weights_of(blocks_));
}

void accel_torch_module::map_weights(const char *path)
{
    refuse_prepared("map");
    accel::detail::WeightsFile file(path);
    std::vector<at::Tensor> found = file.find(weights_of(blocks_));

    at::NoGradGuard no_grad;
    for (size_t i = 0; i < blocks_.size(); i++) {
        Block &block = blocks_[i];

        if (!found[i].defined())
            continue;
        if (i >= num_parameters_) {
            block.tensor.detach().copy_(found[i]); /* buffers are written: a process's own */
            continue;
        }
        block.tensor.set_requires_grad(false);
        block.tensor.set_data(found[i]);
        block.kind = ACCEL_FROZEN;
        block.value = block.placed = found[i].data_ptr();
    }
    weights_ = file.release();
    accel::detail::give_back_freed_memory();
}
