/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of accel/torch.hpp train. Every parameter has a gradient that is not zero by
 * structure (no bias of keys or before a normalisation), or Adam would turn rounding into steps. */
#ifndef ACCEL_TESTS_TORCH_MODELS_HPP
#define ACCEL_TESTS_TORCH_MODELS_HPP

#include <torch/torch.h>

namespace models
{
/* Numbers that Python makes the same: sin(0.7 i + phase). */
inline torch::Tensor wave(at::IntArrayRef shape, double phase)
{
    int64_t count = 1;

    for (int64_t extent : shape)
        count *= extent;
    return torch::sin(torch::arange(count, torch::kDouble) * 0.7 + phase).reshape(shape);
}

struct MlpImpl : torch::nn::Module {
    MlpImpl()
    {
        fc1 = register_module("fc1", torch::nn::Linear(7, 33));
        fc2 = register_module("fc2", torch::nn::Linear(33, 5));
    }

    static torch::Tensor input(int64_t rows, double phase) { return wave({rows, 7}, phase); }
    static torch::Tensor target(int64_t rows, double phase) { return wave({rows, 5}, phase + 1); }

    torch::Tensor loss(const torch::Tensor &x, const torch::Tensor &y)
    {
        return torch::mse_loss(fc2(torch::tanh(fc1(x))), y);
    }

    torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};
TORCH_MODULE(Mlp);

struct CnnImpl : torch::nn::Module {
    CnnImpl()
    {
        conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 6, 3).bias(
                                           false))); /* which the mean would take out */
        norm = register_module("norm", torch::nn::BatchNorm2d(6));
        fc = register_module("fc", torch::nn::Linear(6 * 6 * 6, 4));
    }

    static torch::Tensor input(int64_t rows, double phase) { return wave({rows, 1, 8, 8}, phase); }
    static torch::Tensor target(int64_t rows, double phase) { return wave({rows, 4}, phase + 1); }

    torch::Tensor loss(const torch::Tensor &x, const torch::Tensor &y)
    {
        return torch::mse_loss(fc(torch::tanh(norm(conv(x))).flatten(1)), y);
    }

    torch::nn::Conv2d conv{nullptr};
    torch::nn::BatchNorm2d norm{nullptr};
    torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Cnn);

/* One block; the head is the embedding. */
struct GptImpl : torch::nn::Module {
    enum { VOCABULARY = 19, WIDTH = 16, HEADS = 2, LENGTH = 6 };

    GptImpl()
    {
        using torch::nn::LinearOptions;

        token = register_module("token", torch::nn::Embedding(VOCABULARY, WIDTH));
        position = register_module("position", torch::nn::Embedding(LENGTH, WIDTH));
        norm1 = register_module("norm1", torch::nn::LayerNorm(std::vector<int64_t>{WIDTH}));
        qkv =
            register_module("qkv", torch::nn::Linear(LinearOptions(WIDTH, 3 * WIDTH).bias(false)));
        out = register_module("out", torch::nn::Linear(WIDTH, WIDTH));
        norm2 = register_module("norm2", torch::nn::LayerNorm(std::vector<int64_t>{WIDTH}));
        up = register_module("up", torch::nn::Linear(WIDTH, 4 * WIDTH));
        down = register_module("down", torch::nn::Linear(4 * WIDTH, WIDTH));
        mask = register_buffer(
            "mask", torch::ones({LENGTH, LENGTH}, torch::kBool).triu(1)); /* the future */
    }

    static torch::Tensor input(int64_t rows, double phase)
    {
        return ((wave({rows, LENGTH}, phase) + 1) * (VOCABULARY / 2)).to(torch::kLong);
    }
    static torch::Tensor target(int64_t rows, double phase) { return input(rows, phase + 1); }

    torch::Tensor loss(const torch::Tensor &tokens, const torch::Tensor &next)
    {
        auto x = token(tokens) + position(torch::arange(LENGTH));
        auto parts =
            qkv(norm1(x)).view({-1, LENGTH, 3, HEADS, WIDTH / HEADS}).permute({2, 0, 3, 1, 4});
        auto scores = parts[0].matmul(parts[1].transpose(-1, -2)) / std::sqrt(WIDTH / HEADS);
        auto seen =
            torch::softmax(scores.masked_fill(mask.to(torch::kBool), -1e9), -1).matmul(parts[2]);

        x = x + out(seen.transpose(1, 2).reshape({-1, LENGTH, WIDTH}));
        x = x + down(torch::gelu(up(norm2(x))));
        auto logits = torch::nn::functional::linear(x, token->weight);
        return torch::nn::functional::cross_entropy(logits.reshape({-1, VOCABULARY}),
                                                    next.reshape(-1));
    }

    torch::nn::Embedding token{nullptr}, position{nullptr};
    torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr};
    torch::nn::Linear qkv{nullptr}, out{nullptr}, up{nullptr}, down{nullptr};
    torch::Tensor mask;
};
TORCH_MODULE(Gpt);

/* Values of full rank, which those of a wave are not: attention would nearly vanish, and with it
 * what float32 can say of its gradients. */
inline torch::Tensor chirp(at::IntArrayRef shape, double phase)
{
    int64_t count = 1;

    for (int64_t extent : shape)
        count *= extent;
    return torch::sin(torch::arange(count, torch::kDouble).square() * 0.7 + phase).reshape(shape);
}

/* The same values on every rank, in every process. */
template <typename Module> Module make(torch::ScalarType type)
{
    Module module;
    double phase = 0;

    torch::NoGradGuard no_grad;
    module->to(type);
    for (auto &item : module->named_parameters()) {
        bool scale = item.key().find("norm") == 0 && item.key().find("weight") != std::string::npos;

        item.value().copy_(chirp(item.value().sizes(), phase++) * 0.3 + (scale ? 1 : 0));
    }
    return module;
}

template <typename Tensors>
double difference(const Tensors &a, const Tensors &b) /* max |a - b| / max |a| */
{
    double largest = 0, distance = 0;

    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < a.size(); i++) {
        largest = std::max(largest, a[i].abs().max().template item<double>());
        distance = std::max(distance, (a[i] - b[i]).abs().max().template item<double>());
    }
    return distance / largest;
}
} // namespace models

#endif
