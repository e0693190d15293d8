/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Around the training loop of a C++ program: tensors of all ranks, data, precision, files. */
#include <numeric>
#include <sstream>
#include <thread>

#include "models.hpp"

#include "ranks.hpp"

namespace
{
using models::Mlp;
using models::wave;

torch::Tensor mlp_loss(Mlp &mlp, double phase)
{
    return mlp->loss(models::MlpImpl::input(4, phase), models::MlpImpl::target(4, phase));
}

/* ---- tensors ---- */

void collectives(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    auto rows = torch::arange(6, torch::kFloat).reshape({2, 3}) + 10 * rank;

    auto all = accelerator.gather(rows.t()); /* strided */
    CHECK(all.sizes() == at::IntArrayRef({3 * size, 2}));
    CHECK_NEAR(3 + 10 * (size - 1), all[3 * (size - 1)][1].item<float>(), 0);
    CHECK(accelerator.gather(torch::tensor(rank)).sizes() == at::IntArrayRef({size}));
    for (auto type : {torch::kDouble, torch::kHalf, torch::kBFloat16, torch::kInt, torch::kLong,
                      torch::kByte, torch::kBool}) {
        auto found = accelerator.gather((torch::arange(3) == rank).to(type));

        CHECK(found.scalar_type() == type && found.numel() == 3 * size);
        CHECK(found.to(torch::kLong).sum().item<int64_t>() == size);
    }
    CHECK(accelerator.reduce(rows).equal((rows - 10 * rank) * size +
                                         10.0f * static_cast<float>(size * (size - 1) / 2)));
    CHECK(accelerator.reduce(rows, ACCEL_MAX).max().item<float>() ==
          5.0f + 10.0f * static_cast<float>(size - 1));
    CHECK(rows[0][0].item<float>() == 10.0f * static_cast<float>(rank)); /* a copy was reduced */

    auto column = rows.select(1, 0);
    accelerator.broadcast(column, size - 1); /* in place, through a view */
    CHECK(rows[1][0].item<float>() == 3 + 10 * static_cast<float>(size - 1));

    auto padded = accelerator.pad_across_processes(torch::ones({rank + 1, 2}), 0, 7);
    CHECK(padded.sizes() == at::IntArrayRef({size, 2}));
    CHECK(padded.sum().item<float>() ==
          static_cast<float>(2 * (rank + 1) + 14 * (size - rank - 1)));

    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "gather: the tensor is Char",
                 accelerator.gather(torch::zeros({1}, torch::kChar)));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "is on meta; expected a CPU tensor",
                 accelerator.gather(torch::zeros({1}, torch::TensorOptions().device(at::kMeta))));
    CHECK_THROWS(ACCEL_ERR_INVALID, "undefined", accelerator.gather(torch::Tensor()));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "is sparse", accelerator.gather(torch::eye(2).to_sparse()));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "has 9 dimensions",
                 accelerator.gather(torch::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1})));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "Bool",
                 accelerator.reduce(torch::zeros({1}, torch::kBool)));
    if (size > 1)
        CHECK_THROWS(ACCEL_ERR_MISMATCH, "", accelerator.gather(torch::zeros({1, rank + 1})));
}
void tensors_of_all_ranks()
{
    for (int size : {1, 3})
        TEST_RANKS(size, collectives);
}

void buffers(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    models::Cnn cnn;

    accelerator.prepare(cnn);
    cnn->norm->running_mean.fill_(rank);
    cnn->norm->num_batches_tracked.fill_(rank + 5);
    accelerator.average_buffers(cnn);
    CHECK_NEAR((size - 1) / 2.0, cnn->norm->running_mean.max().item<double>(), 0);
    CHECK_INT(rank + 5, cnn->norm->num_batches_tracked.item<int64_t>());
    accelerator.sync_buffers(cnn);
    CHECK_INT(5, cnn->norm->num_batches_tracked.item<int64_t>());
}
void buffers_are_each_ranks_own()
{
    TEST_RANKS(3, buffers);
}

