/* SPDX-License-Identifier: Apache-2.0 */
#include "track/json.h"
#include "track/media.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_SIZE 48

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
        if ((*in >= '0' && *in <= '9') || *in == '-' || *in == '+' || *in == 'e') {
            *out++ = *in;
        } else if (!point) {
            *out++ = '.';
            point = true;
        }
    }
    *out = '\0';
    return (size_t)(out - number);
}

/* Does this text read back as `value`, bit by bit? */
static bool reads_back(const char *number, double value)
{
    double back = strtod(number, NULL);

    return memcmp(&back, &value, sizeof(value)) == 0;
}

/* Can 15 digits be enough? Then the 17 differ from them by at most half a unit in the last
 * place of the double, which is 11 in the last two digits: they end in 00 to 11, in 89 to 99,
 * or in zeros that %g leaves out. (Not so for subnormals, which get a digit too many.) */
static bool may_be_short(const char *number17)
{
    int digits = 0, last = 0, before_last = 0;

    for (const char *c = number17; *c && *c != 'e'; c++) {
        if (*c < '0' || *c > '9' || (digits == 0 && *c == '0'))
            continue;
        before_last = last;
        last = *c - '0';
        digits++;
    }
    last += 10 * before_last;
    return digits < 17 || last <= 11 || last >= 89;
}

/* From 17 digits that end in 12 to 88, so that nothing carries, to 16: at a fraction of the price
 * of printing anew. False where the last two digits do not both stand behind the point. */
static bool drop_last_digit(char *number)
{
    char *point = number + strspn(number, "-0123456789");
    char *end = number + strcspn(number, "e");

    if (end - point < 6) /* a point can have three bytes */
        return false;
    if (end[-1] >= '5')
        end[-2]++;
    memmove(end - 1, end, strlen(end) + 1);
    return true;
}

/* The usual case, a number that needs all its digits, must be cheap: a row of the journal is
 * written in microseconds. */
static void print_shortest(char number[NUMBER_SIZE], double value)
{
    char shorter[NUMBER_SIZE];

    snprintf(number, NUMBER_SIZE, "%.17g", value);
    if (!may_be_short(number)) {
        memcpy(shorter, number, NUMBER_SIZE);
        if (drop_last_digit(shorter) && reads_back(shorter, value))
            memcpy(number, shorter, strlen(shorter) + 1);
        return;
    }
    for (int digits = 15; digits < 17; digits++) {
        snprintf(shorter, sizeof(shorter), "%.*g", digits, value);
        if (reads_back(shorter, value)) {
            memcpy(number, shorter, strlen(shorter) + 1);
            return;
        }
    }
}

void accel__json_float(accel__text_t *text, double value)
{
    char number[NUMBER_SIZE] = "";
    size_t length;

    if (isnan(value)) {
        accel__text_append(text, "NaN", 3);
        return;
    }
    if (isinf(value)) {
        accel__text_appendf(text, value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    print_shortest(number, value);
    length = undo_locale(number);
    accel__text_append(text, number, length);
    if (!strpbrk(number, ".e"))
        accel__text_append(text, ".0", 2);
}

void accel__json_seconds(accel__text_t *text, double seconds)
{
    long long microseconds = llround(fabs(seconds) * 1e6);
    char number[48];
    int length = snprintf(number, sizeof(number), "%s%lld.%06lld", seconds < 0 ? "-" : "",
                          microseconds / 1000000, microseconds % 1000000);

    accel__text_append(text, number, (size_t)length);
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
    case ACCEL_TYPE_MEDIA:
        accel__json_media(text, accel_media_view(item->value.media));
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
