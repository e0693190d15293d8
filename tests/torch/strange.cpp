/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * What programs do that nobody thought of: each beside the same in one process, with torch alone.
 */
#include "models.hpp"

#include <vector>

#include "ranks.hpp"

namespace
{
using models::wave;

enum { STEPS = 4 };

/* Two parameters, each used as the loss asks. */
struct Pair : torch::nn::Module {
    explicit Pair(double phase = 0)
    {
        first = register_parameter("first", wave({5, 3}, phase));
        second = register_parameter("second", wave({7}, phase + 1));
    }
    torch::Tensor both(double target) { return one(target) + (second - target).square().mean(); }
    torch::Tensor one(double target) { return (first - target).square().mean(); }
    torch::Tensor first, second;
};

torch::optim::SGDOptions sgd()
{
    return torch::optim::SGDOptions(0.1).momentum(0.9);
}

std::vector<torch::Tensor> all(const Pair &a, const Pair &b)
{
    return {a.first, a.second, b.first, b.second};
}

/* Two models in one loss: what a rank leaves unused of one, and which it computed first, is its
 * own affair. */
torch::Tensor crossed(Pair &a, Pair &b, int step, int rank)
{
    double target = 0.3 * step + rank;

    if (rank % 2 == 0)
        return a.both(target) + b.both(-target);
    auto loss = b.both(-target);
    return loss + (step % 2 == 0 ? a.both(target) : a.one(target));
}

template <typename Optimizer> void crossing(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0), b(2), plain_a(0), plain_b(2);
    Optimizer optimizer_a(a.parameters(), sgd()), optimizer_b(b.parameters(), sgd());
    torch::optim::SGD plain(all(plain_a, plain_b), sgd());

    accelerator.prepare(a, optimizer_a);
    accelerator.prepare(b, optimizer_b);
    for (int step = 0; step < STEPS; step++) {
        accelerator.backward(crossed(a, b, step, rank));
        optimizer_a.step();
        optimizer_b.step();
        optimizer_a.zero_grad();
        optimizer_b.zero_grad();
        for (int r = 0; r < size; r++)
            (crossed(plain_a, plain_b, step, r) / size).backward();
        plain.step();
        plain.zero_grad();
    }
    CHECK(models::difference(all(plain_a, plain_b), all(a, b)) < 1e-12);
}
void two_models_are_ready_in_any_order()
{
    for (int size : {2, 3}) {
        TEST_RANKS(size, crossing<torch::optim::SGD>);
        TEST_RANKS(size, crossing<accel::SGD>);
    }
}

/* PyTorch's DCGAN: the second loss goes through the first model again, whose gradients have been
 * stepped, and are cleared only afterwards. */
template <typename Optimizer>
void adversaries(const std::function<void(const torch::Tensor &)> &backward, Pair &critic,
                 Pair &maker, Optimizer &optimizer_c, Optimizer &optimizer_m,
                 const std::vector<int> &ranks)
{
    double share = 1.0 / static_cast<double>(ranks.size());
    auto made = [&](int rank) { return maker.first * maker.second.sum() + rank; };
    auto score = [&](const torch::Tensor &x) {
        return (x * critic.first).square().mean() + critic.second.square().sum();
    };

    critic.zero_grad();
    for (int r : ranks)
        backward((score(torch::ones({5, 3}, torch::kDouble) * (r + 1)) - 1).square() * share);
    for (int r : ranks)
        backward(score(made(r).detach()).square() * share);
    optimizer_c.step();
    maker.zero_grad();
    for (int r : ranks)
        backward((score(made(r)) - 1).square() * share);
    optimizer_m.step();
}

