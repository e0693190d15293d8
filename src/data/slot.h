/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for one batch of one rank, and how it is filled. */
#ifndef ACCEL_DATA_SLOT_H
#define ACCEL_DATA_SLOT_H

#include "data/plan.h"

typedef struct accel__slot {
    accel__samples_t samples;
    accel__collated_t collated; /* empty without a collate */
    int64_t *indices;
    accel__step_t step;
    int64_t holds; /* the step whose batch is ready in it; -1: none */
    accel_status_t status;
    char error[512];
} accel__slot_t;

accel_status_t accel__slot_init(accel__slot_t *slot, const accel__plan_t *plan, int64_t capacity);
void accel__slot_fini(accel__slot_t *slot);

/* Read the rank's batch of a step of map-style data; an error's text is in accel_last_error(). */
accel_status_t accel__slot_read(accel__slot_t *slot, const accel__plan_t *plan, int64_t number,
                                const atomic_bool *cancelled);

/* Make the batch's tensors of the samples that were read. */
accel_status_t accel__slot_finish(accel__slot_t *slot, const accel__plan_t *plan);

/* The batch's tensors. */
const accel_tensor_t *accel__slot_fields(const accel__slot_t *slot, int32_t *num_fields);

/* ---- a stream's place ---- */

typedef struct accel__source {
    int64_t position;       /* samples read */
    bool ended;             /* ACCEL_END was seen */
    accel__samples_t first; /* the first global batch, if the last is filled up with it */
    int64_t num_first;
    accel__samples_t scratch; /* one sample of another rank */
    bool allocated;
} accel__source_t;

/* For an epoch of this plan; the stream itself has begun. */
accel_status_t accel__source_start(accel__source_t *stream, const accel__plan_t *plan);
void accel__source_fini(accel__source_t *stream);

/* Read the next step: ACCEL_END if there is none. Steps are read in their order, one at a time. */
accel_status_t accel__source_fill(accel__source_t *stream, accel__slot_t *slot,
                                  const accel__plan_t *plan, const atomic_bool *cancelled);

#endif
