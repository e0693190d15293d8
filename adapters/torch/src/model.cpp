/* SPDX-License-Identifier: Apache-2.0 */
/* A module as the library's model: where its values and gradients lie.
 *
 * Values and gradients first move to pages of the engine's own, which are what the library restores
 * to. accel_prepare() re-points `value` and `slot` into the arena and tells nobody: the next call
 * sees it, lets the tensors follow, and gives the memory of the own pages back, which the library's
 * copy at the end fills again. */
#include "module.hpp"

#include <sys/mman.h>

#include <accel/torch/heap.hpp>

using engine::Block;
using engine::Error;

namespace engine
{
Pages::~Pages()
{
    if (data_)
        (void)munmap(data_, size_);
}

void Pages::reserve(size_t size)
{
    void *memory = mmap(nullptr, size + 1, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        throw Error(ACCEL_ERR_NO_MEMORY,
                    "out of memory: a module's parameters (" + std::to_string(size) + " bytes)");
    data_ = static_cast<char *>(memory);
    size_ = size + 1;
}

void Pages::release_memory() const
{
    if (data_)
        (void)madvise(data_, size_, MADV_DONTNEED);
}

bool Pages::holds(const void *address) const
{
    auto at = reinterpret_cast<uintptr_t>(address), begin = reinterpret_cast<uintptr_t>(data_);

    return at >= begin && at - begin < size_;
}

namespace
{
at::Tensor view(const Block &block, void *data)
{
    return at::from_blob(data, block.tensor.sizes(),
                         at::TensorOptions().dtype(block.tensor.scalar_type()));
}

accel_status_t run_backward(void *context, double scale)
{
    return guarded("backward",
                   [&] { static_cast<accel_torch_module *>(context)->backward(scale); });
}
} // namespace
} // namespace engine

accel_model_t *accel_torch_module::model()
{
    if (weights_)
        throw Error(ACCEL_ERR_STATE, "the parameters are mapped read-only from a file; load them "
                                     "by accel_torch_load_weights() to train");
    if (!model_)
        make_model();
    return model_;
}

void accel_torch_module::make_model()
{
    accel_model_options_t options = accel_model_options_init();

    for (const Block &block : blocks_)
        if (block.kind == ACCEL_TRAINABLE && block.dtype != ACCEL_F32 && block.dtype != ACCEL_F64)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "parameter '" + block.names[0] + "' is " + engine::describe(block.tensor) +
                            "; expected Float or Double to be trained: accel_torch_to(), or "
                            "accel_torch_requires_grad() to freeze it");
    options.backward = engine::run_backward;
    options.context = this;
    options.bucket_cap_mb = bucket_cap_mb_;
    options.find_unused_parameters = true;
    engine::check(accel_model_create(&options, &model_));
    try {
        if (!values_.data())
            own_memory();
        register_blocks();
    } catch (...) {
        accel_model_destroy(model_);
        model_ = nullptr;
        throw;
    }
}

