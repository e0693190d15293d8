/* SPDX-License-Identifier: Apache-2.0 */
/* Weights & Biases from C: wandb.Run's words, with an accelerator or without.
 *
 * By itself, from any program (link libaccel):
 *
 *     accel_wandb_run_t *run;
 *     ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "my_project",
 *                                             "config", ACCEL_DICT("lr", 1e-2)),
 *                                  &run));
 *     for (int step = 0; step < 100; step++)
 *         ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("loss", loss), ACCEL_NO_STEP));
 *     ACCEL_CHECK(accel_wandb_run_finish(run, 0));
 *
 * Through an accelerator, as accel_tracker_unwrap() gives it:
 *
 *     accel_tracker_t *tracker = accel_get_tracker(accelerator, "wandb");
 *     accel_wandb_run_t *run = (accel_wandb_run_t *)accel_tracker_unwrap(tracker);
 *
 * That one exists on the main process only; elsewhere `run` is NULL, and calls on NULL are
 * ACCEL_ERR_INVALID: put them under ACCEL_ON_MAIN_PROCESS. It ends with accel_end_training().
 *
 * A run is a folder with a log, which is written first, in every mode. In mode "online" a
 * thread follows the log and uploads; when the network or the server fails, the program never
 * notices, and what was missed is sent when they return, or by accel_wandb_sync() or `accel
 * sync`. Any thread may call; calls on one run are taken one at a time. Needs the plugin
 * accel-tracker-wandb. */
#ifndef ACCEL_WANDB_H
#define ACCEL_WANDB_H

#include <accel/track.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_wandb_run accel_wandb_run_t;

/* ---- a run by itself ---- */

/* wandb.init(**arguments): "project", "config", "mode", "name", "id", "resume", "tags", ... under
 * their names in Python, as in accel_init_trackers()' init_kwargs["wandb"]. Arguments win over
 * the environment (WANDB_*), and that over the settings files. Online it waits for the
 * server's answer at most WANDB_INIT_TIMEOUT (90 s). On failure *run is NULL.
 *
 * A run that nobody finished is finished when the process calls exit() or returns from main(),
 * with that exit code, as in Python (with glibc). A process that dies otherwise (a signal,
 * abort(), _exit()) leaves a log without an end: a sync uploads all of it, and the run is then
 * "failed". A forked child ends nothing of its parent's. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_init(const accel_item_t *arguments,
                                                          accel_wandb_run_t **run);

/* run.finish(exit_code): 0 is "finished", another "failed". Waits for the upload, at most
 * WANDB_FINISH_TIMEOUT; what was not sent by then stays in the run's folder for a sync. Returns
 * the first error that the run's logging met. `run` is gone, whatever is returned. Of an
 * accelerator's run: ACCEL_ERR_STATE, and it goes on. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_finish(accel_wandb_run_t *run,
                                                                int32_t exit_code);

/* ---- facts: texts are valid until the run ends; NULL if run is NULL or it is not known ---- */

