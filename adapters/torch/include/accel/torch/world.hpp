/* SPDX-License-Identifier: Apache-2.0 */
/* What an accelerator is without a model: the processes, and what they do together. */
#ifndef ACCEL_TORCH_WORLD_HPP
#define ACCEL_TORCH_WORLD_HPP

#include <exception>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>

#include <accel/accelerator.h>
#include <accel/torch/tensor.hpp>

namespace accel
{
namespace detail
{
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

/* The part of accel::Accelerator that needs no model. */
class World
{
public:
    World(const World &) = delete;
    World &operator=(const World &) = delete;

    accel_t *get() const { return accelerator_; } /* for what only the C library offers */

    /* ---- who am I ---- */

    int32_t num_processes() const { return accel_num_processes(accelerator_); }
    int32_t process_index() const { return accel_process_index(accelerator_); }
    int32_t local_process_index() const { return accel_local_process_index(accelerator_); }
    bool is_main_process() const { return accel_is_main_process(accelerator_); }
    bool is_local_main_process() const { return accel_is_local_main_process(accelerator_); }
    bool is_last_process() const { return accel_is_last_process(accelerator_); }
    at::Device device() const { return at::kCPU; }

    /* accelerator.on_main_process([&] { ... }): there only. Local. */
    template <typename Action> void on_main_process(const Action &action) const
    {
        if (is_main_process())
            action();
    }
    template <typename Action> void on_local_main_process(const Action &action) const
    {
        if (is_local_main_process())
            action();
    }
    template <typename Action> void on_last_process(const Action &action) const
    {
        if (is_last_process())
            action();
    }
    template <typename Action> void on_process(int32_t process_index, const Action &action) const
    {
        if (accel_is_process(accelerator_, process_index))
            action();
    }
    template <typename Action>
    void on_local_process(int32_t local_process_index, const Action &action) const
    {
        if (accel_is_local_process(accelerator_, local_process_index))
            action();
    }

    void print(const std::string &text) const { accel_print(accelerator_, "%s\n", text.c_str()); }

    /* ---- together ---- */

    void wait_for_everyone(Site site = Site::here())
    {
        AtSite at(site);

        check(accel_wait_for_everyone(accelerator_));
    }

    /* auto guard = accelerator.main_process_first(): what follows in its scope runs on the main
     * process, and then on the others; or so on each host. Collective. */
    auto main_process_first(Site site = Site::here())
    {
        AtSite at(site);

        check(accel_main_process_first_begin(accelerator_));
        return Scope<accel_t *>(accelerator_, accel_main_process_first_end);
    }
    auto local_main_process_first(Site site = Site::here())
    {
        AtSite at(site);

        check(accel_local_main_process_first_begin(accelerator_));
        return Scope<accel_t *>(accelerator_, accel_local_main_process_first_end);
    }

    /* Raise a flag on this process, say to stop early. Local. */
    void set_trigger() { accel_set_trigger(accelerator_); }

    /* Has any process raised its flag since the last check? All are down again. Collective. */
    bool check_trigger(Site site = Site::here())
    {
        AtSite at(site);
        bool triggered = false;

        check(accel_check_trigger(accelerator_, &triggered));
        return triggered;
    }

    /* torch.manual_seed, with device_specific of seed + the process index; and the shuffle of
     * accel::DataLoaders that are prepared later and have no seed: the same on every process.
     * Returns what torch was seeded with. Local. */
    uint64_t set_seed(uint64_t seed, bool device_specific = false)
    {
        uint64_t own = accel_set_seed(accelerator_, seed, device_specific);

        at::manual_seed(own);
        return own;
    }

    /* ---- this process's part of `length` inputs, of a list, of a tensor's rows. With
     * apply_padding all processes have equally many: the last one again and again. Local. ---- */

    accel_split_t split_between_processes(int64_t length, bool apply_padding = false) const
    {
        accel_split_t split;

        check(accel_split_between_processes(accelerator_, length, apply_padding, &split));
        return split;
    }