template <typename Optimizer> void dcgan(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    auto options = torch::optim::SGDOptions(1e-3);
    Pair critic(0), maker(2), plain_critic(0), plain_maker(2);
    Optimizer optimizer_c(critic.parameters(), options), optimizer_m(maker.parameters(), options);
    torch::optim::SGD plain_c(plain_critic.parameters(), options),
        plain_m(plain_maker.parameters(), options);
    std::vector<int> everybody;

    for (int r = 0; r < size; r++)
        everybody.push_back(r);
    accelerator.prepare(critic, optimizer_c);
    accelerator.prepare(maker, optimizer_m);
    for (int step = 0; step < STEPS; step++) {
        adversaries([&](const torch::Tensor &loss) { accelerator.backward(loss); }, critic, maker,
                    optimizer_c, optimizer_m, {rank});
        adversaries([](const torch::Tensor &loss) { loss.backward(); }, plain_critic, plain_maker,
                    plain_c, plain_m, everybody);
    }
    CHECK(models::difference(all(plain_critic, plain_maker), all(critic, maker)) < 1e-10);
}
void stepped_gradients_are_added_to()
{
    for (int size : {1, 2}) {
        TEST_RANKS(size, dcgan<torch::optim::SGD>);
        TEST_RANKS(size, dcgan<accel::SGD>);
    }
}

/* no_sync is of its model alone; trigger_sync_in_backward makes what is stepped behind it. */
template <typename Optimizer> void scopes(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0), b(2), plain_a(0), plain_b(2);
    Optimizer optimizer_a(a.parameters(), sgd()), optimizer_b(b.parameters(), sgd());
    torch::optim::SGD plain(all(plain_a, plain_b), sgd());

    accelerator.prepare(a, optimizer_a);
    accelerator.prepare(b, optimizer_b);
    for (int step = 0; step < STEPS; step++) {
        {
            auto local = accelerator.no_sync(a);

            accelerator.backward(a.both(rank));
            auto trigger = accelerator.trigger_sync_in_backward(a);
            accelerator.backward(a.one(-rank));
        }
        optimizer_a.step();
        optimizer_a.zero_grad();
        {
            auto local = accelerator.no_sync(a);

            accelerator.backward(b.both(rank));
        }
        optimizer_b.step();
        optimizer_b.zero_grad();
        for (int r = 0; r < size; r++)
            ((plain_a.both(r) + plain_a.one(-r) + plain_b.both(r)) / size).backward();
        plain.step();
        plain.zero_grad();
    }
    CHECK(models::difference(std::vector<at::Tensor>{plain_a.first, plain_a.second},
                             std::vector<at::Tensor>{a.first, a.second}) < 1e-12);
    CHECK(models::difference(std::vector<at::Tensor>{plain_b.first, plain_b.second},
                             std::vector<at::Tensor>{b.first, b.second}) < 1e-12);
}
void scopes_are_of_one_model()
{
    TEST_RANKS(2, scopes<torch::optim::SGD>);
    TEST_RANKS(2, scopes<accel::SGD>);
}

/* What a prepared optimizer cannot do is said. */
void optimizers(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0), b(2);
    accel::SGD both(all(a, b), sgd()), alone(a.parameters(), sgd());

    CHECK_THROWS(ACCEL_ERR_INVALID, "not of the model", accelerator.prepare(a, both));
    accelerator.prepare(a, alone);
    accelerator.backward(a.both(1));
    alone.step();
    if constexpr (ACCEL_TORCH_HAS_POST_ACC_GRAD_HOOKS)
        alone.zero_grad(true);
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "optimizer", torch::serialize::OutputArchive archive;
                 alone.save(archive));
}
void an_optimizer_says_what_it_cannot()
{
    TEST_RANKS(2, optimizers);
}

