/* SPDX-License-Identifier: Apache-2.0 */
#include "framing.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "report.h"

enum { BLOCK = 32768, CHUNK_HEADER = 7 };
enum { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

typedef struct chunk {
    const unsigned char *payload;
    size_t length;
    int kind;
} chunk_t;

typedef enum { CHUNK_GOOD, CHUNK_PADDING, CHUNK_DAMAGED, CHUNK_CUT } chunk_state_t;

static const unsigned char FILE_HEADER[] = {':', 'W', '&', 'B', 0xe1, 0xbe, 0};

bool framing_begin(framing_t *framing, const unsigned char *data, size_t size)
{
    *framing = (framing_t){.data = data, .size = size, .at = sizeof(FILE_HEADER)};
    return size >= sizeof(FILE_HEADER) && memcmp(data, FILE_HEADER, sizeof(FILE_HEADER)) == 0;
}

static bool all_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static chunk_state_t look(const framing_t *framing, chunk_t *chunk)
{
    const unsigned char *bytes = framing->data + framing->at;
    size_t in_file = framing->size - framing->at;
    size_t in_block = BLOCK - framing->at % BLOCK;
    uint32_t expected;

    if (in_block < CHUNK_HEADER)
        return all_zero(bytes, in_block < in_file ? in_block : in_file) ? CHUNK_PADDING
                                                                        : CHUNK_DAMAGED;
    if (in_file < CHUNK_HEADER)
        return CHUNK_CUT;
    if (all_zero(bytes, CHUNK_HEADER))
        return CHUNK_PADDING;
    expected = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
               (uint32_t)bytes[3] << 24;
    chunk->length = (size_t)bytes[4] | (size_t)bytes[5] << 8;
    chunk->kind = bytes[6];
    chunk->payload = bytes + CHUNK_HEADER;
    if (chunk->kind < FULL || chunk->kind > LAST || chunk->length > in_block - CHUNK_HEADER)
        return CHUNK_DAMAGED;
    if (chunk->length > in_file - CHUNK_HEADER)
        return CHUNK_CUT;
    return crc32(0, bytes + 6, (uInt)chunk->length + 1) == expected ? CHUNK_GOOD : CHUNK_DAMAGED;
}

static void append(framing_t *framing, const chunk_t *chunk)
{
    size_t wanted = framing->length + chunk->length;

    if (wanted > framing->capacity) {
        framing->capacity = wanted * 2;
        framing->record = need(realloc(framing->record, framing->capacity));
    }
    memcpy(framing->record + framing->length, chunk->payload, chunk->length);
    framing->length = wanted;
}

static void next_block(framing_t *framing)
{
    size_t in_block = BLOCK - framing->at % BLOCK;

    framing->at = in_block < framing->size - framing->at ? framing->at + in_block : framing->size;
}

bool framing_next(framing_t *framing, const unsigned char **record, size_t *length)
{
    bool within = false, lost = false;

    while (framing->at < framing->size) {
        chunk_t chunk;
        chunk_state_t state = look(framing, &chunk);

        if (state == CHUNK_CUT) {
            framing->at = framing->size;
            framing->cut = true;
            return false;
        }
        if (state != CHUNK_GOOD) {
            framing->damaged += state == CHUNK_DAMAGED;
            lost = within || state == CHUNK_DAMAGED;
            within = false;
            next_block(framing);
            continue;
        }
        framing->at += CHUNK_HEADER + chunk.length;
        bool begins = chunk.kind == FULL || chunk.kind == FIRST;

        /* A record without its end, or an end without its beginning: told once. */
        framing->damaged += begins == within && !lost;
        lost = !begins && !within;
        if (lost)
            continue;
        if (begins)
            framing->length = 0;
        append(framing, &chunk);
        within = chunk.kind == FIRST || chunk.kind == MIDDLE;
        if (!within) {
            *record = framing->record;
            *length = framing->length;
            return true;
        }
    }
    framing->cut = framing->cut || within;
    return false;
}

void framing_end(framing_t *framing)
{
    free(framing->record);
    framing->record = NULL;
}
