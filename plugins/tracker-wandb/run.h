/* SPDX-License-Identifier: Apache-2.0 */
/* A run: its folder, its log, its open row, its summary. */
#ifndef ACCEL_TRACKER_WANDB_RUN_H
#define ACCEL_TRACKER_WANDB_RUN_H

#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include <accel/plugin/wandb_v1.h>

#include "log.h"
#include "settings.h"
#include "wandb.pb-c.h"

/* ---- console.c: the lines on stderr that the user of W&B knows ---- */

typedef struct {
    bool silent, quiet, color;
} accel__wandb_console_t;

accel__wandb_console_t accel__wandb_console(const accel__wandb_settings_t *settings);
void accel__wandb_say(const accel__wandb_console_t *console, const char *format, ...)
    ACCEL_PRINTF(2, 3);
void accel__wandb_warn(const accel__wandb_console_t *console, const char *format, ...)
    ACCEL_PRINTF(2, 3);

/* ---- row.c: the values of one step ---- */

/* A value at the end of a path of keys, as JSON text. */
typedef struct {
    char **path;
    size_t depth;
    char *json;
    uint64_t hash; /* of path[0] */
    accel_type_t type;
    double number; /* of INT, UINT and FLOAT */
} accel__wandb_leaf_t;

typedef struct {
    accel__wandb_leaf_t *leaves;
    size_t count, capacity;
    accel__wandb_arena_t arena;
    size_t live, dead; /* bytes in the arena: of the leaves; of those that others have replaced */
} accel__wandb_row_t;

/* Merge: a later value takes the place of an earlier one at, above or below its path. Numbers are
 * spelt in `style`. */
accel_status_t accel__wandb_row_merge(accel__wandb_row_t *row, const accel_item_t *values,
                                      accel__wandb_json_t style);
/* One number more, at a joined path, if nothing is there, above it or below it. */
accel_status_t accel__wandb_row_add(accel__wandb_row_t *row, const char *path, double value);
/* The leaf at, above or below a joined path, or NULL. */
const accel__wandb_leaf_t *accel__wandb_row_find(const accel__wandb_row_t *row, const char *path);
void accel__wandb_row_clear(accel__wandb_row_t *row);

/* ---- summary.c: the last values, and what define_metric asked to keep of them ---- */

enum { ACCEL__WANDB_POINTS = 512 };

/* Keys of a path are joined by this, which sorts what is within a dictionary behind it. */
#define ACCEL__WANDB_SEPARATOR '\x1f'

enum {
    ACCEL__WANDB_MIN = 1,
    ACCEL__WANDB_MAX = 2,
    ACCEL__WANDB_MEAN = 4,
    ACCEL__WANDB_FIRST = 8,
    ACCEL__WANDB_LAST = 16,
    ACCEL__WANDB_COPY = 32, /* without meaning today: as if nothing was asked for */
    ACCEL__WANDB_NONE = 64
};

/* What define_metric said of a name, or of every name with this beginning. */
typedef struct accel__wandb_definition {
    char *path; /* joined; of a glob the beginning, as it was given */
    char *step_metric;
    struct accel__wandb_step *step; /* of step_metric */
    bool step_sync, hidden;
    unsigned summary;
} accel__wandb_definition_t;

/* A metric: its last value, what came before it, and points of its history, ever sparser. */
typedef struct {
    char *path; /* joined */
    accel__wandb_text_t last;
    accel_type_t type; /* of `last`; ACCEL_TYPE_END: it never had a value */
    bool displaced;    /* by a value above or below it */
    unsigned summary;
    const accel__wandb_definition_t *definition; /* NULL: none yet */
    char *first;                                 /* as JSON; NULL: none yet */
    double min, max, total;
    int64_t count; /* of numbers */
    double *points;
    size_t num_points, stride, seen;
} accel__wandb_metric_t;

typedef struct {
    accel__wandb_metric_t **metrics; /* sorted by path */
    size_t count, capacity;
} accel__wandb_summary_t;

/* The metric at a joined path, made if need be, which displaces those above and below it. NULL
 * without memory. */
accel__wandb_metric_t *accel__wandb_summary_at(accel__wandb_summary_t *summary, const char *path);
/* A logged value comes in. */
accel_status_t accel__wandb_summary_log(accel__wandb_metric_t *metric,
                                        const accel__wandb_leaf_t *leaf);
