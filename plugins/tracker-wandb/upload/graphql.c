/* SPDX-License-Identifier: Apache-2.0 */
#include "graphql.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET                                          \
    "id name displayName description config sweepName " \
    "project { id name entity { id name } } historyLineCount"

const accel__wandb_operation_t accel__wandb_viewer = {
    "Viewer", "query Viewer { viewer { id entity username email flags "
              "teams { edges { node { name } } } } }"};

const accel__wandb_operation_t accel__wandb_upsert_bucket = {
    "UpsertBucket",
    "mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String, "
    "$groupName: String, $description: String, $displayName: String, $notes: String, "
    "$commit: String, $config: JSONString, $host: String, $debug: Boolean, $program: String, "
    "$repo: String, $jobType: String, $state: String, $sweep: String, $tags: [String!], "
    "$summaryMetrics: JSONString) { "
    "upsertBucket(input: { id: $id, name: $name, groupName: $groupName, modelName: $project, "
    "entityName: $entity, description: $description, displayName: $displayName, notes: $notes, "
    "commit: $commit, config: $config, host: $host, debug: $debug, jobProgram: $program, "
    "jobRepo: $repo, jobType: $jobType, state: $state, sweep: $sweep, tags: $tags, "
    "summaryMetrics: $summaryMetrics }) { bucket { " BUCKET " } inserted } }"};

const accel__wandb_operation_t accel__wandb_run_resume_status = {
    "RunResumeStatus",
    "query RunResumeStatus($project: String, $entity: String, $name: String!) { "
    "model(name: $project, entityName: $entity) { id name entity { id name } "
    "bucket(name: $name, missingOk: true) { id name summaryMetrics displayName logLineCount "
    "historyLineCount eventsLineCount historyTail eventsTail config tags notes "
    "wandbConfig(keys: [\"t\"]) } } }"};

const accel__wandb_operation_t accel__wandb_server_features = {
    "ServerFeaturesQuery",
    "query ServerFeaturesQuery { serverInfo { features { name isEnabled } } }"};

const accel__wandb_operation_t accel__wandb_create_run_files = {
    "CreateRunFiles",
    "mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, "
    "$files: [String!]!) { createRunFiles(input: { entityName: $entity, projectName: $project, "
    "runName: $run, files: $files }) { runID uploadHeaders files { name uploadUrl } } }"};

const accel__wandb_operation_t accel__wandb_create_artifact = {
    "CreateArtifact",
    "mutation CreateArtifact($input: CreateArtifactInput!) { createArtifact(input: $input) { "
    "artifact { id state artifactSequence { latestArtifact { id } } } } }"};

const accel__wandb_operation_t accel__wandb_create_artifact_manifest = {
    "CreateArtifactManifest",
    "mutation CreateArtifactManifest($artifactID: ID!, $baseArtifactID: ID, $name: String!, "
    "$digest: String!, $entityName: String!, $projectName: String!, $runName: String!, "
    "$manifestType: ArtifactManifestType!, $includeUpload: Boolean!) { "
    "createArtifactManifest(input: { artifactID: $artifactID, baseArtifactID: $baseArtifactID, "
    "name: $name, digest: $digest, entityName: $entityName, projectName: $projectName, "
    "runName: $runName, type: $manifestType }) { artifactManifest { id file { id "
    "uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } } } }"};

const accel__wandb_operation_t accel__wandb_create_artifact_files = {
    "CreateArtifactFiles",
    "mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) { "
    "createArtifactFiles(input: $input) { files { edges { node { storagePath uploadUrl "
    "uploadHeaders uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } } "
    "artifact { id } } } } } }"};

const accel__wandb_operation_t accel__wandb_commit_artifact = {
    "CommitArtifact",
    "mutation CommitArtifact($artifactID: ID!) { commitArtifact(input: { artifactID: $artifactID "
    "}) { artifact { id digest } } }"};

const accel__wandb_operation_t accel__wandb_use_artifact = {
    "UseArtifact", "mutation UseArtifact($input: UseArtifactInput!) { useArtifact(input: $input) { "
                   "artifact { id } } }"};

const accel__wandb_operation_t accel__wandb_client_id_mapping = {
    "ClientIDMapping",
    "query ClientIDMapping($clientID: ID!) { clientIDMapping(clientID: $clientID) { serverID } }"};

/* ---- the call ---- */

