/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of datasets share. */
#ifndef ACCEL_DATA_DATASET_H
#define ACCEL_DATA_DATASET_H

#include <accel/data.h>

#include "base/base.h"

typedef struct accel__field {
    char *name;
    accel_dtype_t dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM - 1];
    size_t size; /* bytes of one sample's field */
} accel__field_t;

struct accel_dataset {
    int64_t length;
    int32_t num_fields;
    accel__field_t *fields;
    const char *what; /* for messages: "the callback dataset" */
    accel_sample_fn get;
    void *context;
    bool in_memory; /* a sample is a copy: not worth a thread */
    /* Before each batch; NULL: nothing to check. */
    accel_status_t (*check)(void *context);
    void (*destroy)(void *context); /* NULL: the context is the caller's */
};

/* A dataset without samples and callbacks yet; checks the fields and copies them. On an
 * error *dataset is NULL. */
accel_status_t accel__dataset_init(const char *what, const accel_field_t *fields,
                                   int32_t num_fields, accel_dataset_t **dataset);

/* Fill one sample in; the error names the sample. */
accel_status_t accel__dataset_get(const accel_dataset_t *dataset, int64_t index,
                                  void *const *fields);

#endif
