/* SPDX-License-Identifier: Apache-2.0 */
#include "retry.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

double accel__wandb_retry_wait(const accel__wandb_retry_t *retry, int n, double random)
{
    return fmin(retry->most, ldexp(retry->least, n < 60 ? n : 60) * (1 + random / 4));
}

bool accel__wandb_retry_again(accel__wandb_retry_kind_t kind, const accel__wandb_reply_t *reply)
{
    static const long final[] = {400, 401, 403, 404, 409, 410, 413, 422, 501};
    if (reply->outcome != ACCEL__WANDB_ANSWERED)
        return reply->outcome == ACCEL__WANDB_UNREACHABLE;
    if (reply->status < 400)
        return false;
    if (kind == ACCEL__WANDB_RETRY_TRANSFER)
        return reply->status == 429 || (reply->status >= 500 && reply->status != 501);
    if (kind == ACCEL__WANDB_RETRY_UPSERT && reply->status == 409)
        return true;
    for (size_t i = 0; i < sizeof(final) / sizeof(*final); i++) {
        if (reply->status == final[i])
            return false;
    }
    return true;
}

static double random_fraction(void)
{
    uint32_t bits = 0;
    (void)!getrandom(&bits, sizeof(bits), GRND_NONBLOCK); /* without it, no jitter */
    return (double)bits / 4294967296.0;
}

void accel__wandb_http_insist(accel__wandb_http_t *http, const accel__wandb_request_t *request,
                              const accel__wandb_retry_t *retry,
                              const accel__wandb_listener_t *listener, accel__wandb_reply_t *reply)
{
    accel__wandb_alarm_t *alarm = accel__wandb_http_alarm(http);
    uint64_t seen = 0;
    accel__wandb_alarm_wait(alarm, 0, &seen); /* only nudges from now on count */
    for (int n = 0;; n++) {
        accel__wandb_http_exchange(http, request, reply);
        if (accel__wandb_reply_good(reply) || n >= retry->tries ||
            !accel__wandb_retry_again(retry->kind, reply))
            return;
        double wait = reply->retry_after >= 0
                          ? reply->retry_after
                          : accel__wandb_retry_wait(retry, n, random_fraction());
        if (retry->deadline > 0 && accel__wandb_monotonic() + wait >= retry->deadline)
            return;
        char text[400];
        accel__wandb_reply_describe(reply, text, sizeof(text));
        if (listener && listener->trouble)
            listener->trouble(listener->context, text);
        accel__wandb_alarm_wait(alarm, wait, &seen);
        if (accel__wandb_alarm_cancelled(alarm))
            return;
        accel__wandb_reply_free(reply);
    }
}

/* ---- in words ---- */

/* {"error": "text"}, {"error": {"message": "text"}}, {"errors": [{"message": "text"} or "text"]} */
static const char *message_in(json_t *body)
{
    json_t *error = json_object_get(body, "error"), *errors = json_object_get(body, "errors");
    if (!error)
        error = json_array_get(errors, 0);
    if (json_is_object(error))
        error = json_object_get(error, "message");
    return json_string_value(error);
}

/* As one line of printable text. */
static void flatten(char *text)
{
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
}

void accel__wandb_reply_describe(const accel__wandb_reply_t *reply, char *text, size_t size)
{
    if (reply->outcome == ACCEL__WANDB_CANCELLED) {
        snprintf(text, size, "given up");
        return;
    }
    if (reply->outcome != ACCEL__WANDB_ANSWERED) {
        snprintf(text, size, "%s", reply->error);
        return;
    }
    const char *data = reply->body.data ? reply->body.data : "";
    json_t *body = json_loadb(data, reply->body.length, JSON_DECODE_ANY, NULL);
    const char *message = message_in(body);
    if (!message)
        message = data;
    snprintf(text, size, "HTTP %ld%s%.200s", reply->status, *message ? ": " : "", message);
    flatten(text);
    json_decref(body);
}
