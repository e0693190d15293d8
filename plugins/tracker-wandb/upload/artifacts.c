/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts: created, their files uploaded, their manifest, committed. What the server already has
 * is not sent again. */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../run.h"
#include "upload.h"

enum { FILES_A_REQUEST = 100, LINK_TRIES = 3 };

typedef struct {
    accel__wandb_uploader_t *up;
    accel__wandb_http_t *http;
    const Wandb__ArtifactRecord *record;
    const Wandb__ArtifactManifest *manifest;
    char *id, *manifest_id;
    char **births; /* of each entry: the version it came with, or NULL */
} saving_t;

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

/* ---- create ---- */

static json_t *aliases_of(const Wandb__ArtifactRecord *record)
{
    json_t *aliases = json_array();
    for (size_t i = 0; i < record->n_aliases; i++)
        json_array_append_new(aliases, json_pack("{s:s, s:s}", "artifactCollectionName",
                                                 record->name, "alias", record->aliases[i]));
    return aliases;
}

static json_t *create_input(const saving_t *saving, int64_t step)
{
    const Wandb__ArtifactRecord *record = saving->record;
    json_t *input = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:I}", "entityName",
                              saving->up->entity, "projectName", saving->up->project, "runName",
                              saving->up->run_id, "artifactTypeName", record->type,
                              "artifactCollectionName", record->name, "digest", record->digest,
                              "digestAlgorithm", "MANIFEST_MD5", "aliases", aliases_of(record),
                              "enableDigestDeduplication", 1, "historyStep", (json_int_t)step);
    json_object_set_new(input, "description", text_or_null(record->description));
    json_object_set_new(input, "metadata", text_or_null(record->metadata));
    json_object_set_new(input, "distributedID", text_or_null(record->distributed_id));
    json_object_set_new(input, "clientID", text_or_null(record->client_id));
    json_object_set_new(input, "sequenceClientID", text_or_null(record->sequence_client_id));
    json_object_set_new(input, "ttlDurationSeconds",
                        record->ttl_duration_seconds ? json_integer(record->ttl_duration_seconds)
                                                     : json_null());
    return input;
}

static accel_status_t create(saving_t *saving, int64_t step, bool *committed)
{
    json_t *data = NULL;
    accel_status_t status =
        accel__wandb_upload_ask(saving->up, saving->http, &accel__wandb_create_artifact,
                                json_pack("{s:o}", "input", create_input(saving, step)), &data);
    json_t *artifact = accel__wandb_json_at(data, "createArtifact", "artifact", NULL);
    const char *state = ACCEL__WANDB_TEXT_AT(artifact, "state");
    if (!status &&
        (!accel__wandb_set_text(&saving->id, ACCEL__WANDB_TEXT_AT(artifact, "id")) || !saving->id))
        status = accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: CreateArtifact: the answer has no id");
    *committed = state && !strcmp(state, "COMMITTED");
    json_decref(data);
    return status;
}

/* ---- the manifest ---- */

/* Of the second time *data keeps the answer, which the URL is in. */
static accel_status_t create_manifest(saving_t *saving, const char *digest, bool upload,
                                      json_t **data)
{
    const Wandb__ArtifactRecord *record = saving->record;
    return accel__wandb_upload_ask(
        saving->up, saving->http, &accel__wandb_create_artifact_manifest,
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "artifactID", saving->id,
                  "baseArtifactID", text_or_null(record->base_id), "name", "wandb_manifest.json",
                  "digest", digest, "entityName", saving->up->entity, "projectName",
                  saving->up->project, "runName", saving->up->run_id, "manifestType", "FULL",
                  "includeUpload", (int)upload),
        data);
}

static accel_status_t begin_manifest(saving_t *saving)
{
    json_t *data = NULL;
    accel_status_t status = create_manifest(saving, "", false, &data);
    const char *id = ACCEL__WANDB_TEXT_AT(data, "createArtifactManifest", "artifactManifest", "id");
    if (!status && (!id || !accel__wandb_set_text(&saving->manifest_id, id)))
        status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                   "wandb: CreateArtifactManifest: the answer has no id");
    json_decref(data);
    return status;
}

