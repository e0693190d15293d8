/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Parameters that a step did not use: torch's optimizers skip them, and so do ours.
 *
 *     test-torch-unused-VERSION --train FILE
 *
 * writes what every optimizer made of them, for tests/oracle/torch_unused.py. */
#include "models.hpp"

#include <cstdio>
#include <vector>

#include "ranks.hpp"

namespace
{
using models::wave;

enum { STEPS = 12, WIDTH = 40 };

/* Zeros of x, which get no gradient: in the graph, and yet unused. */
struct Nothing : torch::autograd::Function<Nothing> {
    static torch::Tensor forward(torch::autograd::AutogradContext *, const torch::Tensor &x)
    {
        return torch::zeros_like(x);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *,
                                                   const torch::autograd::variable_list &)
    {
        return {torch::Tensor()};
    }
};

/* `now_and_then` is used every other step, `on_last` on the last rank only, `never` not at all,
 * and `late` from the middle on. */
struct Branches : torch::nn::Module {
    Branches()
    {
        double phase = 0;

        for (auto *p : {&base, &now_and_then, &on_last, &never, &late})
            *p = wave({WIDTH}, phase++);
        register_parameter("base", base);
        register_parameter("now_and_then", now_and_then);
        register_parameter("on_last", on_last);
        register_parameter("never", never);
        register_parameter("late", late);
    }

    torch::Tensor loss(int step, int rank, int size)
    {
        auto sum = (base - 1 - 0.1 * rank).square() + Nothing::apply(never);

        if (step % 2 == 0)
            sum = sum + (now_and_then * base).square();
        if (rank == size - 1)
            sum = sum + (on_last * base - 0.5).square();
        if (step >= STEPS / 2)
            sum = sum + (late - base).square();
        return sum.mean();
    }

    torch::Tensor base, now_and_then, on_last, never, late;
};

bool is_used(const std::string &name, int step)
{
    return name == "base" || name == "on_last" || (name == "now_and_then" && step % 2 == 0) ||
           (name == "late" && step >= STEPS / 2);
}

torch::optim::AdamWOptions adamw()
{
    return torch::optim::AdamWOptions(1e-2).weight_decay(0.1);
}
torch::optim::AdamOptions adam()
{
    return torch::optim::AdamOptions(1e-2).weight_decay(0.1).amsgrad(true);
}
torch::optim::SGDOptions sgd()
{
    return torch::optim::SGDOptions(1e-1).momentum(0.9).dampening(0.3).weight_decay(0.1);
}

/* torch's: the losses of all ranks in one process. */
template <typename Plain, typename Options>
void train_alone(Branches &net, int size, const Options &options)
{
    Plain optimizer(net.parameters(), options);

    for (int step = 0; step < STEPS; step++) {
        torch::Tensor sum = net.loss(step, 0, size);

        for (int r = 1; r < size; r++)
            sum = sum + net.loss(step, r, size);
        net.zero_grad(true);
        (sum / size).backward();
        optimizer.step();
    }
}

/* With an optimizer of torch's own, what no process used has no gradient. */
void check_gradients(const Branches &net, int step)
{
    for (const auto &item : net.named_parameters())
        if (item.value().grad().defined() != is_used(item.key(), step))
            test_fail(__FILE__, __LINE__, "step %d: the gradient of '%s' is %s", step,
                      item.key().c_str(), item.value().grad().defined() ? "there" : "not there");
}

template <typename Optimizer, typename Options>
void train(accel::Accelerator &accelerator, Branches &net, const Options &options)
{
    constexpr bool ours = std::is_base_of_v<accel::detail::Fusable, Optimizer>;
    int rank = accelerator.process_index(), size = accelerator.num_processes();
    Optimizer optimizer(net.parameters(), options);

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < STEPS; step++) {
        accelerator.backward(net.loss(step, rank, size));
        if (!ours)
            check_gradients(net, step);
        optimizer.step();
        if constexpr (ours)
            optimizer.zero_grad();
        else
            net.zero_grad(true); /* to none, which is the default of newer versions */
    }
    accelerator.unprepare(net);
}

template <typename Optimizer, typename Plain, typename Options>
void check_one(const Options &options)
{
    accel::Accelerator accelerator(ranks::options());
    Branches net, reference;

    train<Optimizer>(accelerator, net, options);
    train_alone<Plain>(reference, accelerator.num_processes(), options);
    CHECK(models::difference(reference.parameters(), net.parameters()) < 1e-12);
    CHECK(net.never.equal(Branches().never) && !net.late.equal(Branches().late));
}

void check_all(int, int)
{
    check_one<accel::AdamW, torch::optim::AdamW>(adamw());
    check_one<torch::optim::AdamW, torch::optim::AdamW>(adamw());
    check_one<accel::Adam, torch::optim::Adam>(adam());
    check_one<torch::optim::Adam, torch::optim::Adam>(adam());
    check_one<accel::SGD, torch::optim::SGD>(sgd());
    check_one<torch::optim::SGD, torch::optim::SGD>(sgd());
}
void unused_parameters_are_skipped()
{
    for (int size : {1, 2, 3})
        TEST_RANKS(size, check_all);
}

