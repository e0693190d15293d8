/* SPDX-License-Identifier: Apache-2.0 */
/* init_kwargs: the arguments of wandb.init(), each honoured or refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"
#include "text.h"

typedef accel_status_t (*reader_t)(accel__wandb_settings_t *settings, const accel_item_t *item);

/* An argument is a setting, or is read by a function of its own, or may only be false (`refusal`
 * says why). */
typedef struct {
    const char *name, *setting;
    reader_t read;
    const char *refusal;
} argument_t;

static accel_status_t wrong_type(const char *name, const char *expected)
{
    return accel__wandb_fail(ACCEL_ERR_INVALID, "init_kwargs: wandb's '%s' must be %s", name,
                             expected);
}

/* ---- arguments that are more than one setting ---- */

static accel_status_t read_project(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    if (item->type != ACCEL_TYPE_STRING)
        return wrong_type("project", "a string");
    if (settings->project && strcmp(settings->project, item->value.s) != 0)
        return accel__wandb_fail(
            ACCEL_ERR_INVALID,
            "init_kwargs: wandb's 'project' is '%s', but accel_init_trackers() "
            "was given '%s': give it once",
            item->value.s, settings->project);
    return accel__wandb_setting_set(settings, "project", item, "init_kwargs: wandb's 'project'");
}

static accel_status_t read_dir(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    settings->explicit_dir = true;
    return accel__wandb_setting_set(settings, "root_dir", item, "init_kwargs: wandb's 'dir'");
}

/* `resume` is one of four words, or the older booleans. */
static accel_status_t read_resume(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    accel_item_t word = *item;
    if (item->type == ACCEL_TYPE_BOOL)
        word = accel_item_string("resume", item->value.b ? "auto" : NULL);
    return accel__wandb_setting_set(settings, "resume", &word, "init_kwargs: wandb's 'resume'");
}

static accel_status_t read_reinit(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    (void)settings;
    bool word = item->type == ACCEL_TYPE_STRING;
    if (!word && item->type != ACCEL_TYPE_BOOL)
        return wrong_type("reinit", "a boolean or a string");
    if (word ? !strcmp(item->value.s, "default") || !strcmp(item->value.s, "create_new")
             : !item->value.b)
        return ACCEL_OK;
    if (word && strcmp(item->value.s, "return_previous") != 0 &&
        strcmp(item->value.s, "finish_previous") != 0)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "init_kwargs: wandb's 'reinit' is '%s', not default, create_new, "
                                 "return_previous or finish_previous",
                                 item->value.s);
    return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                             "wandb: 'reinit': every accelerator has a run of its own, which "
                             "accel_end_training() finishes; use 'create_new' or leave it out");
}

static accel_status_t read_config(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    if (item->type == ACCEL_TYPE_STRING)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: 'config' names the file '%s': YAML is not read here, pass "
                                 "a dictionary",
                                 item->value.s);
    if (item->type != ACCEL_TYPE_DICT)
        return wrong_type("config", "a dictionary");
    size_t count = 0;
    const accel_item_t *items = item->value.dict;
    for (; items && items[count].type != ACCEL_TYPE_END; count++) {
        if (!items[count].key)
            return wrong_type("config", "a dictionary with keys");
    }
    settings->has_config = true;
    settings->config = calloc(count + 1, sizeof(*settings->config));
    if (!settings->config)
        return accel__wandb_fail_memory();
    for (; settings->num_config < count; settings->num_config++) {
        accel__wandb_pair_t *pair = &settings->config[settings->num_config];
        accel__wandb_text_t text = {0};
        accel__wandb_json_value(&text, &items[settings->num_config], ACCEL__WANDB_JSON_FRONT);
        pair->json = text.data;
        pair->key = strdup(items[settings->num_config].key);
        if (text.failed || !pair->key) {
            settings->num_config++; /* so that this pair is freed as well */
            return accel__wandb_fail_memory();
        }
    }
    return ACCEL_OK;
}

