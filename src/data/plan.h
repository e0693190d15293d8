/* SPDX-License-Identifier: Apache-2.0 */
/* What an epoch of one rank consists of, step by step: arithmetic, and no reading. */
#ifndef ACCEL_DATA_PLAN_H
#define ACCEL_DATA_PLAN_H

#include "data/collate.h"
#include "data/shard.h"

/* Steps of a stream whose end nobody knows. */
#define ACCEL__STEPS_UNKNOWN INT64_MAX

/* Constant while the epoch is read. Steps are counted from its start, which need not be that of the
 * order. */
typedef struct accel__plan {
    const accel_dataset_t *dataset;
    const accel__collate_t *collate;
    accel_shard_t shard; /* of samples, or of batches if there are offsets */
    int64_t rank;
    int64_t start;          /* samples, or batches, that were handed out before */
    int64_t steps;          /* left from there */
    const int64_t *order;   /* sample at each position; NULL: position itself */
    const int64_t *offsets; /* batch b is order[offsets[b]] up to [offsets[b + 1]]; NULL: none */
    const int64_t *lengths; /* presharded: samples of each of num_ranks ranks; NULL: sharded here */
    int64_t num_ranks;
    int64_t multiple; /* > 1: a step's rows are filled up to a multiple of this */
} accel__plan_t;

/* What is to be said of a rank's batch. */
typedef struct accel__step {
    int64_t rows;      /* this rank's */
    int64_t own_rows;  /* of these, not padding */
    int64_t real_rows; /* of all ranks, not padding */
    int64_t step_rows; /* of all ranks */
    bool last;
} accel__step_t;

/* Rows to add to `rows`, from the start of the order. */
int64_t accel__plan_padding(const accel__plan_t *plan, int64_t rows);

/* The most rows that a batch of this rank can have. */
int64_t accel__plan_capacity(const accel__plan_t *plan);

/* Steps of an epoch from `start` on, of the plan's shard; ACCEL__STEPS_UNKNOWN. */
int64_t accel__plan_steps(const accel__plan_t *plan);

/* A step of map-style data; the sample numbers go to `indices`. */
void accel__plan_step(const accel__plan_t *plan, int64_t number, accel__step_t *step,
                      int64_t *indices);

#endif
