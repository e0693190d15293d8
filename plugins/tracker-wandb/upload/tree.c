/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_DEPTH = 100 };

/* ---- nodes ---- */

static void clear(accel__wandb_tree_t *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        clear(&tree->children[i]);
        free(tree->children[i].key);
    }
    free(tree->children);
    free(tree->text);
    tree->children = NULL;
    tree->text = NULL;
    tree->count = tree->capacity = tree->hint = 0;
}

void accel__wandb_tree_free(accel__wandb_tree_t *tree)
{
    clear(tree);
    tree->kind = ACCEL__WANDB_OBJECT;
}

static accel__wandb_tree_t *add_child(accel__wandb_tree_t *parent, char *key)
{
    if (parent->count == parent->capacity) {
        size_t capacity = parent->capacity * 2 + 4;
        accel__wandb_tree_t *grown = realloc(parent->children, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        parent->children = grown;
        parent->capacity = capacity;
    }
    accel__wandb_tree_t *child = &parent->children[parent->count++];
    *child = (accel__wandb_tree_t){.key = key, .kind = ACCEL__WANDB_OBJECT};
    return child;
}

accel__wandb_tree_t *accel__wandb_tree_find(accel__wandb_tree_t *object, const char *key)
{
    if (object->kind != ACCEL__WANDB_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->count; i++) {
        size_t at = object->hint + i;
        at = at < object->count ? at : at - object->count;
        if (!strcmp(object->children[at].key, key)) {
            object->hint = at + 1 < object->count ? at + 1 : 0;
            return &object->children[at];
        }
    }
    return NULL;
}

accel__wandb_tree_t *accel__wandb_tree_member(accel__wandb_tree_t *object, const char *key)
{
    if (object->kind != ACCEL__WANDB_OBJECT)
        accel__wandb_tree_free(object);
    accel__wandb_tree_t *child = accel__wandb_tree_find(object, key);
    char *copy = child ? NULL : strdup(key);
    if (!child && copy) {
        child = add_child(object, copy);
        if (!child)
            free(copy);
    }
    return child;
}

/* Takes what `value` holds, and leaves it to be cleared. */
static void replace(accel__wandb_tree_t *tree, accel__wandb_tree_t *value)
{
    char *key = tree->key;
    clear(tree);
    *tree = *value;
    tree->key = key;
    *value = (accel__wandb_tree_t){.key = value->key};
}

static bool merge(accel__wandb_tree_t *tree, accel__wandb_tree_t *value)
{
    if (tree->kind != ACCEL__WANDB_OBJECT || value->kind != ACCEL__WANDB_OBJECT) {
        replace(tree, value);
        return true;
    }
    for (size_t i = 0; i < value->count; i++) {
        accel__wandb_tree_t *member = accel__wandb_tree_member(tree, value->children[i].key);
        if (!member || !merge(member, &value->children[i]))
            return false;
    }
    return true;
}

static bool put(accel__wandb_tree_t *tree, char *const *path, size_t depth, const char *json,
                bool merges)
{
    accel__wandb_tree_t value = {0};
    if (depth > MAX_DEPTH || !accel__wandb_tree_parse(&value, json, strlen(json)))
        return false;
    for (size_t i = 0; i < depth && tree; i++)
        tree = accel__wandb_tree_member(tree, path[i]);
    bool good = tree != NULL;
    if (good && merges)
        good = merge(tree, &value);
    else if (good)
        replace(tree, &value);
    accel__wandb_tree_free(&value);
    return good;
}

bool accel__wandb_tree_set(accel__wandb_tree_t *tree, char *const *path, size_t depth,
                           const char *json)
{
    return put(tree, path, depth, json, false);
}

bool accel__wandb_tree_merge(accel__wandb_tree_t *tree, char *const *path, size_t depth,
                             const char *json)
{
    return put(tree, path, depth, json, true);
}

void accel__wandb_tree_remove(accel__wandb_tree_t *tree, char *const *path, size_t depth)
{
    accel__wandb_tree_t *child = tree;
    for (size_t i = 0; i < depth && child; i++) {
        tree = child;
        child = accel__wandb_tree_find(tree, path[i]);
    }
    if (!child || !depth)
        return;
    clear(child);
    free(child->key);
    size_t at = (size_t)(child - tree->children);
    memmove(child, child + 1, (tree->count - at - 1) * sizeof(*child));
    tree->count--;
    tree->hint = 0;
}

/* ---- reading ---- */

typedef struct {
    const char *at, *end;
    int depth;
} input_t;

static void skip_space(input_t *in)
{
    while (in->at < in->end && *in->at && strchr(" \t\r\n", *in->at))
        in->at++;
}

static bool take(input_t *in, char wanted)
{
    skip_space(in);
    if (in->at == in->end || *in->at != wanted)
        return false;
    in->at++;
    return true;
}

/* Past a string, whose quote is at in->at. */
static bool skip_string(input_t *in)
{
    for (in->at++; in->at < in->end; in->at++) {
        if (*in->at == '"') {
            in->at++;
            return true;
        }
        if ((unsigned char)*in->at < 0x20)
            return false;
        if (*in->at == '\\')
            in->at++;
    }
    return false;
}

/* A string's characters, to free(); NULL if it is no string, or has a NUL. */
static char *decode_string(const char *json, size_t length)
{
    json_t *value = json_loadb(json, length, JSON_DECODE_ANY, NULL);
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
    json_decref(value);
    return text;
}

static bool is_number(const char *text, size_t length)
{
    static const char digits[] = "0123456789";
    char copy[512], *at = copy;
    if (!length || length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    at += *at == '-';
    if (!strcmp(at, "Infinity"))
        return true;
    size_t whole = strspn(at, digits);
    if (!whole || (*at == '0' && whole > 1))
        return false;
    at += whole;
    if (*at == '.') {
        size_t fraction = strspn(++at, digits);
        if (!fraction)
            return false;
        at += fraction;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '-' || *at == '+';
        size_t exponent = strspn(at, digits);
        if (!exponent)
            return false;
        at += exponent;
    }
    return !*at;
}

static bool read_scalar(input_t *in, accel__wandb_tree_t *tree)
{
    const char *start = in->at;
    if (*in->at == '"') {
        if (!skip_string(in))
            return false;
        char *decoded = decode_string(start, (size_t)(in->at - start));
        if (!decoded)
            return false;
        free(decoded);
    } else {
        while (in->at < in->end && *in->at && !strchr(" \t\r\n,]}:", *in->at))
            in->at++;
        size_t length = (size_t)(in->at - start);
        static const char *const words[] = {"true", "false", "null", "NaN"};
        bool known = is_number(start, length);
        for (size_t i = 0; i < sizeof(words) / sizeof(*words) && !known; i++)
            known = length == strlen(words[i]) && !strncmp(start, words[i], length);
        if (!known)
            return false;
    }
    tree->kind = ACCEL__WANDB_SCALAR;
    tree->text = strndup(start, (size_t)(in->at - start));
    return tree->text != NULL;
}

static bool read_value(input_t *in, accel__wandb_tree_t *tree);

static bool read_key(input_t *in, char **key)
{
    skip_space(in);
    const char *start = in->at;
    if (in->at == in->end || *in->at != '"' || !skip_string(in))
        return false;
    *key = decode_string(start, (size_t)(in->at - start));
    return *key && take(in, ':');
}

static bool read_members(input_t *in, accel__wandb_tree_t *tree, char end)
{
    in->at++;
    if (take(in, end))
        return true;
    do {
        accel__wandb_tree_t *child;
        if (end == '}') {
            char *key = NULL;
            bool good = read_key(in, &key);
            child = good ? accel__wandb_tree_member(tree, key) : NULL;
            free(key);
            if (child)
                clear(child); /* of two members with one name the later is meant */
        } else {
            child = add_child(tree, NULL);
        }
        if (!child || !read_value(in, child))
            return false;
    } while (take(in, ','));
    return take(in, end);
}

static bool read_value(input_t *in, accel__wandb_tree_t *tree)
{
    skip_space(in);
    if (in->at == in->end || in->depth == MAX_DEPTH)
        return false;
    if (*in->at != '{' && *in->at != '[')
        return read_scalar(in, tree);
    bool object = *in->at == '{';
    tree->kind = ACCEL__WANDB_OBJECT;
    in->depth++;
    bool good = read_members(in, tree, object ? '}' : ']');
    in->depth--;
    if (!object)
        tree->kind = ACCEL__WANDB_ARRAY;
    return good;
}

bool accel__wandb_tree_parse(accel__wandb_tree_t *tree, const char *json, size_t length)
{
    input_t in = {.at = json, .end = json + length};
    *tree = (accel__wandb_tree_t){.kind = ACCEL__WANDB_OBJECT};
    bool good = read_value(&in, tree);
    skip_space(&in);
    if (good && in.at == in.end)
        return true;
    accel__wandb_tree_free(tree);
    return false;
}

/* ---- writing ---- */

static bool is_bare(const char *text)
{
    return strchr("NI", text[0]) || !strcmp(text, "-Infinity");
}

void accel__wandb_tree_print(const accel__wandb_tree_t *tree, accel__wandb_text_t *text, bool bare)
{
    if (tree->kind == ACCEL__WANDB_SCALAR) {
        accel__wandb_text_puts(text, !bare && is_bare(tree->text) ? "null" : tree->text);
        return;
    }
    bool object = tree->kind == ACCEL__WANDB_OBJECT;
    accel__wandb_text_puts(text, object ? "{" : "[");
    for (size_t i = 0; i < tree->count; i++) {
        accel__wandb_text_puts(text, i ? "," : "");
        if (object) {
            accel__wandb_json_string(text, tree->children[i].key);
            accel__wandb_text_puts(text, ":");
        }
        accel__wandb_tree_print(&tree->children[i], text, bare);
    }
    accel__wandb_text_puts(text, object ? "}" : "]");
}

static int by_key(const void *a, const void *b)
{
    const accel__wandb_tree_t *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

/* Plain where no reader could take it for something else than text: a letter first, no sign that
 * YAML has a use for, and none of its words, of any version. All else is a JSON string, which is
 * one of YAML's too. */
static void yaml_text(accel__wandb_text_t *text, const char *value)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/"
                                 "0123456789.-+()= ";
    static const char *const words[] = {"y",   "n",    "yes",   "no",  "on",
                                        "off", "true", "false", "null"};
    size_t length = strlen(value);
    bool plain = length && strchr(first, value[0]) && value[length - 1] != ' ' &&
                 strspn(value, others) == length;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words) && plain; i++)
        plain = strcasecmp(value, words[i]) != 0;
    if (plain)
        accel__wandb_text_puts(text, value);
    else
        accel__wandb_json_string(text, value);
}

