/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as Python's json.dump() spells it: the digest of a table's artifact is that of the text. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media.h"

/* The code point at *text, which is UTF-8, and the pointer behind it. */
static unsigned next_code(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    int more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : at[0] >= 0xc0 ? 1 : 0;
    unsigned code = more == 0 ? at[0] : at[0] & (0x3fu >> more);
    for (int i = 1; i <= more; i++)
        code = code << 6 | (at[i] & 0x3fu);
    *text += more + 1;
    return code;
}

static void put_code(accel__wandb_text_t *text, unsigned code)
{
    static const char plain[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    const char *found = code < 0x80 ? strchr(plain, (int)code) : NULL;
    char c = (char)code;
    if (found)
        accel__wandb_text_printf(text, "\\%c", letters[found - plain]);
    else if (code >= 0x20 && code < 0x7f)
        accel__wandb_text_append(text, &c, 1);
    else if (code < 0x10000)
        accel__wandb_text_printf(text, "\\u%04x", code);
    else
        accel__wandb_text_printf(text, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
                                 0xdc00 + ((code - 0x10000) & 0x3ff));
}

void accel__wandb_pyjson_string(accel__wandb_text_t *text, const char *string)
{
    accel__wandb_text_puts(text, "\"");
    while (*string)
        put_code(text, next_code(&string));
    accel__wandb_text_puts(text, "\"");
}

/* ---- sorting ---- */

static int compare_names(const void *a, const void *b, void *names)
{
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    int order = strcmp(((const char *const *)names)[left], ((const char *const *)names)[right]);
    return order ? order : (left > right) - (left < right);
}

size_t *accel__wandb_sorted(const char *const *names, size_t count)
{
    size_t *order = calloc(count + 1, sizeof(*order));
    for (size_t i = 0; order && i < count; i++)
        order[i] = i;
    if (order && count > 1)
        qsort_r(order, count, sizeof(*order), compare_names, (void *)names);
    return order;
}

/* ---- values ---- */

static void put_list(accel__wandb_text_t *text, const accel_item_t *items)
{
    accel__wandb_text_puts(text, "[");
    for (const accel_item_t *at = items; at && at->type != ACCEL_TYPE_END; at++) {
        if (at != items)
            accel__wandb_text_puts(text, ", ");
        accel__wandb_pyjson_value(text, at);
    }
    accel__wandb_text_puts(text, "]");
}

/* Of a key that is there twice the last counts, as in a Python dictionary. */
static void put_dict(accel__wandb_text_t *text, const accel_item_t *items)
{
    size_t count = 0;
    while (items && items[count].type != ACCEL_TYPE_END)
        count++;
    const char **names = calloc(count + 1, sizeof(*names));
    for (size_t i = 0; names && i < count; i++)
        names[i] = items[i].key;
    size_t *order = names ? accel__wandb_sorted(names, count) : NULL;
    if (!order)
        text->failed = true;
    accel__wandb_text_puts(text, "{");
    bool first = true;
    for (size_t i = 0; order && i < count; i++) {
        if (i + 1 < count && !strcmp(names[order[i]], names[order[i + 1]]))
            continue;
        accel__wandb_text_puts(text, first ? "" : ", ");
        accel__wandb_pyjson_string(text, names[order[i]]);
        accel__wandb_text_puts(text, ": ");
        accel__wandb_pyjson_value(text, &items[order[i]]);
        first = false;
    }
    accel__wandb_text_puts(text, "}");
    free(order);
    free(names);
}

void accel__wandb_pyjson_value(accel__wandb_text_t *text, const accel_item_t *item)
{
    switch (item->type) {
    case ACCEL_TYPE_FLOAT:
        if (isnan(item->value.f))
            accel__wandb_text_puts(text, "null");
        else
            accel__wandb_json_number(text, item->value.f, ACCEL__WANDB_JSON_SHOWN);
        break;
    case ACCEL_TYPE_STRING:
        accel__wandb_pyjson_string(text, item->value.s);
        break;
    case ACCEL_TYPE_DICT:
        put_dict(text, item->value.dict);
        break;
    case ACCEL_TYPE_LIST:
        put_list(text, item->value.list);
        break;
    default:
        accel__wandb_json_value(text, item, ACCEL__WANDB_JSON_SHOWN);
        break;
    }
}
