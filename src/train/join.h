/* SPDX-License-Identifier: Apache-2.0 */
/* join_uneven_inputs: ranks that have run out of batches go on taking part.
 *
 * Within the scope a rank announces each collective of the step before it makes it. A rank that is
 * done announces that, and makes what the others announced, with gradients of zero; when all are
 * done, the scope ends. So a rank without batches needs no idea of what the others' loops do. */
#ifndef ACCEL_TRAIN_JOIN_H
#define ACCEL_TRAIN_JOIN_H

#include "train/train.h"

typedef enum accel__join_operation {
    ACCEL__JOIN_DONE,
    ACCEL__JOIN_SYNC,
    ACCEL__JOIN_UNSCALE,
    ACCEL__JOIN_CLIP_NORM,
    ACCEL__JOIN_CLIP_VALUE,
    ACCEL__JOIN_STEP,
    ACCEL__JOIN_SCHEDULE,
    ACCEL__JOIN_TRIGGER
} accel__join_operation_t;

typedef struct accel__join_note {
    int64_t operation, object; /* object: its place among the prepared ones; -1: none */
    double value, lr;
} accel__join_note_t;

/* Does nothing outside of the scope, and on a rank that is done. Collective. */
accel_status_t accel__join_announce(const accel__gradient_state_t *state,
                                    accel__join_operation_t operation, const accel__link_t *object,
                                    double value, double lr);

/* Can all that is prepared take part? Local, the same on every rank. */
accel_status_t accel__join_check(const accel__gradient_state_t *state);

/* On a rank that is done: what the others announce next. Collective. */
accel_status_t accel__join_next(const accel__gradient_state_t *state, accel__join_note_t *note);

/* From now on this rank has no batches; and make an operation with the others. */
void accel__join_begin_shadow(accel__gradient_state_t *state);
accel_status_t accel__join_mirror(accel__gradient_state_t *state, const accel__join_note_t *note);

#endif
