/* SPDX-License-Identifier: Apache-2.0 */
#include "login.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apikey.h"
#include "upload/graphql.h"
#include "url.h"

/* ---- the key ---- */

static void copy(char *place, size_t size, const char *text)
{
    snprintf(place, size, "%s", text ? text : "");
}

/* Mode offline: whether there is a key is found out here. */
static accel_status_t read_settings(const char *host, accel__wandb_settings_t *settings)
{
    const accel_item_t arguments[] = {accel_item_string("mode", "offline"), accel_item_end()};
    const accel_tracker_init_t init = {
        .struct_size = sizeof(init), .init_kwargs = arguments, .num_processes = 1};
    accel_status_t status = accel__wandb_settings_create(&init, settings);
    if (status || !host)
        return status;
    free(settings->base_url);
    settings->base_url = strdup(host);
    return settings->base_url ? accel__wandb_url_check_base(&settings->base_url)
                              : accel__wandb_fail_memory();
}

static accel_status_t find_key(const accel__wandb_settings_t *settings, const char *netrc,
                               char **key, accel_wandb_login_result_t *result)
{
    accel_status_t status = accel__wandb_api_key_find(settings, key);
    if (status)
        return status;
    if (!*key)
        return accel__wandb_fail(ACCEL_ERR_NOT_FOUND,
                                 "wandb: no API key was found for %s; run `accel login`, or set "
                                 "WANDB_API_KEY",
                                 settings->base_url);
    copy(result->source, sizeof(result->source), settings->api_key ? "WANDB_API_KEY" : netrc);
    return ACCEL_OK;
}

/* ---- the server ---- */

static accel_status_t take_viewer(const accel__wandb_settings_t *settings, json_t *data,
                                  accel_wandb_login_result_t *result)
{
    json_t *viewer = json_object_get(data, "viewer");
    if (!json_is_object(viewer))
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: %s knows nobody with this API key",
                                 settings->base_url);
    copy(result->username, sizeof(result->username), ACCEL__WANDB_TEXT_AT(viewer, "username"));
    copy(result->entity, sizeof(result->entity), ACCEL__WANDB_TEXT_AT(viewer, "entity"));
    return ACCEL_OK;
}

static accel_status_t ask_server(const accel__wandb_settings_t *settings, const char *key,
                                 accel_wandb_login_result_t *result)
{
    enum { TRIES = 20, LEAST = 1, MOST = 10, TIMEOUT = 30, PATIENCE = 90 };
    accel__wandb_http_options_t options = accel__wandb_http_options(settings);
    accel__wandb_http_t *http = NULL;
    json_t *data = NULL;
    long http_status = 0;
    double patience = settings->init_timeout > 0 ? settings->init_timeout : PATIENCE;
    accel__wandb_retry_t retry = {.kind = ACCEL__WANDB_RETRY_API,
                                  .tries = TRIES,
                                  .least = LEAST,
                                  .most = MOST,
                                  .deadline = accel__wandb_monotonic() + patience};
    options.api_key = key;
    accel_status_t status = accel__wandb_http_create(&options, &http);
    if (!status)
        status = accel__wandb_graphql(http, &accel__wandb_viewer, json_object(), &retry,
                                      patience < TIMEOUT ? patience : TIMEOUT, NULL, &data,
                                      &http_status);
    if (!status)
        status = take_viewer(settings, data, result);
    else if (http_status == 401 || http_status == 403)
        status =
            accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: %s does not take this API key (HTTP %ld)",
                              settings->base_url, http_status);
    json_decref(data);
    accel__wandb_http_destroy(http);
    return status;
}

/* ---- what is kept ---- */

static accel_status_t keep_key(const accel__wandb_settings_t *settings, const char *netrc,
                               const char *key)
{
    char *machine = accel__wandb_url_host(settings->base_url);
    accel_status_t status = machine && netrc ? accel__wandb_netrc_save(netrc, machine, key)
                                             : accel__wandb_fail_memory();
    free(machine);
    return status;
}

