/* SPDX-License-Identifier: Apache-2.0 */
/* Are the settings of a run such as W&B takes them? And: which mode is it? */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "apikey.h"
#include "url.h"

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

accel_status_t accel__wandb_check_tags(const accel__wandb_names_t *tags)
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

static accel_status_t check_moments(const accel__wandb_settings_t *settings)
{
    const char *name = settings->fork_from ? "fork_from" : "resume_from";
    if (!settings->fork_from && !settings->resume_from)
        return ACCEL_OK;
    return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                             "wandb: '%s' is not there in this version; start a new run, or use "
                             "'id' with resume=\"allow\"",
                             name);
}

static accel_status_t check_console(accel__wandb_settings_t *settings)
{
    static const char *const words[] = {"auto", "off", "wrap", "redirect", "wrap_raw", "wrap_emu"};
    if (!settings->console)
        return ACCEL_OK;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (!strcmp(settings->console, words[i]))
            return ACCEL_OK;
    }
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: 'console' is '%s', not auto, off, wrap, redirect, wrap_raw or "
                             "wrap_emu",
                             settings->console);
}

static accel_status_t check_limits(const accel__wandb_settings_t *settings)
{
    if (settings->stats_sampling_interval >= 0.1)
        return ACCEL_OK;
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: 'x_stats_sampling_interval' is %g s: 0.1 s is the least",
                             settings->stats_sampling_interval);
}

/* ---- the mode ---- */

/* With a key the run goes online. Where none was asked for by name and none is found, training on
 * a machine that nobody logged in to must go on: the run is written offline. */
static accel_status_t choose_online(accel__wandb_settings_t *settings, bool asked_for)
{
    char *key = NULL;
    accel_status_t status = accel__wandb_api_key_find(settings, &key);
    bool found = key != NULL;
    free(key);
    if (status)
        return status;
    if (found) {
        settings->effective_mode = ACCEL__WANDB_ONLINE;
        return ACCEL_OK;
    }
    if (settings->identity_token_file)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: WANDB_IDENTITY_TOKEN_FILE is not there in this version; "
                                 "use an API key, or WANDB_MODE=offline");
    if (asked_for)
        return accel__wandb_fail(ACCEL_ERR_STATE,
                                 "wandb: %s, but no API key was found for %s; set WANDB_API_KEY, "
                                 "add the machine to netrc, or run `accel login`",
                                 settings->force ? "'force' is true" : "the mode is online",
                                 settings->base_url);
    settings->effective_mode = ACCEL__WANDB_OFFLINE;
    settings->went_offline = true;
    return ACCEL_OK;
}

static accel_status_t check_mode(accel__wandb_settings_t *settings)
{
    const char *mode = settings->mode;
    if (!mode || !strcmp(mode, "online") || !strcmp(mode, "run"))
        return choose_online(settings, mode || settings->force);
    settings->effective_mode = ACCEL__WANDB_OFFLINE;
    if (!strcmp(mode, "offline") || !strcmp(mode, "dryrun"))
        return ACCEL_OK;
    if (!strcmp(mode, "disabled")) {
        settings->effective_mode = ACCEL__WANDB_DISABLED;
        return ACCEL_OK;
    }
    if (!strcmp(mode, "shared"))
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED,
                                 "wandb: mode=\"shared\" is not there in this version; log from "
                                 "one process, mode=\"online\" or \"offline\"");
    return accel__wandb_fail(ACCEL_ERR_INVALID,
                             "wandb: the mode is '%s', not online, offline, disabled or shared",
                             mode);
}

accel_status_t accel__wandb_settings_check(accel__wandb_settings_t *settings)
{
    accel_status_t status = check_project(settings->project);
    if (!status)
        status = check_run_id(settings->run_id);
    if (!status)
        status = accel__wandb_check_tags(&settings->run_tags);
    if (!status)
        status = check_resume(settings);
    if (!status)
        status = check_moments(settings);
    if (!status)
        status = check_console(settings);
    if (!status)
        status = check_limits(settings);
    if (!status)
        status = accel__wandb_url_check_base(&settings->base_url);
    if (!status)
        status = check_mode(settings);
    return status;
}
