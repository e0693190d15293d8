/* SPDX-License-Identifier: Apache-2.0 */
/* Media within the tracking room: made here, shared by whoever holds a row. */
#ifndef ACCEL_TRACK_MEDIA_H
#define ACCEL_TRACK_MEDIA_H

#include <stdatomic.h>

#include <accel/media.h>

#include "base/base.h"

struct accel_media {
    accel_media_view_t view; /* points into what follows */
    atomic_int shares;
    atomic_bool logged; /* a table that was logged takes no more rows */
    size_t size;        /* bytes of content */
    char *caption;
    void *content[2]; /* pixels, WAV, text; or counts and edges; or columns and rows */
    size_t capacity;  /* of a table's rows */
};

/* A new object with one share, its caption copied. */
accel_status_t accel__media_create(accel_media_kind_t kind, const char *caption,
                                   accel_media_t **media);

/* Bytes of the media in a row, at any depth. */
size_t accel__media_size(const accel_item_t *items);
/* One more share of each, and one less. Sharing marks tables as logged. */
void accel__media_retain(const accel_item_t *items);
void accel__media_release(const accel_item_t *items);

/* What accel_image_create() asks of one; the message names the `index`-th image of `key`. */
accel_status_t accel__image_check(const accel_image_t *image, const char *key, int64_t index);

/* Images as the items of a list, to free() once their media are released. */
accel_status_t accel__images_create(const accel_image_t *images, int64_t count,
                                    accel_item_t **items);

/* A table of columns (texts) and rows (lists), both checked. */
accel_status_t accel__table_create(const accel_item_t *columns, const accel_item_t *rows,
                                   accel_media_t **table);

/* Free a table's rows and columns. */
void accel__table_free(accel_media_t *table);

#endif