/* ---- data ---- */

/* Sample i is the number i. */
struct Numbers : torch::data::datasets::Dataset<Numbers, torch::data::TensorExample> {
    explicit Numbers(int64_t numbers) : count(numbers) {}
    torch::data::TensorExample get(size_t index) override
    {
        return torch::tensor(static_cast<int64_t>(index));
    }
    torch::optional<size_t> size() const override { return static_cast<size_t>(count); }
    int64_t count;
};

std::vector<int64_t> sorted(const torch::Tensor &tensor)
{
    auto flat = std::get<0>(tensor.flatten().sort());

    return std::vector<int64_t>(flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel());
}

void data_loader(int, int size)
{
    accel::Accelerator accelerator(
        ranks::options([](auto &o) { o.gradient_accumulation_steps = 4; }));
    accel::DataLoaderOptions options(3);
    options.shuffle = true;
    options.seed = 42;
    auto loader = accel::make_data_loader(
        Numbers(17).map(torch::data::transforms::Stack<torch::data::TensorExample>()), options);
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    std::vector<int64_t> all(17), first;

    std::iota(all.begin(), all.end(), 0);
    accelerator.prepare(mlp, *loader);
    for (int epoch = 0; epoch < 2; epoch++) {
        std::vector<torch::Tensor> seen;
        int64_t steps = 0;

        for (auto &batch : *loader) {
            accelerator.accumulate(mlp);
            CHECK(batch.data.size(0) == 3 || size == 1);
            seen.push_back(accelerator.gather_for_metrics(batch.data));
            CHECK(accelerator.sync_gradients() == (++steps % 4 == 0 || steps == loader->size()));
        }
        CHECK_INT((17 + 3 * size - 1) / (3 * size), steps);
        auto order = torch::cat(seen);
        CHECK(sorted(order) == all); /* every sample once */
        std::vector<int64_t> expected(17);
        accel_shuffle(42, epoch, 17, expected.data());
        CHECK(order.equal(torch::tensor(expected)));
    }
}
void a_loader_gives_every_sample_once()
{
    for (int size : {1, 2, 3})
        TEST_RANKS(size, data_loader);
}

void sampler(int, int size)
{
    accel::Accelerator accelerator(ranks::options());
    accel::DataLoaderOptions options(3);
    options.shuffle = true;
    auto data = Numbers(17).map(torch::data::transforms::Stack<torch::data::TensorExample>());
    accel::DistributedSampler sampler(accelerator.get(), 17, options), other(sampler);
    auto loader = torch::data::make_data_loader(
        std::move(data), sampler, torch::data::DataLoaderOptions().batch_size(3).workers(1));
    std::vector<torch::Tensor> epochs;

    for (int epoch = 0; epoch < 2; epoch++) {
        std::vector<torch::Tensor> seen;

        for (auto &batch : *loader)
            seen.push_back(accelerator.gather(batch.data));
        CHECK_INT(other.steps(), static_cast<int64_t>(seen.size()));
        epochs.push_back(torch::cat(seen));
        auto found = std::get<0>(torch::_unique(epochs.back()));
        CHECK_INT(17, found.numel());
    }
    CHECK(!epochs[0].equal(epochs[1])); /* another order */
    CHECK_THROWS(ACCEL_ERR_INVALID, "batch_size is 5, the sampler's 3", other.next(5));

    (void)other.next(3);
    torch::serialize::OutputArchive out;
    other.save(out);
    std::stringstream bytes;
    out.save_to(bytes);
    torch::serialize::InputArchive in;
    in.load_from(bytes);
    accel::DistributedSampler resumed(accelerator.get(), 17, options);
    resumed.load(in);
    if (other.steps() > 1)
        CHECK(*resumed.next(3) == *other.next(3));
    CHECK(size >= 1);
}
void torchs_loader_takes_our_sampler()
{
    for (int size : {1, 2, 3})
        TEST_RANKS(size, sampler);
}

