/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing an artifact's files here: from the cache, or from the server into the cache, some at a
 * time. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote.h"
#include "run.h"
#include "url.h"

enum { WORKERS = 4, TRIES = 20 };

/* One download, which its workers share. */
typedef struct {
    accel__wandb_remote_t *remote;
    const accel_wandb_download_options_t *options;
    char *cache; /* .../obj/md5; NULL: there is no place for one */
    int root;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock; /* for the first failure */
    accel_status_t status;
    char text[512];
} download_t;

/* ---- the cache ---- */

static char *cache_folder(void)
{
    const char *cache = accel__wandb_env("WANDB_CACHE_DIR"),
               *xdg = accel__wandb_env("XDG_CACHE_HOME");
    if (cache)
        return accel__wandb_join(cache, "artifacts/obj/md5");
    if (xdg)
        return accel__wandb_join(xdg, "wandb/artifacts/obj/md5");
    return accel__wandb_home_path(".cache/wandb/artifacts/obj/md5");
}

/* A new file for what comes from the server: in the cache's folder, else in the system's for
 * such. `path` has room for 16 characters beyond the folder. */
static int open_aside(const char *folder, char *path, size_t size)
{
    if (folder && accel__wandb_make_dirs(folder) == 0) {
        snprintf(path, size, "%s/tmpXXXXXX", folder);
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            return fd;
    }
    const char *temporary = accel__wandb_env("TMPDIR");
    snprintf(path, size, "%s/accel-XXXXXX", temporary ? temporary : "/tmp");
    return mkostemp(path, O_CLOEXEC);
}

/* ---- from the server ---- */

static char *file_url(const accel__wandb_remote_t *remote, const accel__wandb_remote_entry_t *entry,
                      const char *hex)
{
    const char *slash = strrchr(entry->path, '/');
    const char *parts[] = {remote->region ? remote->region : "default",
                           remote->entity,
                           remote->project,
                           remote->collection,
                           entry->birth_id ? entry->birth_id : "",
                           hex,
                           slash ? slash + 1 : entry->path};
    accel__wandb_text_t url = {0};
    accel__wandb_text_printf(&url, "%s/artifactsV2", remote->server.base_url);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        accel__wandb_text_puts(&url, "/");
        accel__wandb_url_quote(&url, parts[i], "");
    }
    if (!url.failed)
        return url.data;
    accel__wandb_text_free(&url);
    return NULL;
}

/* Each try begins with an empty file. `size` is what the manifest says; what goes on far beyond it
 * is not the file, and would fill the disk. Negative: it says nothing. */
static accel_status_t fetch(accel__wandb_http_t *http, const char *url, int fd, const char *path,
                            int64_t size)
{
    enum { SLACK = 1 << 20 }; /* room for the words of an error */
    const accel__wandb_request_t request = {.method = ACCEL__WANDB_GET,
                                            .url = url,
                                            .file = fd,
                                            .limit = size < 0 ? SIZE_MAX : (size_t)size + SLACK};
    const accel__wandb_retry_t retry = {ACCEL__WANDB_RETRY_TRANSFER, TRIES, 2, 60, 0};
    accel__wandb_reply_t reply = {0};
    char why[400];
    uint64_t seen = 0;
    for (int n = 0;; n++) {
        if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
            return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write", path);
        accel__wandb_http_exchange(http, &request, &reply);
        if (accel__wandb_reply_good(&reply) || n == TRIES ||
            !accel__wandb_retry_again(retry.kind, &reply))
            break;
        double wait = accel__wandb_retry_wait(&retry, n, 0.5);
        if (reply.retry_after >= 0)
            wait = reply.retry_after;
        accel__wandb_reply_free(&reply);
        accel__wandb_alarm_wait(NULL, wait, &seen);
    }
    bool good = accel__wandb_reply_good(&reply);
    if (!good)
        accel__wandb_reply_describe(&reply, why, sizeof(why));
    accel__wandb_reply_free(&reply);
    return good
               ? ACCEL_OK
               : accel__wandb_fail(ACCEL_ERR_IO, "wandb: '%s' cannot be downloaded: %s", path, why);
}

