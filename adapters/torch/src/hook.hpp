/* SPDX-License-Identifier: Apache-2.0 */
/* A call when a parameter's gradient has been accumulated. What it throws comes out of backward. */
#ifndef ACCEL_TORCH_SRC_HOOK_HPP
#define ACCEL_TORCH_SRC_HOOK_HPP

#include <functional>
#include <memory>
#include <utility>

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <accel/torch/version.hpp>

namespace engine
{
/* There for as long as this is. */
class Hook
{
public:
    using Ready = std::function<void()>;

#if ACCEL_TORCH_HAS_POST_ACC_GRAD_HOOKS
    Hook(const at::Tensor &tensor, Ready ready) : tensor_(tensor)
    {
        torch::autograd::impl::set_post_acc_grad_hooks(tensor_,
                                                       std::make_unique<Call>(std::move(ready)));
    }
    ~Hook()
    {
        torch::autograd::impl::set_post_acc_grad_hooks(tensor_, nullptr);
    }

private:
    struct Call : torch::autograd::PostAccumulateGradHook {
        explicit Call(Ready ready) : ready_(std::move(ready)) {}
        void operator()(const torch::autograd::Variable &) override { ready_(); }
        Ready ready_;
    };

    at::Tensor tensor_;
#else
    Hook(const at::Tensor &tensor, Ready ready)
        : accumulator_(torch::autograd::impl::grad_accumulator(tensor)),
          key_(accumulator_->add_post_hook(std::make_unique<Call>(std::move(ready))))
    {
    }
    ~Hook()
    {
        accumulator_->del_post_hook(key_);
    }

private:
    struct Call : torch::autograd::FunctionPostHook {
        explicit Call(Ready ready) : ready_(std::move(ready)) {}
        torch::autograd::variable_list operator()(const torch::autograd::variable_list &outputs,
                                                  const torch::autograd::variable_list &) override
        {
            ready_();
            return outputs;
        }
        Ready ready_;
    };

    /* The tensor holds it weakly: without this the hook would go. */
    std::shared_ptr<torch::autograd::Node> accumulator_;
    uintptr_t key_;
#endif

public:
    Hook(const Hook &) = delete;
    Hook &operator=(const Hook &) = delete;
};
} // namespace engine

#endif
