/* SPDX-License-Identifier: Apache-2.0 */
/* A PyTorch model, exported once from Python, trained by a program in C on any number of processes:
 * handwritten digits, the first 80 % of the file for training, the rest for the test.
 *
 *     python3 export_digits.py . ; accel launch -n 2 ./torch-digits_c */
#include <stdio.h>

#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

enum { EPOCHS = 30, BATCH = 64 };

/* Rows `first` to `last` of a tensor, without a copy. */
static accel_tensor_t rows(const accel_tensor_t *tensor, int64_t shape[], int64_t first,
                           int64_t last)
{
    accel_tensor_t part = *tensor;
    int64_t row = accel_tensor_numel(tensor) / tensor->shape[0];

    for (int32_t i = 1; i < tensor->ndim; i++)
        shape[i] = tensor->shape[i];
    shape[0] = last - first;
    part.shape = shape;
    part.data = (char *)tensor->data + first * row * (int64_t)accel_dtype_size(tensor->dtype);
    return part;
}

/* How many of the rows the module classifies rightly. */
static int64_t count_correct(accel_torch_module_t *module, const accel_tensor_t *images,
                             const accel_tensor_t *labels)
{
    const accel_tensor_t *logits;
    const int64_t *wanted = (const int64_t *)labels->data;
    int64_t correct = 0;

    ACCEL_CHECK(accel_torch_train(module, false));
    accel_torch_set_grad_enabled(module, false);
    ACCEL_CHECK(accel_torch_forward(module, images, 1));
    ACCEL_CHECK(accel_torch_output(module, 0, &logits));
    for (int64_t row = 0; row < logits->shape[0]; row++) {
        const float *scores = (const float *)logits->data + row * logits->shape[1];
        int64_t best = 0;

        for (int64_t k = 1; k < logits->shape[1]; k++)
            if (scores[k] > scores[best])
                best = k;
        correct += best == wanted[row];
    }
    ACCEL_CHECK(accel_torch_train(module, true));
    accel_torch_set_grad_enabled(module, true);
    return correct;
}

int main(void)
{
    const accel_tensor_t *images, *labels;
    int64_t shapes[4][ACCEL_MAX_NDIM];
    accel_safetensors_t *file;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    accel_t *accelerator;
    accel_batch_t batch;

    ACCEL_CHECK(accel_create(NULL, &accelerator));
    ACCEL_CHECK(accel_safetensors_open("digits.safetensors", &file));
    ACCEL_CHECK(accel_safetensors_tensor(file, "images", &images));
    ACCEL_CHECK(accel_safetensors_tensor(file, "labels", &labels));
    int64_t all = images->shape[0], train = all * 4 / 5, steps = EPOCHS * (train / BATCH + 1);
    accel_tensor_t train_images = rows(images, shapes[0], 0, train);
    accel_tensor_t train_labels = rows(labels, shapes[1], 0, train);
    accel_tensor_t test_images = rows(images, shapes[2], train, all);
    accel_tensor_t test_labels = rows(labels, shapes[3], train, all);
    const accel_tensor_t *const fields[] = {&train_images, &train_labels};

    ACCEL_CHECK(accel_torch_manual_seed(1 + (uint64_t)accel_process_index(accelerator)));
    ACCEL_CHECK(
        accel_torch_load("cnn.pt", ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 2e-3), &optimizer));
    ACCEL_CHECK(accel_tensor_dataset_create(fields, 2, &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = BATCH, .split_batches = ACCEL_ON, .shuffle = true),
        &loader));
    ACCEL_CHECK(accel_scheduler_create(
        optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosine", .num_training_steps = steps),
        &scheduler));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, scheduler));
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        double loss = 0;

        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        while (ACCEL_NEXT(loader, &batch)) {
            ACCEL_CHECK(accel_torch_forward(module, &batch.fields[0], 1));
            ACCEL_CHECK(accel_torch_cross_entropy(module, &batch.fields[1], &loss));
            ACCEL_CHECK(accel_backward(accelerator, model));
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_scheduler_step(scheduler));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
        }
        ACCEL_CHECK(accel_sync_buffers(accelerator, model));
        int64_t correct = count_correct(module, &test_images, &test_labels);
        accel_print(accelerator, "epoch %lld: loss %.4f, accuracy %.4f\n", (long long)epoch, loss,
                    (double)correct / (double)(all - train));
    }
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        ACCEL_CHECK(accel_torch_save_weights(module, "trained.safetensors"));
        ACCEL_CHECK(accel_torch_save(module, "trained.pt"));
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_torch_destroy(module);
    accel_safetensors_close(file);
    accel_destroy(accelerator);
    return 0;
}
