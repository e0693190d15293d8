/* SPDX-License-Identifier: Apache-2.0 */
/* Experiment trackers: W&B, JSON lines, and your own.
 *
 * Programs use trackers through an accelerator: accel_init_trackers(), accel_log(),
 * accel_get_tracker(), accel_end_training(). On ranks where a tracker does not run, its
 * handle has the full set of calls, all of which do nothing and return ACCEL_OK.
 *
 * Journal: with the default, a logged row is copied in about a microsecond and written by
 * the journal thread within 100 ms; a killed process loses at most that. With
 * journal = "sync" each row is written before the call returns. Losing the network, the
 * server or the process loses nothing beyond this promise.
 *
 * Trackers belong to the process that called accel_init_trackers(): in a child that it forks,
 * logging is ACCEL_ERR_STATE, and ending the child ends nothing of the parent's. */
#ifndef ACCEL_TRACK_H
#define ACCEL_TRACK_H

#include <accel/dict.h>
#include <accel/media.h>
#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_tracker accel_tracker_t;
typedef struct accel_artifact accel_artifact_t;

/* No step was given: the tracker counts by itself. */
#define ACCEL_NO_STEP INT64_MIN

/* ---- artifacts ---- */

/* A file of an artifact, or a reference to something elsewhere. */
typedef struct accel_artifact_entry {
    const char *path;       /* inside the artifact: forward slashes, no leading "./" or "/" */
    const char *local_path; /* the file, absolute; NULL for a reference */
    const char *reference;  /* a URI; NULL for a file */
    int64_t size;           /* bytes; of a reference -1 if not known */
    const char *digest; /* of a reference: its checksum or ETag, else the URI, which for file://
                         * stands for the file's MD5; NULL: a file */
    bool immutable;         /* the file will not change: refer to it in place, do not copy */
} accel_artifact_entry_t;

/* What an artifact holds, as a tracker sees it. Entries are sorted by path in byte order. */
typedef struct {
    const char *name;
    const char *type;
    const char *description; /* NULL: none */
    const char *metadata;    /* a JSON object as text; NULL: none */
    const char *const *aliases;
    int64_t num_aliases;
    const accel_artifact_entry_t *entries;
    int64_t num_entries;
} accel_artifact_view_t;

typedef struct accel_artifact_options {
    size_t struct_size;
    const char *description;
    const accel_item_t *metadata;    /* at most 100 top-level keys */
    const char *const *aliases;      /* NULL-terminated; each without '/' and ':' */
    bool immutable; /* policy="immutable": files will not change until they are uploaded, and are
                     * referred to where they lie; else they are copied when the artifact is
                     * logged (below WANDB_DATA_DIR) */
} accel_artifact_options_t;

ACCEL__OPTIONS_INIT(accel_artifact_options)
#define ACCEL_ARTIFACT_OPTIONS(...) ACCEL__OPTIONS(accel_artifact_options_t, __VA_ARGS__)

/* wandb.Artifact(name, type, description, metadata). Name: at most 128 characters of
 * A-Z a-z 0-9 _ - . ; type "dataset", "model" or any other text. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_artifact_create(const char *name, const char *type, const accel_artifact_options_t *options,
                      accel_artifact_t **artifact);
ACCEL_API void accel_artifact_destroy(accel_artifact_t *artifact);

/* Add a file as `name` (NULL: its base name). It must exist and be readable now; its
 * content is taken when the artifact is logged. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_artifact_add_file(accel_artifact_t *artifact,
                                                                 const char *local_path,
                                                                 const char *name);

/* Add every regular file below a directory, under `name/` (NULL: at the top). Symbolic links
 * are followed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_artifact_add_dir(accel_artifact_t *artifact,
                                                                const char *local_path,
                                                                const char *name);

/* with artifact.new_file(name): add a file of these bytes, which are copied. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_artifact_new_file(accel_artifact_t *artifact,
                                                                 const char *name,
                                                                 const void *data, size_t size);

/* Add a URI, not its content. `name` NULL: what follows the URI's last '/'. `digest`: its ETag,
 * checksum or version, by which a change is told; NULL: the URI itself, as with checksum=False,
 * save for file:// whose files must be there and are checksummed when the artifact is logged; of a
 * directory every regular file below it is added, under `name/` (NULL: at the top). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_artifact_add_reference(accel_artifact_t *artifact,
                                                                      const char *uri,
                                                                      const char *name,
                                                                      const char *digest);

/* Valid until the artifact is changed or destroyed. */
ACCEL_API const accel_artifact_view_t *accel_artifact_view(const accel_artifact_t *artifact);

/* ---- what a tracker is ---- */

/* What a tracker is created with. */
typedef struct accel_tracker_init {
    size_t struct_size;
    const char *project_name;
    const char *logging_dir;         /* NULL if the accelerator has none */
    const accel_item_t *init_kwargs; /* this tracker's dictionary, may be NULL */
    int32_t process_index, num_processes;
} accel_tracker_init_t;

