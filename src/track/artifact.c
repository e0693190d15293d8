/* SPDX-License-Identifier: Apache-2.0 */
#include "track/artifact.h"
#include "track/json.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LENGTH 128
#define METADATA_KEYS_MAX 100
#define FILE_SCHEME "file://"

struct accel_artifact {
    accel_artifact_view_t view; /* points into what follows */
    char *name, *type, *description;
    accel__text_t metadata;
    char **aliases;
    bool immutable;
    accel__entries_t entries; /* sorted by path */
    char **made;              /* files that new_file has made */
    size_t num_made;
};

/* ---- what may be in one ---- */

static accel_status_t check_name(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";

    if (name && *name && strlen(name) <= NAME_MAX_LENGTH && name[strspn(name, allowed)] == '\0')
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "artifact: the name is '%s'; expected 1 to %d letters, digits, '_', '-' "
                       "or '.'",
                       name ? name : "(null)", NAME_MAX_LENGTH);
}

static accel_status_t check_text(const char *what, const char *text)
{
    const accel_item_t item[] = {accel_item_string(what, text), accel_item_end()};

    return accel__dict_check(item, "artifact");
}

static accel_status_t check_type(const char *type)
{
    if (!type || !*type || strlen(type) > NAME_MAX_LENGTH)
        return accel__fail(ACCEL_ERR_INVALID,
                           "artifact: the type is '%s'; expected \"dataset\", \"model\" or another "
                           "text of 1 to %d characters",
                           type ? type : "(null)", NAME_MAX_LENGTH);
    return check_text("type", type);
}

/* JSON proper, unlike a row: it has neither NaN nor integers beyond int64. */
static accel_status_t check_metadata(const accel_item_t *items, const char *key)
{
    accel_status_t status = ACCEL_OK;

    for (; items && items->type != ACCEL_TYPE_END && status == ACCEL_OK; items++) {
        const char *name = *items->key ? items->key : key;

        if (items->type == ACCEL_TYPE_FLOAT && !isfinite(items->value.f))
            status = accel__fail(ACCEL_ERR_INVALID,
                                 "artifact: metadata '%s' is not a finite number", name);
        else if (items->type == ACCEL_TYPE_UINT && items->value.u > INT64_MAX)
            status =
                accel__fail(ACCEL_ERR_INVALID, "artifact: metadata '%s' is beyond 2^63 - 1", name);
        else if (items->type == ACCEL_TYPE_DICT)
            status = check_metadata(items->value.dict, name);
        else if (items->type == ACCEL_TYPE_LIST)
            status = check_metadata(items->value.list, name);
    }
    return status;
}

static accel_status_t set_metadata(accel_artifact_t *artifact, const accel_item_t *metadata)
{
    accel_status_t status = accel__dict_check(metadata, "artifact: metadata");
    size_t keys = 0;

    if (status == ACCEL_OK)
        status = check_metadata(metadata, "");
    if (status != ACCEL_OK || !metadata)
        return status;
    while (metadata[keys].type != ACCEL_TYPE_END)
        keys++;
    if (keys > METADATA_KEYS_MAX)
        return accel__fail(ACCEL_ERR_INVALID,
                           "artifact: metadata has %zu keys; expected at most %d", keys,
                           METADATA_KEYS_MAX);
    accel__json_dict(&artifact->metadata, metadata);
    if (artifact->metadata.failed)
        return accel__fail_memory("an artifact's metadata", artifact->metadata.length);
    artifact->view.metadata = artifact->metadata.data;
    return ACCEL_OK;
}

static accel_status_t set_aliases(accel_artifact_t *artifact, const char *const *aliases)
{
    size_t count = 0;

    while (aliases && aliases[count])
        count++;
    artifact->aliases = calloc(count + 1, sizeof(*artifact->aliases));
    if (!artifact->aliases)
        return accel__fail_memory("an artifact's aliases", count * sizeof(*artifact->aliases));
    for (size_t i = 0; i < count; i++) {
        accel_status_t status = check_text("alias", aliases[i]);

        if (status != ACCEL_OK)
            return status;
        if (!*aliases[i] || strpbrk(aliases[i], "/:"))
            return accel__fail(ACCEL_ERR_INVALID,
                               "artifact: the alias '%s' is empty or has '/' or ':' in it",
                               aliases[i]);
        artifact->aliases[i] = accel__strdup(aliases[i]);
        if (!artifact->aliases[i])
            return accel__fail_memory("an alias", strlen(aliases[i]));
    }
    artifact->view.aliases = (const char *const *)artifact->aliases;
    artifact->view.num_aliases = (int64_t)count;
    return ACCEL_OK;
}

/* ---- create and destroy ---- */

static accel_status_t fill(accel_artifact_t *artifact, const char *name, const char *type,
                           const accel_artifact_options_t *options)
{
    accel_status_t status;

    artifact->name = accel__strdup(name);
    artifact->type = accel__strdup(type);
    artifact->description = accel__strdup(options->description);
    if (!artifact->name || !artifact->type || (options->description && !artifact->description))
        return accel__fail_memory("an artifact's texts", strlen(name) + strlen(type));
    artifact->view.name = artifact->name;
    artifact->view.type = artifact->type;
    artifact->view.description = artifact->description;
    artifact->immutable = options->immutable;
    status = set_metadata(artifact, options->metadata);
    return status == ACCEL_OK ? set_aliases(artifact, options->aliases) : status;
}

