/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest as a server gives it: read, and trusted in nothing. */
#include <stdlib.h>
#include <string.h>

#include "remote.h"
#include "run.h"

static accel_status_t fail_format(const accel__wandb_remote_t *remote, const char *what)
{
    return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the manifest of %s: %s",
                             remote->qualified_name, what);
}

static const char *keep(accel__wandb_remote_t *remote, const char *text)
{
    return text ? accel__wandb_arena_copy(&remote->arena, text, strlen(text)) : NULL;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const accel__wandb_remote_entry_t *)a)->path,
                  ((const accel__wandb_remote_entry_t *)b)->path);
}

static accel_status_t read_entry(accel__wandb_remote_t *remote, const char *path, json_t *value)
{
    accel__wandb_remote_entry_t *entry = &remote->entries[remote->count];
    const char *digest = ACCEL__WANDB_TEXT_AT(value, "digest");
    const json_t *size = json_object_get(value, "size");
    char hex[33];
    *entry = (accel__wandb_remote_entry_t){
        .path = keep(remote, path),
        .digest = keep(remote, digest),
        .reference = keep(remote, ACCEL__WANDB_TEXT_AT(value, "ref")),
        .birth_id = keep(remote, ACCEL__WANDB_TEXT_AT(value, "birthArtifactID")),
        .size = json_is_integer(size) ? (int64_t)json_integer_value(size) : -1,
    };
    if (!digest)
        return fail_format(remote, "an entry has no digest");
    if (!accel__wandb_path_stays_inside(path))
        return accel__wandb_fail(ACCEL_ERR_FORMAT,
                                 "wandb: the manifest of %s: the path '%s' leads out of the "
                                 "artifact; nothing is downloaded",
                                 remote->qualified_name, path);
    if (!entry->reference && !accel__wandb_digest_hex(digest, hex))
        return accel__wandb_fail(ACCEL_ERR_FORMAT,
                                 "wandb: the manifest of %s: '%s' has the digest '%s', which is no "
                                 "MD5 in base64",
                                 remote->qualified_name, path, digest);
    remote->count++;
    return ACCEL_OK;
}

static accel_status_t read_entries(accel__wandb_remote_t *remote, json_t *contents)
{
    accel_status_t status = ACCEL_OK;
    const char *path;
    json_t *value;
    remote->entries = accel__wandb_arena_take(&remote->arena, json_object_size(contents) *
                                                                  sizeof(*remote->entries));
    if (!remote->entries)
        return accel__wandb_fail_memory();
    json_object_foreach(contents, path, value)
    {
        if (!status)
            status = read_entry(remote, path, value);
    }
    if (!status && remote->count > 1)
        qsort(remote->entries, remote->count, sizeof(*remote->entries), compare_entries);
    return remote->arena.failed && !status ? accel__wandb_fail_memory() : status;
}

static accel_status_t check_digest(accel__wandb_remote_t *remote)
{
    accel__wandb_manifest_line_t *lines = calloc(remote->count + 1, sizeof(*lines));
    char digest[33];
    if (!lines)
        return accel__wandb_fail_memory();
    for (size_t i = 0; i < remote->count; i++)
        lines[i] =
            (accel__wandb_manifest_line_t){remote->entries[i].path, remote->entries[i].digest};
    accel_status_t status = accel__wandb_manifest_digest(lines, remote->count, digest);
    free(lines);
    if (!status && strcmp(digest, remote->digest) != 0)
        status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                   "wandb: the manifest of %s has the digest %s, and the artifact "
                                   "%s",
                                   remote->qualified_name, digest, remote->digest);
    return status;
}

/* What a program sees of it. */
static accel_status_t make_view(accel__wandb_remote_t *remote)
{
    accel_artifact_entry_t *entries =
        accel__wandb_arena_take(&remote->arena, remote->count * sizeof(*entries));
    if (!entries)
        return accel__wandb_fail_memory();
    for (size_t i = 0; i < remote->count; i++) {
        const accel__wandb_remote_entry_t *entry = &remote->entries[i];
        entries[i] = (accel_artifact_entry_t){.path = entry->path,
                                              .reference = entry->reference,
                                              .size = entry->size,
                                              .digest = entry->digest};
    }
    remote->view.entries = entries;
    remote->view.num_entries = (int64_t)remote->count;
    return ACCEL_OK;
}

accel_status_t accel__wandb_remote_manifest(accel__wandb_remote_t *remote, const char *text,
                                            size_t size)
{
    json_error_t error;
    json_t *manifest = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    json_t *contents = accel__wandb_json_at(manifest, "contents", NULL);
    const char *layout = ACCEL__WANDB_TEXT_AT(manifest, "storagePolicyConfig", "storageLayout");
    accel_status_t status;
    if (!json_is_object(contents))
        status = fail_format(remote, manifest ? "it has no contents" : error.text);
    else if (!layout || strcmp(layout, "V2") != 0)
        status = fail_format(remote, "its storage layout is not V2");
    else
        status = read_entries(remote, contents);
    remote->region =
        keep(remote, ACCEL__WANDB_TEXT_AT(manifest, "storagePolicyConfig", "storageRegion"));
    json_decref(manifest);
    if (!status)
        status = check_digest(remote);
    return status ? status : make_view(remote);
}
