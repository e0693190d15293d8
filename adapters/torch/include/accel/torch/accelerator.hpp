/* SPDX-License-Identifier: Apache-2.0 */
/* The accelerator of a C++ program whose models are torch::nn modules. */
#ifndef ACCEL_TORCH_ACCELERATOR_HPP
#define ACCEL_TORCH_ACCELERATOR_HPP

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/nn/pimpl.h>
#include <torch/serialize.h>

#include <accel/torch/amp.hpp>
#include <accel/torch/blas.hpp>
#include <accel/torch/data.hpp>
#include <accel/torch/heap.hpp>
#include <accel/torch/loaded.hpp>
#include <accel/torch/model.hpp>
#include <accel/torch/optimizer.hpp>
#include <accel/torch/weights.hpp>
#include <accel/torch/world.hpp>
#include <accel/utils.h>

namespace accel
{
namespace detail
{
/* The module behind what programs hold: a module, a ModuleHolder, a shared_ptr. */
inline torch::nn::Module *module_of(torch::nn::Module &module)
{
    return &module;
}
template <typename M> torch::nn::Module *module_of(const torch::nn::ModuleHolder<M> &holder)
{
    return holder.ptr().get();
}
template <typename M> torch::nn::Module *module_of(const std::shared_ptr<M> &module)
{
    return module.get();
}

template <typename Object, typename = void> struct IsModule : std::false_type {
};
template <typename Object>
struct IsModule<Object, std::void_t<decltype(module_of(std::declval<Object &>()))>>
    : std::true_type {
};

/* With OMP_NUM_THREADS unset every process takes all cores: P times too many threads. */
inline void share_cores(int32_t num_processes)
{
    unsigned cores = std::thread::hardware_concurrency();
    int share = std::max(1, static_cast<int>(cores) / num_processes);

    if (num_processes > 1 && !std::getenv("OMP_NUM_THREADS") && share < at::get_num_threads())
        at::set_num_threads(share);
}
} // namespace detail

/* Accelerate's Accelerator. What fails throws accel::Error with the library's text. Collective
 * methods must be called by all processes in the same order. Used by one thread at a time, but
 * for log(). Destroy it before MPI_Finalize or the like; models may be destroyed before or after,
 * and have their own memory again, with the trained values, once it is gone. */
class Accelerator : public detail::World
{
public:
    /* accel::Accelerator accelerator(ACCEL_OPTIONS(.log_with = "wandb")); Collective. */
    explicit Accelerator(const accel_options_t *options = nullptr, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check_loaded_version();
        detail::check(accel_create(options, &accelerator_));
        detail::share_cores(num_processes());
        detail::keep_freed_memory();
        if (is_local_main_process())
            warn_of_slow_blas();
    }

    ~Accelerator()
    {
        models_.clear();
        accel_destroy(accelerator_);
    }

    /* ---- prepare ---- */

    /* Modules, optimizers and data loaders, in place: a module, its holder or shared_ptr; an
     * optimizer of torch::optim, or accel::AdamW, Adam or SGD; an accel::DataLoader; and
     * accel::ModelOptions, for the modules of the call. Rank 0's values become everybody's.
     *
     * An optimizer of ours is for the one module of its call: the processes of a host then have
     * one copy of the parameters. Else each has its own, and the gradients are averages after
     * backward(), so that any optimizer will do, handed over or not. Cast and move modules before.
     * Collective. */
    template <typename... Objects> void prepare(Objects &&...objects)
    {
        Prepared prepared;

        (prepared.add(objects), ...);
        prepared.check();
        size_t before = models_.size();
        try {
            for (auto *module : prepared.modules)
                add(*module, prepared.options);
            for (auto *optimizer : prepared.optimizers)
                optimizer->bind(*models_.back(), accelerator_);
            for (accel_loader_t *loader : prepared.loaders)
                detail::check(accel_prepare_loader(accelerator_, loader));
        } catch (...) {
            models_.resize(before); /* all of them or none */
            throw;
        }
    }

