/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "text.h"

typedef enum { TEXT, SECRET, FLAG, NAMES, SECONDS, COUNT } kind_t;

typedef struct {
    const char *name;
    kind_t kind;
    size_t offset;
    const char *variable; /* NULL: WANDB_ and the name in capitals */
} field_t;

#define AT(member) offsetof(accel__wandb_settings_t, member)
/* A setting whose name is that of its member; one that wandb calls x_NAME; one of neither. */
#define FIELD(name, kind, variable)     \
    {                                   \
#name, kind, AT(name), variable \
    }
#define PRIVATE(name, kind)              \
    {                                    \
        "x_" #name, kind, AT(name), NULL \
    }
#define NAMED(name, kind, member, variable) \
    {                                       \
        name, kind, AT(member), variable    \
    }

/* clang-format off */
static const field_t fields[] = {
    FIELD(project, TEXT, NULL),
    FIELD(entity, TEXT, NULL),
    FIELD(run_id, TEXT, NULL),
    FIELD(run_name, TEXT, "WANDB_NAME"),
    FIELD(run_notes, TEXT, "WANDB_NOTES"),
    FIELD(run_group, TEXT, NULL),
    FIELD(run_job_type, TEXT, "WANDB_JOB_TYPE"),
    FIELD(run_tags, NAMES, "WANDB_TAGS"),
    FIELD(root_dir, TEXT, "WANDB_DIR"),
    FIELD(mode, TEXT, NULL),
    FIELD(resume, TEXT, NULL),
    FIELD(resume_from, TEXT, NULL),
    FIELD(fork_from, TEXT, NULL),
    FIELD(sweep_id, TEXT, NULL),
    FIELD(allow_val_change, FLAG, NULL),
    FIELD(force, FLAG, NULL),
    FIELD(symlink, FLAG, NULL),
    FIELD(use_dot_wandb, FLAG, NULL),

    FIELD(host, TEXT, NULL),
    FIELD(username, TEXT, NULL),
    FIELD(email, TEXT, "WANDB_USER_EMAIL"),
    FIELD(docker, TEXT, NULL),
    FIELD(program, TEXT, NULL),
    NAMED("x_executable", TEXT, executable, NULL),
    FIELD(git_remote, TEXT, NULL),
    FIELD(git_remote_url, TEXT, NULL),
    FIELD(git_commit, TEXT, NULL),
    FIELD(git_root, TEXT, NULL),
    FIELD(disable_git, FLAG, NULL),
    PRIVATE(disable_meta, FLAG),
    PRIVATE(disable_machine_info, FLAG),

    FIELD(base_url, TEXT, NULL),
    FIELD(app_url_override, TEXT, "WANDB_APP_URL"),
    FIELD(api_key, SECRET, NULL),
    FIELD(identity_token_file, TEXT, NULL),
    FIELD(http_proxy, TEXT, NULL),
    FIELD(https_proxy, TEXT, NULL),
    PRIVATE(extra_http_headers, SECRET),
    FIELD(insecure_disable_ssl, FLAG, NULL),
    FIELD(init_timeout, SECONDS, NULL),
    FIELD(finish_timeout, SECONDS, NULL),
    FIELD(finish_timeout_raises, FLAG, NULL),
    FIELD(heartbeat_seconds, COUNT, NULL),
    FIELD(ignore_globs, NAMES, NULL),
    FIELD(stop_on_fatal_error, FLAG, NULL),
    PRIVATE(label, TEXT),
    PRIVATE(primary, FLAG),
    PRIVATE(update_finish_state, FLAG),
    PRIVATE(file_stream_max_bytes, COUNT),
    PRIVATE(file_stream_max_line_bytes, COUNT),
    PRIVATE(file_stream_transmit_interval, SECONDS),
    PRIVATE(file_stream_retry_max, COUNT),
    NAMED("x_file_stream_retry_wait_min_seconds", SECONDS, file_stream_retry_wait_min, NULL),
    NAMED("x_file_stream_retry_wait_max_seconds", SECONDS, file_stream_retry_wait_max, NULL),
    NAMED("x_file_stream_timeout_seconds", SECONDS, file_stream_timeout, NULL),
    PRIVATE(file_transfer_retry_max, COUNT),
    NAMED("x_file_transfer_retry_wait_min_seconds", SECONDS, file_transfer_retry_wait_min, NULL),
    NAMED("x_file_transfer_retry_wait_max_seconds", SECONDS, file_transfer_retry_wait_max, NULL),
    NAMED("x_file_transfer_timeout_seconds", SECONDS, file_transfer_timeout,
          "WANDB_FILE_PUSHER_TIMEOUT"),
    PRIVATE(graphql_retry_max, COUNT),
    NAMED("x_graphql_retry_wait_min_seconds", SECONDS, graphql_retry_wait_min, NULL),
    NAMED("x_graphql_retry_wait_max_seconds", SECONDS, graphql_retry_wait_max, NULL),
    NAMED("x_graphql_timeout_seconds", SECONDS, graphql_timeout, "WANDB_HTTP_TIMEOUT"),

    FIELD(silent, FLAG, NULL),
    FIELD(quiet, FLAG, NULL),
    FIELD(show_errors, FLAG, NULL),
    FIELD(show_info, FLAG, NULL),
    FIELD(show_warnings, FLAG, NULL),
    FIELD(console, TEXT, NULL),
    FIELD(max_end_of_run_history_metrics, COUNT, NULL),
    FIELD(max_end_of_run_summary_metrics, COUNT, NULL),
    PRIVATE(disable_stats, FLAG),
    PRIVATE(stats_sampling_interval, SECONDS),
    PRIVATE(stats_disk_paths, NAMES),
    PRIVATE(stats_pid, COUNT),
    PRIVATE(stats_track_process_tree, FLAG),
    PRIVATE(stats_no_cgroup, FLAG),
};
/* clang-format on */
enum { NUM_FIELDS = sizeof(fields) / sizeof(*fields) };

