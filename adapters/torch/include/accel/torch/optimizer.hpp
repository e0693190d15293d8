/* SPDX-License-Identifier: Apache-2.0 */
/* torch::optim optimizers whose step, once prepared, is the library's: fused with the reduction,
 * each process updating its own slice. */
#ifndef ACCEL_TORCH_OPTIMIZER_HPP
#define ACCEL_TORCH_OPTIMIZER_HPP

#include <memory>
#include <tuple>

#include <torch/optim/adam.h>
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

/* ---- one of these for each kind of options: how to make the optimizer, and what of them a group
 * may have for itself. The learning rate is set before each step. ---- */

template <typename To, typename From> void copy_adam(To &to, const From &from)
{
    to.beta1 = or_zero(std::get<0>(from.betas()));
    to.beta2 = or_zero(std::get<1>(from.betas()));
    to.eps = or_zero(from.eps());
    to.weight_decay = or_zero(from.weight_decay());
}

inline accel_status_t create(accel_model_t *model, const torch::optim::AdamWOptions &from,
                             accel_optimizer_t **optimizer)
{
    accel_adamw_options_t options = accel_adamw_options_init();

    copy_adam(options, from);
    options.amsgrad = from.amsgrad();
    return accel_adamw_create(model, &options, optimizer);
}