/* ---- precision ---- */

void autocast(int rank, int)
{
    accel::Accelerator plain(ranks::options());
    accel::Accelerator mixed(ranks::options([](auto &o) { o.mixed_precision = "bf16"; }));
    Mlp mlp = models::make<Mlp>(torch::kFloat);
    accel::SGD optimizer(mlp->parameters(), torch::optim::SGDOptions(0.5));
    auto x = models::MlpImpl::input(4, rank).to(torch::kFloat);

    mixed.prepare(mlp, optimizer);
    {
        auto none = plain.autocast();
        CHECK(mlp->fc1(x).scalar_type() == torch::kFloat);
    }
    torch::Tensor before, after;
    for (torch::Tensor *out : {&before, &after}) {
        {
            auto scope = mixed.autocast();
            *out = mlp->fc1(x);
            auto off = mixed.autocast(false);
            CHECK(mlp->fc1(x).scalar_type() == torch::kFloat);
        }
        CHECK(out->scalar_type() == torch::kBFloat16);
        CHECK(mlp->fc1(x).scalar_type() == torch::kFloat);
        mixed.backward(mlp->fc2(torch::tanh(out->to(torch::kFloat))).square().mean());
        CHECK(mlp->fc1->weight.grad().scalar_type() == torch::kFloat);
        optimizer.step(); /* behind torch's back: a cached cast would be old */
        optimizer.zero_grad();
    }
    CHECK(!before.equal(after));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "the type is Float", accel::Autocast scope{torch::kFloat});
}
void autocast_is_a_scope()
{
    TEST_RANKS(2, autocast);
}

void scaler(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kFloat), before = models::make<Mlp>(torch::kFloat);
    torch::optim::SGD optimizer(mlp->parameters(), torch::optim::SGDOptions(0.1));
    accel::GradScalerOptions options;
    options.init_scale = 1024;
    options.growth_interval = 2;
    accel::GradScaler scaler(options);
    auto loss = [&] {
        return mlp->loss(models::MlpImpl::input(4, rank).to(torch::kFloat),
                         models::MlpImpl::target(4, rank).to(torch::kFloat));
    };
    const bool finite[] = {true, true, false, true, false, false, true, true};
    const double scales[] = {1024, 2048, 1024, 1024, 512, 256, 256, 512};

    accelerator.prepare(mlp, optimizer);
    CHECK_THROWS(ACCEL_ERR_STATE, "there was no step()", scaler.update());
    for (int step = 0; step < 8; step++) {
        auto scaled = scaler.scale(loss());

        if (!finite[step] && rank == 1) /* on one rank: all must see it */
            scaled = scaled * std::numeric_limits<float>::infinity();
        auto last = mlp->fc1->weight.clone();
        accelerator.backward(scaled);
        scaler.unscale_(optimizer);
        CHECK_THROWS(ACCEL_ERR_STATE, "unscaled since", scaler.unscale_(optimizer));
        CHECK(scaler.step(optimizer) == finite[step]);
        scaler.update();
        optimizer.zero_grad();
        CHECK(last.equal(mlp->fc1->weight) == !finite[step]);
        CHECK_NEAR(scales[step], scaler.get_scale(), 0);
    }
    options.enabled = false;
    CHECK_NEAR(1, accel::GradScaler(options).get_scale(), 0);
    options.growth_factor = 0.5;
    CHECK_THROWS(ACCEL_ERR_INVALID, "growth_factor > 1", accel::GradScaler{options});
}
void a_scaler_decides_the_same_on_all_ranks()
{
    TEST_RANKS(2, scaler);
}

