/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of a thread's time, for the profile. Any room may mark one; while nobody records, begin
 * and end read one variable of the thread. */
#ifndef ACCEL_BASE_SPAN_H
#define ACCEL_BASE_SPAN_H

#include "base/base.h"

#define ACCEL__SPAN_DEPTH 32

typedef struct accel__span {
    const char *name; /* borrowed */
    uint64_t begin, end;
    int32_t depth;
} accel__span_t;

/* What a thread records into: made by the profile, which alone reads it. */
typedef struct accel__spans {
    accel__span_t *spans; /* finished ones, by their ends */
    size_t count, capacity, limit;
    size_t dropped; /* did not fit in, or there was no memory */
    bool recording; /* else the open ones are tracked, and nothing is kept */
    accel__span_t open[ACCEL__SPAN_DEPTH];
    int32_t depth; /* of open ones; those beyond ACCEL__SPAN_DEPTH are only counted */
} accel__spans_t;

/* Record this thread's spans into `spans`; NULL: no longer. False if somebody records already. */
bool accel__spans_attach(accel__spans_t *spans);

void accel__span_begin(const char *name);
void accel__span_end(void);

/* A finished span that was not opened: a step of the loop. */
void accel__spans_add(accel__spans_t *spans, const char *name, uint64_t begin, uint64_t end);

#endif