static void yaml_scalar(accel__wandb_text_t *text, const char *scalar)
{
    if (!strcmp(scalar, "NaN"))
        scalar = ".nan";
    else if (!strcmp(scalar, "Infinity"))
        scalar = ".inf";
    else if (!strcmp(scalar, "-Infinity"))
        scalar = "-.inf";
    const char *exponent = *scalar == '"' ? NULL : strpbrk(scalar, "eE");
    accel__wandb_text_puts(text, " ");
    char *string = *scalar == '"' ? decode_string(scalar, strlen(scalar)) : NULL;
    /* YAML 1.1 takes 1e+06 for text; 1.0e+06 is a number in every version */
    if (string)
        yaml_text(text, string);
    else if (exponent && strspn(scalar, "-0123456789") == (size_t)(exponent - scalar))
        accel__wandb_text_printf(text, "%.*s.0%s", (int)(exponent - scalar), scalar, exponent);
    else
        accel__wandb_text_puts(text, scalar);
    accel__wandb_text_puts(text, "\n");
    free(string);
}

static void yaml_node(const accel__wandb_tree_t *tree, accel__wandb_text_t *text, int indent)
{
    if (tree->kind == ACCEL__WANDB_SCALAR) {
        yaml_scalar(text, tree->text);
        return;
    }
    bool object = tree->kind == ACCEL__WANDB_OBJECT;
    const accel__wandb_tree_t **order = calloc(tree->count + 1, sizeof(*order));
    if (!order) {
        text->failed = true;
        return;
    }
    for (size_t i = 0; i < tree->count; i++)
        order[i] = &tree->children[i];
    if (object)
        qsort(order, tree->count, sizeof(*order), by_key);
    accel__wandb_text_puts(text, tree->count ? "\n" : object ? " {}\n" : " []\n");
    for (size_t i = 0; i < tree->count; i++) {
        accel__wandb_text_printf(text, "%*s", indent, "");
        if (object)
            yaml_text(text, order[i]->key);
        accel__wandb_text_puts(text, object ? ":" : "-");
        yaml_node(order[i], text, indent + 4);
    }
    free(order);
}

void accel__wandb_tree_yaml(const accel__wandb_tree_t *tree, accel__wandb_text_t *text)
{
    accel__wandb_text_t whole = {0};
    yaml_node(tree, &whole, 0);
    if (whole.failed)
        text->failed = true;
    else /* a mapping at the top begins with a line break, an empty one with a blank */
        accel__wandb_text_append(text, whole.data + 1, whole.length - 1);
    accel__wandb_text_free(&whole);
}
