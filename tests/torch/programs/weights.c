/* SPDX-License-Identifier: Apache-2.0 */
/* For tests/oracle/torch_infer.py: have a module's weights in one of the ways, compute with all of
 * them once, say so, and stay until somebody has looked.
 *     weights read|mmap|map|prepare|save ARCHIVE WEIGHTS INPUTS FOLDER
 * `ready.RANK` in FOLDER has the process and the sum of the outputs; the file `go` ends it. save:
 * write the mapped archive over itself before that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

static double forward(accel_torch_module_t *module, const accel_tensor_t *input)
{
    const accel_tensor_t *output;
    double sum = 0;

    ACCEL_CHECK(accel_torch_forward(module, input, 1));
    ACCEL_CHECK(accel_torch_output(module, 0, &output));
    for (int64_t i = 0; i < accel_tensor_numel(output); i++)
        sum += (double)((const float *)output->data)[i];
    return sum;
}

static void stay(const char *folder, int32_t rank, double sum)
{
    char path[4096], made[4096];

    snprintf(made, sizeof(made), "%s/made.%d", folder, (int)rank);
    snprintf(path, sizeof(path), "%s/ready.%d", folder, (int)rank);
    FILE *file = fopen(made, "w");
    if (!file || fprintf(file, "%d %.17g\n", (int)getpid(), sum) < 0 || fclose(file) != 0 ||
        rename(made, path) != 0) {
        perror(path);
        exit(1);
    }
    snprintf(path, sizeof(path), "%s/go", folder);
    for (int turn = 0; access(path, F_OK) != 0 && turn < 6000; turn++)
        usleep(10000);
}

int main(int argc, char **argv)
{
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_safetensors_t *inputs;
    const accel_tensor_t *input;

    if (argc != 6)
        return 2;
    const char *way = argv[1];
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_torch_load(
        argv[2], ACCEL_TORCH_OPTIONS(.accelerator = accelerator, .mmap = strcmp(way, "read") != 0),
        &module));
    if (strcmp(way, "map") == 0)
        ACCEL_CHECK(accel_torch_map_weights(module, argv[3]));
    if (strcmp(way, "prepare") == 0) {
        accel_model_t *model;

        ACCEL_CHECK(accel_torch_requires_grad(module, "*", false));
        ACCEL_CHECK(accel_torch_model(module, &model));
        ACCEL_CHECK(accel_prepare_model(accelerator, model));
    }
    ACCEL_CHECK(accel_safetensors_open(argv[4], &inputs));
    ACCEL_CHECK(accel_safetensors_tensor(inputs, "input", &input));
    if (strcmp(way, "save") == 0)
        ACCEL_CHECK(accel_torch_save(module, argv[2]));
    double sum = forward(module, input);
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    stay(argv[5], accel_process_index(accelerator), sum);
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_torch_destroy(module);
    accel_safetensors_close(inputs);
    accel_destroy(accelerator);
    return 0;
}
