/* SPDX-License-Identifier: Apache-2.0 */
/* A torch::nn::Module as a model of the library: its parameters and gradients in the arena, and
 * the hooks that say when a gradient is ready. */
#ifndef ACCEL_TORCH_MODEL_HPP
#define ACCEL_TORCH_MODEL_HPP

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

#include <accel/accelerator.h>
#include <accel/torch/heap.hpp>
#include <accel/torch/hook.hpp>
#include <accel/torch/tensor.hpp>
#include <accel/torch/weights.hpp>

namespace accel
{
/* Who has the parameters of a prepared model. */
enum class Parameters {
    automatic,  /* shared if one of our optimizers is prepared with the model, else replicated */
    replicated, /* a copy in each process, which steps it by itself: any torch::optim optimizer */
    shared      /* one copy for all processes of the host; only our optimizers may write it */
};

/* To Accelerator::prepare(), beside the module. */
struct ModelOptions {
    Parameters parameters = Parameters::automatic;
    double bucket_cap_mb =
        0; /* gradients are reduced together by so many MiB; 0: 25, the first 1 */
    bool find_unused_parameters = true; /* a parameter that no process used is left out of the step,
                                           as in Python; else it counts with a gradient of zeros */
};

namespace detail
{
/* Memory of the module that the library knows by the address of `value`. */
struct Block {
    std::string name;
    at::Tensor tensor;  /* the module's own */
    void *value;        /* where its values are */
    int64_t index = -1; /* in the model */
};

struct Trainable : Block {
    void *slot;                  /* where its gradient is */
    at::Tensor gradient;         /* a view of it, which the module's .grad() is */
    uint64_t print = 0;          /* of the values, as the last step left them */
    uint64_t gradient_print = 0; /* as the last backward left it */
    bool ready = false;          /* its hook ran in this backward ... */
    bool announced = false;      /* ... and the library knows */
    bool cleared = true; /* it had no gradient when the first backward since the sync step began */
    std::unique_ptr<GradientHook> hook;
};

/* Zeros that take no memory until somebody writes them. */
using Zeros = std::unique_ptr<void, decltype(&std::free)>;

/* A view of foreign memory that is laid out as `like` is. */
inline at::Tensor view_like(const at::Tensor &like, void *data)
{
    return at::from_blob(data, like.sizes(), like.strides(),
                         at::TensorOptions().dtype(like.scalar_type()));
}

class Model;

/* An optimizer of the library's own, which goes when its model goes. */
struct Bound {
    Model *model = nullptr;
    accel_optimizer_t *optimizer = nullptr;
    std::vector<int32_t> groups; /* torch's in the library's; -1: nothing of it is trained */
    bool reducing = false;       /* the last backward's gradients are on their way to a step */
    bool spent = false;          /* the step has used them, and nobody has cleared them since */

    Bound() = default;
    ~Bound() { accel_optimizer_destroy(optimizer); }
    Bound(const Bound &) = delete;
    Bound &operator=(const Bound &) = delete;
};

class Model
{
public:
    Model(accel_t *accelerator, torch::nn::Module &module, const ModelOptions &options)
        : accelerator_(accelerator), module_(&module),
          shared_(options.parameters == Parameters::shared)
    {
        try {
            create(options);
            collect();
            check(accel_prepare_model(accelerator, model_));
            zeros_.clear();
            install();
            give_back_freed_memory();
        } catch (...) {
            accel_model_destroy(model_);
            throw;
        }
    }

    ~Model() { restore(); }
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    accel_model_t *get() const { return model_; }
    const torch::nn::Module *module() const { return module_; }
    bool shared() const { return shared_; }
    const std::vector<Trainable> &trainable() const { return trainable_; }

    void bind(std::shared_ptr<Bound> bound) { bound_ = std::move(bound); }

