/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * What goes wrong when C++ trains with libtorch: the right result, or an error that says how to
 * mend it. */
#include "models.hpp"

#include "ranks.hpp"

namespace
{
using models::Mlp;
using models::wave;

torch::optim::AdamWOptions adamw()
{
    return torch::optim::AdamWOptions(1e-2).weight_decay(0);
}

torch::Tensor mlp_loss(Mlp &mlp, double phase)
{
    return mlp->loss(models::MlpImpl::input(4, phase), models::MlpImpl::target(4, phase));
}

/* An operation that does `action` in its backward. */
struct InBackward : torch::autograd::Function<InBackward> {
    static torch::Tensor forward(torch::autograd::AutogradContext *context, const torch::Tensor &x,
                                 int64_t action)
    {
        context->saved_data["action"] = action;
        return x.clone();
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                   const torch::autograd::variable_list &gradients)
    {
        (*reinterpret_cast<std::function<void()> *>(context->saved_data["action"].toInt()))();
        return {gradients[0], torch::Tensor()};
    }
};

torch::Tensor in_backward(const torch::Tensor &x, std::function<void()> &action)
{
    return InBackward::apply(x, reinterpret_cast<int64_t>(&action));
}

/* ---- parameters ---- */

/* One tensor under two names, which torch lists twice. */
struct Tied : torch::nn::Module {
    Tied()
    {
        a = register_parameter("a", wave({3, 3}, 0));
        b = register_parameter("b", a);
    }
    torch::Tensor loss() { return (a.matmul(b) - 1).square().mean(); }
    torch::Tensor a, b;
};

void tied(int, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Tied net, reference;
    accel::AdamW optimizer(std::vector<torch::Tensor>{net.a}, adamw());
    torch::optim::AdamW plain(std::vector<torch::Tensor>{reference.a}, adamw());

    accelerator.prepare(net, optimizer);
    CHECK_INT(1, accel_model_num_parameters(accelerator.get(net)));
    for (int step = 0; step < 5; step++) {
        accelerator.backward(net.loss());
        optimizer.step();
        optimizer.zero_grad();
        reference.loss().backward();
        plain.step();
        plain.zero_grad();
    }
    CHECK(net.a.is_same(net.b) && net.a.data_ptr() == net.b.data_ptr());
    CHECK(models::difference(reference.parameters(), net.parameters()) < 1e-12);
    CHECK(size >= 1);
}
void tied_parameters_are_one()
{
    TEST_RANKS(2, tied);
}

void frozen(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), before = models::make<Mlp>(torch::kDouble);
    std::vector<torch::Tensor> trainable = mlp->fc2->parameters();

    for (auto &p : mlp->fc1->parameters())
        p.requires_grad_(false);
    accel::AdamW optimizer(trainable, adamw());
    accelerator.prepare(mlp, optimizer);
    for (int step = 0; step < 3; step++) {
        accelerator.backward(mlp_loss(mlp, step + rank));
        optimizer.step();
        optimizer.zero_grad();
    }
    CHECK(mlp->fc1->weight.equal(before->fc1->weight));
    CHECK(!mlp->fc2->weight.equal(before->fc2->weight));
    CHECK(!mlp->fc1->weight.grad().defined());
}
void frozen_parameters_stay()
{
    TEST_RANKS(2, frozen);
}

/* On a device that is no CPU, as every machine has one. */
struct Elsewhere : torch::nn::Module {
    Elsewhere()
    {
        register_parameter("weight", torch::zeros({2}, torch::TensorOptions().device(at::kMeta)));
    }
};

