/* SPDX-License-Identifier: Apache-2.0 */
/* What a step does not wait for: reduction, which the backward hides; pages of the step before. */
#include <algorithm>
#include <chrono>
#include <thread>

#include <sys/resource.h>

#include "models.hpp"

#include "ranks.hpp"

namespace
{
using std::chrono::milliseconds;

/* A layer's backward takes longer than its bucket is on its way, by sleeping: also where the ranks
 * have to share a core, all but the last buckets arrive meanwhile. */
constexpr int LAYERS = 8, WIDTH = 16, STEPS = 3;
constexpr milliseconds BACKWARD(50);
constexpr const char *WIRE_US = "40000";

struct Rest : torch::autograd::Function<Rest> {
    static torch::Tensor forward(torch::autograd::AutogradContext *, const torch::Tensor &x)
    {
        return x.clone();
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *,
                                                   torch::autograd::variable_list gradients)
    {
        std::this_thread::sleep_for(BACKWARD);
        return gradients;
    }
};

struct DeepImpl : torch::nn::Module {
    DeepImpl()
    {
        for (int i = 0; i < LAYERS; i++)
            layers.push_back(register_module(
                "fc" + std::to_string(i),
                torch::nn::Linear(torch::nn::LinearOptions(WIDTH, WIDTH).bias(false))));
    }

    torch::Tensor loss(const torch::Tensor &x)
    {
        torch::Tensor h = x;

        for (auto &layer : layers)
            h = Rest::apply(torch::tanh(layer(h)));
        return h.square().mean();
    }

    std::vector<torch::nn::Linear> layers;
};
TORCH_MODULE(Deep);

/* What STEPS steps gave, and how long the fastest of them took. */
struct Outcome {
    Deep net;
    std::chrono::steady_clock::duration fastest = std::chrono::hours(1);
    int64_t early = 0; /* buckets that were reduced before the last backward was over */
};

/* Within no_sync a backward tells nobody which gradients are ready: the step reduces all of them.
 */
void backward(accel::Accelerator &accelerator, Deep &net, const torch::Tensor &x, bool during)
{
    if (during)
        return accelerator.backward(net->loss(x));
    auto silent = accelerator.no_sync(net);
    accelerator.backward(net->loss(x));
}

Outcome train(int rank, bool during)
{
    Outcome outcome{models::make<Deep>(torch::kDouble)};
    accel::Accelerator accelerator(ranks::options());
    accel::AdamW optimizer(outcome.net->parameters(), torch::optim::AdamWOptions(1e-2));

    accelerator.prepare(outcome.net, optimizer, accel::ModelOptions{{}, 1e-6});
    for (int step = 0; step < STEPS; step++) {
        accelerator.wait_for_everyone();
        auto start = std::chrono::steady_clock::now();
        backward(accelerator, outcome.net, models::wave({3, WIDTH}, step + 10 * rank), during);
        optimizer.step();
        outcome.fastest = std::min(outcome.fastest, std::chrono::steady_clock::now() - start);
        optimizer.zero_grad();
    }
    CHECK_INT(LAYERS, accel_model_num_buckets(accelerator.get(outcome.net)));
    outcome.early = accel_model_num_early_buckets(accelerator.get(outcome.net));
    return outcome;
}

void over_a_slow_wire(int rank, int)
{
    CHECK(setenv("ACCEL_TEST_WIRE_US", WIRE_US, 1) == 0);
    Outcome during = train(rank, true), after = train(rank, false);

    CHECK(during.early >= LAYERS / 2 && during.early < LAYERS); /* the last is still on its way */
    CHECK_INT(0, after.early);
    CHECK(during.fastest < after.fastest);
    for (size_t i = 0; i < during.net->layers.size(); i++)
        CHECK(during.net->layers[i]->weight.equal(after.net->layers[i]->weight));
}

void hooks_make_the_step_shorter()
{
    if (!test_ranks_are_threads()) /* they would share the environment */
        TEST_RANKS(2, over_a_slow_wire);
}

/* ---- memory ---- */

int64_t page_faults()
{
    struct rusage usage;

    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

/* Activations of 256 KiB each: glibc would give them back to the system after each step. */
void steady_steps(int, int)
{
    enum { ROWS = 256, FEATURES = 256, WARM_UP = 50, COUNTED = 50 };
    accel::Accelerator accelerator(ranks::options());
    torch::nn::Sequential net(torch::nn::Linear(FEATURES, FEATURES), torch::nn::Tanh(),
                              torch::nn::Linear(FEATURES, FEATURES), torch::nn::Tanh());
    accel::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(1e-3));
    auto x = torch::randn({ROWS, FEATURES});
    int64_t before = 0;

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < WARM_UP + COUNTED; step++) {
        if (step == WARM_UP)
            before = page_faults();
        accelerator.backward(net->forward(x).square().mean());
        optimizer.step();
        optimizer.zero_grad();
    }
    CHECK(page_faults() - before < 8 * COUNTED); /* one such activation has 64 pages */
}

void a_step_reuses_its_memory()
{
    TEST_RANKS(1, steady_steps);
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(hooks_make_the_step_shorter),
                                   TEST(a_step_reuses_its_memory)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
