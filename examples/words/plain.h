/* SPDX-License-Identifier: Apache-2.0 */
/* What the program needs of its own where accel does not bring it: batches, an optimizer, a
 * schedule. For one process. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>

#include "text.h"

typedef struct plain_loader plain_loader_t;

typedef struct plain_batch {
    const uint8_t *words;
    int64_t rows;
} plain_batch_t;

/* For training: in a new order each epoch, and whole batches only. */
plain_loader_t *plain_loader_create(const word_list_t *list, int64_t batch_size, bool train,
                                    uint64_t seed);
void plain_loader_destroy(plain_loader_t *loader);
void plain_loader_begin(plain_loader_t *loader);
/* false: the epoch is over. The batch is valid until the next call. */
bool plain_loader_next(plain_loader_t *loader, plain_batch_t *batch);

typedef struct plain_adamw plain_adamw_t;

plain_adamw_t *plain_adamw_create(gpt_t *gpt, double weight_decay);
void plain_adamw_destroy(plain_adamw_t *adamw);
/* Scale the gradients so that their 2-norm is at most max_norm; the norm before. */
double plain_clip_grad_norm(plain_adamw_t *adamw, double max_norm);
void plain_adamw_step(plain_adamw_t *adamw, double lr);
void plain_zero_grad(plain_adamw_t *adamw);

/* Linear up to 1 in `warmup` steps, then half a cosine down to 0. */
double plain_schedule(int64_t step, int64_t warmup, int64_t steps);

#endif
