/* SPDX-License-Identifier: Apache-2.0 */
/* The façade's mixed precision: options, scopes, the loss scale. */
#include "accelerator/accelerator.h"

#include <math.h>
#include <string.h>

typedef struct precision {
    const char *name;
    accel_dtype_t dtype;
} precision_t;

static const precision_t precisions[] = {
    {"no", ACCEL_F32}, {"bf16", ACCEL_BF16}, {"fp16", ACCEL_F16}};
#define NUM_PRECISIONS (sizeof(precisions) / sizeof(*precisions))

static accel_status_t parse(const char *text, const char *what, accel_dtype_t *dtype)
{
    for (size_t i = 0; i < NUM_PRECISIONS; i++)
        if (strcmp(text, precisions[i].name) == 0) {
            *dtype = precisions[i].dtype;
            return ACCEL_OK;
        }
    if (strcmp(text, "fp8") == 0)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "%s is 'fp8', which needs hardware and recipes that this library does "
                           "not drive; expected 'no', 'bf16' or 'fp16'",
                           what);
    return accel__fail(ACCEL_ERR_INVALID, "%s is '%s'; expected 'no', 'bf16' or 'fp16'", what,
                       text);
}

static const char *name_of(accel_dtype_t dtype)
{
    for (size_t i = 1; i < NUM_PRECISIONS; i++)
        if (precisions[i].dtype == dtype)
            return precisions[i].name;
    return precisions[0].name;
}

accel_status_t accel__precision_init(accel_t *accelerator, const accel_options_t *options)
{
    accel__gradient_state_t *state = &accelerator->gradient_state;
    const char *precision = options->mixed_precision, *what = "mixed_precision";
    accel_status_t status;

    if (!precision) {
        precision = accel__env("ACCELERATE_MIXED_PRECISION");
        what = "ACCELERATE_MIXED_PRECISION";
    }
    state->scaler.scale = 1; /* until the options are read */
    status = parse(precision ? precision : "no", what, &state->autocast);
    if (status == ACCEL_OK)
        status = parse(options->comm_hook ? options->comm_hook : "no", "comm_hook", &state->wire);
    if (status == ACCEL_OK)
        status =
            accel__scaler_init(&state->scaler, state->autocast == ACCEL_F16, options->grad_scaler);
    return status;
}

/* Ranks that compute, scale or reduce differently would train different models. */
accel_status_t accel__precision_compare(accel_t *accelerator)
{
    const accel__gradient_state_t *state = &accelerator->gradient_state;
    const accel__scaler_t *scaler = &state->scaler;
    double mine[7] = {(double)state->autocast,
                      (double)state->wire,
                      scaler->scale,
                      scaler->growth_factor,
                      scaler->backoff_factor,
                      (double)scaler->growth_interval,
                      (double)state->schedule_steps + (state->schedule_every_call ? 0.5 : 0)};
    double first[7];
    accel_comm_t *comm = accelerator->state.comm;
    accel_status_t status;

    memcpy(first, mine, sizeof(first));
    status = accel_comm_broadcast(comm, first, 7, ACCEL_F64, 0);
    if (status != ACCEL_OK)
        return status;
    if (memcmp(first, mine, sizeof(first)) != 0)
        status = accel__fail(ACCEL_ERR_MISMATCH,
                             "mixed_precision '%s', comm_hook '%s', the options of the loss scale "
                             "or of schedules on rank %d are not those of rank 0, which has '%s' "
                             "and '%s'",
                             name_of(state->autocast), name_of(state->wire),
                             (int)accelerator->state.process_index,
                             name_of((accel_dtype_t)first[0]), name_of((accel_dtype_t)first[1]));
    return accel__comm_agree(comm, "accel_create", status);
}

const char *accel_mixed_precision(const accel_t *accelerator)
{
    return accelerator ? name_of(accelerator->gradient_state.autocast) : "no";
}

accel_dtype_t accel_autocast_dtype(const accel_t *accelerator)
{
    if (!accelerator || (accelerator->autocast_depth > 0 && (accelerator->autocast_off & 1)))
        return ACCEL_F32;
    return accelerator->gradient_state.autocast;
}

accel_status_t accel_autocast_begin(accel_t *accelerator, bool enabled)
{
    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "accel_autocast_begin: accelerator is NULL");
    if (accelerator->autocast_depth == 64)
        return accel__fail(ACCEL_ERR_STATE, "accel_autocast_begin: 64 scopes are open; is an "
                                            "accel_autocast_end missing?");
    accelerator->autocast_off = accelerator->autocast_off << 1 | !enabled;
    accelerator->autocast_depth++;
    return ACCEL_OK;
}

accel_status_t accel_autocast_end(accel_t *accelerator)
{
    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "accel_autocast_end: accelerator is NULL");
    if (accelerator->autocast_depth == 0)
        return accel__fail(ACCEL_ERR_STATE, "accel_autocast_end without accel_autocast_begin");
    accelerator->autocast_off >>= 1;
    accelerator->autocast_depth--;
    return ACCEL_OK;
}

bool accel_step_was_skipped(const accel_t *accelerator)
{
    return accelerator && accel__any_step_was_skipped(&accelerator->gradient_state);
}

accel_grad_scaler_state_t accel_get_grad_scaler_state(const accel_t *accelerator)
{
    const accel__scaler_t *scaler = accelerator ? &accelerator->gradient_state.scaler : NULL;

    if (!scaler)
        return (accel_grad_scaler_state_t){.scale = 1};
    return (accel_grad_scaler_state_t){.scale = scaler->scale,
                                       .growth_tracker = scaler->growth_tracker};
}

accel_status_t accel_set_grad_scaler_state(accel_t *accelerator,
                                           const accel_grad_scaler_state_t *state)
{
    static const char name[] = "accel_set_grad_scaler_state";
    accel__scaler_t *scaler;

    if (!accelerator || !state)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is NULL", name,
                           accelerator ? "state" : "accelerator");
    scaler = &accelerator->gradient_state.scaler;
    if (!scaler->enabled)
        return accel__fail(ACCEL_ERR_STATE, "%s: no loss is scaled: mixed_precision is '%s'", name,
                           accel_mixed_precision(accelerator));
    if (!(state->scale > 0) || !isfinite((float)state->scale) || state->growth_tracker < 0 ||
        state->growth_tracker >= scaler->growth_interval)
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: scale %g and growth_tracker %d; expected a finite scale > 0, and "
                           "0 to %d",
                           name, state->scale, (int)state->growth_tracker,
                           (int)scaler->growth_interval - 1);
    scaler->scale = (double)(float)state->scale;
    scaler->growth_tracker = state->growth_tracker;
    return ACCEL_OK;
}
