/* SPDX-License-Identifier: Apache-2.0 */
/* Predicts the next letter of English words from the four before it: one hidden layer, in
 * plain C. The lines marked 1 to 4 make it run on any number of processes, tracked:
 *
 *     ./minimal ; accel launch -n 2 ./minimal ; ./minimal words.txt 10 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/wandb.h>

enum { LETTERS = 27, CONTEXT = 4, INPUTS = CONTEXT * LETTERS, HIDDEN = 96, BATCH = 240 };

typedef struct net {
    float *w1, *b1, *w2, *b2, *grad_w1, *grad_b1, *grad_w2, *grad_b2;
    float hidden[BATCH][HIDDEN], p[BATCH][LETTERS], losses[BATCH]; /* of the last batch */
    const accel_batch_t *batch; /* fields: the letters before, and the letter to predict */
} net_t;

static float net_forward(net_t *net, const accel_batch_t *batch)
{
    const int32_t *before = (const int32_t *)batch->fields[0].data;
    const int32_t *next = (const int32_t *)batch->fields[1].data;
    float loss = 0;

    net->batch = batch;
    for (int64_t i = 0; i < batch->rows; i++) {
        float *h = net->hidden[i], *p = net->p[i], total = 0;
        for (int k = 0; k < HIDDEN; k++) {
            float sum = net->b1[k];
            for (int c = 0; c < CONTEXT; c++)
                sum += net->w1[(c * LETTERS + before[i * CONTEXT + c]) * HIDDEN + k];
            h[k] = tanhf(sum);
        }
        for (int l = 0; l < LETTERS; l++) {
            float sum = net->b2[l];
            for (int k = 0; k < HIDDEN; k++)
                sum += net->w2[l * HIDDEN + k] * h[k];
            total += p[l] = expf(sum);
        }
        for (int l = 0; l < LETTERS; l++)
            p[l] /= total;
        loss += net->losses[i] = -logf(p[next[i]]);
    }
    return loss / (float)batch->rows;
}

static accel_status_t net_backward(void *context, double scale)
{
    net_t *net = (net_t *)context;
    const int32_t *before = (const int32_t *)net->batch->fields[0].data;
    const int32_t *next = (const int32_t *)net->batch->fields[1].data;

    for (int64_t i = 0; i < net->batch->rows; i++) {
        float *h = net->hidden[i], dh[HIDDEN] = {0};
        for (int l = 0; l < LETTERS; l++) {
            float d = (net->p[i][l] - (l == next[i])) * (float)scale / (float)net->batch->rows;
            net->grad_b2[l] += d;
            for (int k = 0; k < HIDDEN; k++) {
                net->grad_w2[l * HIDDEN + k] += d * h[k];
                dh[k] += d * net->w2[l * HIDDEN + k];
            }
        }
        for (int k = 0; k < HIDDEN; k++)
            net->grad_b1[k] += dh[k] *= 1 - h[k] * h[k];
        for (int c = 0; c < CONTEXT; c++)
            for (int k = 0; k < HIDDEN; k++)
                net->grad_w1[(c * LETTERS + before[i * CONTEXT + c]) * HIDDEN + k] += dh[k];
    }
    return ACCEL_OK;
}

static void net_add(accel_model_t *model, const char *name, int64_t rows, int64_t columns,
                    float **w, float **grad)
{
    static uint32_t random = 1;

    *w = (float *)malloc((size_t)(rows * columns) * sizeof(float));
    *grad = (float *)calloc((size_t)(rows * columns), sizeof(float));
    for (int64_t i = 0; i < rows * columns; i++, random = random * 1664525 + 1013904223)
        (*w)[i] = ((float)(random >> 8) / 16777216.0f - 0.5f) * 0.3f;
    ACCEL_CHECK(accel_model_add(model, name, ACCEL_F32, ACCEL_SHAPE(rows, columns), w, grad));
}

/* Words as letters 1..26, each with a 0 before and after it. */
typedef struct text {
    char *letters;
    int64_t length;
} text_t;

/* Each tenth word is set aside for validation. Only words of a-z count. */
static void read_words(const char *path, text_t *train, text_t *valid)
{
    FILE *file = fopen(path, "r");
    char word[256];

    for (int64_t words = 0; file && fgets(word, sizeof(word), file);) {
        size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz");
        text_t *text = words % 10 ? train : valid;
        if (length == 0 || word[length] != '\n')
            continue;
        words++;
        text->letters = (char *)realloc(text->letters, (size_t)text->length + length + 2);
        text->letters[text->length++] = 0;
        for (size_t i = 0; i < length; i++)
            text->letters[text->length++] = (char)(word[i] - 'a' + 1);
        text->letters[text->length] = 0;
    }
    if (!file || valid->length == 0 || train->length < BATCH) {
        fprintf(stderr, "%s: not a list of words (Debian's package wamerican has one)\n", path);
        exit(1);
    }
    fclose(file);
}

/* Sample `index`: the letter after that place, and those of the same word before it. */
static accel_status_t get_sample(void *context, int64_t index, void *const *fields)
{
    const char *place = ((const text_t *)context)->letters + index;
    int32_t *before = (int32_t *)fields[0];

    *(int32_t *)fields[1] = place[1];
    for (int c = CONTEXT - 1; c >= 0; c--) {
        before[c] = *place;
        place -= *place != 0; /* stay at the word's start */
    }
    return ACCEL_OK;
}