static const field_t *find_field(const char *name)
{
    for (size_t i = 0; i < NUM_FIELDS; i++) {
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    }
    return NULL;
}

static bool is_number(kind_t kind)
{
    return kind == SECONDS || kind == COUNT;
}

bool accel__wandb_setting_known(const char *name)
{
    return find_field(name) != NULL;
}

/* ---- setting one ---- */

void accel__wandb_names_free(accel__wandb_names_t *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (accel__wandb_names_t){0};
}

static accel_status_t names_add(accel__wandb_names_t *names, const char *name, size_t length)
{
    char **grown = realloc(names->names, (names->count + 1) * sizeof(*grown));
    if (!grown)
        return accel__wandb_fail_memory();
    names->names = grown;
    grown[names->count] = strndup(name, length);
    if (!grown[names->count])
        return accel__wandb_fail_memory();
    names->count++;
    return ACCEL_OK;
}

accel_status_t accel__wandb_names_add(accel__wandb_names_t *names, const char *name)
{
    return names_add(names, name, strlen(name));
}

static accel_status_t set_text(char **place, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return accel__wandb_fail_memory();
    free(*place);
    *place = copy;
    return ACCEL_OK;
}

static accel_status_t set_names(accel__wandb_names_t *names, const accel_item_t *item,
                                const char *where)
{
    accel__wandb_names_free(names);
    if (item->type == ACCEL_TYPE_STRING)
        return names_add(names, item->value.s, strlen(item->value.s));
    if (item->type != ACCEL_TYPE_LIST)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "%s must be a list of strings", where);
    accel_status_t status = ACCEL_OK;
    const accel_item_t *at = item->value.list;
    for (; at && at->type != ACCEL_TYPE_END && !status; at++) {
        if (at->type != ACCEL_TYPE_STRING)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "%s must be a list of strings", where);
        status = names_add(names, at->value.s, strlen(at->value.s));
    }
    return status;
}

/* Whole, or refused; a COUNT has no fraction. None of them may be below zero. */
static accel_status_t set_number(double *place, double value, kind_t kind, const char *where)
{
    if (!(value >= 0) || (kind == COUNT && value != floor(value)))
        return accel__wandb_fail(ACCEL_ERR_INVALID, "%s is %g, not %s", where, value,
                                 kind == COUNT ? "a whole number of 0 or more" : "0 or more");
    *place = value;
    return ACCEL_OK;
}

static accel_status_t set_number_item(double *place, const accel_item_t *item, kind_t kind,
                                      const char *where)
{
    switch (item->type) {
    case ACCEL_TYPE_INT:
        return set_number(place, (double)item->value.i, kind, where);
    case ACCEL_TYPE_UINT:
        return set_number(place, (double)item->value.u, kind, where);
    case ACCEL_TYPE_FLOAT:
        return set_number(place, item->value.f, kind, where);
    default:
        return accel__wandb_fail(ACCEL_ERR_INVALID, "%s must be a number", where);
    }
}

accel_status_t accel__wandb_setting_set(accel__wandb_settings_t *settings, const char *name,
                                        const accel_item_t *item, const char *where)
{
    const field_t *field = find_field(name);
    void *place = (char *)settings + field->offset;
    if (item->type == ACCEL_TYPE_NULL)
        return ACCEL_OK;
    if (field->offset == offsetof(accel__wandb_settings_t, use_dot_wandb))
        settings->has_use_dot_wandb = true;
    if (field->kind == NAMES)
        return set_names(place, item, where);
    if (field->kind == FLAG) {
        if (item->type != ACCEL_TYPE_BOOL)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "%s must be true or false (ACCEL_TRUE)",
                                     where);
        *(bool *)place = item->value.b;
        return ACCEL_OK;
    }
    if (is_number(field->kind))
        return set_number_item(place, item, field->kind, where);
    if (item->type != ACCEL_TYPE_STRING)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "%s must be a string", where);
    return set_text(place, item->value.s);
}