/* "wandb-client-artifact://ID/path", made before the server had given an id, with the server's:
 * its number in hexadecimal. To free(); NULL after a failure. */
static char *resolve(saving_t *saving, const char *reference)
{
    static const char scheme[] = "wandb-client-artifact://";
    if (strncmp(reference, scheme, strlen(scheme)) != 0)
        return strdup(reference);
    const char *start = reference + strlen(scheme);
    char *client_id = strndup(start, strcspn(start, "/"));
    json_t *data = NULL;
    accel__wandb_text_t resolved = {0};
    accel_status_t status = accel__wandb_upload_ask(
        saving->up, saving->http, &accel__wandb_client_id_mapping,
        client_id ? json_pack("{s:s}", "clientID", client_id) : NULL, &data);
    const char *id = ACCEL__WANDB_TEXT_AT(data, "clientIDMapping", "serverID");
    unsigned char bytes[256];
    size_t length = id ? strlen(id) : 0;
    if (!status && length && length < sizeof(bytes) && length % 4 == 0) {
        int size = EVP_DecodeBlock(bytes, (const unsigned char *)id, (int)length);
        size -= (id[length - 1] == '=') + (length > 1 && id[length - 2] == '=');
        accel__wandb_text_puts(&resolved, "wandb-artifact://");
        for (int i = 0; i < size; i++)
            accel__wandb_text_printf(&resolved, "%02x", bytes[i]);
        accel__wandb_text_puts(&resolved, start + strcspn(start, "/"));
        if (size <= 0)
            accel__wandb_text_free(&resolved);
    }
    if (!status && !resolved.data)
        (void)accel__wandb_fail(ACCEL_ERR_FORMAT,
                                "wandb: the server does not know the artifact of %s", reference);
    json_decref(data);
    free(client_id);
    return resolved.data;
}

static json_t *json_of(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_null();
}

static json_t *entry_json(saving_t *saving, size_t index)
{
    const Wandb__ArtifactManifestEntry *entry = saving->manifest->contents[index];
    json_t *json =
        json_pack("{s:s, s:I}", "digest", entry->digest, "size", (json_int_t)entry->size);
    if (*entry->ref) {
        char *reference = resolve(saving, entry->ref);
        if (!reference) {
            json_decref(json);
            return NULL;
        }
        json_object_set_new(json, "ref", json_string(reference));
        free(reference);
    }
    const char *birth = saving->births[index] ? saving->births[index] : entry->birth_artifact_id;
    if (*birth)
        json_object_set_new(json, "birthArtifactID", json_string(birth));
    json_t *extra = entry->n_extra ? json_object() : NULL;
    for (size_t i = 0; i < entry->n_extra; i++)
        json_object_set_new(extra, entry->extra[i]->key, json_of(entry->extra[i]->value_json));
    if (extra)
        json_object_set_new(json, "extra", extra);
    return json;
}

static char *manifest_text(saving_t *saving)
{
    const Wandb__ArtifactManifest *manifest = saving->manifest;
    json_t *policy = json_object(), *contents = json_object();
    for (size_t i = 0; i < manifest->n_storage_policy_config; i++)
        json_object_set_new(policy, manifest->storage_policy_config[i]->key,
                            json_of(manifest->storage_policy_config[i]->value_json));
    json_t *json =
        json_pack("{s:i, s:s, s:o, s:o}", "version", manifest->version, "storagePolicy",
                  manifest->storage_policy, "storagePolicyConfig", policy, "contents", contents);
    bool good = json != NULL;
    for (size_t i = 0; i < manifest->n_contents && good; i++) {
        json_t *entry = entry_json(saving, i);
        good = entry && json_object_set_new(contents, manifest->contents[i]->path, entry) == 0;
    }
    char *text = good ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static accel_status_t text_digest(const char *text, char digest[25])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (EVP_Digest(text, strlen(text), hash, NULL, EVP_md5(), NULL) != 1)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED, "wandb: libcrypto refuses MD5");
    EVP_EncodeBlock((unsigned char *)digest, hash, 16);
    return ACCEL_OK;
}

