/* SPDX-License-Identifier: Apache-2.0 */
/* What the library that loaded this plugin offers it, and helpers that every file here uses. */
#ifndef ACCEL_TRACKER_WANDB_HOST_H
#define ACCEL_TRACKER_WANDB_HOST_H

#include <sys/types.h>

#include <accel/plugin/tracker_v1.h>

/* The host's table; set once, by accel_tracker_plugin_v1(). */
const accel_host_v1_t *accel__wandb_host(void);
void accel__wandb_set_host(const accel_host_v1_t *host);

/* Leave a line for accel_last_error(), give the status. */
#define accel__wandb_fail(...) (accel__wandb_host()->fail(__VA_ARGS__))

/* What this thread's last failure said; "" if the host does not tell. */
const char *accel__wandb_last_error(void);

/* "WHAT: the system's text for `error`" */
accel_status_t accel__wandb_fail_errno(accel_status_t status, int error, const char *what,
                                       const char *path);
accel_status_t accel__wandb_fail_memory(void);

/* Fill `text` with `length` characters of a-z and 0-9 from the system's secure source, and a
 * NUL. */
accel_status_t accel__wandb_random_id(char *text, size_t length);

/* A version 7 UUID: 36 characters and a NUL. */
accel_status_t accel__wandb_uuid(char text[37]);

/* open(), but never as one of the standard streams: where a program was started without them,
 * what it prints would go into the file. */
int accel__wandb_open(const char *path, int flags, mode_t mode);

/* All of it, or the error number. */
int accel__wandb_write_all(int fd, const char *data, size_t size);

/* The name nearest to `name`, or NULL if none is near. */
const char *accel__wandb_nearest(const char *name, const char *const *names, size_t count);

/* The content of a small file, to free(); NULL if there is none, or it is over `limit`. */
char *accel__wandb_read_small(const char *path, size_t limit);

/* "A/B", to free(); NULL without memory. */
char *accel__wandb_join(const char *directory, const char *name);

/* Make a directory and its parents; existing ones are fine. Zero or an errno. */
int accel__wandb_make_dirs(const char *path);

#endif
