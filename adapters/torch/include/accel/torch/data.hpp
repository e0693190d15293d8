/* SPDX-License-Identifier: Apache-2.0 */
/* torch::data datasets served by the library's sharding: every process its part, one seeded order,
 * the rules of Accelerate at the ends. */
#ifndef ACCEL_TORCH_DATA_HPP
#define ACCEL_TORCH_DATA_HPP

#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/data/samplers/base.h>
#include <torch/serialize/archive.h>

#include <accel/accelerator.h>
#include <accel/torch/tensor.hpp>

namespace accel
{
/* torch::data::DataLoaderOptions, in the library's words. batch_size is that of one process. */
struct DataLoaderOptions {
    explicit DataLoaderOptions(int64_t batch_size_ = 1) : batch_size(batch_size_) {}

    int64_t batch_size;
    bool shuffle = false;
    bool drop_last = false;
    uint64_t seed = 0; /* 0: ACCEL_DEFAULT_SEED; ACCEL_SEED_ZERO: 0 */
};

namespace detail
{
/* To Accelerator::prepare(). */
class PreparableLoader
{
public:
    virtual ~PreparableLoader() = default;
    virtual accel_loader_t *loader() const = 0;
};

/* torch's optional is std's in newer versions, and its own in older ones. */
template <typename Method> struct ArgumentOf;
template <typename Class, typename R, typename A> struct ArgumentOf<R (Class::*)(A)> {
    using Result = R;
    using Argument = A;
};

/* A stream gives what comes next, not sample 17. */
template <typename Dataset>
constexpr bool has_samples_by_number =
    std::is_constructible_v<typename Dataset::BatchRequestType, const std::vector<size_t> &>;
} // namespace detail

/* for (auto &batch : loader) { ... }: an epoch. Each begin() is the next epoch, in another order if
 * it shuffles; set_epoch() says which. A process that has no rows at a step is not handed an empty
 * batch: every process makes equally many steps, by even_batches.
 *
 * A batch is what the dataset's get_batch() gives, on the thread that asks: a vector of examples,
 * or one of tensors after map(torch::data::transforms::Stack<>()). Until it is prepared it serves
 * all samples. Destroy it before or after the accelerator. */
template <typename Dataset> class DataLoader : public detail::PreparableLoader
{
public:
    static_assert(
        detail::has_samples_by_number<Dataset>,
        "accel::DataLoader takes datasets whose samples have numbers. A stream or stateful "
        "dataset goes to torch's own data loader: give each process a part of its own");
    using Batch = typename Dataset::BatchType;

    DataLoader(Dataset dataset, const DataLoaderOptions &options) : dataset_(std::move(dataset))
    {
        const accel_field_t index = {"index", ACCEL_I64, 0, {0}};
        accel_dataset_options_t indices = accel_dataset_options_init();
        accel_loader_options_t how = accel_loader_options_init();
        auto size = dataset_.size();

        if (!size)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        "accel::DataLoader: the dataset does not know its size");
        indices.length = static_cast<int64_t>(*size);
        indices.get = [](void *, int64_t i, void *const *fields) {
            *static_cast<int64_t *>(fields[0]) = i;
            return ACCEL_OK;
        };
        indices.fields = &index;
        indices.num_fields = 1;
        detail::check(accel_dataset_create(&indices, &indices_));
        how.batch_size = options.batch_size;
        how.shuffle = options.shuffle;
        how.drop_last = options.drop_last;
        how.seed = options.seed;
        how.prefetch = ACCEL_OFF;
        accel_status_t status = accel_loader_create(indices_, &how, &loader_);
        if (status != ACCEL_OK)
            accel_dataset_destroy(indices_);
        detail::check(status);
    }

    ~DataLoader() override
    {
        accel_loader_destroy(loader_);
        accel_dataset_destroy(indices_);
    }
    DataLoader(const DataLoader &) = delete;
    DataLoader &operator=(const DataLoader &) = delete;

    accel_loader_t *loader() const override { return loader_; }

    /* Steps of an epoch: once it is prepared, those of each process. */
    int64_t size() const { return accel_loader_length(loader_); }
    void set_epoch(int64_t epoch) { epoch_ = epoch; } /* of the next begin() */

    /* Where it stands, for a checkpoint: plain numbers, equal on every process, counted in samples.
     * set_state() lets the next begin() go on there, with any number of processes. */
    accel_loader_state_t get_state() const
    {
        accel_loader_state_t state;

        detail::check(accel_loader_get_state(loader_, &state));
        return state;
    }
    void set_state(const accel_loader_state_t &state)
    {
        detail::check(accel_loader_set_state(loader_, &state));
        epoch_ = state.epoch;
    }

    Dataset &dataset() { return dataset_; }

    class Iterator
    {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Batch;
        using difference_type = std::ptrdiff_t;
        using pointer = Batch *;
        using reference = Batch &;

        explicit Iterator(DataLoader *loader) : loader_(loader) { ++*this; }
        Iterator() = default;

