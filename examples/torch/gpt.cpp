/* SPDX-License-Identifier: Apache-2.0 */
/* A small GPT learns to write, on any number of processes:
 *
 *     ./torch-gpt ; accel launch -n 2 ./torch-gpt ; ./torch-gpt --help
 *
 * gpt.hpp is the model; this is the loop, as PyTorch's users write it, and what is around it. */
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include <torch/torch.h>

#include <accel/progress.h>
#include <accel/torch.hpp>

#include "common/options.h"
#include "common/text.h"
#include "gpt.hpp"

/* Windows of a text, and the same one byte on. */
class Windows : public torch::data::datasets::Dataset<Windows>
{
public:
    Windows(const unsigned char *bytes, int64_t count, int64_t length)
        : bytes_(torch::tensor(at::ArrayRef<unsigned char>(bytes, static_cast<size_t>(count)))
                     .to(torch::kLong)),
          length_(length)
    {
    }

    torch::data::Example<> get(size_t index) override
    {
        int64_t first = static_cast<int64_t>(index) * length_;

        return {bytes_.narrow(0, first, length_), bytes_.narrow(0, first + 1, length_)};
    }
    torch::optional<size_t> size() const override
    {
        return static_cast<size_t>((bytes_.size(0) - 1) / length_);
    }

private:
    torch::Tensor bytes_;
    int64_t length_;
};

using Batches = torch::data::datasets::MapDataset<Windows, torch::data::transforms::Stack<>>;
using Loader = accel::DataLoader<Batches>;

static Batches windows(const unsigned char *bytes, int64_t count, int64_t length)
{
    return Windows(bytes, count, length).map(torch::data::transforms::Stack<>());
}

/* Up in a straight line, then down along a cosine. */
class WarmupCosine : public torch::optim::LRScheduler
{
public:
    WarmupCosine(torch::optim::Optimizer &optimizer, int64_t warmup, int64_t total)
        : LRScheduler(optimizer), base_(get_current_lrs()), warmup_(static_cast<double>(warmup)),
          total_(static_cast<double>(total))
    {
        step(); /* the first rate */
    }
    double rate() const { return get_current_lrs()[0]; }

private:
    std::vector<double> get_lrs() override
    {
        double at = step_count_, past = (at - warmup_) / (total_ - warmup_);
        double factor = at < warmup_ ? at / warmup_ : 0.5 + 0.5 * std::cos(M_PI * past);
        std::vector<double> rates = base_;

        for (double &rate : rates)
            rate *= factor;
        return rates;
    }

    std::vector<double> base_;
    double warmup_, total_;
};

