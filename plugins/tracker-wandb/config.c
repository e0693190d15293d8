/* SPDX-License-Identifier: Apache-2.0 */
/* What a program changes of the run itself: its configuration, name, notes and tags. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* ---- the configuration: pairs of a key and JSON text, in the settings ---- */

static accel__wandb_pair_t *find_pair(const accel__wandb_settings_t *settings, const char *key)
{
    for (size_t i = 0; i < settings->num_config; i++) {
        if (!strcmp(settings->config[i].key, key))
            return &settings->config[i];
    }
    return NULL;
}

static bool is_number(const char *json, double *value)
{
    char *end;
    *value = strtod(json, &end);
    return end != json && !*end;
}

/* As Python compares: 1 is 1.0. */
static bool same_value(const char *a, const char *b)
{
    double x, y;
    return !strcmp(a, b) || (is_number(a, &x) && is_number(b, &y) && x == y);
}

static accel_status_t put_pair(accel__wandb_settings_t *settings, const char *key, char *json)
{
    accel__wandb_pair_t *pair = find_pair(settings, key);
    if (!pair) {
        accel__wandb_pair_t *grown =
            realloc(settings->config, (settings->num_config + 1) * sizeof(*grown));
        if (!grown)
            return accel__wandb_fail_memory();
        settings->config = grown;
        pair = &grown[settings->num_config];
        *pair = (accel__wandb_pair_t){.key = strdup(key)};
        if (!pair->key)
            return accel__wandb_fail_memory();
        settings->num_config++;
    }
    free(pair->json);
    pair->json = json;
    return ACCEL_OK;
}

accel_status_t accel__wandb_config_inherit(accel__wandb_settings_t *settings, const char *key,
                                           const char *json)
{
    if (find_pair(settings, key))
        return ACCEL_OK;
    char *copy = strdup(json);
    accel_status_t status = copy ? put_pair(settings, key, copy) : accel__wandb_fail_memory();
    if (status)
        free(copy);
    return status;
}

static accel_status_t keep_values(accel__wandb_settings_t *settings, const accel_item_t *config)
{
    accel_status_t status = ACCEL_OK;
    for (; config->type != ACCEL_TYPE_END && !status; config++) {
        accel__wandb_text_t text = {0};
        accel__wandb_json_value(&text, config, ACCEL__WANDB_JSON_FRONT);
        status =
            text.failed ? accel__wandb_fail_memory() : put_pair(settings, config->key, text.data);
        if (status)
            accel__wandb_text_free(&text);
    }
    return status;
}

static accel_status_t check_unchanged(const accel__wandb_settings_t *settings,
                                      const accel_item_t *config)
{
    accel_status_t status = ACCEL_OK;
    for (; config->type != ACCEL_TYPE_END && !status; config++) {
        const accel__wandb_pair_t *pair = find_pair(settings, config->key);
        accel__wandb_text_t text = {0};
        if (!pair)
            continue;
        accel__wandb_json_value(&text, config, ACCEL__WANDB_JSON_FRONT);
        if (text.failed)
            status = accel__wandb_fail_memory();
        else if (!same_value(pair->json, text.data))
            status = accel__wandb_fail(ACCEL_ERR_STATE,
                                       "wandb: the configuration's '%s' is %.100s and would become "
                                       "%.100s; use accel_wandb_run_config_update(), or init with "
                                       "\"allow_val_change\"",
                                       config->key, pair->json, text.data);
        accel__wandb_text_free(&text);
    }
    return status;
}

/* The values whose keys are not there yet; to free(). */
static accel_item_t *only_new(const accel__wandb_settings_t *settings, const accel_item_t *config)
{
    size_t count = 0, kept = 0;
    while (config[count].type != ACCEL_TYPE_END)
        count++;
    accel_item_t *items = calloc(count + 1, sizeof(*items));
    for (size_t i = 0; items && i < count; i++) {
        if (!find_pair(settings, config[i].key))
            items[kept++] = config[i];
    }
    if (items)
        items[kept] = accel_item_end();
    return items;
}

