/* SPDX-License-Identifier: Apache-2.0 */
/* A small GPT that spells words: forward and backward in plain C on OpenBLAS.
 *
 * A word is GPT_LENGTH bytes: its letters as 1 .. 26, then zeros, at least one. The model reads
 * a 0 and the letters, and predicts the letters and the 0 that ends the word. */
#ifndef GPT_H
#define GPT_H

#include <stdint.h>

enum { GPT_LENGTH = 16, GPT_SYMBOLS = 27 };

typedef struct gpt_options {
    int layers, width, heads; /* heads divide the width */
    uint64_t seed;            /* of the first values */
    double characters;        /* of a mean word, its end included: see gpt_forward() */
} gpt_options_t;

typedef struct gpt_parameter {
    char name[32];
    int64_t rows, columns;
    float *value, *gradient;
    uint16_t *half; /* the values in bfloat16, to multiply matrices by; NULL: there are none */
} gpt_parameter_t;

typedef struct gpt gpt_t;

/* What the last gpt_forward() found about one word. */
typedef struct gpt_score {
    float nats, characters; /* summed; characters include the word's end */
} gpt_score_t;

gpt_t *gpt_create(const gpt_options_t *options);
void gpt_destroy(gpt_t *gpt);

/* All parameters, the caller's to update; a parameter's value and gradient may be pointed
 * elsewhere, until they are pointed back. */
gpt_parameter_t *gpt_parameters(gpt_t *gpt, int *count);

/* Loss of `count` words in nats per character: the sum over their characters, divided by
 * count x options.characters. So each word weighs the same in every batch, and the mean of
 * several batches' losses is the loss of them together. */
double gpt_forward(gpt_t *gpt, const uint8_t *words, int64_t count);

/* Add scale x dloss/dparameter of the last forward to the gradients. */
void gpt_backward(gpt_t *gpt, double scale);

/* One for each word of the last forward. */
const gpt_score_t *gpt_scores(const gpt_t *gpt);

/* Write a new word, letter by letter, as the model sees fit: below a temperature of 1 it takes
 * fewer risks. */
void gpt_invent(gpt_t *gpt, double temperature, uint64_t *random, char word[GPT_LENGTH]);

/* The next random number in [0, 1). */
double gpt_random(uint64_t *random);

#endif
