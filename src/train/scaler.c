/* SPDX-License-Identifier: Apache-2.0 */
/* Dynamic loss scaling: the decisions of torch.amp.GradScaler. */
#include "train/train.h"

#include <math.h>

static double or_default(double value, double fallback)
{
    return value == 0 ? fallback : value;
}

static accel_status_t check(const accel__scaler_t *scaler)
{
    static const char name[] = "accel_grad_scaler_options_t";

    if (!(scaler->scale > 0) || isinf(scaler->scale))
        return accel__fail(ACCEL_ERR_INVALID, "%s: init_scale is %g; expected a number > 0", name,
                           scaler->scale);
    if (!(scaler->growth_factor > 1) || isinf(scaler->growth_factor))
        return accel__fail(ACCEL_ERR_INVALID, "%s: growth_factor is %g; expected a number > 1",
                           name, scaler->growth_factor);
    if (!(scaler->backoff_factor > 0 && scaler->backoff_factor < 1))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: backoff_factor is %g; expected a number between 0 and 1", name,
                           scaler->backoff_factor);
    if (scaler->growth_interval < 1)
        return accel__fail(ACCEL_ERR_INVALID, "%s: growth_interval is %d; expected 1 or more", name,
                           (int)scaler->growth_interval);
    return ACCEL_OK;
}

accel_status_t accel__scaler_init(accel__scaler_t *scaler, bool fp16,
                                  const accel_grad_scaler_options_t *options)
{
    accel_grad_scaler_options_t read = {0};
    bool enabled = false;
    accel_status_t status =
        accel__options_read(&read, sizeof(read), options, "accel_grad_scaler_options_t");

    *scaler = (accel__scaler_t){.scale = 1};
    if (status == ACCEL_OK)
        status = accel__tristate(read.enabled, true, "grad_scaler: enabled", &enabled);
    if (status != ACCEL_OK)
        return status;
    *scaler = (accel__scaler_t){.enabled = fp16 && enabled,
                                .scale = (double)(float)or_default(read.init_scale, 65536),
                                .growth_factor = or_default(read.growth_factor, 2),
                                .backoff_factor = or_default(read.backoff_factor, 0.5),
                                .growth_interval =
                                    read.growth_interval == 0 ? 2000 : read.growth_interval};
    status = check(scaler);
    if (!scaler->enabled)
        scaler->scale = 1;
    return status;
}

/* The scale is a float32 number, as in torch; a growth that would leave its range is left out. */
void accel__scaler_update(accel__scaler_t *scaler, bool found_inf)
{
    float grown;

    if (!scaler->enabled)
        return;
    if (found_inf) {
        scaler->scale = (double)(float)(scaler->scale * scaler->backoff_factor);
        scaler->growth_tracker = 0;
        return;
    }
    if (++scaler->growth_tracker < scaler->growth_interval)
        return;
    scaler->growth_tracker = 0;
    grown = (float)(scaler->scale * scaler->growth_factor);
    if (isfinite(grown))
        scaler->scale = (double)grown;
}