void half_precision(int rank, int)
{
    accel::Accelerator accelerator(ranks::options([](auto &o) { o.mixed_precision = "fp16"; }));
    Mlp mlp = models::make<Mlp>(torch::kFloat), other = models::make<Mlp>(torch::kFloat);
    accel::AdamW optimizer(mlp->parameters(), torch::optim::AdamWOptions(1e-3));

    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "use accel::GradScaler", accelerator.prepare(other));
    accelerator.prepare(mlp, optimizer);
    auto loss = mlp->loss(models::MlpImpl::input(4, rank).to(torch::kFloat),
                          models::MlpImpl::target(4, rank).to(torch::kFloat));
    accelerator.backward(rank == 1 ? loss * std::numeric_limits<float>::infinity() : loss);
    optimizer.step();
    CHECK(optimizer.step_was_skipped());
    CHECK(mlp->fc1->weight.equal(other->fc1->weight));
}
void fp16_skips_what_is_not_finite()
{
    TEST_RANKS(2, half_precision);
}

/* ---- optimizers ---- */

/* Groups, and a schedule of torch's on top. */
template <typename Optimizer, typename Plain, typename Options>
void check_groups(int rank, const Options &first, const Options &second)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), reference = models::make<Mlp>(torch::kDouble);
    auto groups = [&](Mlp &m) {
        return std::vector<torch::optim::OptimizerParamGroup>{
            torch::optim::OptimizerParamGroup({m->fc1->weight, m->fc2->weight},
                                              std::make_unique<Options>(first)),
            torch::optim::OptimizerParamGroup({m->fc1->bias, m->fc2->bias},
                                              std::make_unique<Options>(second))};
    };
    Optimizer optimizer(groups(mlp), Options(first));
    Plain plain(groups(reference), Options(first));
    torch::optim::StepLR schedule(optimizer, 2, 0.5), plain_schedule(plain, 2, 0.5);

    accelerator.prepare(mlp, optimizer);
    for (int step = 0; step < 8; step++) {
        accelerator.backward(mlp_loss(mlp, step + rank));
        optimizer.step();
        schedule.step();
        optimizer.zero_grad();
        for (int r = 0; r < accelerator.num_processes(); r++)
            (mlp_loss(reference, step + r) / accelerator.num_processes()).backward();
        plain.step();
        plain_schedule.step();
        plain.zero_grad();
    }
    CHECK(models::difference(reference->parameters(), mlp->parameters()) < 1e-11);
    static_cast<Options &>(optimizer.param_groups()[0].options()).weight_decay(0.7);
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "only the learning rates", optimizer.step());
}

void groups(int rank, int)
{
    using namespace torch::optim;

    check_groups<accel::AdamW, AdamW>(rank, AdamWOptions(1e-2).weight_decay(0.1).amsgrad(true),
                                      AdamWOptions(2e-2).weight_decay(0).amsgrad(true).eps(1e-6));
    check_groups<accel::Adam, Adam>(rank, AdamOptions(1e-2).weight_decay(0.1),
                                    AdamOptions(2e-2).betas({0.8, 0.9}));
    check_groups<accel::SGD, SGD>(rank, SGDOptions(1e-2).momentum(0.9).nesterov(true),
                                  SGDOptions(0.1).momentum(0.5).weight_decay(0.1).nesterov(true));
}
void groups_and_schedules_of_torch()
{
    TEST_RANKS(2, groups);
}

/* ---- files, and the end ---- */

