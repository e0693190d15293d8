/* SPDX-License-Identifier: Apache-2.0 */
/* torch_infer.c in C++, with a torch::nn module and accel/torch.hpp: torch_infer_cpp FOLDER BATCH
 * [MARK] */
#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <accel/torch.hpp>

#include "round.h"
#include "torch_gpt.hpp"

namespace
{
class Inference
{
public:
    Inference(const std::string &folder, int64_t batch)
        : net_(gpt::make(gpt::File(folder + "/scores.safetensors"))),
          file_(folder + "/inputs.safetensors"), tokens_(file_.get("tokens", at::kLong)),
          batch_(batch)
    {
        accel::map_weights(*net_, folder + "/scores.safetensors");
        net_->eval();
    }

    /* All ranks' answers to the first `count` inputs, in order: lines of each. */
    std::vector<std::string> run(int64_t count)
    {
        c10::InferenceMode inference;
        accel_split_t part = accelerator_.split_between_processes(count);
        std::string lines;

        for (int64_t at = 0; at < part.count; at += batch_) {
            auto rows = tokens_.narrow(0, part.begin + at, std::min(batch_, part.count - at));
            auto best = net_->scores(rows).argmax(1);

            for (int64_t i = 0; i < best.numel(); i++)
                lines += std::to_string(best.const_data_ptr<int64_t>()[i]) + '\n';
        }
        return accelerator_.gather_object(lines);
    }

    int64_t count() const { return tokens_.size(0); }
    accel::Accelerator &accelerator() { return accelerator_; }

private:
    accel::Accelerator accelerator_;
    gpt::Gpt net_;
    gpt::File file_;
    at::Tensor tokens_;
    int64_t batch_;
};

void take_turns(Inference &inference)
{
    round_open(inference.accelerator().process_index());
    while (round_next()) {
        inference.accelerator().wait_for_everyone();
        double start = round_now();
        auto answers = inference.run(inference.count());

        round_sample(round_now() - start);
        if (!inference.accelerator().is_main_process())
            continue;
        std::ofstream file("answers");
        for (const std::string &lines : answers)
            file << lines;
        if (!file.flush())
            throw std::runtime_error("answers: cannot be written");
    }
    round_close();
}
} // namespace

int main(int argc, char **argv)
{
    int64_t batch = round_argument(argc, argv, 2, "inputs a batch");
    Inference inference(argv[1], batch);
    int32_t ranks = inference.accelerator().num_processes();

    if (argc > 3) {
        inference.run(std::min<int64_t>(inference.count(), ranks));
        if (inference.accelerator().is_main_process())
            round_mark(argv[3], ranks);
    } else {
        take_turns(inference);
    }
    return 0;
}