void incomplete(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), other = models::make<Mlp>(torch::kDouble);
    accel::AdamW optimizer(mlp->fc1->parameters(), adamw());
    accel::SGD second(other->parameters(), torch::optim::SGDOptions(0.1));

    CHECK_THROWS(ACCEL_ERR_INVALID, "does not have parameter 'fc2.weight'",
                 accelerator.prepare(mlp, optimizer));
    CHECK_THROWS(ACCEL_ERR_INVALID, "2 modules and 1 optimizers of ours",
                 accelerator.prepare(mlp, other, second));
    CHECK_THROWS(
        ACCEL_ERR_INVALID, "use that of torch::optim",
        accelerator.prepare(other, second, accel::ModelOptions{accel::Parameters::replicated, 0}));
    CHECK_THROWS(ACCEL_ERR_STATE, "not prepared", accelerator.sync_buffers(other));
    torch::nn::Linear half(2, 2);
    half->to(torch::kHalf);
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "parameter 'weight' is Half", accelerator.prepare(half));
    torch::nn::Linear strided(2, 2);
    strided->weight.set_data(torch::zeros({2, 4}).slice(1, 0, 4, 2));
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "'weight' is a view", accelerator.prepare(strided));
    Elsewhere meta;
    CHECK_THROWS(ACCEL_ERR_UNSUPPORTED, "'weight': the tensor is on meta; expected a CPU tensor",
                 accelerator.prepare(meta));
}
void what_cannot_be_prepared_is_named()
{
    TEST_RANKS(2, incomplete);
}

/* ---- after prepare ---- */

void moved(int, int)
{
    accel::Accelerator accelerator(ranks::options());

    for (bool shared : {true, false}) {
        Mlp mlp = models::make<Mlp>(torch::kDouble);
        auto options = accel::ModelOptions{
            shared ? accel::Parameters::shared : accel::Parameters::replicated, 0};

        accelerator.prepare(mlp, options);
        CHECK_THROWS(ACCEL_ERR_STATE, "prepared already", accelerator.prepare(mlp, options));
        torch::Tensor before = mlp->fc2->weight.detach(); /* or its memory may be used again */
        mlp->fc2->to(torch::kFloat);
        mlp->fc2->to(torch::kDouble);
        CHECK_THROWS(ACCEL_ERR_STATE, "parameter 'fc2.weight' was moved or cast",
                     accelerator.backward(mlp_loss(mlp, 0)));
        accelerator.unprepare(mlp);
        accelerator.prepare(mlp, options); /* and now it may be */
        accelerator.backward(mlp_loss(mlp, 0));
        accelerator.unprepare(mlp);
    }
}
void a_moved_parameter_is_refused()
{
    TEST_RANKS(2, moved);
}

void written(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp shared = models::make<Mlp>(torch::kDouble), own = models::make<Mlp>(torch::kDouble);
    accel::SGD optimizer(shared->parameters(), torch::optim::SGDOptions(0.1));
    torch::optim::SGD plain(shared->parameters(), torch::optim::SGDOptions(0.1));

    accelerator.prepare(shared, optimizer);
    accelerator.backward(mlp_loss(shared, 0));
    accelerator.wait_for_everyone();
    plain.step(); /* on every process, but it is one memory */
    CHECK_THROWS(ACCEL_ERR_STATE, "was written in place, but it is one copy for all processes",
                 accelerator.backward(mlp_loss(shared, 0)));
    accelerator.update(shared, [&] {
        torch::NoGradGuard no_grad;
        shared->fc1->weight.fill_(0.25);
    });
    CHECK_NEAR(0.25, shared->fc1->weight.min().item<double>(), 0);
    accelerator.wait_for_everyone();
    accelerator.prepare(own);
    torch::NoGradGuard no_grad;
    own->fc1->weight.mul_(2); /* each its own */
}
void a_shared_parameter_is_not_written_by_hand()
{
    TEST_RANKS(2, written);
}

/* ---- gradients ---- */

/* A gradient that is not in its slot: cleared by the module, replaced by the program, sparse. */
template <typename Optimizer> void left_slot(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    torch::nn::Embedding table(torch::nn::EmbeddingOptions(20, 4).sparse(true));
    torch::nn::Embedding reference(20, 4);
    table->to(torch::kDouble);
    reference->to(torch::kDouble);
    {
        torch::NoGradGuard no_grad;
        table->weight.copy_(wave({20, 4}, 0));
        reference->weight.copy_(wave({20, 4}, 0));
    }
    Optimizer optimizer(table->parameters(), adamw());
    torch::optim::AdamW plain(reference->parameters(), adamw());

    accelerator.prepare(table, optimizer);
    for (int step = 0; step < 6; step++) {
        torch::Tensor sum = torch::zeros({}, torch::kDouble);

        accelerator.backward(
            (table->forward(torch::tensor({step, step + rank + 1, 3})) - 1).square().sum());
        if (step == 2)
            table->weight.mutable_grad() = table->weight.grad().clone();
        optimizer.step();
        table->zero_grad(); /* to none, in newer versions */
        for (int r = 0; r < size; r++)
            sum = sum +
                  (reference->forward(torch::tensor({step, step + r + 1, 3})) - 1).square().sum();
        (sum / size).backward();
        plain.step();
        plain.zero_grad();
    }
    CHECK(models::difference(reference->parameters(), table->parameters()) < 1e-12);
}
void a_gradient_that_left_its_slot_comes_back()
{
    TEST_RANKS(2, left_slot<torch::optim::AdamW>);
    TEST_RANKS(2, left_slot<accel::AdamW>);
}