static accel_status_t send_manifest(saving_t *saving)
{
    char digest[25];
    json_t *data = NULL;
    long http_status;
    char *text = manifest_text(saving);
    if (!text)
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the manifest: %s",
                                 accel__wandb_last_error());
    accel_status_t status = text_digest(text, digest);
    if (!status)
        status = create_manifest(saving, digest, true, &data);
    json_t *file =
        accel__wandb_json_at(data, "createArtifactManifest", "artifactManifest", "file", NULL);
    const char *url = ACCEL__WANDB_TEXT_AT(file, "uploadUrl");
    if (!status && !url)
        status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                   "wandb: CreateArtifactManifest: the answer has no URL");
    if (!status)
        status = accel__wandb_transfer_put(
            saving->up, saving->http,
            &(accel__wandb_put_t){.path = "the manifest",
                                  .body = text,
                                  .url = url,
                                  .headers = json_object_get(file, "uploadHeaders")},
            &http_status);
    json_decref(data);
    free(text);
    return status;
}

/* ---- files ---- */

static json_t *file_spec(const saving_t *saving, size_t index)
{
    const Wandb__ArtifactManifestEntry *entry = saving->manifest->contents[index];
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:n}", "artifactID", saving->id,
                     "artifactManifestID", saving->manifest_id, "name", entry->path, "md5",
                     entry->digest, "mimetype", text_or_null(entry->mimetype), "uploadPartsInput");
}

static accel_status_t ask_urls(saving_t *saving, const size_t *indexes, size_t count, json_t **data)
{
    json_t *specs = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(specs, file_spec(saving, indexes[i]));
    return accel__wandb_upload_ask(
        saving->up, saving->http, &accel__wandb_create_artifact_files,
        json_pack("{s:{s:o, s:s}}", "input", "artifactFiles", specs, "storageLayout", "V2"), data);
}

/* Which version the file came with; and, where the server has not its bytes yet, those. */
static accel_status_t send_file(saving_t *saving, size_t index, json_t *node, long *http_status)
{
    const Wandb__ArtifactManifestEntry *entry = saving->manifest->contents[index];
    const char *url = ACCEL__WANDB_TEXT_AT(node, "uploadUrl");
    *http_status = 0;
    if (!accel__wandb_set_text(&saving->births[index],
                               ACCEL__WANDB_TEXT_AT(node, "artifact", "id")))
        return accel__wandb_fail_memory();
    if (!url)
        return ACCEL_OK;
    accel_status_t status = accel__wandb_transfer_put(
        saving->up, saving->http,
        &(accel__wandb_put_t){.path = entry->local_path,
                              .url = url,
                              .headers = json_object_get(node, "uploadHeaders")},
        http_status);
    if (!status)
        accel__wandb_upload_count(saving->up, WANDB__FILES_ITEM__FILE_TYPE__ARTIFACT, true);
    return status;
}

/* The URLs of a batch may be too old when its last files' turn comes: then new ones are asked for.
 */