static char *request_body(const accel__wandb_operation_t *operation, json_t *variables)
{
    json_t *request =
        json_pack("{s:s, s:o, s:s}", "query", operation->text, "variables",
                  variables ? variables : json_object(), "operationName", operation->name);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

static accel_status_t status_of(const accel__wandb_reply_t *reply)
{
    if (reply->outcome == ACCEL__WANDB_CANCELLED)
        return ACCEL_ERR_CANCELLED;
    if (reply->outcome == ACCEL__WANDB_UNREACHABLE)
        return ACCEL_ERR_IO;
    if (reply->outcome == ACCEL__WANDB_ANSWERED && reply->status == 404)
        return ACCEL_ERR_NOT_FOUND;
    return reply->status >= 500 || reply->status == 429 ? ACCEL_ERR_IO : ACCEL_ERR_INVALID;
}

static accel_status_t take_data(const accel__wandb_operation_t *operation,
                                const accel__wandb_reply_t *reply, json_t **data)
{
    json_error_t where;
    json_t *answer =
        json_loadb(reply->body.data ? reply->body.data : "", reply->body.length, 0, &where);
    json_t *found = json_object_get(answer, "data");
    accel_status_t status = ACCEL_OK;
    if (!answer) {
        status =
            accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: %s: the server's answer is no JSON: %s",
                              operation->name, where.text);
    } else if (json_array_size(json_object_get(answer, "errors"))) {
        char text[400];
        accel__wandb_reply_describe(reply, text, sizeof(text));
        const char *words = strchr(text, ':');
        status = accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: %s: the server says%s",
                                   operation->name, words ? words : " no");
    } else if (!json_is_object(found)) {
        status = accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: %s: the server's answer has no data",
                                   operation->name);
    } else {
        *data = json_incref(found);
    }
    json_decref(answer);
    return status;
}

/* Something between here and the server may answer in its place, and not in JSON: that passes, as
 * an error in the 500s does. */
static accel_status_t exchange(accel__wandb_http_t *http, const accel__wandb_operation_t *operation,
                               const accel__wandb_request_t *request,
                               const accel__wandb_retry_t *retry,
                               const accel__wandb_listener_t *listener, json_t **data,
                               long *http_status)
{
    enum { ODD_ANSWERS = 3 };
    accel__wandb_alarm_t *alarm = accel__wandb_http_alarm(http);
    for (int n = 0;; n++) {
        accel__wandb_reply_t reply;
        accel_status_t status;
        accel__wandb_http_insist(http, request, retry, listener, &reply);
        *http_status = reply.status;
        if (accel__wandb_reply_good(&reply)) {
            status = take_data(operation, &reply, data);
        } else {
            char text[400];
            accel__wandb_reply_describe(&reply, text, sizeof(text));
            status = accel__wandb_fail(status_of(&reply), "wandb: %s: %s", operation->name, text);
        }
        accel__wandb_reply_free(&reply);
        if (status != ACCEL_ERR_FORMAT || n >= retry->tries || n >= ODD_ANSWERS)
            return status;
        uint64_t seen = 0;
        accel__wandb_alarm_wait(alarm, 0, &seen);
        accel__wandb_alarm_wait(alarm, accel__wandb_retry_wait(retry, n, 0), &seen);
        if (accel__wandb_alarm_cancelled(alarm))
            return status;
    }
}

accel_status_t accel__wandb_graphql(accel__wandb_http_t *http,
                                    const accel__wandb_operation_t *operation, json_t *variables,
                                    const accel__wandb_retry_t *retry, double timeout,
                                    const accel__wandb_listener_t *listener, json_t **data,
                                    long *http_status)
{
    static const char *const headers[] = {"Content-Type: application/json"};
    accel__wandb_text_t url = {0};
    long answered = 0;
    accel_status_t status;
    char *body = request_body(operation, variables);
    *data = NULL;
    accel__wandb_text_printf(&url, "%s/graphql", accel__wandb_http_base(http));
    if (!body || url.failed) {
        status = accel__wandb_fail_memory();
    } else {
        accel__wandb_request_t request = {.method = ACCEL__WANDB_POST,
                                          .url = url.data,
                                          .headers = headers,
                                          .num_headers = 1,
                                          .body = body,
                                          .size = strlen(body),
                                          .timeout = timeout};
        status = exchange(http, operation, &request, retry, listener, data, &answered);
    }
    if (http_status)
        *http_status = answered;
    accel__wandb_text_free(&url);
    free(body);
    return status;
}

json_t *accel__wandb_json_at(json_t *value, ...)
{
    va_list keys;
    va_start(keys, value);
    for (const char *key; value && (key = va_arg(keys, const char *));)
        value = json_object_get(value, key);
    va_end(keys);
    return value;
}
