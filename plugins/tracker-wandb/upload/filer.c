/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that follows the log for files and artifacts. */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "upload.h"
#include "wire.h"

enum { POLL_SECONDS = 1, BATCH_FILES = 100, BATCH_SECONDS = 5, LIVE_SECONDS = 15, LINK_TRIES = 3 };

/* A file of the run, as the log names it. `sent`: it was uploaded, as of size and time. */
typedef struct {
    char *path; /* relative to files/ */
    Wandb__FilesItem__PolicyType policy;
    Wandb__FilesItem__FileType type;
    bool waits, sent;
    int64_t size;
    struct timespec modified;
} file_t;

typedef struct {
    accel__wandb_uploader_t *up;
    accel__wandb_http_t *http;
    accel__wandb_reader_t reader;
    void *files; /* a tree of file_t by path */
    file_t **all;
    size_t count, capacity, waiting;
    double oldest, next_live; /* when the first of those that wait came; of the monotonic clock */
    int64_t step;
    bool exited;
} filer_t;

static bool ended(const filer_t *filer)
{
    return accel__wandb_alarm_cancelled(&filer->up->alarm);
}

/* ---- the files known ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const file_t *)a)->path, ((const file_t *)b)->path);
}

/* Below files/, and nowhere else. */
static bool is_inside(const char *path)
{
    if (!*path || *path == '/')
        return false;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t length = strcspn(part, "/");
        if (length == 2 && !strncmp(part, "..", 2))
            return false;
    }
    return true;
}

static bool is_ignored(const filer_t *filer, const char *path)
{
    const accel__wandb_names_t *globs = &filer->up->settings->ignore_globs;
    for (size_t i = 0; i < globs->count; i++) {
        if (fnmatch(globs->names[i], path, 0) == 0)
            return true;
    }
    return false;
}

