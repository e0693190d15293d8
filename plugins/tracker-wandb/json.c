/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON text. Written here and not by jansson because the spelling of numbers is a
 * part of what must be equal, and because NaN and Infinity are written bare. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* The fewest digits that read back as `value`: "ddd…", with the decimal exponent of the first. */
static void shortest_digits(double value, char digits[24], int *exponent)
{
    char text[40];
    /* 15 digits survive the way to a double and back, save for subnormal numbers */
    for (int precision = value < DBL_MIN ? 0 : 14; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, value);
        if (precision == 16 || strtod(text, NULL) == value) /* 17 digits always are enough */
            break;
    }
    char *e = strchr(text, 'e');
    *exponent = (int)strtol(e + 1, NULL, 10);
    size_t count = 0;
    for (const char *c = text; c < e; c++) {
        if (*c >= '0' && *c <= '9')
            digits[count++] = *c;
    }
    while (count > 1 && digits[count - 1] == '0')
        count--;
    digits[count] = '\0';
}

/* When is a number written with an exponent, with how many digits of it; and is a whole number
 * marked as a float? */
static const struct {
    int least, most, exponent_digits;
    bool mark;
} styles[] = {
    [ACCEL__WANDB_JSON_FRONT] = {-5, 15, 1, true},
    [ACCEL__WANDB_JSON_FILE] = {-5, 15, 1, true},
    [ACCEL__WANDB_JSON_CORE] = {-4, 5, 2, false},
    [ACCEL__WANDB_JSON_SHOWN] = {-4, 15, 2, true},
};

static void put_scientific(accel__wandb_text_t *text, const char *digits, int exponent,
                           int exponent_digits)
{
    accel__wandb_text_append(text, digits, 1);
    if (digits[1])
        accel__wandb_text_printf(text, ".%s", digits + 1);
    accel__wandb_text_printf(text, "e%c%0*d", exponent < 0 ? '-' : '+', exponent_digits,
                             abs(exponent));
}

static void put_positional(accel__wandb_text_t *text, const char *digits, int exponent)
{
    int count = (int)strlen(digits);
    if (exponent < 0) {
        accel__wandb_text_printf(text, "0.%.*s%s", -exponent - 1, "000000", digits);
    } else if (count <= exponent + 1) {
        accel__wandb_text_puts(text, digits);
        for (int i = count; i < exponent + 1; i++)
            accel__wandb_text_puts(text, "0");
    } else {
        accel__wandb_text_printf(text, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
}

void accel__wandb_json_number(accel__wandb_text_t *text, double value, accel__wandb_json_t style)
{
    if (isnan(value)) {
        accel__wandb_text_puts(text, style == ACCEL__WANDB_JSON_FRONT ? "null" : "NaN");
        return;
    }
    if (signbit(value))
        accel__wandb_text_puts(text, "-");
    if (isinf(value)) {
        accel__wandb_text_puts(text, "Infinity");
        return;
    }
    char digits[24] = "";
    int exponent = 0;
    shortest_digits(fabs(value), digits, &exponent);
    if (exponent < styles[style].least || exponent > styles[style].most) {
        put_scientific(text, digits, exponent, styles[style].exponent_digits);
        return;
    }
    put_positional(text, digits, exponent);
    if (styles[style].mark && (int)strlen(digits) <= exponent + 1)
        accel__wandb_text_puts(text, ".0");
}

/* Characters that stand for themselves go in spans: texts are long, and mostly of them. */
void accel__wandb_json_string(accel__wandb_text_t *text, const char *string)
{
    static const char special[] = "\"\\"
                                  "\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\f\r\x0e\x0f\x10\x11\x12"
                                  "\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
    static const char named[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    accel__wandb_text_puts(text, "\"");
    for (;;) {
        size_t span = strcspn(string, special);
        accel__wandb_text_append(text, string, span);
        string += span;
        if (!*string)
            break;
        const char *found = strchr(named, *string);
        if (found)
            accel__wandb_text_printf(text, "\\%c", letters[found - named]);
        else
            accel__wandb_text_printf(text, "\\u%04x", (unsigned)*string);
        string++;
    }
    accel__wandb_text_puts(text, "\"");
}

static void put_members(accel__wandb_text_t *text, const accel_item_t *items, bool keys,
                        accel__wandb_json_t style)
{
    for (const accel_item_t *item = items; item && item->type != ACCEL_TYPE_END; item++) {
        if (item != items)
            accel__wandb_text_puts(text, ",");
        if (keys) {
            accel__wandb_json_string(text, item->key ? item->key : "");
            accel__wandb_text_puts(text, ":");
        }
        accel__wandb_json_value(text, item, style);
    }
}

void accel__wandb_json_value(accel__wandb_text_t *text, const accel_item_t *item,
                             accel__wandb_json_t style)
{
    switch (item->type) {
    case ACCEL_TYPE_END:
    case ACCEL_TYPE_NULL:
    case ACCEL_TYPE_MEDIA: /* in a row they were written, and are dictionaries by now */
        accel__wandb_text_puts(text, "null");
        break;
    case ACCEL_TYPE_BOOL:
        accel__wandb_text_puts(text, item->value.b ? "true" : "false");
        break;
    case ACCEL_TYPE_INT:
        accel__wandb_text_printf(text, "%" PRId64, item->value.i);
        break;
    case ACCEL_TYPE_UINT:
        /* the core holds integers in 64 bits with sign, and larger ones as floats */
        if (style == ACCEL__WANDB_JSON_CORE && item->value.u > INT64_MAX)
            accel__wandb_json_number(text, (double)item->value.u, style);
        else
            accel__wandb_text_printf(text, "%" PRIu64, item->value.u);
        break;
    case ACCEL_TYPE_FLOAT:
        accel__wandb_json_number(text, item->value.f, style);
        break;
    case ACCEL_TYPE_STRING:
        accel__wandb_json_string(text, item->value.s);
        break;
    case ACCEL_TYPE_DICT:
        accel__wandb_text_puts(text, "{");
        put_members(text, item->value.dict, true, style);
        accel__wandb_text_puts(text, "}");
        break;
    case ACCEL_TYPE_LIST:
        accel__wandb_text_puts(text, "[");
        put_members(text, item->value.list, false, style);
        accel__wandb_text_puts(text, "]");
        break;
    }
}
