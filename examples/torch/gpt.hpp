/* SPDX-License-Identifier: Apache-2.0 */
/* A small GPT on bytes, as export_gpt.py has it: the same operations and the same names. */
#ifndef ACCEL_EXAMPLES_GPT_HPP
#define ACCEL_EXAMPLES_GPT_HPP

#include <cmath>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include <torch/torch.h>

struct GptOptions {
    int64_t length = 64, layers = 3, width = 96, heads = 4, seed = 1;
};

/* From "length=64,layers=3": what a program in C hands over. */
inline GptOptions parse_gpt_options(const std::string &text)
{
    GptOptions options;
    const std::map<std::string, int64_t *> known = {{"length", &options.length},
                                                    {"layers", &options.layers},
                                                    {"width", &options.width},
                                                    {"heads", &options.heads},
                                                    {"seed", &options.seed}};
    std::istringstream items(text);

    for (std::string item; std::getline(items, item, ',');) {
        std::istringstream words(item);
        std::string name;
        int64_t value = 0;

        std::getline(words, name, '=');
        if (!(words >> value) || !words.eof() || value < 1 || known.count(name) == 0)
            throw std::invalid_argument("gpt: '" + item + "': expected length, layers, width, " +
                                        "heads or seed, '=', and a number from 1 on");
        *known.at(name) = value;
    }
    return options;
}

/* Attention to what came before, and a perceptron, each added to what went in. */
struct BlockImpl : torch::nn::Module {
    explicit BlockImpl(const GptOptions &options) : heads(options.heads)
    {
        using torch::nn::LayerNorm, torch::nn::Linear, torch::nn::LinearOptions;
        int64_t width = options.width;

        norm1 = register_module("norm1", LayerNorm(std::vector<int64_t>{width}));
        qkv = register_module("qkv", Linear(LinearOptions(width, 3 * width).bias(false)));
        out = register_module("out", Linear(width, width));
        norm2 = register_module("norm2", LayerNorm(std::vector<int64_t>{width}));
        up = register_module("up", Linear(width, 4 * width));
        down = register_module("down", Linear(4 * width, width));
    }

    torch::Tensor attention(const torch::Tensor &x, const torch::Tensor &future)
    {
        int64_t rows = x.size(0), length = x.size(1), width = x.size(2);
        auto parts = qkv(x).view({rows, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
        auto scores = parts[0].matmul(parts[1].transpose(-2, -1)) /
                      std::sqrt(static_cast<double>(width / heads));
        auto weights = scores.masked_fill(future, -std::numeric_limits<float>::infinity());
        auto seen = weights.softmax(-1).matmul(parts[2]);

        return out(seen.transpose(1, 2).reshape({rows, length, width}));
    }

    torch::Tensor forward(torch::Tensor x, const torch::Tensor &future)
    {
        x = x + attention(norm1(x), future);
        return x + down(torch::gelu(up(norm2(x))));
    }

    int64_t heads;
    torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr};
    torch::nn::Linear qkv{nullptr}, out{nullptr}, up{nullptr}, down{nullptr};
};
TORCH_MODULE(Block);

struct GptImpl : torch::nn::Module {
    enum { BYTES = 256 };

    explicit GptImpl(const std::string &arguments) : GptImpl(parse_gpt_options(arguments)) {}
    explicit GptImpl(const GptOptions &options) : length(options.length)
    {
        torch::manual_seed(static_cast<uint64_t>(options.seed));
        token = register_module("token", torch::nn::Embedding(BYTES, options.width));
        position = register_module("position", torch::nn::Embedding(length, options.width));
        blocks = register_module("blocks", torch::nn::ModuleList());
        for (int64_t i = 0; i < options.layers; i++)
            blocks->push_back(Block(options));
        norm = register_module("norm", torch::nn::LayerNorm(std::vector<int64_t>{options.width}));
        torch::nn::init::normal_(token->weight, 0, 0.1);
        torch::nn::init::normal_(position->weight, 0, 0.1);
    }

    /* bytes: int64 [rows, up to `length`]; what comes after each: logits [rows, the same, 256]. The
     * head is the embedding. */
    torch::Tensor forward(torch::Tensor bytes)
    {
        int64_t count = bytes.size(1);
        auto future = torch::ones({count, count}, torch::kBool).triu(1);
        auto x = token(bytes) + position(torch::arange(count));

        for (const auto &block : *blocks)
            x = block->as<Block>()->forward(x, future);
        return torch::nn::functional::linear(norm(x), token->weight);
    }

    int64_t length;
    torch::nn::Embedding token{nullptr}, position{nullptr};
    torch::nn::ModuleList blocks{nullptr};
    torch::nn::LayerNorm norm{nullptr};
};
TORCH_MODULE(Gpt);

#endif