static file_t *remember(filer_t *filer, const char *path)
{
    file_t wanted = {.path = (char *)(uintptr_t)path};
    file_t **found = tfind(&wanted, &filer->files, by_path);
    if (found)
        return *found;
    if (filer->count == filer->capacity) {
        size_t capacity = filer->capacity * 2 + 16;
        file_t **grown = realloc(filer->all, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        filer->all = grown;
        filer->capacity = capacity;
    }
    file_t *file = calloc(1, sizeof(*file));
    if (file)
        file->path = strdup(path);
    if (!file || !file->path || !tsearch(file, &filer->files, by_path)) {
        if (file)
            free(file->path);
        free(file);
        return NULL;
    }
    filer->all[filer->count++] = file;
    return file;
}

static void let_wait(filer_t *filer, file_t *file)
{
    if (file->waits)
        return;
    file->waits = true;
    if (!filer->waiting++)
        filer->oldest = accel__wandb_monotonic();
}

static accel_status_t add_file(filer_t *filer, const char *path,
                               Wandb__FilesItem__PolicyType policy, Wandb__FilesItem__FileType type)
{
    if (!is_inside(path)) {
        accel__wandb_upload_notify(filer->up, true,
                                   "'%s' is not a path below files/: not uploaded.", path);
        return ACCEL_OK;
    }
    if (is_ignored(filer, path))
        return ACCEL_OK;
    file_t *file = remember(filer, path);
    if (!file)
        return accel__wandb_fail_memory();
    file->policy = policy;
    file->type = type;
    if (policy != WANDB__FILES_ITEM__POLICY_TYPE__END)
        let_wait(filer, file);
    return ACCEL_OK;
}

/* ---- uploading those that wait ---- */

static bool has_changed(const filer_t *filer, const file_t *file, struct stat *about)
{
    char *path = accel__wandb_join(filer->up->files_dir, file->path);
    bool there = path && stat(path, about) == 0;
    free(path);
    return there && (!file->sent || about->st_size != file->size ||
                     about->st_mtim.tv_sec != file->modified.tv_sec ||
                     about->st_mtim.tv_nsec != file->modified.tv_nsec);
}

static void tell_sender(accel__wandb_uploader_t *up, const char *path)
{
    pthread_mutex_lock(&up->lock);
    accel__wandb_text_append(&up->uploaded, path, strlen(path) + 1);
    pthread_mutex_unlock(&up->lock);
}

static accel_status_t ask_urls(filer_t *filer, file_t *const *batch, size_t count, json_t **data)
{
    accel__wandb_uploader_t *up = filer->up;
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(names, json_string(batch[i]->path));
    return accel__wandb_upload_ask(up, filer->http, &accel__wandb_create_run_files,
                                   json_pack("{s:s, s:s, s:s, s:o}", "entity", up->entity,
                                             "project", up->project, "run", up->run_id, "files",
                                             names),
                                   data);
}

static const char *url_of(json_t *created, const char *path)
{
    json_t *files = json_object_get(created, "files"), *file;
    size_t i;
    json_array_foreach(files, i, file)
    {
        const char *name = json_string_value(json_object_get(file, "name"));
        if (name && !strcmp(name, path))
            return json_string_value(json_object_get(file, "uploadUrl"));
    }
    return NULL;
}

/* *expired: the URL is too old, which a new one mends. */
static accel_status_t send_one(filer_t *filer, file_t *file, json_t *created, bool *expired)
{
    struct stat about = {0};
    long http_status = 0;
    char *path = accel__wandb_join(filer->up->files_dir, file->path);
    const char *url = url_of(created, file->path);
    accel_status_t status = ACCEL_OK;
    if (!path)
        status = accel__wandb_fail_memory();
    else if (!has_changed(filer, file, &about) && file->sent)
        file->waits = false; /* as it was when it was sent */
    else if (!url)
        status =
            accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the server gave no URL for %s", file->path);
    else
        status = accel__wandb_transfer_put(
            filer->up, filer->http,
            &(accel__wandb_put_t){
                .path = path, .url = url, .headers = json_object_get(created, "uploadHeaders")},
            &http_status);
    *expired = http_status == 403 || http_status == 401;
    if (!status && file->waits) {
        file->waits = false;
        accel__wandb_upload_count(filer->up, (int)file->type, true);
        file->sent = true;
        file->size = about.st_size;
        file->modified = about.st_mtim;
        tell_sender(filer->up, file->path);
    }
    free(path);
    return status;
}

static void miss(filer_t *filer, file_t *file, accel_status_t status)
{
    file->waits = false;
    accel__wandb_upload_notify(filer->up, true, "%s", accel__wandb_last_error());
    if (status != ACCEL_ERR_NOT_FOUND) /* one that is gone no later sync will find either */
        accel__wandb_upload_count(filer->up, (int)file->type, false);
}

static accel_status_t send_batch(filer_t *filer, file_t **batch, size_t count)
{
    for (int tries = 0; count && tries < LINK_TRIES && !ended(filer); tries++) {
        json_t *data = NULL;
        accel_status_t status = ask_urls(filer, batch, count, &data);
        json_t *created = json_object_get(data, "createRunFiles");
        size_t left = 0;
        for (size_t i = 0; i < count && !ended(filer); i++) {
            bool expired = false, last = tries + 1 == LINK_TRIES;
            accel_status_t one = status ? status : send_one(filer, batch[i], created, &expired);
            if (one && expired && !last)
                batch[left++] = batch[i];
            else if (one && one != ACCEL_ERR_CANCELLED)
                miss(filer, batch[i], one);
        }
        count = left;
        json_decref(data);
    }
    return ended(filer) ? ACCEL_ERR_CANCELLED : ACCEL_OK;
}

static accel_status_t send_waiting(filer_t *filer)
{
    file_t *batch[BATCH_FILES];
    accel_status_t status = ACCEL_OK;
    while (filer->waiting && !status) {
        size_t count = 0;
        for (size_t i = 0; i < filer->count && count < BATCH_FILES; i++) {
            if (filer->all[i]->waits)
                batch[count++] = filer->all[i];
        }
        status = send_batch(filer, batch, count);
        filer->waiting -= count;
    }
    return status;
}

/* ---- records ---- */

static accel_status_t take_files(filer_t *filer, const uint8_t *data, size_t size)
{
    Wandb__FilesRecord *record = wandb__files_record__unpack(NULL, size, data);
    accel_status_t status = ACCEL_OK;
    if (!record)
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the log's files record is damaged");
    for (size_t i = 0; i < record->n_files && !status; i++)
        status = add_file(filer, record->files[i]->path, record->files[i]->policy,
                          record->files[i]->type);
    wandb__files_record__free_unpacked(record, NULL);
    return status;
}

static accel_status_t take_artifact(filer_t *filer, const uint8_t *data, size_t size)
{
    Wandb__ArtifactRecord *record = wandb__artifact_record__unpack(NULL, size, data);
    if (!record)
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the log's artifact record is damaged");
    accel_status_t status = accel__wandb_artifact_save(filer->up, filer->http, record, filer->step);
    if (status && status != ACCEL_ERR_CANCELLED) {
        accel__wandb_upload_notify(filer->up, true, "Artifact '%s' was not uploaded: %s",
                                   record->name, accel__wandb_last_error());
        accel__wandb_upload_count(filer->up, WANDB__FILES_ITEM__FILE_TYPE__ARTIFACT, false);
        status = ACCEL_OK;
    }
    wandb__artifact_record__free_unpacked(record, NULL);
    return status;
}

static accel_status_t take_use(filer_t *filer, const uint8_t *data, size_t size)
{
    Wandb__UseArtifactRecord *record = wandb__use_artifact_record__unpack(NULL, size, data);
    if (!record)
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the log's use record is damaged");
    accel_status_t status = accel__wandb_artifact_use(filer->up, filer->http, record->id);
    if (status && status != ACCEL_ERR_CANCELLED) {
        accel__wandb_upload_notify(filer->up, true, "The use of artifact '%s' was not recorded: %s",
                                   record->name, accel__wandb_last_error());
        status = ACCEL_OK;
    }
    wandb__use_artifact_record__free_unpacked(record, NULL);
    return status;
}

/* HistoryRecord.step.num, which an artifact is logged at. */
static void take_step(filer_t *filer, const uint8_t *data, size_t size)
{
    accel__wandb_wire_t wire = accel__wandb_wire(data, size);
    while (accel__wandb_wire_next(&wire)) {
        if (wire.number != 2 || wire.type != 2)
            continue;
        accel__wandb_wire_t inner = accel__wandb_wire(wire.data, wire.size);
        filer->step = 0;
        if (accel__wandb_wire_next(&inner) && inner.number == 1 && inner.type == 0)
            filer->step = (int64_t)inner.value;
    }
}

static accel_status_t take_record(filer_t *filer)
{
    const uint8_t *data;
    size_t size;
    accel_status_t status = ACCEL_OK;
    switch (accel__wandb_wire_kind(filer->reader.record.data, filer->reader.record.length, &data,
                                   &size)) {
    case ACCEL__WANDB_FILES:
        status = take_files(filer, data, size);
        break;
    case ACCEL__WANDB_ARTIFACT:
        status = take_artifact(filer, data, size);
        break;
    case ACCEL__WANDB_USE_ARTIFACT:
        status = take_use(filer, data, size);
        break;
    case ACCEL__WANDB_HISTORY:
        take_step(filer, data, size);
        break;
    case ACCEL__WANDB_EXIT:
        filer->exited = true;
        break;
    default:
        break;
    }
    if (status == ACCEL_ERR_FORMAT) {
        accel__wandb_upload_notify(filer->up, true, "Skipped a record: %s",
                                   accel__wandb_last_error());
        status = ACCEL_OK;
    }
    return status;
}

/* ---- the thread ---- */

/* Files that are to be kept up to date. */
static void look_at_live(filer_t *filer)
{
    struct stat about;
    double now = accel__wandb_monotonic();
    if (now < filer->next_live)
        return;
    filer->next_live = now + LIVE_SECONDS;
    for (size_t i = 0; i < filer->count; i++) {
        file_t *file = filer->all[i];
        if (file->policy == WANDB__FILES_ITEM__POLICY_TYPE__LIVE &&
            has_changed(filer, file, &about))
            let_wait(filer, file);
    }
}

static accel_status_t follow(filer_t *filer)
{
    accel__wandb_uploader_t *up = filer->up;
    accel_status_t status = ACCEL_OK;
    uint64_t seen = 0;
    while (!status && !filer->exited && !ended(filer)) {
        bool closed = accel__wandb_upload_closed(up);
        accel__wandb_read_t found = accel__wandb_reader_next(&filer->reader);
        if (found == ACCEL__WANDB_READ_FAILED)
            return ACCEL_ERR_IO;
        if (found == ACCEL__WANDB_READ_RECORD) {
            status = take_record(filer);
            if (!status && filer->waiting >= BATCH_FILES)
                status = send_waiting(filer);
            continue;
        }
        if (closed)
            break;
        look_at_live(filer);
        if (filer->waiting && accel__wandb_monotonic() >= filer->oldest + BATCH_SECONDS)
            status = send_waiting(filer);
        if (!status)
            accel__wandb_alarm_wait(&up->alarm, POLL_SECONDS, &seen);
    }
    return status;
}

static accel_status_t add_generated(filer_t *filer)
{
    static const char *const names[] = {"wandb-summary.json", "config.yaml", "wandb-metadata.json",
                                        "output.log"};
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !status; i++) {
        char *path = accel__wandb_join(filer->up->files_dir, names[i]);
        struct stat about;
        bool there = path && stat(path, &about) == 0 &&
                     (about.st_size > 0 || strcmp(names[i], "output.log") != 0);
        free(path);
        if (there)
            status = add_file(filer, names[i], WANDB__FILES_ITEM__POLICY_TYPE__NOW,
                              WANDB__FILES_ITEM__FILE_TYPE__WANDB);
    }
    return status;
}

