/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_LIMIT = 64 << 20, MAX_REDIRECTS = 5, LONGEST_WAIT = 3600 };
enum { CONNECT_SECONDS = 30, STALL_SECONDS = 60 };

struct accel__wandb_http {
    CURL *curl;
    char *base_url, *api_key, *header_key, *username, *email, *http_proxy, *https_proxy;
    json_t *extra_headers; /* names and values; NULL: none */
    bool insecure;
    accel__wandb_alarm_t *alarm;
    atomic_ullong *moved;
    char error[CURL_ERROR_SIZE];
    /* the exchange in hand */
    const accel__wandb_request_t *request;
    accel__wandb_reply_t *reply;
    size_t received, limit;
    int64_t sent;
    bool too_large;
    int file_error;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- URLs ---- */

static char *url_part(const char *url, CURLUPart part)
{
    char *text = NULL;
    CURLU *parsed = curl_url();
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK)
        (void)curl_url_get(parsed, part, &text, CURLU_DEFAULT_PORT);
    curl_url_cleanup(parsed);
    return text;
}

static bool same_part(const char *a, const char *b, CURLUPart part)
{
    char *left = url_part(a, part), *right = url_part(b, part);
    bool same = left && right && !strcasecmp(left, right);
    curl_free(left);
    curl_free(right);
    return same;
}

bool accel__wandb_same_server(const char *a, const char *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
           same_part(a, b, CURLUPART_PORT);
}

static accel_status_t check_base_url(const char *url)
{
    char *host = url_part(url, CURLUPART_HOST), *user = url_part(url, CURLUPART_USER);
    bool http = !strncasecmp(url, "http://", 7) || !strncasecmp(url, "https://", 8);
    accel_status_t status = ACCEL_OK;
    if (user)
        status = accel__wandb_fail(ACCEL_ERR_INVALID,
                                   "wandb: the base URL has a user name in it; the key is given "
                                   "by WANDB_API_KEY or netrc");
    else if (!http || !host)
        status = accel__wandb_fail(
            ACCEL_ERR_INVALID, "wandb: the base URL '%s' is not http://HOST or https://HOST", url);
    curl_free(host);
    curl_free(user);
    return status;
}

/* ---- handles ---- */

static char *copy_or_null(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;
    *failed = *failed || (text && !copy);
    return copy;
}

accel__wandb_http_options_t accel__wandb_http_options(const accel__wandb_settings_t *settings)
{
    return (accel__wandb_http_options_t){.base_url = settings->base_url,
                                         .username = settings->username,
                                         .email = settings->email,
                                         .insecure = settings->insecure_disable_ssl,
                                         .http_proxy = settings->http_proxy,
                                         .https_proxy = settings->https_proxy,
                                         .extra_headers = settings->extra_http_headers};
}

/* The text is not quoted in the error: such headers carry tokens. */
static accel_status_t read_extra_headers(const char *text, json_t **headers)
{
    const char *name;
    json_t *value;
    *headers = text ? json_loads(text, 0, NULL) : NULL;
    bool good = !text || json_is_object(*headers);
    json_object_foreach(*headers, name, value)
    {
        const char *content = json_string_value(value);
        good = good && *name && !strpbrk(name, ":\r\n") && content && !strpbrk(content, "\r\n");
    }
    if (good)
        return ACCEL_OK;
    json_decref(*headers);
    *headers = NULL;
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: 'x_extra_http_headers' is no JSON object of texts");
}

/* The key as the Authorization header carries it. */
static char *in_header(const char *key, bool *failed)
{
    size_t length = key ? strlen("api:") + strlen(key) : 0;
    char *pair = key ? malloc(length + 1) : NULL, *text = key ? malloc(length / 3 * 4 + 5) : NULL;
    if (pair && text) {
        snprintf(pair, length + 1, "api:%s", key);
        EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)pair, (int)length);
        explicit_bzero(pair, length);
    }
    *failed = *failed || (key && (!pair || !text));
    free(pair);
    return text;
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

