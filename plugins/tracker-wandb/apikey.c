/* SPDX-License-Identifier: Apache-2.0 */
#include "apikey.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "url.h"

#define WHITE " \t\r\n"

/* ---- netrc ---- */

/* The next word: up to white space, or within quotes; a backslash keeps what follows it. Words
 * are unquoted in place. NULL at the end. */
static char *next_word(char **rest)
{
    char *at = *rest + strspn(*rest, WHITE), *word = at, *out = at;
    bool quoted = *at == '"';
    if (!*at)
        return NULL;
    if (quoted)
        at++;
    while (*at && (quoted ? *at != '"' : !strchr(WHITE, *at))) {
        if (*at == '\\' && at[1])
            at++;
        *out++ = *at++;
    }
    *rest = *at ? at + 1 : at;
    *out = '\0';
    return word;
}

/* Past a comment's line; past a macro, which a blank line ends. */
static void skip(char **rest, const char *end)
{
    char *found = strstr(*rest, end);
    *rest = found ? found + strlen(end) : *rest + strlen(*rest);
}

typedef struct {
    const char *machine;
    char *own, *fallback; /* of the machine, of "default"; into the file's text */
} netrc_t;

/* As with other readers of netrc, the last entry of a machine counts. */
static void scan(netrc_t *netrc, char *text)
{
    char **place = NULL;
    for (;;) {
        for (text += strspn(text, WHITE); *text == '#'; text += strspn(text, WHITE))
            skip(&text, "\n");
        const char *word = next_word(&text);
        if (!word)
            return;
        if (!strcmp(word, "machine")) {
            char *name = next_word(&text);
            place = name && !strcmp(name, netrc->machine) ? &netrc->own : NULL;
        } else if (!strcmp(word, "default")) {
            place = &netrc->fallback;
        } else if (!strcmp(word, "macdef")) {
            skip(&text, "\n\n");
        } else if (!strcmp(word, "password")) {
            char *password = next_word(&text);
            if (place)
                *place = password;
        } else if (!strcmp(word, "login") || !strcmp(word, "user") || !strcmp(word, "account")) {
            (void)next_word(&text);
        }
    }
}

char *accel__wandb_netrc_password(const char *path, const char *machine)
{
    char *data = accel__wandb_read_small(path, 1 << 20), *password = NULL;
    netrc_t netrc = {.machine = machine};
    if (!data)
        return NULL;
    scan(&netrc, data);
    if (!netrc.own)
        netrc.own = netrc.fallback;
    if (netrc.own && *netrc.own)
        password = strdup(netrc.own);
    explicit_bzero(data, strlen(data));
    free(data);
    return password;
}

char *accel__wandb_netrc_path(void)
{
    const char *given = accel__wandb_env("NETRC");
    if (given && !strncmp(given, "~/", 2))
        return accel__wandb_home_path(given + 2);
    if (given)
        return strdup(given);
    char *dotted = accel__wandb_home_path(".netrc"), *other = accel__wandb_home_path("_netrc");
    bool take_other = dotted && other && access(dotted, F_OK) < 0 && access(other, F_OK) == 0;
    free(take_other ? dotted : other);
    return take_other ? other : dotted;
}

/* ---- the key ---- */

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
