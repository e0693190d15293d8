/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <string.h>

#define DEPTH_MAX 8

/* Items of a dictionary or list, and a cursor over the block they are packed into. */
static const accel_item_t *children(const accel_item_t *item)
{
    return item->type == ACCEL_TYPE_DICT ? item->value.dict : item->value.list;
}

static bool has_children(const accel_item_t *item)
{
    return item->type == ACCEL_TYPE_DICT || item->type == ACCEL_TYPE_LIST;
}

static size_t count_items(const accel_item_t *items)
{
    size_t count = 0;

    while (items && items[count].type != ACCEL_TYPE_END)
        count++;
    return count;
}

static size_t align16(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

/* Length of the well-formed UTF-8 sequence at `s`, or 0 (RFC 3629). */
static int utf8_sequence(const unsigned char *s)
{
    int length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (length == 0 || s[0] > 0xf4)
        return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

static bool is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at) {
        int length = utf8_sequence(at);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static accel_status_t check(const accel_item_t *items, const char *what, bool media, int depth)
{
    if (depth > DEPTH_MAX)
        return accel__fail(ACCEL_ERR_INVALID, "%s: nested deeper than %d levels", what, DEPTH_MAX);
    for (size_t i = 0; items && items[i].type != ACCEL_TYPE_END; i++) {
        const accel_item_t *item = &items[i];

        if (!item->key)
            return accel__fail(ACCEL_ERR_INVALID, "%s: the key of item %zu is NULL", what, i);
        if (!is_utf8(item->key))
            return accel__fail(ACCEL_ERR_INVALID, "%s: the key of item %zu is not UTF-8", what, i);
        if (item->type < ACCEL_TYPE_NULL || item->type > ACCEL_TYPE_MEDIA)
            return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' has the unknown type %d", what,
                               item->key, (int)item->type);
        if (item->type == ACCEL_TYPE_MEDIA && (!media || !item->value.media))
            return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is %s", what, item->key,
                               item->value.media ? "a media object, which only a logged row takes"
                                                 : "a media object that is NULL");
        if (item->type == ACCEL_TYPE_STRING && !is_utf8(item->value.s))
            return accel__fail(ACCEL_ERR_INVALID, "%s: the text of '%s' is not UTF-8", what,
                               item->key);
        if (has_children(item)) {
            accel_status_t status = check(children(item), what, media, depth + 1);

            if (status != ACCEL_OK)
                return status;
        }
    }
    return ACCEL_OK;
}

accel_status_t accel__dict_check(const accel_item_t *dict, const char *what)
{
    return check(dict, what, false, 1);
}

accel_status_t accel__row_check(const accel_item_t *values, const char *what)
{
    return check(values, what, true, 1);
}

const accel_item_t *accel__dict_find(const accel_item_t *dict, const char *key)
{
    for (; dict && dict->type != ACCEL_TYPE_END; dict++)
        if (strcmp(dict->key, key) == 0)
            return dict;
    return NULL;
}

size_t accel__dict_packed_size(const accel_item_t *dict)
{
    size_t count = count_items(dict);
    size_t size = (count + 1) * sizeof(*dict);

    for (size_t i = 0; i < count; i++) {
        size += strlen(dict[i].key) + 1;
        if (dict[i].type == ACCEL_TYPE_STRING)
            size += strlen(dict[i].value.s) + 1;
    }
    size = align16(size);
    for (size_t i = 0; i < count; i++)
        if (has_children(&dict[i]))
            size += accel__dict_packed_size(children(&dict[i]));
    return size;
}

static const char *pack_string(const char *text, char **at)
{
    size_t size = strlen(text) + 1;
    char *copy = *at;

    memcpy(copy, text, size);
    *at += size;
    return copy;
}

/* The items, then their strings, then their children's blocks. */
static char *pack(const accel_item_t *dict, char *block)
{
    size_t count = count_items(dict);
    accel_item_t *items = (accel_item_t *)(void *)block;
    char *at = block + (count + 1) * sizeof(*items);

    for (size_t i = 0; i < count; i++) {
        items[i] = dict[i];
        items[i].key = pack_string(dict[i].key, &at);
        if (dict[i].type == ACCEL_TYPE_STRING)
            items[i].value.s = pack_string(dict[i].value.s, &at);
    }
    items[count] = accel_item_end();
    at = block + align16((size_t)(at - block));
    for (size_t i = 0; i < count; i++) {
        if (!has_children(&dict[i]))
            continue;
        items[i].value.dict = (const accel_item_t *)(const void *)at;
        at = pack(children(&dict[i]), at);
    }
    return at;
}

accel_item_t *accel__dict_pack(const accel_item_t *dict, void *block)
{
    pack(dict, block);
    return block;
}

#define NAME_MAX_COMPARED 64

/* Damerau's distance with adjacent transpositions, over at most 64 characters. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];
    size_t la = strlen(a), lb = strlen(b);

    if (la > NAME_MAX_COMPARED || lb > NAME_MAX_COMPARED)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);

            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *accel__nearest(const char *name, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t limit = strlen(name) / 3 + 1;

    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, names[i]);

        if (distance <= limit) {
            nearest = names[i];
            limit = distance ? distance - 1 : 0;
            if (distance == 0)
                break;
        }
    }
    return nearest;
}
