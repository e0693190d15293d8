/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * What a C++ program finds in accel::Accelerator beside the four lines. tests/oracle/torch_api.py
 * runs this program, too, for what Python has to judge. */
#include <iostream>

#include "models.hpp"

#include "ranks.hpp"

namespace
{
using models::Cnn;
using models::Gpt;
using models::Mlp;

/* ---- weighted backward: the mean over rows, however they are spread ---- */

enum { PARTS = 2 };

torch::Tensor rows_loss(Mlp &mlp, int64_t rows, double phase)
{
    return mlp->loss(models::MlpImpl::input(rows, phase), models::MlpImpl::target(rows, phase));
}

int64_t rows_of(int rank, int part)
{
    return 1 + rank + 2 * part;
}

/* What one process makes of all the rows. */
template <typename Make> Mlp reference(int size, const Make &make_loss)
{
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    torch::optim::SGD optimizer(mlp->parameters(), torch::optim::SGDOptions(0.3));

    for (int step = 0; step < 3; step++) {
        torch::Tensor sum = torch::zeros({}, torch::kDouble);
        int64_t rows = 0;

        for (int rank = 0; rank < size; rank++)
            for (int part = 0; part < PARTS; part++) {
                int64_t some = rows_of(rank, part);

                sum = sum + make_loss(mlp, some, step + 3 * rank + 7 * part) * some;
                rows += some;
            }
        optimizer.zero_grad();
        (sum / rows).backward();
        optimizer.step();
    }
    return mlp;
}

template <typename Optimizer> void check_weighted(int rank, int size, bool accumulate)
{
    accel::Accelerator accelerator(
        ranks::options([&](auto &o) { o.gradient_accumulation_steps = accumulate ? PARTS : 1; }));
    Mlp one = models::make<Mlp>(torch::kDouble), two = models::make<Mlp>(torch::kDouble);
    Optimizer first(one->parameters(), torch::optim::SGDOptions(0.3)),
        second(two->parameters(), torch::optim::SGDOptions(0.3));

    accelerator.prepare(one, first);
    accelerator.prepare(two, second); /* one after the other: both take part */
    for (int step = 0; step < 3; step++)
        for (int part = 0; part < PARTS; part++) {
            int64_t rows = rows_of(rank, part);
            double phase = step + 3 * rank + 7 * part;

            if (accumulate)
                accelerator.accumulate(one, two);
            else if (part > 0)
                continue;
            else
                rows = rank + 1;
            accelerator.backward(rows_loss(one, rows, phase) + rows_loss(two, rows, phase),
                                 static_cast<double>(rows));
            for (auto *optimizer : {&first, &second}) {
                optimizer->step();
                optimizer->zero_grad();
            }
        }
    if (accumulate)
        CHECK(models::difference(reference(size, rows_loss)->parameters(), one->parameters()) <
              1e-11);
    CHECK(models::difference(one->parameters(), two->parameters()) == 0);
    auto same = accelerator.gather(one->fc1->weight.reshape({1, -1}));
    CHECK(models::difference(std::vector<torch::Tensor>{same[0]},
                             std::vector<torch::Tensor>{same[size - 1]}) == 0);
}

void weighted(int rank, int size)
{
    for (bool accumulate : {true, false}) {
        check_weighted<accel::SGD>(rank, size, accumulate);
        check_weighted<torch::optim::SGD>(rank, size, accumulate);
    }
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    accelerator.prepare(mlp);
    CHECK_THROWS(ACCEL_ERR_INVALID, "weight is -1", accelerator.backward(rows_loss(mlp, 1, 0), -1));
}
void weights_of_batches()
{
    for (int size : {1, 2})
        TEST_RANKS(size, weighted);
}

/* ---- files of weights ---- */

struct TiedImpl : torch::nn::Module {
    TiedImpl()
    {
        b = register_module("b", torch::nn::Linear(4, 4));
        register_module("a", b);
        mask = register_buffer("mask", torch::tensor({true, false, true, true}));
        seen = register_buffer("seen", torch::tensor({3, 4}, torch::kLong));
    }
    torch::Tensor forward(const torch::Tensor &x)
    {
        return b(torch::tanh(b(x))).masked_fill(mask, 0.5);
    }
    torch::nn::Linear b{nullptr};
    torch::Tensor mask, seen;
};
TORCH_MODULE(Tied);

bool same_weights(const torch::nn::Module &a, const torch::nn::Module &b)
{
    auto left = accel::detail::weights_of(a), right = accel::detail::weights_of(b);

    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](const auto &x, const auto &y) {
                          return x.names == y.names && x.tensor.equal(y.tensor);
                      });
}

