/* SPDX-License-Identifier: Apache-2.0 */
/* Inference in C on any number of processes of a host: they have one copy of the weights, each
 * answers its part of the inputs, and the main process writes the answers in order.
 *
 *     accel launch -n 4 ./torch-infer_c trained.pt digits.safetensors images */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

static const char USAGE[] =
    "usage: torch-infer_c [OPTION...] ARCHIVE INPUTS [NAME]\n"
    "Classify what the tensor NAME (default: images) of the safetensors file INPUTS holds, by the\n"
    "TorchScript archive ARCHIVE: a line of JSON for each input, in order.\n"
    "  -b, --batch N       inputs a forward (default: 32)\n"
    "  -w, --weights FILE  a safetensors file with other weights than the archive's\n"
    "  -o, --output FILE   where to (default: standard output)\n"
    "  -h, --help          this\n";

typedef struct {
    const char *archive, *inputs, *name, *weights, *output;
    int64_t batch;
} arguments_t;

typedef struct {
    int64_t input;
    int32_t label;
    float score;
} answer_t;

static volatile sig_atomic_t interrupted; /* Ctrl-C: what is answered by then is written */

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void end_with_usage(FILE *where, int status)
{
    fputs(USAGE, where);
    exit(status);
}

static arguments_t parse(int argc, char **argv)
{
    static const struct option OPTIONS[] = {{"batch", required_argument, NULL, 'b'},
                                            {"weights", required_argument, NULL, 'w'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    arguments_t arguments = {.name = "images", .batch = 32};
    char *end = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "b:w:o:h", OPTIONS, NULL)) != -1) {
        if (option == 'b')
            arguments.batch = strtoll(optarg, &end, 10);
        else if (option == 'w')
            arguments.weights = optarg;
        else if (option == 'o')
            arguments.output = optarg;
        else
            end_with_usage(option == 'h' ? stdout : stderr, option == 'h' ? 0 : 2);
    }
    if ((end && *end) || arguments.batch < 1 || argc - optind < 2 || argc - optind > 3)
        end_with_usage(stderr, 2);
    arguments.archive = argv[optind];
    arguments.inputs = argv[optind + 1];
    if (argc - optind == 3)
        arguments.name = argv[optind + 2];
    return arguments;
}

/* An archive that is mapped, and is not trained. */
static accel_torch_module_t *load(const accel_t *accelerator, const arguments_t *arguments)
{
    accel_torch_module_t *module;

    ACCEL_CHECK(accel_torch_load(arguments->archive,
                                 ACCEL_TORCH_OPTIONS(.accelerator = accelerator, .mmap = true),
                                 &module));
    if (arguments->weights)
        ACCEL_CHECK(accel_torch_map_weights(module, arguments->weights));
    ACCEL_CHECK(accel_torch_train(module, false));
    accel_torch_set_grad_enabled(module, false);
    return module;
}

/* Rows first .. first + count - 1, without a copy; `shape` is the caller's. */
static accel_tensor_t rows(const accel_tensor_t *tensor, int64_t *shape, int64_t first,
                           int64_t count)
{
    int64_t row = accel_tensor_numel(tensor) / tensor->shape[0];
    accel_tensor_t part = *tensor;

    memcpy(shape, tensor->shape, (size_t)tensor->ndim * sizeof(*shape));
    shape[0] = count;
    part.shape = shape;
    part.data = (char *)tensor->data + first * row * (int64_t)accel_dtype_size(tensor->dtype);
    return part;
}

/* The class of each row of scores. */
static void take_answers(const accel_tensor_t *scores, int64_t first, answer_t *answers)
{
    if (scores->dtype != ACCEL_F32 || scores->ndim != 2) {
        fprintf(stderr, "torch-infer_c: the model gives no rows of float32 scores\n");
        exit(1);
    }
    for (int64_t i = 0; i < scores->shape[0]; i++) {
        const float *row = (const float *)scores->data + i * scores->shape[1];
        int32_t best = 0;

        for (int32_t k = 1; k < scores->shape[1]; k++)
            if (row[k] > row[best])
                best = k;
        answers[i] = (answer_t){.input = first + i, .label = best, .score = row[best]};
    }
}

/* This process's part; how many it answered. */
static int64_t infer(accel_t *accelerator, accel_torch_module_t *module,
                     const accel_tensor_t *inputs, int64_t batch, accel_split_t part,
                     answer_t *answers)
{
    int64_t shape[ACCEL_MAX_NDIM], done = 0;
    const accel_tensor_t *scores;
    accel_progress_t *bar;

    ACCEL_CHECK(accel_progress_create(
        accelerator, ACCEL_PROGRESS_OPTIONS(.desc = "infer", .total = part.count), &bar));
    while (done < part.count && !interrupted) {
        int64_t count = part.count - done < batch ? part.count - done : batch;
        accel_tensor_t input = rows(inputs, shape, part.begin + done, count);

        ACCEL_CHECK(accel_torch_forward(module, &input, 1));
        ACCEL_CHECK(accel_torch_output(module, 0, &scores));
        take_answers(scores, part.begin + done, answers + done);
        done += count;
        accel_progress_update(bar, count);
    }
    accel_progress_destroy(bar);
    return done;
}

static void write_answers(const accel_objects_t *gathered, const char *path)
{
    FILE *file = path ? fopen(path, "w") : stdout;

    for (int32_t rank = 0; file && rank < accel_objects_count(gathered); rank++) {
        size_t size;
        const char *bytes = (const char *)accel_objects_get(gathered, rank, &size);

        for (size_t at = 0; at < size; at += sizeof(answer_t)) {
            answer_t answer;

            memcpy(&answer, bytes + at, sizeof(answer)); /* bytes are not aligned */
            fprintf(file, "{\"input\": %" PRId64 ", \"label\": %d, \"score\": %.6g}\n",
                    answer.input, (int)answer.label, (double)answer.score);
        }
    }
    if (!file || ferror(file) || (path ? fclose(file) : fflush(file)) != 0) {
        fprintf(stderr, "torch-infer_c: %s: %s\n", path ? path : "standard output",
                strerror(errno));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    arguments_t arguments = parse(argc, argv);
    accel_t *accelerator;
    accel_safetensors_t *file;
    const accel_tensor_t *inputs;
    accel_split_t part;
    accel_objects_t *gathered;

    ACCEL_CHECK(accel_create(NULL, &accelerator));
    signal(SIGINT, interrupt);
    accel_torch_module_t *module = load(accelerator, &arguments);
    ACCEL_CHECK(accel_safetensors_open(arguments.inputs, &file));
    ACCEL_CHECK(accel_safetensors_tensor(file, arguments.name, &inputs));
    ACCEL_CHECK(accel_split_between_processes(accelerator, inputs->ndim > 0 ? inputs->shape[0] : 0,
                                              false, &part));
    answer_t *answers = (answer_t *)calloc((size_t)part.count + 1, sizeof(*answers));
    if (!answers)
        return 1;
    int64_t done = infer(accelerator, module, inputs, arguments.batch, part, answers);
    ACCEL_CHECK(
        accel_gather_object(accelerator, answers, (size_t)done * sizeof(*answers), &gathered));
    ACCEL_ON_MAIN_PROCESS(accelerator)
        write_answers(gathered, arguments.output);
    accel_objects_destroy(gathered);
    free(answers);
    accel_torch_destroy(module);
    accel_safetensors_close(file);
    accel_destroy(accelerator);
    return interrupted ? 130 : 0;
}
