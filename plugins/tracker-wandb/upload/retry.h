/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is made again, and how long to wait before. The rules are those of the stock
 * client. */
#ifndef ACCEL_TRACKER_WANDB_RETRY_H
#define ACCEL_TRACKER_WANDB_RETRY_H

#include "http.h"

typedef enum {
    ACCEL__WANDB_RETRY_API,     /* GraphQL, file stream */
    ACCEL__WANDB_RETRY_UPSERT,  /* 409 is a conflict that passes */
    ACCEL__WANDB_RETRY_TRANSFER /* 429 and 5xx only */
} accel__wandb_retry_kind_t;

/* Tries are beyond the first; times in seconds. */
typedef struct {
    accel__wandb_retry_kind_t kind;
    int tries;
    double least, most;
    double
        deadline; /* of the monotonic clock: no try begins, and no wait ends, after it; 0: none */
} accel__wandb_retry_t;

/* The wait before try n + 1 (n from 0): least doubled n times, up to a quarter longer (`random`
 * in 0..1), `most` at most. */
double accel__wandb_retry_wait(const accel__wandb_retry_t *retry, int n, double random);

/* May another try end better? */
bool accel__wandb_retry_again(accel__wandb_retry_kind_t kind, const accel__wandb_reply_t *reply);

/* Is told of a failed try that will be followed by another. */
typedef struct {
    void (*trouble)(void *context, const char *text);
    void *context;
} accel__wandb_listener_t;

/* Exchange, and again, until it goes well, cannot, or was tried often enough. `listener` may be
 * NULL. *reply is that of the last try. A nudge of the handle's alarm ends a wait. */
void accel__wandb_http_insist(accel__wandb_http_t *http, const accel__wandb_request_t *request,
                              const accel__wandb_retry_t *retry,
                              const accel__wandb_listener_t *listener, accel__wandb_reply_t *reply);

/* One line about a reply that is not good: HTTP status and the server's own words, or the
 * network's. */
void accel__wandb_reply_describe(const accel__wandb_reply_t *reply, char *text, size_t size);

#endif
