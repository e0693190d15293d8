/* SPDX-License-Identifier: Apache-2.0 */
/* How a tracker is packed as a plugin: a shared object libaccel-tracker-NAME.so that is
 * loaded when `log_with` names it. It is looked for in ACCEL_PLUGIN_PATH (directories
 * separated by ':'), then in accel/ beside libaccel.so. It links nothing of ours: what it
 * needs comes in the host table. Once released this header does not change; a new
 * version is a new file and a new symbol. */
#ifndef ACCEL_PLUGIN_TRACKER_V1_H
#define ACCEL_PLUGIN_TRACKER_V1_H

#include <accel/log.h>
#include <accel/track.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_host_v1 {
    size_t struct_size;
    /* Leave a line for accel_last_error() and return `status`. */
    accel_status_t (*fail)(accel_status_t status, const char *format, ...) ACCEL_PRINTF(2, 3);
    void (*log)(accel_log_level_t level, const char *format, ...) ACCEL_PRINTF(2, 3);
    const char *version; /* of the library */
    const accel_media_view_t *(*media_view)(const accel_media_t *media); /* accel_media_view() */
    const char *(*last_error)(void);                                     /* accel_last_error() */
} accel_host_v1_t;

/* The one symbol a tracker plugin exports. Sets *tracker_class to static data. `host` stays
 * valid for the life of the process. */
typedef accel_status_t (*accel_tracker_plugin_v1_fn)(const accel_host_v1_t *host,
                                                     const accel_tracker_class_t **tracker_class);
#define ACCEL_TRACKER_PLUGIN_V1 "accel_tracker_plugin_v1"

#ifdef __cplusplus
}
#endif

#endif