/* One after the other, so that no second copy of all is ever there. */
void accel_torch_module::own_memory()
{
    enum : size_t { ALIGNMENT = 64 };
    size_t size = 0, at = 0;
    auto padded = [](const Block &block) {
        return (block.tensor.nbytes() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    };
    at::NoGradGuard no_grad;

    for (size_t i = 0; i < num_parameters_; i++)
        size += padded(blocks_[i]);
    values_.reserve(size);
    gradients_.reserve(size);
    for (size_t i = 0; i < num_parameters_; i++) {
        Block &block = blocks_[i];
        at::Tensor own = engine::view(block, values_.data() + at);

        own.copy_(block.tensor.detach());
        block.tensor.set_data(own);
        block.value = block.placed = values_.data() + at;
        block.slot = gradients_.data() + at;
        at += padded(block);
    }
    accel::detail::give_back_freed_memory();
}

void accel_torch_module::register_blocks()
{
    for (size_t i = 0; i < blocks_.size(); i++) {
        Block &block = blocks_[i];
        const char *name = block.names[0].c_str();
        auto ndim = static_cast<int32_t>(block.shape.size());

        if (block.kind == ACCEL_TRAINABLE)
            engine::check(accel_model_add(model_, name, block.dtype, ndim, block.shape.data(),
                                          &block.value, &block.slot));
        else if (block.kind == ACCEL_FROZEN)
            engine::check(accel_model_add_frozen(model_, name, block.dtype, ndim,
                                                 block.shape.data(), &block.value));
        else
            engine::check(accel_model_add_buffer(model_, name, block.dtype, ndim,
                                                 block.shape.data(), &block.value));
        if (block.kind == ACCEL_TRAINABLE)
            block.hook = std::make_unique<accel::detail::GradientHook>(
                block.tensor, [this, i] { ready(blocks_[i], static_cast<int64_t>(i)); });
    }
}

bool accel_torch_module::is_prepared() const
{
    for (size_t i = 0; i < num_parameters_; i++)
        if (model_ && blocks_[i].tensor.numel() > 0)
            return !values_.holds(blocks_[i].value);
    return false;
}

void accel_torch_module::place(Block &block) const
{
    if (block.value != block.placed) { /* the library has moved it */
        block.tensor.set_data(engine::view(block, block.value));
        block.placed = block.value;
    } else if (block.tensor.data_ptr() != block.placed) {
        throw Error(ACCEL_ERR_STATE, "parameter '" + block.names[0] +
                                         "' was moved or cast by the module after it was listed");
    }
}

/* A gradient that left its slot goes back. */
void accel_torch_module::place_gradient(Block &block) const
{
    at::Tensor &grad = block.tensor.mutable_grad();

    if (block.slot != block.placed_slot) {
        block.gradient = engine::view(block, block.slot);
        block.placed_slot = block.slot;
        grad = block.gradient;
        return;
    }
    if (!grad.defined() || grad.data_ptr() == block.slot)
        return;
    block.gradient.copy_(grad.is_sparse() ? grad.to_dense() : grad);
    grad = block.gradient;
}

/* Before autograd adds to them: what the module has set to none is zero. */
void accel_torch_module::begin_gradients()
{
    at::NoGradGuard no_grad;

    for (Block &block : blocks_) {
        if (block.gradient.defined() && !block.tensor.grad().defined()) {
            block.gradient.zero_();
            block.tensor.mutable_grad() = block.gradient;
        }
        if (block.hook)
            block.hook->begin();
    }
}

void accel_torch_module::take_prints()
{
    for (Block &block : blocks_)
        if (block.kind == ACCEL_TRAINABLE)
            block.print = accel::detail::fingerprint(block.tensor);
}

/* The library writes the values past torch, which therefore cannot tell. */
void accel_torch_module::check_prints() const
{
    for (const Block &block : blocks_)
        if (block.kind == ACCEL_TRAINABLE &&
            block.print != accel::detail::fingerprint(block.tensor))
            throw Error(ACCEL_ERR_STATE,
                        "parameter '" + block.names[0] +
                            "' was updated between forward and backward, which computes with the "
                            "values of the forward; step after the backward");
}

void accel_torch_module::place()
{
    if (!model_ && !weights_)
        return;
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < num_parameters_; i++) {
        if (blocks_[i].tensor.numel() == 0)
            continue;
        place(blocks_[i]);
        if (blocks_[i].kind == ACCEL_TRAINABLE)
            place_gradient(blocks_[i]);
    }
    bool in_arena = is_prepared();
    if (in_arena && !in_arena_) {
        values_.release_memory();
        gradients_.release_memory();
    }
    in_arena_ = in_arena;
}

void accel_torch_module::ready(Block &block, int64_t index)
{
    at::NoGradGuard no_grad;

    if (!run_.done)
        throw Error(ACCEL_ERR_STATE, "parameter '" + block.names[0] +
                                         "' was given a gradient outside of accel_backward(): "
                                         "does the module call backward() by itself?");
    place_gradient(block);
    engine::check(accel_grad_ready(model_, index));
}
