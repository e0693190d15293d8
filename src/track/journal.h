/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: rows are copied in by any thread, and handed out in order by one thread. */
#ifndef ACCEL_TRACK_JOURNAL_H
#define ACCEL_TRACK_JOURNAL_H

#include "base/base.h"

typedef struct accel__journal accel__journal_t;

typedef struct accel__journal_row {
    size_t size;  /* of the whole record */
    size_t media; /* bytes of images and such that the row has a share of */
    void *target; /* what append was given */
    int64_t step;
    double timestamp;
    const accel_item_t *values;
} accel__journal_row_t;

/* Called on the journal's thread: deliver for each row, then flush. */
typedef struct accel__journal_sink {
    void (*deliver)(void *context, const accel__journal_row_t *row);
    void (*flush)(void *context);
    void *context;
} accel__journal_sink_t;

accel_status_t accel__journal_create(const accel__journal_sink_t *sink, accel__journal_t **journal);

/* Copy a row in, and take a share of its media, which is let go when the row was delivered. Waits
 * only while ACCEL__JOURNAL_LIMIT bytes are under way, or ACCEL__JOURNAL_MEDIA_LIMIT of media.
 * ACCEL_ERR_STATE after close. Neither this nor drain may be called from the sink. */
accel_status_t accel__journal_append(accel__journal_t *journal, void *target,
                                     const accel_item_t *values, int64_t step, double timestamp);

/* Return when all rows appended before have been delivered and flushed. */
void accel__journal_drain(accel__journal_t *journal);

/* Deliver what is left and end the thread; appends are refused from then on. */
void accel__journal_close(accel__journal_t *journal);

/* Closes if need be. NULL is fine. */
void accel__journal_destroy(accel__journal_t *journal);

/* Bytes of rows that may wait before append does: some 7,000 rows of four scalars. More would
 * ride out a longer stall of the disk, less keeps closer to the 100 ms when a flood of rows
 * comes faster than they can be written. */
#define ACCEL__JOURNAL_LIMIT ((size_t)2 << 20)

/* The same of media: some 80 images of a megapixel in three colours. */
#define ACCEL__JOURNAL_MEDIA_LIMIT ((size_t)256 << 20)

/* Bytes of memory the journal holds, for tests of its growth. */
size_t accel__journal_memory(accel__journal_t *journal);

#endif