/* Of each byte, in nats: [rows * length]. */
static torch::Tensor losses(Gpt &net, const torch::data::Example<> &batch)
{
    auto logits = net->forward(batch.data).flatten(0, 1);

    return torch::nn::functional::cross_entropy(
        logits, batch.target.flatten(),
        torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
}

/* Of the text that was held out. Collective. */
static double bits_per_byte(accel::Accelerator &accelerator, Gpt &net, Loader &loader)
{
    torch::NoGradGuard no_grad;
    double nats = 0, count = 0;

    for (auto &batch : loader) {
        auto scope = accelerator.autocast();
        auto means = losses(net, batch).view(batch.target.sizes()).to(torch::kDouble).mean(1);
        auto all = accelerator.gather_for_metrics(means);

        nats += all.sum().item<double>();
        count += static_cast<double>(all.size(0));
    }
    return nats / count / std::log(2.0);
}

/* The text, and what comes after it. */
static std::string write_on(Gpt &net, std::string text, int64_t bytes)
{
    torch::NoGradGuard no_grad;
    auto window = static_cast<size_t>(net->length);

    for (; bytes > 0; bytes--) {
        std::string seen = text.size() > window ? text.substr(text.size() - window) : text;
        auto input =
            torch::from_blob(seen.data(), {1, static_cast<int64_t>(seen.size())}, torch::kByte);
        auto scores = net->forward(input.to(torch::kLong))[0][-1];
        text += static_cast<char>(torch::multinomial((scores / 0.8).softmax(0), 1).item<int64_t>());
    }
    return text;
}

/* ^C on any process stops all of them after the same step. */
static bool should_stop(accel::Accelerator &accelerator)
{
    if (interrupt_seen())
        accelerator.set_trigger();
    return accelerator.check_trigger();
}

using Bar = std::unique_ptr<accel_progress_t, decltype(&accel_progress_destroy)>;

static Bar progress_bar(const accel::Accelerator &accelerator, int64_t steps)
{
    accel_progress_t *bar = nullptr;

    ACCEL_CHECK(
        accel_progress_create(accelerator.get(), ACCEL_PROGRESS_OPTIONS(.total = steps), &bar));
    return Bar(bar, accel_progress_destroy);
}

/* clang-format off */
/* [loop] */
int main(int argc, char **argv)
try {
    options_t o = options_parse(argc, argv, "torch-gpt", false);
    accel::Accelerator accelerator(ACCEL_OPTIONS(.log_with = o.log_with, .project_dir = "runs",
        .mixed_precision = o.mixed_precision,
        .gradient_accumulation_steps = static_cast<int32_t>(o.accumulate)));
    int64_t processes = accelerator.num_processes(), rows = (o.batch + processes - 1) / processes;
    text_t text = text_read(o.files, o.num_files, rows * processes * o.length + 1, o.length + 1);

    Gpt net(GptOptions{o.length, o.layers, o.width, o.heads, o.seed});
    accel::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(o.lr));
    accel::DataLoaderOptions how(rows);
    auto valid_loader = accel::make_data_loader(
        windows(text.bytes + text.train, text.length - text.train, o.length), how);
    how.shuffle = how.drop_last = true;
    how.seed = static_cast<uint64_t>(o.seed);
    auto loader = accel::make_data_loader(windows(text.bytes, text.train, o.length), how);
    accelerator.prepare(net, optimizer, *loader, *valid_loader);

    int64_t updates = o.epochs * ((loader->size() + o.accumulate - 1) / o.accumulate), step = 0;
    WarmupCosine scheduler(optimizer, updates / 20 + 1, updates);
    accelerator.init_trackers("gpt", ACCEL_DICT("layers", o.layers, "width", o.width, "lr", o.lr,
                                                "batch", o.batch, "length", o.length));
    interrupt_catch();
    bool stop = false;
    for (int64_t epoch = 0; epoch < o.epochs && !stop; epoch++) {
        Bar bar = progress_bar(accelerator, loader->size());
        for (auto &batch : *loader) {
            accelerator.accumulate(net);
            torch::Tensor loss;
            {
                auto scope = accelerator.autocast();
                loss = losses(net, batch).mean();
            }
            accelerator.backward(loss);
            accelerator.clip_grad_norm_(net, 1.0);
            double lr = scheduler.rate();
            double mean = accelerator.reduce(loss, ACCEL_MEAN).item<double>();
            optimizer.step();
            if (accelerator.sync_gradients())
                scheduler.step();
            optimizer.zero_grad();
            accelerator.log(ACCEL_DICT("train_loss", mean, "lr", lr), step++);
            accel_progress_set_postfix(bar.get(), ACCEL_DICT("loss", mean));
            accel_progress_update(bar.get(), 1);
            if ((stop = should_stop(accelerator)))
                break;
        }
        bar.reset();
        accel_loader_end(loader->loader());
        double bits = bits_per_byte(accelerator, net, *valid_loader);
        accelerator.log(ACCEL_DICT("bits_per_byte", bits), step);
        accel_print(accelerator.get(), "epoch %d: %.4f bits per byte held out\n",
                    static_cast<int>(epoch) + 1, bits);
    }
    if (accelerator.is_main_process())
        std::cout << write_on(net, o.prompt, o.sample) << std::endl;
    if (o.save)
        accelerator.save_weights(net, o.save);
    accelerator.end_training();
    free(text.bytes);
} catch (const std::exception &error) {
    std::cerr << "torch-gpt: " << error.what() << std::endl;
    return 1;
}
/* [/loop] */
/* clang-format on */