accel_status_t accel__wandb_http_create(const accel__wandb_http_options_t *options,
                                        accel__wandb_http_t **http)
{
    *http = NULL;
    (void)pthread_once(&once, init_curl);
    json_t *extra_headers = NULL;
    accel_status_t status = check_base_url(options->base_url);
    if (!status)
        status = read_extra_headers(options->extra_headers, &extra_headers);
    if (status)
        return status;
    accel__wandb_http_t *made = calloc(1, sizeof(*made));
    bool failed = !made;
    if (made) {
        made->base_url = copy_or_null(options->base_url, &failed);
        made->api_key = copy_or_null(options->api_key, &failed);
        made->header_key = in_header(options->api_key, &failed);
        made->username = copy_or_null(options->username ? options->username : "", &failed);
        made->email = copy_or_null(options->email ? options->email : "", &failed);
        made->http_proxy = copy_or_null(options->http_proxy, &failed);
        made->https_proxy = copy_or_null(options->https_proxy, &failed);
        made->extra_headers = json_incref(extra_headers);
        made->insecure = options->insecure;
        made->alarm = options->alarm;
        made->moved = options->moved;
        made->curl = curl_easy_init();
    }
    json_decref(extra_headers);
    if (failed || !made->curl) {
        accel__wandb_http_destroy(made);
        return accel__wandb_fail_memory();
    }
    size_t length = strlen(made->base_url);
    while (length && made->base_url[length - 1] == '/')
        made->base_url[--length] = '\0';
    *http = made;
    return ACCEL_OK;
}

void accel__wandb_http_destroy(accel__wandb_http_t *http)
{
    if (!http)
        return;
    if (http->curl)
        curl_easy_cleanup(http->curl);
    forget(http->api_key);
    forget(http->header_key);
    free(http->base_url);
    free(http->username);
    free(http->email);
    free(http->http_proxy);
    free(http->https_proxy);
    json_decref(http->extra_headers);
    free(http);
}

const char *accel__wandb_http_base(const accel__wandb_http_t *http)
{
    return http->base_url;
}

accel__wandb_alarm_t *accel__wandb_http_alarm(const accel__wandb_http_t *http)
{
    return http->alarm;
}

/* ---- what curl calls ---- */

static void count(accel__wandb_http_t *http, size_t bytes)
{
    if (http->moved)
        atomic_fetch_add(http->moved, bytes);
}

/* A file is for what was asked for: the words of an error, or of a redirect, go into the reply. */
static bool wants_file(const accel__wandb_http_t *http)
{
    long status = 0;
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    return http->request->method == ACCEL__WANDB_GET && http->request->file > 0 && status >= 200 &&
           status < 300;
}

static size_t take_body(char *data, size_t size, size_t times, void *context)
{
    accel__wandb_http_t *http = context;
    size_t bytes = size * times;
    count(http, bytes);
    http->received += bytes;
    if (http->received > http->limit) {
        http->too_large = true;
        return 0;
    }
    if (wants_file(http)) {
        http->file_error = accel__wandb_write_all(http->request->file, data, bytes);
        return http->file_error ? 0 : bytes;
    }
    accel__wandb_text_append(&http->reply->body, data, bytes);
    return http->reply->body.failed ? 0 : bytes;
}

static size_t give_body(char *data, size_t size, size_t times, void *context)
{
    accel__wandb_http_t *http = context;
    const accel__wandb_request_t *request = http->request;
    int64_t left = request->length - http->sent;
    size_t room = size * times;
    if (left < (int64_t)room)
        room = (size_t)left;
    ssize_t got;
    do {
        got = room ? pread(request->file, data, room, (off_t)http->sent) : 0;
    } while (got < 0 && errno == EINTR);
    if (got < 0 || (got == 0 && room)) { /* shorter than it was when its length was asked for */
        http->file_error = got < 0 ? errno : EIO;
        return CURL_READFUNC_ABORT;
    }
    count(http, (size_t)got);
    http->sent += got;
    return (size_t)got;
}

static int seek_body(void *context, curl_off_t offset, int origin)
{
    accel__wandb_http_t *http = context;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    http->sent = offset;
    return CURL_SEEKFUNC_OK;
}

static int check_cancelled(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    accel__wandb_http_t *http = context;
    (void)a, (void)b, (void)c, (void)d;
    return accel__wandb_alarm_cancelled(http->alarm);
}

double accel__wandb_parse_retry_after(const char *value, double now)
{
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || strspn(end, " \t\r\n") != strlen(end)) {
        time_t date = curl_getdate(value, NULL);
        if (date == -1)
            return -1;
        seconds = fmax((double)date - now, 0);
    }
    if (!(seconds >= 0)) /* NaN too */
        return -1;
    return fmin(seconds, LONGEST_WAIT);
}

static double number_or_none(const char *value)
{
    char *end;
    double number = strtod(value, &end);
    return end != value && number >= 0 && isfinite(number) ? number : -1;
}