    /* Before autograd runs: every gradient in its slot. With a weight, gradients are announced when
     * it is through: the library wants that within a weighted backward. */
    void begin_backward(bool weighted)
    {
        at::NoGradGuard no_grad;

        clear_if_cleared();
        check_frozen();
        check_gradients();
        for (auto &p : trainable_) {
            check_place(p);
            if (!hidden_)
                p.cleared = !p.tensor.grad().defined();
            put_in_place(p);
            p.hook->begin();
            p.ready = p.announced = false;
        }
        hidden_ = false;
        num_ready_ = 0;
        announces_late_ = weighted;
        idle_ = bound_ && bound_->spent;
        averaged_ = weighted &&
                    (bound_ ? bound_->reducing : accel_model_is_averaged(model_) && !is_all_zero());
        if (bound_ && bound_->reducing) { /* a second backward before the step */
            check(accel_sync_gradients(accelerator_, model_));
            bound_->reducing = false;
        }
        running_ = true;
    }

    /* After autograd ran: what had no gradient counts as ready, too. A model that no backward has
     * touched since the last sync step has nothing to say, unless it is the only one. */
    void end_backward(bool only, std::optional<double> weight)
    {
        bool sync_step = accel_model_is_sync_step(model_);

        running_ = false;
        if (idle_)
            return;
        touched_ = touched_ || (only && !trainable_.empty()) || num_ready_ > 0;
        if (touched_ && averaged_)
            throw Error(ACCEL_ERR_STATE,
                        "accel: a weighted backward onto gradients that are averages by now, whose "
                        "weights are gone: let the last backward of a step alone sync, by "
                        "accumulate() or no_sync(), or clear the gradients before");
        if (touched_)
            check(weight ? accel_backward_weighted(accelerator_, model_, *weight)
                         : accel_backward(accelerator_, model_));
        if (touched_ && sync_step && bound_) {
            bound_->reducing = true;
            take_gradient_prints();
        }
        if (!sync_step && !shared_)
            hide_gradients();
        else if (!shared_)
            hide_unused();
        touched_ = touched_ && !sync_step;
    }

    /* What is wrong on this rank is told to the others, who would wait for it. */
    void fail_backward(accel_status_t status, const std::string &text)
    {
        running_ = false;
        failure_ = status;
        failure_text_ = text;
        (void)!accel_backward(accelerator_, model_);
        failure_ = ACCEL_OK;
    }

    std::vector<std::string> unused() const
    {
        std::vector<std::string> names;

        for (const auto &p : trainable_)
            if (!p.ready)
                names.push_back(p.name);
        return names;
    }

    /* Write the values: `write` runs on the main process, and may replace the tensors' memory. */
    template <typename Write> void update(const Write &write)
    {
        std::exception_ptr error;

        check(accel_params_begin(model_));
        try {
            if (accel_is_main_process(accelerator_))
                write();
        } catch (...) {
            error = std::current_exception(); /* the others wait below */
        }
        take_values();
        check(accel_params_end(model_));
        take_prints();
        sync_buffers();
        if (error)
            std::rethrow_exception(error);
    }

    /* What our optimizer will step with is not averaged, or in parts: a hand on it would be on some
     * rank's share of some of it. */
    void check_gradients() const
    {
        if (!bound_ || !bound_->reducing || accel_model_is_averaged(model_))
            return;
        for (const auto &p : trainable_)
            if (is_written(p))
                throw Error(
                    ACCEL_ERR_STATE,
                    "accel: the gradient of '" + p.name +
                        "' was written after the backward, but its average is not there yet; "
                        "call Accelerator::sync_gradients() before, or to clip "
                        "Accelerator::clip_grad_norm_()");
    }

    /* Since the last backward, or what the library did after it. */
    static bool is_written(const Trainable &p)
    {
        const at::Tensor &grad = p.tensor.grad();

        return !grad.defined() || grad.is_sparse() || fingerprint(grad) != p.gradient_print;
    }

    void take_gradient_prints()
    {
        for (auto &p : trainable_)
            p.gradient_print = fingerprint(p.gradient);
    }

    /* Call what the library does with the gradients. */
    template <typename Function> void with_gradients(const Function &function)
    {
        check_gradients();
        check(function(accelerator_, model_));
        take_gradient_prints();
    }

