/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of W&B's API, as texts, and one call that makes them. */
#ifndef ACCEL_TRACKER_WANDB_GRAPHQL_H
#define ACCEL_TRACKER_WANDB_GRAPHQL_H

#include <jansson.h>

#include "retry.h"

typedef struct {
    const char *name, *text;
} accel__wandb_operation_t;

extern const accel__wandb_operation_t accel__wandb_viewer, accel__wandb_upsert_bucket,
    accel__wandb_run_resume_status, accel__wandb_server_features, accel__wandb_create_run_files,
    accel__wandb_create_artifact, accel__wandb_create_artifact_manifest,
    accel__wandb_create_artifact_files, accel__wandb_commit_artifact, accel__wandb_use_artifact,
    accel__wandb_client_id_mapping;

/* POST {base}/graphql. Takes `variables` over. *data is the answer's "data", to json_decref().
 * On a failure the error's text has the operation and the server's words; *http_status, if not
 * NULL, the HTTP status (200: the server answered with errors; 0: no answer). */
accel_status_t accel__wandb_graphql(accel__wandb_http_t *http,
                                    const accel__wandb_operation_t *operation, json_t *variables,
                                    const accel__wandb_retry_t *retry, double timeout,
                                    const accel__wandb_listener_t *listener, json_t **data,
                                    long *http_status);

/* The member at the end of a path of keys, or NULL: ends with NULL. Borrowed. */
json_t *accel__wandb_json_at(json_t *value, ...) __attribute__((sentinel));
/* The same as text; NULL where there is none. */
#define ACCEL__WANDB_TEXT_AT(...) json_string_value(accel__wandb_json_at(__VA_ARGS__, NULL))

#endif
