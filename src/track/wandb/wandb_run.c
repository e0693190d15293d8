/* SPDX-License-Identifier: Apache-2.0 */
/* The W&B run as a program sees it. All work is done by the plugin, behind the slots of a
 * tracker, so that a row, a configuration and an artifact come in the order of the calls. */
#include "track/wandb/wandb.h"

#include <accel/version.h>

accel_status_t accel__wandb_check_run(const accel_wandb_run_t *run, const char *call)
{
    if (run)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "%s: run is NULL; an accelerator's exists on the main process only, between "
                       "accel_init_trackers() and accel_end_training()",
                       call);
}

/* ---- calls of the plugin's own table ---- */

/* The table, from a plugin that is as new as this library. */
static accel_status_t find_table(const accel_tracker_class_t *slots, const char *call,
                                 const accel_wandb_v1_t **table)
{
    *table = slots->interface ? slots->interface(ACCEL_WANDB_V1) : NULL;
    if (*table && (*table)->struct_size >= sizeof(**table))
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_UNSUPPORTED,
                       "%s: the plugin behind tracker 'wandb' does not offer it; install "
                       "accel-tracker-wandb %s",
                       call, ACCEL_VERSION);
}

accel_status_t accel__wandb_table(const accel_wandb_v1_t **table, const char *call)
{
    accel_tracker_class_t slots;
    accel_status_t status = accel__tracker_class_find("wandb", true, &slots);

    return status == ACCEL_OK ? find_table(&slots, call, table) : status;
}

accel_status_t accel__wandb_enter(accel_wandb_run_t *run, const char *name,
                                  accel__wandb_call_t *call)
{
    accel_status_t status = accel__wandb_check_run(run, name);

    if (status == ACCEL_OK)
        status = find_table(&run->tracker->slots, name, &call->table);
    if (status == ACCEL_OK)
        status = accel__tracker_enter(run->tracker, &call->slot);
    if (status != ACCEL_OK)
        return status;
    call->run = run;
    call->name = name;
    call->state = run->tracker->state;
    return ACCEL_OK;
}

accel_status_t accel__wandb_leave(const accel__wandb_call_t *call, accel_status_t status)
{
    return accel__tracker_leave(call->run->tracker, &call->slot, call->name, status);
}

/* ---- facts ---- */

static const char *info(const accel_wandb_run_t *run, const char *what)
{
    return run ? accel__tracker_info(run->tracker, what) : NULL;
}

const char *accel_wandb_run_id(const accel_wandb_run_t *run)
{
    return info(run, "id");
}

const char *accel_wandb_run_name(const accel_wandb_run_t *run)
{
    return info(run, "name");
}

const char *accel_wandb_run_notes(const accel_wandb_run_t *run)
{
    return info(run, "notes");
}

const char *accel_wandb_run_group(const accel_wandb_run_t *run)
{
    return info(run, "group");
}

const char *accel_wandb_run_job_type(const accel_wandb_run_t *run)
{
    return info(run, "job_type");
}

const char *accel_wandb_run_project(const accel_wandb_run_t *run)
{
    return info(run, "project");
}

const char *accel_wandb_run_entity(const accel_wandb_run_t *run)
{
    return info(run, "entity");
}

const char *accel_wandb_run_path(const accel_wandb_run_t *run)
{
    return info(run, "path");
}

const char *accel_wandb_run_sweep_id(const accel_wandb_run_t *run)
{
    return info(run, "sweep_id");
}

const char *accel_wandb_run_url(const accel_wandb_run_t *run)
{
    return info(run, "url");
}

const char *accel_wandb_run_project_url(const accel_wandb_run_t *run)
{
    return info(run, "project_url");
}

const char *accel_wandb_run_sweep_url(const accel_wandb_run_t *run)
{
    return info(run, "sweep_url");
}

const char *accel_wandb_run_dir(const accel_wandb_run_t *run)
{
    return info(run, "files_dir");
}

const char *accel_wandb_run_sync_dir(const accel_wandb_run_t *run)
{
    return info(run, "dir");
}

const char *accel_wandb_run_tags(const accel_wandb_run_t *run)
{
    return info(run, "tags");
}

const char *accel_wandb_run_settings(const accel_wandb_run_t *run)
{
    return info(run, "settings");
}

/* The run is not const inside: what was logged is delivered first. */
static accel_wandb_facts_t facts(const accel_wandb_run_t *run)
{
    accel_wandb_facts_t found = {.step = -1, .starting_step = -1};
    accel__wandb_call_t call;

    if (run && accel__wandb_enter(&run->tracker->run, "facts", &call) == ACCEL_OK) {
        call.table->facts(call.state, &found);
        (void)accel__wandb_leave(&call, ACCEL_OK);
    }
    return found;
}

int64_t accel_wandb_run_step(const accel_wandb_run_t *run)
{
    return facts(run).step;
}

int64_t accel_wandb_run_starting_step(const accel_wandb_run_t *run)
{
    return facts(run).starting_step;
}

double accel_wandb_run_start_time(const accel_wandb_run_t *run)
{
    return facts(run).start_time;
}

bool accel_wandb_run_offline(const accel_wandb_run_t *run)
{
    return facts(run).offline;
}

bool accel_wandb_run_disabled(const accel_wandb_run_t *run)
{
    return facts(run).disabled;
}

bool accel_wandb_run_resumed(const accel_wandb_run_t *run)
{
    return facts(run).resumed;
}

static accel_status_t set_text(accel_wandb_run_t *run, const char *name, const char *what,
                               const char *text)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__wandb_enter(run, name, &call);

    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->set_text(call.state, what, text));
}