ACCEL_API const char *accel_wandb_run_id(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_name(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_notes(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_group(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_job_type(const accel_wandb_run_t *run);
/* "uncategorized" where none was given. */
ACCEL_API const char *accel_wandb_run_project(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_entity(const accel_wandb_run_t *run);
/* "ENTITY/PROJECT/ID"; without an entity "PROJECT/ID". */
ACCEL_API const char *accel_wandb_run_path(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_sweep_id(const accel_wandb_run_t *run);
/* Pages on the server's site; NULL offline. */
ACCEL_API const char *accel_wandb_run_url(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_project_url(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_sweep_url(const accel_wandb_run_t *run);
/* The folder of the run's files, SYNC_DIR/files: what is saved is found there. */
ACCEL_API const char *accel_wandb_run_dir(const accel_wandb_run_t *run);
/* The run directory: holds the log, files/ and logs/. What a sync is given. */
ACCEL_API const char *accel_wandb_run_sync_dir(const accel_wandb_run_t *run);
/* JSON: a list of strings; an object of the settings by wandb.Settings' names, without keys. */
ACCEL_API const char *accel_wandb_run_tags(const accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_settings(const accel_wandb_run_t *run);

/* The step that the next row without a step gets; the first of this process, which is not 0 when
 * it goes on with a run. -1 if run is NULL or has ended. */
ACCEL_API int64_t accel_wandb_run_step(const accel_wandb_run_t *run);
ACCEL_API int64_t accel_wandb_run_starting_step(const accel_wandb_run_t *run);
/* Seconds since the epoch; 0 as above. */
ACCEL_API double accel_wandb_run_start_time(const accel_wandb_run_t *run);
ACCEL_API bool accel_wandb_run_offline(const accel_wandb_run_t *run);
ACCEL_API bool accel_wandb_run_disabled(const accel_wandb_run_t *run);
ACCEL_API bool accel_wandb_run_resumed(const accel_wandb_run_t *run);

/* run.name = ..., run.notes = ..., run.tags = (...): while it runs. A list of strings, each of 1 to
 * 64 characters: ACCEL_LIST("a", "b"); NULL: none. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_set_name(accel_wandb_run_t *run,
                                                                  const char *name);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_set_notes(accel_wandb_run_t *run,
                                                                   const char *notes);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_set_tags(accel_wandb_run_t *run,
                                                                  const accel_list_t *tags);

/* ---- history ---- */

/* run.log(values, step). Rows are kept open until the step rises; ACCEL_NO_STEP closes
 * the row at once and counts up. A step below the current one is dropped: the first time with a
 * warning, and the end of the run says how many. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_log(accel_wandb_run_t *run,
                                                             const accel_item_t *values,
                                                             int64_t step);

/* run.log(values, step, commit): whether the row is closed is said by the caller. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_log_commit(accel_wandb_run_t *run,
                                                                    const accel_item_t *values,
                                                                    int64_t step, bool commit);

/* run.define_metric(name, ...). `name` may end with '*', which stands for every name that begins
 * so and not with '_'; '.' goes into a dictionary, "\\." is a dot. Where several globs match a name
 * for the first time, the longest counts. */
typedef struct accel_wandb_metric_options {
    size_t struct_size;
    const char *step_metric; /* the x axis */
    const char *summary;     /* of "min,max,mean,first,last", or "none"; NULL: the last value */
    int32_t step_sync;       /* 1: rows without the step metric get its last value; -1: they do
                              * not; 0: they do if a step_metric is given */
    bool hidden;             /* no chart by itself */
    bool overwrite;          /* forget an earlier definition; else this one adds to it */
} accel_wandb_metric_options_t;

ACCEL__OPTIONS_INIT(accel_wandb_metric_options)
#define ACCEL_WANDB_METRIC_OPTIONS(...) ACCEL__OPTIONS(accel_wandb_metric_options_t, __VA_ARGS__)

ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_define_metric(
    accel_wandb_run_t *run, const char *name, const accel_wandb_metric_options_t *options);

/* ---- configuration and summary ---- */

/* The whole as a JSON object. Valid until the next call of this function on this run; NULL if run
 * is NULL or has ended. */
ACCEL_API const char *accel_wandb_run_config(accel_wandb_run_t *run);
ACCEL_API const char *accel_wandb_run_summary(accel_wandb_run_t *run);

/* run.config.update(values, allow_val_change=True) */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_config_update(accel_wandb_run_t *run,
                                                                       const accel_item_t *values);

/* run.config.update(values): a key that has another value is ACCEL_ERR_STATE, and nothing is
 * changed, unless init was given "allow_val_change". */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_config_set(accel_wandb_run_t *run,
                                                                    const accel_item_t *values);

/* run.config.setdefaults(values): only keys that are not there yet. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_run_config_setdefaults(accel_wandb_run_t *run, const accel_item_t *values);

/* run.summary.update(values): what is set by hand takes the place of what define_metric asked
 * for; a value that is logged later takes its place in turn. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_summary_update(accel_wandb_run_t *run,
                                                                        const accel_item_t *values);

/* del run.summary["a"]["b"]: `key` is "a.b", with "\\." for a dot in a name. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_summary_remove(accel_wandb_run_t *run,
                                                                        const char *key);

/* run.log_artifact(artifact) */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_run_log_artifact(accel_wandb_run_t *run, const accel_artifact_t *artifact);

/* ---- artifacts that the server has ---- */

/* One version of one; independent of the run that asked for it. */
typedef struct accel_wandb_artifact accel_wandb_artifact_t;

/* run.use_artifact(name, type): find "[[ENTITY/]PROJECT/]NAME[:ALIAS]" (":latest" where there is
 * none; entity and project are the run's) and have the run say that it uses it. `type` NULL: any;
 * another type than the artifact's is ACCEL_ERR_INVALID. ACCEL_ERR_NOT_FOUND if there is none,
 * ACCEL_ERR_STATE offline. Asks the server, for at most WANDB_INIT_TIMEOUT. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_use_artifact(
    accel_wandb_run_t *run, const char *name, const char *type, accel_wandb_artifact_t **artifact);

/* wandb.Api().artifact(name, type): the same without a run. Entity and project, where the name has
 * none, are WANDB_ENTITY (else the API key's owner) and WANDB_PROJECT. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_artifact_get(const char *name, const char *type, accel_wandb_artifact_t **artifact);

/* run.log_artifact(artifact).wait(timeout): wait until the artifact of that name which this run
 * logged last is on the server, at most `timeout` seconds (above 0): then ACCEL_ERR_TIMEOUT, and it
 * stays on its way. `artifact` NULL: only wait. ACCEL_ERR_STATE offline. Rows go on meanwhile. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_wait_artifact(
    accel_wandb_run_t *run, const char *name, double timeout, accel_wandb_artifact_t **artifact);

ACCEL_API void accel_wandb_artifact_destroy(accel_wandb_artifact_t *artifact);

/* Name, type, description, metadata, aliases and entries (whose local_path is NULL, and whose
 * digest is there for files too). Valid as long as the artifact. */
ACCEL_API const accel_artifact_view_t *
accel_wandb_artifact_view(const accel_wandb_artifact_t *artifact);

/* "id", "version" ("v3"), "digest", "entity", "project", "qualified_name"
 * ("ENTITY/PROJECT/NAME:v3"); NULL for other words. Valid as long as the artifact. */
ACCEL_API const char *accel_wandb_artifact_info(const accel_wandb_artifact_t *artifact,
                                                const char *what);

typedef struct accel_wandb_download_options {
    size_t struct_size;
    const char *root;        /* NULL: $WANDB_ARTIFACT_DIR/NAME:VERSION, else below ./artifacts */
    const char *path_prefix; /* only entries whose path begins so; NULL: all */
    bool skip_cache;         /* neither look into nor fill the cache */
    bool skip_references;    /* leave out what is not a file of the artifact */
} accel_wandb_download_options_t;

ACCEL__OPTIONS_INIT(accel_wandb_download_options)
#define ACCEL_WANDB_DOWNLOAD_OPTIONS(...) \
    ACCEL__OPTIONS(accel_wandb_download_options_t, __VA_ARGS__)

/* artifact.download(root): bring its files into a folder, which is made; some at a time. Files that
 * are there with the right digest stay; others of the folder are left alone. Every file is checked
 * against its digest, and appears whole or not at all. Kept in the cache as stock keeps it
 * ($WANDB_CACHE_DIR/artifacts). A path that leads out of the folder, or over a symbolic link
 * within it, is an error. References to file:// are copied; others are ACCEL_ERR_UNSUPPORTED
 * unless skipped. *root (NULL: not asked for) is the folder, valid until the next download. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_artifact_download(accel_wandb_artifact_t *artifact,
                              const accel_wandb_download_options_t *options, const char **root);

/* ---- files and the rest ---- */

/* When a saved file is uploaded: whenever it changes, at once, or when the run ends. */
typedef enum accel_wandb_policy {
    ACCEL_WANDB_LIVE = 0,
    ACCEL_WANDB_NOW = 1,
    ACCEL_WANDB_END = 2
} accel_wandb_policy_t;

/* run.save(glob_str, base_path, policy): files that match (glob(7)) are linked into the run's
 * files/ under their path below base_path; NULL: a relative glob keeps its folders, an absolute one
 * the last of them. Files only; matching none is no error. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_save(accel_wandb_run_t *run,
                                                              const char *glob,
                                                              const char *base_path,
                                                              accel_wandb_policy_t policy);

/* run.mark_preempting(): the machine is about to be taken away. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_run_mark_preempting(accel_wandb_run_t *run);

/* Did somebody press "stop" on the run's page? The server says so with the answer to what is sent,
 * at most every 15 s. Stock interrupts the program then; a library must not: a loop that wants to
 * obey asks. False offline, and if run is NULL or has ended. Costs less than a microsecond. */
ACCEL_API bool accel_wandb_run_is_stopped(accel_wandb_run_t *run);

/* ---- login ---- */

typedef struct accel_wandb_login_options {
    size_t struct_size;
    const char *key;         /* to be kept for this user; NULL: the one that is there already */
    const char *host;        /* the server's URL; NULL: as init chooses it */
    accel_tristate_t verify; /* ask the server whether it takes the key; default: on */
} accel_wandb_login_options_t;

ACCEL__OPTIONS_INIT(accel_wandb_login_options)
#define ACCEL_WANDB_LOGIN_OPTIONS(...) ACCEL__OPTIONS(accel_wandb_login_options_t, __VA_ARGS__)

typedef struct accel_wandb_login_result {
    char host[256];                  /* the server's URL */
    char username[128], entity[128]; /* the key's owner, and where runs go; "" unless verified */
    char source[512];                /* where the key is: a file, or the word WANDB_API_KEY */
} accel_wandb_login_result_t;

/* wandb.login(key, host, verify). A key that is given is kept in netrc ($NETRC, ~/.netrc), three
 * lines that only this user can read, beside the entries of others; a host, in the user's settings
 * file, so that runs go there from now on. Nothing is kept of a key that the server refuses.
 *
 * ACCEL_ERR_NOT_FOUND: no key was given, and none is there. ACCEL_ERR_INVALID: it does not look
 * like one, or the server does not take it. ACCEL_ERR_IO: the server could not be asked within
 * WANDB_INIT_TIMEOUT, or a file not be written. *result may be NULL. Any thread may call. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_wandb_login(const accel_wandb_login_options_t *options, accel_wandb_login_result_t *result);

/* ---- sync: runs from their logs to the server ---- */

typedef enum accel_wandb_sync_event {
    ACCEL_WANDB_SYNC_BEGUN = 0,   /* a log's turn has come */
    ACCEL_WANDB_SYNC_RUNNING = 1, /* once a second while it is sent */
    ACCEL_WANDB_SYNC_NOTE = 2,    /* something that a person should know: `text` */
    ACCEL_WANDB_SYNC_DONE = 3,
    ACCEL_WANDB_SYNC_FAILED = 4, /* `text` says why; the next log's turn comes */
    ACCEL_WANDB_SYNC_SKIPPED = 5 /* `text` says why */
} accel_wandb_sync_event_t;

/* Texts are valid during the call, and NULL where they are not known. */
typedef struct accel_wandb_sync_progress {
    accel_wandb_sync_event_t event;
    const char *log;               /* its path */
    const char *text;              /* one line; RUNNING: what is in the way at the moment */
    const char *url;               /* of the run's page */
    int64_t index, total;          /* which log of how many, from 0 */
    int64_t log_bytes, sent_bytes; /* of the log: its size, and how far it has been read and sent */
    int64_t num_rows, num_files;   /* sent so far */
} accel_wandb_sync_progress_t;

/* Called from the thread that called accel_wandb_sync(), NOTE also from others. False ends it: what
 * is not sent yet is sent by the next sync. */
typedef bool (*accel_wandb_sync_fn)(void *context, const accel_wandb_sync_progress_t *progress);

typedef struct accel_wandb_sync_options {
    size_t struct_size;
    const char *project, *entity, *run_id; /* instead of the log's own; run_id: for one log only */
    bool include_online; /* also folders of online runs, run-...: what they have missed */
    bool include_synced; /* also logs that are marked as sent */
    bool follow;         /* until the log has its end, which a running program writes */
    bool dry_run;        /* tell which logs would be sent (BEGUN) or SKIPPED; send nothing */
    accel_tristate_t mark_synced; /* make LOG.synced, which stock's sync looks for; default: on */
    accel_wandb_sync_fn progress; /* NULL: silence */
    void *context;
} accel_wandb_sync_options_t;

ACCEL__OPTIONS_INIT(accel_wandb_sync_options)
#define ACCEL_WANDB_SYNC_OPTIONS(...) ACCEL__OPTIONS(accel_wandb_sync_options_t, __VA_ARGS__)

typedef struct accel_wandb_sync_result {
    int64_t num_synced, num_skipped, num_failed; /* logs */
    int64_t num_files_missed;                    /* of synced logs: files that could not be sent */
} accel_wandb_sync_result_t;

/* Upload runs from their logs, stock's as well as ours. `path` is a log, a run's folder, or a
 * folder of runs (NULL: the one of this directory, as init chooses it); runs go one after the
 * other, oldest first, so that several logs of one run join. Idempotent: a line goes to the place
 * in the run where it was sent the first time (LOG.syncstate remembers it), whatever a sync or an
 * online run before has sent of it.
 *
 * Server, key and limits are taken from the environment and settings files, as by init. Returns
 * when all is done: the first error, after trying all logs; ACCEL_ERR_NOT_FOUND if there is no log;
 * ACCEL_ERR_CANCELLED if `progress` said so. *result (may be NULL) counts in any case. Blocks;
 * any thread may call. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_wandb_sync(const char *path,
                                                          const accel_wandb_sync_options_t *options,
                                                          accel_wandb_sync_result_t *result);

#ifdef __cplusplus
}
#endif

#endif