    /* After a step, or whatever may write the values. A backward of a forward from before it is an
     * error of autograd then, as it is in Python. */
    void take_prints()
    {
        for (auto &p : trainable_) {
            uint64_t print = fingerprint(p.tensor);

            if (print != p.print)
                p.tensor.unsafeGetTensorImpl()->bump_version();
            p.print = print;
        }
    }

    void sync_buffers()
    {
        find_buffers();
        check(accel_sync_buffers(accelerator_, model_));
    }

    void average_buffers()
    {
        find_buffers();
        check(accel_average_buffers(accelerator_, model_));
    }

private:
    void create(const ModelOptions &from)
    {
        accel_model_options_t options = accel_model_options_init();

        options.backward = [](void *context, double) {
            auto *self = static_cast<Model *>(context);

            if (self->failure_ != ACCEL_OK)
                return accel_fail(self->failure_, "%s", self->failure_text_.c_str());
            return self->announce(); /* autograd ran before */
        };
        options.context = this;
        options.replicated = !shared_;
        options.no_restore = true;
        options.bucket_cap_mb = from.bucket_cap_mb;
        options.find_unused_parameters = from.find_unused_parameters;
        check(accel_model_create(&options, &model_));
    }

    /* A tensor that several modules have is one parameter, under its first name. */
    void collect()
    {
        Weights weights = weights_of(*module_);

        trainable_.reserve(weights.size()); /* the library keeps addresses of elements */
        frozen_.reserve(weights.size());
        buffers_.reserve(weights.size());
        for (const Weight &weight : weights) {
            if (weight.buffer)
                add_buffer(weight.names[0], weight.tensor);
            else if (weight.tensor.requires_grad())
                add_trainable(weight.names[0], weight.tensor);
            else
                add_frozen(weight.names[0], weight.tensor);
        }
    }

    static void check_memory(const std::string &name, const at::Tensor &tensor)
    {
        check_cpu(tensor, "accel: '" + name + "'");
        if (!tensor.is_non_overlapping_and_dense())
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: '" + name +
                            "' is a view that does not fill its memory; call .contiguous() on it "
                            "before prepare");
    }

    void add_trainable(const std::string &name, const at::Tensor &tensor)
    {
        accel_dtype_t dtype = ACCEL_U8;
        Trainable p;

        check_memory(name, tensor);
        if (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kDouble)
            throw Error(ACCEL_ERR_UNSUPPORTED, "accel: parameter '" + name + "' is " +
                                                   toString(tensor.scalar_type()) +
                                                   "; expected Float or Double to be trained");
        to_dtype(tensor.scalar_type(), &dtype);
        p.name = name;
        p.tensor = tensor;
        p.value = tensor.data_ptr();
        p.slot = make_zeros(tensor.nbytes());
        if (tensor.grad().defined())
            view_like(tensor, p.slot).copy_(tensor.grad());
        p.index = accel_model_num_parameters(model_);
        trainable_.push_back(std::move(p));
        check(accel_model_add(model_, name.c_str(), dtype, static_cast<int32_t>(tensor.dim()),
                              tensor.sizes().data(), &trainable_.back().value,
                              &trainable_.back().slot));
    }

    void *make_zeros(size_t size)
    {
        zeros_.emplace_back(std::calloc(size + 1, 1), std::free);
        if (!zeros_.back())
            throw Error(ACCEL_ERR_NO_MEMORY,
                        "accel: out of memory: gradients (" + std::to_string(size) + " bytes)");
        return zeros_.back().get();
    }

    void add_frozen(const std::string &name, const at::Tensor &tensor)
    {
        add_block(frozen_, name, tensor, accel_model_add_frozen);
    }

    void add_buffer(const std::string &name, const at::Tensor &tensor)
    {
        add_block(buffers_, name, tensor, accel_model_add_buffer);
    }

