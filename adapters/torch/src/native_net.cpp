/* SPDX-License-Identifier: Apache-2.0 */
/* torch::nn modules of the user's shared objects. */
#include "net.hpp"

#include <cstring>

#include <dlfcn.h>

#include <torch/nn/module.h>
#include <torch/serialize.h>

#include <accel/torch/register.hpp>

#include "guard.hpp"

namespace engine
{
namespace
{
class NativeNet : public Net
{
public:
    explicit NativeNet(std::unique_ptr<accel::CallableModule> module) : module_(std::move(module))
    {
    }

    NamedTensors parameters() const override { return list(module_->module().named_parameters()); }
    NamedTensors buffers() const override { return list(module_->module().named_buffers()); }
    void train(bool training) override { module_->module().train(training); }

    Tensors call(const std::string &method, const Tensors &inputs) override
    {
        if (method != "forward")
            throw Error(ACCEL_ERR_NOT_FOUND, "the module has no method '" + method +
                                                 "'; of a C++ module only forward can be called");
        return module_->call(inputs);
    }

    void save(const std::string &path) const override
    {
        torch::serialize::OutputArchive archive;

        module_->module().save(archive);
        archive.save_to(path);
    }

private:
    template <typename Items> static NamedTensors list(const Items &items)
    {
        NamedTensors list;

        for (const auto &item : items)
            if (item.value().defined())
                list.emplace_back(item.key(), item.value());
        return list;
    }

    std::unique_ptr<accel::CallableModule> module_;
};

/* C++ objects pass between the two: both must have been compiled against one libtorch. */
const accel::ModuleList &open_library(const std::string &path)
{
    void *object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const accel::ModuleList *(*modules)();

    if (!object)
        throw Error(ACCEL_ERR_NOT_FOUND, std::string("the library does not load: ") + dlerror());
    void *symbol = dlsym(object, ACCEL_TORCH_MODULES_V1);
    if (!symbol)
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    "'" + path + "' offers no modules: it has no ACCEL_TORCH_MODULE");
    std::memcpy(&modules, &symbol, sizeof(modules));
    const accel::ModuleList &list = *modules();
    if (list.torch_version != ACCEL_TORCH_VERSION)
        throw Error(ACCEL_ERR_UNSUPPORTED, "'" + path + "' was compiled against libtorch " +
                                               std::to_string(list.torch_version / 100) + "." +
                                               std::to_string(list.torch_version % 100) +
                                               ", and libaccel_torch against " +
                                               std::to_string(TORCH_VERSION_MAJOR) + "." +
                                               std::to_string(TORCH_VERSION_MINOR));
    return list;
}
} // namespace

std::unique_ptr<Net> create_module(const std::string &library, const std::string &name,
                                   const std::string &arguments)
{
    std::string names;

    for (const auto &entry : open_library(library).entries) {
        if (name == entry.name)
            return std::make_unique<NativeNet>(entry.make(arguments));
        names += (names.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw Error(ACCEL_ERR_NOT_FOUND,
                "'" + library + "' has no module '" + name + "'; it has: " + names);
}
} // namespace engine
