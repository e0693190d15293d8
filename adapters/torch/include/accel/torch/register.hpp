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
 * and in C accel_torch_create("./libnet.so", "net", "hidden=64", NULL, &module). A module may do
 * without arguments: then it is made by its default constructor. forward takes any number of
 * tensors, and numbers or bools, for which C hands over tensors of one element. It gives a tensor,
 * or a std::vector or std::tuple of them. What it throws is an error in C.
 *
 * What the library sees are registered parameters and buffers. A member that is assigned after it
 * was registered (a->weight = b->weight) is another tensor than the one that is trained: tie two
 * layers by registering one tensor under both names, or in forward. */
#ifndef ACCEL_TORCH_REGISTER_HPP
#define ACCEL_TORCH_REGISTER_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
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
    const char *built_for; /* "2.13 _GLIBCXX_USE_CXX11_ABI=1": the libtorch, and its strings */
    std::vector<ModuleEntry> entries;
};

#define ACCEL_TORCH_MODULES_V1 "accel_torch_modules_v1"

#define ACCEL__TEXT(number) #number
#define ACCEL__BUILT_FOR(major, minor, abi) \
    ACCEL__TEXT(major) "." ACCEL__TEXT(minor) " _GLIBCXX_USE_CXX11_ABI=" ACCEL__TEXT(abi)

namespace detail
{
constexpr const char built_for[] =
    ACCEL__BUILT_FOR(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, _GLIBCXX_USE_CXX11_ABI);

/* To be found in the file before that is loaded: with it comes the libtorch that it was linked
 * against, and two of them in one process end it. */
#define ACCEL_TORCH_MODULES_MARK "accel_torch_modules_v1 for libtorch "
__attribute__((used)) static const char modules_mark[] = ACCEL_TORCH_MODULES_MARK ACCEL__BUILT_FOR(
    TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, _GLIBCXX_USE_CXX11_ABI);

inline void append(std::vector<at::Tensor> &list, at::Tensor output)
{
    list.push_back(std::move(output));
}
inline void append(std::vector<at::Tensor> &list, std::vector<at::Tensor> outputs)
{
    for (at::Tensor &output : outputs)
        list.push_back(std::move(output));
}
template <typename... Outputs>
void append(std::vector<at::Tensor> &list, std::tuple<Outputs...> outputs)
{
    std::apply([&list](auto &...output) { (append(list, std::move(output)), ...); }, outputs);
}

/* As the parameter of a forward. */
template <typename Input> decltype(auto) as_input(const at::Tensor &tensor)
{
    if constexpr (std::is_arithmetic_v<std::decay_t<Input>>)
        return tensor.item<std::decay_t<Input>>();
    else
        return (tensor);
}

template <typename Module> std::shared_ptr<Module> make_module(const std::string &arguments)
{
    if constexpr (std::is_constructible_v<Module, const std::string &>)
        return std::make_shared<Module>(arguments);
    else if (arguments.empty())
        return std::make_shared<Module>();
    throw std::invalid_argument("the module takes no arguments: '" + arguments + "'");
}

template <typename Module> class Callable : public CallableModule
{
public:
    explicit Callable(const std::string &arguments) : module_(make_module<Module>(arguments)) {}

    torch::nn::Module &module() override { return *module_; }
    std::vector<at::Tensor> call(const std::vector<at::Tensor> &inputs) override
    {
        return call(&Module::forward, inputs);
    }

private:
    /* forward may be const, or a base class's. */
    template <typename Output, typename Class, typename... Inputs>
    std::vector<at::Tensor> call(Output (Class::*forward)(Inputs...),
                                 const std::vector<at::Tensor> &inputs)
    {
        return invoke<Inputs...>(forward, inputs, std::index_sequence_for<Inputs...>());
    }
    template <typename Output, typename Class, typename... Inputs>
    std::vector<at::Tensor> call(Output (Class::*forward)(Inputs...) const,
                                 const std::vector<at::Tensor> &inputs)
    {
        return invoke<Inputs...>(forward, inputs, std::index_sequence_for<Inputs...>());
    }

    template <typename... Inputs, typename Forward, size_t... At>
    std::vector<at::Tensor> invoke(Forward forward, const std::vector<at::Tensor> &inputs,
                                   std::index_sequence<At...>)
    {
        std::vector<at::Tensor> outputs;

        if (inputs.size() != sizeof...(Inputs))
            throw std::invalid_argument("forward takes " + std::to_string(sizeof...(Inputs)) +
                                        " tensors, not " + std::to_string(inputs.size()));
        append(outputs, ((*module_).*forward)(as_input<Inputs>(inputs[At])...));
        return outputs;
    }

    std::shared_ptr<Module> module_;
};

/* Of this shared object alone: others have their own. */
__attribute__((visibility("hidden"))) inline ModuleList &module_list()
{
    static ModuleList list{built_for, {}};

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
