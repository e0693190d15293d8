/* SPDX-License-Identifier: Apache-2.0 */
/* Files below files/media/: their names, their bytes, the record that has them uploaded. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media.h"

accel_status_t accel__wandb_sha256(const void *data, size_t size, char hex[65])
{
    unsigned char hash[32];
    if (EVP_Digest(data, size, hash, NULL, EVP_sha256(), NULL) != 1)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED, "wandb: libcrypto refuses SHA-256");
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return ACCEL_OK;
}

/* Empty parts, which paths do not count, go as well: a record's path must be a file's one name. */
char *accel__wandb_safe_key(accel__wandb_arena_t *arena, const char *key)
{
    char *safe = accel__wandb_arena_take(arena, strlen(key) + 2), *out = safe;
    while (safe && *key) {
        size_t length = strcspn(key, "/");
        bool dots = (length == 1 && key[0] == '.') || (length == 2 && !memcmp(key, "..", 2));
        if (length && out > safe)
            *out++ = '/';
        if (dots)
            memset(out, '_', length);
        else
            memcpy(out, key, length);
        out += length;
        key += length + (key[length] == '/');
    }
    return safe;
}

static char *media_path(const accel__wandb_run_t *run, accel__wandb_arena_t *arena, const char *key,
                        const accel__wandb_file_t *file)
{
    accel__wandb_text_t path = {0};
    const char *safe = accel__wandb_safe_key(arena, key);
    char *copy = NULL;
    if (safe)
        accel__wandb_text_printf(&path, "media/%s/%s_%lld_%.20s%s", file->kind, safe,
                                 (long long)run->step, file->sha256, file->extension);
    if (safe && !path.failed)
        copy = accel__wandb_arena_copy(arena, path.data, path.length);
    accel__wandb_text_free(&path);
    return copy;
}

/* The name says what is in it: one that is there already is the same, or half of it, as a program
 * that was killed leaves it. */
static accel_status_t write_file(const char *path, const void *data, size_t size)
{
    char *slash = strrchr(path, '/'), *directory = strndup(path, (size_t)(slash - path));
    int error = directory ? accel__wandb_make_dirs(directory) : ENOMEM;
    int fd = error ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    free(directory);
    if (!error && fd < 0)
        error = errno;
    if (!error)
        error = accel__wandb_write_all(fd, data, size);
    if (fd >= 0 && close(fd) < 0 && !error)
        error = errno;
    if (!error)
        return ACCEL_OK;
    if (fd >= 0)
        (void)unlink(path);
    return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot write the media file", path);
}

static void emit_file(accel__wandb_run_t *run, const char *path)
{
    Wandb__Record *record = accel__wandb_new(run, &wandb__record__descriptor);
    Wandb__FilesItem *item = accel__wandb_new(run, &wandb__files_item__descriptor);
    record->files = accel__wandb_new(run, &wandb__files_record__descriptor);
    record->files->files = accel__wandb_arena_take(&run->arena, sizeof(item));
    if (!record->files->files)
        return;
    accel__wandb_put(run, &item->path, path);
    record->files->files[0] = item;
    record->files->n_files = 1;
    accel__wandb_emit(run, record, true);
}

accel_status_t accel__wandb_media_write(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                        const char *key, accel__wandb_file_t *file)
{
    file->path = media_path(run, arena, key, file);
    char *files = accel__wandb_join(run->dir, "files");
    char *path = files && file->path ? accel__wandb_join(files, file->path) : NULL;
    accel_status_t status =
        path ? write_file(path, file->data, file->size) : accel__wandb_fail_memory();
    if (!status)
        emit_file(run, file->path);
    free(files);
    free(path);
    return status;
}
