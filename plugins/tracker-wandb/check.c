/* SPDX-License-Identifier: Apache-2.0 */
/* Are the settings of a run such as W&B takes them? And: which mode is it, is there a key? */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings.h"

static size_t utf8_length(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static accel_status_t check_project(const char *project)
{
    static const char forbidden[] = "/\\#?%:\r\n";
    if (!project)
        return ACCEL_OK;
    if (!*project)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the project's name is empty");
    if (utf8_length(project) > 128)
        return accel__wandb_fail(
            ACCEL_ERR_INVALID, "wandb: the project's name '%.20s...' has more than 128 characters",
            project);
    if (strpbrk(project, forbidden))
        return accel__wandb_fail(
            ACCEL_ERR_INVALID,
            "wandb: the project's name '%s' has one of / \\ # ? %% : or a line "
            "break",
            project);
    return ACCEL_OK;
}

static accel_status_t check_run_id(const char *id)
{
    static const char forbidden[] = ":;,#?/'";
    if (!id)
        return ACCEL_OK;
    size_t length = strlen(id);
    if (!length)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the run's id is empty");
    if (isspace((unsigned char)id[0]) || isspace((unsigned char)id[length - 1]))
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the run's id '%s' begins or ends with white space", id);
    if (strpbrk(id, forbidden))
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the run's id '%s' has one of %s", id,
                                 forbidden);
    return ACCEL_OK;
}

static accel_status_t check_tags(const accel__wandb_names_t *tags)
{
    for (size_t i = 0; i < tags->count; i++) {
        size_t length = utf8_length(tags->names[i]);
        if (length < 1 || length > 64)
            return accel__wandb_fail(ACCEL_ERR_INVALID,
                                     "wandb: tag %zu, '%.40s', has %zu characters: 1 to 64 are "
                                     "allowed",
                                     i, tags->names[i], length);
    }
    return ACCEL_OK;
}

static accel_status_t check_resume(accel__wandb_settings_t *settings)
{
    static const char *const words[] = {"allow", "must", "never", "auto"};
    if (!settings->resume)
        return ACCEL_OK;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (!strcmp(settings->resume, words[i]))
            return ACCEL_OK;
    }
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: 'resume' is '%s', not allow, must, never or auto",
                             settings->resume);
}

/* There is no uploader here: whoever asks for one in the program is told so, and whoever merely
 * did not say "offline" gets an offline run. */
static accel_status_t check_mode(accel__wandb_settings_t *settings)
{
    const char *mode = settings->mode ? settings->mode : "online";
    bool online = !strcmp(mode, "online") || !strcmp(mode, "run");
    bool shared = !strcmp(mode, "shared");
    settings->effective_mode = ACCEL__WANDB_OFFLINE;
    if (!strcmp(mode, "offline") || !strcmp(mode, "dryrun"))
        return ACCEL_OK;
    if (!strcmp(mode, "disabled")) {
        settings->effective_mode = ACCEL__WANDB_DISABLED;
        return ACCEL_OK;
    }
    if (!online && !shared)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the mode is '%s', not online, offline, disabled or shared",
                                 mode);
    if (settings->explicit_mode)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: mode=\"%s\" needs an uploader, which this version has "
                                 "not; use mode=\"offline\" and then `wandb sync` the run",
                                 mode);
    settings->wants_upload = true;
    if (settings->force && !accel__wandb_find_api_key(settings))
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: 'force' is true, but no API key was found; set "
                                 "WANDB_API_KEY or run `wandb login`");
    return ACCEL_OK;
}

accel_status_t accel__wandb_settings_check(accel__wandb_settings_t *settings)
{
    accel_status_t status = check_project(settings->project);
    if (!status)
        status = check_run_id(settings->run_id);
    if (!status)
        status = check_tags(&settings->run_tags);
    if (!status)
        status = check_resume(settings);
    if (!status)
        status = check_mode(settings);
    return status;
}

/* ---- the key: only whether there is one ---- */

static bool netrc_has(const char *path, const char *host)
{
    char *data = accel__wandb_read_small(path, 1 << 20), *rest = data, *word;
    bool found = false, machine = false, ours = false, password = false;
    while (!found && (word = strsep(&rest, " \t\r\n"))) {
        if (!*word)
            continue;
        if (machine)
            ours = !strcmp(word, host);
        found = password && ours;
        machine = !strcmp(word, "machine");
        password = !strcmp(word, "password");
    }
    free(data);
    return found;
}

static bool netrc_in_home(const char *name, const char *host)
{
    char *path = accel__wandb_home_path(name);
    bool found = path && netrc_has(path, host);
    free(path);
    return found;
}

static bool netrc_any(const char *host)
{
    const char *netrc = accel__wandb_env("NETRC");
    if (netrc)
        return netrc_has(netrc, host);
    return netrc_in_home(".netrc", host) || netrc_in_home("_netrc", host);
}

bool accel__wandb_find_api_key(const accel__wandb_settings_t *settings)
{
    if (settings->api_key)
        return true;
    if (!settings->base_url) /* the service goes by two names */
        return netrc_any("api.wandb.ai") || netrc_any("api.forge.coreweave.com");
    const char *start = strstr(settings->base_url, "://");
    start = start ? start + 3 : settings->base_url;
    char *host = strndup(start, strcspn(start, "/"));
    bool found = host && netrc_any(host);
    free(host);
    return found;
}