static accel_status_t send_batch(saving_t *saving, size_t *indexes, size_t count)
{
    accel_status_t status = ACCEL_OK;
    for (int tries = 0; count && !status && tries < LINK_TRIES; tries++) {
        json_t *data = NULL;
        size_t left = 0;
        status = ask_urls(saving, indexes, count, &data);
        json_t *edges = accel__wandb_json_at(data, "createArtifactFiles", "files", "edges", NULL);
        if (!status && json_array_size(edges) != count)
            status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                       "wandb: CreateArtifactFiles: %zu files asked for, %zu given",
                                       count, json_array_size(edges));
        for (size_t i = 0; i < count && !status; i++) {
            long http_status;
            json_t *node = json_object_get(json_array_get(edges, i), "node");
            status = send_file(saving, indexes[i], node, &http_status);
            if (status && (http_status == 403 || http_status == 401) && tries + 1 < LINK_TRIES) {
                indexes[left++] = indexes[i];
                status = ACCEL_OK;
            }
        }
        count = left;
        json_decref(data);
    }
    return status;
}

static accel_status_t send_files(saving_t *saving)
{
    size_t batch[FILES_A_REQUEST], count = 0;
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < saving->manifest->n_contents && !status; i++) {
        const Wandb__ArtifactManifestEntry *entry = saving->manifest->contents[i];
        if (!*entry->ref && *entry->local_path)
            batch[count++] = i;
        if (count == FILES_A_REQUEST) {
            status = send_batch(saving, batch, count);
            count = 0;
        }
    }
    return status ? status : send_batch(saving, batch, count);
}

/* ---- the whole ---- */

static accel_status_t commit(saving_t *saving)
{
    json_t *data = NULL;
    accel_status_t status =
        accel__wandb_upload_ask(saving->up, saving->http, &accel__wandb_commit_artifact,
                                json_pack("{s:s}", "artifactID", saving->id), &data);
    json_decref(data);
    return status;
}

/* Copies made for the upload are let go: they lie below the staging folder. */
static void unstage(const Wandb__ArtifactManifest *manifest)
{
    char *staging = accel__wandb_staging_dir(), *real = staging ? realpath(staging, NULL) : NULL;
    size_t length = real ? strlen(real) : 0;
    for (size_t i = 0; i < manifest->n_contents && length; i++) {
        const char *copy = manifest->contents[i]->local_path;
        char *where = *copy ? realpath(copy, NULL) : NULL;
        if (where && !strncmp(where, real, length) && where[length] == '/')
            (void)unlink(where);
        free(where);
    }
    free(real);
    free(staging);
}

static accel_status_t save(saving_t *saving, int64_t step)
{
    bool committed = false;
    accel_status_t status = create(saving, step, &committed);
    if (status || committed)
        return status;
    status = begin_manifest(saving);
    if (!status)
        status = send_files(saving);
    if (!status)
        status = send_manifest(saving);
    if (!status && saving->record->finalize)
        status = commit(saving);
    return status;
}

accel_status_t accel__wandb_artifact_save(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                          const Wandb__ArtifactRecord *record, int64_t step)
{
    const Wandb__ArtifactManifest *manifest = record->manifest;
    if (!manifest || *manifest->manifest_file_path)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: an artifact whose manifest is a file of its own (more "
                                 "than 100000 files): sync it with the stock client");
    saving_t saving = {.up = up,
                       .http = http,
                       .record = record,
                       .manifest = manifest,
                       .births = calloc(manifest->n_contents + 1, sizeof(char *))};
    accel_status_t status = saving.births ? save(&saving, step) : accel__wandb_fail_memory();
    if (!status && record->use_after_commit)
        status = accel__wandb_artifact_use(up, http, saving.id);
    if (!status)
        unstage(manifest);
    for (size_t i = 0; saving.births && i < manifest->n_contents; i++)
        free(saving.births[i]);
    free(saving.births);
    free(saving.id);
    free(saving.manifest_id);
    return status;
}

accel_status_t accel__wandb_artifact_use(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                         const char *artifact_id)
{
    json_t *data = NULL;
    accel_status_t status = accel__wandb_upload_ask(
        up, http, &accel__wandb_use_artifact,
        json_pack("{s:{s:s, s:s, s:s, s:s}}", "input", "entityName", up->entity, "projectName",
                  up->project, "runName", up->run_id, "artifactID", artifact_id),
        &data);
    json_decref(data);
    return status;
}
