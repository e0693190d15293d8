/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts: files are hashed and copied to the staging folder in one pass; the record holds the
 * manifest. The copies are what `wandb sync` uploads, whatever becomes of the originals. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

#define FILE_SCHEME "file://"

enum { MD5_SIZE = 16, PIECE = 1 << 18 };

static accel_status_t fail_digest(void)
{
    return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                             "wandb: libcrypto refuses MD5, which artifacts' digests are made of");
}

/* Everything from `fd` into the digest and to `copy_fd`. */
static accel_status_t digest_stream(EVP_MD_CTX *md5, int fd, int copy_fd, char *piece,
                                    const char *path, int64_t *size)
{
    for (;;) {
        ssize_t got = read(fd, piece, PIECE);
        if (got == 0)
            return ACCEL_OK;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read the artifact's file",
                                           path);
        int error = copy_fd < 0 ? 0 : accel__wandb_write_all(copy_fd, piece, (size_t)got);
        if (error)
            return accel__wandb_fail_errno(ACCEL_ERR_IO, error,
                                           "cannot stage (WANDB_DATA_DIR says where) the "
                                           "artifact's file",
                                           path);
        if (EVP_DigestUpdate(md5, piece, (size_t)got) != 1)
            return fail_digest();
        *size += got;
    }
}

accel_status_t accel__wandb_fd_digest(int fd, const char *path, int copy_fd, char digest[25],
                                      int64_t *size)
{
    unsigned char hash[MD5_SIZE];
    accel_status_t status = ACCEL_OK;
    char *piece = malloc(PIECE);
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    *size = 0;
    if (!piece || !md5)
        status = accel__wandb_fail_memory();
    else if (EVP_DigestInit_ex(md5, EVP_md5(), NULL) != 1)
        status = fail_digest();
    else
        status = digest_stream(md5, fd, copy_fd, piece, path, size);
    if (!status && EVP_DigestFinal_ex(md5, hash, NULL) != 1)
        status = fail_digest();
    if (!status)
        EVP_EncodeBlock((unsigned char *)digest, hash, MD5_SIZE);
    EVP_MD_CTX_free(md5);
    free(piece);
    return status;
}

accel_status_t accel__wandb_file_digest(const char *path, int copy_fd, char digest[25],
                                        int64_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read the artifact's file",
                                       path);
    accel_status_t status = accel__wandb_fd_digest(fd, path, copy_fd, digest, size);
    close(fd);
    return status;
}

accel_status_t accel__wandb_manifest_digest(const accel__wandb_manifest_line_t *lines, size_t count,
                                            char digest[33])
{
    static const char head[] = "wandb-artifact-manifest-v1\n";
    unsigned char hash[MD5_SIZE];
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    if (!md5)
        return accel__wandb_fail_memory();
    bool good = EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1 &&
                EVP_DigestUpdate(md5, head, strlen(head)) == 1;
    for (size_t i = 0; i < count && good; i++)
        good = EVP_DigestUpdate(md5, lines[i].path, strlen(lines[i].path)) == 1 &&
               EVP_DigestUpdate(md5, ":", 1) == 1 &&
               EVP_DigestUpdate(md5, lines[i].digest, strlen(lines[i].digest)) == 1 &&
               EVP_DigestUpdate(md5, "\n", 1) == 1;
    good = good && EVP_DigestFinal_ex(md5, hash, NULL) == 1;
    EVP_MD_CTX_free(md5);
    if (!good)
        return fail_digest();
    for (size_t i = 0; i < MD5_SIZE; i++)
        snprintf(digest + 2 * i, 3, "%02x", hash[i]);
    return ACCEL_OK;
}

/* ---- staging ---- */

