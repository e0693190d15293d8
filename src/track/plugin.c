/* SPDX-License-Identifier: Apache-2.0 */
/* Trackers as shared objects. A plugin stays loaded until the process ends: the library it
 * comes from may have threads and exit handlers of its own. */
#include <accel/plugin/tracker_v1.h>
#include <accel/version.h>

#include "track/tracker.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const accel_host_v1_t host = {
    .struct_size = sizeof(accel_host_v1_t),
    .fail = accel__fail,
    .log = accel__log,
    .version = ACCEL_VERSION,
    .last_error = accel_last_error,
    .media_view = accel_media_view,
};

/* Where plugins may lie, as one text: ACCEL_PLUGIN_PATH, then accel/ beside the object that
 * this function is in. Directories are separated by ':'. */
static void append_directories(accel__text_t *path)
{
    const char *variable = accel__env("ACCEL_PLUGIN_PATH");
    Dl_info self;
    const char *slash;

    if (variable)
        accel__text_appendf(path, "%s:", variable);
    if (!dladdr((const void *)&host, &self) || !self.dli_fname)
        return;
    slash = strrchr(self.dli_fname, '/');
    if (slash)
        accel__text_append(path, self.dli_fname, (size_t)(slash - self.dli_fname));
    else
        accel__text_append(path, ".", 1);
    accel__text_appendf(path, "/accel");
}

/* The first such file. `searched` gets what was tried, for people. */
static bool find_file(const char *name, accel__text_t *file, accel__text_t *searched)
{
    accel__text_t path = {0};
    bool found = false;

    append_directories(&path);
    for (const char *at = path.data; at && *at && !found; at += *at == ':') {
        size_t length = strcspn(at, ":");

        if (length > 0) {
            accel__text_free(file);
            accel__text_appendf(file, "%.*s/libaccel-tracker-%s.so", (int)length, at, name);
            accel__text_appendf(searched, "%s%.*s", searched->length ? ", " : "", (int)length, at);
            found = !file->failed && access(file->data, F_OK) == 0;
        }
        at += length;
    }
    accel__text_free(&path);
    return found;
}

bool accel__tracker_plugin_exists(const char *name)
{
    accel__text_t file = {0}, searched = {0};
    bool found = find_file(name, &file, &searched);

    accel__text_free(&file);
    accel__text_free(&searched);
    return found;
}

static accel_status_t ask_plugin(const char *name, const char *file, void *object,
                                 accel_tracker_class_t *found)
{
    const accel_tracker_class_t *offered = NULL;
    accel_tracker_plugin_v1_fn entry;
    accel_status_t status;
    void *symbol = dlsym(object, ACCEL_TRACKER_PLUGIN_V1);

    if (!symbol)
        return accel__fail(ACCEL_ERR_UNSUPPORTED,
                           "tracker '%s': %s has no symbol " ACCEL_TRACKER_PLUGIN_V1
                           "; it was made for another version of accel",
                           name, file);
    memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast from object to function */
    status = entry(&host, &offered);
    if (status != ACCEL_OK)
        return accel__fail(status, "tracker '%s': %s: %s", name, file, accel_last_error());
    if (!offered)
        return accel__fail(ACCEL_ERR_INVALID, "tracker '%s': %s gave no class", name, file);
    status = accel__tracker_class_read(offered, file, found);
    if (status == ACCEL_OK && strcmp(found->name, name) != 0)
        status = accel__fail(ACCEL_ERR_INVALID, "tracker '%s': %s holds the tracker '%s'", name,
                             file, found->name);
    return status;
}

static accel_status_t load_file(const char *name, const char *file, accel_tracker_class_t *found)
{
    void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!object)
        return accel__fail(ACCEL_ERR_UNSUPPORTED, "tracker '%s': the plugin does not load: %s",
                           name, dlerror());
    return ask_plugin(name, file, object, found);
}

accel_status_t accel__tracker_plugin_load(const char *name, accel_tracker_class_t *found)
{
    accel__text_t file = {0}, searched = {0};
    accel_status_t status;

    if (find_file(name, &file, &searched))
        status = load_file(name, file.data, found);
    else if (file.failed || searched.failed)
        status = accel__fail_memory("the path of a plugin", searched.length);
    else
        status = accel__fail(ACCEL_ERR_NOT_FOUND,
                             "tracker '%s' needs the plugin libaccel-tracker-%s.so: not found in "
                             "%s; install the package accel-%s or set ACCEL_PLUGIN_PATH",
                             name, name, searched.data ? searched.data : "any directory", name);
    accel__text_free(&file);
    accel__text_free(&searched);
    return status;
}