void weights_files(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    std::string path = std::string(test_dir()) + "/weights.safetensors";
    Tied tied, other;
    Cnn cnn;

    CHECK_INT(4, static_cast<int64_t>(accel::detail::weights_of(*tied).size()));
    tied->mask.logical_not_();
    accelerator.prepare(tied, other);
    accelerator.save_weights(tied, path);
    accelerator.load_weights(other, path);
    CHECK(same_weights(*tied, *other)); /* also what each process seeded for itself */
    {
        torch::NoGradGuard no_grad;
        auto x = torch::ones({2, 4});
        CHECK(tied(x).equal(other(x)));
    }
    CHECK_THROWS(ACCEL_ERR_NOT_FOUND, "'conv.weight' is not in the file",
                 accel::load_weights(*cnn, path));
    torch::nn::Linear wide(5, 4);
    torch::nn::Module wider;
    wider.register_module("b", wide);
    CHECK_THROWS(ACCEL_ERR_MISMATCH,
                 "'a.weight' is Float [4, 4] in the file; expected Float [4, 5]",
                 accel::load_weights(wider, path));
    other->b->to(torch::kDouble);
    CHECK_THROWS(ACCEL_ERR_MISMATCH, "Float [4, 4] in the file; expected Double",
                 accel::load_weights(*other, path));
    accelerator.prepare(cnn);
    CHECK_THROWS(ACCEL_ERR_NOT_FOUND, "accel: load_weights of '",
                 accelerator.load_weights(cnn, path)); /* on every process */
    CHECK_THROWS(ACCEL_ERR_IO, "/nonexistent/x", accelerator.save_weights(tied, "/nonexistent/x"));
}
void weights_pass_through_files()
{
    (void)test_dir();
    TEST_RANKS(2, weights_files);
}

struct ChannelsImpl : torch::nn::Module {
    explicit ChannelsImpl(at::MemoryFormat format)
    {
        conv = register_module("conv", torch::nn::Conv2d(6, 5, 3));
        torch::NoGradGuard no_grad;
        to(torch::kDouble);
        conv->weight.copy_(models::wave({5, 6, 3, 3}, 1) * 0.2);
        conv->bias.copy_(models::wave({5}, 2));
        conv->weight.set_data(conv->weight.contiguous(format));
    }
    torch::Tensor loss(double phase)
    {
        return torch::tanh(conv(models::wave({2, 6, 5, 5}, phase))).square().mean();
    }
    bool is_channels_last() const
    {
        return conv->weight.is_contiguous(at::MemoryFormat::ChannelsLast) &&
               !conv->weight.is_contiguous();
    }
    torch::nn::Conv2d conv{nullptr};
};
TORCH_MODULE(Channels);

/* Weights in channels-last memory stay so, and are the same numbers. */
void channels_last(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    std::string path = std::string(test_dir()) + "/channels.safetensors";
    Channels plain(at::MemoryFormat::Contiguous), last(at::MemoryFormat::ChannelsLast),
        read(at::MemoryFormat::ChannelsLast);
    torch::optim::AdamWOptions options(1e-2);
    accel::AdamW plain_step(plain->parameters(), options), step(last->parameters(), options);

    accelerator.prepare(plain, plain_step);
    accelerator.prepare(last, step);
    for (int i = 0; i < 3; i++) {
        for (Channels *module : {&plain, &last})
            accelerator.backward((*module)->loss(i + rank));
        for (auto *optimizer : {&plain_step, &step}) {
            optimizer->step();
            optimizer->zero_grad();
        }
    }
    CHECK(last->is_channels_last());
    CHECK(models::difference(plain->parameters(), last->parameters()) < 1e-12);
    accelerator.save_weights(last, path);
    accel::load_weights(*read, path);
    CHECK(read->is_channels_last() && read->conv->weight.equal(last->conv->weight));
    accelerator.load_weights(plain, path);
    CHECK(!plain->is_channels_last() && plain->conv->weight.equal(last->conv->weight));
    accelerator.load_weights(last, path);
    CHECK(last->is_channels_last() && read->conv->weight.equal(last->conv->weight));
    accelerator.wait_for_everyone();
}
void layouts_stay()
{
    (void)test_dir();
    TEST_RANKS(2, channels_last);
}

