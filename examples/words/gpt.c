/* SPDX-License-Identifier: Apache-2.0 */
/* Words differ in length, so their characters stand one after the other, n rows in all, and
 * nothing is computed for padding. Arrays are row-major; below
 *     n  characters of the batch, each a row
 *     d  width of the model
 *     h  heads, each d / h columns wide */
#include "gpt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

/* Parameters: TOKENS, POSITIONS, then those of each layer, then the last two. */
enum { TOKENS, POSITIONS, LAYERS };
enum { NORM1, QKV, PROJECTION, NORM2, UP, DOWN, PER_LAYER };

/* A layer's activations, kept for backward. */
typedef struct layer {
    float *scaled1, *deviation1, *normed1; /* [n, d], [n], [n, d] */
    float *qkv;                            /* [n, 3 d]: queries, keys, values */
    float *attention;                      /* [n, h, GPT_LENGTH]: weight of each place before */
    float *mixed;                          /* [n, d] */
    float *scaled2, *deviation2, *normed2; /* [n, d], [n], [n, d] */
    float *hidden;                         /* [n, 4 d] */
} layer_t;

struct gpt {
    gpt_options_t options;
    int num_parameters;
    gpt_parameter_t *parameters;
    layer_t *layers;
    float *x;                             /* [n, d]: the stream that every layer adds to */
    float *scaled, *deviation, *normed;   /* [n, d], [n], [n, d] */
    float *p;                             /* [n, GPT_SYMBOLS]: the prediction */
    float *dx, *dnormed, *dqkv, *dhidden; /* [n, d], [n, d], [n, 3 d], [n, 4 d] */
    uint8_t *read, *predict, *place;      /* [n]: character, the one after it, its place */
    int64_t *length;                      /* [words]: characters of each word */
    gpt_score_t *scores;                  /* [words] */
    int64_t words, rows;                  /* of the last forward */
    int64_t capacity;                     /* words that there is room for */
    float *rounded[3];                    /* operands of a product in bfloat16 */
    int64_t room[3];                      /* elements */
};

double gpt_random(uint64_t *random)
{
    uint64_t z = *random += 0x9e3779b97f4a7c15u; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static void *allocate(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);

    if (!memory) {
        fprintf(stderr, "out of memory: %lld x %zu bytes\n", (long long)count, size);
        exit(1);
    }
    return memory;
}

/* ---- parameters ---- */

/* First values: uniform with standard deviation `deviation`; 0: all ones. */
static void add(gpt_t *gpt, const char *name, int64_t rows, int64_t columns, double deviation)
{
    gpt_parameter_t *p = &gpt->parameters[gpt->num_parameters++];

    *p = (gpt_parameter_t){.rows = rows, .columns = columns};
    snprintf(p->name, sizeof(p->name), "%s", name);
    p->value = allocate(rows * columns, sizeof(float));
    p->gradient = allocate(rows * columns, sizeof(float));
    for (int64_t i = 0; i < rows * columns; i++)
        p->value[i] = deviation > 0
                          ? (float)((gpt_random(&gpt->options.seed) - 0.5) * sqrt(12) * deviation)
                          : 1;
}

static void add_layer(gpt_t *gpt, int layer)
{
    static const char *const names[] = {"norm1", "qkv", "projection", "norm2", "up", "down"};
    int64_t d = gpt->options.width;
    const int64_t rows[] = {1, 3 * d, d, 1, 4 * d, d}, columns[] = {d, d, d, d, d, 4 * d};
    char name[32];

    for (int i = 0; i < PER_LAYER; i++) {
        double deviation = i == NORM1 || i == NORM2 ? 0 : 1 / sqrt((double)columns[i]);
        if (i == PROJECTION || i == DOWN) /* what is added to the stream must not make it grow */
            deviation /= sqrt(2.0 * gpt->options.layers);
        snprintf(name, sizeof(name), "layers.%d.%s", layer, names[i]);
        add(gpt, name, rows[i], columns[i], deviation);
    }
}

gpt_t *gpt_create(const gpt_options_t *options)
{
    gpt_t *gpt = allocate(1, sizeof(*gpt));
    int64_t d = options->width;

    openblas_set_num_threads(1); /* processes, not threads, share the work */
    gpt->options = *options;
    gpt->parameters = allocate(LAYERS + PER_LAYER * options->layers + 2, sizeof(*gpt->parameters));
    gpt->layers = allocate(options->layers, sizeof(*gpt->layers));
    add(gpt, "tokens", GPT_SYMBOLS, d, 0.5);
    add(gpt, "positions", GPT_LENGTH, d, 0.5);
    for (int i = 0; i < options->layers; i++)
        add_layer(gpt, i);
    add(gpt, "norm", 1, d, 0);
    add(gpt, "head", GPT_SYMBOLS, d, 0.2 / sqrt((double)d));
    return gpt;
}

