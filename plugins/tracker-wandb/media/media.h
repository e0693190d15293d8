/* SPDX-License-Identifier: Apache-2.0 */
/* Media: files below files/media/, and the dictionaries that stand for them in a row. */
#ifndef ACCEL_TRACKER_WANDB_MEDIA_H
#define ACCEL_TRACKER_WANDB_MEDIA_H

#include <accel/media.h>

#include "run.h"

/* ---- rows.c ---- */

/* Write the files of a row's media, with the records that announce them, and set *values to the
 * row in which dictionaries stand for them, made in `arena`; a row without media stays as it is.
 * Media that cannot be written are left out, and the first failure is returned: the rest of the
 * row is good. */
accel_status_t accel__wandb_media_resolve(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                          const accel_item_t **values);

/* ---- files.c ---- */

/* A file in the making, or made. */
typedef struct {
    const char *kind, *extension; /* "images", ".png" */
    const void *data;
    size_t size;
    char sha256[65];
    char *path; /* relative to files/, in the arena */
} accel__wandb_file_t;

/* Write media/KIND/KEY_STEP_HASH.EXTENSION and the record that announces it. */
accel_status_t accel__wandb_media_write(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                        const char *key, accel__wandb_file_t *file);
accel_status_t accel__wandb_sha256(const void *data, size_t size, char hex[65]);

/* A key as a relative path that leads nowhere else: no leading '/', no "." or "..". */
char *accel__wandb_safe_key(accel__wandb_arena_t *arena, const char *key);

/* ---- encode.c ---- */

/* The bytes that stock's file of this object has (of an image: as many pixels, other bytes): an
 * image's PNG and HTML with its style sheet are appended to `text`, a WAV is there already. */
accel_status_t accel__wandb_media_encode(const accel_media_view_t *media, accel__wandb_text_t *text,
                                         accel__wandb_file_t *file);

/* "image-file", "audio-file" or "html-file". */
const char *accel__wandb_media_type(accel_media_kind_t kind);

/* ---- table.c ---- */

/* A table's artifact, file and dictionary. */
accel_status_t accel__wandb_table_write(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                        const char *key, const accel_table_view_t *table,
                                        const accel_item_t **dict);

/* ---- types.c ---- */

/* The types of a table's columns as W&B writes them: a JSON object with sorted keys, spaced as
 * Python does it. A column of mixed types is of type "any". */
accel_status_t accel__wandb_column_types(accel__wandb_text_t *text,
                                         const accel_table_view_t *table);

/* ---- pyjson.c ---- */

/* As Python's json.dump(value, sort_keys=True) writes it. Media must not be in it. NaN is null:
 * stock's tables turn it into None. */
void accel__wandb_pyjson_string(accel__wandb_text_t *text, const char *string);
void accel__wandb_pyjson_value(accel__wandb_text_t *text, const accel_item_t *item);

/* Indices of `count` texts, sorted by byte order; NULL without memory. To free(). */
size_t *accel__wandb_sorted(const char *const *names, size_t count);

#endif
