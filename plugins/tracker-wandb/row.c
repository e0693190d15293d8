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

static size_t size_of(const accel__wandb_leaf_t *leaf)
{
    size_t size = strlen(leaf->json);
    for (size_t i = 0; i < leaf->depth; i++)
        size += sizeof(*leaf->path) + strlen(leaf->path[i]);
    return size;
}

static void drop_collisions(accel__wandb_row_t *row, const accel__wandb_leaf_t *leaf)
{
    size_t kept = 0;
    for (size_t i = 0; i < row->count; i++) {
        if (collide(&row->leaves[i], leaf)) {
            size_t size = size_of(&row->leaves[i]);
            row->live -= size;
            row->dead += size;
            continue;
        }
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

static bool copy_path(accel__wandb_arena_t *arena, accel__wandb_leaf_t *leaf,
                      const char *const *path, size_t depth)
{
    leaf->path = accel__wandb_arena_take(arena, depth * sizeof(*leaf->path));
    for (size_t i = 0; leaf->path && i < depth; i++)
        leaf->path[i] = accel__wandb_arena_copy(arena, path[i], strlen(path[i]));
    leaf->depth = depth;
    leaf->hash = hash_text(path[0]);
    return !arena->failed;
}

/* Programs log to one step for hours: what was replaced is let go when it is more than what is
 * left. Without memory for the copy nothing changes. */
static void compact(accel__wandb_row_t *row)
{
    enum { DEAD_MIN = 1 << 18 };
    accel__wandb_arena_t arena = {0};
    accel__wandb_leaf_t *copies = NULL;
    if (row->dead < DEAD_MIN || row->dead < row->live)
        return;
    copies = calloc(row->capacity, sizeof(*copies));
    bool good = copies != NULL;
    for (size_t i = 0; i < row->count && good; i++) {
        const accel__wandb_leaf_t *leaf = &row->leaves[i];
        copies[i] = *leaf;
        copies[i].json = accel__wandb_arena_copy(&arena, leaf->json, strlen(leaf->json));
        good = copy_path(&arena, &copies[i], (const char *const *)leaf->path, leaf->depth);
    }
    accel__wandb_arena_free(good ? &row->arena : &arena);
    if (good) {
        free(row->leaves);
        row->leaves = copies;
        row->arena = arena;
        row->dead = 0;
    } else {
        free(copies);
    }
}

static accel_status_t add_leaf(accel__wandb_row_t *row, const accel_item_t *item, const char **path,
                               size_t depth, accel__wandb_json_t style)
{
    accel__wandb_text_t text = {0};
    accel__wandb_leaf_t leaf = {.type = item->type, .number = number_of(item)};
    accel__wandb_json_value(&text, item, style);
    if (!text.failed)
        leaf.json = accel__wandb_arena_copy(&row->arena, text.data, text.length);
    accel__wandb_text_free(&text);
    if (!leaf.json || !copy_path(&row->arena, &leaf, path, depth))
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
    row->live += size_of(&leaf);
    compact(row);
    return ACCEL_OK;
}

/* What is merged, and how its numbers are spelt; the keys that lead to what is next. */
typedef struct {
    accel__wandb_row_t *row;
    accel__wandb_json_t style;
    const char *path[MAX_DEPTH];
} merge_t;

static accel_status_t merge(merge_t *into, const accel_item_t *values, size_t depth)
{
    accel_status_t status = ACCEL_OK;
    if (depth == MAX_DEPTH)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: '%s' nests deeper than %d",
                                 into->path[0], MAX_DEPTH);
    for (const accel_item_t *at = values; at && at->type != ACCEL_TYPE_END && !status; at++) {
        if (!at->key)
            return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: a logged key is NULL");
        if (depth == 0 && !*at->key) /* stock drops it as well */
            continue;
        into->path[depth] = at->key;
        if (at->type == ACCEL_TYPE_DICT)
            status = merge(into, at->value.dict, depth + 1);
        else
            status = add_leaf(into->row, at, into->path, depth + 1, into->style);
    }
    return status;
}

accel_status_t accel__wandb_row_merge(accel__wandb_row_t *row, const accel_item_t *values,
                                      accel__wandb_json_t style)
{
    merge_t into = {.row = row, .style = style};
    return merge(&into, values, 0);
}

/* A joined path's keys, which `copy` holds and whose separators become ends. */
static size_t split_path(char *copy, const char *keys[MAX_DEPTH])
{
    size_t depth = 0;
    for (char *key; depth < MAX_DEPTH && (key = strsep(&copy, "\x1f"));)
        keys[depth++] = key;
    return depth;
}

const accel__wandb_leaf_t *accel__wandb_row_find(const accel__wandb_row_t *row, const char *path)
{
    const char *keys[MAX_DEPTH];
    char *copy = strdup(path);
    const accel__wandb_leaf_t *found = NULL;
    accel__wandb_leaf_t wanted = {.path = (char **)(void *)keys};
    wanted.depth = copy ? split_path(copy, keys) : 0;
    wanted.hash = wanted.depth ? hash_text(keys[0]) : 0;
    for (size_t i = 0; i < row->count && wanted.depth && !found; i++) {
        if (collide(&row->leaves[i], &wanted))
            found = &row->leaves[i];
    }
    free(copy);
    return found;
}

accel_status_t accel__wandb_row_add(accel__wandb_row_t *row, const char *path, double value)
{
    const char *keys[MAX_DEPTH];
    char *copy = strdup(path);
    accel_item_t item = accel_item_float("", value);
    accel_status_t status =
        copy ? add_leaf(row, &item, keys, split_path(copy, keys), ACCEL__WANDB_JSON_CORE)
             : accel__wandb_fail_memory();
    free(copy);
    return status;
}

void accel__wandb_row_clear(accel__wandb_row_t *row)
{
    accel__wandb_arena_free(&row->arena);
    row->count = row->live = row->dead = 0;
}