/* ---- the scaler, with two optimizers ---- */

void two_optimizers(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp good = models::make<Mlp>(torch::kFloat), bad = models::make<Mlp>(torch::kFloat);
    torch::optim::SGD first(good->parameters(), 0.1), second(bad->parameters(), 0.1);
    accel::GradScalerOptions options;
    options.init_scale = 8;
    options.growth_interval = 3;
    accel::GradScaler scaler(options), resumed(options);
    auto x = models::MlpImpl::input(4, rank).to(torch::kFloat),
         y = models::MlpImpl::target(4, rank).to(torch::kFloat);

    accelerator.prepare(good, bad);
    accelerator.backward(
        scaler.scale(good->loss(x, y) + bad->loss(x, y) * (rank == 1 ? INFINITY : 1)));
    scaler.unscale_(first);
    auto expected = good->fc1->weight.detach() - 0.1 * good->fc1->weight.grad();
    auto before = bad->fc1->weight.detach().clone();
    CHECK(scaler.step(first) && !scaler.step(second)); /* each by its own gradients */
    CHECK(good->fc1->weight.allclose(expected) && bad->fc1->weight.equal(before));
    CHECK(scaler.found_inf());
    CHECK_THROWS(ACCEL_ERR_STATE, "there was a step()", scaler.step(first));
    CHECK_THROWS(ACCEL_ERR_STATE, "there was a step()", scaler.unscale_(first));
    scaler.update();
    CHECK_NEAR(4, scaler.get_scale(), 0);
    for (int i = 0; i < 2; i++) {
        first.zero_grad();
        accelerator.backward(scaler.scale(good->loss(x, y) + 0 * bad->loss(x, y)));
        CHECK(scaler.step(first));
        scaler.update();
    }
    CHECK_INT(2, scaler.get_state().growth_tracker);
    resumed.set_state(scaler.get_state());
    CHECK_NEAR(4, resumed.get_scale(), 0);
    for (accel::GradScaler *one : {&scaler, &resumed}) {
        first.zero_grad();
        accelerator.backward(one->scale(good->loss(x, y) + 0 * bad->loss(x, y)));
        CHECK(one->step(first));
        one->update(); /* the third good one */
        CHECK_NEAR(8, one->get_scale(), 0);
    }
    {
        auto guard = accelerator.no_sync(good); /* nothing to step with: nothing counts */
        accelerator.backward(scaler.scale(good->loss(x, y)));
        CHECK(scaler.step(first));
        scaler.update();
        CHECK_INT(0, scaler.get_state().growth_tracker);
    }
    scaler.update(16.0);
    CHECK_NEAR(16, scaler.get_scale(), 0);
    CHECK_THROWS(ACCEL_ERR_INVALID, "growth_tracker is 3", scaler.set_state({1, 3}));
    CHECK_THROWS(ACCEL_ERR_INVALID, "the scale is 0", scaler.update(0.0));
}
void a_scaler_has_optimizers()
{
    TEST_RANKS(2, two_optimizers);
}

/* ---- data ---- */

/* Sample i is the float i and the class i % 3. */
struct Pairs : torch::data::datasets::Dataset<Pairs> {
    torch::data::Example<> get(size_t index) override
    {
        auto i = static_cast<int64_t>(index);

        return {torch::full({2}, static_cast<float>(i)), torch::tensor(i % 3)};
    }
    torch::optional<size_t> size() const override { return 17; }
};