template <typename Optimizer> void two_losses(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), reference = models::make<Mlp>(torch::kDouble);
    Optimizer optimizer(mlp->parameters(), adamw());
    torch::optim::AdamW plain(reference->parameters(), adamw());

    accelerator.prepare(mlp, optimizer);
    for (int step = 0; step < 4; step++) {
        accelerator.backward(mlp_loss(mlp, step + rank));
        accelerator.backward(mlp_loss(mlp, step + rank + 10)); /* onto the first */
        double norm = accelerator.clip_grad_norm_(mlp, 0.1);
        optimizer.step();
        optimizer.zero_grad();
        for (int r = 0; r < size; r++)
            ((mlp_loss(reference, step + r) + mlp_loss(reference, step + r + 10)) / size)
                .backward();
        CHECK_NEAR(torch::nn::utils::clip_grad_norm_(reference->parameters(), 0.1), norm, 1e-10);
        plain.step();
        plain.zero_grad();
    }
    CHECK(models::difference(reference->parameters(), mlp->parameters()) < 1e-11);
}
void two_backwards_make_one_step()
{
    TEST_RANKS(3, two_losses<accel::AdamW>);
    TEST_RANKS(3, two_losses<torch::optim::AdamW>);
}

/* Two models, one graph after the other: each backward is for those that it touches. */
void adversaries(int rank, int size)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp a = models::make<Mlp>(torch::kDouble), b = models::make<Mlp>(torch::kDouble);
    Mlp ra = models::make<Mlp>(torch::kDouble), rb = models::make<Mlp>(torch::kDouble);
    accel::AdamW optimizer(a->parameters(), adamw());
    torch::optim::AdamW second(b->parameters(), adamw());
    torch::optim::AdamW plain(ra->parameters(), adamw()), plain2(rb->parameters(), adamw());

    accelerator.prepare(a, optimizer);
    accelerator.prepare(b, second);
    for (int step = 0; step < 4; step++) {
        accelerator.backward(mlp_loss(a, step + rank));
        optimizer.step();
        optimizer.zero_grad();
        accelerator.backward(mlp_loss(b, step + rank) + mlp_loss(a, step).detach());
        second.step();
        second.zero_grad();
        for (int r = 0; r < size; r++) {
            (mlp_loss(ra, step + r) / size).backward();
            (mlp_loss(rb, step + r) / size).backward();
        }
        plain.step();
        plain2.step();
        plain.zero_grad();
        plain2.zero_grad();
    }
    CHECK(models::difference(ra->parameters(), a->parameters()) < 1e-11);
    CHECK(models::difference(rb->parameters(), b->parameters()) < 1e-11);
}
void two_models_take_turns()
{
    TEST_RANKS(2, adversaries);
}

/* Off a sync step an optimizer of torch has nothing to step with, and nothing to clear. */
void not_synced(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble), before = models::make<Mlp>(torch::kDouble);
    torch::optim::SGD optimizer(mlp->parameters(), torch::optim::SGDOptions(0.1));

    accelerator.prepare(mlp, optimizer);
    {
        auto guard = accelerator.no_sync(mlp);
        accelerator.backward(mlp_loss(mlp, rank));
        CHECK(!accelerator.sync_gradients());
        optimizer.step();
        optimizer.zero_grad();
    }
    CHECK(models::difference(before->parameters(), mlp->parameters()) == 0);
    accelerator.backward(mlp_loss(mlp, rank + 2));
    torch::Tensor found = mlp->fc1->weight.grad().clone();
    for (int r = 0; r < 2; r++)
        ((mlp_loss(before, r) + mlp_loss(before, r + 2)) / 2).backward();
    CHECK(models::difference(std::vector<torch::Tensor>{before->fc1->weight.grad()},
                             std::vector<torch::Tensor>{found}) < 1e-12);
}
void no_sync_accumulates()
{
    TEST_RANKS(2, not_synced);
}