gpt_parameter_t *gpt_parameters(gpt_t *gpt, int *count)
{
    *count = gpt->num_parameters;
    return gpt->parameters;
}

/* ---- memory of the activations ---- */

static void resize(float **array, int64_t elements)
{
    free(*array);
    *array = elements > 0 ? allocate(elements, sizeof(float)) : NULL;
}

static void resize_layer(layer_t *layer, int64_t n, int64_t d, int64_t heads)
{
    resize(&layer->scaled1, n * d);
    resize(&layer->deviation1, n);
    resize(&layer->normed1, n * d);
    resize(&layer->qkv, n * 3 * d);
    resize(&layer->attention, n * heads * GPT_LENGTH);
    resize(&layer->mixed, n * d);
    resize(&layer->scaled2, n * d);
    resize(&layer->deviation2, n);
    resize(&layer->normed2, n * d);
    resize(&layer->hidden, n * 4 * d);
}

/* Room for that many words; 0 frees it. */
static void resize_all(gpt_t *gpt, int64_t words)
{
    int64_t n = words * GPT_LENGTH, d = gpt->options.width;

    for (int i = 0; i < gpt->options.layers; i++)
        resize_layer(&gpt->layers[i], n, d, gpt->options.heads);
    resize(&gpt->x, n * d);
    resize(&gpt->scaled, n * d);
    resize(&gpt->deviation, n);
    resize(&gpt->normed, n * d);
    resize(&gpt->p, n * GPT_SYMBOLS);
    resize(&gpt->dx, n * d);
    resize(&gpt->dnormed, n * d);
    resize(&gpt->dqkv, n * 3 * d);
    resize(&gpt->dhidden, n * 4 * d);
    free(gpt->read);
    free(gpt->length);
    free(gpt->scores);
    gpt->read = words ? allocate(3 * n, 1) : NULL;
    gpt->predict = words ? gpt->read + n : NULL;
    gpt->place = words ? gpt->read + 2 * n : NULL;
    gpt->length = words ? allocate(words, sizeof(*gpt->length)) : NULL;
    gpt->scores = words ? allocate(words, sizeof(*gpt->scores)) : NULL;
    gpt->capacity = words;
}

void gpt_destroy(gpt_t *gpt)
{
    resize_all(gpt, 0);
    for (int i = 0; i < gpt->num_parameters; i++) {
        free(gpt->parameters[i].value);
        free(gpt->parameters[i].gradient);
    }
    free(gpt->parameters);
    for (int i = 0; i < 3; i++)
        free(gpt->rounded[i]);
    free(gpt->layers);
    free(gpt);
}

/* ---- parts of the network; each is followed by its backward ---- */

/* Room for operand `which` of a product. */
static float *reserve(gpt_t *gpt, int which, int64_t count)
{
    if (gpt->room[which] < count) {
        free(gpt->rounded[which]);
        gpt->rounded[which] = allocate(count, sizeof(float));
        gpt->room[which] = count;
    }
    return gpt->rounded[which];
}

/* x as bfloat16 has it, to nearest even, in floats: OpenBLAS has no product of bfloat16 on most
 * processors. */
static const float *round_operand(gpt_t *gpt, int which, const float *x, int64_t count)
{
    float *rounded = reserve(gpt, which, count);

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
        memcpy(&rounded[i], &bits, sizeof(bits));
    }
    return rounded;
}

/* The matrix to multiply by. */
static const float *matrix_of(gpt_t *gpt, const gpt_parameter_t *w)
{
    int64_t count = w->rows * w->columns;
    float *wide;

    if (!w->half)
        return w->value;
    wide = reserve(gpt, 1, count);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)w->half[i] << 16;

        memcpy(&wide[i], &bits, sizeof(bits));
    }
    return wide;
}

/* y[n, out] = x[n, in] W[out, in]' + (add ? y : 0) */
static void linear(gpt_t *gpt, float *y, float add, const float *x, const gpt_parameter_t *w,
                   int64_t n)
{
    int in = (int)w->columns, out = (int)w->rows;

    if (w->half)
        x = round_operand(gpt, 0, x, n * in);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, out, in, 1, x, in,
                matrix_of(gpt, w), in, add, y, out);
}

