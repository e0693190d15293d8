/* SPDX-License-Identifier: Apache-2.0 */
#include "apikey.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "url.h"

static bool is_word(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    }
    return length > 0;
}

/* Three words joined by dots: a token that a server of its own hands out. */
static bool is_token(const char *key)
{
    const char *first = strchr(key, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    return second && is_word(key, (size_t)(first - key)) &&
           is_word(first + 1, (size_t)(second - first - 1)) &&
           is_word(second + 1, strlen(second + 1));
}

accel_status_t accel__wandb_api_key_check(const char *key, const char *source)
{
    const char *dash = strchr(key, '-'), *secret = dash ? dash + 1 : key;
    size_t length = strlen(secret);
    if (is_token(key))
        return ACCEL_OK;
    if (!*key)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the API key of %s is empty", source);
    if (!is_word(secret, length))
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the API key of %s may only hold letters, digits, '_' and "
                                 "'-'",
                                 source);
    if (length < 40)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the API key of %s has %zu characters: 40 or more are "
                                 "expected",
                                 source, length);
    return ACCEL_OK;
}

static char *from_netrc(const char *path, const char *base_url)
{
    char *machine = accel__wandb_url_host(base_url);
    char *key = machine ? accel__wandb_netrc_password(path, machine) : NULL;
    const char *other = accel__wandb_url_other_host(base_url);
    free(machine);
    return key || !other ? key : accel__wandb_netrc_password(path, other);
}

accel_status_t accel__wandb_api_key_find(const accel__wandb_settings_t *settings, char **key)
{
    accel_status_t status = ACCEL_OK;
    char *path = NULL;
    if (settings->api_key) {
        *key = strdup(settings->api_key);
        if (!*key)
            return accel__wandb_fail_memory();
        status = accel__wandb_api_key_check(*key, "WANDB_API_KEY or 'api_key'");
    } else {
        path = accel__wandb_netrc_path();
        *key = path ? from_netrc(path, settings->base_url) : NULL;
        if (*key)
            status = accel__wandb_api_key_check(*key, path);
    }
    free(path);
    if (status) {
        free(*key);
        *key = NULL;
    }
    return status;
}
