/* SPDX-License-Identifier: Apache-2.0 */
/* Tracker classes by name: the program's own, the built-in ones, plugins. */
#include "track/tracker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const built_in[] = {"wandb", "jsonl"};
#define NUM_BUILT_IN (sizeof(built_in) / sizeof(*built_in))

/* The program's own classes: process-wide, as a class is code. Entries are never removed, so
 * their names stay valid. */
static struct {
    pthread_mutex_t lock;
    accel_tracker_class_t *classes;
    size_t count;
} registered = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool accel__tracker_name_valid(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "_-.");

    return length > 0 && length <= ACCEL__TRACKER_NAME_MAX && name[length] == '\0';
}

static bool is_built_in(const char *name)
{
    for (size_t i = 0; i < NUM_BUILT_IN; i++)
        if (strcmp(name, built_in[i]) == 0)
            return true;
    return false;
}

accel_status_t accel__tracker_class_read(const accel_tracker_class_t *source, const char *what,
                                         accel_tracker_class_t *copy)
{
    accel_tracker_class_t read = {0};
    accel_status_t status = accel__options_read(&read, sizeof(read), source, what);

    if (status != ACCEL_OK)
        return status;
    if (!read.name || !accel__tracker_name_valid(read.name))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: the tracker's name is '%s'; expected 1 to %d letters, digits, "
                           "'_', '-' or '.'",
                           what, read.name ? read.name : "(null)", ACCEL__TRACKER_NAME_MAX);
    if (!read.create || !read.log || !read.destroy)
        return accel__fail(ACCEL_ERR_INVALID, "%s: tracker '%s' has no %s slot, which is required",
                           what, read.name,
                           !read.create ? "create"
                           : !read.log  ? "log"
                                        : "destroy");
    *copy = read;
    return ACCEL_OK;
}

/* ---- the program's own ---- */

static accel_tracker_class_t *find_registered_locked(const char *name)
{
    for (size_t i = 0; i < registered.count; i++)
        if (strcmp(registered.classes[i].name, name) == 0)
            return &registered.classes[i];
    return NULL;
}

static accel_status_t add_locked(const accel_tracker_class_t *added)
{
    size_t size = (registered.count + 1) * sizeof(*registered.classes);
    accel_tracker_class_t *grown = realloc(registered.classes, size);
    char *name = accel__strdup(added->name);

    if (grown)
        registered.classes = grown;
    if (!grown || !name) {
        free(name);
        return accel__fail_memory("a tracker class", size);
    }
    grown[registered.count] = *added;
    grown[registered.count++].name = name;
    return ACCEL_OK;
}

/* Returns ACCEL_END if an older class was replaced. */
static accel_status_t add_or_replace(const accel_tracker_class_t *added)
{
    accel_tracker_class_t *older;
    accel_status_t status;

    pthread_mutex_lock(&registered.lock);
    older = find_registered_locked(added->name);
    if (older) {
        const char *name = older->name;

        *older = *added;
        older->name = name;
        status = ACCEL_END;
    } else {
        status = add_locked(added);
    }
    pthread_mutex_unlock(&registered.lock);
    return status;
}

accel_status_t accel_register_tracker_class(const accel_tracker_class_t *tracker_class)
{
    accel_tracker_class_t added;
    accel_status_t status;

    if (!tracker_class)
        return accel__fail(ACCEL_ERR_INVALID, "accel_register_tracker_class: the class is NULL");
    status = accel__tracker_class_read(tracker_class, "accel_register_tracker_class", &added);
    if (status != ACCEL_OK)
        return status;
    if (is_built_in(added.name) || strcmp(added.name, "all") == 0)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_register_tracker_class: the name '%s' is the library's own",
                           added.name);
    status = add_or_replace(&added);
    if (status != ACCEL_END)
        return status;
    accel__log(ACCEL_LOG_WARNING, "tracker class '%s' was registered before and is replaced",
               added.name);
    return ACCEL_OK;
}

static bool find_registered(const char *name, accel_tracker_class_t *found)
{
    const accel_tracker_class_t *entry;

    pthread_mutex_lock(&registered.lock);
    entry = find_registered_locked(name);
    if (entry)
        *found = *entry;
    pthread_mutex_unlock(&registered.lock);
    return entry != NULL;
}

/* ---- all of them ---- */

accel_status_t accel__tracker_class_find(const char *name, bool main_process,
                                         accel_tracker_class_t *found)
{
    char suggestion[2 * ACCEL__TRACKER_NAME_MAX];

    if (find_registered(name, found))
        return ACCEL_OK;
    if (strcmp(name, "jsonl") == 0) {
        *found = accel__jsonl_class;
        return ACCEL_OK;
    }
    if (strcmp(name, "wandb") == 0 && !main_process) {
        *found = (accel_tracker_class_t){.struct_size = sizeof(*found), .name = built_in[0]};
        return ACCEL_OK;
    }
    if (strcmp(name, "wandb") == 0 || accel__tracker_plugin_exists(name))
        return accel__tracker_plugin_load(name, found);
    accel__tracker_suggest(name, suggestion, sizeof(suggestion));
    return accel__fail(ACCEL_ERR_NOT_FOUND,
                       "log_with: there is no tracker '%s'%s; built in are wandb and jsonl, others "
                       "are registered by accel_register_tracker_class() before accel_create()",
                       name, suggestion);
}

bool accel__tracker_known(const char *name)
{
    accel_tracker_class_t found;

    return is_built_in(name) || find_registered(name, &found) ||
           (accel__tracker_name_valid(name) && accel__tracker_plugin_exists(name));
}

void accel__tracker_append_all(accel__text_t *names)
{
    accel_tracker_class_t found;

    if (accel__tracker_class_find("wandb", true, &found) == ACCEL_OK)
        accel__text_appendf(names, "wandb,");
    else
        accel__log(ACCEL_LOG_INFO, "log_with = \"all\" goes without wandb: %s", accel_last_error());
    accel__text_appendf(names, "jsonl");
    pthread_mutex_lock(&registered.lock);
    for (size_t i = 0; i < registered.count; i++)
        accel__text_appendf(names, ",%s", registered.classes[i].name);
    pthread_mutex_unlock(&registered.lock);
}

void accel__tracker_suggest(const char *name, char *text, size_t size)
{
    const char *nearest = accel__nearest(name, built_in, NUM_BUILT_IN);

    pthread_mutex_lock(&registered.lock);
    for (size_t i = 0; i < registered.count; i++) {
        const char *pair[] = {registered.classes[i].name, nearest};

        nearest = accel__nearest(name, pair, nearest ? 2 : 1);
    }
    pthread_mutex_unlock(&registered.lock);
    text[0] = '\0';
    if (nearest)
        snprintf(text, size, " (did you mean '%s'?)", nearest);
}