/* Read as settings_file.c does: "[default]", and any case of the name. */
static bool is_default(const char *line, size_t length)
{
    static const char name[] = "[default]";
    size_t blank = strspn(line, " \t");
    while (length && strchr(" \t\r\n", line[length - 1]))
        length--;
    return length == blank + strlen(name) && !strncmp(line + blank, name, strlen(name));
}

static bool is_host(const char *line)
{
    static const char name[] = "base_url";
    line += strspn(line, " \t");
    if (strncasecmp(line, name, strlen(name)) != 0)
        return false;
    line += strlen(name);
    line += strspn(line, " \t");
    return *line == '=' || *line == ':';
}

/* All lines but those that name a host, and ours as the first of its section. */
static void put_settings(accel__wandb_text_t *text, const char *old, const char *host)
{
    bool ours = false, put = false;
    while (*old) {
        const char *line = old;
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        old += length;
        if (line[strspn(line, " \t")] == '[')
            ours = is_default(line, length);
        if (!ours || !is_host(line))
            accel__wandb_text_append(text, line, length);
        if (!ours || put)
            continue;
        if (line[length - 1] != '\n')
            accel__wandb_text_puts(text, "\n");
        accel__wandb_text_printf(text, "base_url = %s\n", host);
        put = true;
    }
    if (put)
        return;
    if (text->length && text->data[text->length - 1] != '\n')
        accel__wandb_text_puts(text, "\n");
    accel__wandb_text_printf(text, "[default]\nbase_url = %s\n", host);
}

static accel_status_t write_host(const char *path, const char *host)
{
    char *folder = strndup(path, (size_t)(strrchr(path, '/') - path)), *old = NULL;
    accel__wandb_text_t text = {0};
    int error = folder ? accel__wandb_make_dirs(folder) : ENOMEM;
    accel_status_t status =
        error ? accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot make the folder of", path)
              : accel__wandb_read_whole(path, &old);
    if (!status) {
        put_settings(&text, old ? old : "", host);
        status = text.failed ? accel__wandb_fail_memory()
                             : accel__wandb_replace_file(path, text.data, text.length);
    }
    accel__wandb_text_free(&text);
    free(folder);
    free(old);
    return status;
}

/* In the user's settings, as stock's login does: runs go to this server from now on. */
static accel_status_t keep_host(const accel__wandb_settings_t *settings)
{
    const char *folder = accel__wandb_env("WANDB_CONFIG_DIR");
    char *path = folder ? accel__wandb_join(folder, "settings")
                        : accel__wandb_home_path(".config/wandb/settings");
    accel_status_t status =
        path ? write_host(path, settings->base_url) : accel__wandb_fail_memory();
    free(path);
    return status;
}

/* ---- all of it ---- */

static accel_status_t login(const accel_wandb_login_options_t *options,
                            const accel__wandb_settings_t *settings, char **key,
                            accel_wandb_login_result_t *result)
{
    char *netrc = accel__wandb_netrc_path();
    accel_status_t status = ACCEL_OK;
    copy(result->host, sizeof(result->host), settings->base_url);
    if (options->key) {
        *key = strdup(options->key);
        status = *key ? accel__wandb_api_key_check(*key, "the login") : accel__wandb_fail_memory();
    } else {
        status = find_key(settings, netrc, key, result);
    }
    if (!status && options->verify == ACCEL_ON)
        status = ask_server(settings, *key, result);
    if (!status && options->key) {
        status = netrc ? keep_key(settings, netrc, *key)
                       : accel__wandb_fail(ACCEL_ERR_STATE, "wandb: neither NETRC nor HOME is set: "
                                                            "there is no place for the API key");
        copy(result->source, sizeof(result->source), netrc);
    }
    if (!status && options->host)
        status = keep_host(settings);
    free(netrc);
    return status;
}

accel_status_t accel__wandb_login(const accel_wandb_login_options_t *options,
                                  accel_wandb_login_result_t *result)
{
    accel__wandb_settings_t settings = {0};
    char *key = NULL;
    accel_status_t status = read_settings(options->host, &settings);
    if (!status)
        status = login(options, &settings, &key, result);
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    accel__wandb_settings_free(&settings);
    return status;
}
