/* SPDX-License-Identifier: Apache-2.0 */
#include "uploader.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "syncstate.h"
#include "upload.h"

/* ---- what the threads tell ---- */

void accel__wandb_upload_notify(accel__wandb_uploader_t *up, bool warning, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (up->notify)
        up->notify(up->context, warning, text);
}

static void set_state(accel__wandb_uploader_t *up, accel__wandb_upload_state_t state)
{
    up->progress.state = state;
    pthread_cond_broadcast(&up->changed);
}

void accel__wandb_upload_fail(accel__wandb_uploader_t *up, accel_status_t status, const char *text)
{
    pthread_mutex_lock(&up->lock);
    if (up->progress.state != ACCEL__WANDB_UPLOAD_FAILED) {
        up->progress.status = status;
        snprintf(up->progress.error, sizeof(up->progress.error), "%s", text);
        set_state(up, ACCEL__WANDB_UPLOAD_FAILED);
    }
    pthread_mutex_unlock(&up->lock);
    accel__wandb_alarm_nudge(&up->alarm);
}

static void take_trouble(void *context, const char *text)
{
    accel__wandb_uploader_t *up = context;
    pthread_mutex_lock(&up->lock);
    bool first = !*up->progress.trouble;
    snprintf(up->progress.trouble, sizeof(up->progress.trouble), "%s", text);
    pthread_mutex_unlock(&up->lock);
    if (first)
        accel__wandb_upload_notify(up, false, "Upload: %s (trying again)", text);
}

accel__wandb_listener_t accel__wandb_upload_listener(accel__wandb_uploader_t *up)
{
    return (accel__wandb_listener_t){take_trouble, up};
}

void accel__wandb_upload_answered(accel__wandb_uploader_t *up)
{
    atomic_fetch_add(&up->answers, 1);
    pthread_mutex_lock(&up->lock);
    up->progress.trouble[0] = '\0';
    pthread_mutex_unlock(&up->lock);
}

void accel__wandb_upload_count(accel__wandb_uploader_t *up, int kind, bool good)
{
    pthread_mutex_lock(&up->lock);
    if (good)
        up->progress.files_sent[kind >= 0 && kind < ACCEL__WANDB_FILE_KINDS ? kind : 0]++;
    else
        up->progress.files_missed++;
    pthread_mutex_unlock(&up->lock);
}

/* ---- what they wait for ---- */

bool accel__wandb_upload_failed(accel__wandb_uploader_t *up)
{
    pthread_mutex_lock(&up->lock);
    bool failed = up->progress.state == ACCEL__WANDB_UPLOAD_FAILED;
    pthread_mutex_unlock(&up->lock);
    return failed;
}

bool accel__wandb_upload_closed(accel__wandb_uploader_t *up)
{
    pthread_mutex_lock(&up->lock);
    bool closed = up->closed;
    pthread_mutex_unlock(&up->lock);
    return closed;
}

static struct timespec from_now(double seconds)
{
    double until = accel__wandb_monotonic() + fmin(fmax(seconds, 0), 1e8);
    return (struct timespec){(time_t)until, (long)((until - floor(until)) * 1e9)};
}

bool accel__wandb_upload_wait(accel__wandb_uploader_t *up, const bool *flag, double seconds)
{
    struct timespec until = from_now(seconds);
    pthread_mutex_lock(&up->lock);
    while (!*flag && up->progress.state != ACCEL__WANDB_UPLOAD_FAILED &&
           !accel__wandb_alarm_cancelled(&up->alarm)) {
        if (pthread_cond_timedwait(&up->changed, &up->lock, &until) == ETIMEDOUT)
            break;
    }
    bool set = *flag;
    pthread_mutex_unlock(&up->lock);
    return set;
}

void accel__wandb_upload_set(accel__wandb_uploader_t *up, bool *flag)
{
    pthread_mutex_lock(&up->lock);
    *flag = true;
    pthread_cond_broadcast(&up->changed);
    pthread_mutex_unlock(&up->lock);
}

/* ---- requests ---- */

accel_status_t accel__wandb_upload_http(accel__wandb_uploader_t *up, accel__wandb_http_t **http)
{
    accel__wandb_http_options_t options = accel__wandb_http_options(up->settings);
    options.api_key = up->api_key;
    options.alarm = &up->alarm;
    options.moved = &up->moved;
    return accel__wandb_http_create(&options, http);
}

