/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the library: to stderr, or to a callback of the program's. */
#ifndef ACCEL_LOG_H
#define ACCEL_LOG_H

#include <accel/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum accel_log_level {
    ACCEL_LOG_DEBUG = 10,
    ACCEL_LOG_INFO = 20,
    ACCEL_LOG_WARNING = 30,
    ACCEL_LOG_ERROR = 40
} accel_log_level_t;

/* Receives one message, without newline. May be called from any thread, one at a time. */
typedef void (*accel_log_fn)(void *context, accel_log_level_t level, const char *message);

/* Replace the sink; NULL restores the default, which writes "accel: MESSAGE" lines to
 * stderr. Process-wide, as stderr is; safe from any thread. */
ACCEL_API void accel_set_log_callback(accel_log_fn callback, void *context);

/* Messages below `level` are dropped. The default is WARNING, or what ACCEL_LOG_LEVEL
 * or ACCELERATE_LOG_LEVEL (debug, info, warning, error; any case) says. */
ACCEL_API void accel_set_log_level(accel_log_level_t level);

#ifdef __cplusplus
}
#endif

#endif
