/* SPDX-License-Identifier: Apache-2.0 */
/* Handwritten digits by a small convolutional network: libtorch alone, one process. digits.cpp is
 * this with the four lines. */
#include <iostream>

#include <torch/torch.h>

#include "digits.hpp"

/* [loop] */
int main(int argc, char **argv)
{
    Digits train(argc > 1 ? argv[1] : "digits.bin", Digits::TRAIN), test(train, Digits::TEST);
    Net net;
    torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(3e-3));
    torch::optim::StepLR scheduler(optimizer, 12);
    auto loader = torch::data::make_data_loader<torch::data::samplers::RandomSampler>(
        train.map(torch::data::transforms::Stack<>()), torch::data::DataLoaderOptions(64));

    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        net->train();
        for (auto &batch : *loader) {
            auto loss = torch::nll_loss(net->forward(batch.data), batch.target);
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
        }
        scheduler.step();
        net->eval();
        torch::NoGradGuard no_grad;
        auto correct = net->forward(test.images()).argmax(1).eq(test.labels());
        double accuracy = correct.to(torch::kDouble).mean().item<double>();
        std::cout << "epoch " << epoch << ": accuracy " << accuracy << std::endl;
    }
}
/* [/loop] */
