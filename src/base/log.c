/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The process's log sink, as stderr is the process's. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static accel_log_fn sink;
static void *sink_context;
static int threshold; /* 0: not read from the environment yet */

void accel_set_log_callback(accel_log_fn callback, void *context)
{
    pthread_mutex_lock(&lock);
    sink = callback;
    sink_context = context;
    pthread_mutex_unlock(&lock);
}

void accel_set_log_level(accel_log_level_t level)
{
    pthread_mutex_lock(&lock);
    threshold = (int)level;
    pthread_mutex_unlock(&lock);
}

static int level_from_environment(void)
{
    const char *name = accel__env("ACCEL_LOG_LEVEL");

    if (!name)
        name = accel__env("ACCELERATE_LOG_LEVEL");
    if (!name || strcasecmp(name, "warning") == 0)
        return ACCEL_LOG_WARNING;
    if (strcasecmp(name, "debug") == 0)
        return ACCEL_LOG_DEBUG;
    if (strcasecmp(name, "info") == 0)
        return ACCEL_LOG_INFO;
    if (strcasecmp(name, "error") == 0 || strcasecmp(name, "critical") == 0)
        return ACCEL_LOG_ERROR;
    fprintf(stderr, "accel: ACCEL_LOG_LEVEL is '%s'; expected debug, info, warning or error\n",
            name);
    return ACCEL_LOG_WARNING;
}

/* A sink that causes a message itself must not wait for its own lock. */
static _Thread_local bool in_sink;

/* With the lock held. `prefix` is what stderr gets in front; a callback gets the text alone. */
static void deliver(accel_log_level_t level, const char *prefix, const char *message)
{
    in_sink = true;
    if (sink)
        sink(sink_context, level, message);
    else
        fprintf(stderr, "%s%s\n", prefix, message);
    in_sink = false;
}

void accel__vlog(accel_log_level_t level, const char *format, va_list arguments)
{
    char message[2048];

    if (in_sink) {
        vsnprintf(message, sizeof(message), format, arguments);
        fprintf(stderr, "accel: %s\n", message);
        return;
    }
    pthread_mutex_lock(&lock);
    if (threshold == 0)
        threshold = level_from_environment();
    if ((int)level >= threshold) {
        vsnprintf(message, sizeof(message), format, arguments);
        deliver(level, "accel: ", message);
    }
    pthread_mutex_unlock(&lock);
}

void accel__log_line(accel_log_level_t level, const char *prefix, const char *line)
{
    if (in_sink) {
        fprintf(stderr, "%s%s\n", prefix, line);
        return;
    }
    pthread_mutex_lock(&lock);
    deliver(level, prefix, line);
    pthread_mutex_unlock(&lock);
}

void accel__log(accel_log_level_t level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    accel__vlog(level, format, arguments);
    va_end(arguments);
}
