/* SPDX-License-Identifier: Apache-2.0 */
/* What the training tests train: tanh(x W1 + b1) W2 + b2 against a smooth target, by plain
 * loops. Every parameter has a gradient that is not zero by structure. */
#ifndef ACCEL_TESTS_TRAIN_NET_H
#define ACCEL_TESTS_TRAIN_NET_H

#include "base/base.h"
#include "test.h"

enum { NET_IN = 40, NET_HIDDEN = 80, NET_OUT = 5, NET_PARAMS = 4, NET_SAMPLES = 120 };

typedef struct net {
    void *parameters[NET_PARAMS], *gradients[NET_PARAMS]; /* what is registered */
    void *blocks[2 * NET_PARAMS];                         /* what was allocated */
    accel_dtype_t dtypes[NET_PARAMS], gradient_dtypes[NET_PARAMS];
    int64_t first, count; /* the samples of the next backward */
    bool fail;            /* let the backward fail */
} net_t;

static const char *const net_names[NET_PARAMS] = {"fc1.weight", "fc1.bias", "fc2.weight",
                                                  "fc2.bias"};
static const int64_t net_shapes[NET_PARAMS][2] = {
    {NET_IN, NET_HIDDEN}, {NET_HIDDEN, 1}, {NET_HIDDEN, NET_OUT}, {NET_OUT, 1}};

static inline size_t net_size(int i)
{
    return (size_t)(net_shapes[i][0] * net_shapes[i][1]);
}

/* Elements of any float type, as double. */
static inline double net_load(accel_dtype_t dtype, const void *values, size_t at)
{
    if (dtype == ACCEL_F64)
        return ((const double *)values)[at];
    if (dtype == ACCEL_F32)
        return (double)((const float *)values)[at];
    return (double)(dtype == ACCEL_BF16 ? accel__bf16_to_f32(((const uint16_t *)values)[at])
                                        : accel__f16_to_f32(((const uint16_t *)values)[at]));
}

static inline void net_store(accel_dtype_t dtype, void *values, size_t at, double value)
{
    if (dtype == ACCEL_F64)
        ((double *)values)[at] = value;
    else if (dtype == ACCEL_F32)
        ((float *)values)[at] = (float)value;
    else
        ((uint16_t *)values)[at] = dtype == ACCEL_BF16 ? accel__f32_to_bf16((float)value)
                                                       : accel__f32_to_f16((float)value);
}

static inline double net_get(const net_t *net, int i, const void *values, size_t at)
{
    return net_load(net->dtypes[i], values, at);
}

static inline void net_set(const net_t *net, int i, void *values, size_t at, double value)
{
    net_store(net->dtypes[i], values, at, value);
}

static inline double net_value(const net_t *net, int i, size_t at)
{
    return net_get(net, i, net->parameters[i], at);
}

/* `seed` makes other values: only rank 0's may count once prepared. */
static inline void net_init(net_t *net, accel_dtype_t first, accel_dtype_t second, double seed)
{
    *net = (net_t){.dtypes = {first, second, second, first},
                   .gradient_dtypes = {first, second, second, first}};
    for (int i = 0; i < NET_PARAMS; i++) {
        size_t bytes = net_size(i) * accel_dtype_size(net->dtypes[i]);

        net->parameters[i] = net->blocks[i] = malloc(bytes);
        net->gradients[i] = net->blocks[NET_PARAMS + i] = calloc(net_size(i), sizeof(double));
        CHECK(net->parameters[i] && net->gradients[i]);
        for (size_t at = 0; at < net_size(i); at++)
            net_set(net, i, net->parameters[i], at, 0.3 * sin(1.7 * (double)at + (double)i + seed));
    }
}

static inline void net_free(net_t *net)
{
    for (int i = 0; i < 2 * NET_PARAMS; i++)
        free(net->blocks[i]);
}

static inline double net_input(int64_t sample, int at)
{
    return sin(0.37 * (double)sample + 0.61 * (double)at * (1 + 0.01 * (double)sample));
}

static inline double net_target(int64_t sample, int at)
{
    return cos(0.21 * (double)sample + (double)at);
}

/* Of one kind, all parameters as double: the arithmetic is double whatever the dtypes are. */
typedef struct net_values {
    double w1[NET_IN][NET_HIDDEN], b1[NET_HIDDEN], w2[NET_HIDDEN][NET_OUT], b2[NET_OUT];
} net_values_t;

