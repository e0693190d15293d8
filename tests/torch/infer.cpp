/* SPDX-License-Identifier: Apache-2.0 */
/* Inference in C++: what four processes have of the weights, by what the system says of their
 * pages. */
#include <fstream>
#include <sstream>

#include <torch/torch.h>

#include "ranks.hpp"

namespace
{
constexpr int64_t WIDTH = 2048, LAYERS = 4;

struct Net : torch::nn::Module {
    explicit Net(int64_t layers = LAYERS)
    {
        for (int64_t i = 0; i < layers; i++)
            list->push_back(torch::nn::Linear(WIDTH, WIDTH));
    }

    at::Tensor forward(at::Tensor x)
    {
        for (const auto &layer : *list)
            x = layer->as<torch::nn::Linear>()->forward(x);
        return x;
    }

    torch::nn::ModuleList list = register_module("list", torch::nn::ModuleList());
};

constexpr double MEGABYTES = 4.0 * LAYERS * (WIDTH + 1) * WIDTH / 1e6;

/* Megabytes of this process, of which each page is divided by those who have it; without programs
 * and libraries. */
double memory()
{
    std::ifstream file("/proc/self/smaps");
    std::string line;
    double sum = 0;
    bool counts = false;

    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string first, second;
        words >> first >> second;
        if (first.find('-') != std::string::npos && first.back() != ':')
            counts =
                line.find(".so") == std::string::npos && line.find("/bin/") == std::string::npos;
        else if (counts && first == "Pss:")
            sum += std::stod(second) / 1000;
    }
    return sum;
}

/* Of all processes, all of which are there while each looks. */
double memory_of_all(accel::Accelerator &accelerator)
{
    accelerator.wait_for_everyone();
    auto own = torch::tensor(memory(), torch::kDouble);
    accelerator.wait_for_everyone();
    return accelerator.reduce(own).item<double>();
}

at::Tensor input()
{
    return torch::sin(torch::arange(2 * WIDTH, torch::kFloat)).reshape({2, WIDTH});
}

at::Tensor compute(Net &net)
{
    c10::InferenceMode inference;

    return net.forward(input());
}

template <typename Share> void check_once(int size, const Share &share)
{
    accel::Accelerator accelerator(ranks::options());
    Net small(1);
    std::string path = std::string(test_dir()) + "/weights.safetensors";

    torch::manual_seed(1);
    compute(small);
    double before = memory_of_all(accelerator);
    Net net;
    at::Tensor own = compute(net);
    double copies = memory_of_all(accelerator) - before;
    CHECK(copies > (size - 0.5) * MEGABYTES); /* a copy each: what follows could be seen */

    if (accelerator.is_main_process())
        accel::save_weights(net, path);
    accelerator.wait_for_everyone();
    share(accelerator, net, path);
    at::Tensor shared = compute(net);
    double found = memory_of_all(accelerator) - before;
    if (found > 1.2 * MEGABYTES)
        test_fail(__FILE__, __LINE__, "weights of %.0f MB take %.0f MB; they took %.0f MB",
                  MEGABYTES, found, copies);
    CHECK(found > 0.8 * MEGABYTES);
    CHECK(torch::allclose(own, shared));
    for (const auto &parameter : net.parameters())
        CHECK(!parameter.requires_grad());
}

void mapped(int rank, int size)
{
    (void)rank;
    check_once(size, [](accel::Accelerator &, Net &net, const std::string &path) {
        accel::map_weights(net, path);
    });
}

void prepared(int rank, int size)
{
    (void)rank;
    check_once(size, [](accel::Accelerator &accelerator, Net &net, const std::string &) {
        accel::ModelOptions options;

        options.parameters = accel::Parameters::shared;
        for (auto &parameter : net.parameters())
            parameter.set_requires_grad(false);
        accelerator.prepare(net, options);
    });
}
void mapped_weights_are_there_once()
{
    test_dir(); /* one for all ranks */
    TEST_RANKS(4, mapped);
}

void prepared_weights_are_there_once()
{
    test_dir(); /* one for all ranks */
    TEST_RANKS(4, prepared);
}

void files_that_do_not_fit()
{
    std::string path = std::string(test_dir()) + "/weights.safetensors";
    std::string other_path = path + ".2";
    Net net(1), other(2);
    at::Tensor before = compute(net);

    accel::save_weights(net, path);
    CHECK_THROWS(ACCEL_ERR_NOT_FOUND, "parameter 'list.1.weight' is not in the file",
                 accel::map_weights(other, path));
    CHECK(other.parameters()[0].requires_grad()); /* all or nothing */
    CHECK_THROWS(ACCEL_ERR_NOT_FOUND, "no-such-file", accel::map_weights(net, "no-such-file"));
    torch::nn::Linear narrow(3, 2);
    accel::save_weights(*narrow, other_path);
    torch::nn::Linear wide(4, 2);
    CHECK_THROWS(ACCEL_ERR_MISMATCH, "'weight'", accel::map_weights(*wide, other_path));

    accel::map_weights(net, path);
    CHECK(std::remove(path.c_str()) == 0); /* its pages stay while the module has them */
    CHECK(torch::allclose(before, compute(net)));
}
} // namespace

int main(int argc, char **argv)
{
    const test_t tests[] = {TEST(mapped_weights_are_there_once),
                            TEST(prepared_weights_are_there_once), TEST(files_that_do_not_fit)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