static accel_status_t check_file(int fd, const accel__wandb_remote_entry_t *entry)
{
    char found[25];
    int64_t size;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", entry->path);
    accel_status_t status = accel__wandb_fd_digest(fd, entry->path, -1, found, &size);
    if (!status && strcmp(found, entry->digest) != 0)
        status = accel__wandb_fail(ACCEL_ERR_FORMAT,
                                   "wandb: '%s' came with the digest %s, and the artifact says %s",
                                   entry->path, found, entry->digest);
    return status;
}

/* *fd is the file, checked, at whatever position. It keeps its place in the cache, if it has one
 * and that is whole. */
static accel_status_t download_file(const download_t *download, accel__wandb_http_t *http,
                                    const accel__wandb_remote_entry_t *entry, const char *hex,
                                    int *fd)
{
    size_t size = (download->cache ? strlen(download->cache) : 0) + 4200;
    char *aside = malloc(size), *folder = NULL, *url = file_url(download->remote, entry, hex);
    if (download->cache && aside) {
        snprintf(aside, size, "%s/%.2s", download->cache, hex);
        folder = strdup(aside);
    }
    accel_status_t status = ACCEL_OK;
    *fd = aside && url ? open_aside(folder, aside, size) : -1;
    if (!aside || !url)
        status = accel__wandb_fail_memory();
    else if (*fd < 0)
        status =
            accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot make a file for", entry->path);
    else
        status = fetch(http, url, *fd, entry->path, entry->size);
    if (!status)
        status = check_file(*fd, entry);
    if (*fd >= 0) {
        bool cached = false;
        if (!status && folder && !strncmp(aside, folder, strlen(folder))) {
            char *place = accel__wandb_join(folder, hex + 2);
            cached = place && rename(aside, place) == 0;
            free(place);
        }
        if (!cached)
            (void)unlink(aside);
        if (status)
            close(*fd);
    }
    free(aside);
    free(folder);
    free(url);
    return status;
}

/* ---- one entry ---- */

static int open_cached(const download_t *download, const accel__wandb_remote_entry_t *entry,
                       const char *hex)
{
    if (!download->cache || download->options->skip_cache)
        return -1;
    accel__wandb_text_t path = {0};
    accel__wandb_text_printf(&path, "%s/%.2s/%s", download->cache, hex, hex + 2);
    int fd = path.failed ? -1 : open(path.data, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && check_file(fd, entry) != ACCEL_OK) {
        (void)unlink(path.data);
        close(fd);
        fd = -1;
    }
    accel__wandb_text_free(&path);
    return fd;
}

static accel_status_t place(const download_t *download, const accel__wandb_remote_entry_t *entry,
                            int fd)
{
    accel_status_t status =
        lseek(fd, 0, SEEK_SET) < 0
            ? accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot read", entry->path)
            : accel__wandb_place_copy(download->root, entry->path, fd, entry->digest);
    close(fd);
    return status;
}

static accel_status_t take_reference(const download_t *download,
                                     const accel__wandb_remote_entry_t *entry)
{
    static const char scheme[] = "file://";
    char hex[33];
    if (download->options->skip_references)
        return ACCEL_OK;
    if (strncmp(entry->reference, scheme, strlen(scheme)) != 0 ||
        !accel__wandb_digest_hex(entry->digest, hex))
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: '%s' refers to %s, which is not downloaded here; "
                                 ".skip_references = true leaves it out",
                                 entry->path, entry->reference);
    int fd = open(entry->reference + strlen(scheme), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot open the artifact's reference",
                                       entry->reference);
    return place(download, entry, fd);
}