static double either(double setting, double usual)
{
    return isnan(setting) ? usual : setting;
}

accel__wandb_retry_t accel__wandb_upload_retry(const accel__wandb_uploader_t *up,
                                               accel__wandb_retry_kind_t kind, bool stream)
{
    enum { TRIES = 20, STREAM_TRIES = 10085, LEAST = 2, MOST = 60 };
    const accel__wandb_settings_t *s = up->settings;
    bool transfer = kind == ACCEL__WANDB_RETRY_TRANSFER;
    double tries = stream     ? either(s->file_stream_retry_max, up->live ? STREAM_TRIES : TRIES)
                   : transfer ? either(s->file_transfer_retry_max, TRIES)
                              : either(s->graphql_retry_max, TRIES);
    double least = stream     ? either(s->file_stream_retry_wait_min, LEAST)
                   : transfer ? either(s->file_transfer_retry_wait_min, LEAST)
                              : either(s->graphql_retry_wait_min, LEAST);
    double most = stream     ? either(s->file_stream_retry_wait_max, MOST)
                  : transfer ? either(s->file_transfer_retry_wait_max, MOST)
                             : either(s->graphql_retry_wait_max, MOST);
    return (accel__wandb_retry_t){
        .kind = kind, .tries = tries < 1e6 ? (int)tries : 1000000, .least = least, .most = most};
}

double accel__wandb_upload_timeout(const accel__wandb_uploader_t *up,
                                   accel__wandb_retry_kind_t kind, bool stream)
{
    enum { API = 30, STREAM = 180 };
    if (stream)
        return either(up->settings->file_stream_timeout, STREAM);
    if (kind == ACCEL__WANDB_RETRY_TRANSFER)
        return either(up->settings->file_transfer_timeout, 0);
    return either(up->settings->graphql_timeout, API);
}

accel_status_t accel__wandb_upload_ask(accel__wandb_uploader_t *up, accel__wandb_http_t *http,
                                       const accel__wandb_operation_t *operation, json_t *variables,
                                       json_t **data)
{
    accel__wandb_listener_t listener = accel__wandb_upload_listener(up);
    accel__wandb_retry_t retry = accel__wandb_upload_retry(up, ACCEL__WANDB_RETRY_API, false);
    double timeout = accel__wandb_upload_timeout(up, ACCEL__WANDB_RETRY_API, false);
    if (!variables)
        return accel__wandb_fail_memory();
    accel_status_t status =
        accel__wandb_graphql(http, operation, variables, &retry, timeout, &listener, data, NULL);
    if (!status)
        accel__wandb_upload_answered(up);
    return status;
}

/* ---- life ---- */

static char *files_beside(const char *log_path)
{
    const char *slash = strrchr(log_path, '/');
    char *directory = slash ? strndup(log_path, (size_t)(slash - log_path)) : strdup(".");
    char *files = directory ? accel__wandb_join(directory, "files") : NULL;
    free(directory);
    return files;
}

static bool copy(char **place, const char *text)
{
    *place = text ? strdup(text) : NULL;
    return !text || *place;
}

static void release(accel__wandb_uploader_t *up)
{
    if (up->hold >= 0)
        close(up->hold);
    accel__wandb_alarm_destroy(&up->alarm);
    pthread_cond_destroy(&up->changed);
    pthread_mutex_destroy(&up->lock);
    if (up->api_key)
        explicit_bzero(up->api_key, strlen(up->api_key));
    free(up->api_key);
    free(up->log_path);
    free(up->files_dir);
    free(up->entity);
    free(up->project);
    free(up->run_id);
    free(up->name);
    accel__wandb_text_free(&up->uploaded);
    free(up);
}

