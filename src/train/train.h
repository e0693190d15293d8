/* SPDX-License-Identifier: Apache-2.0 */
/* What the façade may ask of the training room, and what its files share. */
#ifndef ACCEL_TRAIN_TRAIN_H
#define ACCEL_TRAIN_TRAIN_H

#include <accel/model.h>
#include <accel/optimizer.h>
#include <accel/precision.h>

#include "comm/comm.h"

/* torch.amp.GradScaler: the loss scale of fp16, and what becomes of it. */
typedef struct accel__scaler {
    bool enabled;
    double scale; /* a float32 number; 1 when not enabled */
    double growth_factor, backoff_factor;
    int32_t growth_interval, growth_tracker;
} accel__scaler_t;

accel_status_t accel__scaler_init(accel__scaler_t *scaler, bool fp16,
                                  const accel_grad_scaler_options_t *options);

/* After a step, or after one that was left out because of `found_inf`. */
void accel__scaler_update(accel__scaler_t *scaler, bool found_inf);

/* Accelerate's GradientState: one per accelerator, borrowed by everything prepared. */
typedef struct accel__gradient_state {
    accel_comm_t *comm;
    accel_gradients_t gradients;
    accel_dtype_t autocast; /* what mixed_precision computes in; float32: it is off */
    accel_dtype_t wire;     /* what comm_hook reduces float32 gradients in */
    accel__scaler_t scaler;
    bool schedule_every_call; /* step_scheduler_with_optimizer is off */
    int32_t schedule_steps;   /* a scheduler's own steps for one of the loop's */
    int32_t num_steps;        /* gradient accumulation steps, >= 1 */
    bool ignore_loader_end, sync_each_batch, full_windows; /* accumulation options, the other way */
    int64_t step;          /* batches since the last sync by the loader's end */
    bool sync_step;        /* what accumulate decided; true at first */
    int32_t window;        /* batches so far between two sync steps; 0: accumulate was not called */
    int32_t divisor;       /* what their gradients are divided by; 0: num_steps */
    int32_t no_sync_depth; /* scopes open, of all models */
    bool joining, shadowing; /* within join_uneven_inputs, and out of batches */
    uint32_t num_models;     /* that were ever prepared */
    accel__link_t prepared;  /* models, optimizers, schedulers: each links itself at prepare */
} accel__gradient_state_t;

/* Is this a sync step, with no_sync counted in? */
bool accel__is_sync_step(const accel__gradient_state_t *state);

/* At the top of a batch: upstream's _do_sync. At the last batch of the loader under way
 * step = 0 and sync; otherwise step += 1 and sync every num_steps. batches_left: of that loader,
 * with this one; -1: not known. */
void accel__accumulate(accel__gradient_state_t *state, int64_t batches_left);

/* The next batch begins a window, whatever came before. */
void accel__accumulate_anew(accel__gradient_state_t *state);

/* What the gradients of a window still have to be multiplied by at its sync step: 1, unless it
 * turned out shorter than it was taken for. */
double accel__window_correction(int32_t divisor, int32_t window);

/* What backward multiplies by. */
double accel__gradient_scale(const accel__gradient_state_t *state);

/* Collective: checked to be alike on all ranks (names, kinds, dtypes, shapes; a difference is
 * ACCEL_ERR_MISMATCH and names the first parameter that differs, what each rank has, and the
 * rank), moved into the arena, rank 0's values broadcast. On an error nothing has changed. */
accel_status_t accel__model_prepare(accel_model_t *model, accel__gradient_state_t *state);

/* What the model was prepared with; NULL: it is not prepared. */
const accel__gradient_state_t *accel__model_state(const accel_model_t *model);

/* Local: values back to the owner's blocks, the owner's pointers restored. The caller sees to
 * it that no rank is still in a step. An unprepared model: nothing. */
void accel__model_unprepare(accel_model_t *model);

/* weighted: the gradients are times `weight`, and the step's are divided by the sum of all. */
accel_status_t accel__model_backward(accel_model_t *model, bool weighted, double weight);

/* Scopes of one model; they nest. _end: ACCEL_ERR_STATE without a _begin. */
void accel__model_no_sync_begin(accel_model_t *model);
accel_status_t accel__model_no_sync_end(accel_model_t *model);
void accel__model_trigger_sync_begin(accel_model_t *model);
accel_status_t accel__model_trigger_sync_end(accel_model_t *model);
accel_status_t accel__model_sync_gradients(accel_model_t *model);
accel_status_t accel__model_unscale_gradients(accel_model_t *model);
accel_status_t accel__model_clip_grad_norm(accel_model_t *model, double max_norm, double *norm);
accel_status_t accel__model_clip_grad_value(accel_model_t *model, double clip_value);
accel_status_t accel__model_sync_buffers(accel_model_t *model);
accel_status_t accel__model_average_buffers(accel_model_t *model);

/* These link themselves into state->prepared, with a release that forgets `state`; _destroy
 * takes the link out. An object that is prepared already is ACCEL_ERR_STATE. */
accel_status_t accel__optimizer_prepare(accel_optimizer_t *optimizer,
                                        accel__gradient_state_t *state);
/* Did any prepared optimizer leave its last step out? */
bool accel__any_step_was_skipped(const accel__gradient_state_t *state);

accel_status_t accel__scheduler_prepare(accel_scheduler_t *scheduler,
                                        accel__gradient_state_t *state);

#endif
