/* SPDX-License-Identifier: Apache-2.0 */
/* Characters out of bytes that come in pieces. */
#ifndef ACCEL_TRACKER_WANDB_UTF8_H
#define ACCEL_TRACKER_WANDB_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACCEL__WANDB_NO_CHARACTER = 0xfffd };

/* The length of a character by its first byte; 0: none begins so. */
static inline size_t accel__wandb_utf8_length(unsigned first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The second byte tells overlong forms, surrogates and what lies beyond Unicode. */
static inline bool accel__wandb_utf8_continues(unsigned first, size_t index, unsigned byte)
{
    if (index > 1)
        return byte >= 0x80 && byte <= 0xbf;
    unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return byte >= low && byte <= high;
}

/* Decode the character at `data`. Returns its length, at least 1; bytes that are none give
 * U+FFFD. Zero: the piece ends within a character that may be valid. */
static inline size_t accel__wandb_utf8_decode(const char *data, size_t size, uint32_t *code)
{
    const unsigned char *at = (const unsigned char *)data;
    size_t length = accel__wandb_utf8_length(at[0]);
    uint32_t found = length < 2 ? at[0] : at[0] & (0x7fu >> length);
    *code = ACCEL__WANDB_NO_CHARACTER;
    if (!length)
        return 1;
    for (size_t i = 1; i < length; i++) {
        if (i == size)
            return 0;
        if (!accel__wandb_utf8_continues(at[0], i, at[i]))
            return i;
        found = found << 6 | (at[i] & 0x3fu);
    }
    *code = found;
    return length;
}

/* Writes 1 to 4 bytes; returns how many. */
static inline size_t accel__wandb_utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00 >> length & 0xff) | code);
    return length;
}

#endif