static accel_status_t read_key_list(const accel_item_t *item, accel__wandb_names_t *names)
{
    /* read by way of the one list setting there is, and then moved */
    accel__wandb_settings_t scratch = {0};
    char where[80];
    snprintf(where, sizeof(where), "init_kwargs: wandb's '%s'", item->key);
    accel_status_t status = item->type == ACCEL_TYPE_LIST
                                ? accel__wandb_setting_set(&scratch, "run_tags", item, where)
                                : wrong_type(item->key, "a list of strings");
    if (!status) {
        *names = scratch.run_tags;
        scratch.run_tags = (accel__wandb_names_t){0};
    }
    accel__wandb_settings_free(&scratch);
    return status;
}

static accel_status_t read_exclude(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    return read_key_list(item, &settings->exclude_keys);
}

static accel_status_t read_include(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    return read_key_list(item, &settings->include_keys);
}

static accel_status_t read_anonymous(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    (void)settings;
    if (item->type != ACCEL_TYPE_STRING && item->type != ACCEL_TYPE_BOOL)
        return wrong_type("anonymous", "a string");
    accel__wandb_host()->log(ACCEL_LOG_WARNING,
                             "wandb: 'anonymous' has no effect any more, in any client");
    return ACCEL_OK;
}

/* ---- settings = {...} ---- */

/* Settings of the Python process, of notebooks, and of things that are not there: they would
 * change nothing here, and a program that sets them is right to. */
static const char *const inert[] = {
    "allow_media_symlink",
    "allow_offline_artifacts",
    "azure_account_url_to_access_key",
    "capture_loggers",
    "credentials_file",
    "disable_code",
    "disable_git_fork_point",
    "disable_job_creation",
    "job_name",
    "job_source",
    "label_disable",
    "login_timeout",
    "organization",
    "relogin",
    "sagemaker_disable",
    "show_colors",
    "show_emoji",
    "strict",
    "summary_timeout",
    "summary_warnings",
    "table_raise_on_max_row_limit_exceeded",
    "x_disable_viewer",
    "x_file_stream_no_gzip",
    "x_save_requirements",
    "x_service_wait",
    "x_transaction_log_flush_interval",
};

static accel_status_t read_setting(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    char where[128];
    snprintf(where, sizeof(where), "init_kwargs: wandb's setting '%s'", item->key);
    if (!strcmp(item->key, "root_dir"))
        settings->explicit_dir = true;
    if (!strcmp(item->key, "project"))
        return read_project(settings, item);
    if (!strcmp(item->key, "resume"))
        return read_resume(settings, item);
    if (accel__wandb_setting_known(item->key))
        return accel__wandb_setting_set(settings, item->key, item, where);
    for (size_t i = 0; i < sizeof(inert) / sizeof(*inert); i++) {
        if (!strcmp(item->key, inert[i]))
            return ACCEL_OK;
    }
    return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED, "%s is not one of those this tracker knows",
                             where);
}

static accel_status_t read_settings(accel__wandb_settings_t *settings, const accel_item_t *item)
{
    if (item->type != ACCEL_TYPE_DICT)
        return wrong_type("settings", "a dictionary");
    accel_status_t status = ACCEL_OK;
    const accel_item_t *at = item->value.dict;
    for (; at && at->type != ACCEL_TYPE_END && !status; at++) {
        if (at->key)
            status = read_setting(settings, at);
        else
            status = wrong_type("settings", "a dictionary with keys");
    }
    return status;
}

/* ---- the table ---- */

static const argument_t arguments[] = {
    {"entity", "entity", NULL, NULL},
    {"project", NULL, read_project, NULL},
    {"dir", NULL, read_dir, NULL},
    {"id", "run_id", NULL, NULL},
    {"name", "run_name", NULL, NULL},
    {"notes", "run_notes", NULL, NULL},
    {"tags", "run_tags", NULL, NULL},
    {"config", NULL, read_config, NULL},
    {"config_exclude_keys", NULL, read_exclude, NULL},
    {"config_include_keys", NULL, read_include, NULL},
    {"allow_val_change", "allow_val_change", NULL, NULL},
    {"group", "run_group", NULL, NULL},
    {"job_type", "run_job_type", NULL, NULL},
    {"mode", "mode", NULL, NULL},
    {"force", "force", NULL, NULL},
    {"reinit", NULL, read_reinit, NULL},
    {"resume", NULL, read_resume, NULL},
    {"resume_from", "resume_from", NULL, NULL},
    {"fork_from", "fork_from", NULL, NULL},
    {"save_code", NULL, NULL,
     "has no meaning in a C program, which has no script to save; log its sources as an artifact"},
    {"tensorboard", NULL, NULL, "is not there in this version; log to the tracker itself"},
    {"sync_tensorboard", NULL, NULL, "is not there in this version; log to the tracker itself"},
    {"monitor_gym", NULL, NULL, "has no meaning in a C program"},
    {"settings", NULL, read_settings, NULL},
    {"anonymous", NULL, read_anonymous, NULL},
};
enum { NUM_ARGUMENTS = sizeof(arguments) / sizeof(*arguments) };

