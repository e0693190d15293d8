/* SPDX-License-Identifier: Apache-2.0 */
/* An average of a model's parameters over the steps of training: torch.optim.swa_utils'
 * AveragedModel.
 *
 *     accel_ema_create(model, ACCEL_EMA_OPTIONS(.decay = 0.999), &ema);
 *     ...  accel_optimizer_step(optimizer);  accel_ema_update(ema);  ...
 *     accel_ema_begin(ema);   evaluate, or save: the parameters are the averages
 *     accel_ema_end(ema);     they are what is trained again, to the bit
 *
 * Each rank keeps the average of its own slice of the trainable parameters, in their type, or
 * float32 for low-precision ones. Frozen parameters and buffers are left alone. */
#ifndef ACCEL_EMA_H
#define ACCEL_EMA_H

#include <accel/model.h>
#include <accel/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_ema accel_ema_t;

/* The first update copies the parameters; update n + 1 makes it
 *   average += w (parameter - average), w = 1 - decay, or with `equal_weights` 1 / (n + 1) */
typedef struct accel_ema_options {
    size_t struct_size;
    double decay;       /* 0: 0.999; ACCEL_ZERO: 0 */
    bool equal_weights; /* stochastic weight averaging: all updates count the same */
} accel_ema_options_t;

ACCEL__OPTIONS_INIT(accel_ema_options)
#define ACCEL_EMA_OPTIONS(...) ACCEL__OPTIONS(accel_ema_options_t, __VA_ARGS__)

/* Borrows `model`: destroy it before the model. A model with low-precision parameters is
 * prepared before the first update. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_ema_create(accel_model_t *model,
                                                          const accel_ema_options_t *options,
                                                          accel_ema_t **ema);
ACCEL_API void accel_ema_destroy(accel_ema_t *ema); /* NULL is fine */

/* Take the parameters as they are now into the average; does nothing off a sync step. Local; on
 * every rank, after the optimizer's step. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_ema_update(accel_ema_t *ema);

/* Between these the parameters are the averages: read them. Backward, step and writing are
 * refused meanwhile. Both collective when prepared. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_ema_begin(accel_ema_t *ema);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_ema_end(accel_ema_t *ema);

ACCEL_API int64_t accel_ema_num_updates(const accel_ema_t *ema);

#ifdef __cplusplus
}
#endif

#endif