void bad_losses(int, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble);

    CHECK_THROWS(ACCEL_ERR_STATE, "no module is prepared", accelerator.backward(mlp_loss(mlp, 0)));
    accelerator.prepare(mlp);
    CHECK_THROWS(ACCEL_ERR_INVALID, "the tensor is undefined",
                 accelerator.backward(torch::Tensor()));
    CHECK_THROWS(ACCEL_ERR_INVALID, "the loss has 33 elements",
                 accelerator.backward(mlp->fc1->bias));
    CHECK_THROWS(ACCEL_ERR_INVALID, "does not depend on a parameter",
                 accelerator.backward(torch::zeros({})));
    accelerator.backward(mlp_loss(mlp, 0)); /* nothing has happened */
}
void a_bad_loss_is_named()
{
    TEST_RANKS(1, bad_losses);
}

void throwing(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    accel::AdamW optimizer(mlp->parameters(), adamw());
    std::function<void()> fail = [] { throw std::runtime_error("the wave has broken"); };

    accelerator.prepare(mlp, optimizer);
    if (rank == 1) {
        auto loss = in_backward(mlp_loss(mlp, 0), fail);

        try {
            accelerator.backward(loss);
            test_fail(__FILE__, __LINE__, "nothing was thrown");
        } catch (const std::exception &error) {
            CHECK(std::string(error.what()).find("the wave has broken") == 0);
        }
    } else {
        accelerator.backward(mlp_loss(mlp, 0));
        CHECK_THROWS(ACCEL_ERR_REMOTE, "the wave has broken", optimizer.step());
    }
}
void an_exception_reaches_all()
{
    TEST_RANKS(2, throwing);
}

/* Before the first layer's gradients the ranks wait for each other: by then all other buckets are
 * complete everywhere, and the next word reduces them. */
template <bool shared> void overlapping(int rank, int)
{
    accel::Accelerator accelerator(ranks::options());
    Mlp mlp = models::make<Mlp>(torch::kDouble);
    auto options = accel::ModelOptions{
        shared ? accel::Parameters::shared : accel::Parameters::replicated, 1e-6};
    std::function<void()> meet = [&] { accelerator.wait_for_everyone(); };

    accelerator.prepare(mlp, options);
    auto hidden = in_backward(torch::tanh(mlp->fc1(models::MlpImpl::input(4, rank))), meet);
    accelerator.backward(mlp->fc2(hidden).square().mean());
    CHECK_INT(4, accel_model_num_buckets(accelerator.get(mlp)));
    int64_t early = accel_model_num_early_buckets(accelerator.get(mlp));
    CHECK(early >= 2 && early <= 4);
    accelerator.sync_gradients(mlp);
    accelerator.wait_for_everyone();
}
void buckets_are_reduced_during_backward()
{
    TEST_RANKS(2, overlapping<true>);
    TEST_RANKS(2, overlapping<false>);
}
} // namespace

int main(int argc, char **argv)
{
    static const test_t tests[] = {TEST(tied_parameters_are_one),
                                   TEST(frozen_parameters_stay),
                                   TEST(what_cannot_be_prepared_is_named),
                                   TEST(a_moved_parameter_is_refused),
                                   TEST(a_shared_parameter_is_not_written_by_hand),
                                   TEST(a_gradient_that_left_its_slot_comes_back),
                                   TEST(two_backwards_make_one_step),
                                   TEST(two_models_take_turns),
                                   TEST(no_sync_accumulates),
                                   TEST(a_bad_loss_is_named),
                                   TEST(an_exception_reaches_all),
                                   TEST(buckets_are_reduced_during_backward)};

    return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
