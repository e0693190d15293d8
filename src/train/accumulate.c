/* SPDX-License-Identifier: Apache-2.0 */
/* Which batches end in an optimizer step: Accelerate's GradientState and _do_sync. */
#include "train/train.h"

bool accel__is_sync_step(const accel__gradient_state_t *state)
{
    return state->sync_step && state->no_sync_depth == 0;
}

void accel__accumulate(accel__gradient_state_t *state, bool end_of_dataloader)
{
    if (end_of_dataloader) {
        state->step = 0;
        state->sync_step = true;
        return;
    }
    state->step++;
    state->sync_step = state->step % state->num_steps == 0;
}

/* By the full number of steps, also in a shorter last window, as upstream. */
double accel__gradient_scale(const accel__gradient_state_t *state)
{
    return (state->scaler.enabled ? state->scaler.scale : 1) / (double)state->num_steps;
}
