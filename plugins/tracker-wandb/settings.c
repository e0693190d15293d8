/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "text.h"

typedef enum { TEXT, FLAG, NAMES } kind_t;

typedef struct {
    const char *name;
    kind_t kind;
    size_t offset;
    const char *variable; /* NULL: WANDB_ and the name in capitals */
} field_t;

#define FIELD(name, kind, variable)                                    \
    {                                                                  \
#name, kind, offsetof(accel__wandb_settings_t, name), variable \
    }

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
    FIELD(sweep_id, TEXT, NULL),
    FIELD(host, TEXT, NULL),
    FIELD(username, TEXT, NULL),
    FIELD(email, TEXT, "WANDB_USER_EMAIL"),
    FIELD(docker, TEXT, NULL),
    FIELD(program, TEXT, NULL),
    {"x_executable", TEXT, offsetof(accel__wandb_settings_t, executable), "WANDB_X_EXECUTABLE"},
    FIELD(git_remote, TEXT, NULL),
    FIELD(git_remote_url, TEXT, NULL),
    FIELD(git_commit, TEXT, NULL),
    FIELD(git_root, TEXT, NULL),
    FIELD(base_url, TEXT, NULL),
    FIELD(api_key, TEXT, NULL),
    FIELD(silent, FLAG, NULL),
    FIELD(quiet, FLAG, NULL),
    FIELD(disable_git, FLAG, NULL),
    FIELD(force, FLAG, NULL),
    FIELD(symlink, FLAG, NULL),
    FIELD(use_dot_wandb, FLAG, NULL),
    {"x_disable_meta", FLAG, offsetof(accel__wandb_settings_t, disable_meta),
     "WANDB__DISABLE_META"},
    {"x_disable_machine_info", FLAG, offsetof(accel__wandb_settings_t, disable_machine_info),
     "WANDB__DISABLE_MACHINE_INFO"},
};
enum { NUM_FIELDS = sizeof(fields) / sizeof(*fields) };

static const field_t *find_field(const char *name)
{
    for (size_t i = 0; i < NUM_FIELDS; i++) {
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    }
    return NULL;
}

bool accel__wandb_setting_known(const char *name)
{
    return find_field(name) != NULL;
}

/* ---- setting one ---- */

static void names_free(accel__wandb_names_t *names)
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
    names_free(names);
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

static accel_status_t parse_names(accel__wandb_names_t *names, const char *text)
{
    names_free(names);
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

static void variable_name(const field_t *field, char *name, size_t size)
{
    if (field->variable) {
        snprintf(name, size, "%s", field->variable);
        return;
    }
    snprintf(name, size, "WANDB_%s", field->name);
    for (char *c = name; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
}

static accel_status_t read_environment(accel__wandb_settings_t *settings)
{
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < NUM_FIELDS && !status; i++) {
        char name[64];
        variable_name(&fields[i], name, sizeof(name));
        const char *value = accel__wandb_env(name);
        if (!value)
            continue;
        /* stock: anything but "false" disables git */
        if (!strcmp(fields[i].name, "disable_git"))
            settings->disable_git = strcasecmp(value, "false") != 0;
        else
            status = accel__wandb_setting_parse(settings, fields[i].name, value, name);
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

/* ---- settings files: [default], then `name = value` lines ---- */

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t length = strlen(text);
    while (length && strchr(" \t\r\n", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static accel_status_t read_line(accel__wandb_settings_t *settings, char *line, const char *path)
{
    char *separator = strpbrk(line, "=:");
    if (!*line || *line == '#' || *line == ';' || !separator)
        return ACCEL_OK;
    *separator = '\0';
    char *name = trim(line), *value = trim(separator + 1), where[512];
    for (char *c = name; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    if (!*value || !accel__wandb_setting_known(name)) /* other clients' settings are theirs */
        return ACCEL_OK;
    snprintf(where, sizeof(where), "%s: '%s'", path, name);
    return accel__wandb_setting_parse(settings, name, value, where);
}

static accel_status_t read_file(accel__wandb_settings_t *settings, const char *path)
{
    char *data = path ? accel__wandb_read_small(path, 1 << 20) : NULL, *next = data;
    accel_status_t status = ACCEL_OK;
    bool ours = false;
    while (next && !status) {
        char *line = trim(strsep(&next, "\n"));
        if (*line == '[')
            ours = !strcmp(line, "[default]");
        else if (ours)
            status = read_line(settings, line, path);
    }
    free(data);
    return status;
}

static accel_status_t read_files(accel__wandb_settings_t *settings)
{
    const char *folder = accel__wandb_env("WANDB_CONFIG_DIR"),
               *xdg = accel__wandb_env("XDG_CONFIG_HOME");
    char *global = folder ? accel__wandb_join(folder, "settings")
                   : xdg  ? accel__wandb_join(xdg, "wandb/settings")
                          : accel__wandb_home_path(".config/wandb/settings");
    accel_status_t status = read_file(settings, global);
    free(global);
    if (status)
        return status;
    const char *root = accel__wandb_env("WANDB_DIR");
    char *dotted = accel__wandb_join(root ? root : ".", ".wandb/settings");
    char *plain = accel__wandb_join(root ? root : ".", "wandb/settings");
    status = dotted && plain ? read_file(settings, access(dotted, F_OK) == 0 ? dotted : plain)
                             : accel__wandb_fail_memory();
    free(dotted);
    free(plain);
    return status;
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

accel_status_t accel__wandb_settings_create(const accel_tracker_init_t *init,
                                            accel__wandb_settings_t *settings)
{
    *settings = (accel__wandb_settings_t){.symlink = true};
    accel_status_t status = read_files(settings);
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
        if (fields[i].kind == TEXT)
            free(*(char **)place);
        else if (fields[i].kind == NAMES)
            names_free(place);
    }
    names_free(&settings->exclude_keys);
    names_free(&settings->include_keys);
    for (size_t i = 0; i < settings->num_config; i++) {
        free(settings->config[i].key);
        free(settings->config[i].json);
    }
    free(settings->config);
    *settings = (accel__wandb_settings_t){0};
}
