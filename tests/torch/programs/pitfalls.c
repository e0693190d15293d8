/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong with <accel/torch.h>, and what is said of it; run by
 * tests/oracle/torch_c_pitfalls.py in a folder of archives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/torch.h>

#include "checks.h"

static float x[3 * 7], y[3 * 5];

static accel_torch_module_t *load(const char *path)
{
    accel_torch_module_t *module;

    ACCEL_CHECK(accel_torch_load(path, NULL, &module));
    return module;
}

static void files(void)
{
    accel_torch_module_t *module = NULL;

    FAILS(ACCEL_ERR_NOT_FOUND, "none.pt", accel_torch_load("none.pt", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "'bad.pt' is no TorchScript archive of this libtorch: it is cut off",
          accel_torch_load("bad.pt", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "it is cut off", accel_torch_load("cut.pt", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "'text.pt'", accel_torch_load("text.pt", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "'.'", accel_torch_load(".", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "'other.zip'", accel_torch_load("other.zip", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "torch.save() wrote it, which leaves the program out",
          accel_torch_load("state_dict.pt", NULL, &module));
    FAILS(ACCEL_ERR_FORMAT, "which accel_torch_load_weights() reads",
          accel_torch_load("mlp.safetensors", NULL, &module));
    FAILS(ACCEL_ERR_NOT_FOUND, "none.so",
          accel_torch_create("./none.so", "net", NULL, NULL, &module));
    EXPECT(!module);
    module = load("mlp.pt");
    FAILS(ACCEL_ERR_NOT_FOUND, "none.safetensors",
          accel_torch_load_weights(module, "none.safetensors"));
    FAILS(ACCEL_ERR_NOT_FOUND, "'fc2.weight'",
          accel_torch_load_weights(module, "part.safetensors"));
    FAILS(ACCEL_ERR_MISMATCH, "'fc1.bias'", accel_torch_map_weights(module, "wrong.safetensors"));
    accel_torch_destroy(module);
    accel_torch_destroy(NULL);
}

static void inputs(accel_torch_module_t *module)
{
    int64_t classes[] = {0, 1, 2};
    accel_tensor_t *wrong_shape = ACCEL_TENSOR(x, ACCEL_F32, 2, 8);
    const accel_tensor_t *output;

    FAILS(ACCEL_ERR_STATE, "accel_torch_forward() first", accel_torch_output(module, 0, &output));
    FAILS(ACCEL_ERR_INVALID, "shapes cannot be multiplied",
          accel_torch_forward(module, wrong_shape, 1));
    FAILS(ACCEL_ERR_INVALID, "", accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F64, 1, 7), 1));
    FAILS(ACCEL_ERR_INVALID, "", accel_torch_forward(module, NULL, 0));
    FAILS(ACCEL_ERR_NOT_FOUND, "'backwards'", accel_torch_call(module, "backwards", NULL, 0));
    FAILS(ACCEL_ERR_INVALID, "on purpose", accel_torch_call(module, "throws", NULL, 0));
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
    FAILS(ACCEL_ERR_INVALID, "no output 1", accel_torch_output(module, 1, &output));
    FAILS(ACCEL_ERR_INVALID, "one number", accel_torch_loss(module, 0, NULL));
    FAILS(ACCEL_ERR_INVALID, "expected Long",
          accel_torch_cross_entropy(module, ACCEL_TENSOR(classes, ACCEL_I64, 2), NULL));
    FAILS(ACCEL_ERR_INVALID, "expected the output's",
          accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 5, 3), NULL));
    classes[1] = 99;
    FAILS(ACCEL_ERR_INVALID, "out of bounds",
          accel_torch_cross_entropy(module, ACCEL_TENSOR(classes, ACCEL_I64, 3), NULL));
    /* a number as a tensor; tuples are flattened */
    float two = 2;
    accel_tensor_t both[] = {*ACCEL_TENSOR(x, ACCEL_F32, 3, 7), *ACCEL_TENSOR(&two, ACCEL_F32, 1)};
    ACCEL_CHECK(accel_torch_call(module, "times", both, 2));
    EXPECT(accel_torch_num_outputs(module) == 3);
    ACCEL_CHECK(accel_torch_output(module, 0, &output));
    EXPECT(output->ndim == 2 && ((const float *)output->data)[5] == 2 * x[5]);
    ACCEL_CHECK(accel_torch_output(module, 2, &output));
    EXPECT(output->ndim == 0 && output->dtype == ACCEL_I64 && *(const int64_t *)output->data == 3);
}

static void autocast(accel_torch_module_t *module)
{
    const accel_tensor_t *output;
    float full[15];

    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
    ACCEL_CHECK(accel_torch_output(module, 0, &output));
    memcpy(full, output->data, sizeof(full));
    ACCEL_CHECK(accel_torch_set_autocast(module, ACCEL_BF16));
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
    ACCEL_CHECK(accel_torch_output(module, 0, &output));
    EXPECT(output->dtype == ACCEL_F32);
    float largest = 0;
    for (int i = 0; i < 15; i++)
        largest = fmaxf(largest, fabsf(((const float *)output->data)[i] - full[i]));
    EXPECT(largest > 0 && largest < 0.05f); /* rounded to 8 bits, and no more */
    ACCEL_CHECK(accel_torch_set_autocast(module, ACCEL_F32));
    FAILS(ACCEL_ERR_INVALID, "float64", accel_torch_set_autocast(module, ACCEL_F64));
}

static void training(accel_torch_module_t *module)
{
    accel_parameter_t parameter;
    accel_optimizer_t *optimizer;
    accel_model_t *model;
    accel_t *accelerator;
    float other[3 * 7];
    double loss, before;

    FAILS(ACCEL_ERR_NOT_FOUND, "'none.*'", accel_torch_requires_grad(module, "none.*", false));
    ACCEL_CHECK(accel_torch_requires_grad(module, "fc1.bias", false));
    ACCEL_CHECK(accel_torch_model(module, &model));
    FAILS(ACCEL_ERR_STATE, "cast before", accel_torch_to(module, ACCEL_F64));
    FAILS(ACCEL_ERR_STATE, "freeze before", accel_torch_requires_grad(module, "fc2.*", false));
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_adamw_create(model, NULL, &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    FAILS(ACCEL_ERR_STATE, "before accel_prepare()",
          accel_torch_load_weights(module, "mlp.safetensors"));

    memcpy(other, x, sizeof(x));
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(other, ACCEL_F32, 3, 7), 1));
    ACCEL_CHECK(accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 3, 5), &before));
    for (int i = 0; i < 3 * 7; i++)
        other[i] += 1;
    FAILS(ACCEL_ERR_STATE, "overwritten between forward and backward",
          accel_backward(accelerator, model));
    accel_torch_set_grad_enabled(module, false);
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
    ACCEL_CHECK(accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 3, 5), NULL));
    FAILS(ACCEL_ERR_STATE, "were gradients off", accel_backward(accelerator, model));
    accel_torch_set_grad_enabled(module, true);

    /* and after all that it trains */
    for (int step = 0; step < 30; step++) {
        ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
        ACCEL_CHECK(accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 3, 5), &loss));
        ACCEL_CHECK(accel_backward(accelerator, model));
        if (step == 0)
            FAILS(ACCEL_ERR_STATE, "before the next backward", accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    EXPECT(loss < before / 2);
    /* unprepared, the values are the module's own again */
    accel_optimizer_destroy(optimizer);
    accel_destroy(accelerator);
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
    ACCEL_CHECK(accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 3, 5), &before));
    EXPECT(before < loss * 1.05);
    ACCEL_CHECK(accel_torch_tensor(module, 1, &parameter));
    EXPECT(strcmp(parameter.name, "fc1.bias") == 0 && parameter.kind == ACCEL_FROZEN);
    FAILS(ACCEL_ERR_INVALID, "no tensor 4", accel_torch_tensor(module, 4, &parameter));
}

