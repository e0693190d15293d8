/* SPDX-License-Identifier: Apache-2.0 */
/* JSON and text from outside, and memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "tool.h"

void *need(void *pointer)
{
    if (!pointer) {
        tool_say("report", "out of memory");
        exit(TOOL_FAILED);
    }
    return pointer;
}

json_t *need_json(json_t *value)
{
    return need(value);
}

void *grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 16;
    return need(reallocarray(items, *capacity, item_size));
}

/* ---- text ---- */

/* Bytes of the character at the beginning of text, 0 if there is no valid one. */
static size_t character_length(const unsigned char *text, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;
    uint32_t code;

    if (length < 2 || length > size)
        return length > size ? 0 : length;
    code = text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    return length;
}

json_t *value_text(const char *text, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd";
    json_t *value = json_stringn(text, size);
    size_t length = 0;
    char *valid;

    if (value)
        return value;
    valid = need(malloc(size * 3 + 1));
    while (size > 0) {
        size_t step = character_length((const unsigned char *)text, size);

        memcpy(valid + length, step ? text : replacement, step ? step : 3);
        length += step ? step : 3;
        text += step ? step : 1;
        size -= step ? step : 1;
    }
    value = need_json(json_stringn(valid, length));
    free(valid);
    return value;
}

/* ---- JSON ---- */

static size_t bare_word(const char *text, size_t size)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (size >= strlen(words[i]) && memcmp(text, words[i], strlen(words[i])) == 0)
            return strlen(words[i]);
    return 0;
}

/* Put quotes around the bare words that are no JSON. */
static char *quote_bare_words(const char *text, size_t size, size_t *length)
{
    char *quoted = need(malloc(size * 2 + 1));
    bool in_string = false;

    *length = 0;
    for (size_t i = 0; i < size; i++) {
        size_t word = in_string ? 0 : bare_word(text + i, size - i);

        if (word) {
            quoted[(*length)++] = '"';
            memcpy(quoted + *length, text + i, word);
            *length += word;
            quoted[(*length)++] = '"';
            i += word - 1;
            continue;
        }
        quoted[(*length)++] = text[i];
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\' && i + 1 < size)
            quoted[(*length)++] = text[++i];
    }
    return quoted;
}

json_t *value_parse_strictly(const char *text, size_t size)
{
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY, NULL);
    size_t length;
    char *quoted;

    if (value)
        return value;
    quoted = quote_bare_words(text, size, &length);
    value = json_loadb(quoted, length, JSON_DECODE_ANY, NULL);
    /* integers beyond 64 bits are numbers too */
    if (!value)
        value = json_loadb(quoted, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    free(quoted);
    return value;
}

json_t *value_parse(const char *text, size_t size)
{
    json_t *value = value_parse_strictly(text, size);

    return value ? value : value_text(text, size);
}

bool value_number(const json_t *value, double *number)
{
    const char *text = json_string_value(value);

    if (json_is_number(value))
        *number = json_number_value(value);
    else if (json_is_boolean(value))
        *number = json_is_true(value);
    else if (text && strcmp(text, "NaN") == 0)
        *number = NAN;
    else if (text && (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0))
        *number = *text == '-' ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}
