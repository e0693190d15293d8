/* SPDX-License-Identifier: Apache-2.0 */
/* The framing of a .wandb file: LevelDB's log layout with plain CRC-32 checksums.
 *
 * A 7-byte file header, then blocks of 32768 bytes counted from the file's start. A record is
 * one or more chunks, none of which crosses a block; a chunk is checksum (4 bytes, over kind and
 * payload), length (2), kind (1), payload; all little-endian. */
#ifndef ACCEL_TRACKER_WANDB_LOG_H
#define ACCEL_TRACKER_WANDB_LOG_H

#include "text.h"

typedef struct {
    int fd;                      /* -1: not open */
    uint64_t committed;          /* bytes of the file that are whole */
    accel__wandb_text_t pending; /* framed, not yet written */
} accel__wandb_log_t;

/* Make the file, which must not exist. Zero or an errno. */
int accel__wandb_log_open(accel__wandb_log_t *log, const char *path);

/* Frame a record behind what is pending. A lack of memory shows at the commit. */
void accel__wandb_log_append(accel__wandb_log_t *log, const void *record, size_t size);

/* Hand everything pending to the kernel in one write. Zero, or an errno: then the file has been
 * cut back to what was whole before, and nothing is pending. */
int accel__wandb_log_commit(accel__wandb_log_t *log);

void accel__wandb_log_close(accel__wandb_log_t *log);

#endif
