/* SPDX-License-Identifier: Apache-2.0 */
/* What a program logs while the run lasts: rows and summary. */
#include <stdlib.h>
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

/* ---- rows ---- */

/* Rows that have a metric, and not its x axis, get the last value of that. */
static accel_status_t insert_steps(accel__wandb_run_t *run)
{
    const accel__wandb_definitions_t *definitions = &run->definitions;
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < definitions->num_steps; i++) {
        accel__wandb_step_t *step = definitions->steps[i];
        const accel__wandb_leaf_t *leaf = accel__wandb_row_find(&run->row, step->path);
        step->present = leaf || !strcmp(step->path, "_step") || !strcmp(step->path, "_runtime") ||
                        !strcmp(step->path, "_timestamp");
        if (leaf && (leaf->type == ACCEL_TYPE_INT || leaf->type == ACCEL_TYPE_UINT ||
                     leaf->type == ACCEL_TYPE_FLOAT))
            step->latest = leaf->number;
    }
    for (size_t i = 0; i < definitions->num_steps && !status; i++) {
        accel__wandb_step_t *step = definitions->steps[i];
        if (step->wanted && !step->present)
            status = accel__wandb_row_add(&run->row, step->path, step->latest);
        step->wanted = false;
    }
    return status;
}

/* Find each leaf's metric; how it is defined is looked up when it first comes, and again as long
 * as it is not defined, for a glob may be. */
static accel_status_t define_leaves(accel__wandb_run_t *run)
{
    accel__wandb_definitions_t *definitions = &run->definitions;
    accel__wandb_text_t text = {0};
    accel_status_t status = ACCEL_OK;
    if (definitions->num_exact + definitions->num_globs == 0)
        return ACCEL_OK;
    for (size_t i = 0; i < run->row.count && !status; i++) {
        const char *path = accel__wandb_leaf_path(&run->row.leaves[i], &text);
        accel__wandb_metric_t *metric = path ? accel__wandb_summary_at(&run->summary, path) : NULL;
        if (!metric) {
            status = accel__wandb_fail_memory();
        } else if (!metric->definition) {
            bool added = false;
            status = accel__wandb_definition_of(definitions, path, &metric->definition, &added);
            if (added)
                metric->summary = metric->definition->summary;
        }
        if (metric && metric->definition && metric->definition->step_sync &&
            metric->definition->step)
            metric->definition->step->wanted = true;
    }
    accel__wandb_text_free(&text);
    return status;
}

accel_status_t accel__wandb_close_row(accel__wandb_run_t *run)
{
    if (!run->row_open)
        return ACCEL_OK;
    run->row_open = false;
    accel_status_t status = define_leaves(run);
    if (!status)
        status = insert_steps(run);
    if (!status)
        status = accel__wandb_emit_row(run);
    if (!status)
        status = accel__wandb_commit(run);
    accel__wandb_row_clear(&run->row);
    return status;
}

static size_t count_values(const accel_item_t *values)
{
    size_t count = 0;
    while (values && values[count].type != ACCEL_TYPE_END)
        count++;
    return count;
}

static void drop(accel__wandb_run_t *run, const accel_item_t *values, int64_t step)
{
    run->num_dropped += (int64_t)count_values(values);
    if (run->warned_step)
        return;
    run->warned_step = true;
    accel__wandb_warn(&run->console,
                      "Tried to log to step %lld that is less than the current step %lld. Steps "
                      "must be monotonically increasing, so this data will be ignored. See "
                      "https://wandb.me/define-metric to log data out of order.",
                      (long long)step, (long long)run->step);
}

static accel_status_t mark_step_log(accel__wandb_run_t *run)
{
    if (run->features.set_step_log)
        return ACCEL_OK;
    accel__wandb_use_feature(run, &run->features.set_step_log);
    return accel__wandb_commit(run);
}

/* A row's step, and whether it is closed at once: see ACCEL_WANDB_KEEP_OPEN. */
typedef struct {
    int64_t step; /* ACCEL_NO_STEP: the current one */
    bool commit;
} place_t;

static place_t place_of(int64_t step)
{
    if (step == ACCEL_NO_STEP || step == ACCEL_WANDB_KEEP_OPEN)
        return (place_t){ACCEL_NO_STEP, step == ACCEL_NO_STEP};
    return (place_t){step < 0 ? ~step : step, step < 0};
}

static accel_status_t add_values(accel__wandb_run_t *run, const accel_item_t *values, place_t place,
                                 double timestamp)
{
    accel_status_t status = ACCEL_OK;
    if (place.step != ACCEL_NO_STEP && place.step > run->step) {
        status = accel__wandb_close_row(run);
        run->step = place.step;
    }
    if (!status)
        status = accel__wandb_row_merge(&run->row, values, ACCEL__WANDB_JSON_CORE);
    if (status)
        return status;
    run->row_open = true;
    run->row_timestamp = timestamp;
    if (place.commit) {
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
    place_t place = place_of(step);
    if (!accel__wandb_is_writing(run) || run->broken)
        return accel__wandb_report(run);
    if (timestamp > run->last_timestamp)
        run->last_timestamp = timestamp;
    if (place.step != ACCEL_NO_STEP)
        status = mark_step_log(run);
    if (status)
        return status;
    if (place.step != ACCEL_NO_STEP && place.step < run->step) {
        drop(run, values, place.step);
        return ACCEL_OK;
    }
    lost = accel__wandb_media_resolve(run, &made, &values);
    status = add_values(run, values, place, timestamp);
    accel__wandb_arena_free(&made);
    return status ? status : lost;
}

/* ---- the summary by hand ---- */

accel_status_t accel__wandb_run_summary(accel__wandb_run_t *run, const accel_item_t *values)
{
    accel_status_t status = check_keys(values);
    if (status || !accel__wandb_is_writing(run) || !values || values->type == ACCEL_TYPE_END)
        return status;
    accel__wandb_use_feature(run, &run->features.set_summary);
    accel__wandb_emit_summary(run, values);
    status = accel__wandb_commit(run);
    return status ? status : accel__wandb_summary_set(&run->summary, values);
}

accel_status_t accel__wandb_run_summary_remove(accel__wandb_run_t *run, const char *key)
{
    if (!key || !*key)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the summary's key is empty");
    if (!accel__wandb_is_writing(run))
        return ACCEL_OK;
    char *path = accel__wandb_path_of(key);
    if (!path)
        return accel__wandb_fail_memory();
    accel__wandb_emit_summary_removal(run, path);
    accel_status_t status = accel__wandb_commit(run);
    if (!status)
        accel__wandb_summary_remove(&run->summary, path);
    free(path);
    return status;
}
