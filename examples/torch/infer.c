/* SPDX-License-Identifier: Apache-2.0 */
/* Inference on any number of processes of a host, which have one copy of the weights: each answers
 * its part of the inputs, and the main process has the answers in order.
 *
 *     accel launch -n 4 ./torch-infer cnn_empty.pt trained.safetensors digits.safetensors images */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

enum { BATCH = 32 };

static int32_t best_of(const float *scores, int64_t count)
{
    int32_t best = 0;

    for (int32_t k = 1; k < count; k++)
        if (scores[k] > scores[best])
            best = k;
    return best;
}

/* The answers to inputs first, first + 1, ... */
static void infer(accel_torch_module_t *module, const accel_tensor_t *inputs, int64_t first,
                  int64_t count, int32_t *answers)
{
    int64_t shape[ACCEL_MAX_NDIM], row = accel_tensor_numel(inputs) / inputs->shape[0];
    const accel_tensor_t *scores;
    accel_tensor_t batch = *inputs;

    for (int32_t i = 0; i < inputs->ndim; i++)
        shape[i] = inputs->shape[i];
    batch.shape = shape;
    for (int64_t at = 0; at < count; at += BATCH) {
        shape[0] = count - at < BATCH ? count - at : BATCH;
        batch.data =
            (char *)inputs->data + (first + at) * row * (int64_t)accel_dtype_size(inputs->dtype);
        ACCEL_CHECK(accel_torch_forward(module, &batch, 1));
        ACCEL_CHECK(accel_torch_output(module, 0, &scores));
        for (int64_t i = 0; i < shape[0]; i++)
            answers[at + i] =
                best_of((const float *)scores->data + i * scores->shape[1], scores->shape[1]);
    }
}

int main(int argc, char **argv)
{
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_safetensors_t *file;
    const accel_tensor_t *inputs;
    accel_split_t part;
    accel_objects_t *gathered;

    if (argc != 5) {
        fprintf(stderr, "usage: torch-infer ARCHIVE WEIGHTS INPUTS NAME\n");
        return 2;
    }
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_safetensors_open(argv[3], &file));
    ACCEL_CHECK(accel_safetensors_tensor(file, argv[4], &inputs));
    ACCEL_CHECK(
        accel_torch_load(argv[1], ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    ACCEL_CHECK(accel_torch_map_weights(module, argv[2]));
    ACCEL_CHECK(accel_torch_train(module, false));

    ACCEL_CHECK(accel_split_between_processes(accelerator, inputs->shape[0], false, &part));
    int32_t *answers = (int32_t *)calloc((size_t)part.count + 1, sizeof(*answers));
    if (!answers)
        return 1;
    infer(module, inputs, part.begin, part.count, answers);
    ACCEL_CHECK(accel_gather_object(accelerator, answers, (size_t)part.count * sizeof(*answers),
                                    &gathered));
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        for (int32_t rank = 0; rank < accel_objects_count(gathered); rank++) {
            size_t size;
            const char *bytes = (const char *)accel_objects_get(gathered, rank, &size);

            for (size_t at = 0; at < size; at += sizeof(int32_t)) {
                int32_t answer;

                memcpy(&answer, bytes + at, sizeof(answer));
                printf("%d\n", (int)answer);
            }
        }
    }
    accel_objects_destroy(gathered);
    free(answers);
    accel_torch_destroy(module);
    accel_safetensors_close(file);
    accel_destroy(accelerator);
    return 0;
}