    /* What is not computed with is bytes. */
    template <typename Add>
    void add_block(std::vector<Block> &blocks, const std::string &name, const at::Tensor &tensor,
                   Add add)
    {
        accel_dtype_t dtype = ACCEL_U8;
        std::vector<int64_t> shape = tensor.sizes().vec();

        check_memory(name, tensor);
        if (!to_dtype(tensor.scalar_type(), &dtype) || shape.size() > ACCEL_MAX_NDIM)
            shape = {static_cast<int64_t>(tensor.nbytes())}, dtype = ACCEL_U8;
        blocks.push_back(
            Block{name, tensor, tensor.data_ptr(), accel_model_num_parameters(model_)});
        check(add(model_, name.c_str(), dtype, static_cast<int32_t>(shape.size()), shape.data(),
                  &blocks.back().value));
    }

    /* The module's tensors to where the library has put the values and gradients. */
    void install()
    {
        for (auto &p : trainable_) {
            if (shared_)
                p.tensor.set_data(view_like(p.tensor, p.value));
            p.gradient = view_like(p.tensor, p.slot);
            if (p.tensor.grad().defined())
                p.tensor.mutable_grad() = p.gradient;
            p.print = fingerprint(p.tensor);
            p.hook = std::make_unique<GradientHook>(p.tensor, [this, &p] { ready(p); });
        }
        for (auto &block : frozen_)
            if (shared_)
                block.tensor.set_data(view_like(block.tensor, block.value));
    }

    /* Its gradient has been accumulated. The last of a model, which would make the ranks meet, is
     * announced when autograd is through: several models must meet in one order on all ranks, and
     * autograd has its own on each. */
    void ready(Trainable &p)
    {
        at::NoGradGuard no_grad;

        if (!running_)
            throw Error(ACCEL_ERR_STATE, "accel: parameter '" + p.name +
                                             "' was given a gradient outside of "
                                             "Accelerator::backward(loss), which is to be called "
                                             "instead of loss.backward()");
        put_in_place(p);
        if (!p.ready)
            num_ready_++;
        p.ready = true;
        if (idle_ || announces_late_ || (!p.announced && num_ready_ == trainable_.size()))
            return;
        p.announced = true;
        check(accel_grad_ready(model_, p.index));
    }

    accel_status_t announce()
    {
        accel_status_t status = ACCEL_OK;

        for (auto p = trainable_.rbegin(); p != trainable_.rend() && status == ACCEL_OK; ++p) {
            if (!p->ready || p->announced)
                continue;
            p->announced = true;
            status = accel_grad_ready(model_, p->index);
        }
        return status;
    }

    void check_frozen() const
    {
        for (const auto &block : frozen_)
            if (block.tensor.requires_grad())
                throw Error(ACCEL_ERR_STATE,
                            "accel: parameter '" + block.name +
                                "' was frozen at prepare and requires a gradient now, which no "
                                "process would share; unprepare() and prepare() the model again");
    }

    void check_place(Trainable &p) const
    {
        bool elsewhere = p.tensor.numel() > 0 && p.tensor.data_ptr() != p.value;

        if (elsewhere || !p.tensor.is_non_overlapping_and_dense() ||
            p.tensor.scalar_type() != p.gradient.scalar_type())
            throw Error(ACCEL_ERR_STATE,
                        "accel: parameter '" + p.name +
                            "' was moved or cast (.to(), torch::load, set_data) after prepare; do "
                            "that before, and load by Accelerator::load()");
        uint64_t print = shared_ ? fingerprint(p.tensor) : p.print;
        if (print == p.print)
            return;
        p.print = print;
        throw Error(ACCEL_ERR_STATE,
                    "accel: parameter '" + p.name +
                        "' was written in place, but it is one copy for all processes: step by the "
                        "optimizer it was prepared with, write by Accelerator::update(), or "
                        "prepare the model with Parameters::replicated");
    }

    /* zero_grad of the module, or of torch's optimizer, sets to none or writes zeros, by version:
     * the library's own optimizer is told. */
    void clear_if_cleared() const
    {
        if (hidden_ || !bound_ || !is_cleared())
            return;
        check(accel_model_zero_grad(model_)); /* what an optimizer does at sync steps only */
        bound_->reducing = bound_->spent = false;
    }