void accel__wandb_reply_take_header(accel__wandb_reply_t *reply, const char *data, size_t size)
{
    char line[256];
    snprintf(line, sizeof(line), "%.*s", (int)(size < 255 ? size : 255), data);
    char *value = strchr(line, ':');
    if (!value)
        return;
    *value++ = '\0';
    value += strspn(value, " \t");
    value[strcspn(value, "\r\n")] = '\0';
    if (!strcasecmp(line, "retry-after"))
        reply->retry_after = accel__wandb_parse_retry_after(value, (double)time(NULL));
    else if (!strcasecmp(line, "ratelimit-remaining"))
        reply->rate_remaining = number_or_none(value);
    else if (!strcasecmp(line, "ratelimit-reset"))
        reply->rate_reset = number_or_none(value);
}

static size_t take_header(char *data, size_t size, size_t times, void *context)
{
    accel__wandb_reply_take_header(((accel__wandb_http_t *)context)->reply, data, size * times);
    return size * times;
}

/* ---- an exchange ---- */

static void set_server(accel__wandb_http_t *http, const char *url)
{
    CURL *curl = http->curl;
    const char *file = accel__wandb_env("SSL_CERT_FILE"),
               *folder = accel__wandb_env("SSL_CERT_DIR");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    const char *proxy = strncasecmp(url, "https:", 6) ? http->http_proxy : http->https_proxy;
    if (proxy)
        curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    if (http->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    if (folder)
        curl_easy_setopt(curl, CURLOPT_CAPATH, folder);
    if (http->api_key && !http->request->anonymous &&
        accel__wandb_same_server(url, http->base_url)) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, "api");
        curl_easy_setopt(curl, CURLOPT_PASSWORD, http->api_key);
    }
}

static void set_method(accel__wandb_http_t *http, const accel__wandb_request_t *request)
{
    CURL *curl = http->curl;
    if (request->method == ACCEL__WANDB_GET)
        return;
    if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        if (request->method == ACCEL__WANDB_PUT)
            curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
        return;
    }
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->length);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(curl, CURLOPT_READDATA, http);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, seek_body);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, http);
}

static void set_limits(accel__wandb_http_t *http, const accel__wandb_request_t *request)
{
    CURL *curl = http->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    if (request->timeout > 0) {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(request->timeout * 1000));
    } else {
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, check_cancelled);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
}

static struct curl_slist *add_header(struct curl_slist *list, const char *header, bool *failed)
{
    struct curl_slist *grown = *failed ? NULL : curl_slist_append(list, header);
    *failed = *failed || !grown;
    return grown ? grown : list;
}

/* In curl's words: an empty header ends with ';'. */
static void put_header(accel__wandb_text_t *line, const char *name, const char *value)
{
    line->length = 0;
    accel__wandb_text_printf(line, "%s%s%s", name, *value ? ": " : ";", value);
}

static struct curl_slist *make_headers(accel__wandb_http_t *http,
                                       const accel__wandb_request_t *request, bool *failed)
{
    struct curl_slist *list = NULL;
    accel__wandb_text_t line = {0};
    const char *name;
    json_t *value;
    accel__wandb_text_printf(&line, "User-Agent: accel/%s (libaccel; C)",
                             accel__wandb_host()->version);
    list = add_header(list, line.failed ? "User-Agent: accel" : line.data, failed);
    list = add_header(list, "Expect:", failed); /* no waiting for "100 Continue" */
    if (accel__wandb_same_server(request->url, http->base_url)) {
        put_header(&line, "X-WANDB-USERNAME", http->username);
        list = add_header(list, line.failed ? "" : line.data, failed);
        put_header(&line, "X-WANDB-USER-EMAIL", http->email);
        list = add_header(list, line.failed ? "" : line.data, failed);
        json_object_foreach(http->extra_headers, name, value)
        {
            put_header(&line, name, json_string_value(value));
            list = add_header(list, line.failed ? "" : line.data, failed);
        }
    }
    *failed = *failed || line.failed;
    for (size_t i = 0; i < request->num_headers; i++)
        list = add_header(list, request->headers[i], failed);
    accel__wandb_text_free(&line);
    return list;
}

/* A write to a connection that the other side has closed raises SIGPIPE, which a library must
 * neither let through nor ignore for the whole process: it is held back for this thread, and taken
 * away if it came. */
