/* SPDX-License-Identifier: Apache-2.0 */
/* The façade's join_uneven_inputs. */
#include "accelerator/accelerator.h"

#include <string.h>

static accel_status_t check(accel_t *accelerator, bool inside, const char *call)
{
    if (!accelerator)
        return accel__fail(ACCEL_ERR_INVALID, "%s: accelerator is NULL", call);
    if (accelerator->gradient_state.joining == inside)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE, "%s: %s", call,
                       inside ? "without accel_join_uneven_inputs_begin" : "the scope is open");
}

accel_status_t accel_join_uneven_inputs_begin(accel_t *accelerator, accel_tristate_t even_batches)
{
    static const char name[] = "accel_join_uneven_inputs_begin";
    accel_status_t status = check(accelerator, false, name);
    bool even = false;

    if (status != ACCEL_OK)
        return status;
    status = accel__join_check(&accelerator->gradient_state);
    if (status == ACCEL_OK)
        status = accel__tristate(even_batches, false, "even_batches", &even);
    if (status == ACCEL_OK && even_batches != ACCEL_DEFAULT)
        status = accel__loaders_even_begin(&accelerator->loaders, even);
    status = accel__comm_agree(accelerator->state.comm, name, status);
    if (status != ACCEL_OK) {
        accel__loaders_even_end(&accelerator->loaders);
        return status;
    }
    accelerator->gradient_state.joining = true;
    return ACCEL_OK;
}

static accel_status_t shadow(accel_t *accelerator)
{
    accel__gradient_state_t *state = &accelerator->gradient_state;
    accel__join_note_t note;
    accel_status_t status = accel__join_next(state, &note);

    while (status == ACCEL_OK && note.operation != ACCEL__JOIN_DONE) {
        if (note.operation == ACCEL__JOIN_TRIGGER)
            status = accel_check_trigger(accelerator, NULL);
        else
            status = accel__join_mirror(state, &note);
        if (status == ACCEL_OK)
            status = accel__join_next(state, &note);
    }
    return status;
}

/* A process alone has nobody to wait for. */
accel_status_t accel_join_uneven_inputs_end(accel_t *accelerator)
{
    accel_status_t status = check(accelerator, true, "accel_join_uneven_inputs_end");

    if (status != ACCEL_OK)
        return status;
    accel__join_begin_shadow(&accelerator->gradient_state);
    status = shadow(accelerator);
    accelerator->gradient_state.joining = accelerator->gradient_state.shadowing = false;
    accel__accumulate_anew(&accelerator->gradient_state);
    accel__loaders_even_end(&accelerator->loaders);
    return status;
}