accel_status_t accel__wandb_staging(char **directory)
{
    char *path = accel__wandb_staging_dir();
    if (!path)
        return accel__wandb_fail(ACCEL_ERR_IO, "wandb: there is no home to stage artifacts in; set "
                                               "WANDB_DATA_DIR");
    char *absolute = path[0] == '/' ? strdup(path) : NULL, *here = NULL;
    if (!absolute) {
        here = getcwd(NULL, 0);
        absolute = here ? accel__wandb_join(here, path) : NULL;
    }
    free(here);
    free(path);
    if (!absolute)
        return accel__wandb_fail_memory();
    int error = accel__wandb_make_dirs(absolute);
    *directory = absolute;
    if (error)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error,
                                       "cannot make (WANDB_DATA_DIR says where) the staging folder",
                                       absolute);
    return ACCEL_OK;
}

static accel_status_t fail_staging(int error, const char *directory)
{
    return accel__wandb_fail_errno(ACCEL_ERR_IO, error,
                                   "cannot stage (WANDB_DATA_DIR says where) files in", directory);
}

/* A new file in the folder; *name is its path, to free(). */
static accel_status_t open_staged(const char *directory, char **name, int *fd)
{
    *name = accel__wandb_join(directory, "tmpXXXXXXXX");
    *fd = *name ? mkostemp(*name, O_CLOEXEC) : -1;
    if (*fd >= 0)
        return ACCEL_OK;
    int error = *name ? errno : ENOMEM;
    free(*name);
    *name = NULL;
    return fail_staging(error, directory);
}

/* What was written stays under its name, which goes to the arena, or goes. */
static accel_status_t close_staged(accel__wandb_arena_t *arena, int fd, char *name,
                                   accel_status_t status, char **copy)
{
    if (close(fd) < 0 && !status)
        status = fail_staging(errno, name);
    if (!status) {
        *copy = accel__wandb_arena_copy(arena, name, strlen(name));
        status = *copy ? ACCEL_OK : accel__wandb_fail_memory();
    }
    if (status)
        (void)unlink(name);
    free(name);
    return status;
}

/* Copies the file; *copy is its path, in the run's arena. */
static accel_status_t stage(accel__wandb_run_t *run, const char *directory, const char *path,
                            char digest[25], int64_t *size, char **copy)
{
    char *name;
    int fd;
    accel_status_t status = open_staged(directory, &name, &fd);
    if (!name)
        return status;
    status = accel__wandb_file_digest(path, fd, digest, size);
    return close_staged(&run->arena, fd, name, status, copy);
}

accel_status_t accel__wandb_stage_data(accel__wandb_arena_t *arena, const char *directory,
                                       const void *data, size_t size, char **path)
{
    char *name;
    int fd;
    accel_status_t status = open_staged(directory, &name, &fd);
    if (!name)
        return status;
    int error = accel__wandb_write_all(fd, data, size);
    if (error)
        status = fail_staging(error, directory);
    return close_staged(arena, fd, name, status, path);
}

/* ---- the record ---- */

/* A reference to a file here, whose check sum nobody gave. */
static bool is_local(const accel_artifact_entry_t *entry)
{
    return !strncmp(entry->reference, FILE_SCHEME, strlen(FILE_SCHEME)) &&
           (!entry->digest || !strcmp(entry->digest, entry->reference));
}

static accel_status_t fill_entry(accel__wandb_run_t *run, const accel_artifact_entry_t *entry,
                                 const char *staging, Wandb__ArtifactManifestEntry *record)
{
    char digest[25], *copy = NULL;
    int64_t size = 0;
    accel__wandb_put(run, &record->path, entry->path);
    if (entry->reference && is_local(entry)) {
        accel__wandb_put(run, &record->ref, entry->reference);
        accel_status_t status =
            accel__wandb_file_digest(entry->reference + strlen(FILE_SCHEME), -1, digest, &size);
        accel__wandb_put(run, &record->digest,
                         accel__wandb_arena_copy(&run->arena, digest, status ? 0 : strlen(digest)));
        record->size = size;
        return status;
    }
    if (entry->reference) {
        accel__wandb_put(run, &record->ref, entry->reference);
        accel__wandb_put(run, &record->digest, entry->digest ? entry->digest : entry->reference);
        record->size = entry->size > 0 ? entry->size : 0;
        return ACCEL_OK;
    }
    accel_status_t status = entry->immutable
                                ? accel__wandb_file_digest(entry->local_path, -1, digest, &size)
                                : stage(run, staging, entry->local_path, digest, &size, &copy);
    if (status)
        return status;
    accel__wandb_put(run, &record->digest,
                     accel__wandb_arena_copy(&run->arena, digest, strlen(digest)));
    accel__wandb_put(run, &record->local_path, entry->immutable ? entry->local_path : copy);
    record->size = size;
    return ACCEL_OK;
}

