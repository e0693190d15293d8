/* SPDX-License-Identifier: Apache-2.0 */
/* From samples to a batch by a callback. */
#ifndef ACCEL_DATA_COLLATE_H
#define ACCEL_DATA_COLLATE_H

#include <accel/data.h>

#include "data/samples.h"

/* What is made, and by whom; the loader's, constant. fn NULL: batches are the samples as read. */
typedef struct accel__collate {
    accel_collate_fn fn;
    void *context;
    accel__field_t *fields;
    int32_t num_fields;
} accel__collate_t;

/* A batch's tensors, in memory that grows with them. */
typedef struct accel__collated {
    accel_tensor_t *fields;
    int64_t *shapes;
    size_t *capacities;
    int32_t num_fields;
} accel__collated_t;

accel_status_t accel__collated_init(accel__collated_t *collated, const accel__collate_t *how);
void accel__collated_fini(accel__collated_t *collated);

/* Make field `field` of this shape, data uninitialised. */
accel_status_t accel__collated_field(accel__collated_t *collated, const accel__collate_t *how,
                                     int32_t field, const int64_t *shape, void **data);

/* Call the callback on the first `count` samples; an error names the first. */
accel_status_t accel__collate(const accel__collate_t *how, const accel__samples_t *samples,
                              const int64_t *indices, int64_t count, accel__collated_t *collated);

/* A batch of no rows, which the callback is not asked for. */
accel_status_t accel__collate_nothing(const accel__collate_t *how, accel__collated_t *collated);

#endif
