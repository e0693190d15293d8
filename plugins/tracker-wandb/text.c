/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- growable bytes ---- */

static bool reserve(accel__wandb_text_t *text, size_t more)
{
    if (text->failed || more >= SIZE_MAX / 2 - text->length) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return true;
    size_t capacity = needed + needed / 2 + 64;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void accel__wandb_text_append(accel__wandb_text_t *text, const void *data, size_t size)
{
    if (!reserve(text, size))
        return;
    if (size)
        memcpy(text->data + text->length, data, size);
    text->length += size;
    text->data[text->length] = '\0';
}

void accel__wandb_text_puts(accel__wandb_text_t *text, const char *string)
{
    accel__wandb_text_append(text, string, strlen(string));
}

void accel__wandb_text_printf(accel__wandb_text_t *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    } else {
        text->failed = true;
    }
    va_end(again);
}

void accel__wandb_text_free(accel__wandb_text_t *text)
{
    free(text->data);
    *text = (accel__wandb_text_t){0};
}

/* ---- memory that is let go at once ---- */

struct accel__wandb_chunk {
    accel__wandb_chunk_t *next;
    size_t used, size;
    max_align_t data[];
};

static accel__wandb_chunk_t *new_chunk(accel__wandb_arena_t *arena, size_t size)
{
    size_t room = size > 8000 ? size : 8000;
    accel__wandb_chunk_t *chunk = malloc(sizeof(*chunk) + room);
    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    chunk->used = 0;
    chunk->size = room;
    arena->chunks = chunk;
    return chunk;
}

void *accel__wandb_arena_take(accel__wandb_arena_t *arena, size_t size)
{
    const size_t grain = sizeof(max_align_t);
    accel__wandb_chunk_t *chunk = arena->chunks;
    if (arena->failed || size > SIZE_MAX / 4)
        goto fail;
    size = (size + grain - 1) / grain * grain;
    if (!chunk || chunk->size - chunk->used < size)
        chunk = new_chunk(arena, size);
    if (!chunk)
        goto fail;
    void *data = (char *)chunk->data + chunk->used;
    chunk->used += size;
    return memset(data, 0, size);
fail:
    arena->failed = true;
    return NULL;
}

char *accel__wandb_arena_copy(accel__wandb_arena_t *arena, const char *data, size_t length)
{
    char *copy = accel__wandb_arena_take(arena, length + 1);
    if (copy && length)
        memcpy(copy, data, length);
    return copy;
}

void accel__wandb_arena_free(accel__wandb_arena_t *arena)
{
    while (arena->chunks) {
        accel__wandb_chunk_t *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    *arena = (accel__wandb_arena_t){0};
}