    template <typename Input>
    std::vector<Input> split_between_processes(const std::vector<Input> &inputs,
                                               bool apply_padding = false) const
    {
        auto split = split_between_processes(static_cast<int64_t>(inputs.size()), apply_padding);
        auto begin = inputs.begin() + split.begin;
        std::vector<Input> part(begin, begin + split.count);

        for (int64_t i = 0; i < split.padding; i++)
            part.push_back(inputs.back());
        return part;
    }

    at::Tensor split_between_processes(const at::Tensor &inputs, bool apply_padding = false) const
    {
        if (!inputs.defined() || inputs.dim() == 0)
            throw Error(ACCEL_ERR_INVALID,
                        "accel: split_between_processes: the tensor has no rows");
        auto split = split_between_processes(inputs.size(0), apply_padding);
        at::Tensor part = inputs.narrow(0, split.begin, split.count);

        if (split.padding == 0)
            return part;
        at::Tensor last = inputs.narrow(0, inputs.size(0) - 1, 1);
        return at::cat({part, last.repeat_interleave(split.padding, 0)});
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
        AtSite at(site);
        at::Tensor copy = tensor.defined() ? tensor.detach().clone() : tensor;
        TensorView view(copy, "accel: reduce");

        if (tensor.scalar_type() == at::kBool)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel: reduce: the tensor is Bool; expected numbers");
        check(accel_reduce(accelerator_, view.get(), reduction));
        return view.compact();
    }

    /* In place. */
    void broadcast(at::Tensor &tensor, int32_t from_process = 0, Site site = Site::here())
    {
        AtSite at(site);
        TensorView view(tensor, "accel: broadcast");

        check(accel_broadcast(accelerator_, view.get(), from_process));
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

    /* ---- bytes of all processes: text, or what torch::pickle_save makes of anything. Collective.
     * ---- */

    /* One a process, in their order; of any sizes. */
    std::vector<std::string> gather_object(const std::string &object, Site site = Site::here())
    {
        AtSite at(site);
        accel_objects_t *objects = nullptr;

        check(accel_gather_object(accelerator_, object.data(), object.size(), &objects));
        return take(objects);
    }

    /* That of from_process. */
    std::string broadcast_object(const std::string &object, int32_t from_process = 0,
                                 Site site = Site::here())
    {
        AtSite at(site);
        accel_objects_t *objects = nullptr;

        check(accel_broadcast_object(accelerator_, object.data(), object.size(), from_process,
                                     &objects));
        return take(objects)[0];
    }

protected:
    World() = default;
    ~World() = default;

    struct Failure {
        accel_status_t status = ACCEL_OK;
        std::string text;
    };

    template <typename Action> static Failure attempt(const Action &action)
    {
        try {
            action();
        } catch (const Error &error) {
            return {error.status(), error.what()};
        } catch (const std::exception &error) {
            return {ACCEL_ERR_IO, text_of(error)};
        }
        return {};
    }

    /* What failed on the main process is thrown on every one. */
    void agree(const Failure &failure, const std::string &what, const Site &site)
    {
        auto status = std::stoi(broadcast_object(std::to_string(failure.status), 0, site));
        std::string text = broadcast_object(failure.text, 0, site);

        if (status != ACCEL_OK)
            throw Error(static_cast<accel_status_t>(status),
                        what + ": " + text.substr(0, text.find('\n')));
    }

    accel_t *accelerator_ = nullptr;

private:
    template <typename Call>
    at::Tensor combine(const at::Tensor &tensor, const char *what, const Site &site,
                       const Call &call)
    {
        AtSite at(site);
        TensorView view(tensor, (std::string("accel: ") + what).c_str());
        accel_tensor_t *made = nullptr;

        check(call(accelerator_, view.get(), &made));
        return detail::take(made, tensor.scalar_type());
    }

    static std::vector<std::string> take(accel_objects_t *objects)
    {
        std::vector<std::string> list;

        for (int32_t i = 0; i < accel_objects_count(objects); i++) {
            size_t size = 0;
            const void *bytes = accel_objects_get(objects, i, &size);

            list.emplace_back(size ? static_cast<const char *>(bytes) : "", size);
        }
        accel_objects_destroy(objects);
        return list;
    }
};
} // namespace detail
} // namespace accel

#endif
