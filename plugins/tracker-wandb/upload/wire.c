/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

static bool varint(accel__wandb_wire_t *wire, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool skip(accel__wandb_wire_t *wire, size_t size)
{
    if ((size_t)(wire->end - wire->at) < size)
        return false;
    wire->data = wire->at;
    wire->size = size;
    wire->at += size;
    return true;
}

bool accel__wandb_wire_next(accel__wandb_wire_t *wire)
{
    uint64_t key, size;
    if (wire->at >= wire->end || !varint(wire, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    wire->number = (uint32_t)(key >> 3);
    wire->type = (int)(key & 7);
    switch (wire->type) {
    case 0:
        return varint(wire, &wire->value);
    case 1:
        return skip(wire, 8);
    case 2:
        return varint(wire, &size) && size <= SIZE_MAX && skip(wire, (size_t)size);
    case 5:
        return skip(wire, 4);
    default:
        return false;
    }
}

uint32_t accel__wandb_wire_kind(const void *record, size_t record_size, const uint8_t **data,
                                size_t *size)
{
    accel__wandb_wire_t wire = accel__wandb_wire(record, record_size);
    uint32_t kind = 0;
    *data = NULL;
    *size = 0;
    while (accel__wandb_wire_next(&wire)) {
        bool member = wire.type == 2 && wire.number >= ACCEL__WANDB_HISTORY && wire.number <= 27 &&
                      wire.number != 16 && wire.number != 19;
        if (member) {
            kind = wire.number;
            *data = wire.data;
            *size = wire.size;
        }
    }
    return kind;
}
