/* SPDX-License-Identifier: Apache-2.0 */
/* Automatic mixed precision: torch.autocast and torch.amp.GradScaler, which libtorch leaves to
 * Python. */
#ifndef ACCEL_TORCH_AMP_HPP
#define ACCEL_TORCH_AMP_HPP

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include <ATen/autocast_mode.h>
#include <torch/optim/optimizer.h>

#include <accel/precision.h>
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
 * scale(loss), then step(optimizer), for each optimizer, then update(). A step whose gradients are
 * not all finite is left out. Every process decides the same: the gradients are averages, which
 * one process's infinity makes infinite for all. Where no optimizer has a gradient, as off a sync
 * step of accumulation, update() does nothing. */
class GradScaler
{
public:
    explicit GradScaler(const GradScalerOptions &options = {})
        : options_(options), scale_(static_cast<float>(options.init_scale))
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
        return options_.enabled ? loss * static_cast<double>(scale_) : loss;
    }

    /* Before clipping, at most once a step. */
    void unscale_(torch::optim::Optimizer &optimizer)
    {
        if (!options_.enabled)
            return;
        Seen &seen = seen_[&optimizer];
        if (seen.stage != Stage::ready)
            throw Error(ACCEL_ERR_STATE,
                        seen.stage == Stage::unscaled
                            ? "accel::GradScaler::unscale_: the gradients were unscaled since the "
                              "last update()"
                            : "accel::GradScaler::unscale_: there was a step() since the last "
                              "update()");
        at::NoGradGuard no_grad;
        for (auto &group : optimizer.param_groups())
            for (auto &parameter : group.params())
                if (parameter.grad().defined())
                    unscale(seen, parameter.mutable_grad());
        seen.stage = Stage::unscaled;
    }

    /* False: the step was skipped. */
    bool step(torch::optim::Optimizer &optimizer)
    {
        if (!options_.enabled) {
            optimizer.step();
            return true;
        }
        if (seen_[&optimizer].stage == Stage::stepped)
            throw Error(ACCEL_ERR_STATE, "accel::GradScaler::step: there was a step() of this "
                                         "optimizer since the last update()");
        if (seen_[&optimizer].stage == Stage::ready)
            unscale_(optimizer);
        Seen &seen = seen_[&optimizer];
        if (!seen.found_inf)
            optimizer.step();
        seen.stage = Stage::stepped;
        return !seen.found_inf;
    }

    void update()
    {
        bool gradients = false, found = found_inf();

        if (!options_.enabled)
            return;
        if (seen_.empty())
            throw Error(ACCEL_ERR_STATE,
                        "accel::GradScaler::update: there was no step() or unscale_() before");
        for (const auto &item : seen_)
            gradients = gradients || item.second.gradients;
        seen_.clear();
        if (!gradients)
            return;
        if (found) {
            scale_ = static_cast<float>(scale_ * options_.backoff_factor);
            growth_tracker_ = 0;
        } else if (++growth_tracker_ == options_.growth_interval) {
            auto grown = static_cast<float>(scale_ * options_.growth_factor);

            scale_ = std::isfinite(grown) ? grown : scale_;
            growth_tracker_ = 0;
        }
    }

    /* The scale from now on, instead of the one that update() finds. */
    void update(double new_scale)
    {
        if (!options_.enabled)
            return;
        if (!(new_scale > 0) || !std::isfinite(new_scale))
            throw Error(ACCEL_ERR_INVALID, "accel::GradScaler::update: the scale is " +
                                               std::to_string(new_scale) +
                                               "; expected a finite number > 0");
        scale_ = static_cast<float>(new_scale);
        seen_.clear();
    }

    double get_scale() const { return options_.enabled ? static_cast<double>(scale_) : 1; }

    /* Since the last update(), in the gradients of any optimizer. */
    bool found_inf() const
    {
        return std::any_of(seen_.begin(), seen_.end(),
                           [](const auto &item) { return item.second.found_inf; });
    }

    /* For checkpoints: Python's state_dict() has these as "scale" and "_growth_tracker". */
    accel_grad_scaler_state_t get_state() const
    {
        return {get_scale(), static_cast<int32_t>(growth_tracker_)};
    }
    void set_state(const accel_grad_scaler_state_t &state)
    {
        if (state.growth_tracker < 0 || state.growth_tracker >= options_.growth_interval)
            throw Error(ACCEL_ERR_INVALID, "accel::GradScaler::set_state: growth_tracker is " +
                                               std::to_string(state.growth_tracker) +
                                               "; expected 0 to growth_interval - 1");
        update(state.scale);
        growth_tracker_ = state.growth_tracker;
    }

private:
    enum class Stage { ready, unscaled, stepped };

    /* Of an optimizer since the last update(). */
    struct Seen {
        Stage stage = Stage::ready;
        bool gradients = false, found_inf = false;
    };

    /* In float32, as Python does it. */
    void unscale(Seen &seen, at::Tensor &gradient) const
    {
        seen.found_inf = seen.found_inf || !at::isfinite(gradient).all().item<bool>();
        gradient.mul_(static_cast<float>(1 / static_cast<double>(scale_)));
        seen.gradients = true;
    }

    GradScalerOptions options_;
    float scale_;
    int64_t growth_tracker_ = 0;
    std::unordered_map<const torch::optim::Optimizer *, Seen> seen_;
};
} // namespace accel

#endif