/* A hand on the gradients of one copy, of which parts are reduced by then. */
void clipping(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0);
    accel::SGD optimizer(a.parameters(), sgd());

    accelerator.prepare(a, optimizer);
    accelerator.backward(a.both(1));
    torch::nn::utils::clip_grad_norm_(a.parameters(), 0.01);
    CHECK_THROWS(ACCEL_ERR_STATE, "'first'", optimizer.step());
    CHECK_THROWS(ACCEL_ERR_STATE, "'first'", accelerator.clip_grad_norm_(a, 1));
    accelerator.unprepare(a);
    Pair b(0), plain(0);
    accel::SGD second(b.parameters(), sgd());
    torch::optim::SGD other(plain.parameters(), sgd());

    accelerator.prepare(b, second);
    for (int step = 0; step < STEPS; step++) {
        accelerator.backward(b.both(rank));
        if (step % 2 == 0) {
            accelerator.sync_gradients(b); /* averages, on every rank */
            torch::nn::utils::clip_grad_norm_(b.parameters(), 0.01);
        } else {
            accelerator.clip_grad_norm_(b, 0.01);
        }
        second.step();
        second.zero_grad();
        for (int r = 0; r < size; r++)
            (plain.both(r) / size).backward();
        torch::nn::utils::clip_grad_norm_(plain.parameters(), 0.01);
        other.step();
        other.zero_grad();
    }
    CHECK(models::difference(all(plain, plain), all(b, b)) < 1e-12);
}
void a_raw_gradient_is_not_written()
{
    TEST_RANKS(2, clipping);
}

void thawing(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0);

    a.second.requires_grad_(false);
    accelerator.prepare(a);
    accelerator.backward(a.both(1));
    a.second.requires_grad_(true);
    CHECK_THROWS(ACCEL_ERR_STATE, "'second'", accelerator.backward(a.both(1)));
}
void what_is_frozen_at_prepare_stays_so()
{
    TEST_RANKS(2, thawing);
}

/* loss.backward() beside the accelerator. */
template <typename Optimizer> void past(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0);
    Optimizer optimizer(a.parameters(), sgd());

    accelerator.prepare(a, optimizer);
    try {
        a.one(rank).backward();
        optimizer.step();
        test_fail(__FILE__, __LINE__, "nothing thrown: %g", a.first.sum().template item<double>());
    } catch (const std::exception &error) {
        if (std::string(error.what()).find("Accelerator::backward") == std::string::npos)
            test_fail(__FILE__, __LINE__, "'%s'", error.what());
    }
}
void a_backward_past_the_accelerator_is_refused()
{
    TEST_RANKS(2, past<torch::optim::SGD>);
    TEST_RANKS(2, past<accel::SGD>);
}

/* What is averaged cannot be weighed against more; other models' gradients are none of it. */
template <typename Optimizer> void weighing(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0), b(2), plain(0);
    Optimizer optimizer(a.parameters(), sgd()), second(b.parameters(), sgd());
    torch::optim::SGD other(plain.parameters(), sgd());

    accelerator.prepare(a, optimizer);
    accelerator.prepare(b, second);
    for (int step = 0; step < STEPS; step++) {
        double weights = 0;

        {
            auto local = accelerator.no_sync(a);
            accelerator.backward(a.both(rank), 3);
        }
        accelerator.backward(a.both(-rank), rank + 1);
        accelerator.backward(b.both(rank), rank + 1);
        optimizer.step();
        second.step();
        a.zero_grad();
        b.zero_grad();
        for (int r = 0; r < size; r++) {
            (plain.both(r) * 3 + plain.both(-r) * (r + 1)).backward();
            weights += 3 + r + 1;
        }
        for (auto &p : plain.parameters())
            p.mutable_grad() /= weights;
        other.step();
        other.zero_grad();
    }
    CHECK(models::difference(all(plain, plain), all(a, a)) < 1e-12);
    accelerator.backward(a.both(rank), 3);
    CHECK_THROWS(ACCEL_ERR_STATE, "onto gradients that are averages",
                 accelerator.backward(a.both(rank), 2));
}
void averages_are_not_weighed_again()
{
    TEST_RANKS(2, weighing<torch::optim::SGD>);
    TEST_RANKS(2, weighing<accel::SGD>);
}

