/* SPDX-License-Identifier: Apache-2.0 */
/* One step: forward, loss, backward. */
#include "module.hpp"

#include <cstring>

#include <accel/torch/amp.hpp>

using engine::Error;

namespace
{
/* Of 64 words spread over the memory: enough to see that a batch was overwritten. */
uint64_t fingerprint(const at::Tensor &tensor)
{
    enum : size_t { WORDS = 64 };
    const auto *bytes = static_cast<const unsigned char *>(tensor.data_ptr());
    size_t size = tensor.is_contiguous() ? tensor.nbytes() : 0;
    size_t stride = size / WORDS > 0 ? size / WORDS : 1;
    uint64_t print = size;

    for (size_t at = 0; at < size; at += stride) {
        uint64_t word = 0;

        std::memcpy(&word, bytes + at, size - at < sizeof(word) ? size - at : sizeof(word));
        print = (print ^ word) * 0x100000001b3u;
        print ^= print >> 29;
    }
    return print;
}

/* NULL: none is wanted. */
std::unique_ptr<accel::Autocast> autocast(accel_dtype_t dtype)
{
    return dtype == ACCEL_F32
               ? nullptr
               : std::make_unique<accel::Autocast>(accel::detail::to_scalar_type(dtype));
}

bool is_low_precision(const at::Tensor &tensor)
{
    return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
}
} // namespace

void accel_torch_module::forward(const char *method, const accel_tensor_t *inputs,
                                 int32_t num_inputs)
{
    engine::Run run;

    run_ = {}; /* the memory of the run before is for this one */
    place();
    take_prints();
    run.method = method;
    for (int32_t i = 0; i < num_inputs; i++) {
        run.inputs.push_back(engine::borrow(&inputs[i], "input " + std::to_string(i)));
        run.prints.push_back(fingerprint(run.inputs.back()));
        if (!input_grad_enabled_)
            continue;
        bool can = run.inputs.back().is_floating_point();
        run.leaves.push_back(can ? run.inputs.back().set_requires_grad(true) : at::Tensor());
    }
    run.gradients.resize(run.leaves.size());
    {
        at::AutoGradMode grad_mode(grad_enabled_);
        auto scope = autocast(autocast_);

        run.outputs = net_->call(method, run.inputs);
    }
    find_buffers();
    run.views.resize(run.outputs.size());
    run_ = std::move(run);
}

const at::Tensor &accel_torch_module::find_output(int32_t index) const
{
    if (run_.method.empty())
        throw Error(ACCEL_ERR_STATE, "there is no output: call accel_torch_forward() first");
    if (index < 0 || index >= num_outputs())
        throw Error(ACCEL_ERR_INVALID, "there is no output " + std::to_string(index) + "; " +
                                           run_.method + " gave " + std::to_string(num_outputs()));
    return run_.outputs[static_cast<size_t>(index)];
}

const accel_tensor_t *accel_torch_module::output(int32_t index)
{
    const at::Tensor &output = find_output(index);
    auto &view = run_.views[static_cast<size_t>(index)];
    at::NoGradGuard no_grad;

    if (!view)
        view = std::make_unique<accel::detail::TensorView>(
            is_low_precision(output) ? output.detach().to(at::kFloat) : output, "the output");
    return view->get();
}

const accel_tensor_t *accel_torch_module::input_gradient(int32_t index)
{
    auto count = static_cast<int32_t>(run_.leaves.size());

    if (!run_.done || count == 0)
        throw Error(ACCEL_ERR_STATE,
                    "inputs have no gradients: call accel_torch_set_input_grad_enabled() before "
                    "accel_torch_forward(), and this after accel_backward()");
    if (index < 0 || index >= count)
        throw Error(ACCEL_ERR_INVALID, "there is no input " + std::to_string(index) + "; " +
                                           run_.method + " took " + std::to_string(count));
    const at::Tensor &leaf = run_.leaves[static_cast<size_t>(index)];
    if (!leaf.defined())
        throw Error(ACCEL_ERR_INVALID,
                    "input " + std::to_string(index) + " is not of floating point");
    auto &view = run_.gradients[static_cast<size_t>(index)];
    if (!view) /* what nothing depends on has zeros */
        view = std::make_unique<accel::detail::TensorView>(
            leaf.grad().defined() ? leaf.grad() : at::zeros(leaf.sizes(), leaf.scalar_type()),
            "the gradient");
    return view->get();
}

