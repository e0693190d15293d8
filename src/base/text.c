/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool accel__mul_size(size_t a, size_t b, size_t *size)
{
    return !__builtin_mul_overflow(a, b, size);
}

char *accel__strdup(const char *text)
{
    size_t size;
    char *copy;

    if (!text)
        return NULL;
    size = strlen(text) + 1;
    copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* Room for `more` bytes and the NUL. */
static bool reserve(accel__text_t *text, size_t more)
{
    size_t capacity = text->capacity ? text->capacity : 128;
    char *data;

    if (text->failed)
        return false;
    if (text->capacity - text->length > more)
        return true;
    while (capacity - text->length <= more)
        capacity *= 2;
    data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void accel__text_append(accel__text_t *text, const char *data, size_t length)
{
    if (!reserve(text, length))
        return;
    memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void accel__text_appendf(accel__text_t *text, const char *format, ...)
{
    va_list arguments, again;
    int length;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void accel__text_free(accel__text_t *text)
{
    free(text->data);
    *text = (accel__text_t){0};
}