/* Two accelerators have the same module; the first goes first. A new module where one was. */
void lifetimes(int, int)
{
    auto first = std::make_unique<accel::Accelerator>(ranks::options());
    accel::Accelerator second(ranks::options());
    Pair a(0);

    first->prepare(a);
    second.prepare(a);
    first.reset();
    second.backward(a.both(1));
    CHECK(second.unused_parameters(a).empty());
    auto place = std::make_unique<Pair>();
    second.prepare(*place);
    place->~Pair();
    new (place.get()) Pair(3);
    CHECK_THROWS(ACCEL_ERR_STATE, "one that is gone", second.prepare(*place));
    second.free_memory();
    second.prepare(*place);
    second.backward(place->both(1));
    CHECK(second.unused_parameters(*place).empty());
}
void who_goes_first_is_the_programs_affair()
{
    TEST_RANKS(1, lifetimes);
}

/* On one rank a batch of no rows, and fewer than the others on all: weights make up for it. */
template <typename Optimizer> void rows(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    models::Mlp net = models::make<models::Mlp>(torch::kDouble),
                plain = models::make<models::Mlp>(torch::kDouble);
    Optimizer optimizer(net->parameters(), sgd());
    torch::optim::SGD other(plain->parameters(), sgd());
    auto loss = [](models::Mlp &it, int r) {
        return it->loss(models::MlpImpl::input(2 * r, r), models::MlpImpl::target(2 * r, r));
    };

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < STEPS; step++) {
        torch::Tensor sum = torch::zeros({}, torch::kDouble);

        accelerator.backward(loss(net, rank), 2.0 * rank);
        optimizer.step();
        optimizer.zero_grad();
        for (int r = 1; r < size; r++)
            sum = sum + loss(plain, r) * r / (size * (size - 1) / 2);
        sum.backward();
        other.step();
        other.zero_grad();
    }
    CHECK(models::difference(plain->parameters(), net->parameters()) < 1e-11);
}
void a_batch_may_have_no_rows()
{
    TEST_RANKS(3, rows<torch::optim::SGD>);
    TEST_RANKS(3, rows<accel::SGD>);
}

/* A frozen group, a rate of zero, accumulated windows with a short one. */
void rates(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Pair a(0), plain(0);
    auto groups = [](Pair &net) {
        net.second.requires_grad_(false);
        return std::vector<torch::optim::OptimizerParamGroup>{
            torch::optim::OptimizerParamGroup({net.first}),
            torch::optim::OptimizerParamGroup({net.second})};
    };
    accel::SGD optimizer(groups(a), sgd());
    torch::optim::SGD other(groups(plain), sgd());

    accelerator.prepare(a, optimizer);
    for (int step = 0; step < STEPS; step++) {
        for (auto *it : {static_cast<torch::optim::Optimizer *>(&optimizer),
                         static_cast<torch::optim::Optimizer *>(&other)})
            it->param_groups()[0].options().set_lr(0.1 * step);
        accelerator.backward(a.both(rank));
        optimizer.step();
        static_cast<torch::optim::Optimizer &>(optimizer).zero_grad();
        for (int r = 0; r < size; r++)
            (plain.both(r) / size).backward();
        other.step();
        other.zero_grad();
        if (step == 0)
            CHECK(a.first.equal(Pair(0).first));
    }
    CHECK(models::difference(all(plain, plain), all(a, a)) < 1e-12);
}
void groups_may_be_frozen_and_rates_zero()
{
    TEST_RANKS(2, rates);
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(two_models_are_ready_in_any_order),
                                   TEST(stepped_gradients_are_added_to),
                                   TEST(scopes_are_of_one_model),
                                   TEST(an_optimizer_says_what_it_cannot),
                                   TEST(a_raw_gradient_is_not_written),
                                   TEST(what_is_frozen_at_prepare_stays_so),
                                   TEST(a_backward_past_the_accelerator_is_refused),
                                   TEST(averages_are_not_weighed_again),
                                   TEST(who_goes_first_is_the_programs_affair),
                                   TEST(a_batch_may_have_no_rows),
                                   TEST(groups_may_be_frozen_and_rates_zero)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