inline accel_status_t create(accel_model_t *model, const torch::optim::AdamOptions &from,
                             accel_optimizer_t **optimizer)
{
    accel_adam_options_t options = accel_adam_options_init();

    copy_adam(options, from);
    options.weight_decay = from.weight_decay();
    options.amsgrad = from.amsgrad();
    return accel_adam_create(model, &options, optimizer);
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

inline void set_group(accel_group_options_t &group, const torch::optim::AdamWOptions &from)
{
    copy_adam(group, from);
}
inline void set_group(accel_group_options_t &group, const torch::optim::AdamOptions &from)
{
    copy_adam(group, from);
}
inline void set_group(accel_group_options_t &group, const torch::optim::SGDOptions &from)
{
    group.momentum = or_zero(from.momentum());
    group.dampening = or_zero(from.dampening());
    group.weight_decay = or_zero(from.weight_decay());
}

/* What all groups must have in common. */
inline bool variant(const torch::optim::AdamWOptions &options)
{
    return options.amsgrad();
}
inline bool variant(const torch::optim::AdamOptions &options)
{
    return options.amsgrad();
}
inline bool variant(const torch::optim::SGDOptions &options)
{
    return options.nesterov();
}

/* Until it is prepared it is its base. */
template <typename Base, typename Options> class Fused : public Base, public Fusable
{
public:
    using Base::Base;

    torch::Tensor step(torch::optim::Optimizer::LossClosure closure = nullptr) override
    {
        auto bound = bound_.lock();
        torch::Tensor loss;

        if (!bound)
            return Base::step(std::move(closure));
        if (closure) {
            at::AutoGradMode enable_grad(true);
            loss = closure();
        }
        follow_rates(*bound);
        if (!accel_model_is_sync_step(bound->model->get()))
            return loss;
        bound->model->check_gradients();
        check(accel_optimizer_step(bound->optimizer));
        bound->model->take_prints();
        bound->reducing = false;
        bound->spent = true;
        return loss;
    }

    /* Of the base's arguments: from libtorch 2.0 on, set_to_none. Ours are zeros either way. */
    template <typename... SetToNone> void zero_grad(SetToNone... set_to_none)
    {
        auto bound = bound_.lock();

        if (!bound)
            return Base::zero_grad(set_to_none...);
        check(accel_optimizer_zero_grad(bound->optimizer));
        bound->reducing = bound->spent = false;
    }

    /* Of one that is prepared torch has nothing that could be written or read. */
    void save(torch::serialize::OutputArchive &archive) const override
    {
        check_not_bound("saved");
        Base::save(archive);
    }
    void load(torch::serialize::InputArchive &archive) override
    {
        check_not_bound("loaded");
        Base::load(archive);
    }

    /* Under fp16: a gradient was not finite, so that the last step was left out. */
    bool step_was_skipped() const
    {
        auto bound = bound_.lock();

        return bound && accel_optimizer_step_was_skipped(bound->optimizer);
    }

private:
    const Options &options(size_t group) const
    {
        return static_cast<const Options &>(this->param_groups()[group].options());
    }

    void bind(Model &model, accel_t *accelerator) override
    {
        auto bound = std::make_shared<Bound>();

        at_bind_.clear();
        bound->model = &model;
        check_parameters(model);
        check(create(model.get(), options(0), &bound->optimizer));
        bound->groups = {0};
        for (size_t g = 1; g < this->param_groups().size(); g++)
            bound->groups.push_back(add_group(*bound, model, g));
        follow_rates(*bound);
        check(accel_prepare_optimizer(accelerator, bound->optimizer));
        model.bind(bound);
        bound_ = bound;
        for (size_t g = 0; g < this->param_groups().size(); g++)
            at_bind_.push_back(options(g));
    }

    void check_not_bound(const char *what) const
    {
        if (!bound_.expired())
            throw Error(
                ACCEL_ERR_UNSUPPORTED,
                std::string("accel: the state of a prepared optimizer is the library's, and "
                            "cannot be ") +
                    what + " in an archive of torch's");
    }

    int32_t add_group(const Bound &bound, const Model &model, size_t g) const
    {
        accel_group_options_t group = accel_group_options_init();
        std::vector<const char *> names;
        int32_t index = -1;

        if (variant(options(g)) != variant(options(0)))
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: amsgrad and nesterov must be the same in all parameter groups");
        for (const auto &p : model.trainable())
            if (has(g, p.tensor))
                names.push_back(p.name.c_str());
        if (names.empty()) /* all of it is frozen */
            return index;
        names.push_back(nullptr);
        group.names = names.data();
        set_group(group, options(g));
        check(accel_optimizer_add_group(bound.optimizer, &group, &index));
        return index;
    }

    bool has(size_t group, const at::Tensor &parameter) const
    {
        const auto &params = this->param_groups()[group].params();

        return std::any_of(params.begin(), params.end(),
                           [&](const at::Tensor &t) { return t.is_same(parameter); });
    }

    void check_parameters(const Model &model) const
    {
        for (const auto &p : model.trainable()) {
            bool known = false;

            for (size_t g = 0; g < this->param_groups().size(); g++)
                known = known || has(g, p.tensor);
            if (!known)
                throw Error(ACCEL_ERR_INVALID,
                            "accel: the optimizer does not have parameter '" + p.name +
                                "' of the model; expected all that require a gradient");
        }
        for (const auto &group : this->param_groups())
            for (const auto &parameter : group.params())
                check_parameter(model, parameter);
    }

    static void check_parameter(const Model &model, const at::Tensor &parameter)
    {
        const auto &all = model.trainable();

        if (parameter.requires_grad() &&
            std::none_of(all.begin(), all.end(),
                         [&](const Trainable &p) { return p.tensor.is_same(parameter); }))
            throw Error(ACCEL_ERR_INVALID,
                        "accel: the optimizer has a parameter, " + describe(parameter) +
                            ", that is not of the model it is prepared with, and "
                            "would not be trained");
    }

    /* Schedulers write the rates of groups; nothing else of them may change. */
    void follow_rates(const Bound &bound) const
    {
        for (size_t g = 0; g < this->param_groups().size(); g++) {
            if (!at_bind_.empty() && (g >= at_bind_.size() || !same(at_bind_[g], options(g))))
                throw Error(ACCEL_ERR_UNSUPPORTED,
                            "accel: only the learning rates of a prepared optimizer may change");
            if (bound.groups[g] >= 0)
                check(accel_optimizer_set_group_lr(bound.optimizer, bound.groups[g],
                                                   options(g).lr()));
        }
    }

    static bool same(Options a, const Options &b)
    {
        a.lr(b.lr());
        return a == b;
    }

    std::weak_ptr<Bound> bound_;
    std::vector<Options> at_bind_;
};
} // namespace detail

/* torch::optim::AdamW, Adam and SGD: the same constructors, the same options, the same updates.
 * zero_grad() keeps the gradients' memory. torch's learning-rate schedulers drive them as they do
 * the others. */
using AdamW = detail::Fused<torch::optim::AdamW, torch::optim::AdamWOptions>;
using Adam = detail::Fused<torch::optim::Adam, torch::optim::AdamOptions>;
using SGD = detail::Fused<torch::optim::SGD, torch::optim::SGDOptions>;
} // namespace accel

#endif
