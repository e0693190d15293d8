/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP exchange after another, over a connection that is kept. A handle belongs to one thread
 * at a time.
 *
 * The API key goes to the scheme, host and port of the base URL and nowhere else: other URLs get
 * no Authorization header, and no redirect carries it to another host. Certificates are verified
 * unless WANDB_INSECURE_DISABLE_SSL says otherwise. Proxies, SSL_CERT_FILE and SSL_CERT_DIR are
 * taken from the environment. */
#ifndef ACCEL_TRACKER_WANDB_HTTP_H
#define ACCEL_TRACKER_WANDB_HTTP_H

#include <stdint.h>

#include "../settings.h"
#include "alarm.h"

typedef struct accel__wandb_http accel__wandb_http_t;

typedef struct {
    const char *base_url;         /* without a trailing '/' */
    const char *api_key;          /* NULL: none */
    const char *username, *email; /* X-WANDB-USERNAME, X-WANDB-USER-EMAIL; NULL: empty */
    bool insecure;
    const char *http_proxy, *https_proxy; /* instead of the environment's; NULL: those */
    const char *extra_headers;            /* a JSON object of texts, for the base URL's server */
    accel__wandb_alarm_t *alarm;          /* ends transfers when cancelled; NULL: nothing does */
    atomic_ullong *moved;                 /* counts bytes sent and received; NULL: not wanted */
} accel__wandb_http_options_t;

/* What the settings say of a server; key, alarm and counter are the caller's to add. */
accel__wandb_http_options_t accel__wandb_http_options(const accel__wandb_settings_t *settings);

/* `base_url` is checked: http or https, a host, no user or password within; and the headers. */
accel_status_t accel__wandb_http_create(const accel__wandb_http_options_t *options,
                                        accel__wandb_http_t **http);
void accel__wandb_http_destroy(accel__wandb_http_t *http);
const char *accel__wandb_http_base(const accel__wandb_http_t *http);
accel__wandb_alarm_t *accel__wandb_http_alarm(const accel__wandb_http_t *http);

typedef enum { ACCEL__WANDB_GET, ACCEL__WANDB_POST, ACCEL__WANDB_PUT } accel__wandb_method_t;

typedef struct {
    accel__wandb_method_t method;
    const char *url;
    const char *const *headers; /* "Name: value" */
    size_t num_headers;
    const char *body; /* POST, PUT; NULL: from `file` */
    size_t size;
    int file; /* PUT: `length` bytes from its position 0; GET: where the answer goes,
                 -1: into the reply. 0 is never a file here. */
    int64_t length;
    size_t limit;   /* the largest answer that is taken; 0: 64 MiB */
    double timeout; /* seconds for the whole; 0: as long as something moves */
    bool anonymous; /* without the key wherever it goes: URLs with a signature of their own */
} accel__wandb_request_t;

/* How an exchange ended. */
typedef enum {
    ACCEL__WANDB_ANSWERED,    /* with `status`, whatever it is */
    ACCEL__WANDB_UNREACHABLE, /* no connection, no answer in time, cut off: may work later */
    ACCEL__WANDB_REFUSED,     /* certificate, redirect, size, URL: will not work later */
    ACCEL__WANDB_CANCELLED
} accel__wandb_outcome_t;

typedef struct {
    accel__wandb_outcome_t outcome;
    long status;
    accel__wandb_text_t body;
    double retry_after;                /* seconds; negative: no such header */
    double rate_remaining, rate_reset; /* RateLimit-*; negative: no such header */
    char error[320];                   /* one line, where it did not go well */
} accel__wandb_reply_t;

void accel__wandb_http_exchange(accel__wandb_http_t *http, const accel__wandb_request_t *request,
                                accel__wandb_reply_t *reply);
void accel__wandb_reply_free(accel__wandb_reply_t *reply);

/* A line of the answer's head: "Name: value", with or without its end. */
void accel__wandb_reply_take_header(accel__wandb_reply_t *reply, const char *data, size_t size);

/* Put asterisks over the key, as it is and as the header carries it. */
void accel__wandb_http_hide_key(const accel__wandb_http_t *http, char *text, size_t size);

/* Answered with 200 to 299? */
bool accel__wandb_reply_good(const accel__wandb_reply_t *reply);

/* Do the two URLs have the same scheme, host and port? */
bool accel__wandb_same_server(const char *a, const char *b);

/* "N", "N.N" or an HTTP date, as seconds from `now` (seconds since the epoch), at least 0 and at
 * most an hour; negative if it is none of them. */
double accel__wandb_parse_retry_after(const char *value, double now);

#endif