void accel_torch_module::begin_at(const at::Tensor &loss)
{
    if (!loss.is_floating_point() || loss.numel() != 1)
        throw Error(ACCEL_ERR_INVALID, "the loss is " + engine::describe(loss) +
                                           "; expected one number of floating point");
    run_.root = loss;
    run_.root_gradient = at::Tensor();
}

double accel_torch_module::begin_at_output(int32_t index)
{
    begin_at(find_output(index));
    return run_.root.item<double>();
}

double accel_torch_module::begin_at_loss(const accel_tensor_t *target,
                                         at::Tensor (*loss)(const at::Tensor &, const at::Tensor &))
{
    at::Tensor borrowed = engine::borrow(target, "the target");
    const at::Tensor &output = find_output(0);
    at::AutoGradMode grad_mode(grad_enabled_);
    auto scope = autocast(autocast_);

    begin_at(loss(output, borrowed));
    run_.inputs.push_back(borrowed);
    run_.prints.push_back(fingerprint(borrowed));
    return run_.root.item<double>();
}

double accel_torch_module::cross_entropy(const accel_tensor_t *target)
{
    return begin_at_loss(target, [](const at::Tensor &logits, const at::Tensor &classes) {
        if (logits.dim() < 1 || logits.numel() == 0 ||
            logits.numel() / logits.size(-1) != classes.numel() ||
            classes.scalar_type() != at::kLong)
            throw Error(ACCEL_ERR_INVALID, "the target is " + engine::describe(classes) +
                                               " for logits " + engine::describe(logits) +
                                               "; expected Long, a class for each row");
        return at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}), classes.reshape({-1}));
    });
}

double accel_torch_module::mse_loss(const accel_tensor_t *target)
{
    return begin_at_loss(target, [](const at::Tensor &output, const at::Tensor &values) {
        if (output.sizes() != values.sizes() || !values.is_floating_point())
            throw Error(ACCEL_ERR_INVALID, "the target is " + engine::describe(values) +
                                               "; expected the output's " +
                                               engine::describe(output));
        return at::mse_loss(output, values);
    });
}

void accel_torch_module::set_output_gradient(int32_t index, const accel_tensor_t *gradient)
{
    const at::Tensor &output = find_output(index);
    at::Tensor borrowed = engine::borrow(gradient, "the gradient");

    if (output.sizes() != borrowed.sizes() || !borrowed.is_floating_point())
        throw Error(ACCEL_ERR_INVALID, "the gradient is " + engine::describe(borrowed) +
                                           "; expected that of the output, " +
                                           engine::describe(output));
    run_.root = output;
    run_.root_gradient = borrowed;
}

void accel_torch_module::check_inputs() const
{
    for (size_t i = 0; i < run_.inputs.size(); i++)
        if (fingerprint(run_.inputs[i]) != run_.prints[i])
            throw Error(ACCEL_ERR_STATE,
                        "tensor " + std::to_string(i) +
                            " of the step (inputs, then targets) was overwritten between forward "
                            "and backward, which computes with it; use two batches by turns "
                            "(keep_batches = 2)");
}

void accel_torch_module::backward(double scale)
{
    if (run_.done)
        throw Error(ACCEL_ERR_STATE,
                    "there was a backward already: call accel_torch_forward() first");
    if (!run_.root.defined())
        begin_at(find_output(0));
    if (!run_.root.requires_grad())
        throw Error(ACCEL_ERR_STATE,
                    "nothing that backward reaches is trained: were gradients off, "
                    "or is every parameter frozen?");
    check_inputs();
    place();
    check_prints();
    begin_gradients();
    at::Tensor root = std::move(run_.root), gradient = std::move(run_.root_gradient);
    gradient = gradient.defined() ? gradient.to(root.scalar_type()) : at::ones_like(root);
    run_.inputs.clear(); /* nobody computes with them any more */
    run_.prints.clear();
    for (at::Tensor &output : run_.outputs)
        output = output.detach(); /* it can still be read, and what backward needed goes */
    run_.done = true;
    root.backward(scale == 1 ? gradient : gradient * scale);
}

void accel_torch_module::set_autocast(accel_dtype_t dtype)
{
    if (dtype != ACCEL_F32 && dtype != ACCEL_BF16 && dtype != ACCEL_F16)
        throw Error(ACCEL_ERR_INVALID, std::string("the type is ") + accel_dtype_name(dtype) +
                                           "; expected float32, bfloat16 or float16");
    autocast(dtype); /* can this libtorch? */
    autocast_ = dtype;
}