static CURLcode perform(CURL *curl)
{
    sigset_t pipe, before, pending;
    const struct timespec at_once = {0};
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    CURLcode code = curl_easy_perform(curl);
    if (!was_pending && sigismember(&before, SIGPIPE) != 1) {
        while (sigtimedwait(&pipe, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static accel__wandb_outcome_t judge(const accel__wandb_http_t *http, CURLcode code)
{
    if (accel__wandb_alarm_cancelled(http->alarm))
        return ACCEL__WANDB_CANCELLED;
    if (http->too_large || http->file_error)
        return ACCEL__WANDB_REFUSED;
    switch (code) {
    case CURLE_OK:
        return ACCEL__WANDB_ANSWERED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_OUT_OF_MEMORY:
        return ACCEL__WANDB_REFUSED;
    default:
        return ACCEL__WANDB_UNREACHABLE;
    }
}

static void blot_out(const char *secret, char *text, size_t size)
{
    size_t length = secret ? strlen(secret) : 0;
    for (char *at = text; length && (at = memmem(at, size - (size_t)(at - text), secret, length));)
        memset(at, '*', length);
}

/* What an echoing server may have put there. */
void accel__wandb_http_hide_key(const accel__wandb_http_t *http, char *text, size_t size)
{
    blot_out(http->api_key, text, size);
    blot_out(http->header_key, text, size);
}

static void explain(accel__wandb_http_t *http, CURLcode code)
{
    accel__wandb_reply_t *reply = http->reply;
    char *host = url_part(http->request->url, CURLUPART_HOST), reason[128];
    if (http->too_large)
        snprintf(reply->error, sizeof(reply->error), "%s: the answer is over %zu bytes",
                 host ? host : "?", http->limit);
    else if (http->file_error)
        snprintf(reply->error, sizeof(reply->error), "%s: the file: %s", host ? host : "?",
                 strerror_r(http->file_error, reason, sizeof(reason)));
    else
        snprintf(reply->error, sizeof(reply->error), "%s: %s", host ? host : "?",
                 *http->error ? http->error : curl_easy_strerror(code));
    accel__wandb_http_hide_key(http, reply->error, strlen(reply->error));
    curl_free(host);
}

/* *next: where the answer sends us on, to free(). */
static void exchange_once(accel__wandb_http_t *http, const accel__wandb_request_t *request,
                          accel__wandb_reply_t *reply, char **next)
{
    bool failed = false;
    const char *location = NULL;
    *reply = (accel__wandb_reply_t){.retry_after = -1, .rate_remaining = -1, .rate_reset = -1};
    http->request = request;
    http->reply = reply;
    http->received = 0;
    http->sent = 0;
    http->too_large = false;
    http->file_error = 0;
    http->error[0] = '\0';
    http->limit = request->limit ? request->limit : ANSWER_LIMIT;
    curl_easy_reset(http->curl); /* connections stay */
    struct curl_slist *headers = make_headers(http, request, &failed);
    set_server(http, request->url);
    set_method(http, request);
    set_limits(http, request);
    curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = failed ? CURLE_OUT_OF_MEMORY : perform(http->curl);
    reply->outcome = judge(http, code);
    if (reply->outcome == ACCEL__WANDB_ANSWERED) {
        curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &reply->status);
        curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &location);
    } else {
        explain(http, code);
    }
    *next = location ? strdup(location) : NULL;
    if (reply->body.data)
        accel__wandb_http_hide_key(http, reply->body.data, reply->body.length);
    curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    http->request = NULL;
    http->reply = NULL;
}

/* Redirects are followed here, not by curl: what goes with a request is decided for each address
 * anew, so that neither the key nor a header of the user's reaches a server that is not theirs. */
void accel__wandb_http_exchange(accel__wandb_http_t *http, const accel__wandb_request_t *request,
                                accel__wandb_reply_t *reply)
{
    accel__wandb_request_t hop = *request;
    char *url = NULL, *next = NULL;
    for (int hops = 0;; hops++) {
        exchange_once(http, &hop, reply, &next);
        free(url);
        url = next;
        if (!url || request->method != ACCEL__WANDB_GET || hops == MAX_REDIRECTS)
            break;
        accel__wandb_reply_free(reply);
        hop.url = url;
    }
    free(url);
}

bool accel__wandb_reply_good(const accel__wandb_reply_t *reply)
{
    return reply->outcome == ACCEL__WANDB_ANSWERED && reply->status >= 200 && reply->status < 300;
}

void accel__wandb_reply_free(accel__wandb_reply_t *reply)
{
    accel__wandb_text_free(&reply->body);
}
