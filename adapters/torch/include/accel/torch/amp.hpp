/* SPDX-License-Identifier: Apache-2.0 */
/* Automatic mixed precision: torch.autocast and torch.amp.GradScaler, which libtorch leaves to
 * Python. */
#ifndef ACCEL_TORCH_AMP_HPP
#define ACCEL_TORCH_AMP_HPP

#include <cmath>
#include <utility>
#include <vector>

#include <ATen/autocast_mode.h>
#include <torch/optim/optimizer.h>

#include <accel/torch/tensor.hpp>

namespace accel
{
namespace detail
{
#if ACCEL_TORCH_HAS_GENERIC_AUTOCAST
inline bool autocast_enabled()
{
    return at::autocast::is_autocast_enabled(at::kCPU);
}
inline void set_autocast(bool enabled, at::ScalarType dtype)
{
    at::autocast::set_autocast_enabled(at::kCPU, enabled);
    at::autocast::set_autocast_dtype(at::kCPU, dtype);
}
inline at::ScalarType autocast_dtype()
{
    return at::autocast::get_autocast_dtype(at::kCPU);
}
#else
inline bool autocast_enabled()
{
    return at::autocast::is_cpu_enabled();
}
inline void set_autocast(bool enabled, at::ScalarType dtype)
{
    at::autocast::set_cpu_enabled(enabled);
    at::autocast::set_autocast_cpu_dtype(dtype);
}
inline at::ScalarType autocast_dtype()
{
    return at::autocast::get_autocast_cpu_dtype();
}
#endif
} // namespace detail

/* with torch.autocast("cpu", dtype): forward and loss within its scope are computed in `dtype`
 * where that is safe. Parameters and gradients stay as they are; outputs may be of `dtype`. Of
 * this thread. The cache of cast weights goes with the outermost scope: a step that writes
 * parameters behind torch's back cannot leave old ones in it. Leave the scope before backward. */
class Autocast
{
public:
    explicit Autocast(at::ScalarType dtype = at::kBFloat16, bool enabled = true)
        : enabled_before_(detail::autocast_enabled()), dtype_before_(detail::autocast_dtype())
    {
        if (dtype != at::kBFloat16 && (dtype != at::kHalf || !ACCEL_TORCH_HAS_GENERIC_AUTOCAST))
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        std::string("accel::Autocast: the type is ") + toString(dtype) +
                            "; expected BFloat16, or from libtorch 2.4 on Half");
        at::autocast::increment_nesting();
        detail::set_autocast(enabled, enabled ? dtype : dtype_before_);
    }

    ~Autocast()
    {
        if (at::autocast::decrement_nesting() == 0)
            at::autocast::clear_cache();
        detail::set_autocast(enabled_before_, dtype_before_);
    }

    Autocast(const Autocast &) = delete;
    Autocast &operator=(const Autocast &) = delete;

private:
    bool enabled_before_;
    at::ScalarType dtype_before_;
};

/* torch.amp.GradScaler's arguments. */
struct GradScalerOptions {
    double init_scale = 65536;
    double growth_factor = 2;
    double backoff_factor = 0.5;
    int64_t growth_interval = 2000;
    bool enabled = true;
};

/* torch.amp.GradScaler, for optimizers of torch::optim on replicated parameters: backward of
 * scale(loss), then step(optimizer), then update(). A step whose gradients are not all finite is
 * left out. Every process decides the same: the gradients are averages, which one process's
 * infinity makes infinite for all. */
class GradScaler
{
public:
    explicit GradScaler(const GradScalerOptions &options = {})
        : options_(options), scale_(options.init_scale)
    {
        if (!(options.init_scale > 0) || !(options.growth_factor > 1) ||
            !(options.backoff_factor > 0 && options.backoff_factor < 1) ||
            options.growth_interval < 1)
            throw Error(ACCEL_ERR_INVALID,
                        "accel::GradScaler: expected init_scale > 0, growth_factor > 1, "
                        "0 < backoff_factor < 1 and growth_interval >= 1");
    }

    at::Tensor scale(const at::Tensor &loss) const
    {
        return options_.enabled ? loss * scale_ : loss;
    }

    /* Before clipping, at most once a step. */
    void unscale_(torch::optim::Optimizer &optimizer)
    {
        if (!options_.enabled)
            return;
        if (unscaled_)
            throw Error(ACCEL_ERR_STATE, "accel::GradScaler::unscale_: the gradients were unscaled "
                                         "since the last update()");
        at::NoGradGuard no_grad;
        for (auto &group : optimizer.param_groups())
            for (auto &parameter : group.params()) {
                at::Tensor &gradient = parameter.mutable_grad();

                if (!gradient.defined())
                    continue;
                gradient.mul_(1 / scale_);
                found_inf_ = found_inf_ || !at::isfinite(gradient).all().item<bool>();
            }
        unscaled_ = true;
    }

    /* False: the step was skipped. */
    bool step(torch::optim::Optimizer &optimizer)
    {
        if (options_.enabled && !unscaled_)
            unscale_(optimizer);
        if (!found_inf_)
            optimizer.step();
        return !found_inf_;
    }

    void update()
    {
        if (!options_.enabled)
            return;
        if (!unscaled_)
            throw Error(ACCEL_ERR_STATE,
                        "accel::GradScaler::update: there was no step() or unscale_() before");
        if (found_inf_) {
            scale_ *= options_.backoff_factor;
            growth_tracker_ = 0;
        } else if (++growth_tracker_ == options_.growth_interval) {
            double grown = static_cast<double>(static_cast<float>(scale_ * options_.growth_factor));

            scale_ = std::isfinite(grown) ? grown : scale_;
            growth_tracker_ = 0;
        }
        found_inf_ = unscaled_ = false;
    }

    double get_scale() const { return options_.enabled ? scale_ : 1; }
    bool found_inf() const { return found_inf_; }

private:
    GradScalerOptions options_;
    double scale_;
    int64_t growth_tracker_ = 0;
    bool unscaled_ = false, found_inf_ = false;
};
} // namespace accel

#endif
