/* SPDX-License-Identifier: Apache-2.0 */
/* The API key: where it is looked for, and what it looks like. It is never part of a message. */
#ifndef ACCEL_TRACKER_WANDB_APIKEY_H
#define ACCEL_TRACKER_WANDB_APIKEY_H

#include "settings.h"

/* The key for the server base_url: that of the settings (argument, WANDB_API_KEY, settings file),
 * else the password of its machine in netrc ($NETRC, ~/.netrc, ~/_netrc). *key is to free(), and
 * NULL if there is none; one of a wrong shape is an error that says where it came from. */
accel_status_t accel__wandb_api_key_find(const accel__wandb_settings_t *settings, char **key);

/* Does it look like a key: 40 or more letters, digits, '_' and '-' after an optional prefix that
 * ends with '-'? `source` is for the message. */
accel_status_t accel__wandb_api_key_check(const char *key, const char *source);

/* The password of `machine` in a netrc file, to free(); NULL if there is none. A "default" entry
 * serves machines that are not named. */
char *accel__wandb_netrc_password(const char *path, const char *machine);

/* Give `machine` this password, in three lines as stock writes them, in place of what it had; other
 * entries stay as they are. The file is replaced as a whole, mode 0600. ACCEL_ERR_FORMAT: it is so
 * damaged that no reader would find the entry. */
accel_status_t accel__wandb_netrc_save(const char *path, const char *machine, const char *password);

/* The content of a file that is to be replaced, to free(); "" if there is none. What cannot be read
 * whole, as text, is ACCEL_ERR_IO. */
accel_status_t accel__wandb_read_whole(const char *path, char **data);

/* Make `path` this text, at once or not at all, mode 0600. */
accel_status_t accel__wandb_replace_file(const char *path, const char *data, size_t size);

/* The netrc file that is read, and would be written; to free(), NULL if there is no home. */
char *accel__wandb_netrc_path(void);

#endif
