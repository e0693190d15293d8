/* SPDX-License-Identifier: Apache-2.0 */
/* What a run that goes on offline was before: read from its earlier logs on this machine.
 *
 * Stock begins again at step 0 offline, marks the log "resume", and its sync moves all steps behind
 * those that the server has. Then a program that logs with steps of its own, from a checkpoint,
 * comes out twice as far right. With the earlier logs at hand the run goes on as it would online,
 * and its log is not marked: its steps are meant as they are. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "upload/reader.h"
#include "upload/tree.h"

typedef struct {
    accel__wandb_run_t *run;
    accel__wandb_tree_t config, summary; /* over all logs */
    char *name, *notes;
    accel__wandb_names_t tags;
    int64_t step; /* the greatest; -1: none */
    double runtime;
    bool found;
} past_t;

/* ---- one log ---- */

static bool put_items(accel__wandb_tree_t *tree, Wandb__Item *const *items, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        const Wandb__Item *item = items[i];
        char *const *path = item->n_nested_key ? item->nested_key : &item->key;
        good = accel__wandb_tree_set(tree, path, item->n_nested_key ? item->n_nested_key : 1,
                                     item->value_json);
    }
    return good;
}

static void remove_items(accel__wandb_tree_t *tree, Wandb__Item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *const *path = items[i]->n_nested_key ? items[i]->nested_key : &items[i]->key;
        accel__wandb_tree_remove(tree, path, items[i]->n_nested_key ? items[i]->n_nested_key : 1);
    }
}

static bool keep_text(char **place, const char *text)
{
    char *copy = *text ? strdup(text) : NULL;
    if (*text && !copy)
        return false;
    if (copy) {
        free(*place);
        *place = copy;
    }
    return true;
}

static bool keep_tags(past_t *past, const Wandb__RunRecord *record)
{
    accel__wandb_names_free(&past->tags);
    for (size_t i = 0; i < record->n_tags; i++) {
        if (accel__wandb_names_add(&past->tags, record->tags[i]))
            return false;
    }
    return true;
}

/* Another project's run of this id is another run. */
static bool is_ours(const past_t *past, const Wandb__RunRecord *record)
{
    const char *project = past->run->settings.project, *entity = past->run->settings.entity;
    return !strcmp(record->project, project ? project : "") &&
           (!entity || !*record->entity || !strcmp(record->entity, entity));
}

static bool take_run(past_t *past, const Wandb__RunRecord *record)
{
    return keep_text(&past->name, record->display_name) && keep_text(&past->notes, record->notes) &&
           keep_tags(past, record) &&
           (!record->config ||
            put_items(&past->config, record->config->update, record->config->n_update));
}

static void take_row(past_t *past, const Wandb__HistoryRecord *history)
{
    for (size_t i = 0; i < history->n_item; i++) {
        const Wandb__Item *item = history->item[i];
        const char *key = item->n_nested_key == 1 ? item->nested_key[0] : item->key;
        if (!strcmp(key, "_step"))
            past->step = strtoll(item->value_json, NULL, 10) > past->step
                             ? strtoll(item->value_json, NULL, 10)
                             : past->step;
        else if (!strcmp(key, "_runtime"))
            past->runtime = fmax(past->runtime, strtod(item->value_json, NULL));
    }
}

static bool take(past_t *past, const Wandb__Record *record)
{
    bool good = true;
    if (record->run)
        good = take_run(past, record->run);
    else if (record->config)
        good = put_items(&past->config, record->config->update, record->config->n_update);
    else if (record->history)
        take_row(past, record->history);
    if (!record->run && record->summary) {
        good = put_items(&past->summary, record->summary->update, record->summary->n_update);
        remove_items(&past->summary, record->summary->remove, record->summary->n_remove);
    }
    return good;
}

/* As far as the log goes: of a killed run its last record may be a part. A record that cannot be
 * read ends it, as the run must start. */
static void read_log(past_t *past, const char *path)
{
    accel__wandb_reader_t reader;
    bool ours = false, first = true, good = true;
    if (accel__wandb_reader_open(&reader, path)) {
        accel__wandb_debug(past->run, "an earlier log is not read: %s", path);
        return;
    }
    while (good && accel__wandb_reader_next(&reader) == ACCEL__WANDB_READ_RECORD) {
        Wandb__Record *record =
            wandb__record__unpack(NULL, reader.record.length, (const uint8_t *)reader.record.data);
        if (record && record->run && first) {
            ours = is_ours(past, record->run);
            first = false;
        }
        good = record && (first || ours);
        if (good && ours)
            good = take(past, record);
        if (record)
            wandb__record__free_unpacked(record, NULL);
    }
    past->found = past->found || ours;
    accel__wandb_reader_close(&reader);
}

/* ---- all of them ---- */

/* "run-DATE_TIME-ID", or with "offline-" before it and "-NUMBER" behind. */
static bool is_segment(const char *name, const char *id)
{
    if (!strncmp(name, "offline-", 8))
        name += 8;
    if (strncmp(name, "run-", 4) || strspn(name + 4, "0123456789_") != 15 || name[19] != '-')
        return false;
    size_t length = strlen(id);
    const char *rest = name + 20 + length;
    return !strncmp(name + 20, id, length) &&
           (!*rest || (*rest == '-' && rest[1] && !rest[1 + strspn(rest + 1, "0123456789")]));
}

