/* SPDX-License-Identifier: Apache-2.0 */
/* For programs/native.c. */
#include "odd.hpp"

#include <accel/torch/register.hpp>

using at::Tensor;

/* Makes itself of "IN OUT", or throws a text of many lines. second.cpp has one of this name, too.
 */
struct Sized : torch::nn::Module {
    explicit Sized(const std::string &arguments)
    {
        std::istringstream text(arguments);
        int64_t in = 0, out = 0;

        if (!(text >> in >> out))
            throw std::invalid_argument("expected IN OUT, not '" + arguments + "'\nat line 1\n");
        weight = register_parameter("weight", odd::wave({out, in}, 0));
    }
    Tensor forward(Tensor x) const { return x.matmul(weight.t()); }
    Tensor weight;
};

namespace
{
/* Nothing to train; numbers among the inputs, a tuple and a list as outputs. */
struct Outputs : torch::nn::Module {
    std::tuple<Tensor, std::vector<Tensor>> forward(const Tensor &x, Tensor y, double factor,
                                                    bool twice) const
    {
        return {x * factor, {x + y, twice ? y * 2 : y}};
    }
};

struct Base : torch::nn::Module {
    std::vector<Tensor> forward() { return {}; }
};
struct Nothing : Base { /* and its forward is the base's */
};

struct Throws : torch::nn::Module {
    Throws() { weight = register_parameter("weight", odd::wave({3}, 0)); }
    Tensor forward(int64_t what)
    {
        if (what == 0)
            return weight.matmul(torch::ones({4}, torch::kDouble));
        if (what == 1)
            throw std::runtime_error("the wave has broken\nand a second line");
        if (what == 2)
            throw 42;
        if (what == 3)
            throw std::bad_alloc();
        return weight.sum();
    }
    Tensor weight;
};

using odd::Checkpoint;
using odd::Crowd;
using odd::Layout;
using odd::Norm;
using odd::Penalty;
using odd::Restless;
using odd::Table;
using odd::Tied;
} // namespace

ACCEL_TORCH_MODULE("sized", Sized)
ACCEL_TORCH_MODULE("outputs", Outputs)
ACCEL_TORCH_MODULE("nothing", Nothing)
ACCEL_TORCH_MODULE("throws", Throws)
ACCEL_TORCH_MODULE("tied", Tied)
ACCEL_TORCH_MODULE("norm", Norm)
ACCEL_TORCH_MODULE("crowd", Crowd)
ACCEL_TORCH_MODULE("table", Table)
ACCEL_TORCH_MODULE("layout", Layout)
ACCEL_TORCH_MODULE("penalty", Penalty)
ACCEL_TORCH_MODULE("checkpoint", Checkpoint)
ACCEL_TORCH_MODULE("restless", Restless)
