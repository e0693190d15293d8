/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a .wandb log, at rest or while it grows. Layout: see log.h.
 *
 * As the stock reader: a block whose rest is broken (checksum, order of chunks, zeros) is left
 * for the next one, and the damage is counted. What is not whole at the file's end is "not yet
 * written": to be asked for again, or the end of a log at rest. */
#ifndef ACCEL_TRACKER_WANDB_READER_H
#define ACCEL_TRACKER_WANDB_READER_H

#include "../host.h"
#include "../text.h"

typedef struct {
    char *path;
    int fd;
    uint64_t offset;            /* of the next chunk to look at */
    uint64_t skipped;           /* damaged places met */
    accel__wandb_text_t record; /* the one in hand */
} accel__wandb_reader_t;

typedef enum {
    ACCEL__WANDB_READ_RECORD, /* reader->record holds it, until the next call */
    ACCEL__WANDB_READ_END,    /* nothing more for now */
    ACCEL__WANDB_READ_TAIL,   /* the same, but a part of a record is there */
    ACCEL__WANDB_READ_FAILED  /* accel_last_error() says why */
} accel__wandb_read_t;

/* A file that is no .wandb log is ACCEL_ERR_FORMAT. */
accel_status_t accel__wandb_reader_open(accel__wandb_reader_t *reader, const char *path);
accel__wandb_read_t accel__wandb_reader_next(accel__wandb_reader_t *reader);
/* Bytes of the file now; 0 if that cannot be known. */
uint64_t accel__wandb_reader_size(const accel__wandb_reader_t *reader);
void accel__wandb_reader_close(accel__wandb_reader_t *reader);

#endif