/* What the summary shows of a metric, as JSON; false: nothing. */
bool accel__wandb_summary_shown(const accel__wandb_metric_t *metric, accel__wandb_text_t *text);
/* Values set by hand take the place of what is there, and of what was asked for. */
accel_status_t accel__wandb_summary_set(accel__wandb_summary_t *summary,
                                        const accel_item_t *values);
/* Remove the value at a joined path, and all below it. */
void accel__wandb_summary_remove(accel__wandb_summary_t *summary, const char *path);
/* The whole as a JSON object. */
void accel__wandb_summary_json(const accel__wandb_summary_t *summary, accel__wandb_text_t *text);
void accel__wandb_summary_free(accel__wandb_summary_t *summary);

/* summary_print.c */
void accel__wandb_summary_print(const accel__wandb_summary_t *summary,
                                const accel__wandb_settings_t *settings,
                                const accel__wandb_console_t *console);

/* ---- metric.c: define_metric ---- */

/* A metric that is the x axis of others. */
typedef struct accel__wandb_step {
    char *path;    /* joined */
    double latest; /* 0 before it is logged */
    bool present, wanted;
} accel__wandb_step_t;

typedef struct {
    accel__wandb_definition_t **exact, **globs; /* exact: sorted by path */
    accel__wandb_step_t **steps;
    size_t num_exact, num_globs, num_steps;
} accel__wandb_definitions_t;

/* "a.b" as a joined path: '.' goes into a dictionary, "\." is a dot. To free(); NULL without
 * memory. */
char *accel__wandb_path_of(const char *name);
/* The joined path of a leaf, in `text`; NULL without memory. */
const char *accel__wandb_leaf_path(const accel__wandb_leaf_t *leaf, accel__wandb_text_t *text);

/* How a joined path is defined, which a glob may do: remembered from then on, and `added` if that
 * is new. NULL: not at all. */
accel_status_t accel__wandb_definition_of(accel__wandb_definitions_t *definitions, const char *path,
                                          const accel__wandb_definition_t **found, bool *added);
void accel__wandb_definitions_free(accel__wandb_definitions_t *definitions);

/* ---- the run ---- */

enum { ACCEL__WANDB_FACTS = 17 };

typedef struct {
    /* Held by whoever appends records, from the first emit to the commit, and by whoever reads
     * or changes the row and the summary. */
    pthread_mutex_t lock;
    accel__wandb_settings_t settings;
    accel__wandb_console_t console;
    char *wandb_dir, *dir, *log_path;
    char *sync_command, *rest_command; /* what uploads the run: all of it; what is missing */
    accel__wandb_log_t log;
    int64_t num_records;
    accel__wandb_arena_t arena; /* of the record in the making */
    max_align_t scrap[64];      /* stands in for a message there is no memory for */
    Wandb__TelemetryFeature features;
    struct timespec started_at, start_time;
    char writer_id[37];

    accel__wandb_row_t row; /* the open row */
    bool row_open, warned_step;
    int64_t step;
    double row_timestamp, last_timestamp;
    int64_t starting_step, num_dropped; /* dropped: values logged to a step that was over */
    accel__wandb_summary_t summary;
    accel__wandb_definitions_t definitions;
    /* Texts that the program was given: of the last call; until the end. */
    accel__wandb_text_t config_text, summary_text;
    accel__wandb_arena_t given;
    const char *facts[ACCEL__WANDB_FACTS];
    bool resumed;

    struct accel__wandb_logged *logged; /* artifacts of an online run, by name */
    size_t num_logged;

    bool started, finished, broken; /* broken: the log could not be written, and ends there */
    int unreported;                 /* why, as an errno, while no call has said so */

    struct accel__wandb_uploader *uploader; /* upload/; NULL: offline */
    struct accel__wandb_past *past;         /* what it goes on with, until that is in the log */
    double past_runtime; /* seconds that the run lasted before this process went on with it */

    struct accel__wandb_stats *stats; /* monitor/; NULL: nothing is watched */
    struct accel__wandb_output *output;
} accel__wandb_run_t;

static inline void accel__wandb_lock(accel__wandb_run_t *run)
{
    pthread_mutex_lock(&run->lock);
}

static inline void accel__wandb_unlock(accel__wandb_run_t *run)
{
    pthread_mutex_unlock(&run->lock);
}

