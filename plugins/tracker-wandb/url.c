/* SPDX-License-Identifier: Apache-2.0 */
#include "url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Hosts that serve the site themselves, and the older name of each one's server. */
static const struct {
    const char *site, *older;
} forges[] = {
    {"forge.coreweave.com", "api.wandb.ai"},
    {"qa.forge.coreweave.com", "api.qa.wandb.ai"},
};
enum { NUM_FORGES = sizeof(forges) / sizeof(*forges) };

static const char *skip_scheme(const char *url)
{
    const char *colon = strstr(url, "://");
    return colon ? colon + 3 : url;
}

/* The host's name alone: no user, no port. */
static size_t find_host(const char *url, const char **host)
{
    const char *start = skip_scheme(url);
    size_t length = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', length);
    if (at) {
        length -= (size_t)(at + 1 - start);
        start = at + 1;
    }
    *host = start;
    return *start == '[' ? strcspn(start, "]") + 1 : strcspn(start, ":/?#");
}

static bool host_is(const char *url, const char *prefix, const char *name)
{
    const char *host;
    size_t length = find_host(url, &host), skipped = strlen(prefix);
    return length == skipped + strlen(name) && !strncasecmp(host, prefix, skipped) &&
           !strncasecmp(host + skipped, name, strlen(name));
}

/* The number of the Forge host that serves this URL's deployment, or NUM_FORGES. */
static size_t find_forge(const char *url)
{
    size_t i = 0;
    while (i < NUM_FORGES && !host_is(url, "", forges[i].site) &&
           !host_is(url, "api.", forges[i].site) && !host_is(url, "", forges[i].older))
        i++;
    return i;
}

char *accel__wandb_url_host(const char *url)
{
    const char *start = skip_scheme(url);
    return strndup(start, strcspn(start, "/?#"));
}

const char *accel__wandb_url_other_host(const char *url)
{
    size_t forge = find_forge(url);
    return forge < NUM_FORGES ? forges[forge].older : NULL;
}

/* ---- the server's address ---- */

static accel_status_t replace(char **url, char *with)
{
    if (!with)
        return accel__wandb_fail_memory();
    free(*url);
    *url = with;
    return ACCEL_OK;
}

/* A Forge site passes /api/wandb on to its server, which is asked directly. */
static accel_status_t check_forge(char **url)
{
    for (size_t i = 0; i < NUM_FORGES; i++) {
        accel__wandb_text_t proxy = {0}, direct = {0};
        if (!host_is(*url, "", forges[i].site))
            continue;
        accel__wandb_text_printf(&proxy, "https://%s/api/wandb", forges[i].site);
        accel__wandb_text_printf(&direct, "https://api.%s", forges[i].site);
        bool is_proxy = !proxy.failed && !strcmp(*url, proxy.data);
        accel__wandb_text_free(&proxy);
        if (is_proxy)
            return replace(url, direct.data);
        accel__wandb_text_free(&direct);
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the server's address '%s' is a Forge site; use "
                                 "https://api.%s",
                                 *url, forges[i].site);
    }
    return ACCEL_OK;
}

/* "wandb.ai" with no '.' behind it, the last of them: stock's mark of the public service. */
static bool is_public(const char *url)
{
    const char *found = NULL;
    for (const char *at = url; (at = strstr(at, "wandb.ai")); at++)
        found = at;
    return found && !strchr(found + strlen("wandb.ai"), '.');
}

accel_status_t accel__wandb_url_check_base(char **base_url)
{
    char *url = *base_url;
    const char *host;
    bool secure = !strncasecmp(url, "https://", 8), plain = !strncasecmp(url, "http://", 7);
    if ((!secure && !plain) || find_host(url, &host) == 0 || url[strcspn(url, " \t\r\n")])
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the server's address '%s' is no http:// or https:// URL",
                                 url);
    if (host != skip_scheme(url))
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the server's address holds a user "
                                                    "name; a key belongs into WANDB_API_KEY");
    for (size_t length = strlen(url); length && url[length - 1] == '/'; length--)
        url[length - 1] = '\0';
    if (is_public(url) && !strstr(url, "api."))
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: '%s' is no server's address; did you mean "
                                 "https://api.wandb.ai?",
                                 url);
    if (is_public(url) && !secure)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: http is not secure, use https://api.wandb.ai");
    return check_forge(base_url);
}

/* ---- pages ---- */

static void put_app(const accel__wandb_settings_t *settings, accel__wandb_text_t *text)
{
    const char *url = settings->app_url_override ? settings->app_url_override : settings->base_url;
    const char *api = strstr(url, "://api.");
    size_t forge = find_forge(url);
    if (settings->app_url_override || (forge == NUM_FORGES && !api)) {
        accel__wandb_text_puts(text, url);
    } else if (forge < NUM_FORGES) {
        accel__wandb_text_printf(text, "https://%s/wandb", forges[forge].site);
    } else {
        bool cloud = !strncmp(api, "://api.wandb.", 13) && strncmp(api, "://api.wandb.test", 17);
        accel__wandb_text_append(text, url, (size_t)(api + 3 - url));
        accel__wandb_text_printf(text, "%s%s", cloud ? "" : "app.", api + strlen("://api."));
    }
    while (text->length && text->data[text->length - 1] == '/')
        text->data[--text->length] = '\0';
}

void accel__wandb_url_quote(accel__wandb_text_t *text, const char *part, const char *safe)
{
    for (const char *c = part; *c; c++) {
        bool plain = isalnum((unsigned char)*c) && (unsigned char)*c < 0x80;
        if (plain || strchr("_.-~", *c) || strchr(safe, *c))
            accel__wandb_text_append(text, c, 1);
        else
            accel__wandb_text_printf(text, "%%%02X", (unsigned char)*c);
    }
}

static char *finished(accel__wandb_text_t *text)
{
    if (text->failed)
        accel__wandb_text_free(text);
    return text->data;
}

char *accel__wandb_url_app(const accel__wandb_settings_t *settings)
{
    accel__wandb_text_t text = {0};
    put_app(settings, &text);
    return finished(&text);
}

/* A page below the project's: "/KIND/NAME", or nothing. */
static char *page(const accel__wandb_settings_t *settings, const char *const names[3],
                  const char *kind, const char *safe)
{
    accel__wandb_text_t text = {0};
    if (!names[0] || !names[1] || !names[2])
        return NULL;
    put_app(settings, &text);
    accel__wandb_text_puts(&text, "/");
    accel__wandb_url_quote(&text, names[0], "");
    accel__wandb_text_puts(&text, "/");
    accel__wandb_url_quote(&text, names[1], "");
    accel__wandb_text_puts(&text, kind);
    accel__wandb_url_quote(&text, names[2], safe);
    return finished(&text);
}

char *accel__wandb_url_project(const accel__wandb_settings_t *settings, const char *entity,
                               const char *project)
{
    return page(settings, (const char *[]){entity, project, ""}, "", "");
}

char *accel__wandb_url_run(const accel__wandb_settings_t *settings, const char *entity,
                           const char *project, const char *run_id)
{
    return page(settings, (const char *[]){entity, project, run_id}, "/runs/", "=+&$@");
}

char *accel__wandb_url_sweep(const accel__wandb_settings_t *settings, const char *entity,
                             const char *project, const char *sweep_id)
{
    return page(settings, (const char *[]){entity, project, sweep_id}, "/sweeps/", "");
}
