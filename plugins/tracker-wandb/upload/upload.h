/* SPDX-License-Identifier: Apache-2.0 */
/* What the uploader's threads share. */
#ifndef ACCEL_TRACKER_WANDB_UPLOAD_H
#define ACCEL_TRACKER_WANDB_UPLOAD_H

#include <sys/types.h>

#include "bucket.h"
#include "reader.h"
#include "uploader.h"

struct accel__wandb_uploader {
    const accel__wandb_settings_t *settings;
    char *api_key, *log_path, *files_dir;
    bool live;
    void (*notify)(void *context, bool warning, const char *text);
    void *context;
    pid_t pid;
    pthread_t sender, filer;
    bool has_sender, has_filer;
    int hold; /* the lock on the log's syncstate */
    accel__wandb_alarm_t alarm;
    atomic_ullong moved, answers;

    pthread_mutex_t lock; /* for all that follows */
    pthread_cond_t changed;
    accel__wandb_progress_t progress;
    /* before the server has answered: what was asked for instead of the log's own; NULL: none */
    char *entity, *project, *run_id, *name;
    bool closed;                  /* the log does not grow any more */
    bool generated;               /* the sender has written the files that are made at the end */
    bool filed;                   /* all files and artifacts are through */
    accel__wandb_text_t uploaded; /* paths for the sender, each ended by a NUL */
};

/* ---- uploader.c ---- */

void accel__wandb_upload_notify(accel__wandb_uploader_t *up, bool warning, const char *format, ...)
    ACCEL_PRINTF(3, 4);
/* The upload ends here; the text is accel_last_error()'s, given as `text`. */
void accel__wandb_upload_fail(accel__wandb_uploader_t *up, accel_status_t status, const char *text);
bool accel__wandb_upload_failed(accel__wandb_uploader_t *up);
bool accel__wandb_upload_closed(accel__wandb_uploader_t *up);
/* Wait for a flag of the above, at most so many seconds; also ends when the upload has failed. */
bool accel__wandb_upload_wait(accel__wandb_uploader_t *up, const bool *flag, double seconds);
void accel__wandb_upload_set(accel__wandb_uploader_t *up, bool *flag);
accel_status_t accel__wandb_upload_http(accel__wandb_uploader_t *up, accel__wandb_http_t **http);
/* Retries of a kind, with the settings' numbers. */
accel__wandb_retry_t accel__wandb_upload_retry(const accel__wandb_uploader_t *up,
                                               accel__wandb_retry_kind_t kind, bool stream);
double accel__wandb_upload_timeout(const accel__wandb_uploader_t *up,
                                   accel__wandb_retry_kind_t kind, bool stream);
/* Trouble is remembered, and told once; a good answer clears it. */
accel__wandb_listener_t accel__wandb_upload_listener(accel__wandb_uploader_t *up);
void accel__wandb_upload_answered(accel__wandb_uploader_t *up);
/* GraphQL with all of these. */
accel_status_t accel__wandb_upload_ask(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                       const accel__wandb_operation_t *operation, json_t *variables,
                                       json_t **data);
/* A file went well, or did not. */
void accel__wandb_upload_count(accel__wandb_uploader_t *up, int kind, bool good);

/* ---- the threads ---- */

void *accel__wandb_sender_main(void *uploader); /* sender.c */
void *accel__wandb_filer_main(void *uploader);  /* filer.c */

/* ---- transfer.c ---- */

typedef struct {
    const char *path; /* of the file here; only a name where `body` is the content */
    const char *body;
    const char *url;
    json_t *headers; /* a list of "Name: value"; NULL: none */
} accel__wandb_put_t;

/* PUT a file or a text. ACCEL_ERR_NOT_FOUND: it is not there. *http_status: 0 without an answer. */
accel_status_t accel__wandb_transfer_put(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                         const accel__wandb_put_t *put, long *http_status);

/* ---- artifacts.c ---- */

accel_status_t accel__wandb_artifact_save(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                          const Wandb__ArtifactRecord *artifact, int64_t step);
accel_status_t accel__wandb_artifact_use(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                         const char *artifact_id);

#endif
