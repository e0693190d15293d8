/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tracking room share. */
#ifndef ACCEL_TRACK_TRACKER_H
#define ACCEL_TRACK_TRACKER_H

#include <pthread.h>
#include <stdatomic.h>

#include <accel/wandb.h>

#include "track/journal.h"
#include "track/track.h"

/* ---- classes by name (registry.c, plugin.c) ---- */

#define ACCEL__TRACKER_NAME_MAX 64

/* Names a tracker can have: letters, digits, '_', '-' and '.', at most 64. */
bool accel__tracker_name_valid(const char *name);

/* Copy a class of any version; its version, name and required slots are checked. `what` is
 * for the message. The name stays the source's. */
accel_status_t accel__tracker_class_read(const accel_tracker_class_t *source, const char *what,
                                         accel_tracker_class_t *copy);

/* The class of that name: registered, built in, or a plugin's. Where `main_process` is false
 * the W&B plugin is not loaded: its class then has nothing but a name. What the name points to
 * lives as long as the process. */
accel_status_t accel__tracker_class_find(const char *name, bool main_process,
                                         accel_tracker_class_t *found);

/* Is there such a tracker, whether or not it would load? */
bool accel__tracker_known(const char *name);

/* Add the names that "all" stands for, separated by commas. */
void accel__tracker_append_all(accel__text_t *names);

/* " (did you mean 'wandb'?)", or "" when no known name is near. */
void accel__tracker_suggest(const char *name, char *text, size_t size);

/* Load libaccel-tracker-NAME.so and ask it for its class. */
accel_status_t accel__tracker_plugin_load(const char *name, accel_tracker_class_t *found);
bool accel__tracker_plugin_exists(const char *name);

/* The built-in JSON lines (jsonl/jsonl.c). */
extern const accel_tracker_class_t accel__jsonl_class;

/* ---- one tracker of an accelerator (tracker.c) ---- */

struct accel_wandb_run {
    accel_tracker_t *tracker;
    accel__trackers_t *own;       /* of a run by itself; NULL: an accelerator's */
    struct accel_wandb_run *next; /* of the runs by themselves that are open */
    atomic_bool stopped;          /* as the plugin said when it was asked last */
};

struct accel_tracker {
    accel__trackers_t *owner;
    accel_tracker_class_t slots;
    bool here;                  /* runs on this rank */
    struct accel_wandb_run run; /* what unwrap gives for "wandb" */

    /* Held while a slot runs, so that slots are called one at a time. */
    pthread_mutex_t lock;
    void *state; /* what create gave; NULL before and after */
    bool started;
    bool unflushed;         /* log came since the last flush */
    accel_status_t failure; /* the first that a log met, for finish */
    char failure_text[512];
};

void accel__tracker_open(accel_tracker_t *tracker, accel__trackers_t *owner,
                         const accel_tracker_class_t *tracker_class, bool here);
void accel__tracker_close(accel_tracker_t *tracker);

/* Create, start, and store the configuration. On an error the tracker does not run. */
accel_status_t accel__tracker_start(accel_tracker_t *tracker, const accel_tracker_init_t *init,
                                    const accel_item_t *config);

/* Flush, finish and destroy. The first error of its life, or ACCEL_OK. */
accel_status_t accel__tracker_stop(accel_tracker_t *tracker, int32_t exit_code);

/* ACCEL_ERR_STATE inside a slot of any tracker. */
accel_status_t accel__tracker_check_caller(void);

/* Call the log slot; with `flush`, the flush slot too. A failure is remembered. */
accel_status_t accel__tracker_deliver(accel_tracker_t *tracker, const accel_item_t *values,
                                      int64_t step, double timestamp, bool flush);
accel_status_t accel__tracker_flush(accel_tracker_t *tracker);

const char *accel__tracker_info(accel_tracker_t *tracker, const char *what);
/* The same without waiting: false, and *fact is left, while another thread is in a slot. */
bool accel__tracker_try_info(accel_tracker_t *tracker, const char *what, const char **fact);

/* Around a call of a slot other than log: all that was logged is delivered and flushed, and the
 * tracker is the caller's until it leaves. `slot` and `status` are the call's name and result. */
typedef struct accel__slot_call {
    char
        text_before[160]; /* a slot need not leave a text: an older one must not pass for its own */
} accel__slot_call_t;

accel_status_t accel__tracker_enter(accel_tracker_t *tracker, accel__slot_call_t *call);
accel_status_t accel__tracker_leave(accel_tracker_t *tracker, const accel__slot_call_t *call,
                                    const char *slot, accel_status_t status);

/* ---- the trackers of an accelerator (trackers.c) ---- */

/* Log to all, or to `only`. */
accel_status_t accel__trackers_log_to(accel__trackers_t *trackers, accel_tracker_t *only,
                                      const accel_item_t *values, int64_t step);
/* The same with any step: `only` knows what it means. */
accel_status_t accel__trackers_log_unchecked(accel__trackers_t *trackers, accel_tracker_t *only,
                                             const accel_item_t *values, int64_t step);

/* May slots be called: after init, before finish, in the process that called init, and not
 * from within one? */
accel_status_t accel__trackers_check_running(accel__trackers_t *trackers);

/* Return when everything logged so far has been delivered and flushed. */
void accel__trackers_drain(accel__trackers_t *trackers);

#endif
