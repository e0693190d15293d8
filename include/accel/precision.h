/* SPDX-License-Identifier: Apache-2.0 */
/* Mixed precision: the loss scale of fp16.
 *
 * mixed_precision "bf16" or "fp16" (accel_options_t) says what the forward and backward pass
 * compute in; see accel_autocast_dtype() and accel_model_add_copy(). What an optimizer updates
 * is float32 always.
 *
 * fp16 has little room below: gradients are computed of scale × loss, and divided by the scale
 * in the step. A step whose gradients hold an infinity or a NaN, on any rank, is left out on
 * every rank, and the scale shrinks; after growth_interval good steps in a row it grows. Scale,
 * decisions and defaults are those of torch.amp.GradScaler (2.13), which Accelerate uses. */
#ifndef ACCEL_PRECISION_H
#define ACCEL_PRECISION_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* GradScalerKwargs. Used with mixed_precision "fp16". */
typedef struct accel_grad_scaler_options {
    size_t struct_size;
    double init_scale;        /* 0: 65536 */
    double growth_factor;     /* 0: 2; > 1 */
    double backoff_factor;    /* 0: 0.5; < 1 */
    int32_t growth_interval;  /* 0: 2000 */
    accel_tristate_t enabled; /* default: on */
} accel_grad_scaler_options_t;

ACCEL__OPTIONS_INIT(accel_grad_scaler_options)
#define ACCEL_GRAD_SCALER_OPTIONS(...) ACCEL__OPTIONS(accel_grad_scaler_options_t, __VA_ARGS__)

/* What a scaler has learnt, for a checkpoint: equal on all ranks. */
typedef struct accel_grad_scaler_state {
    double scale;           /* 1 where no loss is scaled */
    int32_t growth_tracker; /* good steps since the scale last changed */
} accel_grad_scaler_state_t;

#ifdef __cplusplus
}
#endif

#endif
