/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks tell each other before they exchange data. */
#ifndef ACCEL_OPS_MEETING_H
#define ACCEL_OPS_MEETING_H

#include "comm/comm.h"

/* What this rank is about to do. */
typedef struct accel__call {
    const char *operation;        /* the public name */
    const accel_tensor_t *tensor; /* looked at only if status is good */
    int32_t free_dims;            /* leading dimensions whose extents may differ between ranks */
    int64_t extent;               /* for the others to know */
    const char *setting_name;     /* for messages; NULL: there is none */
    int64_t setting;              /* must be the same on every rank */
    accel_status_t status;        /* how this rank's arguments were, with its text */
} accel__ops_call_t;

/* A rank's part of the meeting. */
typedef struct accel__note {
    int64_t status, dtype, ndim;
    uint64_t shape; /* hash of the extents that must agree */
    int64_t extent, setting;
} accel__note_t;

/* Meet: *notes holds every rank's note, to free(). On an error it is NULL. */
accel_status_t accel__ops_meet(accel_comm_t *comm, const accel__ops_call_t *call,
                               accel__note_t **notes);

/* After the meeting the others are on their way into the collective: this rank's lack of
 * memory has to reach them there. Returns `status`; any other passes. */
accel_status_t accel__ops_give_up(accel_comm_t *comm, accel_status_t status);

/* accel__ops_gather with its name, and the ranks' numbers of rows in `rows` (may be NULL). */
accel_status_t accel__ops_gather_rows(accel_comm_t *comm, const char *operation,
                                      const accel_tensor_t *tensor, int64_t keep_rows,
                                      int64_t *rows, accel_tensor_t **gathered);

#endif
