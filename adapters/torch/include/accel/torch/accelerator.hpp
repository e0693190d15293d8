/* SPDX-License-Identifier: Apache-2.0 */
/* The accelerator of a C++ program whose models are torch::nn modules. */
#ifndef ACCEL_TORCH_ACCELERATOR_HPP
#define ACCEL_TORCH_ACCELERATOR_HPP

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/nn/pimpl.h>
#include <torch/serialize.h>

#include <accel/torch/amp.hpp>
#include <accel/torch/blas.hpp>
#include <accel/torch/data.hpp>
#include <accel/torch/model.hpp>
#include <accel/torch/optimizer.hpp>

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

/* What `end` ends is over with the scope that holds this. */
template <typename... Arguments> class Scope
{
public:
    Scope(Arguments... arguments, accel_status_t (*end)(Arguments...))
        : arguments_(arguments...), end_(end)
    {
    }
    ~Scope()
    {
        if (end_)
            (void)!std::apply(end_, arguments_);
    }
    Scope(Scope &&other) noexcept
        : arguments_(other.arguments_), end_(std::exchange(other.end_, nullptr))
    {
    }
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;

private:
    std::tuple<Arguments...> arguments_;
    accel_status_t (*end_)(Arguments...);
};
} // namespace detail

/* Accelerate's Accelerator. What fails throws accel::Error with the library's text. Collective
 * methods must be called by all processes in the same order. Used by one thread at a time, but
 * for log(). Destroy it before MPI_Finalize or the like; models may be destroyed before or after,
 * and have their own memory again, with the trained values, once it is gone. */
class Accelerator
{
public:
    /* accel::Accelerator accelerator(ACCEL_OPTIONS(.log_with = "wandb")); Collective. */
    explicit Accelerator(const accel_options_t *options = nullptr, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_create(options, &accelerator_));
        detail::share_cores(num_processes());
        if (is_local_main_process())
            warn_of_slow_blas();
    }

    ~Accelerator()
    {
        models_.clear();
        accel_destroy(accelerator_);
    }
    Accelerator(const Accelerator &) = delete;
    Accelerator &operator=(const Accelerator &) = delete;

    accel_t *get() const { return accelerator_; } /* for what only the C library offers */

    /* ---- who am I ---- */

    int32_t num_processes() const { return accel_num_processes(accelerator_); }
    int32_t process_index() const { return accel_process_index(accelerator_); }
    int32_t local_process_index() const { return accel_local_process_index(accelerator_); }
    bool is_main_process() const { return accel_is_main_process(accelerator_); }
    bool is_local_main_process() const { return accel_is_local_main_process(accelerator_); }
    bool is_last_process() const { return accel_is_last_process(accelerator_); }
    at::Device device() const { return at::kCPU; }

    void print(const std::string &text) const { accel_print(accelerator_, "%s\n", text.c_str()); }
    void wait_for_everyone(Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_wait_for_everyone(accelerator_));
    }

    /* auto guard = accelerator.main_process_first(): what follows in its scope runs on the main
     * process, and then on the others. Collective. */
    auto main_process_first(Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_main_process_first_begin(accelerator_));
        return detail::Scope<accel_t *>(accelerator_, accel_main_process_first_end);
    }

    /* This process's part of `length` inputs. */
    accel_split_t split_between_processes(int64_t length, bool apply_padding = false) const
    {
        accel_split_t split;

        detail::check(accel_split_between_processes(accelerator_, length, apply_padding, &split));
        return split;
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
    template <typename Module> accel_model_t *get(Module &module) { return find(module).get(); }

    /* The module has its own memory again, with the values of now. Collective. */
    template <typename Module> void unprepare(Module &module)
    {
        detail::Model *model = &find(module);

        detail::check(accel_wait_for_everyone(accelerator_));
        models_.erase(std::find_if(models_.begin(), models_.end(),
                                   [model](const auto &it) { return it.get() == model; }));
    }

    /* ---- the training step ---- */

    /* loss.backward() with what accumulation divides by; at sync steps the gradients of replicated
     * models are averages afterwards. An exception of autograd is thrown on, and fails the other
     * processes' next collective. Collective at sync steps. */
    void backward(const at::Tensor &loss, Site site = Site::here())
    {
        detail::AtSite at(site);
        double scale = accel_gradient_scale(accelerator_);

        check_loss(loss);
        for (auto &model : models_)
            model->begin_backward();
        try {
            loss.backward(scale == 1 ? at::Tensor() : at::full_like(loss, scale));
        } catch (const std::exception &error) {
            fail_backward(error);
            throw;
        }
        for (auto &model : models_)
            model->end_backward(models_.size() == 1);
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

    bool sync_gradients() const { return accel_is_sync_step(accelerator_); }

    /* Every process's gradients become the average, now. Collective. */
    template <typename Module> void sync_gradients(Module &module, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_sync_gradients(accelerator_, find(module).get()));
    }

    /* torch.nn.utils.clip_grad_norm_ of all gradients of the model; returns the norm before, 0 off
     * a sync step. Collective. */
    template <typename Module>
    double clip_grad_norm_(Module &module, double max_norm, Site site = Site::here())
    {
        detail::AtSite at(site);
        double norm = 0;

        detail::check(accel_clip_grad_norm(accelerator_, find(module).get(), max_norm, &norm));
        return norm;
    }

    /* Clamp every averaged gradient to -clip_value..clip_value. Collective. */
    template <typename Module>
    void clip_grad_value_(Module &module, double clip_value, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_clip_grad_value(accelerator_, find(module).get(), clip_value));
    }

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
        std::string failure;

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
        std::string failure;

        if (is_main_process())
            failure = attempt([&] { archive.load_from(path); });
        agree(failure, "accel: load of '" + path + "'", site);
        update(
            module, [&] { failure = attempt([&] { detail::module_of(module)->load(archive); }); },
            site);
        agree(failure, "accel: load of '" + path + "'", site);
    }

    /* ---- tensors of all processes: collective; CPU tensors, strided ones are copied ---- */

    at::Tensor gather(const at::Tensor &tensor, Site site = Site::here())
    {
        return combine(tensor, "gather", site, accel_gather);
    }

    /* Without the rows that only completed the last batch of the accel::DataLoader under way. */
    at::Tensor gather_for_metrics(const at::Tensor &tensor, Site site = Site::here())
    {
        return combine(tensor, "gather_for_metrics", site, accel_gather_for_metrics);
    }

    /* A combined copy. */
    at::Tensor reduce(const at::Tensor &tensor, accel_reduction_t reduction = ACCEL_SUM,
                      Site site = Site::here())
    {
        detail::AtSite at(site);
        at::Tensor copy = tensor.defined() ? tensor.detach().clone() : tensor;
        detail::TensorView view(copy, "accel: reduce");

        if (tensor.scalar_type() == at::kBool)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: reduce: the tensor is Bool; expected numbers");
        detail::check(accel_reduce(accelerator_, view.get(), reduction));
        return view.compact();
    }

    /* In place. */
    void broadcast(at::Tensor &tensor, int32_t from_process = 0, Site site = Site::here())
    {
        detail::AtSite at(site);
        detail::TensorView view(tensor, "accel: broadcast");

        detail::check(accel_broadcast(accelerator_, view.get(), from_process));
        if (view.compact().data_ptr() == tensor.data_ptr())
            return;
        at::NoGradGuard no_grad;
        tensor.copy_(view.compact());
    }

    at::Tensor pad_across_processes(const at::Tensor &tensor, int32_t dim = 0, double pad_index = 0,
                                    bool pad_first = false, Site site = Site::here())
    {
        return combine(
            tensor, "pad_across_processes", site,
            [=](accel_t *accelerator, const accel_tensor_t *view, accel_tensor_t **made) {
                return accel_pad_across_processes(accelerator, view, dim, pad_index, pad_first,
                                                  made);
            });
    }

    /* ---- tracking ---- */

    void init_trackers(const std::string &project_name, const accel_item_t *config = nullptr,
                       const accel_item_t *init_kwargs = nullptr, Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_init_trackers(accelerator_, project_name.c_str(), config, init_kwargs));
    }

    /* accelerator.log(ACCEL_DICT("train_loss", loss.item<double>()), step); */
    void log(const accel_item_t *values, int64_t step = ACCEL_NO_STEP)
    {
        detail::check(accel_log(accelerator_, values, step));
    }

    accel_tracker_t *get_tracker(const std::string &name)
    {
        accel_tracker_t *tracker = accel_get_tracker(accelerator_, name.c_str());

        if (!tracker)
            throw Error(ACCEL_ERR_NOT_FOUND, accel_last_error());
        return tracker;
    }

    void end_training(Site site = Site::here())
    {
        detail::AtSite at(site);

        detail::check(accel_end_training(accelerator_));
    }