accel::DataLoaderOptions shuffled(int64_t batch_size)
{
    accel::DataLoaderOptions options(batch_size);

    options.shuffle = true;
    return options;
}

std::vector<float> samples(accel::Accelerator &accelerator, const torch::Tensor &data)
{
    auto column = accelerator.gather_for_metrics(data.select(1, 0)).contiguous();

    return std::vector<float>(column.data_ptr<float>(), column.data_ptr<float>() + column.numel());
}

void resumed_data(int, int size)
{
    accel::Accelerator accelerator(ranks::options());
    auto make = [&] {
        auto loader =
            accel::make_data_loader(Pairs().map(torch::data::transforms::Stack<>()), shuffled(2));
        accelerator.prepare(*loader);
        return loader;
    };
    auto loader = make(), skipped = make(), resumed = make();
    std::vector<std::vector<float>> steps;
    accel_loader_state_t state{};

    loader->set_epoch(3);
    for (auto &batch : *loader) {
        CHECK(batch.data.scalar_type() == torch::kFloat &&
              batch.target.scalar_type() == torch::kLong);
        CHECK(batch.target.equal(batch.data.select(1, 0).to(torch::kLong) % 3));
        steps.push_back(samples(accelerator, batch.data));
        if (steps.size() == 2)
            state = loader->get_state();
    }
    CHECK_INT((17 + 2 * size - 1) / (2 * size), static_cast<int64_t>(steps.size()));
    for (auto *other : {skipped.get(), resumed.get()}) {
        size_t step = 2;

        if (other == skipped.get()) {
            other->set_epoch(3);
            accelerator.skip_first_batches(*other, 2);
        } else {
            other->set_state(state);
        }
        for (auto &batch : *other)
            CHECK(samples(accelerator, batch.data) == steps[step++]);
        CHECK(step == steps.size());
        for (auto &batch : *other) { /* the next epoch, from its start */
            CHECK(samples(accelerator, batch.data) != steps[0]);
            break;
        }
    }
}
void data_goes_on_where_it_was()
{
    for (int size : {1, 2})
        TEST_RANKS(size, resumed_data);
}

void sampled_epochs(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    accel::DistributedSampler sampler(accelerator.get(), 17, shuffled(2));
    auto epoch = [&](int64_t number) {
        std::vector<torch::Tensor> seen;

        sampler.set_epoch(number);
        auto loader = torch::data::make_data_loader(
            Pairs().map(torch::data::transforms::Stack<>()), sampler,
            torch::data::DataLoaderOptions().batch_size(2).workers(2).enforce_ordering(true));
        for (auto &batch : *loader)
            seen.push_back(accelerator.gather(batch.target));
        return torch::cat(seen);
    };
    auto fifth = epoch(5);

    CHECK(!fifth.equal(epoch(6)) && fifth.equal(epoch(5)));
}
void workers_of_torch_serve_the_sampler()
{
    TEST_RANKS(2, sampled_epochs);
}

/* ---- processes ---- */

