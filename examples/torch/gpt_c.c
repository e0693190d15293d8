/* SPDX-License-Identifier: Apache-2.0 */
/* The small GPT of gpt.cpp, trained by a program in C, on any number of processes:
 *
 *     ./torch-gpt_c ; accel launch -n 2 ./torch-gpt_c ; ./torch-gpt_c --help
 *
 * The model is made in C++ (libgpt.so, from gpt_module.cpp), or came from Python:
 *
 *     python3 export_gpt.py . ; ./torch-gpt_c --archive gpt.pt */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/progress.h>
#include <accel/torch.h>

#include "common/options.h"
#include "common/scores.h"
#include "common/text.h"

/* Windows of a text, and the same one byte on. */
typedef struct windows {
    const unsigned char *bytes;
    int64_t length;
} windows_t;

static accel_status_t get_window(void *context, int64_t index, void *const *fields)
{
    const windows_t *windows = (const windows_t *)context;
    const unsigned char *first = windows->bytes + index * windows->length;
    int64_t *before = (int64_t *)fields[0], *next = (int64_t *)fields[1];

    for (int64_t i = 0; i < windows->length; i++) {
        before[i] = first[i];
        next[i] = first[i + 1];
    }
    return ACCEL_OK;
}

static accel_dataset_t *dataset_of(windows_t *windows, int64_t num_bytes)
{
    const accel_field_t fields[] = {{"bytes", ACCEL_I64, 1, {windows->length}},
                                    {"next", ACCEL_I64, 1, {windows->length}}};
    accel_dataset_t *dataset;

    ACCEL_CHECK(accel_dataset_create(
        ACCEL_DATASET_OPTIONS(.length = (num_bytes - 1) / windows->length, .get = get_window,
                              .context = windows, .fields = fields, .num_fields = 2),
        &dataset));
    return dataset;
}

static accel_torch_module_t *open_module(const options_t *o, const char *program,
                                         const accel_t *accelerator)
{
    const accel_torch_options_t *how = ACCEL_TORCH_OPTIONS(.accelerator = accelerator);
    const char *slash = strrchr(program, '/');
    char beside[4096], size[160];
    accel_torch_module_t *module;

    snprintf(beside, sizeof(beside), "%.*slibgpt.so", slash ? (int)(slash - program) + 1 : 2,
             slash ? program : "./");
    snprintf(size, sizeof(size), "length=%lld,layers=%lld,width=%lld,heads=%lld,seed=%lld",
             (long long)o->length, (long long)o->layers, (long long)o->width, (long long)o->heads,
             (long long)o->seed);
    if (o->archive)
        ACCEL_CHECK(accel_torch_load(o->archive, how, &module));
    else
        ACCEL_CHECK(
            accel_torch_create(o->library ? o->library : beside, "gpt", size, how, &module));
    if (o->weights)
        ACCEL_CHECK(accel_torch_load_weights(module, o->weights));
    ACCEL_CHECK(accel_torch_train(module, true));
    ACCEL_CHECK(accel_torch_set_autocast(module, accel_autocast_dtype(accelerator)));
    return module;
}

/* Of the text that was held out: the mean over all windows. Collective. */
static double bits_per_byte(accel_t *accelerator, accel_torch_module_t *module,
                            accel_loader_t *loader)
{
    double nats = 0, windows = 0;
    const accel_tensor_t *scores;
    accel_tensor_t *all;
    accel_batch_t batch;

    accel_torch_set_grad_enabled(module, false);
    ACCEL_CHECK(accel_loader_begin(loader, 0));
    while (ACCEL_NEXT(loader, &batch)) {
        double *means = (double *)calloc((size_t)batch.rows, sizeof(*means));
        const int64_t *next = (const int64_t *)batch.fields[1].data;
        int64_t length = batch.fields[1].shape[1];

        if (!means)
            exit(1);
        ACCEL_CHECK(accel_torch_forward(module, &batch.fields[0], 1));
        ACCEL_CHECK(accel_torch_output(module, 0, &scores));
        for (int64_t i = 0; i < batch.rows * length; i++)
            means[i / length] +=
                scores_loss((const float *)scores->data + i * BYTES, next[i]) / (double)length;
        ACCEL_CHECK(accel_gather_for_metrics(accelerator,
                                             ACCEL_TENSOR(means, ACCEL_F64, batch.rows), &all));
        for (int64_t i = 0; i < all->shape[0]; i++, windows++)
            nats += ((const double *)all->data)[i];
        accel_tensor_destroy(all);
        free(means);
    }
    accel_torch_set_grad_enabled(module, true);
    return nats / windows / log(2);
}

