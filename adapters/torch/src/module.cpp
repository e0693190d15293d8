/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a module's tensors, and what changes it before there is a model. */
#include "module.hpp"

#include <unordered_map>

#include <fnmatch.h>

using engine::Block;
using engine::Error;

namespace engine
{
at::Tensor borrow(const accel_tensor_t *tensor, const std::string &what)
{
    if (!tensor)
        throw Error(ACCEL_ERR_INVALID, what + " is NULL");
    int64_t count = accel_tensor_numel(tensor);
    if (accel_dtype_size(tensor->dtype) == 0 || count < 0 || (count > 0 && !tensor->data))
        throw Error(ACCEL_ERR_INVALID, what + " is no valid view: its dtype, shape or data is not");
    if (tensor->device.type != ACCEL_CPU)
        throw Error(ACCEL_ERR_UNSUPPORTED, what + " is not in CPU memory");
    auto ndim = static_cast<size_t>(tensor->ndim);
    auto options = at::TensorOptions().dtype(accel::detail::to_scalar_type(tensor->dtype));
    at::IntArrayRef shape(tensor->shape, ndim);
    void *data = static_cast<char *>(tensor->data) + tensor->byte_offset;

    if (count == 0)
        return at::empty(shape, options);
    return tensor->strides
               ? at::from_blob(data, shape, at::IntArrayRef(tensor->strides, ndim), options)
               : at::from_blob(data, shape, options);
}
} // namespace engine

accel_torch_module::accel_torch_module(std::unique_ptr<engine::Net> net, std::string name,
                                       const accel_torch_options_t &options)
    : name_(std::move(name)), bucket_cap_mb_(options.bucket_cap_mb), net_(std::move(net))
{
    collect();
}

accel_torch_module::~accel_torch_module()
{
    run_ = {};
    accel_model_destroy(model_); /* copies values back: before their memory goes */
    blocks_.clear();
    net_.reset();
    accel_safetensors_close(weights_);
}

void accel_torch_module::add(const std::string &name, const at::Tensor &tensor,
                             accel_parameter_kind_t kind)
{
    Block block;

    accel::detail::check_cpu(tensor, "'" + name + "'");
    block.names = {name};
    block.tensor = tensor;
    block.kind = kind;
    block.shape = tensor.sizes().vec();
    if (!accel::detail::to_dtype(tensor.scalar_type(), &block.dtype) ||
        block.shape.size() > ACCEL_MAX_NDIM) { /* what is not computed with is bytes */
        block.shape = {static_cast<int64_t>(tensor.nbytes())};
        block.dtype = ACCEL_U8;
    }
    block.value = block.placed = tensor.data_ptr();
    blocks_.push_back(std::move(block));
}

/* TorchScript lists a tensor once for each layer that has it. */
void accel_torch_module::collect()
{
    std::unordered_map<const c10::TensorImpl *, size_t> seen;
    auto add_all = [&](const engine::NamedTensors &list, bool buffers) {
        for (const auto &[name, tensor] : list) {
            auto [at, fresh] = seen.try_emplace(tensor.unsafeGetTensorImpl(), blocks_.size());

            if (!fresh)
                blocks_[at->second].names.push_back(name);
            else if (buffers)
                add(name, tensor, ACCEL_BUFFER);
            else
                add(name, tensor, tensor.requires_grad() ? ACCEL_TRAINABLE : ACCEL_FROZEN);
        }
    };

    add_all(net_->parameters(), false);
    num_parameters_ = blocks_.size();
    add_all(net_->buffers(), true);
}

/* A module may replace a buffer instead of writing into it. */
void accel_torch_module::find_buffers()
{
    if (blocks_.size() == num_parameters_)
        return;
    engine::NamedTensors buffers = net_->buffers();
    size_t at = 0;

    for (size_t i = num_parameters_; i < blocks_.size(); i++) {
        Block &block = blocks_[i];

        while (at < buffers.size() && buffers[at].first != block.names[0])
            at++;
        if (at == buffers.size())
            throw Error(ACCEL_ERR_STATE, "buffer '" + block.names[0] + "' is gone");
        if (buffers[at].second.nbytes() != block.tensor.nbytes())
            throw Error(ACCEL_ERR_UNSUPPORTED, "buffer '" + block.names[0] + "' became " +
                                                   engine::describe(buffers[at].second) +
                                                   "; it was " + engine::describe(block.tensor));
        block.tensor = buffers[at].second.contiguous();
        block.value = block.placed = block.tensor.data_ptr();
    }
}

void accel_torch_module::refuse_prepared(const char *why) const
{
    if (model_)
        throw Error(ACCEL_ERR_STATE, std::string("the module has a model by now: ") + why +
                                         " before accel_torch_model()");
    if (weights_)
        throw Error(ACCEL_ERR_STATE, std::string("the module's parameters are mapped by now: ") +
                                         why + " before accel_torch_map_weights()");
}

void accel_torch_module::to(at::ScalarType type)
{
    refuse_prepared("cast");
    if (!at::isFloatingType(type))
        throw Error(ACCEL_ERR_INVALID, std::string("the type is ") + toString(type) +
                                           "; expected a floating-point type");
    at::NoGradGuard no_grad;
    for (Block &block : blocks_) {
        if (!block.tensor.is_floating_point())
            continue;
        block.tensor.set_data(block.tensor.detach().to(type));
        block.value = block.placed = block.tensor.data_ptr();
        accel::detail::to_dtype(type, &block.dtype);
    }
}

void accel_torch_module::requires_grad(const char *pattern, bool requires_grad)
{
    bool found = false;

    refuse_prepared("freeze");
    for (size_t i = 0; i < num_parameters_; i++)
        for (const std::string &name : blocks_[i].names) {
            if (fnmatch(pattern, name.c_str(), 0) != 0)
                continue;
            blocks_[i].tensor.set_requires_grad(requires_grad);
            blocks_[i].kind = requires_grad ? ACCEL_TRAINABLE : ACCEL_FROZEN;
            found = true;
        }
    if (!found)
        throw Error(ACCEL_ERR_NOT_FOUND,
                    std::string("no parameter's name matches '") + pattern + "'");
}