static Wandb__ArtifactManifest *new_manifest(accel__wandb_run_t *run, size_t count)
{
    Wandb__ArtifactManifest *manifest =
        accel__wandb_new(run, &wandb__artifact_manifest__descriptor);
    Wandb__StoragePolicyConfigItem *layout =
        accel__wandb_new(run, &wandb__storage_policy_config_item__descriptor);
    manifest->version = 1;
    accel__wandb_put(run, &manifest->storage_policy, "wandb-storage-policy-v1");
    accel__wandb_put(run, &layout->key, "storageLayout");
    accel__wandb_put(run, &layout->value_json, "\"V2\"");
    manifest->storage_policy_config = accel__wandb_arena_take(&run->arena, sizeof(void *));
    if (manifest->storage_policy_config) {
        manifest->storage_policy_config[0] = layout;
        manifest->n_storage_policy_config = 1;
    }
    manifest->contents = accel__wandb_arena_take(&run->arena, count * sizeof(void *));
    return manifest;
}

static accel_status_t fill_manifest(accel__wandb_run_t *run, const accel_artifact_view_t *artifact,
                                    Wandb__ArtifactManifest *manifest, char digest[33])
{
    size_t count = (size_t)artifact->num_entries;
    accel__wandb_manifest_line_t *lines =
        accel__wandb_arena_take(&run->arena, count * sizeof(*lines));
    char *staging = NULL;
    accel_status_t status = ACCEL_OK;
    if (!manifest->contents || !lines)
        return accel__wandb_fail_memory();
    for (size_t i = 0; i < count && !status; i++) {
        const accel_artifact_entry_t *entry = &artifact->entries[i];
        Wandb__ArtifactManifestEntry *record =
            accel__wandb_new(run, &wandb__artifact_manifest_entry__descriptor);
        if (!entry->reference && !entry->immutable && !staging)
            status = accel__wandb_staging(&staging);
        if (!status)
            status = fill_entry(run, entry, staging, record);
        manifest->contents[manifest->n_contents++] = record;
        lines[i] = (accel__wandb_manifest_line_t){record->path, record->digest};
    }
    free(staging);
    return status ? status : accel__wandb_manifest_digest(lines, count, digest);
}

/* A failure in the middle leaves no copies behind. */
static void unstage(const accel_artifact_view_t *artifact, const Wandb__ArtifactManifest *manifest)
{
    for (size_t i = 0; i < manifest->n_contents; i++) {
        const char *copy = manifest->contents[i]->local_path;
        if (!artifact->entries[i].immutable && *copy)
            (void)unlink(copy);
    }
}

/* "latest" is always among the aliases, and first. */
static void put_aliases(accel__wandb_run_t *run, const accel_artifact_view_t *artifact,
                        Wandb__ArtifactRecord *record)
{
    size_t count = (size_t)artifact->num_aliases;
    record->aliases = accel__wandb_arena_take(&run->arena, (count + 1) * sizeof(char *));
    if (!record->aliases)
        return;
    accel__wandb_put(run, &record->aliases[record->n_aliases++], "latest");
    for (size_t i = 0; i < count; i++) {
        if (strcmp(artifact->aliases[i], "latest") != 0)
            accel__wandb_put(run, &record->aliases[record->n_aliases++], artifact->aliases[i]);
    }
}

/* ---- what was logged ---- */

