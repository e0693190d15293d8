/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of datasets share. */
#ifndef ACCEL_DATA_DATASET_H
#define ACCEL_DATA_DATASET_H

#include <accel/dataset.h>

#include "base/base.h"

typedef struct accel__field {
    char *name;
    accel_dtype_t dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM - 1];
    bool varies; /* some extent is ACCEL_VARIES */
    size_t size; /* bytes of one sample's field; 0 if it varies */
} accel__field_t;

struct accel_dataset {
    int64_t length; /* -1: not known */
    int32_t num_fields;
    accel__field_t *fields;
    const char *what; /* for messages: "the dataset's callback" */

    /* How samples are had: one of these. `run` reads consecutive ones into places[f] onwards;
     * with sizes that do not vary. */
    accel_sample_fn get;
    accel_varying_sample_fn get_varying;
    accel_status_t (*run)(void *context, int64_t index, int64_t count, void *const *places);
    accel_stream_next_fn next;
    accel_varying_stream_next_fn next_varying;

    accel_stream_begin_fn begin; /* of a stream; NULL: map-style */
    void *context;
    bool in_memory;                 /* a sample is a copy: not worth a thread */
    void (*destroy)(void *context); /* NULL: the context is the caller's */
};

/* Fields, for a dataset or for batches: check them and copy them. On an error *fields is NULL. */
accel_status_t accel__fields_copy(const char *what, const accel_field_t *fields, int32_t num_fields,
                                  accel__field_t **copy);
void accel__fields_free(accel__field_t *fields, int32_t num_fields);
bool accel__fields_vary(const accel__field_t *fields, int32_t num_fields);

/* Does `shape` fit the field? Then *size are its bytes. `what` is for the message. */
accel_status_t accel__field_measure(const accel__field_t *field, const int64_t *shape,
                                    const char *what, size_t *size);

/* A dataset without samples and callbacks yet. On an error *dataset is NULL. */
accel_status_t accel__dataset_init(const char *what, const accel_field_t *fields,
                                   int32_t num_fields, accel_dataset_t **dataset);

/* A callback's status, made one line that names the sample. `failures` is what
 * accel__failures() was before: a callback may fail with a line of its own, or with a bare
 * status. */
accel_status_t accel__dataset_fail(const accel_dataset_t *dataset, int64_t index,
                                   accel_status_t status, uint64_t failures);

#endif
