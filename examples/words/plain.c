/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);

    if (!memory) {
        fprintf(stderr, "out of memory: %lld x %zu bytes\n", (long long)count, size);
        exit(1);
    }
    return memory;
}

/* ---- batches ---- */

struct plain_loader {
    const word_list_t *list;
    int64_t batch_size;
    bool train;
    uint64_t seed;
    int64_t position, *order;
    word_t *batch;
};

plain_loader_t *plain_loader_create(const word_list_t *list, int64_t batch_size, bool train,
                                    uint64_t seed)
{
    plain_loader_t *loader = allocate(1, sizeof(*loader));

    *loader =
        (plain_loader_t){.list = list, .batch_size = batch_size, .train = train, .seed = seed};
    loader->order = allocate(list->count, sizeof(*loader->order));
    loader->batch = allocate(batch_size, sizeof(*loader->batch));
    for (int64_t i = 0; i < list->count; i++)
        loader->order[i] = i;
    return loader;
}

void plain_loader_destroy(plain_loader_t *loader)
{
    free(loader->order);
    free(loader->batch);
    free(loader);
}

void plain_loader_begin(plain_loader_t *loader)
{
    loader->position = 0;
    for (int64_t i = loader->train ? loader->list->count - 1 : 0; i > 0; i--) {
        int64_t j = (int64_t)(gpt_random(&loader->seed) * (double)(i + 1)), at = loader->order[i];
        loader->order[i] = loader->order[j];
        loader->order[j] = at;
    }
}

bool plain_loader_next(plain_loader_t *loader, plain_batch_t *batch)
{
    int64_t left = loader->list->count - loader->position;
    int64_t rows = left < loader->batch_size ? left : loader->batch_size;

    if (rows == 0 || (loader->train && rows < loader->batch_size))
        return false;
    for (int64_t i = 0; i < rows; i++)
        memcpy(loader->batch[i], loader->list->words[loader->order[loader->position++]],
               sizeof(word_t));
    *batch = (plain_batch_t){loader->batch[0], rows};
    return true;
}

/* ---- AdamW (Loshchilov and Hutter 2019) ---- */

struct plain_adamw {
    gpt_parameter_t *parameters;
    int num_parameters;
    double weight_decay;
    int64_t steps;
    float **m, **v;
};

plain_adamw_t *plain_adamw_create(gpt_t *gpt, double weight_decay)
{
    plain_adamw_t *adamw = allocate(1, sizeof(*adamw));

    adamw->weight_decay = weight_decay;
    adamw->parameters = gpt_parameters(gpt, &adamw->num_parameters);
    adamw->m = allocate(adamw->num_parameters, sizeof(*adamw->m));
    adamw->v = allocate(adamw->num_parameters, sizeof(*adamw->v));
    for (int i = 0; i < adamw->num_parameters; i++) {
        int64_t size = adamw->parameters[i].rows * adamw->parameters[i].columns;
        adamw->m[i] = allocate(size, sizeof(float));
        adamw->v[i] = allocate(size, sizeof(float));
    }
    return adamw;
}

void plain_adamw_destroy(plain_adamw_t *adamw)
{
    for (int i = 0; i < adamw->num_parameters; i++) {
        free(adamw->m[i]);
        free(adamw->v[i]);
    }
    free(adamw->m);
    free(adamw->v);
    free(adamw);
}

double plain_clip_grad_norm(plain_adamw_t *adamw, double max_norm)
{
    double squares = 0, factor;

    for (int i = 0; i < adamw->num_parameters; i++) {
        const gpt_parameter_t *p = &adamw->parameters[i];
        for (int64_t k = 0; k < p->rows * p->columns; k++)
            squares += (double)p->gradient[k] * (double)p->gradient[k];
    }
    factor = max_norm / (sqrt(squares) + 1e-6);
    for (int i = 0; i < adamw->num_parameters && factor < 1; i++) {
        const gpt_parameter_t *p = &adamw->parameters[i];
        for (int64_t k = 0; k < p->rows * p->columns; k++)
            p->gradient[k] *= (float)factor;
    }
    return sqrt(squares);
}

void plain_adamw_step(plain_adamw_t *adamw, double lr)
{
    const float beta1 = 0.9f, beta2 = 0.99f, decay = (float)(1 - lr * adamw->weight_decay);
    double t = (double)++adamw->steps;
    float rate = (float)(lr / (1 - pow(0.9, t))), root = (float)sqrt(1 - pow(0.99, t));

    for (int i = 0; i < adamw->num_parameters; i++) {
        const gpt_parameter_t *p = &adamw->parameters[i];
        float *m = adamw->m[i], *v = adamw->v[i];
        for (int64_t k = 0; k < p->rows * p->columns; k++) {
            float g = p->gradient[k];
            m[k] = beta1 * m[k] + (1 - beta1) * g;
            v[k] = beta2 * v[k] + (1 - beta2) * g * g;
            p->value[k] = decay * p->value[k] - rate * m[k] / (sqrtf(v[k]) / root + 1e-8f);
        }
    }
}

void plain_zero_grad(plain_adamw_t *adamw)
{
    for (int i = 0; i < adamw->num_parameters; i++) {
        const gpt_parameter_t *p = &adamw->parameters[i];
        memset(p->gradient, 0, (size_t)(p->rows * p->columns) * sizeof(float));
    }
}

double plain_schedule(int64_t step, int64_t warmup, int64_t steps)
{
    if (step < warmup)
        return (double)step / (double)warmup;
    return (1 + cos(acos(-1) * (double)(step - warmup) / (double)(steps - warmup))) / 2;
}
