/* SPDX-License-Identifier: Apache-2.0 */
/* TorchScript archives. */
#include "net.hpp"

#include <cstring>
#include <fstream>

#include <unistd.h>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>
#include <torch/csrc/jit/serialization/import.h>

#include "guard.hpp"
#include "mapped_archive.hpp"

namespace engine
{
namespace
{
/* TorchScript's switch is a thread's. */
class GraphOptimization
{
public:
    explicit GraphOptimization(bool on) : before_(torch::jit::getGraphExecutorOptimize())
    {
        torch::jit::setGraphExecutorOptimize(on);
    }
    ~GraphOptimization() { torch::jit::setGraphExecutorOptimize(before_); }
    GraphOptimization(const GraphOptimization &) = delete;
    GraphOptimization &operator=(const GraphOptimization &) = delete;

private:
    bool before_;
};

/* A tensor of one element where the method wants a number. */
c10::IValue as_argument(const at::Tensor &input, const c10::Argument &argument)
{
    c10::TypePtr type = argument.type();

    if (auto optional = type->cast<c10::OptionalType>())
        type = optional->getElementType();
    if (input.numel() != 1)
        return input;
    switch (type->kind()) {
    case c10::TypeKind::IntType:
        return input.item<int64_t>();
    case c10::TypeKind::FloatType:
        return input.item<double>();
    case c10::TypeKind::BoolType:
        return input.item<bool>();
    default:
        return input;
    }
}

/* Tensors and numbers, in order, out of whatever holds them. */
void flatten(const c10::IValue &value, Tensors &outputs)
{
    if (value.isTensor()) {
        outputs.push_back(value.toTensor());
    } else if (value.isDouble()) {
        outputs.push_back(at::scalar_tensor(value.toDouble(), at::kDouble));
    } else if (value.isInt()) {
        outputs.push_back(at::scalar_tensor(value.toInt(), at::kLong));
    } else if (value.isBool()) {
        outputs.push_back(at::scalar_tensor(value.toBool(), at::kBool));
    } else if (value.isTuple()) {
        for (const auto &element : value.toTupleRef().elements())
            flatten(element, outputs);
    } else if (value.isList()) {
        for (const c10::IValue &element : value.toListRef())
            flatten(element, outputs);
    } else if (value.isGenericDict()) {
        for (const auto &item : value.toGenericDict())
            flatten(item.value(), outputs);
    } else if (!value.isNone()) {
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    "the method gives a " + value.tagKind() +
                        "; expected tensors, numbers, or tuples, lists and dictionaries of them");
    }
}

class ScriptNet : public Net
{
public:
    ScriptNet(torch::jit::Module module, bool jit_optimize)
        : module_(std::move(module)), jit_optimize_(jit_optimize)
    {
    }

    NamedTensors parameters() const override
    {
        NamedTensors list;

        for (const auto &item : module_.named_parameters())
            list.emplace_back(item.name, item.value);
        return list;
    }

    NamedTensors buffers() const override
    {
        NamedTensors list;

        for (const auto &item : module_.named_buffers())
            list.emplace_back(item.name, item.value);
        return list;
    }

    void train(bool training) override { module_.train(training); }

    Tensors call(const std::string &name, const Tensors &inputs) override
    {
        GraphOptimization optimization(jit_optimize_);
        auto method = module_.find_method(name);
        std::vector<c10::IValue> stack;
        Tensors outputs;

        if (!method)
            throw Error(ACCEL_ERR_NOT_FOUND, "the module has no method '" + name + "'");
        const auto &arguments = method->function().getSchema().arguments();
        for (size_t i = 0; i < inputs.size(); i++) /* the module itself is argument 0 */
            stack.push_back(i + 1 < arguments.size() ? as_argument(inputs[i], arguments[i + 1])
                                                     : c10::IValue(inputs[i]));
        flatten((*method)(std::move(stack)), outputs);
        return outputs;
    }

    void save(const std::string &path) const override { module_.save(path); }

private:
    mutable torch::jit::Module module_; /* its lists are not const */
    bool jit_optimize_;
};

/* What else a file is that people take for an archive; libtorch's text says what it missed. */
std::string what_it_is(const std::string &path, const std::string &text)
{
    char head[9] = "";

    std::ifstream(path, std::ios::binary).read(head, sizeof(head));
    if (head[8] == '{')
        return "it is a safetensors file, which accel_torch_load_weights() reads";
    if (text.find("constants.pkl") != std::string::npos)
        return "torch.save() wrote it, which leaves the program out; in Python: "
               "torch.jit.script(model).save(path)";
    if (std::strncmp(head, "PK", 2) == 0 && text.find("central directory") != std::string::npos)
        return "it is cut off or damaged: a zip file without its directory, which is at the end";
    return text;
}
} // namespace

std::unique_ptr<Net> load_script(const std::string &path, bool jit_optimize, bool mmap)
{
    if (access(path.c_str(), R_OK) != 0)
        throw Error(ACCEL_ERR_NOT_FOUND, "'" + path + "': there is no file that can be read");
    try {
        return std::make_unique<ScriptNet>(
            mmap ? load_mapped(path) : torch::jit::load(path, at::kCPU), jit_optimize);
    } catch (const Error &) {
        throw;
    } catch (const std::exception &error) {
        throw Error(ACCEL_ERR_FORMAT,
                    "'" + path + "' is no TorchScript archive of this libtorch: " +
                        what_it_is(path, one_line(accel::detail::text_of(error))));
    }
}
} // namespace engine
