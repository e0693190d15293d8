/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool reserve(accel__wandb_sample_t *sample)
{
    if (sample->count < sample->capacity)
        return true;
    size_t capacity = sample->capacity * 2 + 32;
    accel__wandb_measure_t *grown = realloc(sample->measures, capacity * sizeof(*grown));
    if (!grown)
        return false;
    sample->measures = grown;
    sample->capacity = capacity;
    return true;
}

void accel__wandb_sample_add(accel__wandb_sample_t *sample, double value, const char *format, ...)
{
    va_list arguments;
    char *key = NULL;
    if (!isfinite(value) || !reserve(sample))
        return;
    va_start(arguments, format);
    if (vasprintf(&key, format, arguments) >= 0)
        sample->measures[sample->count++] = (accel__wandb_measure_t){key, value};
    va_end(arguments);
}

void accel__wandb_sample_free(accel__wandb_sample_t *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        free(sample->measures[i].key);
    free(sample->measures);
    *sample = (accel__wandb_sample_t){0};
}