void processes(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    std::vector<std::string> ran, names{"a", "b", "c", "d", "e"};

    accelerator.on_main_process([&] { ran.push_back("main"); });
    accelerator.on_local_main_process([&] { ran.push_back("local"); });
    accelerator.on_last_process([&] { ran.push_back("last"); });
    accelerator.on_process(1, [&] { ran.push_back("1"); });
    accelerator.on_local_process(1, [&] { ran.push_back("local 1"); });
    if (rank == 0)
        CHECK((ran == std::vector<std::string>{"main", "local"}));
    else
        CHECK((ran == std::vector<std::string>{"last", "1", "local 1"}));

    auto part = accelerator.split_between_processes(names);
    CHECK((part == (rank == 0 ? std::vector<std::string>{"a", "b", "c"}
                              : std::vector<std::string>{"d", "e"})));
    CHECK(accelerator.split_between_processes(names, true).size() == 3);
    CHECK(accelerator.split_between_processes(names, true).back() == (rank == 0 ? "c" : "e"));
    auto rows = torch::arange(10).reshape({5, 2});
    CHECK(accelerator.gather(accelerator.split_between_processes(rows)).equal(rows));
    auto padded = accelerator.split_between_processes(rows, true);
    CHECK(padded.size(0) == 3 && padded[2].equal(rows[rank == 0 ? 2 : 4]));
    CHECK(accelerator.split_between_processes(5).count == (rank == 0 ? 3 : 2));

    auto objects = accelerator.gather_object(std::string(static_cast<size_t>(rank), '\0') + "x");
    CHECK(objects.size() == 2 && objects[0] == "x" && objects[1] == std::string("\0x", 2));
    CHECK(accelerator.broadcast_object(names[static_cast<size_t>(rank)], size - 1) == "b");

    CHECK(!accelerator.check_trigger());
    if (rank == 1)
        accelerator.set_trigger();
    CHECK(accelerator.check_trigger() && !accelerator.check_trigger());
    {
        auto first = accelerator.local_main_process_first();
    }
    CHECK(accelerator.set_seed(11) == 11);
    auto same = accelerator.gather(torch::rand({1, 4}));
    CHECK(same[0].equal(same[1]));
    CHECK(accelerator.set_seed(11, true) == 11 + static_cast<uint64_t>(rank));
    auto own = accelerator.gather(torch::rand({1, 4}));
    CHECK(!own[0].equal(own[1]) && own[0].equal(same[0]));
    CHECK(accelerator.mixed_precision() == "no" && accelerator.get());
}
void processes_by_name()
{
    TEST_RANKS(2, processes);
}

/* ---- memory ---- */

void batch_size(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    std::vector<int64_t> tried;
    auto train = [&](int64_t size) {
        Mlp mlp = models::make<Mlp>(torch::kDouble);
        accel::SGD optimizer(mlp->parameters(), 0.1);

        tried.push_back(size);
        accelerator.prepare(mlp, optimizer);
        auto loss = rows_loss(mlp, size, rank);
        if (rank == 1 && size > 7) /* the others wait in step() */
            loss = loss + torch::empty({int64_t(1) << 46}).sum();
        accelerator.backward(loss);
        optimizer.step();
        accelerator.unprepare(mlp);
    };

    CHECK_INT(7, accelerator.find_executable_batch_size(train, 10));
    CHECK((tried == std::vector<int64_t>{10, 9, 8, 7}));
    if (rank == 0)
        CHECK_THROWS(ACCEL_ERR_STATE, "on purpose",
                     accelerator.find_executable_batch_size(
                         [&](int64_t) { accelerator.wait_for_everyone(); }));
    bool thrown = false;
    try {
        if (rank == 1)
            accelerator.find_executable_batch_size(
                [](int64_t) { throw std::out_of_range("on purpose"); });
    } catch (const std::out_of_range &) {
        thrown = true; /* as it was */
    }
    CHECK(thrown == (rank == 1));
}
void a_batch_that_fits()
{
    TEST_RANKS(2, batch_size);
}

void let_go(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), expected = models::make<Mlp>(torch::kDouble);
    accel::SGD optimizer(mlp->parameters(), 0.1);

    for (int time = 0; time < 2; time++) {
        accelerator.prepare(mlp, optimizer);
        accelerator.free_memory();
        CHECK_THROWS(ACCEL_ERR_STATE, "not prepared", accelerator.get(mlp));
        CHECK(models::difference(expected->parameters(), mlp->parameters()) == 0);
    }
    rows_loss(mlp, 2, rank).backward(); /* a module as before */
    optimizer.step();
    CHECK(!mlp->fc1->weight.equal(expected->fc1->weight));
}
void prepared_objects_are_let_go()
{
    TEST_RANKS(2, let_go);
}

/* Rank r has r + 1 batches. */
void uneven(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    accel::SGD optimizer(mlp->parameters(), 0.1);

    accelerator.prepare(mlp, optimizer);
    {
        auto join = accelerator.join_uneven_inputs();
        for (int step = 0; step <= rank; step++) {
            accelerator.backward(rows_loss(mlp, 2, step));
            optimizer.step();
            optimizer.zero_grad();
        }
    }
    auto all = accelerator.gather(mlp->fc1->bias.reshape({1, -1}));
    CHECK(all[0].equal(all[size - 1]));
    Mlp expected = models::make<Mlp>(torch::kDouble);
    torch::optim::SGD plain(expected->parameters(), 0.1);
    for (int step = 0; step < size; step++) {
        plain.zero_grad();
        (rows_loss(expected, 2, step) * (size - step) / size).backward();
        plain.step();
    }
    CHECK(models::difference(expected->parameters(), mlp->parameters()) < 1e-11);
}
void uneven_inputs_are_joined()
{
    TEST_RANKS(3, uneven);
}

