/* SPDX-License-Identifier: Apache-2.0 */
/* torch::nn modules for programs in C: compile this into a shared object, against the libtorch that
 * libaccel_torch.so is built for.
 *
 *     struct Net : torch::nn::Module {
 *         explicit Net(const std::string &arguments);
 *         at::Tensor forward(at::Tensor x);
 *     };
 *     ACCEL_TORCH_MODULE("net", Net)
 *
 * and in C accel_torch_create("./libnet.so", "net", "hidden=64", NULL, &module). forward takes any
 * number of tensors and gives a tensor or a std::vector of them. */
#ifndef ACCEL_TORCH_REGISTER_HPP
#define ACCEL_TORCH_REGISTER_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

#include <accel/torch/version.hpp>

namespace accel
{
/* One module, as libaccel_torch uses it. */
class CallableModule
{
public:
    virtual ~CallableModule() = default;
    virtual torch::nn::Module &module() = 0;
    virtual std::vector<at::Tensor> call(const std::vector<at::Tensor> &inputs) = 0;
};

struct ModuleEntry {
    const char *name;
    std::unique_ptr<CallableModule> (*make)(const std::string &arguments);
};

/* What a shared object says of itself under ACCEL_TORCH_MODULES_V1. */
struct ModuleList {
    int torch_version; /* ACCEL_TORCH_VERSION */
    std::vector<ModuleEntry> entries;
};

#define ACCEL_TORCH_MODULES_V1 "accel_torch_modules_v1"

namespace detail
{
inline std::vector<at::Tensor> as_list(at::Tensor output)
{
    return {std::move(output)};
}
inline std::vector<at::Tensor> as_list(std::vector<at::Tensor> outputs)
{
    return outputs;
}

template <typename Module> class Callable : public CallableModule
{
public:
    explicit Callable(const std::string &arguments) : module_(std::make_shared<Module>(arguments))
    {
    }

    torch::nn::Module &module() override { return *module_; }
    std::vector<at::Tensor> call(const std::vector<at::Tensor> &inputs) override
    {
        return call(&Module::forward, inputs);
    }

private:
    template <typename Output, typename... Inputs>
    std::vector<at::Tensor> call(Output (Module::*forward)(Inputs...),
                                 const std::vector<at::Tensor> &inputs)
    {
        if (inputs.size() != sizeof...(Inputs))
            throw std::invalid_argument("forward takes " + std::to_string(sizeof...(Inputs)) +
                                        " tensors, not " + std::to_string(inputs.size()));
        return call(forward, inputs, std::index_sequence_for<Inputs...>());
    }

    template <typename Output, typename... Inputs, size_t... At>
    std::vector<at::Tensor> call(Output (Module::*forward)(Inputs...),
                                 const std::vector<at::Tensor> &inputs, std::index_sequence<At...>)
    {
        return as_list(((*module_).*forward)(inputs[At]...));
    }

    std::shared_ptr<Module> module_;
};

/* Of this shared object alone: others have their own. */
__attribute__((visibility("hidden"))) inline ModuleList &module_list()
{
    static ModuleList list{ACCEL_TORCH_VERSION, {}};

    return list;
}

template <typename Module>
__attribute__((visibility("hidden"))) bool register_module(const char *name)
{
    module_list().entries.push_back({name, [](const std::string &arguments) {
                                         return std::unique_ptr<CallableModule>(
                                             new Callable<Module>(arguments));
                                     }});
    return true;
}
} // namespace detail
} // namespace accel

extern "C" __attribute__((weak, used, visibility("default"))) const accel::ModuleList *
accel_torch_modules_v1()
{
    return &accel::detail::module_list();
}

/* At file scope, once a module; Module is a name without '::'. */
#define ACCEL_TORCH_MODULE(name, Module)                                 \
    [[maybe_unused]] static const bool accel_torch_registered_##Module = \
        accel::detail::register_module<Module>(name);

#endif
