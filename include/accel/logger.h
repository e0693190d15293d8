/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the program's own, from the right process: accelerate.logging.get_logger().
 *
 *     accel_logger_t *logger;
 *     ACCEL_CHECK(accel_get_logger(accelerator, "train", NULL, &logger));
 *     accel_logger_info(logger, "epoch %d: %.4f", epoch, loss);         // main process only
 *     accel_logger_log(logger, ACCEL_LOG_INFO, ACCEL_LOG_EVERY_PROCESS, "rank %d is here", rank);
 *     ACCEL_CHECK(accel_logger_log_in_order(logger, ACCEL_LOG_INFO, "shard %s", name));
 *
 * A line is "INFO:train:[RANK 0] epoch 1: 0.5120" on stderr, as Python's logging writes it; or
 * what the callback of accel_set_log_callback() makes of "train:[RANK 0] epoch 1: 0.5120".
 * The logger has a level of its own: that of accel_set_log_level() is for the library's
 * messages. Any thread may use a logger. */
#ifndef ACCEL_LOGGER_H
#define ACCEL_LOGGER_H

#include <accel/accelerator.h>
#include <accel/log.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_logger accel_logger_t;

/* `level`: "debug", "info", "warning" or "error", in any case; NULL: ACCELERATE_LOG_LEVEL, else
 * "warning", as Python's root logger. The accelerator (NULL: a process alone) is borrowed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_get_logger(accel_t *accelerator, const char *name,
                                                          const char *level,
                                                          accel_logger_t **logger);
ACCEL_API void accel_logger_destroy(accel_logger_t *logger);

/* Would a message of this level be written? Spares the work of making it. */
ACCEL_API bool accel_logger_is_enabled_for(const accel_logger_t *logger, accel_log_level_t level);

typedef enum accel_log_processes {
    ACCEL_LOG_MAIN_PROCESS = 0, /* main_process_only=True */
    ACCEL_LOG_EVERY_PROCESS = 1 /* main_process_only=False */
} accel_log_processes_t;

/* Local. `format` and what follows as for printf; at most 2000 bytes, the rest is cut off. */
ACCEL_API void accel_logger_log(accel_logger_t *logger, accel_log_level_t level,
                                accel_log_processes_t processes, const char *format, ...)
    ACCEL_PRINTF(4, 5);
/* From the main process only. */
ACCEL_API void accel_logger_debug(accel_logger_t *logger, const char *format, ...)
    ACCEL_PRINTF(2, 3);
ACCEL_API void accel_logger_info(accel_logger_t *logger, const char *format, ...)
    ACCEL_PRINTF(2, 3);
ACCEL_API void accel_logger_warning(accel_logger_t *logger, const char *format, ...)
    ACCEL_PRINTF(2, 3);
ACCEL_API void accel_logger_error(accel_logger_t *logger, const char *format, ...)
    ACCEL_PRINTF(2, 3);

/* Like accel_logger_warning(), but a text that this logger has given before is not repeated. */
ACCEL_API void accel_logger_warning_once(accel_logger_t *logger, const char *format, ...)
    ACCEL_PRINTF(2, 3);

/* in_order=True: every process writes, one after the other. Collective, whatever each rank's
 * level is (unlike upstream, where ranks of different levels wait for each other for ever). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_logger_log_in_order(accel_logger_t *logger,
                                                                   accel_log_level_t level,
                                                                   const char *format, ...)
    ACCEL_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif

#endif
