/* SPDX-License-Identifier: Apache-2.0 */
/* Which batches end in an optimizer step: Accelerate's GradientState and _do_sync; and what their
 * gradients are divided by. */
#include "train/params.h"

#include <math.h>

bool accel__is_sync_step(const accel__gradient_state_t *state)
{
    return state->sync_step && state->no_sync_depth == 0;
}

/* A window that the end of the loader will cut short is known at its first batch, where the
 * loader knows its length: its gradients are then divided by its true length from the start. */
static int32_t plan_window(const accel__gradient_state_t *state, int64_t batches_left)
{
    if (state->full_windows || state->ignore_loader_end || batches_left < 0 ||
        batches_left > state->num_steps)
        return state->num_steps;
    return (int32_t)batches_left;
}

void accel__accumulate(accel__gradient_state_t *state, int64_t batches_left)
{
    if (state->sync_step) {
        state->window = 0;
        state->divisor = plan_window(state, batches_left);
    }
    state->window++;
    if (batches_left == 1 && !state->ignore_loader_end) {
        state->step = 0;
        state->sync_step = true;
        return;
    }
    state->step++;
    state->sync_step = state->step % state->num_steps == 0;
}

void accel__accumulate_anew(accel__gradient_state_t *state)
{
    state->step = 0;
    state->window = state->divisor = 0;
    state->sync_step = true;
}

static int32_t divisor(const accel__gradient_state_t *state)
{
    return state->divisor > 0 ? state->divisor : state->num_steps;
}

double accel__gradient_scale(const accel__gradient_state_t *state)
{
    return (state->scaler.enabled ? state->scaler.scale : 1) / (double)divisor(state);
}

double accel__window_correction(int32_t divisor, int32_t window)
{
    return (double)divisor / (double)window;
}

/* ---- the scopes of a model ---- */

bool accel__model_syncs(const accel__gradient_state_t *state, const accel_model_t *model)
{
    return state->sync_step && (model->no_sync_depth == 0 || model->trigger_sync_depth > 0);
}

bool accel__model_averages(const accel_model_t *model)
{
    return model->replicated || model->state->gradients == ACCEL_GRADIENTS_AVERAGED;
}

bool accel__model_completes(const accel_model_t *model)
{
    const accel__gradient_state_t *state = model->state;

    if (accel__model_syncs(state, model))
        return true;
    return accel__model_averages(model) &&
           (model->trigger_sync_depth > 0 || (state->sync_each_batch && model->no_sync_depth == 0));
}

void accel__model_no_sync_begin(accel_model_t *model)
{
    model->no_sync_depth++;
    model->state->no_sync_depth++;
}

accel_status_t accel__model_no_sync_end(accel_model_t *model)
{
    if (model->no_sync_depth == 0)
        return accel__fail(ACCEL_ERR_STATE, "accel_no_sync_end without accel_no_sync_begin");
    model->no_sync_depth--;
    model->state->no_sync_depth--;
    return ACCEL_OK;
}

void accel__model_trigger_sync_begin(accel_model_t *model)
{
    model->trigger_sync_depth++;
}

accel_status_t accel__model_trigger_sync_end(accel_model_t *model)
{
    if (model->trigger_sync_depth == 0)
        return accel__fail(ACCEL_ERR_STATE, "accel_trigger_sync_in_backward_end without "
                                            "accel_trigger_sync_in_backward_begin");
    model->trigger_sync_depth--;
    return ACCEL_OK;
}

/* ---- what a rank's gradients are made of ---- */

void accel__share_forget(accel__share_t *share)
{
    *share = (accel__share_t){0};
}

accel_status_t accel__share_add(accel__share_t *share, bool weighted, double weight)
{
    if (weighted && !(weight >= 0 && isfinite(weight)))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_backward_weighted: weight is %g; expected a number >= 0", weight);
    if (share->backwards > 0 && share->weighted != weighted)
        return accel__fail(ACCEL_ERR_STATE, "accel_backward and accel_backward_weighted in one "
                                            "step; expected one of them");
    share->weighted = weighted;
    share->weight += weight;
    share->backwards++;
    return ACCEL_OK;
}

accel__share_t accel__model_share(const accel_model_t *model)
{
    const accel__gradient_state_t *state = model->state;
    accel__share_t share = model->share;

    share.divisor = divisor(state);
    share.window = state->window > 0 && !state->full_windows ? state->window : share.divisor;
    share.rank = model->arena.rank;
    share.shadow = state->shadowing;
    return share;
}

/* A rank that has run out of batches has no say but in its weight: those of a window it began. */
accel_status_t accel__share_join(accel__share_t *all, const accel__share_t *rank,
                                 const char *operation)
{
    if (all->shadow || rank->shadow) {
        double weight = all->weight + rank->weight;

        if (all->shadow)
            *all = *rank;
        all->weight = weight;
        return ACCEL_OK;
    }
    if (rank->backwards != all->backwards)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "%s: since the last step rank %d has called accel_backward %d times, "
                           "rank %d %d times",
                           operation, (int)all->rank, (int)all->backwards, (int)rank->rank,
                           (int)rank->backwards);
    if (rank->weighted != all->weighted)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "%s: rank %d has called accel_backward_weighted, rank %d accel_backward",
                           operation, (int)(rank->weighted ? rank : all)->rank,
                           (int)(rank->weighted ? all : rank)->rank);
    if (rank->window != all->window || rank->divisor != all->divisor)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "%s: the gradients of rank %d are of %d batches of %d, those of rank %d "
                           "of %d of %d",
                           operation, (int)all->rank, (int)all->window, (int)all->divisor,
                           (int)rank->rank, (int)rank->window, (int)rank->divisor);
    all->weight += rank->weight;
    return ACCEL_OK;
}

/* With weights the average over ranks and batches becomes the weighted mean. Of weights that are
 * all zero the gradients are, too, and stay. */
double accel__share_correction(const accel__share_t *all, int32_t num_ranks)
{
    if (!all->weighted)
        return accel__window_correction(all->divisor, all->window);
    return all->weight > 0 ? (double)all->divisor * num_ranks / all->weight : 1;
}
