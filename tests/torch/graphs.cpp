/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Modules and graphs that are hard to train: odd.hpp, by the C++ header. */
#include "odd.hpp"

#include "ranks.hpp"

namespace
{
torch::optim::AdamWOptions adamw()
{
    return torch::optim::AdamWOptions(1e-2);
}

/* Steps of two modules by turns in one accelerator; what means the same trains the same. */
template <typename Optimizer, typename Module, typename Forward>
void check_same(Module &a, Module &b, const Forward &forward)
{
    accel::Accelerator accelerator(ranks::options());
    Optimizer optimizer_a(a.parameters(), adamw()), optimizer_b(b.parameters(), adamw());
    auto before = a.parameters()[0].clone();

    accelerator.prepare(a, optimizer_a);
    accelerator.prepare(b, optimizer_b);
    for (int step = 0; step < 5; step++) {
        auto loss_a = forward(a), loss_b = forward(b);

        accelerator.backward(loss_a);
        accelerator.clip_grad_norm_(a, 0.5);
        optimizer_a.step();
        optimizer_a.zero_grad();
        accelerator.backward(loss_b);
        accelerator.clip_grad_norm_(b, 0.5);
        optimizer_b.step();
        optimizer_b.zero_grad();
    }
    CHECK(!before.equal(a.parameters()[0]));
    CHECK(models::difference(a.parameters(), b.parameters()) < 1e-11);
}

template <typename Module, typename Forward>
void check_ways(const std::string &one, const std::string &other, const Forward &forward)
{
    Module a(one), b(other), c(one), d(other);

    check_same<accel::AdamW>(a, b, forward);
    check_same<torch::optim::AdamW>(c, d, forward);
}

void graphs(int rank, int)
{
    auto x = odd::wave({3, 4}, rank);
    auto rows = torch::tensor({rank, 3, 3, 7});

    check_ways<odd::Penalty>("closed", "double", [&](auto &m) { return m.forward(x); });
    check_ways<odd::Checkpoint>("kept", "again", [&](auto &m) { return m.forward(x); });
    check_ways<odd::Table>("dense", "sparse", [&](auto &m) { return m.forward(rows); });
    check_ways<odd::Layout>("row", "channels", [&](auto &m) { return m.forward(); });
}
void graphs_of_any_kind_are_trained()
{
    for (int size : {1, 2})
        TEST_RANKS(size, graphs);
}

void layout(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    odd::Layout net("channels");
    accel::AdamW optimizer(net.parameters(), adamw());

    accelerator.prepare(net, optimizer);
    CHECK(net.conv->weight.is_contiguous(at::MemoryFormat::ChannelsLast));
    accelerator.unprepare(net);
    CHECK(net.conv->weight.is_contiguous(at::MemoryFormat::ChannelsLast));
}
void channels_last_weights_stay_so()
{
    TEST_RANKS(2, layout);
}

template <typename Optimizer> void crowd(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    odd::Crowd net, reference;
    Optimizer optimizer(net.parameters(), adamw());
    torch::optim::AdamW plain(reference.parameters(), adamw());

    accelerator.prepare(net, optimizer);
    for (int step = 0; step < 3; step++) {
        accelerator.backward(net.forward());
        optimizer.step();
        optimizer.zero_grad();
        reference.forward().backward();
        plain.step();
        plain.zero_grad();
    }
    auto found = net.parameters(), expected = reference.parameters();
    for (size_t i = 0; i < found.size(); i++)
        CHECK(at::allclose(expected[i], found[i], 0, 1e-11));
}
void many_parameters_and_empty_ones()
{
    TEST_RANKS(2, crowd<accel::AdamW>);
    TEST_RANKS(2, crowd<torch::optim::AdamW>);
}

void nothing(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    models::Mlp mlp = models::make<models::Mlp>(torch::kDouble);
    auto x = models::MlpImpl::input(4, 0), y = models::MlpImpl::target(4, 0);

    for (auto &p : mlp->parameters())
        p.requires_grad_(false);
    accelerator.prepare(mlp); /* to serve: one that is not trained is no mistake */
    CHECK_THROWS(ACCEL_ERR_INVALID, "does not depend on a parameter",
                 accelerator.backward(mlp->loss(x, y)));
}
void a_model_may_have_nothing_to_train()
{
    TEST_RANKS(2, nothing);
}

void stale(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    odd::Tied net;

    accelerator.prepare(net);
    accelerator.backward(net.forward());
    CHECK(accelerator.unused_parameters(net) == std::vector<std::string>{"late"});
}
void what_was_tied_too_late_is_named()
{
    TEST_RANKS(2, stale);
}

/* What autograd throws, alone: and then it goes on. */
void check_autograd_throws(accel::Accelerator &accelerator, const char *text,
                           const at::Tensor &loss)
{
    try {
        accelerator.backward(loss);
    } catch (const std::exception &error) {
        if (std::string(error.what()).find(text) == std::string::npos)
            test_fail(__FILE__, __LINE__, "'%s', without '%s'", error.what(), text);
        return;
    }
    test_fail(__FILE__, __LINE__, "nothing was thrown; expected '%s'", text);
}

void failing(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    models::Mlp mlp = models::make<models::Mlp>(torch::kDouble);
    odd::Checkpoint shared("shared");
    odd::Restless restless;
    accel::AdamW optimizer(mlp->parameters(), adamw()), second(shared.parameters(), adamw()),
        third(restless.parameters(), adamw());
    auto x = models::MlpImpl::input(4, 0), y = models::MlpImpl::target(4, 0);
    auto throws = [&](const char *text, const at::Tensor &loss) {
        check_autograd_throws(accelerator, text, loss);
    };

    accelerator.prepare(mlp, optimizer);
    accelerator.prepare(shared, second);
    accelerator.prepare(restless, third);
    auto stepped = mlp->loss(x, y);
    accelerator.backward(mlp->loss(x, y));
    optimizer.step(); /* the weights that `stepped` was computed with are gone */
    optimizer.zero_grad();
    throws("modified by an inplace operation", stepped);
    throws("'first' was ready before in this backward", shared.forward(odd::wave({3, 4}, 0)));
    throws("the wave has broken in backward", restless.forward(4));
    auto before = mlp->fc1->weight.clone();
    optimizer.zero_grad();
    accelerator.backward(mlp->loss(x, y));
    optimizer.step();
    CHECK(!before.equal(mlp->fc1->weight) && mlp->fc1->weight.isfinite().all().item<bool>());
}
void a_failed_backward_is_said_and_over()
{
    TEST_RANKS(1, failing);
}

/* A module that goes before its accelerator. */
void gone(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    models::Mlp stays = models::make<models::Mlp>(torch::kDouble);
    accel::AdamW optimizer(stays->parameters(), adamw());

    {
        auto goes = std::make_shared<odd::Penalty>("closed");

        accelerator.prepare(goes);
        accelerator.backward(goes->forward(odd::wave({3, 4}, 0)));
    }
    accelerator.prepare(stays, optimizer);
    accelerator.backward(stays->loss(models::MlpImpl::input(4, 0), models::MlpImpl::target(4, 0)));
    optimizer.step();
    accelerator.wait_for_everyone();
}
void a_module_may_go_first()
{
    TEST_RANKS(2, gone);
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(graphs_of_any_kind_are_trained),
                                   TEST(channels_last_weights_stay_so),
                                   TEST(many_parameters_and_empty_ones),
                                   TEST(a_model_may_have_nothing_to_train),
                                   TEST(what_was_tied_too_late_is_named),
                                   TEST(a_failed_backward_is_said_and_over),
                                   TEST(a_module_may_go_first)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
