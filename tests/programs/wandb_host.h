/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the W&B plugin and stands in for the library that hosts it, so that it can be driven slot
 * by slot. */
#ifndef ACCEL_TESTS_WANDB_HOST_H
#define ACCEL_TESTS_WANDB_HOST_H

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <accel/plugin/tracker_v1.h>

static _Thread_local char wandb_host_error[2048];

static accel_status_t wandb_host_fail(accel_status_t status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static accel_status_t wandb_host_fail(accel_status_t status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wandb_host_error, sizeof(wandb_host_error), format, arguments);
    va_end(arguments);
    return status;
}

static void wandb_host_log(accel_log_level_t level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void wandb_host_log(accel_log_level_t level, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "host %d: ", (int)level);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static const char *wandb_host_last_error(void)
{
    return wandb_host_error;
}

/* NULL if the plugin is not there. */
static const accel_tracker_class_t *wandb_host_load(void)
{
    static const accel_host_v1_t host = {sizeof(host), wandb_host_fail, wandb_host_log, "0.1.0",
                                         accel_media_view,
                                         wandb_host_last_error};
    const char *build = getenv("ACCEL_BUILD_DIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/lib/accel/libaccel-tracker-wandb.so", build ? build : ".");
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    accel_tracker_plugin_v1_fn enter;
    void *symbol = dlsym(plugin, ACCEL_TRACKER_PLUGIN_V1);
    const accel_tracker_class_t *tracker_class = NULL;
    memcpy(&enter, &symbol, sizeof(enter));
    if (!symbol || enter(&host, &tracker_class))
        return NULL;
    return tracker_class;
}

static inline double wandb_host_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