static accel_status_t take_entry(const download_t *download, accel__wandb_http_t *http,
                                 const accel__wandb_remote_entry_t *entry)
{
    char hex[33];
    if (download->options->path_prefix && strncmp(entry->path, download->options->path_prefix,
                                                  strlen(download->options->path_prefix)) != 0)
        return ACCEL_OK;
    if (accel__wandb_place_has(download->root, entry->path, entry->digest))
        return ACCEL_OK;
    if (entry->reference)
        return take_reference(download, entry);
    if (!accel__wandb_digest_hex(entry->digest, hex))
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: '%s' has no digest", entry->path);
    int fd = open_cached(download, entry, hex);
    accel_status_t status = fd < 0 ? download_file(download, http, entry, hex, &fd) : ACCEL_OK;
    return status ? status : place(download, entry, fd);
}

/* ---- workers ---- */

static void note_failure(download_t *download, accel_status_t status)
{
    pthread_mutex_lock(&download->lock);
    if (!download->status) {
        download->status = status;
        snprintf(download->text, sizeof(download->text), "%s", accel__wandb_last_error());
    }
    pthread_mutex_unlock(&download->lock);
    atomic_store(&download->failed, true);
}

static void *work(void *argument)
{
    download_t *download = argument;
    accel__wandb_http_t *http = NULL;
    accel_status_t status = accel__wandb_http_create(&download->remote->server, &http);
    while (!status && !atomic_load(&download->failed)) {
        size_t at = atomic_fetch_add(&download->next, 1);
        if (at >= download->remote->count)
            break;
        status = take_entry(download, http, &download->remote->entries[at]);
    }
    if (status)
        note_failure(download, status);
    accel__wandb_http_destroy(http);
    return NULL;
}

/* This thread works too; where no other starts, alone. */
static void work_together(download_t *download)
{
    pthread_t threads[WORKERS - 1];
    sigset_t all, before;
    size_t count = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (count < WORKERS - 1 && count + 1 < download->remote->count &&
           pthread_create(&threads[count], NULL, work, download) == 0)
        count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    work(download);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* ---- the whole ---- */

static const char *usual_root(accel__wandb_remote_t *remote)
{
    const char *folder = accel__wandb_env("WANDB_ARTIFACT_DIR");
    accel__wandb_text_t text = {0};
    accel__wandb_text_printf(&text, "%s/%s:%s", folder ? folder : "./artifacts", remote->collection,
                             remote->version);
    const char *root =
        text.failed ? NULL : accel__wandb_arena_copy(&remote->arena, text.data, text.length);
    accel__wandb_text_free(&text);
    return root;
}

static accel_status_t open_root(download_t *download, const char *root)
{
    int error = accel__wandb_make_dirs(root);
    download->root = error ? -1 : open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (download->root < 0)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error ? error : errno,
                                       "cannot make the artifact's folder", root);
    return ACCEL_OK;
}

accel_status_t accel__wandb_remote_download(accel__wandb_remote_t *remote,
                                            const accel_wandb_download_options_t *options)
{
    download_t download = {.remote = remote, .options = options, .root = -1};
    if (strchr(remote->collection, '/') || !accel__wandb_path_stays_inside(remote->collection))
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: '%s' is no name for a folder",
                                 remote->collection);
    const char *root = options->root ? accel__wandb_arena_copy(&remote->arena, options->root,
                                                               strlen(options->root))
                                     : usual_root(remote);
    if (!root)
        return accel__wandb_fail_memory();
    accel_status_t status = open_root(&download, root);
    if (status)
        return status;
    download.cache = options->skip_cache ? NULL : cache_folder();
    pthread_mutex_init(&download.lock, NULL);
    work_together(&download);
    pthread_mutex_destroy(&download.lock);
    close(download.root);
    free(download.cache);
    if (download.status)
        return accel__wandb_fail(download.status, "%s", download.text);
    remote->root = root;
    return ACCEL_OK;
}
