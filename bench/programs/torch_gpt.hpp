/* SPDX-License-Identifier: Apache-2.0 */
/* The GPT of peers/_gpt.py as a torch::nn module. */
#ifndef BENCH_TORCH_GPT_HPP
#define BENCH_TORCH_GPT_HPP

#include <string>

#include <torch/torch.h>

#include <accel/safetensors.h>

namespace gpt
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

    at::Tensor forward(const at::Tensor &tokens)
    {
        auto x = token(tokens) + position->weight;

        for (const auto &block : *blocks)
            x = block->as<Block>()->forward(x);
        return x;
    }

    at::Tensor loss(const at::Tensor &tokens, const at::Tensor &targets)
    {
        auto logits = at::linear(norm(forward(tokens)), token->weight);

        return at::cross_entropy_loss(logits.view({-1, logits.size(-1)}), targets.view(-1));
    }

    /* Of what may come next. */
    at::Tensor scores(const at::Tensor &tokens)
    {
        return at::linear(norm(forward(tokens).select(1, -1)), token->weight);
    }

    nn::Embedding token, position;
    nn::ModuleList blocks;
    nn::LayerNorm norm;
};
TORCH_MODULE(Gpt);

/* Of the size that the weights are of. */
inline Gpt make(const File &file)
{
    auto token = file.get("token.weight", at::kFloat);
    auto position = file.get("position.weight", at::kFloat);

    return Gpt(token.size(0), position.size(0), token.size(1), file.count(".qkv.weight"));
}

inline Gpt load(const File &file)
{
    Gpt net = make(file);
    torch::NoGradGuard no_grad;

    for (auto &item : net->named_parameters())
        item.value().copy_(file.get(item.key(), at::kFloat));
    return net;
}
} // namespace gpt

#endif