static accel_status_t parse_flag(const char *text, bool *flag, const char *where)
{
    static const char *const yes[] = {"1", "true", "t", "yes", "y", "on"};
    static const char *const no[] = {"0", "false", "f", "no", "n", "off"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
        bool is_yes = !strcasecmp(text, yes[i]);
        if (is_yes || !strcasecmp(text, no[i])) {
            *flag = is_yes;
            return ACCEL_OK;
        }
    }
    return accel__wandb_fail(ACCEL_ERR_INVALID, "%s is '%s', not true or false", where, text);
}

static accel_status_t parse_number(double *place, const char *text, kind_t kind, const char *where)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "%s is '%s', not a number", where, text);
    return set_number(place, value, kind, where);
}

static accel_status_t parse_names(accel__wandb_names_t *names, const char *text)
{
    accel__wandb_names_free(names);
    accel_status_t status = ACCEL_OK;
    for (const char *end; !status; text = end + 1) {
        end = strchrnul(text, ',');
        status = names_add(names, text, (size_t)(end - text));
        if (!*end)
            break;
    }
    return status;
}

accel_status_t accel__wandb_setting_parse(accel__wandb_settings_t *settings, const char *name,
                                          const char *text, const char *where)
{
    const field_t *field = find_field(name);
    void *place = (char *)settings + field->offset;
    if (field->offset == offsetof(accel__wandb_settings_t, use_dot_wandb))
        settings->has_use_dot_wandb = true;
    if (field->kind == FLAG)
        return parse_flag(text, place, where);
    if (is_number(field->kind))
        return parse_number(place, text, field->kind, where);
    if (field->kind == NAMES)
        return parse_names(place, text);
    return set_text(place, text);
}

/* ---- the environment: the only place that reads it ---- */

const char *accel__wandb_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void accel__wandb_environ(const char *prefix,
                          void (*take)(void *context, const char *name, size_t length,
                                       const char *value),
                          void *context)
{
    for (char **at = environ; at && *at; at++) {
        const char *equals = strchr(*at, '=');
        if (equals && !strncmp(*at, prefix, strlen(prefix)))
            take(context, *at, (size_t)(equals - *at), equals + 1);
    }
}

/* As stock has it, WANDB_ and any setting's name; WANDB__NAME for x_name, too; and, of some, a name
 * of their own. The later counts. */
static void variable_name(const field_t *field, int form, char *name, size_t size)
{
    bool is_private = !strncmp(field->name, "x_", 2);
    if (form == 2 || (form == 1 && !is_private)) {
        snprintf(name, size, "%s", field->variable ? field->variable : "");
        return;
    }
    snprintf(name, size, "WANDB_%s", field->name + (form == 1));
    for (char *c = name; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
}

static accel_status_t read_variable(accel__wandb_settings_t *settings, const field_t *field,
                                    const char *name)
{
    const char *value = accel__wandb_env(name);
    if (!value)
        return ACCEL_OK;
    /* stock: anything but "false" disables git */
    if (!strcmp(field->name, "disable_git")) {
        settings->disable_git = strcasecmp(value, "false") != 0;
        return ACCEL_OK;
    }
    return accel__wandb_setting_parse(settings, field->name, value, name);
}

static accel_status_t read_environment(accel__wandb_settings_t *settings)
{
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < NUM_FIELDS; i++) {
        for (int form = 0; form < 3 && !status; form++) {
            char name[64];
            variable_name(&fields[i], form, name, sizeof(name));
            status = *name ? read_variable(settings, &fields[i], name) : ACCEL_OK;
        }
    }
    return status;
}

char *accel__wandb_home_path(const char *name)
{
    const char *home = accel__wandb_env("HOME");
    return home ? accel__wandb_join(home, name) : NULL;
}

char *accel__wandb_staging_dir(void)
{
    const char *data = accel__wandb_env("WANDB_DATA_DIR"), *xdg = accel__wandb_env("XDG_DATA_HOME");
    if (data)
        return accel__wandb_join(data, "artifacts/staging");
    if (xdg)
        return accel__wandb_join(xdg, "wandb/artifacts/staging");
    return accel__wandb_home_path(".local/share/wandb/artifacts/staging");
}

