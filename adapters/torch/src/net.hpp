/* SPDX-License-Identifier: Apache-2.0 */
/* What a module is, whatever made it: the one thing that knows TorchScript from torch::nn. */
#ifndef ACCEL_TORCH_SRC_NET_HPP
#define ACCEL_TORCH_SRC_NET_HPP

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace engine
{
using Tensors = std::vector<at::Tensor>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class Net
{
public:
    virtual ~Net() = default;

    /* All names, in the module's order: a shared tensor has several. */
    virtual NamedTensors parameters() const = 0;
    virtual NamedTensors buffers() const = 0;

    virtual void train(bool training) = 0;
    virtual Tensors call(const std::string &method, const Tensors &inputs) = 0;
    virtual void save(const std::string &path) const = 0;
};

std::unique_ptr<Net> load_script(const std::string &path, bool jit_optimize, bool mmap);
std::unique_ptr<Net> create_module(const std::string &library, const std::string &name,
                                   const std::string &arguments);
} // namespace engine

#endif
