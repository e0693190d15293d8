/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a run: wandb.init's arguments over the environment over settings files. */
#ifndef ACCEL_TRACKER_WANDB_SETTINGS_H
#define ACCEL_TRACKER_WANDB_SETTINGS_H

#include "host.h"
#include "text.h"

typedef struct {
    char **names;
    size_t count;
} accel__wandb_names_t;

/* A top-level configuration key, its value as JSON text. */
typedef struct {
    char *key, *json;
} accel__wandb_pair_t;

typedef enum {
    ACCEL__WANDB_OFFLINE,
    ACCEL__WANDB_DISABLED,
    ACCEL__WANDB_ONLINE
} accel__wandb_mode_t;

/* Under wandb.Settings' names, but for the `x_`. Texts are NULL where nothing was given, limits
 * without a default are NAN. Times are seconds. */
typedef struct {
    char *project, *entity, *run_id, *run_name, *run_notes, *run_group, *run_job_type;
    char *root_dir, *mode, *resume, *resume_from, *fork_from, *sweep_id;
    char *host, *username, *email, *docker, *program, *executable;
    char *git_remote, *git_remote_url, *git_commit, *git_root;
    char *base_url, *app_url_override, *api_key, *identity_token_file;
    char *http_proxy, *https_proxy, *extra_http_headers;
    char *console, *label;
    accel__wandb_names_t run_tags, ignore_globs, stats_disk_paths, exclude_keys, include_keys;
    accel__wandb_pair_t *config; /* init's `config`, filtered */
    size_t num_config;
    bool has_config;
    bool silent, quiet, disable_git, force, symlink, use_dot_wandb, disable_meta;
    bool disable_machine_info, disable_stats, stats_track_process_tree, stats_no_cgroup;
    bool primary, update_finish_state;
    bool allow_val_change, finish_timeout_raises, insecure_disable_ssl, stop_on_fatal_error;
    bool show_errors, show_info, show_warnings;
    double init_timeout, finish_timeout; /* 0: no limit */
    double heartbeat_seconds, file_stream_transmit_interval;
    double stats_sampling_interval, stats_pid; /* 0: this process */
    double graphql_retry_max, graphql_retry_wait_min, graphql_retry_wait_max, graphql_timeout;
    double file_stream_retry_max, file_stream_retry_wait_min, file_stream_retry_wait_max,
        file_stream_timeout;
    double file_transfer_retry_max, file_transfer_retry_wait_min, file_transfer_retry_wait_max,
        file_transfer_timeout;
    double file_stream_max_bytes, file_stream_max_line_bytes;
    double max_end_of_run_history_metrics, max_end_of_run_summary_metrics;
    bool has_use_dot_wandb;
    bool explicit_dir; /* given by the program */
    accel__wandb_mode_t effective_mode;
    bool went_offline; /* nobody said which mode, and there is no API key */
} accel__wandb_settings_t;

/* Read files, environment and init_kwargs, in this order, and check the whole. */
accel_status_t accel__wandb_settings_create(const accel_tracker_init_t *init,
                                            accel__wandb_settings_t *settings);
void accel__wandb_settings_free(accel__wandb_settings_t *settings);

/* The directory "wandb" or ".wandb" that holds the runs of `root`; to free(). */
char *accel__wandb_settings_wandb_dir(const accel__wandb_settings_t *settings);

/* Where artifacts' files are staged; to free(), NULL if there is no home. */
char *accel__wandb_staging_dir(void);

/* The path that starts with the home directory; to free(), NULL if there is no home. */
char *accel__wandb_home_path(const char *name);

/* SLURM_JOB_ID and the like: calls `take` with each variable whose name starts so. */
void accel__wandb_environ(const char *prefix,
                          void (*take)(void *context, const char *name, size_t length,
                                       const char *value),
                          void *context);

/* The variable's value; NULL if unset or empty. */
const char *accel__wandb_env(const char *name);

/* ---- between the files of this part ---- */

accel_status_t accel__wandb_names_add(accel__wandb_names_t *names, const char *name);
void accel__wandb_names_free(accel__wandb_names_t *names);

/* Set by wandb's name of the setting; `where` opens an error's text. */
accel_status_t accel__wandb_setting_set(accel__wandb_settings_t *settings, const char *name,
                                        const accel_item_t *item, const char *where);
/* The same from text, as files and the environment have it. */
accel_status_t accel__wandb_setting_parse(accel__wandb_settings_t *settings, const char *name,
                                          const char *text, const char *where);
bool accel__wandb_setting_known(const char *name);
accel_status_t accel__wandb_kwargs_read(accel__wandb_settings_t *settings,
                                        const accel_item_t *kwargs);
accel_status_t accel__wandb_settings_check(accel__wandb_settings_t *settings);
accel_status_t accel__wandb_check_tags(const accel__wandb_names_t *tags);
/* Every setting that has a value, by name, as a JSON object: wandb.Settings. No secrets. */
void accel__wandb_settings_json(const accel__wandb_settings_t *settings, accel__wandb_text_t *text);
/* settings_file.c: the user's settings, then those of the working directory. */
accel_status_t accel__wandb_settings_read_files(accel__wandb_settings_t *settings);

#endif
