/* SPDX-License-Identifier: Apache-2.0 */
/* infer_c.c in C++: a torch::nn module with the weights that Python, or digits_c.c, has written.
 *
 *     accel launch -n 4 ./torch-infer trained.safetensors digits.safetensors images */
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <getopt.h>

#include <torch/torch.h>

#include <accel/progress.h>
#include <accel/torch.hpp>

static const char USAGE[] =
    "usage: torch-infer [OPTION...] WEIGHTS INPUTS [NAME]\n"
    "Classify what the tensor NAME (default: images) of the safetensors file INPUTS holds: "
    "pictures\n"
    "of digits, [inputs, 1, 8, 8]. Writes a line of JSON for each input, in order.\n"
    "  -b, --batch N       inputs a forward (default: 32)\n"
    "  -o, --output FILE   where to (default: standard output)\n"
    "  -h, --help          this\n";

struct Arguments {
    std::string weights, inputs, name = "images", output;
    int64_t batch = 32;
};

static volatile std::sig_atomic_t interrupted; /* Ctrl-C: what is answered by then is written */

[[noreturn]] static void end_with_usage(std::ostream &where, int status)
{
    where << USAGE << std::flush;
    std::exit(status);
}

static int64_t to_number(const char *text)
{
    char *end;
    int64_t number = std::strtoll(text, &end, 10);

    if (*end || number < 1)
        end_with_usage(std::cerr, 2);
    return number;
}

static Arguments parse(int argc, char **argv)
{
    static const option OPTIONS[] = {{"batch", required_argument, nullptr, 'b'},
                                     {"output", required_argument, nullptr, 'o'},
                                     {"help", no_argument, nullptr, 'h'},
                                     {nullptr, 0, nullptr, 0}};
    Arguments arguments;
    int given;

    while ((given = getopt_long(argc, argv, "b:o:h", OPTIONS, nullptr)) != -1) {
        if (given == 'b')
            arguments.batch = to_number(optarg);
        else if (given == 'o')
            arguments.output = optarg;
        else
            end_with_usage(given == 'h' ? std::cout : std::cerr, given == 'h' ? 0 : 2);
    }
    if (argc - optind < 2 || argc - optind > 3)
        end_with_usage(std::cerr, 2);
    arguments.weights = argv[optind];
    arguments.inputs = argv[optind + 1];
    if (argc - optind == 3)
        arguments.name = argv[optind + 2];
    return arguments;
}

/* The network of export_digits.py, under the same names. */
static torch::nn::Sequential make_layers()
{
    using namespace torch::nn;

    return Sequential(Conv2d(Conv2dOptions(1, 32, 3).padding(1)), BatchNorm2d(32), ReLU(),
                      Conv2d(Conv2dOptions(32, 64, 3).padding(1)), ReLU(), MaxPool2d(2), Flatten(),
                      Linear(64 * 16, 128), ReLU(), Dropout(0.3), Linear(128, 10));
}

struct Cnn : torch::nn::Module {
    torch::nn::Sequential layers = register_module("layers", make_layers());
};

/* A tensor of a safetensors file, which must stay open. */
static at::Tensor find(const accel_safetensors_t *file, const std::string &name)
{
    const accel_tensor_t *found;

    ACCEL_CHECK(accel_safetensors_tensor(file, name.c_str(), &found));
    at::IntArrayRef shape(found->shape, static_cast<size_t>(found->ndim));
    if (found->dtype != ACCEL_F32 || shape.size() != 4)
        throw std::runtime_error(name + ": expected float32 [inputs, 1, 8, 8]");
    return at::from_blob(found->data, shape, at::kFloat);
}

/* This process's part: lines of answers. */
static std::string infer(accel::Accelerator &accelerator, Cnn &net, const at::Tensor &inputs,
                         int64_t batch)
{
    c10::InferenceMode inference;
    accel_split_t part = accelerator.split_between_processes(inputs.size(0));
    std::ostringstream lines;
    auto options = accel_progress_options_init();
    accel_progress_t *bar;

    options.desc = "infer";
    options.total = part.count;
    ACCEL_CHECK(accel_progress_create(accelerator.get(), &options, &bar));
    for (int64_t done = 0; done < part.count && !interrupted; done += batch) {
        auto rows = inputs.narrow(0, part.begin + done, std::min(batch, part.count - done));
        auto [scores, labels] = net.layers->forward(rows).max(1);

        for (int64_t i = 0; i < rows.size(0); i++)
            lines << "{\"input\": " << part.begin + done + i
                  << ", \"label\": " << labels[i].item<int64_t>()
                  << ", \"score\": " << scores[i].item<float>() << "}\n";
        accel_progress_update(bar, rows.size(0));
    }
    accel_progress_destroy(bar);
    return lines.str();
}

static void write(const std::vector<std::string> &answers, const std::string &path)
{
    std::ofstream file;

    if (!path.empty())
        file.open(path);
    std::ostream &stream = path.empty() ? std::cout : file;
    for (const std::string &lines : answers)
        stream << lines;
    if (!stream.flush())
        throw std::runtime_error("the answers cannot be written");
}

static void run(const Arguments &arguments)
{
    accel::Accelerator accelerator;
    accel_safetensors_t *file;
    Cnn net;

    std::signal(SIGINT, [](int) { interrupted = 1; });
    accel::map_weights(net, arguments.weights); /* one copy, for all processes */
    net.eval();
    ACCEL_CHECK(accel_safetensors_open(arguments.inputs.c_str(), &file));
    auto lines = infer(accelerator, net, find(file, arguments.name), arguments.batch);
    accel_safetensors_close(file);
    auto answers = accelerator.gather_object(lines); /* in the processes' order */
    accelerator.on_main_process([&] { write(answers, arguments.output); });
}

int main(int argc, char **argv)
{
    Arguments arguments = parse(argc, argv);

    try {
        run(arguments);
    } catch (const std::exception &error) {
        std::cerr << "torch-infer: " << error.what() << '\n';
        return 1;
    }
    return interrupted ? 130 : 0;
}
