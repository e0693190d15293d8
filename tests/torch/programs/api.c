/* SPDX-License-Identifier: Apache-2.0 */
/* What <accel/torch.h> offers beside a training step; run by tests/oracle/torch_api.py, which
 * judges what is written here, on 1 and 2 processes in a folder of archives. */
#include <stdint.h>

#include <accel/safetensors.h>
#include <accel/torch.h>
#include <accel/utils.h>

#include "checks.h"

enum { ROWS = 4, WIDTH = 7, CLASSES = 5 };

typedef struct job {
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    float x[ROWS * WIDTH], y[ROWS * CLASSES];
} job_t;

static accel_torch_module_t *load(const char *weights)
{
    accel_torch_module_t *module;

    ACCEL_CHECK(accel_torch_load("masked.pt", NULL, &module));
    ACCEL_CHECK(accel_torch_load_weights(module, weights));
    return module;
}

static void forward(accel_torch_module_t *module, const job_t *job)
{
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(job->x, ACCEL_F32, ROWS, WIDTH), 1));
}

static void step(job_t *job)
{
    forward(job->module, job);
    ACCEL_CHECK(
        accel_torch_mse_loss(job->module, ACCEL_TENSOR(job->y, ACCEL_F32, ROWS, CLASSES), NULL));
    ACCEL_CHECK(accel_backward(job->accelerator, job->model));
    ACCEL_CHECK(accel_optimizer_step(job->optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(job->optimizer));
}

static accel_parameter_t find(accel_torch_module_t *module, const char *name)
{
    accel_parameter_t tensor = {0};

    for (int64_t i = 0; i < accel_torch_num_tensors(module); i++) {
        ACCEL_CHECK(accel_torch_tensor(module, i, &tensor));
        if (strcmp(tensor.name, name) == 0)
            return tensor;
    }
    fprintf(stderr, "there is no '%s'\n", name);
    exit(1);
}

/* ---- buffers ---- */

static void buffers(job_t *job)
{
    accel_parameter_t mask = find(job->module, "mask");
    float *mean;
    accel_tensor_t *all;

    EXPECT(mask.dtype == ACCEL_U8 && memcmp(mask.value, "\1\0\0\1\0", CLASSES) == 0);
    mean = find(job->module, "norm.running_mean").value;
    ACCEL_CHECK(accel_gather(job->accelerator, ACCEL_TENSOR(mean, ACCEL_F32, 1, CLASSES), &all));
    ACCEL_CHECK(accel_average_buffers(job->accelerator, job->model));
    mean = find(job->module, "norm.running_mean").value;
    for (int i = 0; i < CLASSES; i++) {
        const float *of_rank = all->data;
        float expected = all->shape[0] == 1 ? of_rank[i] : (of_rank[i] + of_rank[CLASSES + i]) / 2;

        EXPECT(mean[i] - expected < 1e-6f && expected - mean[i] < 1e-6f);
        EXPECT(all->shape[0] == 1 || of_rank[i] != of_rank[CLASSES + i]);
    }
    accel_tensor_destroy(all);
}

/* ---- gradients of inputs ---- */

static void save_gradient(const accel_tensor_t *gradient)
{
    accel_named_tensor_t named = {"x", gradient};

    ACCEL_CHECK(accel_safetensors_save("gradient.safetensors", &named, 1, NULL));
}

static void input_gradients(job_t *job)
{
    const accel_tensor_t *gradient;
    int64_t number = 3;
    accel_tensor_t inputs[] = {*ACCEL_TENSOR(job->x, ACCEL_F32, ROWS, WIDTH),
                               *ACCEL_TENSOR(&number, ACCEL_I64, 1),
                               *ACCEL_TENSOR(job->y, ACCEL_F32, 1, CLASSES)};

    FAILS(ACCEL_ERR_STATE, "set_input_grad_enabled() before",
          accel_torch_input_gradient(job->module, 0, &gradient));
    accel_torch_set_input_grad_enabled(job->module, true);
    ACCEL_CHECK(accel_torch_call(job->module, "several", inputs, 3));
    FAILS(ACCEL_ERR_STATE, "after accel_backward()",
          accel_torch_input_gradient(job->module, 0, &gradient));
    ACCEL_CHECK(accel_torch_loss(job->module, 0, NULL));
    ACCEL_CHECK(accel_backward(job->accelerator, job->model));
    ACCEL_CHECK(accel_torch_input_gradient(job->module, 0, &gradient));
    EXPECT(gradient->ndim == 2 && gradient->shape[1] == WIDTH && gradient->dtype == ACCEL_F32);
    ACCEL_ON_MAIN_PROCESS(job->accelerator)
        save_gradient(gradient);
    FAILS(ACCEL_ERR_INVALID, "input 1 is not of floating point",
          accel_torch_input_gradient(job->module, 1, &gradient));
    EXPECT(!gradient);
    ACCEL_CHECK(accel_torch_input_gradient(job->module, 2, &gradient)); /* is not used */
    EXPECT(gradient->shape[1] == CLASSES && ((const float *)gradient->data)[CLASSES - 1] == 0);
    FAILS(ACCEL_ERR_INVALID, "no input 3; several took 3",
          accel_torch_input_gradient(job->module, 3, &gradient));
    accel_torch_set_input_grad_enabled(job->module, false);
    ACCEL_CHECK(accel_optimizer_step(job->optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(job->optimizer));
}

/* ---- autocast: no cast of old weights stays ---- */

static void autocast(job_t *job)
{
    accel_torch_module_t *fresh;
    const accel_tensor_t *output, *expected;

    ACCEL_CHECK(accel_torch_set_autocast(job->module, ACCEL_BF16));
    step(job);
    step(job);
    ACCEL_CHECK(accel_average_buffers(job->accelerator, job->model));
    ACCEL_CHECK(accel_torch_train(job->module, false));
    forward(job->module, job);
    ACCEL_CHECK(accel_torch_output(job->module, 0, &output));
    ACCEL_ON_MAIN_PROCESS(job->accelerator)
        ACCEL_CHECK(accel_torch_save_weights(job->module, "trained.safetensors"));
    ACCEL_CHECK(accel_wait_for_everyone(job->accelerator));
    fresh = load("trained.safetensors");
    ACCEL_CHECK(accel_torch_set_autocast(fresh, ACCEL_BF16));
    ACCEL_CHECK(accel_torch_train(fresh, false));
    forward(fresh, job);
    ACCEL_CHECK(accel_torch_output(fresh, 0, &expected));
    EXPECT(memcmp(output->data, expected->data, sizeof(float) * ROWS * CLASSES) == 0);
    accel_torch_destroy(fresh);
    ACCEL_CHECK(accel_torch_set_autocast(job->module, ACCEL_F32));
    ACCEL_CHECK(accel_torch_train(job->module, true));
}

/* ---- memory ---- */

/* A batch of more than 7 does not fit on the last process. */
static accel_status_t attempt(void *context, int64_t batch_size)
{
    job_t *job = context;
    bool large = batch_size > 7 && accel_is_last_process(job->accelerator);
    int64_t elements = large ? INT64_C(1) << 46 : 1;
    accel_status_t status =
        accel_torch_call(job->module, "grow", ACCEL_TENSOR(&elements, ACCEL_I64, 1), 1);

    return status == ACCEL_OK ? accel_wait_for_everyone(job->accelerator) : status;
}

static void memory(job_t *job)
{
    int64_t elements = INT64_C(1) << 46, batch_size;

    FAILS(ACCEL_ERR_NO_MEMORY, "can't allocate memory",
          accel_torch_call(job->module, "grow", ACCEL_TENSOR(&elements, ACCEL_I64, 1), 1));
    ACCEL_CHECK(accel_find_executable_batch_size(
        job->accelerator, ACCEL_FIND_BATCH_SIZE_OPTIONS(.starting_batch_size = 10), attempt, job,
        &batch_size));
    EXPECT(batch_size == 7);
}

static void deterministic(job_t *job)
{
    accel_tensor_t *input = ACCEL_TENSOR(job->x, ACCEL_F32, ROWS, WIDTH);

    ACCEL_CHECK(accel_torch_use_deterministic_algorithms(true, false));
    FAILS(ACCEL_ERR_INVALID, "deterministic", accel_torch_call(job->module, "put", input, 1));
    ACCEL_CHECK(accel_torch_use_deterministic_algorithms(false, false));
    ACCEL_CHECK(accel_torch_call(job->module, "put", input, 1));
}

int main(void)
{
    job_t job = {0};

    ACCEL_CHECK(accel_create(NULL, &job.accelerator));
    for (int i = 0; i < ROWS * WIDTH; i++)
        job.x[i] = (float)((i * 37 + 11 * accel_process_index(job.accelerator)) % 19) / 19;
    for (int i = 0; i < ROWS * CLASSES; i++)
        job.y[i] = (float)(i % 3);
    job.module = load("masked.safetensors");
    FAILS(ACCEL_ERR_INVALID, "path is NULL", accel_torch_load_weights(job.module, NULL));
    FAILS(ACCEL_ERR_INVALID, "path is NULL", accel_torch_save_weights(job.module, NULL));
    ACCEL_CHECK(accel_torch_model(job.module, &job.model));
    ACCEL_CHECK(accel_sgd_create(job.model, ACCEL_SGD_OPTIONS(.lr = 0.1), &job.optimizer));
    ACCEL_CHECK(accel_prepare(job.accelerator, job.model, job.optimizer, NULL, NULL));
    input_gradients(&job);
    step(&job);
    buffers(&job);
    autocast(&job);
    memory(&job);
    deterministic(&job);
    ACCEL_CHECK(accel_wait_for_everyone(job.accelerator));
    accel_optimizer_destroy(job.optimizer);
    accel_torch_destroy(job.module);
    accel_destroy(job.accelerator);
    printf("libtorch %s\n", accel_torch_version());
    return 0;
}