struct accel__wandb_logged {
    char *name, client[129];
};

const char *accel__wandb_logged_client(const accel__wandb_run_t *run, const char *name)
{
    for (size_t i = 0; i < run->num_logged; i++) {
        if (!strcmp(run->logged[i].name, name))
            return run->logged[i].client;
    }
    return NULL;
}

void accel__wandb_logged_free(accel__wandb_run_t *run)
{
    for (size_t i = 0; i < run->num_logged; i++)
        free(run->logged[i].name);
    free(run->logged);
}

/* Best effort: without memory it cannot be waited for. */
static void remember(accel__wandb_run_t *run, const char *name,
                     const accel__wandb_artifact_ids_t *ids)
{
    char *known = (char *)accel__wandb_logged_client(run, name);
    if (run->settings.effective_mode != ACCEL__WANDB_ONLINE)
        return;
    if (!known) {
        size_t size = (run->num_logged + 1) * sizeof(*run->logged);
        struct accel__wandb_logged *grown = realloc(run->logged, size);
        char *copy = strdup(name);
        run->logged = grown ? grown : run->logged;
        if (!grown || !copy) {
            free(copy);
            return;
        }
        run->logged[run->num_logged].name = copy;
        known = run->logged[run->num_logged++].client;
    }
    memcpy(known, ids->client, sizeof(ids->client));
}

/* ---- the whole ---- */

/* Types, with the beginnings of names, that the client's own artifacts have. */
accel_status_t accel__wandb_check_artifact(const accel_artifact_view_t *artifact)
{
    static const struct {
        const char *type, *name;
    } reserved[] = {{"job", ""}, {"run_table", "run-"}, {"code", "source-"}};
    bool own = !strncmp(artifact->type, "wandb-", 6);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
        own = own || (!strcmp(artifact->type, reserved[i].type) &&
                      !strncmp(artifact->name, reserved[i].name, strlen(reserved[i].name)));
    if (!own)
        return ACCEL_OK;
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: the type '%s' of the artifact '%s' is reserved for W&B's own; "
                             "use another",
                             artifact->type, artifact->name);
}

accel_status_t accel__wandb_emit_artifact(accel__wandb_run_t *run,
                                          const accel_artifact_view_t *artifact,
                                          accel__wandb_artifact_ids_t *ids)
{
    accel__wandb_artifact_ids_t own;
    char digest[33];
    ids = ids ? ids : &own;
    Wandb__ArtifactManifest *manifest = new_manifest(run, (size_t)artifact->num_entries);
    accel_status_t status = fill_manifest(run, artifact, manifest, digest);
    if (!status)
        status = accel__wandb_random_id(ids->client, 128);
    if (!status)
        status = accel__wandb_random_id(ids->sequence_client, 128);
    if (status) {
        unstage(artifact, manifest);
        accel__wandb_arena_free(&run->arena);
        return status;
    }
    Wandb__ArtifactRecord *about = accel__wandb_new(run, &wandb__artifact_record__descriptor);
    accel__wandb_put(run, &about->run_id, run->settings.run_id);
    accel__wandb_put(run, &about->project, run->settings.project);
    accel__wandb_put(run, &about->entity, run->settings.entity);
    accel__wandb_put(run, &about->type, artifact->type);
    accel__wandb_put(run, &about->name, artifact->name);
    accel__wandb_put(run, &about->digest, digest);
    accel__wandb_put(run, &about->description, artifact->description);
    accel__wandb_put(run, &about->metadata, artifact->metadata);
    put_aliases(run, artifact, about);
    about->manifest = manifest;
    about->finalize = true;
    accel__wandb_put(run, &about->client_id, ids->client);
    accel__wandb_put(run, &about->sequence_client_id, ids->sequence_client);
    accel__wandb_put(run, &about->digest_algorithm, "MANIFEST_MD5");
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    record->artifact = about;
    accel__wandb_emit(run, record, true);
    remember(run, artifact->name, ids);
    return accel__wandb_commit(run);
}
