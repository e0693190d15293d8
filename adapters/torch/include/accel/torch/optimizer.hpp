/* SPDX-License-Identifier: Apache-2.0 */
/* torch::optim optimizers whose step, once prepared, is the library's: fused with the reduction,
 * each process updating its own slice. */
#ifndef ACCEL_TORCH_OPTIMIZER_HPP
#define ACCEL_TORCH_OPTIMIZER_HPP

#include <memory>
#include <optional>
#include <tuple>

#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <accel/optimizer.h>
#include <accel/torch/model.hpp>

namespace accel
{
namespace detail
{
/* What an optimizer of ours is to Accelerator::prepare(). */
class Fusable
{
public:
    virtual ~Fusable() = default;
    virtual void bind(Model &model, accel_t *accelerator) = 0;
};

/* The library's zero is "default". */
inline double or_zero(double value)
{
    return value == 0 ? ACCEL_ZERO : value;
}

inline accel_status_t create(accel_model_t *model, const torch::optim::AdamWOptions &from,
                             accel_optimizer_t **optimizer)
{
    accel_adamw_options_t options = accel_adamw_options_init();

    if (from.amsgrad())
        throw Error(ACCEL_ERR_UNSUPPORTED, "accel::AdamW: amsgrad is not fused; use "
                                           "torch::optim::AdamW");
    options.beta1 = or_zero(std::get<0>(from.betas()));
    options.beta2 = or_zero(std::get<1>(from.betas()));
    options.eps = or_zero(from.eps());
    options.weight_decay = or_zero(from.weight_decay());
    return accel_adamw_create(model, &options, optimizer);
}

inline accel_status_t create(accel_model_t *model, const torch::optim::SGDOptions &from,
                             accel_optimizer_t **optimizer)
{
    accel_sgd_options_t options = accel_sgd_options_init();

    options.momentum = from.momentum();
    options.dampening = from.dampening();
    options.weight_decay = from.weight_decay();
    options.nesterov = from.nesterov();
    return accel_sgd_create(model, &options, optimizer);
}

/* But for the learning rate, which may change from step to step. */
inline bool same_options(const torch::optim::AdamWOptions &a, const torch::optim::AdamWOptions &b)
{
    return a.betas() == b.betas() && a.eps() == b.eps() && a.weight_decay() == b.weight_decay() &&
           a.amsgrad() == b.amsgrad();
}

inline bool same_options(const torch::optim::SGDOptions &a, const torch::optim::SGDOptions &b)
{
    return a.momentum() == b.momentum() && a.dampening() == b.dampening() &&
           a.weight_decay() == b.weight_decay() && a.nesterov() == b.nesterov();
}

/* Until it is prepared it is its base. */
template <typename Base, typename Options> class Fused : public Base, public Fusable
{
public:
    using Base::Base;

    torch::Tensor step(torch::optim::Optimizer::LossClosure closure = nullptr) override
    {
        auto optimizer = optimizer_.lock();
        torch::Tensor loss;

        if (!optimizer)
            return Base::step(std::move(closure));
        if (closure) {
            at::AutoGradMode enable_grad(true);
            loss = closure();
        }
        check_options();
        check(accel_optimizer_set_lr(optimizer.get(), options().lr()));
        check(accel_optimizer_step(optimizer.get()));
        return loss;
    }

    void zero_grad()
    {
        auto optimizer = optimizer_.lock();

        if (optimizer)
            check(accel_optimizer_zero_grad(optimizer.get()));
        else
            Base::zero_grad();
    }

    /* Updates made since prepare. */
    int64_t num_steps() const { return accel_optimizer_num_steps(optimizer_.lock().get()); }

private:
    const Options &options() const
    {
        return static_cast<const Options &>(this->param_groups()[0].options());
    }

    void bind(Model &model, accel_t *accelerator) override
    {
        accel_optimizer_t *made = nullptr;

        check_parameters(model);
        check(create(model.get(), options(), &made));
        std::shared_ptr<accel_optimizer_t> optimizer(made, accel_optimizer_destroy);
        check(accel_optimizer_set_lr(made, options().lr()));
        check(accel_prepare_optimizer(accelerator, made));
        bound_ = options();
        optimizer_ = optimizer;
        model.bind(std::move(optimizer));
    }

    void check_parameters(const Model &model) const
    {
        if (this->param_groups().size() != 1)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: an optimizer of several parameter groups is not fused; use that of "
                        "torch::optim");
        for (const auto &p : model.trainable()) {
            const auto &params = this->param_groups()[0].params();
            bool has = std::any_of(params.begin(), params.end(),
                                   [&p](const at::Tensor &t) { return t.is_same(p.tensor); });

            if (!has)
                throw Error(ACCEL_ERR_INVALID, "accel: the optimizer does not have parameter '" +
                                                   p.name + "' of the model; expected all that "
                                                            "require a gradient");
        }
    }

    void check_options() const
    {
        if (this->param_groups().size() != 1 || !same_options(*bound_, options()))
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: only the learning rate of a prepared optimizer may change");
    }

    std::weak_ptr<accel_optimizer_t> optimizer_;
    std::optional<Options> bound_; /* as they were then */
};
} // namespace detail

/* torch::optim::AdamW and SGD: the same constructors, the same options. zero_grad() keeps the
 * gradients' memory. Learning-rate schedulers of torch::optim drive them as they do the others. */
using AdamW = detail::Fused<torch::optim::AdamW, torch::optim::AdamWOptions>;
using SGD = detail::Fused<torch::optim::SGD, torch::optim::SGDOptions>;
} // namespace accel

#endif