    /* The module's model in the C library. */
    using detail::World::get;
    template <typename Module> accel_model_t *get(Module &module) { return find(module).get(); }

    /* The module has its own memory again, with the values of now. Collective. */
    template <typename Module> void unprepare(Module &module)
    {
        detail::Model *model = &find(module);

        detail::check(accel_wait_for_everyone(accelerator_));
        models_.erase(std::find_if(models_.begin(), models_.end(),
                                   [model](const auto &it) { return it.get() == model; }));
    }

    /* Forget everything that was prepared, which is as it was before; accumulation begins anew.
     * Collective. */
    void free_memory(Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_wait_for_everyone(accelerator_));
        models_.clear();
        detail::check(accel_free_memory(accelerator_));
    }

    /* The next epoch of the accel::DataLoader starts `num_batches` later. Local, and the same on
     * every process. */
    void skip_first_batches(const detail::PreparableLoader &loader, int64_t num_batches)
    {
        detail::check(accel_skip_first_batches(accelerator_, loader.loader(), num_batches));
    }

    /* ---- the training step ---- */

    /* loss.backward() with what accumulation divides by; at sync steps the gradients of replicated
     * models are averages afterwards. An exception of autograd is thrown on, and fails the other
     * processes' next collective. Collective at sync steps. */
    void backward(const at::Tensor &loss, Site site = Site::here())
    {
        run_backward(loss, std::nullopt, site);
    }

    /* The same with a weight >= 0, say the number of tokens that count: the step's gradient is the
     * sum of weight * gradient over the sum of weights, over its batches and all processes; see
     * accel_backward_weighted(). All backwards of a step are weighted, on every process, or none
     * is. Reduction begins when autograd is through. */
    void backward(const at::Tensor &loss, double weight, Site site = Site::here())
    {
        run_backward(loss, weight, site);
    }

    /* with accelerator.accumulate(model, ...): at the top of each batch. */
    template <typename Module, typename... More> void accumulate(Module &module, More &...more)
    {
        (find(more), ...);
        detail::check(accel_accumulate(accelerator_, find(module).get()));
    }

    /* auto guard = accelerator.no_sync(model): backwards in its scope accumulate only. */
    template <typename Module> auto no_sync(Module &module)
    {
        accel_model_t *model = find(module).get();

        detail::check(accel_no_sync_begin(accelerator_, model));
        return detail::Scope<accel_t *, accel_model_t *>(accelerator_, model, accel_no_sync_end);
    }

    /* auto guard = accelerator.trigger_sync_in_backward(model): backwards in its scope end in a
     * sync again, within no_sync() too. */
    template <typename Module> auto trigger_sync_in_backward(Module &module)
    {
        accel_model_t *model = find(module).get();

        detail::check(accel_trigger_sync_in_backward_begin(accelerator_, model));
        return detail::Scope<accel_t *, accel_model_t *>(accelerator_, model,
                                                         accel_trigger_sync_in_backward_end);
    }