/* What is sent at the end: the files made then, those for the end, and those that have changed. */
static accel_status_t finish(filer_t *filer)
{
    accel_status_t status = send_waiting(filer);
    struct stat about;
    while (!status && !accel__wandb_upload_wait(filer->up, &filer->up->generated, POLL_SECONDS)) {
        if (ended(filer) || accel__wandb_upload_failed(filer->up))
            return ACCEL_ERR_CANCELLED;
    }
    if (!status)
        status = add_generated(filer);
    for (size_t i = 0; i < filer->count && !status; i++) {
        file_t *file = filer->all[i];
        bool last = file->policy != WANDB__FILES_ITEM__POLICY_TYPE__NOW;
        if (last && (!file->sent || has_changed(filer, file, &about)))
            let_wait(filer, file);
    }
    return status ? status : send_waiting(filer);
}

static void forget(void *file)
{
    free(((file_t *)file)->path);
    free(file);
}

void *accel__wandb_filer_main(void *uploader)
{
    accel__wandb_uploader_t *up = uploader;
    filer_t filer = {.up = up, .reader.fd = -1};
    accel_status_t status = accel__wandb_upload_http(up, &filer.http);
    while (!status && accel__wandb_uploader_wait(up, ACCEL__WANDB_UPLOAD_STARTING, POLL_SECONDS) ==
                          ACCEL__WANDB_UPLOAD_STARTING) {
        if (ended(&filer))
            status = ACCEL_ERR_CANCELLED;
    }
    if (!status && accel__wandb_upload_failed(up))
        status = ACCEL_ERR_CANCELLED;
    if (!status)
        status = accel__wandb_reader_open(&filer.reader, up->log_path);
    if (!status)
        status = follow(&filer);
    if (!status && !ended(&filer))
        status = finish(&filer);
    if (status && status != ACCEL_ERR_CANCELLED)
        accel__wandb_upload_fail(up, status, accel__wandb_last_error());
    else if (!status)
        accel__wandb_upload_set(up, &up->filed);
    accel__wandb_reader_close(&filer.reader);
    accel__wandb_http_destroy(filer.http);
    tdestroy(filer.files, forget);
    free(filer.all);
    return NULL;
}
