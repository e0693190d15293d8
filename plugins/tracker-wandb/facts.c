/* SPDX-License-Identifier: Apache-2.0 */
/* What a program may ask about its run. */
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "url.h"

/* A text to free(), or NULL. */
typedef char *(*make_t)(const accel__wandb_run_t *run);

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

static char *make_id(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.run_id);
}

static char *make_name(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.run_name);
}

static char *make_notes(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.run_notes);
}

static char *make_group(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.run_group);
}

static char *make_job_type(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.run_job_type);
}

static char *make_entity(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.entity);
}

static char *make_sweep_id(const accel__wandb_run_t *run)
{
    return copy_of(run->settings.sweep_id);
}

static char *make_dir(const accel__wandb_run_t *run)
{
    return copy_of(run->dir);
}

static char *make_files_dir(const accel__wandb_run_t *run)
{
    return run->dir ? accel__wandb_join(run->dir, "files") : NULL;
}

static char *make_sync_command(const accel__wandb_run_t *run)
{
    return copy_of(run->sync_command);
}

static const char *project_of(const accel__wandb_run_t *run)
{
    return run->settings.project ? run->settings.project : "uncategorized";
}

static char *make_project(const accel__wandb_run_t *run)
{
    return strdup(project_of(run));
}

static char *finished(accel__wandb_text_t *text)
{
    if (text->failed)
        accel__wandb_text_free(text);
    return text->data;
}

static char *make_path(const accel__wandb_run_t *run)
{
    const char *entity = run->settings.entity;
    accel__wandb_text_t text = {0};
    if (!run->settings.run_id)
        return NULL;
    accel__wandb_text_printf(&text, "%s%s%s/%s", entity ? entity : "", entity ? "/" : "",
                             project_of(run), run->settings.run_id);
    return finished(&text);
}

/* Entity and project are the server's once it has answered. */
static char *make_url(const accel__wandb_run_t *run)
{
    return accel__wandb_is_online(run) ? accel__wandb_url_run(&run->settings, run->settings.entity,
                                                              project_of(run), run->settings.run_id)
                                       : NULL;
}

static char *make_project_url(const accel__wandb_run_t *run)
{
    return accel__wandb_is_online(run)
               ? accel__wandb_url_project(&run->settings, run->settings.entity, project_of(run))
               : NULL;
}

static char *make_sweep_url(const accel__wandb_run_t *run)
{
    return accel__wandb_is_online(run)
               ? accel__wandb_url_sweep(&run->settings, run->settings.entity, project_of(run),
                                        run->settings.sweep_id)
               : NULL;
}

static char *make_tags(const accel__wandb_run_t *run)
{
    accel__wandb_text_t text = {0};
    accel__wandb_text_puts(&text, "[");
    for (size_t i = 0; i < run->settings.run_tags.count; i++) {
        accel__wandb_text_puts(&text, i ? "," : "");
        accel__wandb_json_string(&text, run->settings.run_tags.names[i]);
    }
    accel__wandb_text_puts(&text, "]");
    return finished(&text);
}

static char *make_settings(const accel__wandb_run_t *run)
{
    accel__wandb_text_t text = {0};
    accel__wandb_settings_json(&run->settings, &text);
    return finished(&text);
}

static const struct {
    const char *name;
    make_t make;
} facts[] = {
    {"id", make_id},
    {"name", make_name},
    {"notes", make_notes},
    {"group", make_group},
    {"job_type", make_job_type},
    {"project", make_project},
    {"entity", make_entity},
    {"path", make_path},
    {"sweep_id", make_sweep_id},
    {"url", make_url},
    {"project_url", make_project_url},
    {"sweep_url", make_sweep_url},
    {"dir", make_dir},
    {"files_dir", make_files_dir},
    {"sync_command", make_sync_command},
    {"tags", make_tags},
    {"settings", make_settings},
};

_Static_assert(sizeof(facts) / sizeof(*facts) == ACCEL__WANDB_FACTS, "one place for each fact");

const char *accel__wandb_fact(accel__wandb_run_t *run, const char *what)
{
    size_t i = 0;
    while (i < ACCEL__WANDB_FACTS && strcmp(facts[i].name, what) != 0)
        i++;
    char *text = i < ACCEL__WANDB_FACTS ? facts[i].make(run) : NULL;
    if (text && (!run->facts[i] || strcmp(run->facts[i], text) != 0))
        run->facts[i] = accel__wandb_arena_copy(&run->given, text, strlen(text));
    const char *fact = text ? run->facts[i] : NULL;
    free(text);
    return fact;
}