/* Weights are cast once a forward under autocast; a step must not leave old casts behind. */
static void autocast_after_a_step(void)
{
    accel_torch_module_t *module = load("mlp.pt");
    const accel_tensor_t *output;
    accel_optimizer_t *optimizer;
    accel_model_t *model;
    accel_t *accelerator;
    float logits[2][15];
    double loss;

    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 0.1), &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    ACCEL_CHECK(accel_torch_set_autocast(module, ACCEL_BF16));
    for (int step = 0; step < 2; step++) {
        ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F32, 3, 7), 1));
        ACCEL_CHECK(accel_torch_output(module, 0, &output));
        memcpy(logits[step], output->data, sizeof(logits[step]));
        ACCEL_CHECK(accel_torch_mse_loss(module, ACCEL_TENSOR(y, ACCEL_F32, 3, 5), &loss));
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    float largest = 0;
    for (int i = 0; i < 15; i++)
        largest = fmaxf(largest, fabsf(logits[0][i] - logits[1][i]));
    EXPECT(largest > 0.05f);
    accel_optimizer_destroy(optimizer);
    accel_destroy(accelerator);
    accel_torch_destroy(module);
}

/* Channels-last weights, a buffer that is not persistent, an index, a layer that is not used. */
static void odd_archive(void)
{
    accel_torch_module_t *module = load("odd.pt");
    accel_optimizer_t *optimizer;
    accel_model_t *model;
    accel_t *accelerator;
    accel_tensor_t *input;
    int64_t rows[] = {4, 5};
    float image[3 * 4 * 4];
    double loss, before, written;

    for (int i = 0; i < 3 * 4 * 4; i++)
        image[i] = sinf((float)i);
    input = ACCEL_TENSOR(image, ACCEL_F32, 1, 3, 4, 4);
    ACCEL_CHECK(accel_torch_forward(module, input, 1));
    ACCEL_CHECK(accel_torch_loss(module, 0, &before));
    ACCEL_CHECK(accel_torch_load_weights(module, "odd.safetensors")); /* without the mask */
    FAILS(ACCEL_ERR_INVALID, "index out of range",
          accel_torch_call(module, "look_up", ACCEL_TENSOR(rows, ACCEL_I64, 2), 1));
    FAILS(ACCEL_ERR_INVALID, "CUDA", accel_torch_call(module, "elsewhere", NULL, 0));
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 0.01), &optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, NULL, NULL));
    for (int step = 0; step < 10; step++) {
        ACCEL_CHECK(accel_torch_forward(module, input, 1));
        ACCEL_CHECK(accel_backward(accelerator, model));
        ACCEL_CHECK(accel_optimizer_step(optimizer));
        ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
    }
    ACCEL_CHECK(accel_torch_forward(module, input, 1));
    ACCEL_CHECK(accel_torch_loss(module, 0, &loss));
    EXPECT(loss < before / 2);
    FILE *file = fopen("odd.loss", "w");
    EXPECT(file && fprintf(file, "%.17g", loss) > 0 && fclose(file) == 0);
    ACCEL_CHECK(accel_torch_save(module, "odd.out.pt"));
    accel_optimizer_destroy(optimizer);
    accel_torch_destroy(module); /* before the accelerator, too */
    accel_destroy(accelerator);
    module = load("odd.out.pt");
    ACCEL_CHECK(accel_torch_forward(module, input, 1));
    ACCEL_CHECK(accel_torch_loss(module, 0, &written));
    EXPECT(fabs(written - loss) <= 1e-6 * loss);
    accel_torch_destroy(module);
}