accel_status_t accel_wandb_run_set_name(accel_wandb_run_t *run, const char *name)
{
    return set_text(run, "accel_wandb_run_set_name", "name", name);
}

accel_status_t accel_wandb_run_set_notes(accel_wandb_run_t *run, const char *notes)
{
    return set_text(run, "accel_wandb_run_set_notes", "notes", notes);
}

accel_status_t accel_wandb_run_set_tags(accel_wandb_run_t *run, const accel_list_t *tags)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__wandb_enter(run, "accel_wandb_run_set_tags", &call);

    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->set_tags(call.state, tags));
}

/* ---- history ---- */

accel_status_t accel_wandb_run_log(accel_wandb_run_t *run, const accel_item_t *values, int64_t step)
{
    accel_status_t status = accel__wandb_check_run(run, "accel_wandb_run_log");

    return status == ACCEL_OK ? accel_tracker_log(run->tracker, values, step) : status;
}

accel_status_t accel_wandb_run_log_commit(accel_wandb_run_t *run, const accel_item_t *values,
                                          int64_t step, bool commit)
{
    accel_status_t status = accel__wandb_check_run(run, "accel_wandb_run_log_commit");

    if (status != ACCEL_OK)
        return status;
    if (commit == (step == ACCEL_NO_STEP))
        return accel_tracker_log(run->tracker, values, step);
    if (step != ACCEL_NO_STEP && (step < 0 || step >= INT64_MAX - 1))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_wandb_run_log_commit: step is %lld; expected 0 or more, or "
                           "ACCEL_NO_STEP",
                           (long long)step);
    return accel__trackers_log_unchecked(run->tracker->owner, run->tracker, values,
                                         commit ? ~step : ACCEL_WANDB_KEEP_OPEN);
}

accel_status_t accel_wandb_run_define_metric(accel_wandb_run_t *run, const char *name,
                                             const accel_wandb_metric_options_t *options)
{
    accel_wandb_metric_options_t given = {.struct_size = sizeof(given)};
    accel__wandb_call_t call;
    accel_status_t status =
        accel__options_read(&given, sizeof(given), options, "accel_wandb_metric_options_t");

    if (status == ACCEL_OK)
        status = accel__wandb_enter(run, "accel_wandb_run_define_metric", &call);
    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->define_metric(call.state, name, &given));
}

/* ---- configuration and summary ---- */

const char *accel_wandb_run_config(accel_wandb_run_t *run)
{
    const char *json = NULL;
    accel__wandb_call_t call;

    if (accel__wandb_enter(run, "accel_wandb_run_config", &call) == ACCEL_OK) {
        json = call.table->config_json(call.state);
        (void)accel__wandb_leave(&call, ACCEL_OK);
    }
    return json;
}

const char *accel_wandb_run_summary(accel_wandb_run_t *run)
{
    const char *json = NULL;
    accel__wandb_call_t call;

    if (accel__wandb_enter(run, "accel_wandb_run_summary", &call) == ACCEL_OK) {
        json = call.table->summary_json(call.state);
        (void)accel__wandb_leave(&call, ACCEL_OK);
    }
    return json;
}

static accel_status_t configure(accel_wandb_run_t *run, const char *name,
                                const accel_item_t *values, accel_wandb_config_t how)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__dict_check(values, name);

    if (status == ACCEL_OK)
        status = accel__wandb_enter(run, name, &call);
    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->config(call.state, values, how));
}

accel_status_t accel_wandb_run_config_update(accel_wandb_run_t *run, const accel_item_t *values)
{
    return configure(run, "accel_wandb_run_config_update", values, ACCEL_WANDB_CONFIG_UPDATE);
}

accel_status_t accel_wandb_run_config_set(accel_wandb_run_t *run, const accel_item_t *values)
{
    return configure(run, "accel_wandb_run_config_set", values, ACCEL_WANDB_CONFIG_SET);
}

accel_status_t accel_wandb_run_config_setdefaults(accel_wandb_run_t *run,
                                                  const accel_item_t *values)
{
    return configure(run, "accel_wandb_run_config_setdefaults", values,
                     ACCEL_WANDB_CONFIG_SETDEFAULTS);
}

accel_status_t accel_wandb_run_summary_update(accel_wandb_run_t *run, const accel_item_t *values)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__dict_check(values, "accel_wandb_run_summary_update");

    if (status == ACCEL_OK)
        status = accel__wandb_enter(run, "accel_wandb_run_summary_update", &call);
    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, run->tracker->slots.update_summary(call.state, values));
}

accel_status_t accel_wandb_run_summary_remove(accel_wandb_run_t *run, const char *key)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__wandb_enter(run, "accel_wandb_run_summary_remove", &call);

    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->summary_remove(call.state, key));
}

/* ---- files and the rest ---- */

accel_status_t accel_wandb_run_log_artifact(accel_wandb_run_t *run,
                                            const accel_artifact_t *artifact)
{
    accel_status_t status = accel__wandb_check_run(run, "accel_wandb_run_log_artifact");

    return status == ACCEL_OK ? accel_tracker_log_artifact(run->tracker, artifact) : status;
}

accel_status_t accel_wandb_run_save(accel_wandb_run_t *run, const char *glob, const char *base_path,
                                    accel_wandb_policy_t policy)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__wandb_enter(run, "accel_wandb_run_save", &call);

    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->save(call.state, glob, base_path, policy));
}

accel_status_t accel_wandb_run_mark_preempting(accel_wandb_run_t *run)
{
    accel__wandb_call_t call;
    accel_status_t status = accel__wandb_enter(run, "accel_wandb_run_mark_preempting", &call);

    if (status != ACCEL_OK)
        return status;
    return accel__wandb_leave(&call, call.table->mark_preempting(call.state));
}
