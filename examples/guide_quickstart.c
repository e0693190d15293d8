/* SPDX-License-Identifier: Apache-2.0 */
/* The quick start of the guide: fit y = 2 x + 1, on any number of processes.
 *
 *     ./guide_quickstart ; accel launch -n 2 ./guide_quickstart */
/* [program] */
#include <accel/accel.h>

static float *w, *b, *grad_w, *grad_b; /* the model: y = w x + b */
static accel_batch_t batch;

/* Mean squared error of the batch; adds scale * its gradient. */
static float loss_and_gradient(double scale)
{
    const float *x = (const float *)batch.fields[0].data, *y = (const float *)batch.fields[1].data;
    float loss = 0;

    for (int64_t i = 0; i < batch.rows; i++) {
        float error = *w * x[i] + *b - y[i];
        loss += error * error / (float)batch.rows;
        *grad_w += (float)scale * 2 * error * x[i] / (float)batch.rows;
        *grad_b += (float)scale * 2 * error / (float)batch.rows;
    }
    return loss;
}

int main(void)
{
    static float x[1024], y[1024], values[4];
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    float loss = 0;

    for (int i = 0; i < 1024; i++)
        y[i] = 2 * (x[i] = (float)i / 512 - 1) + 1;
    w = &values[0], b = &values[1], grad_w = &values[2], grad_b = &values[3];

    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_model_create(NULL, &model));
    ACCEL_CHECK(accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(1), &w, &grad_w));
    ACCEL_CHECK(accel_model_add(model, "b", ACCEL_F32, ACCEL_SHAPE(1), &b, &grad_b));
    ACCEL_CHECK(accel_sgd_create(model, ACCEL_SGD_OPTIONS(.lr = 0.1), &optimizer));
    ACCEL_CHECK(
        accel_tensor_dataset_create((const accel_tensor_t *[]){ACCEL_TENSOR(x, ACCEL_F32, 1024),
                                                               ACCEL_TENSOR(y, ACCEL_F32, 1024)},
                                    2, &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = 32 / accel_num_processes(accelerator), .shuffle = true),
        &loader));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, NULL));

    for (int64_t epoch = 0; epoch < 4; epoch++) {
        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        while (ACCEL_NEXT(loader, &batch)) {
            loss = loss_and_gradient(accel_gradient_scale(accelerator));
            ACCEL_CHECK(accel_backward(accelerator, model));
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        }
        ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&loss, ACCEL_F32, 1), ACCEL_MEAN));
        accel_print(accelerator, "epoch %d: loss %.6f\n", (int)epoch, (double)loss);
    }
    accel_print(accelerator, "y = %.3f x + %.3f\n", (double)*w, (double)*b);

    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_optimizer_destroy(optimizer);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    return 0;
}
/* [/program] */