/* dW += dy' x;  dx = dy W */
static void linear_backward(gpt_t *gpt, float *dx, const float *dy, const float *x,
                            const gpt_parameter_t *w, int64_t n)
{
    int in = (int)w->columns, out = (int)w->rows;

    if (w->half) {
        x = round_operand(gpt, 0, x, n * in);
        dy = round_operand(gpt, 2, dy, n * out);
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, (int)n, 1, dy, out, x, in, 1,
                w->gradient, in);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, in, out, 1, dy, out,
                matrix_of(gpt, w), in, 0, dx, in);
}

static float dot(const float *restrict a, const float *restrict b, int64_t count)
{
    float sum = 0;

    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* y += a x */
static void add_scaled(float *restrict y, float a, const float *restrict x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += a * x[i];
}

/* Layer norm: scaled = (x - mean) / deviation, y = gain scaled, by rows. */
static void norm(float *y, float *scaled, float *deviation, const float *x,
                 const gpt_parameter_t *gain, int64_t n)
{
    int64_t d = gain->columns;

    for (int64_t i = 0; i < n; i++, x += d, scaled += d, y += d) {
        float mean = 0, inverse;
        for (int64_t k = 0; k < d; k++)
            mean += x[k];
        mean /= (float)d;
        for (int64_t k = 0; k < d; k++)
            scaled[k] = x[k] - mean;
        deviation[i] = sqrtf(dot(scaled, scaled, d) / (float)d + 1e-5f);
        inverse = 1 / deviation[i];
        for (int64_t k = 0; k < d; k++) {
            scaled[k] *= inverse;
            y[k] = gain->value[k] * scaled[k];
        }
    }
}

/* dx += the gradient that comes through the norm. dy is used up. */
static void norm_backward(float *dx, float *dy, const float *scaled, const float *deviation,
                          const gpt_parameter_t *gain, int64_t n)
{
    int64_t d = gain->columns;

    for (int64_t i = 0; i < n; i++, dx += d, dy += d, scaled += d) {
        float mean = 0, along, inverse = 1 / deviation[i];
        for (int64_t k = 0; k < d; k++) {
            gain->gradient[k] += dy[k] * scaled[k];
            dy[k] *= gain->value[k];
            mean += dy[k];
        }
        mean /= (float)d;
        along = dot(dy, scaled, d) / (float)d;
        for (int64_t k = 0; k < d; k++)
            dx[k] += (dy[k] - mean - along * scaled[k]) * inverse;
    }
}

/* weights[0 .. count) = softmax of themselves */
static void softmax(float *weights, int64_t count)
{
    float most = weights[0], sum = 0;

    for (int64_t j = 1; j < count; j++)
        most = weights[j] > most ? weights[j] : most;
    for (int64_t j = 0; j < count; j++)
        sum += weights[j] = expf(weights[j] - most);
    for (int64_t j = 0; j < count; j++)
        weights[j] /= sum;
}

/* One head of one word of `length` characters: each looks at itself and those before it. */
static void attend(const gpt_t *gpt, layer_t *layer, int64_t row, int64_t length, int64_t head)
{
    int64_t d = gpt->options.width, heads = gpt->options.heads, columns = d / heads;
    const float *q = layer->qkv + row * 3 * d + head * columns, *k = q + d, *v = k + d;

    for (int64_t i = 0; i < length; i++) {
        float *weights = layer->attention + ((row + i) * heads + head) * GPT_LENGTH;
        float *out = layer->mixed + (row + i) * d + head * columns;
        for (int64_t j = 0; j <= i; j++)
            weights[j] = dot(q + i * 3 * d, k + j * 3 * d, columns) / sqrtf((float)columns);
        softmax(weights, i + 1);
        memset(out, 0, (size_t)columns * sizeof(*out));
        for (int64_t j = 0; j <= i; j++)
            add_scaled(out, weights[j], v + j * 3 * d, columns);
    }
}

/* From gpt->dnormed, the gradient of `mixed`, to gpt->dqkv. */
static void attend_backward(gpt_t *gpt, const layer_t *layer, int64_t row, int64_t length,
                            int64_t head)
{
    int64_t d = gpt->options.width, heads = gpt->options.heads, columns = d / heads, s = 3 * d;
    const float *q = layer->qkv + row * s + head * columns, *k = q + d, *v = k + d;
    float *dq = gpt->dqkv + row * s + head * columns, *dk = dq + d, *dv = dk + d;

    for (int64_t i = 0; i < length; i++) {
        const float *weights = layer->attention + ((row + i) * heads + head) * GPT_LENGTH;
        const float *dout = gpt->dnormed + (row + i) * d + head * columns;
        float dweights[GPT_LENGTH], along = 0;
        for (int64_t j = 0; j <= i; j++) {
            dweights[j] = dot(dout, v + j * s, columns);
            along += weights[j] * dweights[j];
            add_scaled(dv + j * s, weights[j], dout, columns);
        }
        for (int64_t j = 0; j <= i; j++) {
            float dscore = weights[j] * (dweights[j] - along) / sqrtf((float)columns);
            add_scaled(dq + i * s, dscore, k + j * s, columns);
            add_scaled(dk + j * s, dscore, q + i * s, columns);
        }
    }
}

/* ---- forward ---- */

/* Lay the words' characters one after the other. */
static void lay_out(gpt_t *gpt, const uint8_t *words, int64_t count)
{
    int64_t n = 0;

    if (count > gpt->capacity)
        resize_all(gpt, count);
    for (int64_t w = 0; w < count; w++, words += GPT_LENGTH) {
        int64_t begin = n;
        do {
            gpt->place[n] = (uint8_t)(n - begin);
            gpt->read[n] = n == begin ? 0 : words[n - begin - 1];
            gpt->predict[n] = words[n - begin];
        } while (gpt->predict[n++] != 0);
        gpt->length[w] = n - begin;
    }
    gpt->words = count;
    gpt->rows = n;
}

static void embed(gpt_t *gpt)
{
    int64_t d = gpt->options.width;

    for (int64_t i = 0; i < gpt->rows; i++) {
        const float *token = gpt->parameters[TOKENS].value + gpt->read[i] * d;
        const float *position = gpt->parameters[POSITIONS].value + gpt->place[i] * d;
        for (int64_t k = 0; k < d; k++)
            gpt->x[i * d + k] = token[k] + position[k];
    }
}

static void layer_forward(gpt_t *gpt, int index)
{
    layer_t *layer = &gpt->layers[index];
    const gpt_parameter_t *p = &gpt->parameters[LAYERS + index * PER_LAYER];
    int64_t n = gpt->rows, row = 0;

    norm(layer->normed1, layer->scaled1, layer->deviation1, gpt->x, &p[NORM1], n);
    linear(gpt, layer->qkv, 0, layer->normed1, &p[QKV], n);
    for (int64_t w = 0; w < gpt->words; row += gpt->length[w++])
        for (int64_t head = 0; head < gpt->options.heads; head++)
            attend(gpt, layer, row, gpt->length[w], head);
    linear(gpt, gpt->x, 1, layer->mixed, &p[PROJECTION], n);

    norm(layer->normed2, layer->scaled2, layer->deviation2, gpt->x, &p[NORM2], n);
    linear(gpt, layer->hidden, 0, layer->normed2, &p[UP], n);
    for (int64_t i = 0; i < n * p[UP].rows; i++)
        layer->hidden[i] = layer->hidden[i] > 0 ? layer->hidden[i] : 0;
    linear(gpt, gpt->x, 1, layer->hidden, &p[DOWN], n);
}

/* What a character's loss counts in that of the batch: see gpt.h. */
static double weight(const gpt_t *gpt)
{
    return 1 / ((double)gpt->words * gpt->options.characters);
}

double gpt_forward(gpt_t *gpt, const uint8_t *words, int64_t count)
{
    const gpt_parameter_t *last;
    double nats = 0;
    int64_t row = 0;

    lay_out(gpt, words, count);
    embed(gpt);
    for (int i = 0; i < gpt->options.layers; i++)
        layer_forward(gpt, i);
    last = &gpt->parameters[gpt->num_parameters - 2];
    norm(gpt->normed, gpt->scaled, gpt->deviation, gpt->x, &last[0], gpt->rows);
    linear(gpt, gpt->p, 0, gpt->normed, &last[1], gpt->rows);
    for (int64_t w = 0; w < count; w++) {
        gpt->scores[w] = (gpt_score_t){0, (float)gpt->length[w]};
        for (int64_t i = 0; i < gpt->length[w]; i++, row++) {
            float *p = gpt->p + row * GPT_SYMBOLS;
            softmax(p, GPT_SYMBOLS);
            gpt->scores[w].nats -= logf(p[gpt->predict[row]] + 1e-30f);
        }
        nats += (double)gpt->scores[w].nats;
    }
    return nats * weight(gpt);
}

const gpt_score_t *gpt_scores(const gpt_t *gpt)
{
    return gpt->scores;
}

/* ---- backward ---- */

static void layer_backward(gpt_t *gpt, int index)
{
    const layer_t *layer = &gpt->layers[index];
    const gpt_parameter_t *p = &gpt->parameters[LAYERS + index * PER_LAYER];
    int64_t n = gpt->rows, row = 0, width = gpt->options.width;

    linear_backward(gpt, gpt->dhidden, gpt->dx, layer->hidden, &p[DOWN], n);
    for (int64_t i = 0; i < n * p[UP].rows; i++)
        gpt->dhidden[i] = layer->hidden[i] > 0 ? gpt->dhidden[i] : 0;
    linear_backward(gpt, gpt->dnormed, gpt->dhidden, layer->normed2, &p[UP], n);
    norm_backward(gpt->dx, gpt->dnormed, layer->scaled2, layer->deviation2, &p[NORM2], n);

    linear_backward(gpt, gpt->dnormed, gpt->dx, layer->mixed, &p[PROJECTION], n);
    memset(gpt->dqkv, 0, (size_t)(n * 3 * width) * sizeof(*gpt->dqkv));
    for (int64_t w = 0; w < gpt->words; row += gpt->length[w++])
        for (int64_t head = 0; head < gpt->options.heads; head++)
            attend_backward(gpt, layer, row, gpt->length[w], head);
    linear_backward(gpt, gpt->dnormed, gpt->dqkv, layer->normed1, &p[QKV], n);
    norm_backward(gpt->dx, gpt->dnormed, layer->scaled1, layer->deviation1, &p[NORM1], n);
}

void gpt_backward(gpt_t *gpt, double scale)
{
    const gpt_parameter_t *last = &gpt->parameters[gpt->num_parameters - 2];
    int64_t n = gpt->rows, d = gpt->options.width;
    float each = (float)(scale * weight(gpt));

    for (int64_t i = 0; i < n; i++) {
        float *p = gpt->p + i * GPT_SYMBOLS; /* becomes the gradient before the softmax */
        p[gpt->predict[i]] -= 1;
        for (int64_t k = 0; k < GPT_SYMBOLS; k++)
            p[k] *= each;
    }
    linear_backward(gpt, gpt->dnormed, gpt->p, gpt->normed, &last[1], n);
    memset(gpt->dx, 0, (size_t)(n * d) * sizeof(*gpt->dx));
    norm_backward(gpt->dx, gpt->dnormed, gpt->scaled, gpt->deviation, &last[0], n);
    for (int i = gpt->options.layers - 1; i >= 0; i--)
        layer_backward(gpt, i);
    for (int64_t i = 0; i < n; i++) {
        add_scaled(gpt->parameters[TOKENS].gradient + gpt->read[i] * d, 1, gpt->dx + i * d, d);
        add_scaled(gpt->parameters[POSITIONS].gradient + gpt->place[i] * d, 1, gpt->dx + i * d, d);
    }
}

/* ---- inventing ---- */

/* One of GPT_SYMBOLS by their probabilities to the power of 1 / temperature. */
static uint8_t draw(const float *p, double temperature, uint64_t *random)
{
    double weights[GPT_SYMBOLS], left = 0;
    int k;

    for (k = 0; k < GPT_SYMBOLS; k++)
        left += weights[k] = pow((double)p[k], 1 / temperature);
    left *= gpt_random(random);
    for (k = 0; k < GPT_SYMBOLS - 1 && left >= weights[k]; k++)
        left -= weights[k];
    return (uint8_t)k;
}

void gpt_invent(gpt_t *gpt, double temperature, uint64_t *random, char word[GPT_LENGTH])
{
    uint8_t letters[GPT_LENGTH] = {0};
    int64_t i;

    for (i = 0; i < GPT_LENGTH - 1; i++) {
        gpt_forward(gpt, letters, 1);
        letters[i] = draw(gpt->p + i * GPT_SYMBOLS, temperature, random);
        if (letters[i] == 0)
            break;
        word[i] = (char)('a' + letters[i] - 1);
    }
    word[i] = '\0';
}