static inline bool accel__wandb_is_online(const accel__wandb_run_t *run)
{
    return run->settings.effective_mode == ACCEL__WANDB_ONLINE;
}

double accel__wandb_run_elapsed(const accel__wandb_run_t *run, double now);
double accel__wandb_now(void);

/* ---- life.c ---- */

accel_status_t accel__wandb_run_create(const accel_tracker_init_t *init,
                                       accel__wandb_run_t **created);
void accel__wandb_run_destroy(accel__wandb_run_t *run);
accel_status_t accel__wandb_run_start(accel__wandb_run_t *run);
accel_status_t accel__wandb_run_finish(accel__wandb_run_t *run, int32_t exit_code);
/* Does it take records: started, not finished, not disabled? */
bool accel__wandb_is_writing(const accel__wandb_run_t *run);

/* ---- rows.c, config.c, save.c: with the lock held ---- */

/* `how` is an accel_wandb_config_t. */
accel_status_t accel__wandb_run_config(accel__wandb_run_t *run, const accel_item_t *config,
                                       accel_wandb_config_t how);
accel_status_t accel__wandb_run_define_metric(accel__wandb_run_t *run, const char *name,
                                              const accel_wandb_metric_options_t *options);
accel_status_t accel__wandb_run_summary_remove(accel__wandb_run_t *run, const char *key);
/* run.name, run.notes; `what` is "name" or "notes". */
accel_status_t accel__wandb_run_set_text(accel__wandb_run_t *run, const char *what,
                                         const char *text);
accel_status_t accel__wandb_run_set_tags(accel__wandb_run_t *run, const accel_list_t *tags);
accel_status_t accel__wandb_run_mark_preempting(accel__wandb_run_t *run);
accel_status_t accel__wandb_run_save(accel__wandb_run_t *run, const char *glob,
                                     const char *base_path, accel_wandb_policy_t policy);
/* A fact by its name (facts.c), as a text that lives until the end; NULL: not known. */
const char *accel__wandb_fact(accel__wandb_run_t *run, const char *what);
/* A value that the run had before, as JSON, where the program gave none. */
accel_status_t accel__wandb_config_inherit(accel__wandb_settings_t *settings, const char *key,
                                           const char *json);
/* The configuration as a JSON object. */
void accel__wandb_config_json(const accel__wandb_run_t *run, accel__wandb_text_t *text);
accel_status_t accel__wandb_run_log(accel__wandb_run_t *run, const accel_item_t *values,
                                    int64_t step, double timestamp);
accel_status_t accel__wandb_run_summary(accel__wandb_run_t *run, const accel_item_t *values);
/* The open row, if there is one, into the log. */
accel_status_t accel__wandb_close_row(accel__wandb_run_t *run);

/* ---- rundir.c ---- */

/* Decide on an id, make the folders and links, open the log. */
accel_status_t accel__wandb_rundir_create(accel__wandb_run_t *run);
/* past.c: offline, with "resume": go on where the earlier logs of this id end. The folder of runs
 * and the id are known. */
accel_status_t accel__wandb_past_read(accel__wandb_run_t *run);
/* wandb-resume.json: written at the start of a resume="auto" run, gone after a clean end. */
void accel__wandb_rundir_forget_resume(const accel__wandb_run_t *run);
/* A line in logs/debug.log; best effort. */
void accel__wandb_debug(const accel__wandb_run_t *run, const char *format, ...) ACCEL_PRINTF(2, 3);

/* ---- record.c: records are made in the run's arena, which is emptied at each commit ---- */

/* An initialised message. Without memory it is a scrap to write to, and the commit fails. */
void *accel__wandb_new(accel__wandb_run_t *run, const ProtobufCMessageDescriptor *descriptor);

/* Set a text of a message: NULL leaves it unset; bytes that are no UTF-8, which readers
 * refuse, are replaced. `text` must live until the message is packed. */
void accel__wandb_put(accel__wandb_run_t *run, char **field, const char *text);

/* Pack behind what is pending, with the next number. `with_stream`: carries the run's id, as
 * the records that stock sends from its front end do. */
void accel__wandb_emit(accel__wandb_run_t *run, Wandb__Record *record, bool with_stream);
/* Write everything pending. A failure is reported once; the log then stays as it is. */
accel_status_t accel__wandb_commit(accel__wandb_run_t *run);
/* The same on a thread of ours, which has nobody to tell: the next commit or report does. */
void accel__wandb_commit_aside(accel__wandb_run_t *run);
accel_status_t accel__wandb_report(accel__wandb_run_t *run);