char *accel__wandb_settings_wandb_dir(const accel__wandb_settings_t *settings)
{
    char *dotted = accel__wandb_join(settings->root_dir, ".wandb");
    bool use_dot =
        settings->has_use_dot_wandb ? settings->use_dot_wandb : dotted && access(dotted, F_OK) == 0;
    if (use_dot || !dotted)
        return dotted;
    free(dotted);
    return accel__wandb_join(settings->root_dir, "wandb");
}

/* ---- the whole ---- */

static accel_status_t read_project(accel__wandb_settings_t *settings,
                                   const accel_tracker_init_t *init)
{
    if (!init->project_name || !*init->project_name)
        return ACCEL_OK;
    return set_text(&settings->project, init->project_name);
}

/* Those of stock; of a retry, what its core does when a setting is left out. */
static accel_status_t set_defaults(accel__wandb_settings_t *settings)
{
    *settings = (accel__wandb_settings_t){
        .symlink = true,
        .primary = true,
        .update_finish_state = true,
        .show_errors = true,
        .show_info = true,
        .show_warnings = true,
        .init_timeout = 90,
        .heartbeat_seconds = 30,
        .stats_sampling_interval = 15,
        .file_stream_transmit_interval = NAN,
        .graphql_retry_max = NAN,
        .graphql_retry_wait_min = NAN,
        .graphql_retry_wait_max = NAN,
        .graphql_timeout = NAN,
        .file_stream_retry_max = NAN,
        .file_stream_retry_wait_min = NAN,
        .file_stream_retry_wait_max = NAN,
        .file_stream_timeout = NAN,
        .file_transfer_retry_max = NAN,
        .file_transfer_retry_wait_min = NAN,
        .file_transfer_retry_wait_max = NAN,
        .file_transfer_timeout = NAN,
        .file_stream_max_bytes = NAN,
        .file_stream_max_line_bytes = NAN,
        .max_end_of_run_history_metrics = 10,
        .max_end_of_run_summary_metrics = 10,
    };
    accel_status_t status = set_text(&settings->base_url, "https://api.forge.coreweave.com");
    if (!status)
        status = set_text(&settings->git_remote, "origin");
    if (!status)
        status = names_add(&settings->stats_disk_paths, "/", 1);
    return status;
}

accel_status_t accel__wandb_settings_create(const accel_tracker_init_t *init,
                                            accel__wandb_settings_t *settings)
{
    accel_status_t status = set_defaults(settings);
    if (!status)
        status = accel__wandb_settings_read_files(settings);
    if (!status)
        status = read_environment(settings);
    if (!status)
        status = read_project(settings, init);
    if (!status)
        status = accel__wandb_kwargs_read(settings, init->init_kwargs);
    if (!status)
        status = accel__wandb_settings_check(settings);
    if (status)
        accel__wandb_settings_free(settings);
    return status;
}

void accel__wandb_settings_free(accel__wandb_settings_t *settings)
{
    for (size_t i = 0; i < NUM_FIELDS; i++) {
        void *place = (char *)settings + fields[i].offset;
        if (fields[i].kind == TEXT || fields[i].kind == SECRET)
            free(*(char **)place);
        else if (fields[i].kind == NAMES)
            accel__wandb_names_free(place);
    }
    accel__wandb_names_free(&settings->exclude_keys);
    accel__wandb_names_free(&settings->include_keys);
    for (size_t i = 0; i < settings->num_config; i++) {
        free(settings->config[i].key);
        free(settings->config[i].json);
    }
    free(settings->config);
    *settings = (accel__wandb_settings_t){0};
}

static void put_names(accel__wandb_text_t *text, const accel__wandb_names_t *names)
{
    accel__wandb_text_puts(text, "[");
    for (size_t i = 0; i < names->count; i++) {
        accel__wandb_text_puts(text, i ? "," : "");
        accel__wandb_json_string(text, names->names[i]);
    }
    accel__wandb_text_puts(text, "]");
}

void accel__wandb_settings_json(const accel__wandb_settings_t *settings, accel__wandb_text_t *text)
{
    for (size_t i = 0; i < NUM_FIELDS; i++) {
        const void *place = (const char *)settings + fields[i].offset;
        kind_t kind = fields[i].kind;
        if (kind == SECRET || (kind == TEXT && !*(char *const *)place) ||
            (is_number(kind) && isnan(*(const double *)place)))
            continue;
        accel__wandb_text_printf(text, "%s\"%s\":", text->length ? "," : "{", fields[i].name);
        if (kind == TEXT)
            accel__wandb_json_string(text, *(char *const *)place);
        else if (kind == FLAG)
            accel__wandb_text_puts(text, *(const bool *)place ? "true" : "false");
        else if (kind == NAMES)
            put_names(text, place);
        else
            accel__wandb_json_number(text, *(const double *)place, ACCEL__WANDB_JSON_CORE);
    }
    accel__wandb_text_puts(text, "}");
}