static accel_status_t check_keys(const accel_item_t *config)
{
    for (; config && config->type != ACCEL_TYPE_END; config++) {
        if (!config->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: a key is NULL");
    }
    return ACCEL_OK;
}

static accel_status_t change(accel__wandb_run_t *run, const accel_item_t *config)
{
    if (config->type == ACCEL_TYPE_END)
        return ACCEL_OK;
    accel__wandb_emit_config(run, config);
    accel_status_t status = accel__wandb_commit(run);
    return status ? status : keep_values(&run->settings, config);
}

accel_status_t accel__wandb_run_config(accel__wandb_run_t *run, const accel_item_t *config,
                                       accel_wandb_config_t how)
{
    accel_status_t status = check_keys(config);
    if (status || !config || !accel__wandb_is_writing(run))
        return status;
    if (how == ACCEL_WANDB_CONFIG_SETDEFAULTS) {
        accel_item_t *added = only_new(&run->settings, config);
        status = added ? change(run, added) : accel__wandb_fail_memory();
        free(added);
        return status;
    }
    if (how == ACCEL_WANDB_CONFIG_SET && !run->settings.allow_val_change)
        status = check_unchanged(&run->settings, config);
    if (!status && how == ACCEL_WANDB_CONFIG_SET)
        accel__wandb_use_feature(run, &run->features.set_config_item);
    return status ? status : change(run, config);
}

void accel__wandb_config_json(const accel__wandb_run_t *run, accel__wandb_text_t *text)
{
    accel__wandb_text_puts(text, "{");
    for (size_t i = 0; i < run->settings.num_config; i++) {
        accel__wandb_text_puts(text, i ? "," : "");
        accel__wandb_json_string(text, run->settings.config[i].key);
        accel__wandb_text_puts(text, ":");
        accel__wandb_text_puts(text, run->settings.config[i].json);
    }
    accel__wandb_text_puts(text, "}");
}

/* ---- name, notes, tags ---- */

static accel_status_t say_changed(accel__wandb_run_t *run)
{
    if (!accel__wandb_is_writing(run))
        return ACCEL_OK;
    accel__wandb_emit_run_update(run);
    return accel__wandb_commit(run);
}

accel_status_t accel__wandb_run_set_text(accel__wandb_run_t *run, const char *what,
                                         const char *text)
{
    bool name = !strcmp(what, "name");
    if (!text)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the run's %s is NULL", what);
    accel_item_t item = accel_item_string(what, text);
    accel_status_t status =
        accel__wandb_setting_set(&run->settings, name ? "run_name" : "run_notes", &item, what);
    if (status)
        return status;
    if (name && accel__wandb_is_writing(run))
        accel__wandb_use_feature(run, &run->features.set_run_name);
    return say_changed(run);
}

accel_status_t accel__wandb_run_set_tags(accel__wandb_run_t *run, const accel_list_t *tags)
{
    accel__wandb_settings_t scratch = {0};
    accel_item_t none = accel_item_end(), item = accel_item_list("tags", tags);
    item.value.list = tags && tags->items ? tags->items : &none;
    accel_status_t status = accel__wandb_setting_set(&scratch, "run_tags", &item, "wandb: tags");
    if (!status)
        status = accel__wandb_check_tags(&scratch.run_tags);
    if (!status) {
        accel__wandb_names_t old = run->settings.run_tags;
        run->settings.run_tags = scratch.run_tags;
        scratch.run_tags = old;
        if (accel__wandb_is_writing(run))
            accel__wandb_use_feature(run, &run->features.set_run_tags);
        status = say_changed(run);
    }
    accel__wandb_settings_free(&scratch);
    return status;
}

accel_status_t accel__wandb_run_mark_preempting(accel__wandb_run_t *run)
{
    if (!accel__wandb_is_writing(run))
        return ACCEL_OK;
    accel__wandb_emit_preempting(run);
    return accel__wandb_commit(run);
}
