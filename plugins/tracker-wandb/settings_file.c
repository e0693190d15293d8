/* SPDX-License-Identifier: Apache-2.0 */
/* Settings files: a section [default] of `name = value` lines. Those of the user, then those of
 * the working directory, as stock reads them before it looks at the environment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings.h"

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t length = strlen(text);
    while (length && strchr(" \t\r\n", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static accel_status_t read_line(accel__wandb_settings_t *settings, char *line, const char *path)
{
    char *separator = strpbrk(line, "=:");
    if (!*line || *line == '#' || *line == ';' || !separator)
        return ACCEL_OK;
    *separator = '\0';
    char *name = trim(line), *value = trim(separator + 1), where[512];
    for (char *c = name; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    if (!*value || !accel__wandb_setting_known(name)) /* other clients' settings are theirs */
        return ACCEL_OK;
    if (!strcmp(name, "root_dir")) {
        accel__wandb_host()->log(ACCEL_LOG_WARNING,
                                 "wandb: %s: 'root_dir' has no effect in a settings file", path);
        return ACCEL_OK;
    }
    snprintf(where, sizeof(where), "%s: '%s'", path, name);
    if (!strcmp(name, "run_tags")) { /* stock takes it for one tag */
        accel_item_t tag = accel_item_string(name, value);
        return accel__wandb_setting_set(settings, name, &tag, where);
    }
    return accel__wandb_setting_parse(settings, name, value, where);
}

static accel_status_t read_file(accel__wandb_settings_t *settings, const char *path)
{
    char *data = path ? accel__wandb_read_small(path, 1 << 20) : NULL, *next = data;
    accel_status_t status = ACCEL_OK;
    bool ours = false;
    while (next && !status) {
        char *line = trim(strsep(&next, "\n"));
        if (*line == '[')
            ours = !strcmp(line, "[default]");
        else if (ours)
            status = read_line(settings, line, path);
    }
    free(data);
    return status;
}

accel_status_t accel__wandb_settings_read_files(accel__wandb_settings_t *settings)
{
    const char *folder = accel__wandb_env("WANDB_CONFIG_DIR");
    char *global = folder ? accel__wandb_join(folder, "settings")
                          : accel__wandb_home_path(".config/wandb/settings");
    accel_status_t status = read_file(settings, global);
    free(global);
    if (!status)
        status =
            read_file(settings, access(".wandb", F_OK) == 0 ? ".wandb/settings" : "wandb/settings");
    return status;
}
