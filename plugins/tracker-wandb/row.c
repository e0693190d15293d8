/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { MAX_DEPTH = 64 };

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

/* Is one path the beginning of the other? Then their values cannot both be there. */
static bool collide(const accel__wandb_leaf_t *a, const accel__wandb_leaf_t *b)
{
    if (a->hash != b->hash)
        return false;
    size_t depth = a->depth < b->depth ? a->depth : b->depth;
    for (size_t i = 0; i < depth; i++) {
        if (strcmp(a->path[i], b->path[i]) != 0)
            return false;
    }
    return true;
}

static void drop_collisions(accel__wandb_row_t *row, const accel__wandb_leaf_t *leaf)
{
    size_t kept = 0;
    for (size_t i = 0; i < row->count; i++) {
        if (collide(&row->leaves[i], leaf))
            continue;
        if (kept != i)
            row->leaves[kept] = row->leaves[i];
        kept++;
    }
    row->count = kept;
}

static double number_of(const accel_item_t *item)
{
    switch (item->type) {
    case ACCEL_TYPE_INT:
        return (double)item->value.i;
    case ACCEL_TYPE_UINT:
        return (double)item->value.u;
    case ACCEL_TYPE_FLOAT:
        return item->value.f;
    default:
        return 0;
    }
}

static bool copy_path(accel__wandb_row_t *row, accel__wandb_leaf_t *leaf, const char **path,
                      size_t depth)
{
    leaf->path = accel__wandb_arena_take(&row->arena, depth * sizeof(*leaf->path));
    for (size_t i = 0; leaf->path && i < depth; i++)
        leaf->path[i] = accel__wandb_arena_copy(&row->arena, path[i], strlen(path[i]));
    leaf->depth = depth;
    leaf->hash = hash_text(path[0]);
    return !row->arena.failed;
}

static accel_status_t add_leaf(accel__wandb_row_t *row, const accel_item_t *item, const char **path,
                               size_t depth)
{
    accel__wandb_text_t text = {0};
    accel__wandb_leaf_t leaf = {.type = item->type, .number = number_of(item)};
    accel__wandb_json_value(&text, item, ACCEL__WANDB_JSON_CORE);
    if (!text.failed)
        leaf.json = accel__wandb_arena_copy(&row->arena, text.data, text.length);
    accel__wandb_text_free(&text);
    if (!leaf.json || !copy_path(row, &leaf, path, depth))
        return accel__wandb_fail_memory();
    drop_collisions(row, &leaf);
    if (row->count == row->capacity) {
        size_t capacity = row->capacity * 2 + 16;
        accel__wandb_leaf_t *grown = realloc(row->leaves, capacity * sizeof(*grown));
        if (!grown)
            return accel__wandb_fail_memory();
        row->leaves = grown;
        row->capacity = capacity;
    }
    row->leaves[row->count++] = leaf;
    return ACCEL_OK;
}

static accel_status_t merge(accel__wandb_row_t *row, const accel_item_t *values, const char **path,
                            size_t depth)
{
    accel_status_t status = ACCEL_OK;
    if (depth == MAX_DEPTH)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: '%s' nests deeper than %d", path[0],
                                 MAX_DEPTH);
    for (const accel_item_t *at = values; at && at->type != ACCEL_TYPE_END && !status; at++) {
        if (!at->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: a logged key is NULL");
        if (!*at->key) /* stock drops it as well */
            continue;
        path[depth] = at->key;
        if (at->type == ACCEL_TYPE_DICT)
            status = merge(row, at->value.dict, path, depth + 1);
        else
            status = add_leaf(row, at, path, depth + 1);
    }
    return status;
}

accel_status_t accel__wandb_row_merge(accel__wandb_row_t *row, const accel_item_t *values)
{
    const char *path[MAX_DEPTH];
    return merge(row, values, path, 0);
}

void accel__wandb_row_clear(accel__wandb_row_t *row)
{
    accel__wandb_arena_free(&row->arena);
    row->count = 0;
}
