/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts that a server has: found by name, and brought here. */
#ifndef ACCEL_TRACKER_WANDB_REMOTE_H
#define ACCEL_TRACKER_WANDB_REMOTE_H

#include <accel/wandb.h>

#include "settings.h"
#include "upload/graphql.h"

/* A file or reference of one, as its manifest has it. */
typedef struct {
    const char *path, *digest, *reference, *birth_id;
    int64_t size; /* -1: not said */
} accel__wandb_remote_entry_t;

typedef struct {
    accel__wandb_arena_t arena; /* of all that follows */
    accel__wandb_http_options_t server;
    double patience; /* seconds that a question may take, with all its tries */
    const char *entity, *project, *collection, *id, *digest, *version, *qualified_name;
    const char *region, *root; /* root: where it was downloaded to */
    const char *client_id;     /* of one that is waited for */
    accel__wandb_remote_entry_t *entries;
    size_t count;
    accel_artifact_view_t view;
} accel__wandb_remote_t;

/* What is looked for, and by whom. */
typedef struct {
    const accel__wandb_settings_t *settings;
    const char *entity, *project; /* where the name has none; NULL: the key's own, and none */
    const char *name;             /* [[ENTITY/]PROJECT/]NAME[:ALIAS] */
    const char *type;             /* NULL: any */
    const char *run_id;           /* the run that it becomes an input of; NULL: none */
} accel__wandb_wanted_t;

/* The artifact of that client id, which is on its way to the server: *remote is it when it has
 * arrived and accel__wandb_remote_wait() was called. */
accel_status_t accel__wandb_remote_expect(const accel__wandb_settings_t *settings,
                                          const char *client_id, accel__wandb_remote_t **remote);
/* Wait until it is committed, at most so many seconds: ACCEL_ERR_TIMEOUT. */
accel_status_t accel__wandb_remote_wait(accel__wandb_remote_t *remote, double timeout);

accel_status_t accel__wandb_remote_get(const accel__wandb_wanted_t *wanted,
                                       accel__wandb_remote_t **remote);
void accel__wandb_remote_destroy(accel__wandb_remote_t *remote);

/* manifest.c: read a manifest; its entries must be such as belong into a folder, and have the
 * digest that the artifact has. */
accel_status_t accel__wandb_remote_manifest(accel__wandb_remote_t *remote, const char *text,
                                            size_t size);

/* download.c */
accel_status_t accel__wandb_remote_download(accel__wandb_remote_t *remote,
                                            const accel_wandb_download_options_t *options);

/* ---- place.c: files in a folder that others may write to ---- */

/* A path within a folder, by stock's rules and no others: not empty, not absolute, no part "",
 * "." or "..". */
bool accel__wandb_path_stays_inside(const char *path);

/* The hex form of an MD5 in base64; false if it is none. */
bool accel__wandb_digest_hex(const char *base64, char hex[33]);

/* Is there a regular file of that digest at `path` below the folder `root_fd`? No symbolic link is
 * followed. */
bool accel__wandb_place_has(int root_fd, const char *path, const char *digest);

/* Copy `from` to `path`: whole or not at all. The content must have that digest. Folders on the
 * way are made; a symbolic link on the way, or anything that is no folder, is an error. */
accel_status_t accel__wandb_place_copy(int root_fd, const char *path, int from, const char *digest);

#endif
