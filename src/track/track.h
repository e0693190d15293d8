/* SPDX-License-Identifier: Apache-2.0 */
/* What the façade may ask of the tracking room. */
#ifndef ACCEL_TRACK_TRACK_H
#define ACCEL_TRACK_TRACK_H

#include <accel/track.h>

#include "base/base.h"

/* The trackers of one accelerator: one handle a name in log_with, on every rank. */
typedef struct accel__trackers accel__trackers_t;

typedef struct accel__trackers_options {
    const char *log_with;    /* "wandb,jsonl", "all", or NULL: none */
    const char *logging_dir; /* NULL: none */
    const char *journal;     /* "async", "sync", or NULL: ACCEL_JOURNAL, else "async" */
    int32_t process_index, num_processes;
    bool without_project; /* init may be given no project's name */
} accel__trackers_options_t;

/* Parse log_with and find every class (plugins are loaded where the tracker will run); an
 * unknown name is ACCEL_ERR_NOT_FOUND and names the nearest. Starts nothing. Local. */
accel_status_t accel__trackers_create(const accel__trackers_options_t *options,
                                      accel__trackers_t **trackers);

/* Create, start, and give the configuration to, the trackers that run on this rank. On an
 * error none runs. Twice is ACCEL_ERR_STATE. Local. */
accel_status_t accel__trackers_init(accel__trackers_t *trackers, const char *project_name,
                                    const accel_item_t *config, const accel_item_t *init_kwargs);

/* The hot path: about a microsecond. ACCEL_ERR_STATE before init; nothing after finish. */
accel_status_t accel__trackers_log(accel__trackers_t *trackers, const accel_item_t *values,
                                   int64_t step);

/* NULL with a text for an unknown name, or before init. */
accel_tracker_t *accel__trackers_get(accel__trackers_t *trackers, const char *name);

/* Deliver everything logged, finish all. Returns the first error, also one met earlier on the
 * journal thread. Twice is fine. Local. */
accel_status_t accel__trackers_finish(accel__trackers_t *trackers, int32_t exit_code);

/* Finishes with exit code 1 what still runs. NULL is fine. */
void accel__trackers_destroy(accel__trackers_t *trackers);

#endif
