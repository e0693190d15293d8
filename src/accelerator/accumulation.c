/* SPDX-License-Identifier: Apache-2.0 */
/* The façade's gradient accumulation: options, windows, scopes. */
#include "accelerator/accelerator.h"

#include <string.h>

/* ---- options ---- */

/* Unlike upstream, what the program says beats the environment. */
static accel_status_t read_steps(int32_t asked, const char *name, int32_t *num_steps)
{
    int64_t steps = 1;
    bool set;
    accel_status_t status;

    if (asked < 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s is %d; expected 1 or more", name, (int)asked);
    *num_steps = asked;
    if (asked > 0)
        return ACCEL_OK;
    status = accel__env_int("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", 1, 1000000, &steps, &set);
    *num_steps = (int32_t)steps;
    return status;
}

static accel_status_t read_num_steps(const accel_options_t *options, int32_t in_group,
                                     int32_t *num_steps)
{
    int32_t plain = options->gradient_accumulation_steps;

    if (plain != 0 && in_group != 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "gradient_accumulation_steps is %d and gradient_accumulation's "
                           "num_steps %d; expected one of them",
                           (int)plain, (int)in_group);
    return in_group != 0 ? read_steps(in_group, "gradient_accumulation: num_steps", num_steps)
                         : read_steps(plain, "gradient_accumulation_steps", num_steps);
}

accel_status_t accel__accumulation_init(accel_t *accelerator, const accel_options_t *options)
{
    accel__gradient_state_t *state = &accelerator->gradient_state;
    accel_gradient_accumulation_options_t read = {0};
    bool with_loader = true, exact = true;
    accel_status_t status = accel__options_read(&read, sizeof(read), options->gradient_accumulation,
                                                "gradient_accumulation");

    if (status == ACCEL_OK)
        status =
            accel__tristate(read.sync_with_dataloader, true, "sync_with_dataloader", &with_loader);
    if (status == ACCEL_OK)
        status = accel__tristate(read.sync_each_batch, false, "sync_each_batch",
                                 &state->sync_each_batch);
    if (status == ACCEL_OK)
        status = accel__tristate(read.true_last_window, true, "true_last_window", &exact);
    state->ignore_loader_end = !with_loader;
    state->full_windows = !exact;
    return status == ACCEL_OK ? read_num_steps(options, read.num_steps, &state->num_steps) : status;
}

accel_status_t accel__accumulation_compare(accel_t *accelerator)
{
    const accel__gradient_state_t *state = &accelerator->gradient_state;
    int32_t mine[4] = {state->num_steps, !state->ignore_loader_end, state->sync_each_batch,
                       !state->full_windows};
    int32_t first[4];
    accel_status_t status;

    memcpy(first, mine, sizeof(first));
    status = accel_comm_broadcast(accelerator->state.comm, first, 4, ACCEL_I32, 0);
    if (status != ACCEL_OK)
        return status;
    if (memcmp(first, mine, sizeof(first)) != 0)
        status = accel__fail(ACCEL_ERR_MISMATCH,
                             "gradient_accumulation_steps, sync_with_dataloader, sync_each_batch, "
                             "true_last_window are %d, %d, %d, %d on rank %d, but %d, %d, %d, %d "
                             "on rank 0",
                             (int)mine[0], (int)mine[1], (int)mine[2], (int)mine[3],
                             (int)accelerator->state.process_index, (int)first[0], (int)first[1],
                             (int)first[2], (int)first[3]);
    return accel__comm_agree(accelerator->state.comm, "accel_create", status);
}

int32_t accel_gradient_accumulation_steps(const accel_t *accelerator)
{
    return accelerator ? accelerator->gradient_state.num_steps : 1;
}

accel_status_t accel_set_gradient_accumulation_steps(accel_t *accelerator, int32_t num_steps)
{
    static const char name[] = "accel_set_gradient_accumulation_steps";

    if (!accelerator || num_steps < 1)
        return accel__fail(ACCEL_ERR_INVALID,
                           accelerator ? "%s: num_steps is %d; expected 1 or more"
                                       : "%s: accelerator is NULL",
                           name, (int)num_steps);
    if (!accelerator->gradient_state.sync_step)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: %d batches are on their way to a step; expected it at a step", name,
                           (int)accelerator->gradient_state.window);
    accelerator->gradient_state.num_steps = num_steps;
    accel__accumulate_anew(&accelerator->gradient_state);
    return ACCEL_OK;
}

/* ---- windows ---- */

accel_status_t accel_accumulate_models(accel_t *accelerator, accel_model_t *const *models,
                                       int32_t num_models)
{
    static const char name[] = "accel_accumulate";

    if (!models || num_models < 1)
        return accel__fail(ACCEL_ERR_INVALID, "accel_accumulate_models: %s",
                           models ? "num_models is not 1 or more" : "models is NULL");
    for (int32_t i = 0; i < num_models; i++) {
        accel_status_t status = accel__check_model(accelerator, models[i], name);

        if (status != ACCEL_OK)
            return status;
    }
    accel__accumulate(&accelerator->gradient_state,
                      accel__loaders_batches_left(&accelerator->active_loaders));
    return ACCEL_OK;
}

accel_status_t accel_accumulate(accel_t *accelerator, accel_model_t *model)
{
    return accel_accumulate_models(accelerator, &model, 1);
}

bool accel_is_sync_step(const accel_t *accelerator)
{
    return !accelerator || accel__is_sync_step(&accelerator->gradient_state);
}

/* ---- scopes ---- */

accel_status_t accel_no_sync_begin(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_no_sync_begin");

    if (status == ACCEL_OK)
        accel__model_no_sync_begin(model);
    return status;
}

accel_status_t accel_no_sync_end(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status = accel__check_model(accelerator, model, "accel_no_sync_end");

    return status == ACCEL_OK ? accel__model_no_sync_end(model) : status;
}

accel_status_t accel_trigger_sync_in_backward_begin(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status =
        accel__check_model(accelerator, model, "accel_trigger_sync_in_backward_begin");

    if (status == ACCEL_OK)
        accel__model_trigger_sync_begin(model);
    return status;
}

accel_status_t accel_trigger_sync_in_backward_end(accel_t *accelerator, accel_model_t *model)
{
    accel_status_t status =
        accel__check_model(accelerator, model, "accel_trigger_sync_in_backward_end");

    return status == ACCEL_OK ? accel__model_trigger_sync_end(model) : status;
}
