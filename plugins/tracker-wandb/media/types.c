/* SPDX-License-Identifier: Apache-2.0 */
/* Types of a table's columns, by stock's rules: a column starts as "unknown, or none"; the first
 * value that is something makes it that; later ones must fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media.h"

typedef enum {
    UNKNOWN,
    INVALID, /* within a list of mixed values */
    ANY,
    NONE,
    BOOLEAN,
    NUMBER,
    STRING,
    IMAGE,
    AUDIO,
    HTML,
    LIST,
    DICT
} kind_t;

/* Two types in one are only ever a type and none: that is what `optional` says. */
typedef struct type {
    kind_t kind;
    bool optional;
    int64_t length;          /* of a LIST: that of the last one */
    struct type **parts;     /* a LIST's elements: one; a DICT's values */
    const char *const *keys; /* a DICT's */
    size_t count;
} type_t;

static type_t *new_type(accel__wandb_arena_t *arena, kind_t kind, size_t parts)
{
    type_t *type = accel__wandb_arena_take(arena, sizeof(*type));
    if (!type)
        return NULL;
    type->kind = kind;
    type->count = parts;
    type->parts = accel__wandb_arena_take(arena, parts * sizeof(*type->parts));
    return type->parts ? type : NULL;
}

/* NaN is none, as where a column of pandas has a gap. */
static bool is_none(const accel_item_t *item)
{
    return item->type == ACCEL_TYPE_NULL ||
           (item->type == ACCEL_TYPE_FLOAT && isnan(item->value.f));
}

static kind_t kind_of(const accel_item_t *item)
{
    if (is_none(item))
        return NONE;
    switch (item->type) {
    case ACCEL_TYPE_BOOL:
        return BOOLEAN;
    case ACCEL_TYPE_STRING:
        return STRING;
    case ACCEL_TYPE_LIST:
        return LIST;
    case ACCEL_TYPE_DICT:
        return DICT;
    case ACCEL_TYPE_MEDIA:
        switch (accel__wandb_host()->media_view(item->value.media)->kind) {
        case ACCEL_MEDIA_IMAGE:
            return IMAGE;
        case ACCEL_MEDIA_AUDIO:
            return AUDIO;
        default:
            return HTML;
        }
    default:
        return NUMBER;
    }
}

static size_t count_items(const accel_item_t *items)
{
    size_t count = 0;
    while (items && items[count].type != ACCEL_TYPE_END)
        count++;
    return count;
}

/* The type that takes in the value as well; NULL: none does. */
static type_t *assign(accel__wandb_arena_t *arena, type_t *type, const accel_item_t *item);

static type_t *type_of_list(accel__wandb_arena_t *arena, const accel_item_t *items)
{
    type_t *list = new_type(arena, LIST, 1), *element = new_type(arena, UNKNOWN, 0);
    if (!list || !element)
        return NULL;
    for (const accel_item_t *at = items; at && at->type != ACCEL_TYPE_END; at++)
        element->optional = element->optional || at->type == ACCEL_TYPE_NULL;
    for (const accel_item_t *at = items; at && at->type != ACCEL_TYPE_END && element; at++) {
        if (element->kind == INVALID)
            break;
        element = assign(arena, element, at);
        if (!element)
            element = new_type(arena, INVALID, 0);
    }
    list->parts[0] = element;
    list->length = (int64_t)count_items(items);
    return element ? list : NULL;
}

static type_t *type_of(accel__wandb_arena_t *arena, const accel_item_t *item)
{
    kind_t kind = kind_of(item);
    if (kind == LIST)
        return type_of_list(arena, item->value.list);
    if (kind != DICT)
        return new_type(arena, kind, 0);
    size_t count = count_items(item->value.dict);
    type_t *dict = new_type(arena, DICT, count);
    const char **keys = accel__wandb_arena_take(arena, count * sizeof(*keys));
    if (!dict || !keys)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        keys[i] = item->value.dict[i].key;
        dict->parts[i] = type_of(arena, &item->value.dict[i]);
        if (!dict->parts[i])
            return NULL;
    }
    dict->keys = keys;
    return dict;
}

static type_t *assign_list(accel__wandb_arena_t *arena, type_t *list, const accel_item_t *items)
{
    type_t *element = list->parts[0];
    for (const accel_item_t *at = items; at && at->type != ACCEL_TYPE_END && element; at++)
        element = assign(arena, element, at);
    if (!element)
        return NULL;
    list->parts[0] = element;
    list->length = (int64_t)count_items(items);
    return list;
}

/* No key may be new; one that is missing is as good as none there. */
static type_t *assign_dict(accel__wandb_arena_t *arena, type_t *dict, const accel_item_t *items)
{
    const accel_item_t missing = accel_item_null("", NULL);
    size_t found = 0;
    for (size_t i = 0; i < dict->count; i++) {
        const accel_item_t *value = &missing;
        for (const accel_item_t *at = items; at && at->type != ACCEL_TYPE_END; at++) {
            if (!strcmp(at->key, dict->keys[i])) {
                value = at;
                found++;
            }
        }
        dict->parts[i] = assign(arena, dict->parts[i], value);
        if (!dict->parts[i])
            return NULL;
    }
    return found == count_items(items) ? dict : NULL;
}