    /* auto guard = accelerator.join_uneven_inputs(): in its scope processes may make different
     * numbers of steps. Of modules with optimizers of ours alone. See
     * accel_join_uneven_inputs_begin(). Its begin and end are collective. */
    auto join_uneven_inputs(accel_tristate_t even_batches = ACCEL_DEFAULT, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_join_uneven_inputs_begin(accelerator_, even_batches));
        return detail::Scope<accel_t *>(accelerator_, accel_join_uneven_inputs_end);
    }

    int32_t gradient_accumulation_steps() const
    {
        return accel_gradient_accumulation_steps(accelerator_);
    }
    void set_gradient_accumulation_steps(int32_t num_steps)
    {
        detail::check(accel_set_gradient_accumulation_steps(accelerator_, num_steps));
    }

    bool sync_gradients() const { return accel_is_sync_step(accelerator_); }

    /* Every process's gradients become the average, now. Collective. */
    template <typename Module> void sync_gradients(Module &module, Site site = Site::here())
    {
        detail::AtSite at(site);

        find(module).with_gradients(accel_sync_gradients);
    }

    /* Of "fp16": the gradients without the loss scale, before a look at them that is not clipping.
     * Collective. */
    template <typename Module> void unscale_gradients(Module &module, Site site = Site::here())
    {
        detail::AtSite at(site);

        find(module).with_gradients(accel_unscale_gradients);
    }

    /* torch.nn.utils.clip_grad_norm_ of all gradients of the model; returns the norm before, 0 off
     * a sync step. Collective. */
    template <typename Module>
    double clip_grad_norm_(Module &module, double max_norm, Site site = Site::here())
    {
        detail::AtSite at(site);
        double norm = 0;

        find(module).with_gradients([&](accel_t *accelerator, accel_model_t *model) {
            return accel_clip_grad_norm(accelerator, model, max_norm, &norm);
        });
        return norm;
    }

    /* Clamp every averaged gradient to -clip_value..clip_value. Collective. */
    template <typename Module>
    void clip_grad_value_(Module &module, double clip_value, Site site = Site::here())
    {
        detail::AtSite at(site);

        find(module).with_gradients([&](accel_t *accelerator, accel_model_t *model) {
            return accel_clip_grad_value(accelerator, model, clip_value);
        });
    }

    /* "no", "bf16" or "fp16" */
    std::string mixed_precision() const { return accel_mixed_precision(accelerator_); }

    /* Did an optimizer of ours leave out its last step, for gradients that were not finite? */
    bool optimizer_step_was_skipped() const { return accel_step_was_skipped(accelerator_); }

    /* auto guard = accelerator.autocast(): forward and loss in its scope are computed in the type
     * of mixed_precision; without that, or not enabled, as they are. */
    Autocast autocast(bool enabled = true) const
    {
        accel_dtype_t dtype = accel_autocast_dtype(accelerator_);

        return dtype == ACCEL_F32 ? Autocast(at::kBFloat16, false)
                                  : Autocast(detail::to_scalar_type(dtype), enabled);
    }

    /* The parameters whose gradient the last backward did not make on this process. */
    template <typename Module> std::vector<std::string> unused_parameters(Module &module)
    {
        return find(module).unused();
    }

    /* Write the parameters of a prepared module: `write` runs on the main process; every process
     * has the values, and its buffers, afterwards. Collective. */
    template <typename Module, typename Write>
    void update(Module &module, const Write &write, Site site = Site::here())
    {
        detail::AtSite at(site);

        find(module).update(write);
    }

    /* Running statistics and the like: those of rank 0, or of floating point the mean. Collective.
     */
    template <typename Module> void sync_buffers(Module &module) { find(module).sync_buffers(); }
    template <typename Module> void average_buffers(Module &module)
    {
        find(module).average_buffers();
    }

    /* torch::save and torch::load of a prepared module, by the main process. Collective. */
    template <typename Module>
    void save(Module &module, const std::string &path, Site site = Site::here())
    {
        Failure failure;

        if (is_main_process())
            failure = attempt([&] {
                torch::serialize::OutputArchive archive;

                detail::module_of(module)->save(archive);
                archive.save_to(path);
            });
        agree(failure, "accel: save to '" + path + "'", site);
    }

    template <typename Module>
    void load(Module &module, const std::string &path, Site site = Site::here())
    {
        torch::serialize::InputArchive archive;
        Failure failure;

        if (is_main_process())
            failure = attempt([&] { archive.load_from(path); });
        agree(failure, "accel: load of '" + path + "'", site);
        update(
            module, [&] { failure = attempt([&] { detail::module_of(module)->load(archive); }); },
            site);
        agree(failure, "accel: load of '" + path + "'", site);
    }

    /* accel::save_weights() and accel::load_weights() of a prepared module, by the main process: a
     * safetensors file. Collective. */
    template <typename Module>
    void save_weights(Module &module, const std::string &path, Site site = Site::here())
    {
        Failure failure;

        if (is_main_process())
            failure = attempt([&] { accel::save_weights(*detail::module_of(module), path); });
        agree(failure, "accel: save_weights to '" + path + "'", site);
    }

    template <typename Module>
    void load_weights(Module &module, const std::string &path, Site site = Site::here())
    {
        Failure failure;

        update(
            module,
            [&] {
                failure = attempt([&] { accel::load_weights(*detail::module_of(module), path); });
            },
            site);
        agree(failure, "accel: load_weights of '" + path + "'", site);
    }

    /* ---- the batch that fits ---- */

    /* find_executable_batch_size: call `function`, which takes an int64_t, with smaller and smaller
     * batch sizes until it returns without running out of memory on any process; returns that
     * size. Modules that it prepared are let go before the next. Another exception is thrown on,
     * and the other processes get its text. See accel_find_executable_batch_size(). Collective. */
    template <typename Function>
    int64_t find_executable_batch_size(const Function &function, int64_t starting_batch_size = 128,
                                       Site site = Site::here())
    {
        detail::AtSite at(site);
        accel_find_batch_size_options_t options = accel_find_batch_size_options_init();
        Attempts<Function> attempts{*this, function, nullptr};
        int64_t batch_size = 0;

        options.starting_batch_size = starting_batch_size;
        accel_status_t status = accel_find_executable_batch_size(
            accelerator_, &options, Attempts<Function>::run, &attempts, &batch_size);
        if (status < ACCEL_OK && attempts.error)
            std::rethrow_exception(attempts.error);
        detail::check(status);
        return batch_size;
    }

    /* ---- tracking ---- */

    /* The trackers of log_with; `init_kwargs` has a dictionary for each by name. Collective. */
    void init_trackers(const std::string &project_name, const accel_item_t *config = nullptr,
                       const accel_item_t *init_kwargs = nullptr, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_init_trackers(accelerator_, project_name.c_str(), config, init_kwargs));
    }

    /* accelerator.log(ACCEL_DICT("train_loss", loss.item<double>()), step); Where no tracker runs,
     * as on the other processes, it does nothing. Local; from any thread. */
    void log(const accel_item_t *values, int64_t step = ACCEL_NO_STEP)
    {
        detail::check(accel_log(accelerator_, values, step));
    }

    /* Valid until end_training(). */
    accel_tracker_t *get_tracker(const std::string &name)
    {
        accel_tracker_t *tracker = accel_get_tracker(accelerator_, name.c_str());

        if (!tracker)
            throw Error(ACCEL_ERR_NOT_FOUND, accel_last_error());
        return tracker;
    }

    /* Finish the trackers. Collective. */
    void end_training(Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_end_training(accelerator_));
    }

