/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * What P processes train is what one process trains on the same global batches. */
#include <fstream>

#include "models.hpp"

#include <accel/torch.hpp>

#include "ranks.hpp"

namespace
{
enum { PARTS = 4, ROWS = 3, STEPS = 20 }; /* a global batch: PARTS micro-batches of ROWS samples */

torch::Tensor to_type(const torch::Tensor &tensor, torch::ScalarType type)
{
    return tensor.is_floating_point() ? tensor.to(type) : tensor;
}

/* The loss of one micro-batch. Batch normalisation sees these rows alone, on any rank. */
template <typename Module>
torch::Tensor part_loss(Module &module, int64_t step, int64_t part, torch::ScalarType type)
{
    double phase = static_cast<double>(step * PARTS + part);
    using Impl = typename Module::ContainedType;

    return module->loss(to_type(Impl::input(ROWS, phase), type),
                        to_type(Impl::target(ROWS, phase), type));
}

torch::optim::AdamWOptions adamw_options()
{
    return torch::optim::AdamWOptions(1e-2).weight_decay(0.1);
}

/* Plain libtorch, alone. */
template <typename Module> Module reference(torch::ScalarType type)
{
    Module module = models::make<Module>(type);
    torch::optim::AdamW optimizer(module->parameters(), adamw_options());

    for (int64_t step = 0; step < STEPS; step++) {
        for (int64_t part = 0; part < PARTS; part++)
            (part_loss(module, step, part, type) / PARTS).backward();
        optimizer.step();
        optimizer.zero_grad();
    }
    return module;
}

/* Each rank takes its share of the micro-batches, one after the other. */
template <typename Module, typename Optimizer>
void check_equal(int rank, int size, torch::ScalarType type, double tolerance)
{
    int64_t share = PARTS / size;
    accel::Accelerator accelerator(
        ranks::options([&](auto &o) { o.gradient_accumulation_steps = static_cast<int>(share); }));
    Module module = models::make<Module>(type), expected = reference<Module>(type);
    Optimizer optimizer(module->parameters(), adamw_options());

    if (rank > 0) { /* rank 0's values count */
        torch::NoGradGuard no_grad;
        for (auto &p : module->parameters())
            p.zero_();
    }
    accelerator.prepare(module, optimizer);
    for (int64_t step = 0; step < STEPS; step++)
        for (int64_t part = 0; part < share; part++) {
            accelerator.accumulate(module);
            CHECK(accelerator.sync_gradients() == (part == share - 1));
            accelerator.backward(part_loss(module, step, rank * share + part, type));
            optimizer.step();
            optimizer.zero_grad();
        }
    double found = models::difference(expected->parameters(), module->parameters());
    if (!(found <= tolerance))
        test_fail(__FILE__, __LINE__, "parameters differ by %g of the largest; allowed %g", found,
                  tolerance);
}

template <typename Module, torch::ScalarType type> void both(int rank, int size)
{
    double tolerance = type == torch::kDouble ? 1e-11 : 1e-6;

    check_equal<Module, accel::AdamW>(rank, size, type, tolerance);
    check_equal<Module, torch::optim::AdamW>(rank, size, type, tolerance);
}

template <typename Module, torch::ScalarType type> void on_ranks()
{
    for (int size : {1, 2, 4})
        TEST_RANKS(size, (both<Module, type>));
}

void mlp()
{
    on_ranks<models::Mlp, torch::kDouble>();
    on_ranks<models::Mlp, torch::kFloat>();
}
void cnn_with_batch_norm()
{
    on_ranks<models::Cnn, torch::kDouble>();
    on_ranks<models::Cnn, torch::kFloat>();
}
void gpt_with_tied_head()
{
    on_ranks<models::Gpt, torch::kDouble>();
    on_ranks<models::Gpt, torch::kFloat>();
}

/* ---- as a program: tests/oracle/torch_train.py compares with Python ---- */

template <typename Module> void write(const std::string &path, Module &module)
{
    c10::Dict<std::string, at::Tensor> values;

    for (const auto &item : module->named_parameters())
        values.insert(item.key(), item.value().detach().clone());
    auto bytes = torch::pickle_save(values);
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <typename Optimizer, typename Module>
void train(accel::Accelerator &accelerator, Module &module, torch::ScalarType type)
{
    int64_t share = PARTS / accelerator.num_processes();
    Optimizer optimizer(module->parameters(), adamw_options());

    accelerator.prepare(module, optimizer);
    for (int64_t step = 0; step < STEPS; step++) {
        torch::Tensor loss;

        for (int64_t part = 0; part < share; part++) {
            auto one = part_loss(module, step, accelerator.process_index() * share + part, type);
            loss = loss.defined() ? loss + one : one;
        }
        accelerator.backward(loss / share);
        optimizer.step();
        optimizer.zero_grad();
    }
    accelerator.unprepare(module);
}

/* NAME.before, NAME.ours and NAME.torch: by whose AdamW. */
template <typename Module> void train_both(accel::Accelerator &accelerator, const std::string &name)
{
    for (auto type : {torch::kDouble, torch::kFloat}) {
        std::string path = name + (type == torch::kDouble ? "-float64" : "-float32");
        Module ours = models::make<Module>(type), plain = models::make<Module>(type);

        if (accelerator.is_main_process())
            write(path + ".before", ours);
        train<accel::AdamW>(accelerator, ours, type);
        train<torch::optim::AdamW>(accelerator, plain, type);
        if (!accelerator.is_main_process())
            continue;
        write(path + ".ours", ours);
        write(path + ".torch", plain);
    }
}

int run_program(const std::string &folder)
{
    accel::Accelerator accelerator;

    train_both<models::Mlp>(accelerator, folder + "/mlp");
    train_both<models::Cnn>(accelerator, folder + "/cnn");
    train_both<models::Gpt>(accelerator, folder + "/gpt");
    return 0;
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(mlp), TEST(cnn_with_batch_norm), TEST(gpt_with_tied_head)};

    if (argc == 3 && std::string(argv[1]) == "--train")
        return run_program(argv[2]);
    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