Wandb__Timestamp *accel__wandb_timestamp(accel__wandb_run_t *run, struct timespec time);
accel_status_t accel__wandb_emit_start(accel__wandb_run_t *run);
void accel__wandb_emit_telemetry(accel__wandb_run_t *run);
/* A feature of run->features is used: the first time that is a record. */
void accel__wandb_use_feature(accel__wandb_run_t *run, protobuf_c_boolean *feature);
void accel__wandb_emit_config(accel__wandb_run_t *run, const accel_item_t *config);
void accel__wandb_emit_summary(accel__wandb_run_t *run, const accel_item_t *values);
void accel__wandb_emit_summary_removal(accel__wandb_run_t *run, const char *path);
void accel__wandb_emit_metric(accel__wandb_run_t *run, const char *name,
                              const accel_wandb_metric_options_t *options, unsigned summary);
void accel__wandb_emit_run_update(accel__wandb_run_t *run);
void accel__wandb_emit_preempting(accel__wandb_run_t *run);
/* `paths`, below files/, live in the run's arena. */
void accel__wandb_emit_files(accel__wandb_run_t *run, char **paths, size_t count,
                             accel_wandb_policy_t policy);
/* The values go into the summary as well. */
accel_status_t accel__wandb_emit_row(accel__wandb_run_t *run);
void accel__wandb_emit_runtime(accel__wandb_run_t *run, double now);
void accel__wandb_emit_exit(accel__wandb_run_t *run, int32_t exit_code, double now);

/* ---- system.c and git.c: where the program runs ---- */

void accel__wandb_emit_environment(accel__wandb_run_t *run);
/* What the machine has, and its GPUs, if `nvml`. */
struct accel__wandb_nvml;
void accel__wandb_emit_machine(accel__wandb_run_t *run, const struct accel__wandb_nvml *nvml);
/* Physical cores. */
double accel__wandb_cpu_count(void);
/* The work tree that holds `directory`: the URL (without user and password) of the remote, and
 * HEAD's commit, to free(); NULL where there is none. */
void accel__wandb_git_find(const char *directory, const char *remote, char **url, char **commit);
Wandb__GitRepoRecord *accel__wandb_git_record(accel__wandb_run_t *run);

/* ---- artifact.c ---- */

/* The names by which an artifact is known before the server has given it one. */
typedef struct {
    char client[129], sequence_client[129];
} accel__wandb_artifact_ids_t;

/* May a program log it: is its type not one of W&B's own? */
accel_status_t accel__wandb_check_artifact(const accel_artifact_view_t *artifact);
/* `ids` NULL: not asked for. An online run remembers those of the last of each name. */
accel_status_t accel__wandb_emit_artifact(accel__wandb_run_t *run,
                                          const accel_artifact_view_t *artifact,
                                          accel__wandb_artifact_ids_t *ids);
/* The client id of the artifact of that name that was logged last; NULL if none was. */
const char *accel__wandb_logged_client(const accel__wandb_run_t *run, const char *name);
void accel__wandb_logged_free(accel__wandb_run_t *run);
/* The folder, to free(), in which files wait for their upload; and one of them, of these bytes:
 * *path is in the arena. */
accel_status_t accel__wandb_staging(char **directory);
accel_status_t accel__wandb_stage_data(accel__wandb_arena_t *arena, const char *directory,
                                       const void *data, size_t size, char **path);
/* Base64 of a file's MD5, and on the way a copy of it to `copy_fd` (-1: none): of a file by its
 * path, or from the position of `fd`, with `path` for errors. */
accel_status_t accel__wandb_fd_digest(int fd, const char *path, int copy_fd, char digest[25],
                                      int64_t *size);
accel_status_t accel__wandb_file_digest(const char *path, int copy_fd, char digest[25],
                                        int64_t *size);
/* The digest of an artifact whose entries have these paths and digests, sorted by path. */
typedef struct {
    const char *path, *digest;
} accel__wandb_manifest_line_t;
accel_status_t accel__wandb_manifest_digest(const accel__wandb_manifest_line_t *lines, size_t count,
                                            char digest[33]);

#endif