private:
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
                throw Error(ACCEL_ERR_STATE, "accel: the module is prepared already");
        if (options.parameters == Parameters::replicated &&
            std::string(accel_mixed_precision(accelerator_)) == "fp16")
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
        const auto *torch_error = dynamic_cast<const c10::Error *>(&error);
        std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();

        for (auto &model : models_)
            model->fail_backward(text.substr(0, text.find('\n')));
    }

    template <typename Call>
    at::Tensor combine(const at::Tensor &tensor, const char *what, const Site &site,
                       const Call &call)
    {
        detail::AtSite at(site);
        detail::TensorView view(tensor, (std::string("accel: ") + what).c_str());
        accel_tensor_t *made = nullptr;

        detail::check(call(accelerator_, view.get(), &made));
        return detail::take(made, tensor.scalar_type());
    }

    template <typename Action> static std::string attempt(const Action &action)
    {
        try {
            action();
        } catch (const c10::Error &error) {
            return error.what_without_backtrace();
        } catch (const std::exception &error) {
            return error.what();
        }
        return "";
    }

    /* What failed on the main process is thrown on every one. */
    void agree(const std::string &failure, const std::string &what, const Site &site)
    {
        detail::AtSite at(site);
        accel_objects_t *object = nullptr;
        size_t size = 0;

        detail::check(
            accel_broadcast_object(accelerator_, failure.data(), failure.size(), 0, &object));
        const auto *text = static_cast<const char *>(accel_objects_get(object, 0, &size));
        std::string first(text ? text : "", text ? size : 0);
        accel_objects_destroy(object);
        if (!first.empty())
            throw Error(ACCEL_ERR_IO, what + ": " + first.substr(0, first.find('\n')));
    }

    accel_t *accelerator_ = nullptr;
    std::vector<std::unique_ptr<detail::Model>> models_;
};
} // namespace accel

#endif
