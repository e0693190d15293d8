/* SPDX-License-Identifier: Apache-2.0 */
/* A call when a parameter's gradient has been accumulated. */
#ifndef ACCEL_TORCH_HOOK_HPP
#define ACCEL_TORCH_HOOK_HPP

#include <functional>
#include <memory>
#include <utility>

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <accel/torch/version.hpp>

namespace accel
{
namespace detail
{
/* There for as long as this is. What `ready` throws comes out of the backward. It is not called for
 * a parameter that autograd reaches with an undefined gradient, which leaves it as it was. */
class GradientHook
{
public:
    using Ready = std::function<void()>;

#if ACCEL_TORCH_HAS_POST_ACC_GRAD_HOOKS
    GradientHook(const at::Tensor &tensor, Ready ready) : tensor_(tensor)
    {
        auto &place = torch::autograd::impl::post_acc_grad_hooks(tensor_);
        auto call = std::make_unique<Call>(std::move(ready), std::move(place));

        call_ = call.get();
        torch::autograd::impl::set_post_acc_grad_hooks(tensor_, std::move(call));
    }
    ~GradientHook()
    {
        auto *place = &torch::autograd::impl::post_acc_grad_hooks(tensor_);

        while (place->get() != call_) { /* one that came later has it as its next */
            auto *later = dynamic_cast<Call *>(place->get());

            if (!later) /* somebody else's took the place */
                return;
            place = &later->next;
        }
        *place = std::move(call_->next);
    }

    /* A backward begins: the gradient as it is now is no news. */
    void begin()
    {
        if (torch::autograd::impl::post_acc_grad_hooks(tensor_).get() == call_)
            (void)call_->is_new(tensor_.grad());
    }

private:
    using Base = torch::autograd::PostAccumulateGradHook;

    struct Call : Base {
        Call(Ready first, std::unique_ptr<Base> second)
            : ready(std::move(first)), next(std::move(second))
        {
        }
        void operator()(const torch::autograd::Variable &tensor) override
        {
            if (next)
                (*next)(tensor);
            if (!is_new(tensor.grad()))
                return;
            ready();
            (void)is_new(tensor.grad()); /* as it was left there */
        }
        /* Since the last time: what is accumulated is another tensor, or another version of it. */
        bool is_new(const at::Tensor &gradient)
        {
            auto before = std::make_pair(gradient_, version_);

            gradient_ = gradient.defined() ? gradient.unsafeGetTensorImpl() : nullptr;
            version_ = gradient.defined() ? gradient._version() : 0;
            return before != std::make_pair(gradient_, version_);
        }
        Ready ready;
        std::unique_ptr<Base> next; /* one that was there before: a tensor has place for one */

    private:
        const c10::TensorImpl *gradient_ = nullptr;
        int64_t version_ = 0;
    };

    at::Tensor tensor_;
    Call *call_; /* the tensor's */
#else
    GradientHook(const at::Tensor &tensor, Ready ready)
        : accumulator_(torch::autograd::impl::grad_accumulator(tensor)),
          key_(accumulator_->add_post_hook(std::make_unique<Call>(std::move(ready))))
    {
    }
    ~GradientHook()
    {
        accumulator_->del_post_hook(key_);
    }

    void begin() {} /* here the hook is told */

private:
    struct Call : torch::autograd::FunctionPostHook {
        explicit Call(Ready call) : ready(std::move(call)) {}
        torch::autograd::variable_list
        operator()(const torch::autograd::variable_list &outputs,
                   const torch::autograd::variable_list &gradients) override
        {
            if (!gradients.empty() && gradients[0].defined())
                ready();
            return outputs;
        }
        Ready ready;
    };

    /* The tensor holds it weakly: without this the hook would go. */
    std::shared_ptr<torch::autograd::Node> accumulator_;
    uintptr_t key_;
#endif

public:
    GradientHook(const GradientHook &) = delete;
    GradientHook &operator=(const GradientHook &) = delete;
};
} // namespace detail
} // namespace accel

#endif
