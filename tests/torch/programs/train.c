/* SPDX-License-Identifier: Apache-2.0 */
/* Train models with AdamW, and write their weights for tests/oracle/torch_c.py, in a folder of its
 * files:
 *
 *     program-torch-train-VERSION LIBRARY PARTS CASE...
 *
 * A case is KIND:MODEL-DTYPE. Its data, MODEL-DTYPE.data, are "x" and "y", [steps, parts, rows,
 * ...]. Of a step's PARTS micro-batches each process takes its share, one after the other.
 *
 *     mse      the archive MODEL-DTYPE.pt, which gives outputs
 *     module   the same, which computes its loss of x and y
 *     native   the module MODEL of LIBRARY, likewise; it begins with the weights MODEL-DTYPE.init
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

typedef struct training {
    const char *kind, *name;
    int64_t parts;
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_safetensors_t *data;
} training_t;

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

static const char *path_of(const training_t *t, const char *what)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s%s", t->name, what);
    return path;
}

static void open_module(training_t *t, const char *library)
{
    const accel_torch_options_t *options =
        ACCEL_TORCH_OPTIONS(.accelerator = t->accelerator, .bucket_cap_mb = 1e-3);
    char model[32] = "";

    if (strcmp(t->kind, "native") != 0) {
        ACCEL_CHECK(accel_torch_load(path_of(t, ".pt"), options, &t->module));
        return;
    }
    memcpy(model, t->name, strcspn(t->name, "-"));
    ACCEL_CHECK(accel_torch_create(library, model, NULL, options, &t->module));
    ACCEL_CHECK(accel_torch_to(t->module, strstr(t->name, "float64") ? ACCEL_F64 : ACCEL_F32));
    ACCEL_CHECK(accel_torch_load_weights(t->module, path_of(t, ".init")));
}

static void forward(const training_t *t, accel_tensor_t batch[2])
{
    double loss;

    if (strcmp(t->kind, "mse") == 0) {
        ACCEL_CHECK(accel_torch_forward(t->module, batch, 1));
        ACCEL_CHECK(accel_torch_mse_loss(t->module, &batch[1], &loss));
    } else {
        ACCEL_CHECK(accel_torch_forward(t->module, batch, 2));
        ACCEL_CHECK(accel_torch_loss(t->module, 0, &loss));
    }
}

static void train(const training_t *t)
{
    int64_t share = t->parts / accel_num_processes(t->accelerator);
    const accel_tensor_t *x, *y;

    ACCEL_CHECK(accel_safetensors_tensor(t->data, "x", &x));
    ACCEL_CHECK(accel_safetensors_tensor(t->data, "y", &y));
    for (int64_t step = 0; step < x->shape[0]; step++)
        for (int64_t part = 0; part < share; part++) {
            int64_t at = step * t->parts + accel_process_index(t->accelerator) * share + part;
            accel_tensor_t batch[2] = {slice(x, at), slice(y, at)};

            ACCEL_CHECK(accel_accumulate(t->accelerator, t->model));
            forward(t, batch);
            ACCEL_CHECK(accel_backward(t->accelerator, t->model));
            ACCEL_CHECK(accel_optimizer_step(t->optimizer));
            ACCEL_CHECK(accel_optimizer_zero_grad(t->optimizer));
        }
}

static void run(training_t *t, const char *library)
{
    char output[300];

    ACCEL_CHECK(accel_safetensors_open(path_of(t, ".data"), &t->data));
    open_module(t, library);
    ACCEL_CHECK(accel_torch_model(t->module, &t->model));
    ACCEL_CHECK(accel_adamw_create(t->model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2, .weight_decay = 0.1),
                                   &t->optimizer));
    ACCEL_CHECK(accel_prepare(t->accelerator, t->model, t->optimizer, NULL, NULL));
    train(t);
    ACCEL_ON_MAIN_PROCESS(t->accelerator) {
        snprintf(output, sizeof(output), "%s.%s.safetensors", t->name, t->kind);
        ACCEL_CHECK(accel_torch_save_weights(t->module, output));
        snprintf(output, sizeof(output), "%s.%s.out.pt", t->name, t->kind);
        ACCEL_CHECK(accel_torch_save(t->module, output));
    }
    ACCEL_CHECK(accel_wait_for_everyone(t->accelerator));
    accel_optimizer_destroy(t->optimizer);
    accel_torch_destroy(t->module);
    accel_safetensors_close(t->data);
}

int main(int argc, char **argv)
{
    training_t t = {0};
    int64_t processes;

    if (argc < 4)
        return 2;
    t.parts = atoll(argv[2]);
    processes = atoll(getenv("WORLD_SIZE") ? getenv("WORLD_SIZE") : "1");
    ACCEL_CHECK(
        accel_create(ACCEL_OPTIONS(.gradient_accumulation_steps = (int32_t)(t.parts / processes)),
                     &t.accelerator));
    for (int i = 3; i < argc; i++) {
        char *colon = strchr(argv[i], ':');

        if (!colon)
            return 2;
        *colon = 0;
        t.kind = argv[i];
        t.name = colon + 1;
        run(&t, argv[1]);
    }
    accel_destroy(t.accelerator);
    return 0;
}
