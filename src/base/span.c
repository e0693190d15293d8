/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span.h"

#include <stdlib.h>

static _Thread_local accel__spans_t *active;

bool accel__spans_attach(accel__spans_t *spans)
{
    if (spans && active)
        return false;
    active = spans;
    return true;
}

static void add(accel__spans_t *spans, const accel__span_t *span)
{
    size_t capacity = spans->capacity ? spans->capacity * 2 : 1024;
    accel__span_t *grown;

    if (!spans->recording)
        return;
    if (spans->count == spans->capacity && spans->count < spans->limit) {
        capacity = capacity < spans->limit ? capacity : spans->limit;
        grown = realloc(spans->spans, capacity * sizeof(*grown));
        if (grown) {
            spans->spans = grown;
            spans->capacity = capacity;
        }
    }
    if (spans->count < spans->capacity)
        spans->spans[spans->count++] = *span;
    else
        spans->dropped++;
}

void accel__spans_add(accel__spans_t *spans, const char *name, uint64_t begin, uint64_t end)
{
    accel__span_t span = {.name = name, .begin = begin, .end = end, .depth = -1};

    add(spans, &span);
}

void accel__span_begin(const char *name)
{
    accel__spans_t *spans = active;

    if (!spans)
        return;
    if (spans->depth < ACCEL__SPAN_DEPTH)
        spans->open[spans->depth] =
            (accel__span_t){.name = name, .begin = accel__clock_ns(), .depth = spans->depth};
    spans->depth++;
}

void accel__span_end(void)
{
    accel__spans_t *spans = active;

    if (!spans || spans->depth == 0)
        return;
    spans->depth--;
    if (spans->depth >= ACCEL__SPAN_DEPTH)
        return;
    spans->open[spans->depth].end = accel__clock_ns();
    add(spans, &spans->open[spans->depth]);
}
