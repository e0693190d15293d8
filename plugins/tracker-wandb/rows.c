/* SPDX-License-Identifier: Apache-2.0 */
/* What a program hands in while the run lasts: configuration, rows, summary. */
#include <string.h>

#include "media/media.h"
#include "run.h"

static accel_status_t check_keys(const accel_item_t *values)
{
    for (; values && values->type != ACCEL_TYPE_END; values++) {
        if (!values->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: a key is NULL");
    }
    return ACCEL_OK;
}

accel_status_t accel__wandb_run_config(accel__wandb_run_t *run, const accel_item_t *config)
{
    accel_status_t status = check_keys(config);
    if (status || !accel__wandb_is_writing(run) || !config || config->type == ACCEL_TYPE_END)
        return status;
    accel__wandb_emit_config(run, config);
    return accel__wandb_commit(run);
}

/* ---- rows ---- */

accel_status_t accel__wandb_close_row(accel__wandb_run_t *run)
{
    if (!run->row_open)
        return ACCEL_OK;
    run->row_open = false;
    accel__wandb_emit_row(run);
    accel_status_t status = accel__wandb_commit(run);
    accel_status_t summed = accel__wandb_summary_add_row(&run->summary, &run->row);
    accel__wandb_row_clear(&run->row);
    return status ? status : summed;
}

static void warn_step(accel__wandb_run_t *run, int64_t step)
{
    if (run->warned_step)
        return;
    run->warned_step = true;
    accel__wandb_warn(&run->console,
                      "Tried to log to step %lld that is less than the current step %lld. Steps "
                      "must be monotonically increasing, so this data will be ignored.",
                      (long long)step, (long long)run->step);
}

static accel_status_t mark_step_log(accel__wandb_run_t *run)
{
    if (run->features.set_step_log)
        return ACCEL_OK;
    run->features.set_step_log = true;
    accel__wandb_emit_telemetry(run);
    return accel__wandb_commit(run);
}

/* With a step the row stays open until a later step comes; without, it closes at once. */
static accel_status_t add_values(accel__wandb_run_t *run, const accel_item_t *values, int64_t step,
                                 double timestamp)
{
    accel_status_t status = ACCEL_OK;
    if (step != ACCEL_NO_STEP && step > run->step) {
        status = accel__wandb_close_row(run);
        run->step = step;
    }
    if (!status)
        status = accel__wandb_row_merge(&run->row, values);
    if (status)
        return status;
    run->row_open = true;
    run->row_timestamp = timestamp;
    if (step == ACCEL_NO_STEP) {
        status = accel__wandb_close_row(run);
        run->step++;
    }
    return status;
}

/* Files of media come before the row that is open until now closes, and have its step in their
 * names: so it is with stock, whose front end hands them on by itself. */
accel_status_t accel__wandb_run_log(accel__wandb_run_t *run, const accel_item_t *values,
                                    int64_t step, double timestamp)
{
    accel__wandb_arena_t made = {0};
    accel_status_t status = ACCEL_OK, lost;
    if (!accel__wandb_is_writing(run) || run->broken)
        return accel__wandb_report(run);
    if (timestamp > run->last_timestamp)
        run->last_timestamp = timestamp;
    if (step != ACCEL_NO_STEP)
        status = mark_step_log(run);
    if (status)
        return status;
    if (step != ACCEL_NO_STEP && step < run->step) {
        warn_step(run, step);
        return ACCEL_OK;
    }
    lost = accel__wandb_media_resolve(run, &made, &values);
    status = add_values(run, values, step, timestamp);
    accel__wandb_arena_free(&made);
    return status ? status : lost;
}

/* ---- the summary by hand ---- */

static accel_status_t summarise(accel__wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = ACCEL_OK;
    for (; values && values->type != ACCEL_TYPE_END && !status; values++) {
        accel__wandb_text_t text = {0};
        bool null = values->type == ACCEL_TYPE_NULL ||
                    (values->type == ACCEL_TYPE_FLOAT && values->value.f != values->value.f);
        accel__wandb_json_value(&text, values, ACCEL__WANDB_JSON_FRONT);
        if (text.failed)
            status = accel__wandb_fail_memory();
        else if (values->key[0] != '_' && !null)
            status = accel__wandb_summary_set(&run->summary, values->key, text.data, values->type);
        accel__wandb_text_free(&text);
    }
    return status;
}

accel_status_t accel__wandb_run_summary(accel__wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = check_keys(values);
    if (status || !accel__wandb_is_writing(run) || !values || values->type == ACCEL_TYPE_END)
        return status;
    if (!run->features.set_summary) {
        run->features.set_summary = true;
        accel__wandb_emit_telemetry(run);
    }
    accel__wandb_emit_summary(run, values);
    status = accel__wandb_commit(run);
    return status ? status : summarise(run, values);
}
