/* SPDX-License-Identifier: Apache-2.0 */
/* Handwritten digits by a small convolutional network, on any number of processes:
 *
 *     python3 digits.py digits.bin ; ./torch-digits ; accel launch -n 2 ./torch-digits */
#include <iostream>

#include <torch/torch.h>

#include <accel/torch.hpp>

#include "digits.hpp"

/* [loop] */
int main(int argc, char **argv)
{
    accel::Accelerator accelerator(ACCEL_OPTIONS(.log_with = "jsonl", .project_dir = "."));
    accelerator.init_trackers("digits");

    Digits train(argc > 1 ? argv[1] : "digits.bin", Digits::TRAIN), test(train, Digits::TEST);
    Net net;
    accel::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(3e-3));
    torch::optim::StepLR scheduler(optimizer, 12);
    accel::DataLoaderOptions options(64 / accelerator.num_processes());
    options.shuffle = true;
    auto loader = accel::make_data_loader(train.map(torch::data::transforms::Stack<>()), options);
    accelerator.prepare(net, optimizer, *loader);

    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        net->train();
        for (auto &batch : *loader) {
            auto loss = torch::nll_loss(net->forward(batch.data), batch.target);
            optimizer.zero_grad();
            accelerator.backward(loss);
            optimizer.step();
        }
        scheduler.step();
        net->eval();
        torch::NoGradGuard no_grad;
        auto correct = net->forward(test.images()).argmax(1).eq(test.labels());
        double accuracy = correct.to(torch::kDouble).mean().item<double>();
        accelerator.log(ACCEL_DICT("accuracy", accuracy), epoch);
        if (accelerator.is_main_process())
            std::cout << "epoch " << epoch << ": accuracy " << accuracy << std::endl;
    }
    accelerator.end_training();
}
/* [/loop] */
