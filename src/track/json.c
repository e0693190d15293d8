/* SPDX-License-Identifier: Apache-2.0 */
#include "track/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the leading part of `string` that needs no escape. */
static size_t plain_length(const char *string)
{
    const unsigned char *at = (const unsigned char *)string;

    while (*at >= 0x20 && *at != '"' && *at != '\\')
        at++;
    return (size_t)(at - (const unsigned char *)string);
}

static void escape(accel__text_t *text, unsigned char c)
{
    switch (c) {
    case '"':
        accel__text_append(text, "\\\"", 2);
        break;
    case '\\':
        accel__text_append(text, "\\\\", 2);
        break;
    case '\n':
        accel__text_append(text, "\\n", 2);
        break;
    case '\t':
        accel__text_append(text, "\\t", 2);
        break;
    default:
        accel__text_appendf(text, "\\u%04x", c);
        break;
    }
}

void accel__json_string(accel__text_t *text, const char *string)
{
    accel__text_append(text, "\"", 1);
    for (;;) {
        size_t length = plain_length(string);

        accel__text_append(text, string, length);
        string += length;
        if (!*string)
            break;
        escape(text, (unsigned char)*string++);
    }
    accel__text_append(text, "\"", 1);
}

/* The locale's decimal point, which may be several bytes, becomes '.'. */
static size_t undo_locale(char *number)
{
    char *out = number;
    bool point = false;

    for (const char *in = number; *in; in++) {
        if (strchr("0123456789+-e", *in)) {
            *out++ = *in;
        } else if (!point) {
            *out++ = '.';
            point = true;
        }
    }
    *out = '\0';
    return (size_t)(out - number);
}

void accel__json_float(accel__text_t *text, double value)
{
    char number[48];
    size_t length;

    if (isnan(value)) {
        accel__text_append(text, "NaN", 3);
        return;
    }
    if (isinf(value)) {
        accel__text_appendf(text, value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        double back;

        snprintf(number, sizeof(number), "%.*g", digits, value);
        back = strtod(number, NULL);
        if (memcmp(&back, &value, sizeof(value)) == 0)
            break;
    }
    length = undo_locale(number);
    accel__text_append(text, number, length);
    if (!strpbrk(number, ".e"))
        accel__text_append(text, ".0", 2);
}

static void append_list(accel__text_t *text, const accel_item_t *list)
{
    accel__text_append(text, "[", 1);
    for (const accel_item_t *item = list; item && item->type != ACCEL_TYPE_END; item++) {
        if (item != list)
            accel__text_append(text, ",", 1);
        accel__json_value(text, item);
    }
    accel__text_append(text, "]", 1);
}

static void append_int(accel__text_t *text, const accel_item_t *item)
{
    char number[24];

    if (item->type == ACCEL_TYPE_INT)
        snprintf(number, sizeof(number), "%" PRId64, item->value.i);
    else
        snprintf(number, sizeof(number), "%" PRIu64, item->value.u);
    accel__text_append(text, number, strlen(number));
}

void accel__json_value(accel__text_t *text, const accel_item_t *item)
{
    switch (item->type) {
    case ACCEL_TYPE_BOOL:
        accel__text_appendf(text, item->value.b ? "true" : "false");
        break;
    case ACCEL_TYPE_INT:
    case ACCEL_TYPE_UINT:
        append_int(text, item);
        break;
    case ACCEL_TYPE_FLOAT:
        accel__json_float(text, item->value.f);
        break;
    case ACCEL_TYPE_STRING:
        accel__json_string(text, item->value.s);
        break;
    case ACCEL_TYPE_DICT:
        accel__json_dict(text, item->value.dict);
        break;
    case ACCEL_TYPE_LIST:
        append_list(text, item->value.list);
        break;
    case ACCEL_TYPE_NULL:
    case ACCEL_TYPE_END:
        accel__text_append(text, "null", 4);
        break;
    }
}

void accel__json_dict(accel__text_t *text, const accel_item_t *dict)
{
    accel__text_append(text, "{", 1);
    for (const accel_item_t *item = dict; item && item->type != ACCEL_TYPE_END; item++) {
        if (item != dict)
            accel__text_append(text, ",", 1);
        accel__json_string(text, item->key);
        accel__text_append(text, ":", 1);
        accel__json_value(text, item);
    }
    accel__text_append(text, "}", 1);
}
