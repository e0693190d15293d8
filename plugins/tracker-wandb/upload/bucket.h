/* SPDX-License-Identifier: Apache-2.0 */
/* A run as the server keeps it (it calls it a bucket): who it is, and its configuration, put
 * together from the records of a log. */
#ifndef ACCEL_TRACKER_WANDB_BUCKET_H
#define ACCEL_TRACKER_WANDB_BUCKET_H

#include "graphql.h"
#include "tree.h"
#include "wandb.pb-c.h"

/* What a name is given to, and its message as packed by whoever wrote it last. */
typedef struct {
    char *name;
    accel__wandb_text_t message;
} accel__wandb_bucket_metric_t;

typedef struct {
    Wandb__RunRecord *record; /* NULL: none yet */
    /* asked for until the server has answered, then its own words */
    char *entity, *project, *run_id, *display_name, *storage_id, *sweep;
    accel__wandb_tree_t config; /* values by key, with "_wandb" as the program gave it */
    accel__wandb_text_t environment, telemetry; /* messages, merged */
    accel__wandb_bucket_metric_t *metrics;
    size_t num_metrics;
    int64_t history_lines; /* that the server has; -1: it did not say */
    bool inserted;
    bool changed, renamed; /* what the server does not know yet: configuration; name, notes, tags */
} accel__wandb_bucket_t;

void accel__wandb_bucket_free(accel__wandb_bucket_t *bucket);

/* Is a record's member about the run itself: RUN, CONFIG, TELEMETRY, METRIC or ENVIRONMENT? */
bool accel__wandb_bucket_concerns(uint32_t kind);

/* Take in such a member; others change nothing. The first RUN says all, later ones a new name,
 * notes or tags. Damaged ones are ACCEL_ERR_FORMAT. */
accel_status_t accel__wandb_bucket_take(accel__wandb_bucket_t *bucket, uint32_t kind,
                                        const uint8_t *data, size_t size);

/* The configuration as the server stores it: {"key": {"value": ...}, ..., "_wandb": ...}. False
 * without memory. */
bool accel__wandb_bucket_config(accel__wandb_bucket_t *bucket, accel__wandb_tree_t *config);

/* UpsertBucket. The first says everything and takes over what the server answers; later ones
 * bring what has changed. */
accel_status_t accel__wandb_bucket_upsert(accel__wandb_bucket_t *bucket, accel__wandb_http_t *http,
                                          bool first, const accel__wandb_retry_t *retry,
                                          double timeout, const accel__wandb_listener_t *listener);

/* Replace *place by a copy; false without memory. NULL and "" leave it. */
bool accel__wandb_set_text(char **place, const char *text);

/* ---- environment.c ---- */

/* An EnvironmentRecord's message as the JSON of wandb-metadata.json. */
bool accel__wandb_environment_json(const accel__wandb_text_t *message, accel__wandb_text_t *json);

#endif
