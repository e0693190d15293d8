/* SPDX-License-Identifier: Apache-2.0 */
/* What digits.cpp and digits_plain.cpp have in common: the data and the network. */
#ifndef ACCEL_EXAMPLES_DIGITS_HPP
#define ACCEL_EXAMPLES_DIGITS_HPP

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/torch.h>

enum { EPOCHS = 16 };

/* Images of 8 x 8 pixels from 0 to 16, as digits.py writes them: 64 bytes and the digit. The first
 * four fifths are for training. */
class Digits : public torch::data::datasets::Dataset<Digits>
{
public:
    enum Part { TRAIN, TEST };

    Digits(const std::string &path, Part part)
    {
        std::ifstream file(path, std::ios::binary);
        std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});

        if (bytes.empty() || bytes.size() % 65 != 0)
            throw std::runtime_error(path + ": not the digits; digits.py writes them");
        auto rows = torch::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size()) / 65, 65},
                                     torch::kByte);
        all_images_ = rows.narrow(1, 0, 64).to(torch::kFloat).div(16).reshape({-1, 1, 8, 8});
        all_labels_ = rows.select(1, 64).to(torch::kLong);
        choose(part);
    }

    Digits(const Digits &other, Part part) : Digits(other) { choose(part); }

    torch::data::Example<> get(size_t index) override
    {
        auto i = static_cast<int64_t>(index);

        return {images_[i], labels_[i]};
    }
    torch::optional<size_t> size() const override { return static_cast<size_t>(images_.size(0)); }
    const torch::Tensor &images() const { return images_; }
    const torch::Tensor &labels() const { return labels_; }

private:
    void choose(Part part)
    {
        int64_t count = all_images_.size(0), first = part == TRAIN ? 0 : count * 4 / 5;
        int64_t length = part == TRAIN ? count * 4 / 5 : count - first;

        images_ = all_images_.narrow(0, first, length);
        labels_ = all_labels_.narrow(0, first, length);
    }

    torch::Tensor all_images_, all_labels_, images_, labels_;
};

struct NetImpl : torch::nn::Module {
    NetImpl()
    {
        using torch::nn::Conv2dOptions;

        torch::manual_seed(1);
        conv1 = register_module("conv1", torch::nn::Conv2d(Conv2dOptions(1, 16, 3).padding(1)));
        norm1 = register_module("norm1", torch::nn::BatchNorm2d(16));
        conv2 = register_module("conv2", torch::nn::Conv2d(Conv2dOptions(16, 32, 3).padding(1)));
        norm2 = register_module("norm2", torch::nn::BatchNorm2d(32));
        dropout = register_module("dropout", torch::nn::Dropout(0.3));
        fc = register_module("fc", torch::nn::Linear(32 * 4 * 4, 10));
    }

    torch::Tensor forward(torch::Tensor x)
    {
        if (is_training()) { /* a pixel to any side: what is learned does not depend on the place */
            auto by = torch::randint(-1, 2, {2}, torch::kLong);
            x = torch::roll(x, {by[0].item<int64_t>(), by[1].item<int64_t>()}, {2, 3});
        }
        x = torch::relu(norm1(conv1(x)));
        x = torch::max_pool2d(torch::relu(norm2(conv2(x))), 2);
        return torch::log_softmax(fc(dropout(x.flatten(1))), 1);
    }

    torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
    torch::nn::BatchNorm2d norm1{nullptr}, norm2{nullptr};
    torch::nn::Dropout dropout{nullptr};
    torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Net);

#endif