static type_t *assign(accel__wandb_arena_t *arena, type_t *type, const accel_item_t *item)
{
    kind_t kind = kind_of(item);
    if (kind == NONE)
        return type->optional || type->kind == NONE ? type : NULL;
    if (type->kind == ANY)
        return type;
    if (type->kind == UNKNOWN) {
        type_t *made = type_of(arena, item);
        if (made)
            made->optional = type->optional;
        return made;
    }
    if (kind != type->kind)
        return NULL;
    if (kind == LIST)
        return assign_list(arena, type, item->value.list);
    return kind == DICT ? assign_dict(arena, type, item->value.dict) : type;
}

static type_t *type_of_column(accel__wandb_arena_t *arena, const accel_table_view_t *table,
                              int32_t column)
{
    type_t *type = new_type(arena, UNKNOWN, 0);
    if (type)
        type->optional = true;
    for (int64_t row = 0; row < table->num_rows && type; row++)
        type = assign(arena, type, &table->rows[row].value.list[column]);
    if (type || arena->failed)
        return type;
    type = new_type(arena, ANY, 0);
    if (type)
        type->optional = true;
    return type;
}

/* ---- as JSON ---- */

static const char image_params[] =
    "\"params\": {\"box_class_maps\": {\"params\": {\"is_set\": false, \"val\": {}}, \"wb_type\": "
    "\"const\"}, \"box_layers\": {\"params\": {\"is_set\": false, \"val\": {}}, \"wb_type\": "
    "\"const\"}, \"box_score_keys\": {\"params\": {\"is_set\": true, \"val\": []}, \"wb_type\": "
    "\"const\"}, \"class_map\": {\"params\": {\"is_set\": false, \"val\": {}}, \"wb_type\": "
    "\"const\"}, \"mask_class_maps\": {\"params\": {\"is_set\": false, \"val\": {}}, \"wb_type\": "
    "\"const\"}, \"mask_layers\": {\"params\": {\"is_set\": false, \"val\": {}}, \"wb_type\": "
    "\"const\"}}, ";

static const char *const names[] = {
    [UNKNOWN] = "unknown",  [INVALID] = "invalid", [ANY] = "any",       [NONE] = "none",
    [BOOLEAN] = "boolean",  [NUMBER] = "number",   [STRING] = "string", [IMAGE] = "image-file",
    [AUDIO] = "audio-file", [HTML] = "html-file",  [LIST] = "list",     [DICT] = "typedDict",
};

/* The two of a union are sorted by what Python prints for them: "Boolean", "None", "Number", ...;
 * of a list that is what it prints for the elements, and "[]". */
static bool is_before_none(const type_t *type)
{
    switch (type->kind) {
    case INVALID:
    case ANY:
    case BOOLEAN:
    case IMAGE:
    case AUDIO:
    case HTML:
        return true;
    case LIST:
        return is_before_none(type->parts[0]);
    default:
        return false;
    }
}

static void put_type(accel__wandb_text_t *text, const type_t *type);

static void put_map(accel__wandb_text_t *text, const char *const *keys, type_t *const *types,
                    size_t count)
{
    size_t *order = accel__wandb_sorted(keys, count);
    if (!order)
        text->failed = true;
    accel__wandb_text_puts(text, "{\"params\": {\"type_map\": {");
    for (size_t i = 0; order && i < count; i++) {
        accel__wandb_text_puts(text, i ? ", " : "");
        accel__wandb_pyjson_string(text, keys[order[i]]);
        accel__wandb_text_puts(text, ": ");
        put_type(text, types[order[i]]);
    }
    accel__wandb_text_puts(text, "}}, \"wb_type\": \"typedDict\"}");
    free(order);
}

static void put_plain(accel__wandb_text_t *text, const type_t *type)
{
    if (type->kind == DICT) {
        put_map(text, type->keys, type->parts, type->count);
        return;
    }
    accel__wandb_text_puts(text, "{");
    if (type->kind == LIST) {
        accel__wandb_text_puts(text, "\"params\": {\"element_type\": ");
        put_type(text, type->parts[0]);
        accel__wandb_text_printf(text, ", \"length\": %lld}, ", (long long)type->length);
    } else if (type->kind == IMAGE) {
        accel__wandb_text_puts(text, image_params);
    }
    accel__wandb_text_printf(text, "\"wb_type\": \"%s\"}", names[type->kind]);
}

static void put_type(accel__wandb_text_t *text, const type_t *type)
{
    static const char none[] = "{\"wb_type\": \"none\"}";
    if (!type->optional) {
        put_plain(text, type);
        return;
    }
    accel__wandb_text_puts(text, "{\"params\": {\"allowed_types\": [");
    if (!is_before_none(type))
        accel__wandb_text_printf(text, "%s, ", none);
    put_plain(text, type);
    if (is_before_none(type))
        accel__wandb_text_printf(text, ", %s", none);
    accel__wandb_text_puts(text, "]}, \"wb_type\": \"union\"}");
}

accel_status_t accel__wandb_column_types(accel__wandb_text_t *text, const accel_table_view_t *table)
{
    accel__wandb_arena_t arena = {0};
    size_t count = (size_t)table->num_columns;
    type_t **types = accel__wandb_arena_take(&arena, count * sizeof(*types));
    for (size_t i = 0; i < count && types; i++)
        types[i] = type_of_column(&arena, table, (int32_t)i);
    if (arena.failed || !types)
        text->failed = true;
    else
        put_map(text, table->columns, types, count);
    accel__wandb_arena_free(&arena);
    return text->failed ? accel__wandb_fail_memory() : ACCEL_OK;
}
