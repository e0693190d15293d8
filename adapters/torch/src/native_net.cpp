/* SPDX-License-Identifier: Apache-2.0 */
/* torch::nn modules of the user's shared objects. */
#include "net.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>

#include <dlfcn.h>
#include <unistd.h>

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

/* C++ objects pass between the two: both must have been compiled for one libtorch. */
void check_built_for(const std::string &path, const std::string &built_for)
{
    if (built_for != accel::detail::built_for)
        throw Error(ACCEL_ERR_UNSUPPORTED, "'" + path + "' was compiled for libtorch " + built_for +
                                               ", and libaccel_torch for " +
                                               accel::detail::built_for +
                                               "; compile it against that one");
}

/* Before it is loaded. A name without a slash is not looked at: where it is only the loader knows.
 * What cannot be read is the loader's to say, too. */
void check_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary | std::ios::ate);

    if (path.find('/') == std::string::npos || !file)
        return;
    auto size = static_cast<std::streamoff>(file.tellg()); /* of a directory there is no end */
    std::string bytes(size > 0 && size < INT32_MAX ? static_cast<size_t>(size) : 0, '\0');
    file.seekg(0).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    size_t mark = bytes.find(ACCEL_TORCH_MODULES_MARK);
    if (mark == std::string::npos)
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    "'" + path + "' offers no modules: it has no ACCEL_TORCH_MODULE");
    check_built_for(path, bytes.c_str() + mark + std::strlen(ACCEL_TORCH_MODULES_MARK));
}

const accel::ModuleList &open_library(const std::string &path)
{
    check_file(path);
    void *object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const accel::ModuleList *(*modules)();

    if (!object)
        throw Error(access(path.c_str(), F_OK) == 0 ? ACCEL_ERR_UNSUPPORTED : ACCEL_ERR_NOT_FOUND,
                    std::string("the library does not load: ") + dlerror());
    void *symbol = dlsym(object, ACCEL_TORCH_MODULES_V1);
    if (!symbol)
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    "'" + path + "' offers no modules: it has no ACCEL_TORCH_MODULE");
    std::memcpy(&modules, &symbol, sizeof(modules));
    const accel::ModuleList &list = *modules();
    check_built_for(path, list.built_for);
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
