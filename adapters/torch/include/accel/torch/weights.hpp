/* SPDX-License-Identifier: Apache-2.0 */
/* A module's weights in safetensors files, under the names that Python's state_dict has. */
#ifndef ACCEL_TORCH_WEIGHTS_HPP
#define ACCEL_TORCH_WEIGHTS_HPP

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

#include <accel/safetensors.h>
#include <accel/torch/heap.hpp>
#include <accel/torch/tensor.hpp>

namespace accel
{
namespace detail
{
/* A parameter or buffer: of several names if layers share it ("tied"). */
struct Weight {
    std::vector<std::string> names;
    at::Tensor tensor;
    bool buffer;
};
using Weights = std::vector<Weight>;

/* torch lists a tensor once for each layer that has it. */
inline Weights weights_of(const torch::nn::Module &module)
{
    std::unordered_map<const c10::TensorImpl *, size_t> seen;
    Weights weights;
    auto add = [&](const auto &items, bool buffer) {
        for (const auto &item : items) {
            const at::Tensor &tensor = item.value();

            if (!tensor.defined())
                continue;
            auto [at, fresh] = seen.try_emplace(tensor.unsafeGetTensorImpl(), weights.size());
            if (fresh)
                weights.push_back({{item.key()}, tensor, buffer});
            else
                weights[at->second].names.push_back(item.key());
        }
    };

    add(module.named_parameters(), false);
    add(module.named_buffers(), true);
    return weights;
}

/* As safetensors.torch.save_model writes them: tied ones once, under the name that sorts first,
 * with the others in the metadata. */
inline void write_weights(const std::string &path, const Weights &weights)
{
    std::vector<std::unique_ptr<TensorView>> views;
    std::vector<accel_named_tensor_t> named;
    std::vector<const char *> metadata{"format", "pt"}, bools;
    auto options = accel_safetensors_options_init();

    for (const Weight &weight : weights) {
        const std::string &name = *std::min_element(weight.names.begin(), weight.names.end());

        views.push_back(std::make_unique<TensorView>(weight.tensor, name.c_str()));
        named.push_back({name.c_str(), views.back()->get()});
        if (weight.tensor.scalar_type() == at::kBool)
            bools.push_back(name.c_str());
        for (const std::string &other : weight.names)
            if (other != name)
                metadata.insert(metadata.end(), {other.c_str(), name.c_str()});
    }
    metadata.push_back(nullptr);
    bools.push_back(nullptr);
    options.metadata = metadata.data();
    options.bools = bools.data();
    check(accel_safetensors_save(path.c_str(), named.data(), static_cast<int64_t>(named.size()),
                                 &options));
}

/* A file of weights, whose tensors are views that end with it. */
class WeightsFile
{
public:
    explicit WeightsFile(const std::string &path)
    {
        check(accel_safetensors_open(path.c_str(), &file_));
        for (int64_t i = 0; i < accel_safetensors_num_tensors(file_); i++)
            names_.insert(accel_safetensors_name(file_, i));
    }
    ~WeightsFile() { accel_safetensors_close(file_); }
    WeightsFile(const WeightsFile &) = delete;
    WeightsFile &operator=(const WeightsFile &) = delete;

    /* All parameters must be there, in their dtypes and shapes; of buffers, which are converted,
     * those that are. Undefined: it is not there. */
    std::vector<at::Tensor> find(const Weights &weights) const
    {
        std::vector<at::Tensor> found;

        for (const Weight &weight : weights)
            found.push_back(find(weight));
        return found;
    }

    accel_safetensors_t *release() { return std::exchange(file_, nullptr); }

private:
    at::Tensor find(const Weight &weight) const
    {
        for (const std::string &name : weight.names) {
            const char *first = accel_safetensors_metadata(file_, name.c_str()); /* if tied there */

            if (names_.count(name))
                return fitting(name, weight);
            if (first && names_.count(first))
                return fitting(first, weight);
        }
        if (!weight.buffer)
            throw Error(ACCEL_ERR_NOT_FOUND,
                        "parameter '" + weight.names[0] + "' is not in the file");
        return at::Tensor();
    }

    at::Tensor fitting(const std::string &name, const Weight &weight) const
    {
        const accel_tensor_t *tensor;

        check(accel_safetensors_tensor(file_, name.c_str(), &tensor));
        at::IntArrayRef shape(tensor->shape, static_cast<size_t>(tensor->ndim));
        at::Tensor found = at::from_blob(tensor->data, shape, to_scalar_type(tensor->dtype));
        if (found.sizes() != weight.tensor.sizes() ||
            (found.scalar_type() != weight.tensor.scalar_type() && !weight.buffer))
            throw Error(ACCEL_ERR_MISMATCH, "'" + name + "' is " + describe(found) +
                                                " in the file; expected " +
                                                describe(weight.tensor));
        return found;
    }

    accel_safetensors_t *file_ = nullptr;
    std::unordered_set<std::string> names_;
};

/* Nothing is written unless everything fits. */
inline void read_weights(const std::string &path, const Weights &weights)
{
    WeightsFile file(path);
    std::vector<at::Tensor> found = file.find(weights);
    at::NoGradGuard no_grad;

    for (size_t i = 0; i < weights.size(); i++)
        if (found[i].defined())
            weights[i].tensor.detach().copy_(found[i]);
}
} // namespace detail

/* safetensors.torch.save_model: parameters and buffers of the module, for load_model in Python and
 * for load_weights() here. Local: of a prepared module call Accelerator::save_weights(), or this on
 * one process. */
inline void save_weights(const torch::nn::Module &module, const std::string &path)
{
    detail::write_weights(path, detail::weights_of(module));
}

/* safetensors.torch.load_model, into the module's own memory: all parameters must be there, of
 * equal dtypes and shapes; buffers may be missing, and others in the file are ignored. Tied ones
 * are found under any of their names. Local. Into a prepared module: Accelerator::load_weights().
 */
inline void load_weights(torch::nn::Module &module, const std::string &path)
{
    detail::read_weights(path, detail::weights_of(module));
}

/* The same for inference, without a copy: the parameters are where the file is mapped, read-only,
 * one copy in memory for all processes of the host, and are frozen; the memory that they had is
 * given back. Buffers are copied. The file must stay as it is: put a new one in its place by
 * renaming. Local; not for a prepared module. */
inline void map_weights(torch::nn::Module &module, const std::string &path)
{
    auto file = std::make_shared<detail::WeightsFile>(path);
    detail::Weights weights = detail::weights_of(module);
    std::vector<at::Tensor> found = file->find(weights);
    at::NoGradGuard no_grad;

    for (size_t i = 0; i < weights.size(); i++) {
        at::Tensor &tensor = weights[i].tensor;

        if (weights[i].buffer) {
            if (found[i].defined())
                tensor.copy_(found[i]);
            continue;
        }
        tensor.set_requires_grad(false);
        auto keep = [file](void *) {}; /* until the last tensor goes */
        tensor.set_data(
            at::from_blob(found[i].data_ptr(), found[i].sizes(), keep, found[i].options()));
    }
    detail::give_back_freed_memory();
}
} // namespace accel

#endif