/* By date and time, whichever way they begin. */
static int by_date(const struct dirent **a, const struct dirent **b)
{
    const char *x = (*a)->d_name, *y = (*b)->d_name;
    x += strncmp(x, "offline-", 8) ? 0 : 8;
    y += strncmp(y, "offline-", 8) ? 0 : 8;
    return strverscmp(x, y);
}

static void read_segments(past_t *past)
{
    const accel__wandb_run_t *run = past->run;
    struct dirent **entries = NULL;
    int count = scandir(run->wandb_dir, &entries, NULL, by_date);
    for (int i = 0; i < count; i++) {
        if (is_segment(entries[i]->d_name, run->settings.run_id)) {
            accel__wandb_text_t path = {0};
            accel__wandb_text_printf(&path, "%s/%s/run-%s.wandb", run->wandb_dir,
                                     entries[i]->d_name, run->settings.run_id);
            if (!path.failed)
                read_log(past, path.data);
            accel__wandb_text_free(&path);
        }
        free(entries[i]);
    }
    free(entries);
}

/* ---- going on ---- */

static accel_status_t inherit_config(past_t *past)
{
    accel__wandb_settings_t *settings = &past->run->settings;
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < past->config.count && !status; i++) {
        const accel__wandb_tree_t *old = &past->config.children[i];
        accel__wandb_text_t json = {0};
        if (!strcmp(old->key, "_wandb"))
            continue;
        accel__wandb_tree_print(old, &json, true);
        status = json.failed ? accel__wandb_fail_memory()
                             : accel__wandb_config_inherit(settings, old->key, json.data);
        accel__wandb_text_free(&json);
    }
    return status;
}

static accel_type_t type_of(const char *json)
{
    switch (*json) {
    case '"':
        return ACCEL_TYPE_STRING;
    case 't':
    case 'f':
        return ACCEL_TYPE_BOOL;
    case 'n':
        return ACCEL_TYPE_NULL;
    case '[':
        return ACCEL_TYPE_LIST;
    default:
        return strpbrk(json, ".eIN") ? ACCEL_TYPE_FLOAT : ACCEL_TYPE_INT;
    }
}

/* The summary's own copy: leaves at joined paths. */
static accel_status_t inherit_summary(accel__wandb_summary_t *summary,
                                      const accel__wandb_tree_t *tree, const char *outer)
{
    accel_status_t status = ACCEL_OK;
    for (size_t i = 0; i < tree->count && !status; i++) {
        const accel__wandb_tree_t *child = &tree->children[i];
        accel__wandb_text_t path = {0}, json = {0};
        accel__wandb_text_printf(&path, "%s%s%s", outer, *outer ? "\x1f" : "", child->key);
        accel__wandb_metric_t *metric = NULL;
        if (child->kind == ACCEL__WANDB_OBJECT) {
            status = path.failed ? accel__wandb_fail_memory()
                                 : inherit_summary(summary, child, path.data);
        } else {
            accel__wandb_tree_print(child, &json, true);
            metric =
                path.failed || json.failed ? NULL : accel__wandb_summary_at(summary, path.data);
            status = metric ? ACCEL_OK : accel__wandb_fail_memory();
        }
        if (metric) {
            metric->type = type_of(json.data);
            metric->last = json;
            json = (accel__wandb_text_t){0};
        }
        accel__wandb_text_free(&path);
        accel__wandb_text_free(&json);
    }
    return status;
}

static accel_status_t inherit(past_t *past)
{
    accel__wandb_run_t *run = past->run;
    accel__wandb_settings_t *settings = &run->settings;
    char stamps[][12] = {"_step", "_runtime", "_timestamp", "_wandb"};
    for (size_t i = 0; i < sizeof(stamps) / sizeof(*stamps); i++) {
        char *path[] = {stamps[i]};
        accel__wandb_tree_remove(&past->summary, path, 1);
    }
    run->resumed = true;
    run->features.resumed = true;
    run->step = run->starting_step = past->step + 1;
    run->past_runtime = past->runtime;
    if (!settings->run_name) {
        settings->run_name = past->name;
        past->name = NULL;
    }
    if (!settings->run_notes) {
        settings->run_notes = past->notes;
        past->notes = NULL;
    }
    if (!settings->run_tags.count) {
        accel__wandb_names_t none = settings->run_tags;
        settings->run_tags = past->tags;
        past->tags = none;
    }
    accel_status_t status = inherit_config(past);
    return status ? status : inherit_summary(&run->summary, &past->summary, "");
}

accel_status_t accel__wandb_past_read(accel__wandb_run_t *run)
{
    past_t past = {.run = run, .step = -1};
    const char *resume = run->settings.resume;
    accel_status_t status = ACCEL_OK;
    if (!resume || accel__wandb_is_online(run))
        return ACCEL_OK;
    past.config.kind = past.summary.kind = ACCEL__WANDB_OBJECT;
    read_segments(&past);
    if (past.found && !strcmp(resume, "never"))
        status = accel__wandb_fail(ACCEL_ERR_STATE,
                                   "wandb: 'resume' is never, but a run '%s' of this project is in "
                                   "%s; leave 'id' out, or use resume=\"allow\"",
                                   run->settings.run_id, run->wandb_dir);
    else if (past.found)
        status = inherit(&past);
    accel__wandb_tree_free(&past.config);
    accel__wandb_tree_free(&past.summary);
    accel__wandb_names_free(&past.tags);
    free(past.name);
    free(past.notes);
    return status;
}
