/* SPDX-License-Identifier: Apache-2.0 */
/* accelerate.logging: messages of the program's own, from the right process. */
#include <accel/logger.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "accelerator/accelerator.h"

#define MESSAGE_MAX 2048

struct accel_logger {
    accel_t *accelerator; /* borrowed; NULL: a process alone */
    char *name;
    int level;
    pthread_mutex_t lock; /* of `given` */
    uint64_t *given;      /* hashes of what warning_once has given */
    size_t num_given;
};

static const struct {
    const char *name;
    accel_log_level_t level;
} levels[] = {{"debug", ACCEL_LOG_DEBUG},
              {"info", ACCEL_LOG_INFO},
              {"warning", ACCEL_LOG_WARNING},
              {"error", ACCEL_LOG_ERROR},
              {"critical", ACCEL_LOG_ERROR}};
#define NUM_LEVELS (sizeof(levels) / sizeof(*levels))

static const char *level_name(accel_log_level_t level)
{
    return level >= ACCEL_LOG_ERROR     ? "ERROR"
           : level >= ACCEL_LOG_WARNING ? "WARNING"
           : level >= ACCEL_LOG_INFO    ? "INFO"
                                        : "DEBUG";
}

static accel_status_t read_level(const char *text, int *level)
{
    const char *what = "level";

    *level = ACCEL_LOG_WARNING;
    if (!text) {
        text = accel__env("ACCELERATE_LOG_LEVEL");
        what = "ACCELERATE_LOG_LEVEL";
    }
    if (!text)
        return ACCEL_OK;
    for (size_t i = 0; i < NUM_LEVELS; i++)
        if (strcasecmp(text, levels[i].name) == 0) {
            *level = (int)levels[i].level;
            return ACCEL_OK;
        }
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_get_logger: %s is '%s'; expected debug, info, warning or error", what,
                       text);
}

accel_status_t accel_get_logger(accel_t *accelerator, const char *name, const char *level,
                                accel_logger_t **logger)
{
    accel_status_t status;
    int threshold;

    if (!logger || !name)
        return accel__fail(ACCEL_ERR_INVALID, "accel_get_logger: %s is NULL",
                           logger ? "name" : "logger");
    *logger = NULL;
    status = read_level(level, &threshold);
    if (status != ACCEL_OK)
        return status;
    *logger = calloc(1, sizeof(**logger));
    if (!*logger)
        return accel__fail_memory("a logger", sizeof(**logger));
    pthread_mutex_init(&(*logger)->lock, NULL);
    (*logger)->accelerator = accelerator;
    (*logger)->level = threshold;
    (*logger)->name = accel__strdup(name);
    if ((*logger)->name)
        return ACCEL_OK;
    accel_logger_destroy(*logger);
    *logger = NULL;
    return accel__fail_memory("a logger's name", strlen(name));
}

void accel_logger_destroy(accel_logger_t *logger)
{
    if (!logger)
        return;
    pthread_mutex_destroy(&logger->lock);
    free(logger->given);
    free(logger->name);
    free(logger);
}

bool accel_logger_is_enabled_for(const accel_logger_t *logger, accel_log_level_t level)
{
    return logger && (int)level >= logger->level;
}

/* ---- writing ---- */

static void write_line(const accel_logger_t *logger, accel_log_level_t level, const char *message)
{
    char prefix[16], line[MESSAGE_MAX + 128];

    snprintf(prefix, sizeof(prefix), "%s:", level_name(level));
    snprintf(line, sizeof(line), "%.64s:[RANK %d] %s", logger->name,
             (int)accel_process_index(logger->accelerator), message);
    accel__log_line(level, prefix, line);
}

static bool should_log(const accel_logger_t *logger, accel_log_level_t level,
                       accel_log_processes_t processes)
{
    return accel_logger_is_enabled_for(logger, level) &&
           (processes == ACCEL_LOG_EVERY_PROCESS || accel_is_main_process(logger->accelerator));
}

static void vlog(const accel_logger_t *logger, accel_log_level_t level,
                 accel_log_processes_t processes, const char *format, va_list arguments)
{
    char message[MESSAGE_MAX];

    if (!should_log(logger, level, processes))
        return;
    vsnprintf(message, sizeof(message), format, arguments);
    write_line(logger, level, message);
}

void accel_logger_log(accel_logger_t *logger, accel_log_level_t level,
                      accel_log_processes_t processes, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vlog(logger, level, processes, format, arguments);
    va_end(arguments);
}

void accel_logger_debug(accel_logger_t *logger, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vlog(logger, ACCEL_LOG_DEBUG, ACCEL_LOG_MAIN_PROCESS, format, arguments);
    va_end(arguments);
}

void accel_logger_info(accel_logger_t *logger, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vlog(logger, ACCEL_LOG_INFO, ACCEL_LOG_MAIN_PROCESS, format, arguments);
    va_end(arguments);
}

void accel_logger_warning(accel_logger_t *logger, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vlog(logger, ACCEL_LOG_WARNING, ACCEL_LOG_MAIN_PROCESS, format, arguments);
    va_end(arguments);
}

void accel_logger_error(accel_logger_t *logger, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vlog(logger, ACCEL_LOG_ERROR, ACCEL_LOG_MAIN_PROCESS, format, arguments);
    va_end(arguments);
}

/* Has the logger given this text? From now on it has. Without memory it is given again. */
static bool given_before(accel_logger_t *logger, const char *message)
{
    uint64_t hash = accel__hash(ACCEL__HASH_START, message, strlen(message)), *grown;
    bool found = false;

    pthread_mutex_lock(&logger->lock);
    for (size_t i = 0; i < logger->num_given && !found; i++)
        found = logger->given[i] == hash;
    if (!found) {
        grown = realloc(logger->given, (logger->num_given + 1) * sizeof(*grown));
        if (grown) {
            logger->given = grown;
            logger->given[logger->num_given++] = hash;
        }
    }
    pthread_mutex_unlock(&logger->lock);
    return found;
}

void accel_logger_warning_once(accel_logger_t *logger, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list arguments;

    if (!should_log(logger, ACCEL_LOG_WARNING, ACCEL_LOG_MAIN_PROCESS))
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (!given_before(logger, message))
        write_line(logger, ACCEL_LOG_WARNING, message);
}

accel_status_t accel_logger_log_in_order(accel_logger_t *logger, accel_log_level_t level,
                                         const char *format, ...)
{
    char message[MESSAGE_MAX];
    accel_status_t status = ACCEL_OK;
    va_list arguments;
    int32_t rank;

    if (!logger)
        return accel__fail(ACCEL_ERR_INVALID, "accel_logger_log_in_order: logger is NULL");
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    rank = accel_process_index(logger->accelerator);
    for (int32_t turn = 0; turn < accel_num_processes(logger->accelerator); turn++) {
        if (turn == rank && accel_logger_is_enabled_for(logger, level))
            write_line(logger, level, message);
        if (logger->accelerator && status == ACCEL_OK)
            status = accel_wait_for_everyone(logger->accelerator);
    }
    return status;
}
