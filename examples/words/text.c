/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_WORDS = 100, MOST_ORDER = 4 };

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(word_t));
}

/* false: not a word that the model can spell */
static bool encode(const char *text, word_t word)
{
    size_t length = strlen(text);

    memset(word, 0, sizeof(word_t));
    if (length == 0 || length >= sizeof(word_t))
        return false;
    for (size_t i = 0; i < length; i++) {
        int letter = tolower((unsigned char)text[i]);
        if (letter < 'a' || letter > 'z')
            return false;
        word[i] = (uint8_t)(letter - 'a' + 1);
    }
    return true;
}

static void append(word_list_t *list, const word_t word)
{
    if ((list->count & (list->count - 1)) == 0) { /* full at every power of two */
        size_t room = list->count ? 2 * (size_t)list->count : 1;
        list->words = realloc(list->words, room * sizeof(word_t));
        if (!list->words) {
            fprintf(stderr, "out of memory: %zu words\n", room);
            exit(1);
        }
    }
    memcpy(list->words[list->count++], word, sizeof(word_t));
}

/* By the word alone, so that no other word of the list moves it to the other side. */
static bool is_for_validation(const word_t word)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < sizeof(word_t); i++)
        hash = (hash ^ word[i]) * 16777619u;
    return (hash >> 8) % 10 == 0;
}

static word_list_t read_all(const char *path)
{
    word_list_t all = {0};
    FILE *file = fopen(path, "r");
    char text[64];
    word_t word;

    /* A longer run of characters comes in pieces of 63, which are too long as well. */
    while (file && fscanf(file, "%63s", text) == 1)
        if (encode(text, word))
            append(&all, word);
    if (!file || ferror(file)) {
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
        exit(1);
    }
    fclose(file);
    return all;
}

void text_read(const char *path, word_list_t *train, word_list_t *valid)
{
    word_list_t all = read_all(path);

    *train = *valid = (word_list_t){0};
    if (all.count > 0)
        qsort(all.words, (size_t)all.count, sizeof(word_t), compare);
    for (int64_t i = 0; i < all.count; i++)
        if (i == 0 || compare(all.words[i - 1], all.words[i]) != 0)
            append(is_for_validation(all.words[i]) ? valid : train, all.words[i]);
    free(all.words);
    if (train->count + valid->count < LEAST_WORDS || valid->count == 0) {
        fprintf(stderr,
                "%s: %lld different words of a-z with less than %d letters; at least %d "
                "are needed\n",
                path, (long long)(train->count + valid->count), GPT_LENGTH, LEAST_WORDS);
        exit(1);
    }
}

bool text_has(const word_list_t *list, const char *word)
{
    word_t key;

    return encode(word, key) &&
           bsearch(key, list->words, (size_t)list->count, sizeof(word_t), compare) != NULL;
}

int64_t text_characters(const word_list_t *list)
{
    int64_t characters = 0;

    for (int64_t i = 0; i < list->count; i++)
        characters += (int64_t)strlen((const char *)list->words[i]) + 1;
    return characters;
}

/* ---- n-grams ---- */

/* counts[k][context][c]: how often c came after the k characters of the context. */
typedef struct ngram {
    int32_t *counts[MOST_ORDER];
} ngram_t;

/* Where in counts[k] the context before character `at` of a word is. Before the word: zeros. */
static int64_t context_of(const word_t word, int at, int k)
{
    int64_t context = 0;

    for (int i = at - k; i < at; i++)
        context = context * GPT_SYMBOLS + (i < 0 ? 0 : word[i]);
    return context * GPT_SYMBOLS;
}

static void count(ngram_t *ngram, const word_t word, int n)
{
    int at = 0;

    do {
        for (int k = 0; k < n; k++)
            ngram->counts[k][context_of(word, at, k) + word[at]]++;
    } while (word[at++] != 0);
}

static double probability(const ngram_t *ngram, const word_t word, int at, int n)
{
    double p = 1.0 / GPT_SYMBOLS;

    for (int k = 0; k < n; k++) {
        const int32_t *counts = ngram->counts[k] + context_of(word, at, k);
        double total = 0, kinds = 0;
        for (int c = 0; c < GPT_SYMBOLS; c++) {
            total += counts[c];
            kinds += counts[c] > 0;
        }
        if (total > 0)
            p = (counts[word[at]] + kinds * p) / (total + kinds);
    }
    return p;
}

double text_ngram_loss(const word_list_t *train, const word_list_t *valid, int n)
{
    ngram_t ngram = {{NULL}};
    size_t size = GPT_SYMBOLS;
    double nats = 0;

    for (int k = 0; k < n; k++, size *= GPT_SYMBOLS) {
        ngram.counts[k] = calloc(size, sizeof(int32_t));
        if (!ngram.counts[k]) {
            fprintf(stderr, "out of memory: counts of %zu contexts\n", size);
            exit(1);
        }
    }
    for (int64_t i = 0; i < train->count; i++)
        count(&ngram, train->words[i], n);
    for (int64_t i = 0; i < valid->count; i++) {
        int at = 0;
        do {
            nats -= log(probability(&ngram, valid->words[i], at, n));
        } while (valid->words[i][at++] != 0);
    }
    for (int k = 0; k < n; k++)
        free(ngram.counts[k]);
    return nats / (double)text_characters(valid);
}
