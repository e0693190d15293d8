/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ACCEL_ACCELERATOR_ACCELERATOR_H
#define ACCEL_ACCELERATOR_ACCELERATOR_H

#include <accel/accelerator.h>

#include "data/data.h"
#include "ops/ops.h"
#include "state/state.h"
#include "track/track.h"
#include "train/join.h"
#include "train/train.h"

struct accel_accelerator {
    accel__state_t state;
    accel__gradient_state_t gradient_state; /* knows models, optimizers and schedulers */
    accel__active_loaders_t active_loaders;
    accel__link_t loaders; /* prepared ones */
    accel__trackers_t *trackers;
    bool trigger; /* set on this rank, not yet checked */
    bool split_batches, even_batches, scale_scheduler_steps;
    bool has_seed;
    uint64_t seed; /* of loaders that name none */
    accel_tristate_t dispatch_batches;
    uint64_t autocast_off; /* the scopes, innermost lowest: is autocast off there? */
    int32_t autocast_depth;
};

/* An error unless both are there; unless the model is prepared, too, by this accelerator. */
accel_status_t accel__check_object(const accel_t *accelerator, const void *object, const char *call,
                                   const char *what);
accel_status_t accel__check_model(const accel_t *accelerator, const accel_model_t *model,
                                  const char *call);

/* gradient_accumulation_steps and gradient_accumulation; and are they the same on all ranks?
 * Collective. */
accel_status_t accel__accumulation_init(accel_t *accelerator, const accel_options_t *options);
accel_status_t accel__accumulation_compare(accel_t *accelerator);

/* mixed_precision, grad_scaler and comm_hook; and are they the same on all ranks? Collective. */
accel_status_t accel__precision_init(accel_t *accelerator, const accel_options_t *options);
accel_status_t accel__precision_compare(accel_t *accelerator);

#endif
