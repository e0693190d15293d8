/* SPDX-License-Identifier: Apache-2.0 */
/* What the server knows of a run from before. */
#ifndef ACCEL_TRACKER_WANDB_RESUME_H
#define ACCEL_TRACKER_WANDB_RESUME_H

#include "graphql.h"
#include "tree.h"

typedef struct accel__wandb_past {
    bool exists; /* with something in it: a run that no client has begun is none */
    char *storage_id, *display_name, *notes;
    json_t *tags;               /* a list of texts, or NULL */
    accel__wandb_tree_t config; /* values by key, without "_wandb" */
    accel__wandb_tree_t summary;
    int64_t history_lines, events_lines, output_lines;
    int64_t next_step;
    double runtime; /* seconds */
} accel__wandb_past_t;

/* RunResumeStatus. Entity and project may be NULL: the key's own, the default. */
accel_status_t accel__wandb_past_ask(accel__wandb_http_t *http, const char *entity,
                                     const char *project, const char *run_id,
                                     const accel__wandb_retry_t *retry, double timeout,
                                     const accel__wandb_listener_t *listener,
                                     accel__wandb_past_t *past);
void accel__wandb_past_free(accel__wandb_past_t *past);

#endif
