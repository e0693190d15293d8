/* SPDX-License-Identifier: Apache-2.0 */
/* What the W&B plugin offers beyond a general tracker: the table behind <accel/wandb.h>, which
 * its class's `interface` gives for the name "accel_wandb_v1". */
#ifndef ACCEL_PLUGIN_WANDB_V1_H
#define ACCEL_PLUGIN_WANDB_V1_H

#include <accel/wandb.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACCEL_WANDB_V1 "accel_wandb_v1"

/* Steps that the log slot takes beside a tracker's: no step, and the row stays open; and, as ~step,
 * a step whose row is closed at once. */
#define ACCEL_WANDB_KEEP_OPEN (INT64_MIN + 1)

/* How values go into the configuration: over what is there; not over another value; where
 * nothing is. */
typedef enum {
    ACCEL_WANDB_CONFIG_UPDATE,
    ACCEL_WANDB_CONFIG_SET,
    ACCEL_WANDB_CONFIG_SETDEFAULTS
} accel_wandb_config_t;

/* What changes while a run lasts. */
typedef struct {
    int64_t step, starting_step;
    double start_time;
    bool offline, disabled, resumed;
} accel_wandb_facts_t;

/* `tracker` is what the class's `create` gave. The slots of a run are called as those of the
 * class are: one at a time, after everything logged before has been delivered. Texts that are
 * returned belong to the run, and live until the same slot is called again. */
typedef struct accel_wandb_v1 {
    size_t struct_size;
    void (*facts)(void *tracker, accel_wandb_facts_t *facts);
    accel_status_t (*define_metric)(void *tracker, const char *name,
                                    const accel_wandb_metric_options_t *options);
    accel_status_t (*config)(void *tracker, const accel_item_t *values, accel_wandb_config_t how);
    const char *(*config_json)(void *tracker);
    const char *(*summary_json)(void *tracker);
    accel_status_t (*summary_remove)(void *tracker, const char *key);
    /* "name" or "notes" */
    accel_status_t (*set_text)(void *tracker, const char *what, const char *text);
    accel_status_t (*set_tags)(void *tracker, const accel_list_t *tags);
    accel_status_t (*save)(void *tracker, const char *glob, const char *base_path,
                           accel_wandb_policy_t policy);
    accel_status_t (*mark_preempting)(void *tracker);
    /* Artifacts of the server. `tracker` NULL: of no run; else it becomes the run's input. What
     * *artifact is belongs to the caller, who may use it after the run. `what`: as
     * accel_wandb_artifact_info(), and "root", where the last download went. */
    accel_status_t (*artifact_get)(void *tracker, const char *name, const char *type,
                                   void **artifact);
    /* The one of that name that the run logged last; nothing but artifact_wait and
     * artifact_destroy before the former went well. */
    accel_status_t (*artifact_logged)(void *tracker, const char *name, void **artifact);
    accel_status_t (*artifact_wait)(void *artifact, double timeout);
    const accel_artifact_view_t *(*artifact_view)(void *artifact);
    const char *(*artifact_info)(void *artifact, const char *what);
    accel_status_t (*artifact_download)(void *artifact,
                                        const accel_wandb_download_options_t *options);
    void (*artifact_destroy)(void *artifact);
    /* accel_wandb_sync(); neither options nor result is NULL */
    accel_status_t (*sync)(const char *path, const accel_wandb_sync_options_t *options,
                           accel_wandb_sync_result_t *result);
    /* accel_wandb_login(), likewise */
    accel_status_t (*login)(const accel_wandb_login_options_t *options,
                            accel_wandb_login_result_t *result);
} accel_wandb_v1_t;

#ifdef __cplusplus
}
#endif

#endif