static accel__wandb_uploader_t *allocate(const accel__wandb_upload_t *upload)
{
    accel__wandb_uploader_t *up = calloc(1, sizeof(*up));
    pthread_condattr_t monotonic;
    if (!up)
        return NULL;
    up->settings = upload->settings;
    up->live = upload->live;
    up->notify = upload->notify;
    up->context = upload->context;
    up->closed = !upload->live;
    up->pid = getpid();
    up->hold = -1;
    accel__wandb_alarm_init(&up->alarm);
    pthread_mutex_init(&up->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&up->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    up->files_dir = files_beside(upload->log_path);
    bool good = up->files_dir && copy(&up->api_key, upload->api_key) &&
                copy(&up->log_path, upload->log_path) && copy(&up->entity, upload->entity) &&
                copy(&up->project, upload->project) && copy(&up->run_id, upload->run_id);
    if (good)
        return up;
    release(up);
    return NULL;
}

/* The program's signals are the program's: none is to be handled on these threads. */
static accel_status_t start_thread(accel__wandb_uploader_t *up, pthread_t *thread, bool *has,
                                   void *(*main)(void *), const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, main, up);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot start the thread", name);
    *has = true;
    (void)pthread_setname_np(*thread, name);
    return ACCEL_OK;
}

accel_status_t accel__wandb_uploader_start(const accel__wandb_upload_t *upload,
                                           accel__wandb_uploader_t **uploader)
{
    *uploader = NULL;
    accel__wandb_uploader_t *up = allocate(upload);
    if (!up)
        return accel__wandb_fail_memory();
    int error = accel__wandb_make_dirs(up->files_dir);
    accel_status_t status =
        error ? accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot make", up->files_dir)
              : accel__wandb_syncstate_open(up->log_path, &up->hold);
    if (!status)
        status = start_thread(up, &up->sender, &up->has_sender, accel__wandb_sender_main,
                              "wandb-sender");
    if (!status)
        status =
            start_thread(up, &up->filer, &up->has_filer, accel__wandb_filer_main, "wandb-files");
    if (status)
        accel__wandb_uploader_destroy(up);
    else
        *uploader = up;
    return status;
}

accel__wandb_upload_state_t accel__wandb_uploader_wait(accel__wandb_uploader_t *up,
                                                       accel__wandb_upload_state_t state,
                                                       double seconds)
{
    struct timespec until = from_now(seconds);
    pthread_mutex_lock(&up->lock);
    while (up->progress.state == state) {
        if (pthread_cond_timedwait(&up->changed, &up->lock, &until) == ETIMEDOUT)
            break;
    }
    state = up->progress.state;
    pthread_mutex_unlock(&up->lock);
    return state;
}

void accel__wandb_uploader_progress(accel__wandb_uploader_t *up, accel__wandb_progress_t *progress)
{
    pthread_mutex_lock(&up->lock);
    *progress = up->progress;
    pthread_mutex_unlock(&up->lock);
    progress->moved = atomic_load(&up->moved);
    progress->answers = atomic_load(&up->answers);
}

/* Set once, before the state leaves STARTING. */
static const char *fact(accel__wandb_uploader_t *up, char *const *place)
{
    pthread_mutex_lock(&up->lock);
    const char *text = up->progress.state == ACCEL__WANDB_UPLOAD_STARTING ? NULL : *place;
    pthread_mutex_unlock(&up->lock);
    return text;
}

const char *accel__wandb_uploader_entity(accel__wandb_uploader_t *up)
{
    return fact(up, &up->entity);
}

const char *accel__wandb_uploader_project(accel__wandb_uploader_t *up)
{
    return fact(up, &up->project);
}

const char *accel__wandb_uploader_run_id(accel__wandb_uploader_t *up)
{
    return fact(up, &up->run_id);
}

const char *accel__wandb_uploader_name(accel__wandb_uploader_t *up)
{
    return fact(up, &up->name);
}

void accel__wandb_uploader_close(accel__wandb_uploader_t *up)
{
    accel__wandb_upload_set(up, &up->closed);
    accel__wandb_alarm_nudge(&up->alarm);
}

void accel__wandb_uploader_destroy(accel__wandb_uploader_t *up)
{
    if (!up || up->pid != getpid())
        return;
    accel__wandb_alarm_cancel(&up->alarm);
    pthread_mutex_lock(&up->lock);
    pthread_cond_broadcast(&up->changed);
    pthread_mutex_unlock(&up->lock);
    if (up->has_sender)
        pthread_join(up->sender, NULL);
    if (up->has_filer)
        pthread_join(up->filer, NULL);
    release(up);
}