/* The slots of a tracker, GeneralTracker's. `create` gives the tracker's own state, which
 * every other slot receives. Slots marked (optional) may be NULL: the call then does
 * nothing (start, store_init_configuration, finish) or is ACCEL_ERR_UNSUPPORTED.
 *
 * Threads: slots of a tracker are called one at a time. With `journaled`, log comes from
 * the journal thread (from the caller's with journal = "sync"); otherwise from the caller's.
 * The others come from the caller's thread, after everything logged before has been
 * delivered. A slot must not log to, or call, its own accelerator's trackers: these calls
 * are then ACCEL_ERR_STATE.
 *
 * Errors: make them with accel_fail(), whose text then names the tracker. One of log or flush
 * on the journal thread is reported once by the log callback; one on the caller's thread is
 * what the call returns. Either way accel_end_training() returns the first of them, and the
 * other trackers go on. */
typedef struct accel_tracker_class {
    size_t struct_size; /* sizeof(accel_tracker_class_t) */
    const char *name;
    bool requires_logging_directory; /* accel_create() then wants logging_dir or project_dir */
    bool every_process;              /* main_process_only = False: runs on every rank */
    bool journaled;
    bool logs_media; /* log draws or describes ACCEL_TYPE_MEDIA; accel_tracker_log_images() and
                      * _log_table() then come as rows where there is no slot for them */
    void *context; /* passed to create */

    accel_status_t (*create)(void *context, const accel_tracker_init_t *init, void **tracker);
    accel_status_t (*start)(void *tracker); /* (optional) after create, before anything else */
    accel_status_t (*store_init_configuration)(void *tracker,
                                               const accel_item_t *config); /* (optional) */
    /* `values` is not NULL but may be empty; a value may be ACCEL_TYPE_MEDIA. `step` is 0 or more,
     * or ACCEL_NO_STEP. `timestamp`: seconds since the epoch at the call of accel_log(). */
    accel_status_t (*log)(void *tracker, const accel_item_t *values, int64_t step,
                          double timestamp);
    /* (optional) write out what log has kept: at least every 100 ms while rows come (each row,
     * where log comes from the caller's thread), and before slots other than log */
    accel_status_t (*flush)(void *tracker);
    accel_status_t (*log_images)(void *tracker, const char *key, const accel_image_t *images,
                                 int64_t num_images, int64_t step); /* (optional) */
    accel_status_t (*log_table)(void *tracker, const char *name, const accel_list_t *columns,
                                const accel_list_t *rows, int64_t step); /* (optional) */
    accel_status_t (*log_artifact)(void *tracker,
                                   const accel_artifact_view_t *artifact); /* (optional) */
    /* (optional) the last call before destroy; exit_code is that of the run, 0 for good */
    accel_status_t (*finish)(void *tracker, int32_t exit_code);
    void (*destroy)(void *tracker);
    /* (optional) facts by name: "id", "name", "project", "entity", "dir", ...; NULL: not known.
     * Valid as long as the tracker. */
    const char *(*info)(void *tracker, const char *what);
    /* (optional) W&B: set summary values by hand */
    accel_status_t (*update_summary)(void *tracker, const accel_item_t *values);
    /* (optional) what this tracker offers beyond a general one: a table of functions by its
     * name and version, e.g. "accel_wandb_v1", or NULL. Static data. */
    const void *(*interface)(const char *name);
} accel_tracker_class_t;

/* Make a class usable by name in log_with (register_tracker_class). Copied; required slots:
 * name, create, log, destroy. A name already registered is replaced, with a warning; the
 * built-in names are refused. Process-wide; call it before accel_create(). */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_register_tracker_class(const accel_tracker_class_t *tracker_class);

/* ---- using one ---- */

ACCEL_API const char *accel_tracker_name(const accel_tracker_t *tracker);

/* The object behind it (unwrap=True): an accel_wandb_run_t * for "wandb", what `create` gave
 * for your own class. NULL on ranks where the tracker does not run. */
ACCEL_API void *accel_tracker_unwrap(accel_tracker_t *tracker);

ACCEL_API ACCEL_NODISCARD accel_status_t accel_tracker_log(accel_tracker_t *tracker,
                                                           const accel_item_t *values,
                                                           int64_t step);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_tracker_log_images(accel_tracker_t *tracker,
                                                                  const char *key,
                                                                  const accel_image_t *images,
                                                                  int64_t num_images, int64_t step);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_tracker_log_table(accel_tracker_t *tracker,
                                                                 const char *name,
                                                                 const accel_list_t *columns,
                                                                 const accel_list_t *rows,
                                                                 int64_t step);
/* The files' contents are read before the call returns; `artifact` stays the caller's. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_tracker_log_artifact(accel_tracker_t *tracker, const accel_artifact_t *artifact);

#ifdef __cplusplus
}
#endif

#endif
