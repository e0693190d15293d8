/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of artifacts share: the object, and the walk of a directory. */
#ifndef ACCEL_TRACK_ARTIFACT_H
#define ACCEL_TRACK_ARTIFACT_H

#include <accel/track.h>

#include "base/base.h"

/* Entries that own their strings. Start from {0}. */
typedef struct accel__entries {
    accel_artifact_entry_t *items;
    size_t count, capacity;
} accel__entries_t;

/* Takes what `entry` points to, also on failure. */
accel_status_t accel__entries_add(accel__entries_t *entries, const accel_artifact_entry_t *entry);
void accel__entries_free(accel__entries_t *entries);
/* Make a file a reference: to `uri`, or to `below` it. */
accel_status_t accel__entries_refer(accel_artifact_entry_t *entry, const char *uri,
                                    const char *below);

/* "./a//b" becomes "a/b"; "..", absolute paths, empty ones and text that is not UTF-8 are
 * refused. *clean is the caller's. */
accel_status_t accel__artifact_clean_path(const char *path, char **clean);

/* Add the regular file `local_path` as `path`, which is clean. */
accel_status_t accel__artifact_collect_file(accel__entries_t *entries, const char *local_path,
                                            const char *path);

/* Add the regular files below a directory as PREFIX/..., or at the top if prefix is NULL. */
accel_status_t accel__artifact_collect_dir(accel__entries_t *entries, const char *local_path,
                                           const char *prefix);

#endif
