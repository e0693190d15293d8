/* SPDX-License-Identifier: Apache-2.0 */
/* torch_gpt.c in C++, with a torch::nn module and accel/torch.hpp: torch_gpt_cpp FOLDER STEPS
 * [MARK] */
#include <string>

#include <torch/torch.h>

#include <accel/safetensors.h>
#include <accel/torch.hpp>

#include "round.h"

namespace
{
enum { HEAD = 64 };
namespace nn = torch::nn;

/* A file of tensors. */
class File
{
public:
    explicit File(const std::string &path)
    {
        ACCEL_CHECK(accel_safetensors_open(path.c_str(), &file_));
    }
    ~File() { accel_safetensors_close(file_); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    at::Tensor get(const std::string &name, at::ScalarType type) const
    {
        const accel_tensor_t *view;

        ACCEL_CHECK(accel_safetensors_tensor(file_, name.c_str(), &view));
        return at::from_blob(view->data,
                             at::IntArrayRef(view->shape, static_cast<size_t>(view->ndim)), type);
    }

    int64_t count(const std::string &end) const
    {
        int64_t count = 0;

        for (int64_t i = 0; i < accel_safetensors_num_tensors(file_); i++) {
            std::string name = accel_safetensors_name(file_, i);
            count += name.size() > end.size() &&
                     name.compare(name.size() - end.size(), end.size(), end) == 0;
        }
        return count;
    }

private:
    accel_safetensors_t *file_ = nullptr;
};

struct BlockImpl : nn::Module {
    explicit BlockImpl(int64_t width)
        : norm1(register_module("norm1", nn::LayerNorm(std::vector<int64_t>{width}))),
          norm2(register_module("norm2", nn::LayerNorm(std::vector<int64_t>{width}))),
          qkv(register_module("qkv", nn::Linear(width, 3 * width))),
          out(register_module("out", nn::Linear(width, width))),
          up(register_module("up", nn::Linear(width, 4 * width))),
          down(register_module("down", nn::Linear(4 * width, width)))
    {
    }

    at::Tensor forward(const at::Tensor &input)
    {
        auto rows = input.size(0), length = input.size(1), width = input.size(2);
        auto parts = qkv(norm1(input)).view({rows, length, 3, width / HEAD, HEAD});
        parts = parts.permute({2, 0, 3, 1, 4});
        auto seen = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0, true);
        auto x = input + out(seen.transpose(1, 2).reshape({rows, length, width}));
        return x + down(at::gelu(up(norm2(x))));
    }

    nn::LayerNorm norm1, norm2;
    nn::Linear qkv, out, up, down;
};
TORCH_MODULE(Block);

struct GptImpl : nn::Module {
    GptImpl(int64_t vocabulary, int64_t context, int64_t width, int64_t layers)
        : token(register_module("token", nn::Embedding(vocabulary, width))),
          position(register_module("position", nn::Embedding(context, width))),
          blocks(register_module("blocks", nn::ModuleList())),
          norm(register_module("norm", nn::LayerNorm(std::vector<int64_t>{width})))
    {
        for (int64_t i = 0; i < layers; i++)
            blocks->push_back(Block(width));
    }

    at::Tensor loss(const at::Tensor &tokens, const at::Tensor &targets)
    {
        auto x = token(tokens) + position->weight;

        for (const auto &block : *blocks)
            x = block->as<Block>()->forward(x);
        auto logits = at::linear(norm(x), token->weight);
        return at::cross_entropy_loss(logits.view({-1, logits.size(-1)}), targets.view(-1));
    }

    nn::Embedding token, position;
    nn::ModuleList blocks;
    nn::LayerNorm norm;
};
TORCH_MODULE(Gpt);

Gpt load(const File &file)
{
    auto token = file.get("token.weight", at::kFloat);
    auto position = file.get("position.weight", at::kFloat);
    Gpt net(token.size(0), position.size(0), token.size(1), file.count(".qkv.weight"));

    torch::NoGradGuard no_grad;
    for (auto &item : net->named_parameters())
        item.value().copy_(file.get(item.key(), at::kFloat));
    return net;
}

class Training
{
public:
    explicit Training(const std::string &folder)
        : net_(load(File(folder + "/weights.safetensors"))),
          optimizer_(net_->parameters(), torch::optim::AdamWOptions(1e-3).weight_decay(1e-2)),
          file_(folder + "/batches.safetensors"),
          batches_(file_.get("tokens", at::kLong).select(1, accelerator_.process_index()).unbind(0))
    {
        accelerator_.prepare(net_, optimizer_);
    }

    double step()
    {
        const auto &batch = batches_[next_++ % batches_.size()];
        auto loss = net_->loss(batch[0], batch[1]);

        accelerator_.backward(loss);
        optimizer_.step();
        optimizer_.zero_grad();
        return loss.item<double>();
    }

    accel::Accelerator &accelerator() { return accelerator_; }

private:
    accel::Accelerator accelerator_;
    Gpt net_;
    accel::AdamW optimizer_;
    File file_;
    std::vector<at::Tensor> batches_;
    size_t next_ = 0;
};

void take_turns(Training &training, int64_t steps)
{
    round_open(training.accelerator().process_index());
    while (round_next()) {
        double loss = training.step();

        training.accelerator().wait_for_everyone();
        for (int64_t i = 0; i < steps; i++) {
            double start = round_now();
            loss = training.step();
            round_sample(round_now() - start);
        }
        round_sample(loss);
    }
    round_close();
}
} // namespace

int main(int argc, char **argv)
{
    int64_t steps = round_argument(argc, argv, 2, "steps");
    Training training(argv[1]);

    if (argc > 3) {
        training.step();
        if (training.accelerator().is_main_process())
            round_mark(argv[3], training.accelerator().num_processes());
    } else {
        take_turns(training, steps);
    }
    return 0;
}
