/* SPDX-License-Identifier: Apache-2.0 */
/* Modules that are hard to serve: small, and in double. Where two arguments mean the same
 * computation in two ways, training must not see which. */
#ifndef ACCEL_TESTS_TORCH_ODD_HPP
#define ACCEL_TESTS_TORCH_ODD_HPP

#include <csignal>

#include <torch/torch.h>

#include "models.hpp"

namespace odd
{
using at::Tensor;
using models::wave;

/* ---- parameters ---- */

/* One tensor under two names. `late` was tied too late: its entry stays as it was registered. */
struct Tied : torch::nn::Module {
    Tied()
    {
        a = register_parameter("a", wave({3, 3}, 0));
        b = register_parameter("b", a);
        late = register_parameter("late", wave({3, 3}, 1));
        late = a;
    }
    Tensor forward() { return (a.matmul(b).matmul(late) - 1).square().mean(); }
    Tensor a, b, late;
};

/* Running statistics, and other answers in training than in evaluation; of a file if there is one.
 */
struct Norm : torch::nn::Module {
    explicit Norm(const std::string &path)
    {
        norm = register_module("norm", torch::nn::BatchNorm1d(3));
        this->to(torch::kDouble);
        if (path.empty())
            return;
        torch::serialize::InputArchive archive;
        archive.load_from(path);
        this->load(archive);
    }
    Tensor forward(Tensor x) { return norm(x); }
    torch::nn::BatchNorm1d norm{nullptr};
};

/* Of no elements, of no dimensions, and very many of few. */
struct Crowd : torch::nn::Module {
    Crowd()
    {
        register_parameter("none", torch::zeros({0}, torch::kDouble));
        register_parameter("no_rows", torch::zeros({0, 3}, torch::kDouble));
        register_parameter("scalar", wave({}, 0.5));
        for (int i = 0; i < 1500; i++)
            register_parameter("p" + std::to_string(i), wave({1 + i % 3}, i));
    }
    Tensor forward()
    {
        std::vector<Tensor> all;

        for (const auto &p : parameters())
            all.push_back(p.flatten());
        return (torch::cat(all) - 1).square().mean();
    }
};

/* "dense" or "sparse" gradients. */
struct Table : torch::nn::Module {
    explicit Table(const std::string &gradients)
    {
        auto options = torch::nn::EmbeddingOptions(9, 4).sparse(gradients == "sparse");

        table = register_module("table", torch::nn::Embedding(options));
        table->weight.set_data(wave({9, 4}, 0));
    }
    Tensor forward(Tensor rows) { return (table(rows) - 1).square().mean(); }
    torch::nn::Embedding table{nullptr};
};

/* "row" or "channels": how the weights of the convolution lie. */
struct Layout : torch::nn::Module {
    explicit Layout(const std::string &layout)
    {
        conv = register_module("conv",
                               torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 2).bias(false)));
        conv->weight.set_data(wave({4, 3, 2, 2}, 0)
                                  .contiguous(layout == "channels" ? at::MemoryFormat::ChannelsLast
                                                                   : at::MemoryFormat::Contiguous));
    }
    Tensor forward() { return conv(wave({2, 3, 5, 5}, 1)).square().mean(); }
    torch::nn::Conv2d conv{nullptr};
};

/* ---- backward ---- */

/* A penalty on the gradient of the output by the input: "double" differentiates twice, "closed"
 * has the first derivative written out. */
struct Penalty : torch::nn::Module {
    explicit Penalty(const std::string &way) : twice(way == "double")
    {
        weight = register_parameter("weight", wave({4, 1}, 0));
    }
    Tensor forward(Tensor x)
    {
        Tensor leaf = x.detach().requires_grad_(), out = torch::tanh(leaf.matmul(weight));
        Tensor slope = twice ? torch::autograd::grad({out.sum()}, {leaf}, {}, true, true)[0]
                             : (1 - out.square()).matmul(weight.t());

        return out.square().mean() + (slope.norm(2, {1}) - 1).square().mean();
    }
    bool twice;
    Tensor weight;
};

/* tanh(x W), whose intermediate values are not kept: backward computes them again, in a backward of
 * its own within the first. */
struct Again : torch::autograd::Function<Again> {
    static Tensor forward(torch::autograd::AutogradContext *context, const Tensor &x,
                          const Tensor &weight)
    {
        context->save_for_backward({x});
        context->saved_data["weight"] = weight; /* the leaf itself: its gradient is its hook's */
        return torch::tanh(x.matmul(weight));
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                   torch::autograd::variable_list gradients)
    {
        at::AutoGradMode enable_grad(true);
        Tensor x = context->get_saved_variables()[0].detach().requires_grad_();

        torch::tanh(x.matmul(context->saved_data["weight"].toTensor())).backward(gradients[0]);
        return {x.grad(), Tensor()};
    }
};

/* Layers of that: "kept", "again", or "shared", which is one weight for both and goes wrong. */
struct Checkpoint : torch::nn::Module {
    explicit Checkpoint(const std::string &way) : way_(way)
    {
        first = register_parameter("first", wave({4, 4}, 0));
        second = register_parameter("second", wave({4, 4}, 1));
        last = register_parameter("last", wave({4, 1}, 2));
    }
    Tensor layer(const Tensor &x, const Tensor &weight) const
    {
        return way_ == "kept" ? torch::tanh(x.matmul(weight)) : Again::apply(x, weight);
    }
    Tensor forward(Tensor x)
    {
        Tensor inner = x.detach().requires_grad_(); /* or nothing would seem to need a gradient */

        return layer(layer(inner, first), way_ == "shared" ? first : second)
            .matmul(last)
            .square()
            .mean();
    }
    std::string way_;
    Tensor first, second, last;
};

/* An operation that throws in its backward, or dies. */
struct Trap : torch::autograd::Function<Trap> {
    static Tensor forward(torch::autograd::AutogradContext *context, const Tensor &x, bool dies)
    {
        context->saved_data["dies"] = dies;
        return x.clone();
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                   torch::autograd::variable_list)
    {
        if (context->saved_data["dies"].toBool())
            (void)raise(SIGKILL);
        throw std::runtime_error("the wave has broken in backward\nand a second line");
    }
};

/* What a module may do to itself on its way. */
struct Restless : torch::nn::Module {
    Restless()
    {
        first = register_parameter("first", wave({4}, 0));
        second = register_parameter("second", wave({4}, 1));
    }
    Tensor forward(int64_t what)
    {
        Tensor before = (first - 1).square().mean();

        if (what == 1) /* set_to_none, as PyTorch clears gradients */
            for (auto &p : parameters())
                p.mutable_grad() = Tensor();
        if (what == 2)
            this->to(torch::kFloat);
        if (what == 3)
            second.set_data(second.detach().clone());
        if (what == 4 || what == 8) /* second has its gradient by then */
            return (Trap::apply(first, what == 8) * second).mean();
        if (what == 5)
            for (auto &p : parameters())
                p.mutable_grad() = torch::full_like(p, 7).detach();
        if (what == 6)
            return before.detach();
        if (what == 7)
            before.backward();
        if (what == 9)
            throw std::runtime_error("the wave has broken in forward\nand a second line");
        return (first - 1).square().mean() + (second - 1).square().mean();
    }
    Tensor first, second;
};
} // namespace odd

#endif