static void random_numbers(void)
{
    unsigned char *state;
    size_t size = 0, small = 3;

    ACCEL_CHECK(accel_torch_manual_seed(7));
    ACCEL_CHECK(accel_torch_get_rng_state(NULL, &size));
    EXPECT(size > 2500);
    state = malloc(size);
    EXPECT(state);
    ACCEL_CHECK(accel_torch_get_rng_state(state, &size));
    FAILS(ACCEL_ERR_INVALID, "room for 3", accel_torch_get_rng_state(state, &small));
    FAILS(ACCEL_ERR_INVALID, "", accel_torch_set_rng_state(state, 12));
    ACCEL_CHECK(accel_torch_set_rng_state(state, size));
    FILE *file = fopen("rng.bin", "wb");
    EXPECT(file && fwrite(state, 1, size, file) == size && fclose(file) == 0);
    free(state);
    ACCEL_CHECK(accel_torch_set_num_threads(1, 1));
    ACCEL_CHECK(accel_torch_set_num_threads(1, 2));
    EXPECT(accel_torch_get_num_threads() == 1);
}

int main(void)
{
    accel_torch_module_t *module;

    for (int i = 0; i < 3 * 7; i++)
        x[i] = sinf((float)i);
    for (int i = 0; i < 3 * 5; i++)
        y[i] = cosf((float)i);
    files();
    module = load("mlp.pt");
    inputs(module);
    autocast(module);
    training(module);
    accel_torch_destroy(module);
    autocast_after_a_step();
    odd_archive();
    random_numbers();
    printf("libtorch %s\n", accel_torch_version());
    return 0;
}