/* A parameter of the first micro-batch alone was used in its step. */
template <typename Optimizer> void accumulated(int rank, int size)
{
    accel::Accelerator accelerator(
        ranks::options([](accel_options_t &options) { options.gradient_accumulation_steps = 2; }));
    Branches net, reference;
    Optimizer optimizer(net.parameters(), adamw());
    torch::optim::AdamW plain(reference.parameters(), adamw());

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < 4; step++) {
        for (int part = 0; part < 2; part++) {
            accelerator.accumulate(net);
            accelerator.backward(net.loss(part + step % 2, rank, size));
            optimizer.step();
            if (accelerator.sync_gradients())
                net.zero_grad(true);
        }
        for (int part = 0; part < 2 * size; part++)
            (reference.loss(part / size + step % 2, part % size, size) / (2 * size)).backward();
        plain.step();
        reference.zero_grad(true);
    }
    CHECK(models::difference(reference.parameters(), net.parameters()) < 1e-12);
    CHECK(net.never.equal(Branches().never) && net.late.equal(Branches().late));
}
void accumulation_counts_every_micro_batch()
{
    for (int size : {1, 2}) {
        TEST_RANKS(size, accumulated<accel::AdamW>);
        TEST_RANKS(size, accumulated<torch::optim::AdamW>);
    }
}

/* Gradients that nobody clears are stepped again, as in torch. */
void kept(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Branches net, reference;
    torch::optim::SGD optimizer(net.parameters(), sgd()), plain(reference.parameters(), sgd());

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < 4; step++) {
        accelerator.backward(net.loss(step, rank, size));
        optimizer.step();
        for (int r = 0; r < size; r++)
            (reference.loss(step, r, size) / size).backward();
        plain.step();
    }
    CHECK(models::difference(reference.parameters(), net.parameters()) < 1e-12);
    CHECK(net.now_and_then.grad().defined() && !net.never.grad().defined());
}
void gradients_that_are_kept_are_stepped_again()
{
    TEST_RANKS(2, kept);
}

/* Two models, of which a backward reaches one. */
void others(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Branches net, other;
    torch::optim::AdamW optimizer(net.parameters(), adamw()), second(other.parameters(), adamw());

    accelerator.prepare(net, other, optimizer, second);
    accelerator.backward(net.loss(0, rank, size));
    optimizer.step();
    second.step();
    CHECK(other.base.equal(Branches().base) && !net.base.equal(Branches().base));
}
void a_model_that_took_no_part_stays()
{
    TEST_RANKS(2, others);
}

/* With the option off they count with zeros, and decay. */
template <typename Optimizer> void as_zeros(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Branches net;
    Optimizer optimizer(net.parameters(), adamw());
    accel::ModelOptions options;

    options.find_unused_parameters = false;
    accelerator.prepare(net, optimizer, options);
    accelerator.backward(net.loss(1, rank, size));
    std::vector<std::string> names = {"now_and_then", "never", "late"};
    if (rank < size - 1)
        names.insert(names.begin() + 1, "on_last");
    CHECK(accelerator.unused_parameters(net) == names);
    optimizer.step();
    CHECK((net.never - Branches().never * (1 - 1e-2 * 0.1)).abs().max().template item<double>() <
          1e-15);
}
void the_option_can_be_off()
{
    TEST_RANKS(2, as_zeros<accel::AdamW>);
    TEST_RANKS(2, as_zeros<torch::optim::AdamW>);
}

/* ---- for the judge ---- */

template <typename Optimizer, typename Options>
void write(accel::Accelerator &accelerator, FILE *file, const char *what, const Options &options)
{
    Branches net;

    train<Optimizer>(accelerator, net, options);
    for (const auto &item : net.named_parameters()) {
        fprintf(file, "%s %s", what, item.key().c_str());
        for (int i = 0; i < WIDTH; i++)
            fprintf(file, " %.17g", item.value()[i].template item<double>());
        fprintf(file, "\n");
    }
}

int run_program(const char *path)
{
    accel::Accelerator accelerator;
    FILE *file = fopen(accelerator.is_main_process() ? path : "/dev/null", "w");

    if (!file)
        return 1;
    write<accel::AdamW>(accelerator, file, "AdamW", adamw());
    write<torch::optim::AdamW>(accelerator, file, "AdamW", adamw());
    write<accel::Adam>(accelerator, file, "Adam", adam());
    write<torch::optim::Adam>(accelerator, file, "Adam", adam());
    write<accel::SGD>(accelerator, file, "SGD", sgd());
    write<torch::optim::SGD>(accelerator, file, "SGD", sgd());
    return fclose(file) == 0 ? 0 : 1;
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {
        TEST(unused_parameters_are_skipped), TEST(accumulation_counts_every_micro_batch),
        TEST(gradients_that_are_kept_are_stepped_again), TEST(a_model_that_took_no_part_stays),
        TEST(the_option_can_be_off)};

    if (argc == 3 && std::string(argv[1]) == "--train")
        return run_program(argv[2]);
    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
