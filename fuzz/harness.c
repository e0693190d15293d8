/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "upload/http.h"
#include "upload/uploader.h"

static char folder[] = "/tmp/accel-fuzz-XXXXXX";

_Noreturn void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    abort();
}

/* ---- a place ---- */

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about, (void)kind, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void be_silent(void *context, accel_log_level_t level, const char *text)
{
    (void)context, (void)level, (void)text;
}

const char *fuzz_begin(void)
{
    static const accel_host_v1_t host = {.struct_size = sizeof(host),
                                         .fail = accel__fail,
                                         .log = accel__log,
                                         .version = "0.1.0",
                                         .last_error = accel_last_error};
    static bool begun;
    if (begun)
        return folder;
    begun = true;
    FUZZ_CHECK(mkdtemp(folder));
    atexit(remove_folder);
    FUZZ_CHECK(chdir(folder) == 0);
    FUZZ_CHECK(setenv("HOME", folder, 1) == 0);
    accel_set_log_callback(be_silent, NULL);
    accel__wandb_set_host(&host);
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

void fuzz_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

const accel__wandb_settings_t *fuzz_settings(void)
{
    static accel__wandb_settings_t settings;
    static bool read;
    const accel_item_t arguments[] = {accel_item_string("mode", "offline"), accel_item_end()};
    const accel_tracker_init_t init = {
        .struct_size = sizeof(init), .init_kwargs = arguments, .num_processes = 1};
    if (read)
        return &settings;
    read = true;
    FUZZ_CHECK(accel__wandb_settings_create(&init, &settings) == ACCEL_OK);
    settings.graphql_retry_max = settings.file_stream_retry_max = 0;
    settings.file_transfer_retry_max = 0;
    return &settings;
}

/* ---- the server ---- */

enum { MOST_ANSWERS = 64 };

typedef struct {
    const char *name, *body;
    size_t name_length, body_length;
    long status;
    bool used;
} answer_t;

static struct {
    pthread_mutex_t lock;
    answer_t answers[MOST_ANSWERS];
    size_t count;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static answer_t read_answer(const char *line, size_t length)
{
    const char *end = line + length, *space = memchr(line, ' ', length);
    answer_t answer = {.name = line, .name_length = space ? (size_t)(space - line) : length};
    const char *at = space ? space + 1 : end;
    while (at < end && *at >= '0' && *at <= '9' && answer.status < 1000)
        answer.status = answer.status * 10 + (*at++ - '0');
    if (at < end && *at == ' ')
        at++;
    answer.body = at;
    answer.body_length = (size_t)(end - at);
    return answer;
}

void fuzz_answers(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = size ? at + size : at;
    server.count = 0;
    while (at < end && server.count < MOST_ANSWERS) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t length = line ? (size_t)(line - at) : (size_t)(end - at);
        server.answers[server.count++] = read_answer(at, length);
        at += length + (line != NULL);
    }
}

static const answer_t *find_answer(const char *name)
{
    answer_t *found = NULL;
    pthread_mutex_lock(&server.lock);
    for (size_t i = 0; i < server.count; i++) {
        answer_t *answer = &server.answers[i];
        if (answer->name_length != strlen(name) ||
            memcmp(answer->name, name, answer->name_length) != 0)
            continue;
        found = answer;
        if (!answer->used)
            break;
    }
    if (found)
        found->used = true;
    pthread_mutex_unlock(&server.lock);
    return found;
}

/* GraphQL names its operation in the body; else it is the kind of request. */
static void name_of(const accel__wandb_request_t *request, char *name, size_t size)
{
    static const char key[] = "\"operationName\":\"";
    char *body = request->body ? strndup(request->body, request->size) : NULL;
    const char *found = body ? strstr(body, key) : NULL;
    size_t length = found ? strcspn(found + strlen(key), "\"") : 0;
    if (request->method == ACCEL__WANDB_PUT || request->method == ACCEL__WANDB_GET)
        snprintf(name, size, request->method == ACCEL__WANDB_PUT ? "put" : "get");
    else if (found)
        snprintf(name, size, "%.*s", (int)length, found + strlen(key));
    else
        snprintf(name, size, "file_stream");
    free(body);
}

/* In the place of the one that uses the network: the linker puts it there. */
void __wrap_accel__wandb_http_exchange(accel__wandb_http_t *http,
                                       const accel__wandb_request_t *request,
                                       accel__wandb_reply_t *reply);

void __wrap_accel__wandb_http_exchange(accel__wandb_http_t *http,
                                       const accel__wandb_request_t *request,
                                       accel__wandb_reply_t *reply)
{
    static const char run[] =
        "{\"data\":{\"upsertBucket\":{\"inserted\":true,\"bucket\":{\"id\":\"x\",\"name\":\"r\","
        "\"displayName\":\"n\",\"project\":{\"name\":\"p\",\"entity\":{\"name\":\"e\"}}}}}}";
    char name[64];
    (void)http;
    name_of(request, name, sizeof(name));
    const answer_t *answer = find_answer(name);
    const answer_t plain = {.status = 200,
                            .body = strcmp(name, "UpsertBucket") ? "{}" : run,
                            .body_length = strcmp(name, "UpsertBucket") ? 2 : strlen(run)};
    if (!answer)
        answer = &plain;
    *reply = (accel__wandb_reply_t){.retry_after = -1, .rate_remaining = -1, .rate_reset = -1};
    reply->status = answer->status;
    if (!answer->status) {
        reply->outcome = ACCEL__WANDB_UNREACHABLE;
        snprintf(reply->error, sizeof(reply->error), "cut off");
    } else if (answer->body_length) {
        accel__wandb_text_append(&reply->body, answer->body, answer->body_length);
    }
}

/* ---- a sync ---- */

void fuzz_sync(const char *log)
{
    char state[300];
    accel__wandb_uploader_t *uploader = NULL;
    accel__wandb_upload_t upload = {.settings = fuzz_settings(),
                                    .api_key = "0123456789012345678901234567890123456789",
                                    .log_path = log};
    FUZZ_CHECK(accel__wandb_uploader_start(&upload, &uploader) == ACCEL_OK);
    accel__wandb_upload_state_t at = ACCEL__WANDB_UPLOAD_STARTING;
    while (at != ACCEL__WANDB_UPLOAD_DONE && at != ACCEL__WANDB_UPLOAD_FAILED)
        at = accel__wandb_uploader_wait(uploader, at, 10);
    accel__wandb_uploader_destroy(uploader);
    snprintf(state, sizeof(state), "%s.syncstate", log);
    unlink(state);
}
