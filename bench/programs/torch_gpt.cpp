/* SPDX-License-Identifier: Apache-2.0 */
/* torch_gpt.c in C++, with a torch::nn module and accel/torch.hpp: torch_gpt_cpp FOLDER STEPS
 * [MARK] */
#include <accel/torch.hpp>

#include "round.h"
#include "torch_gpt.hpp"

namespace
{
class Training
{
public:
    explicit Training(const std::string &folder)
        : net_(gpt::load(gpt::File(folder + "/weights.safetensors"))),
          optimizer_(net_->parameters(), torch::optim::AdamWOptions(1e-3).weight_decay(1e-2)),
          file_(folder + "/batches.safetensors"),
          batches_(file_.get("tokens", at::kLong).select(1, accelerator_.process_index()).unbind(0))
    {
        accelerator_.prepare(net_, optimizer_);
    }

    double step()
    {
        const auto &batch = batches_[next_++ % batches_.size()];
        auto loss = net_->loss(batch[0], batch[1]);

        accelerator_.backward(loss);
        optimizer_.step();
        optimizer_.zero_grad();
        return loss.item<double>();
    }

    accel::Accelerator &accelerator() { return accelerator_; }

private:
    accel::Accelerator accelerator_;
    gpt::Gpt net_;
    accel::AdamW optimizer_;
    gpt::File file_;
    std::vector<at::Tensor> batches_;
    size_t next_ = 0;
};

void take_turns(Training &training, int64_t steps)
{
    round_open(training.accelerator().process_index());
    while (round_next()) {
        double loss = training.step();

        training.accelerator().wait_for_everyone();
        for (int64_t i = 0; i < steps; i++) {
            double start = round_now();
            loss = training.step();
            round_sample(round_now() - start);
        }
        round_sample(loss);
    }
    round_close();
}
} // namespace

int main(int argc, char **argv)
{
    int64_t steps = round_argument(argc, argv, 2, "steps");
    Training training(argv[1]);

    if (argc > 3) {
        training.step();
        if (training.accelerator().is_main_process())
            round_mark(argv[3], training.accelerator().num_processes());
    } else {
        take_turns(training, steps);
    }
    return 0;
}