/* The prompt, and what comes after it. */
static void write_on(accel_torch_module_t *module, const options_t *o)
{
    size_t given = strlen(o->prompt), all = given + (size_t)o->sample;
    int64_t *bytes = (int64_t *)calloc(all + 1, sizeof(*bytes));
    uint64_t random = (uint64_t)o->seed;
    const accel_tensor_t *scores;

    if (!bytes)
        exit(1);
    for (size_t at = 0; at < given; at++)
        bytes[at] = (unsigned char)o->prompt[at];
    fputs(o->prompt, stdout);
    accel_torch_set_grad_enabled(module, false);
    for (size_t at = given; at < all; at++) {
        int64_t seen = (int64_t)at < o->length ? (int64_t)at : o->length;

        ACCEL_CHECK(
            accel_torch_forward(module, ACCEL_TENSOR(bytes + at - seen, ACCEL_I64, 1, seen), 1));
        ACCEL_CHECK(accel_torch_output(module, 0, &scores));
        bytes[at] = scores_draw((const float *)scores->data + (seen - 1) * BYTES, &random);
        putchar((int)bytes[at]);
    }
    putchar('\n');
    free(bytes);
}

/* ^C on any process stops all of them after the same step. */
static bool should_stop(accel_t *accelerator)
{
    bool stop;

    if (interrupt_seen())
        accel_set_trigger(accelerator);
    ACCEL_CHECK(accel_check_trigger(accelerator, &stop));
    return stop;
}

static accel_loader_t *loader_of(accel_dataset_t *dataset, int64_t rows, bool training,
                                 int64_t seed)
{
    accel_loader_t *loader;

    ACCEL_CHECK(
        accel_loader_create(dataset,
                            ACCEL_LOADER_OPTIONS(.batch_size = rows, .shuffle = training,
                                                 .drop_last = training, .seed = (uint64_t)seed),
                            &loader));
    return loader;
}

/* clang-format off */
int main(int argc, char **argv)
{
    options_t o = options_parse(argc, argv, "torch-gpt_c", true);
    accel_t *accelerator;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    accel_progress_t *bar;
    accel_batch_t batch;
    int64_t step = 0;
    bool stop = false;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = o.log_with, .project_dir = "runs",
        .mixed_precision = o.mixed_precision,
        .gradient_accumulation_steps = (int32_t)o.accumulate), &accelerator));
    int64_t processes = accel_num_processes(accelerator);
    int64_t rows = (o.batch + processes - 1) / processes;
    text_t text = text_read(o.files, o.num_files, rows * processes * o.length + 1, o.length + 1);
    windows_t train = {text.bytes, o.length}, held_out = {text.bytes + text.train, o.length};
    accel_dataset_t *dataset = dataset_of(&train, text.train);
    accel_dataset_t *valid_dataset = dataset_of(&held_out, text.length - text.train);
    accel_loader_t *loader = loader_of(dataset, rows, true, o.seed);
    accel_loader_t *valid_loader = loader_of(valid_dataset, rows, false, 0);
    int64_t steps = accel_dataset_length(dataset) / (rows * processes);
    int64_t updates = o.epochs * ((steps + o.accumulate - 1) / o.accumulate);

    /* [loop] */
    accel_torch_module_t *module = open_module(&o, argv[0], accelerator);
    ACCEL_CHECK(accel_torch_model(module, &model));
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = o.lr), &optimizer));
    ACCEL_CHECK(accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosine",
        .num_warmup_steps = updates / 20 + 1, .num_training_steps = updates), &scheduler));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, scheduler));
    ACCEL_CHECK(accel_prepare_loader(accelerator, valid_loader));
    ACCEL_CHECK(accel_init_trackers(accelerator, "gpt", ACCEL_DICT("batch", o.batch), NULL));

    interrupt_catch();
    for (int64_t epoch = 0; epoch < o.epochs && !stop; epoch++) {
        ACCEL_CHECK(accel_progress_create(accelerator, ACCEL_PROGRESS_OPTIONS(.total = steps),
                                          &bar));
        ACCEL_EPOCH(loader, epoch, &batch) {
            double lr = accel_optimizer_get_lr(optimizer), loss;
            ACCEL_CHECK(accel_accumulate(accelerator, model));
            ACCEL_CHECK(accel_torch_forward(module, &batch.fields[0], 1));
            ACCEL_CHECK(accel_torch_cross_entropy(module, &batch.fields[1], &loss));
            ACCEL_CHECK(accel_backward(accelerator, model));
            ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, 1.0, NULL));
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_scheduler_step(scheduler));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
            ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&loss, ACCEL_F64, 1), ACCEL_MEAN));
            ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("train_loss", loss, "lr", lr), step++));
            accel_progress_set_postfix(bar, ACCEL_DICT("loss", loss));
            accel_progress_update(bar, 1);
            if ((stop = should_stop(accelerator)))
                break;
        }
        accel_progress_destroy(bar);
        double bits = bits_per_byte(accelerator, module, valid_loader);
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("bits_per_byte", bits), step));
        accel_print(accelerator, "epoch %d: %.4f bits per byte held out\n", (int)epoch + 1, bits);
    }
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        write_on(module, &o);
        if (o.save) /* for Python */
            ACCEL_CHECK(accel_torch_save_weights(module, o.save));
    }
    ACCEL_CHECK(accel_end_training(accelerator));
    /* [/loop] */
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_loader_destroy(valid_loader);
    accel_loader_destroy(loader);
    accel_dataset_destroy(valid_dataset);
    accel_dataset_destroy(dataset);
    accel_torch_destroy(module);
    accel_destroy(accelerator);
    free(text.bytes);
    return 0;
}
/* clang-format on */
