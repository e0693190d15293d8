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

void mlp_in_double()
{
    on_ranks<models::Mlp, torch::kDouble>();
}
void mlp_in_float()
{
    on_ranks<models::Mlp, torch::kFloat>();
}
void cnn_with_batch_norm()
{
    on_ranks<models::Cnn, torch::kDouble>();
}
void gpt_with_tied_head()
{
    on_ranks<models::Gpt, torch::kDouble>();
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

template <typename Module, typename Optimizer>
void train(const std::string &folder, const std::string &name, torch::ScalarType type)
{
    accel::Accelerator accelerator;
    int64_t share = PARTS / accelerator.num_processes();
    Module module = models::make<Module>(type);
    Optimizer optimizer(module->parameters(), adamw_options());

    if (accelerator.is_main_process())
        write(folder + "/" + name + ".before", module);
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
    if (accelerator.is_main_process())
        write(folder + "/" + name + ".after", module);
}

int run_program(const std::string &folder)
{
    train<models::Mlp, accel::AdamW>(folder, "mlp", torch::kDouble);
    train<models::Mlp, accel::AdamW>(folder, "mlp32", torch::kFloat);
    train<models::Cnn, torch::optim::AdamW>(folder, "cnn", torch::kDouble);
    train<models::Gpt, accel::AdamW>(folder, "gpt", torch::kDouble);
    return 0;
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(mlp_in_double), TEST(mlp_in_float),
                                   TEST(cnn_with_batch_norm), TEST(gpt_with_tied_head)};

    if (argc == 3 && std::string(argv[1]) == "--train")
        return run_program(argv[2]);
    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