static accel_status_t unknown_argument(const char *name)
{
    const char *names[NUM_ARGUMENTS];
    for (size_t i = 0; i < NUM_ARGUMENTS; i++)
        names[i] = arguments[i].name;
    const char *nearest = accel__wandb_nearest(name, names, NUM_ARGUMENTS);
    if (nearest)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "init_kwargs: 'wandb' has no argument '%s'; did you mean '%s'?",
                                 name, nearest);
    return accel__wandb_fail(ACCEL_ERR_INVALID, "init_kwargs: 'wandb' has no argument '%s'", name);
}

static accel_status_t read_argument(accel__wandb_settings_t *settings, const argument_t *argument,
                                    const accel_item_t *item)
{
    char where[80];
    if (item->type == ACCEL_TYPE_NULL) /* None: as if not given */
        return ACCEL_OK;
    if (argument->read)
        return argument->read(settings, item);
    if (argument->setting) {
        snprintf(where, sizeof(where), "init_kwargs: wandb's '%s'", argument->name);
        return accel__wandb_setting_set(settings, argument->setting, item, where);
    }
    if (item->type != ACCEL_TYPE_BOOL)
        return wrong_type(argument->name, "true or false");
    if (!item->value.b)
        return ACCEL_OK;
    return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED, "wandb: '%s' %s", argument->name,
                             argument->refusal);
}

/* As in Python, an argument beats the same setting within `settings`. */
static accel_status_t read_pass(accel__wandb_settings_t *settings, const accel_item_t *kwargs,
                                bool settings_pass)
{
    accel_status_t status = ACCEL_OK;
    for (const accel_item_t *item = kwargs; item && item->type != ACCEL_TYPE_END && !status;
         item++) {
        size_t i = 0;
        if (!item->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "init_kwargs: wandb: a key is NULL");
        while (i < NUM_ARGUMENTS && strcmp(arguments[i].name, item->key) != 0)
            i++;
        if (i == NUM_ARGUMENTS)
            return unknown_argument(item->key);
        if (settings_pass == (arguments[i].read == read_settings))
            status = read_argument(settings, &arguments[i], item);
    }
    return status;
}

static bool named(const accel__wandb_names_t *names, const char *key)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!strcmp(names->names[i], key))
            return true;
    }
    return false;
}

static accel_status_t filter_config(accel__wandb_settings_t *settings)
{
    const accel__wandb_names_t *exclude = &settings->exclude_keys,
                               *include = &settings->include_keys;
    if (exclude->count && include->count)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "init_kwargs: wandb's 'config_exclude_keys' and "
                                 "'config_include_keys' exclude each other");
    size_t kept = 0;
    for (size_t i = 0; i < settings->num_config; i++) {
        accel__wandb_pair_t pair = settings->config[i];
        if (named(exclude, pair.key) || (include->count && !named(include, pair.key))) {
            free(pair.key);
            free(pair.json);
        } else {
            settings->config[kept++] = pair;
        }
    }
    settings->num_config = kept;
    return ACCEL_OK;
}

accel_status_t accel__wandb_kwargs_read(accel__wandb_settings_t *settings,
                                        const accel_item_t *kwargs)
{
    accel_status_t status = read_pass(settings, kwargs, true);
    if (!status)
        status = read_pass(settings, kwargs, false);
    return status ? status : filter_config(settings);
}