private:
    /* Exceptions do not pass the library's C. */
    template <typename Function> struct Attempts {
        Accelerator &accelerator;
        const Function &function;
        std::exception_ptr error; /* of the last attempt, but not for want of memory */

        static accel_status_t run(void *context, int64_t batch_size)
        {
            auto *self = static_cast<Attempts *>(context);
            auto &models = self->accelerator.models_;
            size_t before = models.size();

            self->error = nullptr;
            try {
                self->function(batch_size);
                return ACCEL_OK;
            } catch (const std::exception &error) {
                models.resize(std::min(before, models.size()));
                return self->status_of(error);
            }
        }

        accel_status_t status_of(const std::exception &thrown)
        {
            const auto *ours = dynamic_cast<const Error *>(&thrown);
            bool memory = detail::is_out_of_memory(thrown);

            if (!memory)
                error = std::current_exception();
            return accel_fail(memory ? ACCEL_ERR_NO_MEMORY
                              : ours ? ours->status()
                                     : ACCEL_ERR_STATE,
                              "%s", detail::text_of(thrown).c_str());
        }
    };

    /* What a call of prepare() was given. */
    struct Prepared {
        std::vector<torch::nn::Module *> modules;
        std::vector<detail::Fusable *> optimizers;
        std::vector<accel_loader_t *> loaders;
        ModelOptions options;

        template <typename Object> void add(Object &object)
        {
            if constexpr (std::is_base_of_v<detail::Fusable, Object>)
                optimizers.push_back(&object);
            else if constexpr (detail::IsModule<Object>::value)
                modules.push_back(detail::module_of(object));
            else if constexpr (std::is_base_of_v<detail::PreparableLoader, Object>)
                loaders.push_back(object.loader());
            else if constexpr (std::is_same_v<ModelOptions, std::remove_const_t<Object>>)
                options = object;
            else
                static_assert(std::is_base_of_v<torch::optim::Optimizer, Object>,
                              "prepare takes torch::nn modules, optimizers, accel::DataLoaders and "
                              "accel::ModelOptions");
        }

        void check()
        {
            bool ours = !optimizers.empty();

            if (ours && (modules.size() != 1 || optimizers.size() != 1))
                throw Error(ACCEL_ERR_INVALID,
                            "accel: prepare of " + std::to_string(modules.size()) +
                                " modules and " + std::to_string(optimizers.size()) +
                                " optimizers of ours; expected one of each in a call");
            if (ours && options.parameters == Parameters::replicated)
                throw Error(ACCEL_ERR_INVALID, "accel: prepare: an optimizer of ours wants "
                                               "Parameters::shared; use that of torch::optim");
            if (options.parameters == Parameters::automatic)
                options.parameters = ours ? Parameters::shared : Parameters::replicated;
        }
    };

    void add(torch::nn::Module &module, const ModelOptions &options)
    {
        for (const auto &model : models_)
            if (model->module() == &module)
                throw Error(ACCEL_ERR_STATE,
                            "accel: the module is prepared already, or one that is gone was, at "
                            "its address: let go of that before, by unprepare() or free_memory()");
        if (options.parameters == Parameters::replicated && mixed_precision() == "fp16")
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: mixed_precision fp16 scales the loss for optimizers of ours "
                        "(accel::AdamW); for others use accel::GradScaler, and accel::Autocast "
                        "without mixed_precision");
        models_.push_back(std::make_unique<detail::Model>(accelerator_, module, options));
    }

    template <typename Module> detail::Model &find(Module &module)
    {
        const torch::nn::Module *wanted = detail::module_of(module);

        for (auto &model : models_)
            if (model->module() == wanted)
                return *model;
        throw Error(ACCEL_ERR_STATE, "accel: the module is not prepared; call prepare() first");
    }

    void run_backward(const at::Tensor &loss, std::optional<double> weight, const Site &site)
    {
        detail::AtSite at(site);
        double scale = accel_gradient_scale(accelerator_) * weight.value_or(1);

        check_loss(loss);
        for (auto &model : models_)
            model->begin_backward(weight.has_value());
        try {
            loss.backward(scale == 1 ? at::Tensor() : at::full_like(loss, scale));
        } catch (const std::exception &error) {
            fail_backward(error);
            throw;
        }
        for (auto &model : models_)
            model->end_backward(models_.size() == 1, weight);
    }

    void check_loss(const at::Tensor &loss) const
    {
        if (models_.empty())
            throw Error(ACCEL_ERR_STATE, "accel: backward: no module is prepared");
        detail::check_cpu(loss, "accel: backward");
        if (loss.numel() != 1 || !loss.requires_grad())
            throw Error(ACCEL_ERR_INVALID,
                        loss.numel() != 1
                            ? "accel: backward: the loss has " + std::to_string(loss.numel()) +
                                  " elements; expected one"
                            : "accel: backward: the loss does not depend on a parameter that "
                              "requires a gradient");
    }

    /* The other processes would wait for this one. */
    void fail_backward(const std::exception &error)
    {
        std::string text = detail::text_of(error);
        accel_status_t status =
            detail::is_out_of_memory(error) ? ACCEL_ERR_NO_MEMORY : ACCEL_ERR_STATE;

        for (auto &model : models_)
            model->fail_backward(status, text.substr(0, text.find('\n')));
    }

    std::vector<std::unique_ptr<detail::Model>> models_;
};
} // namespace accel

#endif