accel_status_t accel_artifact_create(const char *name, const char *type,
                                     const accel_artifact_options_t *options,
                                     accel_artifact_t **artifact)
{
    accel_artifact_options_t read = {0};
    accel_artifact_t *made;
    accel_status_t status;

    if (!artifact)
        return accel__fail(ACCEL_ERR_INVALID, "accel_artifact_create: artifact is NULL");
    *artifact = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_artifact_options_t");
    if (status == ACCEL_OK)
        status = check_name(name);
    if (status == ACCEL_OK)
        status = check_type(type);
    if (status == ACCEL_OK && read.description)
        status = check_text("description", read.description);
    if (status != ACCEL_OK)
        return status;
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("an artifact", sizeof(*made));
    status = fill(made, name, type, &read);
    if (status != ACCEL_OK) {
        accel_artifact_destroy(made);
        return status;
    }
    *artifact = made;
    return ACCEL_OK;
}

void accel_artifact_destroy(accel_artifact_t *artifact)
{
    if (!artifact)
        return;
    for (char **alias = artifact->aliases; alias && *alias; alias++)
        free(*alias);
    free(artifact->aliases);
    free(artifact->name);
    free(artifact->type);
    free(artifact->description);
    accel__text_free(&artifact->metadata);
    accel__entries_free(&artifact->entries);
    for (size_t i = 0; i < artifact->num_made; i++) {
        (void)unlink(artifact->made[i]);
        free(artifact->made[i]);
    }
    free(artifact->made);
    free(artifact);
}

/* ---- adding ---- */

static int compare_entries(const void *a, const void *b)
{
    const accel_artifact_entry_t *left = a, *right = b;

    return strcmp(left->path, right->path);
}

static void sort(accel__entries_t *entries)
{
    if (entries->count > 1)
        qsort(entries->items, entries->count, sizeof(*entries->items), compare_entries);
}

/* Takes all entries of `added`, or none. */
static accel_status_t merge(accel_artifact_t *artifact, accel__entries_t *added)
{
    accel__entries_t *entries = &artifact->entries;
    size_t count = entries->count + added->count;
    accel_artifact_entry_t *items;

    for (size_t i = 0; i < added->count && entries->count > 0; i++)
        if (bsearch(&added->items[i], entries->items, entries->count, sizeof(*entries->items),
                    compare_entries))
            return accel__fail(ACCEL_ERR_INVALID, "artifact '%s' has the path '%s' already",
                               artifact->name, added->items[i].path);
    if (added->count == 0)
        return ACCEL_OK;
    for (size_t i = 0; i < added->count; i++)
        added->items[i].immutable = artifact->immutable && !added->items[i].reference;
    items = realloc(entries->items, count * sizeof(*items));
    if (!items)
        return accel__fail_memory("entries of an artifact", count * sizeof(*items));
    memcpy(items + entries->count, added->items, added->count * sizeof(*items));
    *entries = (accel__entries_t){.items = items, .count = count, .capacity = count};
    added->count = 0;
    sort(entries);
    artifact->view.entries = entries->items;
    artifact->view.num_entries = (int64_t)entries->count;
    return ACCEL_OK;
}

static accel_status_t check_call(const accel_artifact_t *artifact, const char *source,
                                 const char *call)
{
    if (artifact && source && *source)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "%s: %s", call,
                       artifact ? "expected what to add" : "artifact is NULL");
}

/* `name`, or what stands behind the last '/' of `source`. */
static accel_status_t entry_path(const char *source, const char *name, char **path)
{
    const char *slash = strrchr(source, '/');

    return accel__artifact_clean_path(name ? name : slash ? slash + 1 : source, path);
}

accel_status_t accel_artifact_add_file(accel_artifact_t *artifact, const char *local_path,
                                       const char *name)
{
    accel_status_t status = check_call(artifact, local_path, "accel_artifact_add_file");
    accel__entries_t added = {0};
    char *path = NULL;

    if (status == ACCEL_OK)
        status = entry_path(local_path, name, &path);
    if (status == ACCEL_OK)
        status = accel__artifact_collect_file(&added, local_path, path);
    if (status == ACCEL_OK)
        status = merge(artifact, &added);
    accel__entries_free(&added);
    free(path);
    return status;
}

accel_status_t accel_artifact_add_dir(accel_artifact_t *artifact, const char *local_path,
                                      const char *name)
{
    accel_status_t status = check_call(artifact, local_path, "accel_artifact_add_dir");
    accel__entries_t added = {0};
    char *prefix = NULL;

    if (status == ACCEL_OK && name)
        status = accel__artifact_clean_path(name, &prefix);
    if (status == ACCEL_OK)
        status = accel__artifact_collect_dir(&added, local_path, prefix);
    if (status == ACCEL_OK)
        status = merge(artifact, &added);
    accel__entries_free(&added);
    free(prefix);
    return status;
}