        Batch &operator*() { return *batch_; }
        Batch *operator->() { return &*batch_; }
        Iterator &operator++()
        {
            batch_ = loader_->next();
            if (!batch_)
                loader_ = nullptr;
            return *this;
        }
        bool operator==(const Iterator &other) const { return loader_ == other.loader_; }
        bool operator!=(const Iterator &other) const { return loader_ != other.loader_; }

    private:
        DataLoader *loader_ = nullptr;
        std::optional<Batch> batch_;
    };

    Iterator begin()
    {
        detail::check(accel_loader_begin(loader_, epoch_++));
        return Iterator(this);
    }
    Iterator end() { return Iterator(); }

private:
    std::optional<Batch> next()
    {
        accel_batch_t batch;

        if (detail::check(accel_loader_next(loader_, &batch)) == ACCEL_END)
            return std::nullopt;
        return dataset_.get_batch(std::vector<size_t>(batch.indices, batch.indices + batch.rows));
    }

    Dataset dataset_;
    int64_t epoch_ = 0;
    accel_dataset_t *indices_ = nullptr;
    accel_loader_t *loader_ = nullptr;
};

/* torch::data::make_data_loader(dataset, options) */
template <typename Dataset>
std::unique_ptr<DataLoader<Dataset>> make_data_loader(Dataset dataset,
                                                      const DataLoaderOptions &options)
{
    return std::make_unique<DataLoader<Dataset>>(std::move(dataset), options);
}

/* torch.utils.data.DistributedSampler for torch's own data loaders: this process's part, in an
 * order that the seed and the epoch decide, another in each epoch. batch_size is that of the data
 * loader it is given to: the part depends on it. Where the last step is incomplete it is filled
 * up from the start of the order, so that every process makes equally many steps; with
 * drop_last it is left out. */
class DistributedSampler : public torch::data::samplers::Sampler<>
{
public:
    using Indices = detail::ArgumentOf<decltype(&Sampler<>::next)>::Result;
    using Size = detail::ArgumentOf<decltype(&Sampler<>::reset)>::Argument;

    DistributedSampler(const accel_t *accelerator, size_t samples, const DataLoaderOptions &options)
        : rank_(accel_process_index(accelerator)), options_(options)
    {
        shard_.batch_size = options.batch_size;
        shard_.num_processes = accel_num_processes(accelerator);
        shard_.drop_last = options.drop_last;
        shard_.even_batches = true;
        start(samples);
    }

    void set_epoch(int64_t epoch)
    {
        epoch_ = epoch;
        start(static_cast<size_t>(shard_.samples));
    }
    int64_t epoch() const { return epoch_; }
    int64_t steps() const { return accel_shard_steps(&shard_); }

    /* A data loader calls it as an epoch begins: another call than the first is the next epoch. */
    void reset(Size new_size = {}) override
    {
        if (begun_)
            epoch_++;
        start(new_size ? *new_size : static_cast<size_t>(shard_.samples));
    }

    Indices next(size_t batch_size) override
    {
        std::vector<int64_t> positions(batch_size);
        std::vector<size_t> batch;

        if (static_cast<int64_t>(batch_size) != shard_.batch_size)
            throw Error(ACCEL_ERR_INVALID,
                        "accel::DistributedSampler: the data loader's batch_size is " +
                            std::to_string(batch_size) + ", the sampler's " +
                            std::to_string(shard_.batch_size));
        begun_ = true;
        if (step_ == steps())
            return {};
        int64_t length = accel_shard_batch(&shard_, step_++, rank_, positions.data());
        for (int64_t i = 0; i < length; i++) {
            int64_t position = positions[static_cast<size_t>(i)];

            batch.push_back(static_cast<size_t>(
                order_.empty() ? position : order_[static_cast<size_t>(position)]));
        }
        return batch;
    }

    void save(torch::serialize::OutputArchive &archive) const override
    {
        archive.write("position", at::tensor({epoch_, step_}, at::kLong), /*is_buffer=*/true);
    }

    void load(torch::serialize::InputArchive &archive) override
    {
        at::Tensor position = at::empty({2}, at::kLong);

        archive.read("position", position, /*is_buffer=*/true);
        set_epoch(position[0].item<int64_t>());
        step_ = position[1].item<int64_t>();
    }

private:
    void start(size_t samples)
    {
        shard_.samples = static_cast<int64_t>(samples);
        detail::check(accel_shard_check(&shard_));
        step_ = 0;
        begun_ = false;
        if (!options_.shuffle)
            return;
        order_.resize(samples);
        accel_shuffle(options_.seed == 0                 ? ACCEL_DEFAULT_SEED
                      : options_.seed == ACCEL_SEED_ZERO ? 0
                                                         : options_.seed,
                      epoch_, shard_.samples, order_.data());
    }

    accel_shard_t shard_ = {};
    int64_t rank_;
    DataLoaderOptions options_;
    int64_t epoch_ = 0, step_ = 0;
    bool begun_ = false;
    std::vector<int64_t> order_;
};
} // namespace accel

#endif