    bool is_cleared() const
    {
        bool none = std::none_of(trainable_.begin(), trainable_.end(),
                                 [](const Trainable &p) { return p.tensor.grad().defined(); });

        bool written =
            bound_->spent ||
            (bound_->reducing && std::any_of(trainable_.begin(), trainable_.end(), is_written));

        return none || (written && is_all_zero());
    }

    bool is_all_zero() const
    {
        return std::all_of(trainable_.begin(), trainable_.end(),
                           [](const Trainable &p) { return is_zero(p.tensor.grad()); });
    }

    static bool is_zero(const at::Tensor &gradient)
    {
        return !gradient.defined() || gradient.count_nonzero().item<int64_t>() == 0;
    }

    /* A gradient that left its slot (zero_grad, create_graph, an assignment) goes back. */
    void put_in_place(Trainable &p) const
    {
        at::Tensor &grad = p.tensor.mutable_grad();

        if (!grad.defined()) {
            if (!hidden_)
                p.gradient.zero_();
        } else if (grad.is_sparse()) {
            p.gradient.copy_(grad.to_dense());
        } else if (grad.data_ptr() == p.slot) {
            return;
        } else {
            p.gradient.copy_(grad);
        }
        grad = p.gradient;
    }

    /* Off a sync step there is nothing to step with: an optimizer skips what has no gradient, and
     * so does zero_grad. */
    void hide_gradients()
    {
        for (auto &p : trainable_)
            p.tensor.mutable_grad() = at::Tensor();
        hidden_ = true;
    }

    /* What had no gradient before, and was used by no process, has none: an optimizer skips it. */
    void hide_unused()
    {
        for (auto &p : trainable_)
            if (p.cleared && !(touched_ && accel_model_is_used(model_, p.index)))
                p.tensor.mutable_grad() = at::Tensor();
    }

    /* Values that `write` left elsewhere go to where they belong. */
    void take_values()
    {
        at::NoGradGuard no_grad;

        for (auto &p : trainable_) {
            take_values(p);
        }
        for (auto &block : frozen_)
            take_values(block);
    }

    static void take_values(Block &block)
    {
        if (block.tensor.data_ptr() == block.value)
            return;
        at::Tensor written = block.tensor.detach(), place = view_like(block.tensor, block.value);

        place.copy_(written);
        block.tensor.set_data(place);
    }

    void find_buffers()
    {
        for (auto &buffer : buffers_)
            buffer.value = buffer.tensor.data_ptr();
    }

    void restore()
    {
        bound_.reset();
        for (auto &p : trainable_) {
            p.hook.reset();
            p.tensor.mutable_grad() = at::Tensor();
            take_back(p);
        }
        for (auto &block : frozen_)
            take_back(block);
        accel_model_destroy(model_);
    }

    /* Memory of the module's own again, unless it has some already. */
    void take_back(Block &block) const
    {
        if (shared_ && block.tensor.data_ptr() == block.value)
            block.tensor.set_data(block.tensor.detach().clone());
    }

    accel_t *accelerator_;
    accel_model_t *model_ = nullptr;
    torch::nn::Module *module_;
    bool shared_;
    bool hidden_ = false;  /* the gradients lie in their slots, but the tensors do not show them */
    bool touched_ = false; /* by a backward since the last sync step */
    size_t num_ready_ = 0; /* parameters whose hook ran in this backward */
    bool announces_late_ = false;
    bool averaged_ = false; /* the gradients were, before a weighted backward */
    bool running_ = false;  /* a backward of the accelerator's */
    bool idle_ = false; /* onto gradients that were stepped: nothing comes of it, and the next use
                           of them, if nobody clears them before, is an error of the library's */
    accel_status_t failure_ = ACCEL_OK; /* of autograd, for the library */
    std::string failure_text_;
    std::vector<Trainable> trainable_;
    std::vector<Block> frozen_, buffers_;
    std::vector<Zeros> zeros_; /* gradients until prepare has made place for them */
    std::shared_ptr<Bound> bound_;
};
} // namespace detail
} // namespace accel

#endif