static accel_dataset_t *dataset_of(text_t *text)
{
    const accel_field_t fields[] = {{"before", ACCEL_I32, 1, {CONTEXT}},
                                    {"next", ACCEL_I32, 0, {0}}};
    accel_dataset_t *dataset;

    ACCEL_CHECK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = text->length,
                                                           .get = get_sample, .context = text,
                                                           .fields = fields, .num_fields = 2),
                                     &dataset));
    return dataset;
}

/* Mean loss over every sample once, whatever the number of processes. */
static double validate(accel_t *accelerator, net_t *net, accel_loader_t *loader)
{
    accel_batch_t batch;
    accel_tensor_t *losses;
    double sum = 0, count = 0;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    while (ACCEL_NEXT(loader, &batch)) {
        net_forward(net, &batch);
        ACCEL_CHECK(accel_gather_for_metrics(
            accelerator, ACCEL_TENSOR(net->losses, ACCEL_F32, batch.rows), &losses));
        for (int64_t i = 0; i < losses->shape[0]; i++, count++)
            sum += (double)((const float *)losses->data)[i];
        accel_tensor_destroy(losses);
    }
    return sum / count;
}

int main(int argc, char **argv)
{
    const char *words = argc > 1 ? argv[1] : "/usr/share/dict/words";
    int64_t epochs = argc > 2 ? strtol(argv[2], NULL, 10) : 6, step = 0;
    static net_t net;
    static text_t train, valid;

    read_words(words, &train, &valid);
    accel_dataset_t *train_set = dataset_of(&train), *valid_set = dataset_of(&valid);
    accel_loader_t *loader, *valid_loader;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    accel_artifact_t *some_artifact_to_log;

    /* clang-format off */
    /* [readme] */
    ACCEL_CHECK(
        accel_model_create(ACCEL_MODEL_OPTIONS(.backward = net_backward, .context = &net), &model));
    net_add(model, "fc1.weight", INPUTS, HIDDEN, &net.w1, &net.grad_w1); /* calls accel_model_add */
    net_add(model, "fc1.bias", 1, HIDDEN, &net.b1, &net.grad_b1);
    net_add(model, "fc2.weight", LETTERS, HIDDEN, &net.w2, &net.grad_w2);
    net_add(model, "fc2.bias", 1, LETTERS, &net.b2, &net.grad_b2);
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = 4e-3), &optimizer));
    ACCEL_CHECK(accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosine",
        .num_warmup_steps = 100, .num_training_steps = train.length / BATCH * epochs), &scheduler));

    accel_t *accelerator;                                                              /* 1 */
    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));

    ACCEL_CHECK(accel_init_trackers(accelerator, "words",
        ACCEL_DICT("hidden", HIDDEN, "context", CONTEXT, "learning_rate", 4e-3),
        ACCEL_DICT("wandb", ACCEL_DICT("tags", ACCEL_LIST("minimal")))));

    int64_t batch_size = BATCH / accel_num_processes(accelerator); /* one step, shared by all */
    ACCEL_CHECK(accel_loader_create(train_set, ACCEL_LOADER_OPTIONS(.batch_size = batch_size,
        .shuffle = true, .drop_last = true), &loader));
    ACCEL_CHECK(accel_loader_create(valid_set, ACCEL_LOADER_OPTIONS(.batch_size = batch_size),
                                    &valid_loader));

    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, scheduler));      /* 2 */
    ACCEL_CHECK(accel_prepare_loader(accelerator, valid_loader));

    accel_batch_t batch;
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        while (ACCEL_NEXT(loader, &batch)) {
            float loss = net_forward(&net, &batch);
            ACCEL_CHECK(accel_backward(accelerator, model));                           /* 3 */
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_scheduler_step(scheduler));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
            ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("train_loss", loss), step++));
        }
        double loss = validate(accelerator, &net, valid_loader);
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("valid_loss", loss), step));
        accel_print(accelerator, "epoch %d of %d: validation loss %.6f\n", (int)epoch + 1,
                    (int)epochs, loss);
    }

    ACCEL_CHECK(accel_artifact_create("words", "dataset", NULL, &some_artifact_to_log));
    ACCEL_CHECK(accel_artifact_add_file(some_artifact_to_log, words, "words.txt"));
    accel_tracker_t *wandb_tracker = accel_get_tracker(accelerator, "wandb");
    /* On the right process by itself: */
    ACCEL_CHECK(accel_tracker_log_artifact(wandb_tracker, some_artifact_to_log));

    ACCEL_CHECK(accel_end_training(accelerator));                                      /* 4 */
    /* [/readme] */
    /* clang-format on */
    accel_artifact_destroy(some_artifact_to_log);
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_loader_destroy(loader);
    accel_loader_destroy(valid_loader);
    accel_dataset_destroy(train_set);
    accel_dataset_destroy(valid_set);
    accel_model_destroy(model);
    accel_destroy(accelerator);
    return 0;
}
