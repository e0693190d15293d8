/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of words, and how well counting letters predicts them. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "gpt.h"

typedef uint8_t word_t[GPT_LENGTH]; /* letters 1 .. 26, then zeros */

typedef struct word_list {
    word_t *words; /* sorted, each once */
    int64_t count;
} word_list_t;

/* Read the words of a file into two lists: about every tenth, chosen by its letters, is for
 * validation. What is not a-z (case does not matter) or too long is left out. If there are
 * fewer than a hundred, or no file, it says so and ends the program. */
void text_read(const char *path, word_list_t *train, word_list_t *valid);

bool text_has(const word_list_t *list, const char *word);

/* Characters of all words, their ends included. */
int64_t text_characters(const word_list_t *list);

/* Nats per character of `valid` by an n-gram (n <= 4) of `train`, interpolated with the shorter
 * ones as Witten and Bell do: P_n = (count + kinds P_{n-1}) / (total + kinds), where `kinds` is
 * how many different characters followed the context. */
double text_ngram_loss(const word_list_t *train, const word_list_t *valid, int n);

#endif