/* ---- files made here ---- */

/* A path for a file of ours, which goes with the artifact. */
static accel_status_t make_place(accel_artifact_t *artifact, char **place)
{
    const char *folder = accel__env("TMPDIR");
    accel__text_t path = {0};
    char **made = realloc(artifact->made, (artifact->num_made + 1) * sizeof(*made));

    if (made)
        artifact->made = made;
    accel__text_appendf(&path, "%s/accel-artifact-XXXXXX", folder ? folder : "/tmp");
    if (!made || path.failed) {
        accel__text_free(&path);
        return accel__fail_memory("a file of an artifact", path.length);
    }
    artifact->made[artifact->num_made++] = path.data;
    *place = path.data;
    return ACCEL_OK;
}

static accel_status_t write_made(char *place, const void *data, size_t size)
{
    int fd = mkostemp(place, O_CLOEXEC);
    accel_status_t status;

    if (fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot make a file", place);
    status = accel__write_full(fd, data, size, place);
    if (close(fd) != 0 && status == ACCEL_OK)
        status = accel__fail_errno(ACCEL_ERR_IO, "%s: cannot write", place);
    return status;
}

accel_status_t accel_artifact_new_file(accel_artifact_t *artifact, const char *name,
                                       const void *data, size_t size)
{
    accel_status_t status = check_call(artifact, name, "accel_artifact_new_file");
    char *place = NULL;

    if (status == ACCEL_OK && !data && size > 0)
        status = accel__fail(ACCEL_ERR_INVALID, "accel_artifact_new_file: data is NULL");
    if (status == ACCEL_OK)
        status = make_place(artifact, &place);
    if (status == ACCEL_OK)
        status = write_made(place, data, size);
    return status == ACCEL_OK ? accel_artifact_add_file(artifact, place, name) : status;
}

/* ---- references ---- */

/* Files and folders of this machine become references to each file. */
static accel_status_t collect_local(accel__entries_t *added, const char *uri, const char *name)
{
    const char *local = uri + strlen(FILE_SCHEME);
    struct stat facts;
    char *path = NULL;
    accel_status_t status = ACCEL_OK;
    size_t skipped;
    bool folder;

    if (stat(local, &facts) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "artifact: %s", uri);
    folder = S_ISDIR(facts.st_mode);
    if (name || !folder)
        status = entry_path(local, name, &path);
    if (status == ACCEL_OK)
        status = folder ? accel__artifact_collect_dir(added, local, path)
                        : accel__artifact_collect_file(added, local, path);
    skipped = path ? strlen(path) + 1 : 0; /* of an entry's path: the rest is below the folder */
    free(path);
    for (size_t i = 0; i < added->count && status == ACCEL_OK; i++)
        status = accel__entries_refer(&added->items[i], uri,
                                      folder ? added->items[i].path + skipped : NULL);
    return status;
}

static accel_status_t make_reference(const char *uri, const char *name, const char *digest,
                                     accel_artifact_entry_t *entry)
{
    char *path;
    accel_status_t status = entry_path(uri, name, &path);

    if (status != ACCEL_OK)
        return status;
    *entry = (accel_artifact_entry_t){
        .path = path,
        .reference = accel__strdup(uri),
        .digest = accel__strdup(digest ? digest : uri),
        .size = -1,
    };
    return ACCEL_OK;
}

static accel_status_t add_reference(accel__entries_t *added, const char *uri, const char *name,
                                    const char *digest)
{
    accel_artifact_entry_t entry;
    accel_status_t status = make_reference(uri, name, digest, &entry);

    if (status == ACCEL_OK)
        status = accel__entries_add(added, &entry);
    if (status == ACCEL_OK && (!entry.reference || !entry.digest))
        status = accel__fail_memory("a reference", strlen(uri));
    return status;
}

accel_status_t accel_artifact_add_reference(accel_artifact_t *artifact, const char *uri,
                                            const char *name, const char *digest)
{
    accel_status_t status = check_call(artifact, uri, "accel_artifact_add_reference");
    accel__entries_t added = {0};
    const char *scheme;

    if (status != ACCEL_OK)
        return status;
    scheme = strstr(uri, "://");
    if (!scheme || scheme == uri)
        return accel__fail(ACCEL_ERR_INVALID,
                           "artifact: '%s' is no URI; expected one such as s3://bucket/file", uri);
    status = check_text("reference", uri);
    if (status == ACCEL_OK && digest)
        status = check_text("digest", digest);
    if (status == ACCEL_OK && !digest && strncmp(uri, FILE_SCHEME, strlen(FILE_SCHEME)) == 0)
        status = collect_local(&added, uri, name);
    else if (status == ACCEL_OK)
        status = add_reference(&added, uri, name, digest);
    if (status == ACCEL_OK)
        status = merge(artifact, &added);
    accel__entries_free(&added);
    return status;
}

const accel_artifact_view_t *accel_artifact_view(const accel_artifact_t *artifact)
{
    return artifact ? &artifact->view : NULL;
}
