/* SPDX-License-Identifier: Apache-2.0 */
/* Records out of the bytes of a .wandb log, whatever they are.
 *
 * A header of 7 bytes; then blocks of 32768 bytes, counted from the file's start. A record is one
 * or more chunks, none of which crosses a block; a chunk is a CRC-32 (4 bytes, over kind and
 * payload), a length (2), a kind (1) and the payload; all little-endian. What is damaged costs the
 * rest of its block and the record it belongs to. */
#ifndef ACCEL_TOOLS_REPORT_FRAMING_H
#define ACCEL_TOOLS_REPORT_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

typedef struct framing {
    const unsigned char *data;
    size_t size, at;
    unsigned char *record; /* put together from chunks */
    size_t length, capacity;
    size_t damaged; /* places that could not be read */
    bool cut;       /* the bytes end within a record */
} framing_t;

/* False: this is no .wandb log. The bytes must outlive the framing. */
bool framing_begin(framing_t *framing, const unsigned char *data, size_t size);

/* The next whole record, valid until the next call; false at the end. */
bool framing_next(framing_t *framing, const unsigned char **record, size_t *length);

void framing_end(framing_t *framing);

#endif
