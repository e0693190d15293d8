/* SPDX-License-Identifier: Apache-2.0 */
/* Train a TorchScript archive with AdamW, and write its weights for tests/oracle/torch_c.py:
 *
 *     program-torch-train-VERSION ARCHIVE DATA LOSS PARTS OUTPUT [ARCHIVE-OUTPUT]
 *
 * DATA is a safetensors file of "x" and "y", [steps, parts, rows, ...]. Of a step's PARTS
 * micro-batches each process takes its share, one after the other. LOSS: "mse"; "module": the
 * module computes it of both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

/* Micro-batch `part` of [steps, parts, rows, ...]. */
static accel_tensor_t slice(const accel_tensor_t *all, int64_t part)
{
    accel_tensor_t rows = *all;
    int64_t size;

    rows.ndim -= 2;
    rows.shape += 2;
    size = accel_tensor_numel(&rows) * (int64_t)accel_dtype_size(rows.dtype);
    rows.data = (char *)rows.data + part * size;
    return rows;
}

static double forward(accel_torch_module_t *module, accel_tensor_t batch[2], const char *loss)
{
    double value;

    if (strcmp(loss, "module") == 0) {
        ACCEL_CHECK(accel_torch_forward(module, batch, 2));
        ACCEL_CHECK(accel_torch_loss(module, 0, &value));
    } else {
        ACCEL_CHECK(accel_torch_forward(module, batch, 1));
        ACCEL_CHECK(accel_torch_mse_loss(module, &batch[1], &value));
    }
    return value;
}

int main(int argc, char **argv)
{
    const accel_tensor_t *x, *y;
    accel_t *accelerator;
    accel_safetensors_t *data;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    int64_t parts, share;

    if (argc < 6)
        return 2;
    parts = atoll(argv[4]);
    share = parts / atoll(getenv("WORLD_SIZE") ? getenv("WORLD_SIZE") : "1");
    ACCEL_CHECK(
        accel_create(ACCEL_OPTIONS(.gradient_accumulation_steps = (int32_t)share), &accelerator));
    ACCEL_CHECK(accel_safetensors_open(argv[2], &data));
    ACCEL_CHECK(accel_safetensors_tensor(data, "x", &x));
    ACCEL_CHECK(accel_safetensors_tensor(data, "y", &y));
    ACCEL_CHECK(
        accel_torch_load(argv[1], ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2, .weight_decay = 0.1),
                                   &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (int64_t step = 0; step < x->shape[0]; step++)
        for (int64_t part = 0; part < share; part++) {
            int64_t at = step * parts + accel_process_index(accelerator) * share + part;
            accel_tensor_t batch[2] = {slice(x, at), slice(y, at)};

            ACCEL_CHECK(accel_accumulate(accelerator, model));
            forward(module, batch, argv[3]);
            ACCEL_CHECK(accel_backward(accelerator, model));
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        }
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        ACCEL_CHECK(accel_torch_save_weights(module, argv[5]));
        if (argc > 6)
            ACCEL_CHECK(accel_torch_save(module, argv[6]));
    }
    printf("early buckets: %lld of %lld\n", (long long)accel_model_num_early_buckets(model),
           (long long)accel_model_num_buckets(model));
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_optimizer_destroy(optimizer);
    accel_torch_destroy(module);
    accel_safetensors_close(data);
    accel_destroy(accelerator);
    return 0;
}