/* ---- what Python judges: see tests/oracle/torch_api.py ---- */

/* Read the weights of a module that Python made; write what it gives; train a step; write the
 * weights, and what it gives now. */
template <typename Module, typename Forward>
void round_trip(accel::Accelerator &accelerator, const std::string &name, const Forward &forward)
{
    Module module;
    accel::SGD optimizer(module->parameters(), 0.1);
    auto write = [&](const std::string &path) {
        accelerator.on_main_process([&] {
            torch::NoGradGuard no_grad;
            torch::nn::Module output;

            module->eval();
            output.register_buffer("output", forward(module).detach());
            accel::save_weights(output, name + path);
            module->train();
        });
    };

    accel::load_weights(*module, name + ".safetensors");
    write(".read.safetensors");
    accelerator.prepare(module, optimizer);
    accelerator.backward(forward(module).square().mean());
    optimizer.step();
    accelerator.sync_buffers(module);
    accelerator.save_weights(module, name + ".trained.safetensors");
    write(".output.safetensors");
    Module archived;
    torch::load(archived, name + ".pt"); /* TorchScript has the same names */
    Module again;
    accel::load_weights(*again, name + ".safetensors");
    CHECK(same_weights(*archived, *again));
    accelerator.wait_for_everyone();
    accelerator.unprepare(module);
}

/* One line a step: scale, growth, and which of two optimizers stepped. */
void print_scales()
{
    accel::GradScalerOptions options;
    options.init_scale = 1000;
    options.growth_factor = 1.7;
    options.backoff_factor = 0.37;
    options.growth_interval = 3;
    accel::GradScaler scaler(options);
    auto a = torch::ones({5}, torch::requires_grad()), b = torch::ones({5}, torch::requires_grad());
    torch::optim::SGD first({a}, 0.1), second({b}, 0.1);

    std::cout.precision(17);
    for (int step = 0; step < 40; step++) {
        auto loss = (a * (step % 7 == 3 ? INFINITY : 1.5)).sum();

        first.zero_grad();
        second.zero_grad();
        if (step % 2 == 0)
            loss = loss + (b * (step % 10 == 4 ? NAN : 0.5)).sum();
        scaler.scale(loss).backward();
        bool stepped = scaler.step(first), both = step % 2 == 0 && scaler.step(second);
        scaler.update();
        auto state = scaler.get_state();
        std::cout << state.scale << ' ' << state.growth_tracker << ' ' << stepped << ' ' << both
                  << ' ' << a[0].item<double>() << ' ' << b[0].item<double>() << '\n';
    }
}

int run_for_python()
{
    accel::Accelerator accelerator;

    round_trip<Cnn>(accelerator, "cnn", [](Cnn &cnn) {
        auto x = models::CnnImpl::input(4, 0).to(torch::kFloat);
        return cnn->fc(torch::tanh(cnn->norm(cnn->conv(x))).flatten(1));
    });
    round_trip<Tied>(accelerator, "tied", [](Tied &tied) { return tied(torch::ones({2, 4})); });
    accelerator.on_main_process(print_scales);
    return 0;
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(weights_of_batches),
                                   TEST(weights_pass_through_files),
                                   TEST(layouts_stay),
                                   TEST(a_scaler_has_optimizers),
                                   TEST(data_goes_on_where_it_was),
                                   TEST(workers_of_torch_serve_the_sampler),
                                   TEST(processes_by_name),
                                   TEST(a_batch_that_fits),
                                   TEST(prepared_objects_are_let_go),
                                   TEST(uneven_inputs_are_joined)};

    if (argc == 2 && std::string(argv[1]) == "--python")
        return run_for_python();
    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