void files(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    std::string path = std::string(test_dir()) + "/model.pt";
    models::Cnn cnn = models::make<models::Cnn>(torch::kDouble),
                read = models::make<models::Cnn>(torch::kDouble);
    accel::AdamW optimizer(cnn->parameters(), torch::optim::AdamWOptions(1e-2));

    accelerator.prepare(cnn, optimizer);
    auto step = [&](int i) {
        accelerator.backward(
            cnn->loss(models::CnnImpl::input(4, i + rank), models::CnnImpl::target(4, i + rank)));
        optimizer.step();
        optimizer.zero_grad();
    };
    step(0);
    accelerator.save(cnn, path);
    auto saved = cnn->fc->weight.clone(), mean = cnn->norm->running_mean.clone();
    const void *place = cnn->fc->weight.data_ptr();
    accelerator.wait_for_everyone();
    step(1);
    CHECK(!saved.equal(cnn->fc->weight));
    accelerator.load(cnn, path);
    CHECK(saved.equal(cnn->fc->weight) && cnn->fc->weight.data_ptr() == place);
    CHECK(rank != 0 || mean.equal(cnn->norm->running_mean));
    accelerator.wait_for_everyone();
    step(2);                 /* it is still prepared */
    torch::load(read, path); /* and anybody can read it */
    CHECK(saved.equal(read->fc->weight));
    CHECK_THROWS(ACCEL_ERR_IO, "accel: load of '/nonexistent/x'",
                 accelerator.load(cnn, "/nonexistent/x"));
    CHECK_THROWS(ACCEL_ERR_IO, "accel: save to '/nonexistent/x'",
                 accelerator.save(cnn, "/nonexistent/x"));
}
void models_are_saved_and_loaded()
{
    (void)test_dir();
    TEST_RANKS(2, files);
}

void ends(int rank, int)
{
    Mlp shared = models::make<Mlp>(torch::kDouble), own = models::make<Mlp>(torch::kDouble);
    accel::AdamW optimizer(shared->parameters(), torch::optim::AdamWOptions(1e-2));
    {
        accel::Accelerator accelerator(ranks::options());

        accelerator.prepare(shared, optimizer);
        accelerator.prepare(own);
        for (auto *model : {&shared, &own})
            accelerator.backward(mlp_loss(*model, rank));
        optimizer.step();
        accelerator.wait_for_everyone();
    }
    mlp_loss(shared, 0).backward(); /* without an accelerator it is a module as before */
    optimizer.zero_grad();
    mlp_loss(shared, 0).backward();
    optimizer.step();
    CHECK(shared->fc1->weight.isfinite().all().item<bool>());
    mlp_loss(own, 0).backward();
    CHECK(own->fc1->weight.grad().defined());
}
void a_module_outlives_its_accelerator()
{
    TEST_RANKS(2, ends);
}

void threads(int, int size)
{
    unsetenv("OMP_NUM_THREADS");
    int before = at::get_num_threads();
    accel::Accelerator accelerator(ranks::options());
    int share = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / size);

    CHECK_INT(std::min(before, share), at::get_num_threads());
}
void ranks_share_the_cores()
{
    TEST_RANKS(2, threads);
}

void trackers(int, int)
{
    accel::Accelerator accelerator(ranks::options([](auto &o) {
        o.log_with = "jsonl";
        o.project_dir = test_dir();
    }));

    accelerator.init_trackers("project", ACCEL_DICT("lr", 0.1));
    accelerator.log(ACCEL_DICT("train_loss", 0.5), 0);
    CHECK(accelerator.get_tracker("jsonl"));
    CHECK_THROWS(ACCEL_ERR_NOT_FOUND, "nothing", accelerator.get_tracker("nothing"));
    accelerator.end_training();
}
void trackers_pass_through()
{
    (void)test_dir();
    TEST_RANKS(2, trackers);
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(tensors_of_all_ranks),
                                   TEST(buffers_are_each_ranks_own),
                                   TEST(a_loader_gives_every_sample_once),
                                   TEST(torchs_loader_takes_our_sampler),
                                   TEST(autocast_is_a_scope),
                                   TEST(a_scaler_decides_the_same_on_all_ranks),
                                   TEST(fp16_skips_what_is_not_finite),
                                   TEST(groups_and_schedules_of_torch),
                                   TEST(models_are_saved_and_loaded),
                                   TEST(a_module_outlives_its_accelerator),
                                   TEST(ranks_share_the_cores),
                                   TEST(trackers_pass_through)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
