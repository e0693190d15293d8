/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as a tree whose scalars keep their text: numbers stay as they were written, integers of any
 * size and bare NaN and Infinity included, which W&B's logs have and no JSON library takes.
 * Configurations and summaries are put together here from paths and values. */
#ifndef ACCEL_TRACKER_WANDB_TREE_H
#define ACCEL_TRACKER_WANDB_TREE_H

#include "../text.h"

typedef enum { ACCEL__WANDB_SCALAR, ACCEL__WANDB_OBJECT, ACCEL__WANDB_ARRAY } accel__wandb_node_t;

/* Start from {.kind = ACCEL__WANDB_OBJECT}. */
typedef struct accel__wandb_tree {
    char *key;  /* in an object; NULL elsewhere */
    char *text; /* of a scalar, as JSON */
    accel__wandb_node_t kind;
    struct accel__wandb_tree *children;
    size_t count, capacity;
    size_t hint; /* where the last child was found: they are mostly asked for in order */
} accel__wandb_tree_t;

void accel__wandb_tree_free(accel__wandb_tree_t *tree); /* and makes it an empty object */

/* The member of an object, or NULL. */
accel__wandb_tree_t *accel__wandb_tree_find(accel__wandb_tree_t *object, const char *key);
/* The same, made where there is none, and turned into an object if `object` is none. NULL without
 * memory. */
accel__wandb_tree_t *accel__wandb_tree_member(accel__wandb_tree_t *object, const char *key);

/* Put a JSON value at the end of a path of keys, in the place of what is there. False: the text is
 * no JSON, the path has more than 100 keys, or there is no memory. */
bool accel__wandb_tree_set(accel__wandb_tree_t *tree, char *const *path, size_t depth,
                           const char *json);
/* The same, but an object joins the one that is there, member by member. */
bool accel__wandb_tree_merge(accel__wandb_tree_t *tree, char *const *path, size_t depth,
                             const char *json);
void accel__wandb_tree_remove(accel__wandb_tree_t *tree, char *const *path, size_t depth);

/* A whole JSON text as a tree. Nests at most 100 deep. */
bool accel__wandb_tree_parse(accel__wandb_tree_t *tree, const char *json, size_t length);

/* As compact JSON; with `bare` false NaN and infinities, which JSON has not, become null. */
void accel__wandb_tree_print(const accel__wandb_tree_t *tree, accel__wandb_text_t *text, bool bare);

/* As YAML in block style, mappings sorted by key. */
void accel__wandb_tree_yaml(const accel__wandb_tree_t *tree, accel__wandb_text_t *text);

#endif
