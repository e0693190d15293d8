/* SPDX-License-Identifier: Apache-2.0 */
/* The uploader: follows a run's log and brings what it says to the server. It is the only way from
 * a record to the network: of an online run while its log grows, of any run when its log is at
 * rest.
 *
 * Two threads read the log, each with a reader of its own: the sender (run, configuration, file
 * stream) and the one for files and artifacts, whose transfers may be long. What waits is a
 * position in the log and at most one request's worth of lines, so memory is bounded however long
 * the network is away. */
#ifndef ACCEL_TRACKER_WANDB_UPLOADER_H
#define ACCEL_TRACKER_WANDB_UPLOADER_H

#include "../settings.h"

typedef struct accel__wandb_uploader accel__wandb_uploader_t;

typedef struct {
    const accel__wandb_settings_t *settings; /* base URL, limits; must outlive the uploader */
    const char *api_key;
    const char *log_path;
    const char *entity, *project, *run_id; /* instead of the log's own; NULL: those */
    bool live; /* the log grows: until its exit record, or accel__wandb_uploader_close() */
    /* What a person should know, one line; comes from the uploader's threads. May be NULL. */
    void (*notify)(void *context, bool warning, const char *text);
    void *context;
} accel__wandb_upload_t;

typedef enum {
    ACCEL__WANDB_UPLOAD_STARTING, /* the server has not answered yet */
    ACCEL__WANDB_UPLOAD_RUNNING,
    ACCEL__WANDB_UPLOAD_DONE,
    ACCEL__WANDB_UPLOAD_FAILED
} accel__wandb_upload_state_t;

enum { ACCEL__WANDB_FILE_KINDS = 4 }; /* other, wandb, media, artifact: as FilesItem.type */

typedef struct {
    accel__wandb_upload_state_t state;
    accel_status_t status; /* FAILED: why, */
    char error[400];       /* in words */
    char trouble[400];     /* what the last try met that did not go well; "" since one went well */
    uint64_t log_read, log_size; /* bytes */
    int64_t rows;                /* of history, sent */
    int64_t files_sent[ACCEL__WANDB_FILE_KINDS], files_missed;
    uint64_t moved;   /* bytes on the network */
    uint64_t answers; /* requests that went well */
    bool stopped;     /* somebody pressed "stop" */
} accel__wandb_progress_t;

accel_status_t accel__wandb_uploader_start(const accel__wandb_upload_t *upload,
                                           accel__wandb_uploader_t **uploader);

/* Wait until the state is another than `state`, at most so many seconds. */
accel__wandb_upload_state_t accel__wandb_uploader_wait(accel__wandb_uploader_t *uploader,
                                                       accel__wandb_upload_state_t state,
                                                       double seconds);
void accel__wandb_uploader_progress(accel__wandb_uploader_t *uploader,
                                    accel__wandb_progress_t *progress);

/* What the server says the run is; NULL while STARTING. Valid as long as the uploader. */
const char *accel__wandb_uploader_entity(accel__wandb_uploader_t *uploader);
const char *accel__wandb_uploader_project(accel__wandb_uploader_t *uploader);
const char *accel__wandb_uploader_run_id(accel__wandb_uploader_t *uploader);
const char *accel__wandb_uploader_name(accel__wandb_uploader_t *uploader);

/* Nothing more will be written to the log: what is there is sent now, without waiting. */
void accel__wandb_uploader_close(accel__wandb_uploader_t *uploader);

/* End it at once, wherever it is; frees. NULL is fine. In a forked child, which has none of its
 * threads, it does nothing. */
void accel__wandb_uploader_destroy(accel__wandb_uploader_t *uploader);

#endif
