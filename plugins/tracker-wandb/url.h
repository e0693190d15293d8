/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of the server and of the pages that show a run. Texts are to free(). */
#ifndef ACCEL_TRACKER_WANDB_URL_H
#define ACCEL_TRACKER_WANDB_URL_H

#include "settings.h"

/* Is it an http(s) URL that stock takes? A trailing '/' goes; of a Forge host the address behind
 * its proxy is taken. */
accel_status_t accel__wandb_url_check_base(char **base_url);

/* "host" or "host:port", as netrc names machines; NULL without memory. */
char *accel__wandb_url_host(const char *url);
/* The other host name by which this server is known in netrc; NULL if there is none. */
const char *accel__wandb_url_other_host(const char *url);

/* The site to look at, without a trailing '/'. */
char *accel__wandb_url_app(const accel__wandb_settings_t *settings);

/* Pages on it; entity and project as the server gave them. NULL if one of them is NULL. */
char *accel__wandb_url_project(const accel__wandb_settings_t *settings, const char *entity,
                               const char *project);
char *accel__wandb_url_run(const accel__wandb_settings_t *settings, const char *entity,
                           const char *project, const char *run_id);
char *accel__wandb_url_sweep(const accel__wandb_settings_t *settings, const char *entity,
                             const char *project, const char *sweep_id);

/* Percent-encoded but for letters, digits, "_.-~" and `safe`. */
void accel__wandb_url_quote(accel__wandb_text_t *text, const char *part, const char *safe);

#endif
