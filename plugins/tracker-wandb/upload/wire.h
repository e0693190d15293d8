/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf messages by field number, without their types: for what is passed on by number, and to
 * tell records apart without unpacking them. */
#ifndef ACCEL_TRACKER_WANDB_WIRE_H
#define ACCEL_TRACKER_WANDB_WIRE_H

#include "../text.h"

typedef struct {
    const uint8_t *at, *end;
    uint32_t number;     /* of the field that accel__wandb_wire_next() found */
    int type;            /* 0 varint, 1 and 5 fixed, 2 bytes */
    uint64_t value;      /* of a varint */
    const uint8_t *data; /* of bytes */
    size_t size;
} accel__wandb_wire_t;

static inline accel__wandb_wire_t accel__wandb_wire(const void *data, size_t size)
{
    const uint8_t *bytes = data; /* NULL, perhaps, if there are none */
    return (accel__wandb_wire_t){.at = bytes, .end = size ? bytes + size : bytes};
}

/* The next field; false at the end or where the bytes are no message. */
bool accel__wandb_wire_next(accel__wandb_wire_t *wire);

/* Which record is it: the number of its one member of many, 0 if none is known. *data, *size: the
 * member's bytes. */
uint32_t accel__wandb_wire_kind(const void *record, size_t record_size, const uint8_t **data,
                                size_t *size);

/* The numbers of a Record's members. */
enum {
    ACCEL__WANDB_HISTORY = 2,
    ACCEL__WANDB_SUMMARY = 3,
    ACCEL__WANDB_CONFIG = 5,
    ACCEL__WANDB_FILES = 6,
    ACCEL__WANDB_STATS = 7,
    ACCEL__WANDB_ARTIFACT = 8,
    ACCEL__WANDB_ALERT = 10,
    ACCEL__WANDB_TELEMETRY = 11,
    ACCEL__WANDB_METRIC = 12,
    ACCEL__WANDB_OUTPUT_RAW = 13,
    ACCEL__WANDB_RUN = 17,
    ACCEL__WANDB_EXIT = 18,
    ACCEL__WANDB_HEADER = 21,
    ACCEL__WANDB_PREEMPTING = 23,
    ACCEL__WANDB_USE_ARTIFACT = 25,
    ACCEL__WANDB_ENVIRONMENT = 26
};

#endif