static inline double *net_part(net_values_t *values, int i)
{
    double *parts[NET_PARAMS] = {values->w1[0], values->b1, values->w2[0], values->b2};

    return parts[i];
}

/* Add one sample's part of scale * d(mean square error)/dparameters to `g`. */
static inline void net_sample(const net_values_t *p, net_values_t *g, int64_t sample, double scale)
{
    double hidden[NET_HIDDEN], delta[NET_HIDDEN] = {0};

    memcpy(hidden, p->b1, sizeof(hidden));
    for (int x = 0; x < NET_IN; x++) {
        double input = net_input(sample, x);

        for (int h = 0; h < NET_HIDDEN; h++)
            hidden[h] += input * p->w1[x][h];
    }
    for (int h = 0; h < NET_HIDDEN; h++)
        hidden[h] = tanh(hidden[h]);
    for (int o = 0; o < NET_OUT; o++) {
        double error = p->b2[o] - net_target(sample, o);

        for (int h = 0; h < NET_HIDDEN; h++)
            error += hidden[h] * p->w2[h][o];
        error *= scale * 2 / NET_OUT;
        g->b2[o] += error;
        for (int h = 0; h < NET_HIDDEN; h++) {
            g->w2[h][o] += error * hidden[h];
            delta[h] += error * p->w2[h][o];
        }
    }
    for (int h = 0; h < NET_HIDDEN; h++) {
        delta[h] *= 1 - hidden[h] * hidden[h];
        g->b1[h] += delta[h];
    }
    for (int x = 0; x < NET_IN; x++) {
        double input = net_input(sample, x);

        for (int h = 0; h < NET_HIDDEN; h++)
            g->w1[x][h] += input * delta[h];
    }
}

/* The model's backward: the mean over net->count samples. */
static inline accel_status_t net_backward(void *context, double scale)
{
    net_t *net = context;
    net_values_t p, g = {.b2 = {0}};

    if (net->fail)
        return accel_fail(ACCEL_ERR_IO, "the sample is on fire");
    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            net_part(&p, i)[at] = net_value(net, i, at);
    for (int64_t i = 0; i < net->count; i++)
        net_sample(&p, &g, (net->first + i) % NET_SAMPLES, scale / (double)net->count);
    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++)
            net_store(net->gradient_dtypes[i], net->gradients[i], at,
                      net_load(net->gradient_dtypes[i], net->gradients[i], at) +
                          net_part(&g, i)[at]);
    return ACCEL_OK;
}

static inline accel_model_t *net_model(net_t *net, accel_model_options_t options)
{
    accel_model_t *model;

    options.backward = net_backward;
    options.context = net;
    CHECK_OK(accel_model_create(&options, &model));
    for (int i = 0; i < NET_PARAMS; i++) {
        CHECK_OK(accel_model_add(model, net_names[i], net->dtypes[i], 2, net_shapes[i],
                                 &net->parameters[i], &net->gradients[i]));
        if (net->gradient_dtypes[i] != net->dtypes[i])
            CHECK_OK(accel_model_set_gradient_dtype(model, net_names[i], net->gradient_dtypes[i]));
    }
    return model;
}

/* max |a - b| <= tolerance * max |a|, over all parameters of both. */
static inline void net_check_equal(const net_t *a, const net_t *b, double tolerance,
                                   const char *what)
{
    double largest = 0, difference = 0;

    for (int i = 0; i < NET_PARAMS; i++)
        for (size_t at = 0; at < net_size(i); at++) {
            double value = net_value(a, i, at);

            largest = fmax(largest, fabs(value));
            difference = fmax(difference, fabs(value - net_value(b, i, at)));
        }
    if (!(difference <= tolerance * largest) || !(largest > 0.1))
        test_fail(__FILE__, __LINE__, "%s: parameters differ by %g of %g (%g); allowed %g", what,
                  difference, largest, difference / largest, tolerance);
}

static inline bool net_same_bytes(const net_t *a, const net_t *b)
{
    for (int i = 0; i < NET_PARAMS; i++)
        if (memcmp(a->parameters[i], b->parameters[i],
                   net_size(i) * accel_dtype_size(a->dtypes[i])) != 0)
            return false;
    return true;
}

#endif
