/* SPDX-License-Identifier: Apache-2.0 */
/* Expected results that upstream's own code gave: tests/vectors/NAME.json, an array of rows. */
#ifndef ACCEL_TESTS_VECTORS_H
#define ACCEL_TESTS_VECTORS_H

#include <jansson.h>

#include "test.h"

/* The whole file; json_decref() it. */
static inline json_t *vectors_load(const char *name)
{
    const char *source = getenv("ACCEL_SOURCE_DIR");
    json_error_t error;
    json_t *root;
    char path[512];

    snprintf(path, sizeof(path), "%s/tests/vectors/%s.json", source ? source : ".", name);
    root = json_load_file(path, 0, &error);
    if (!root)
        test_fail(__FILE__, __LINE__, "%s: line %d: %s", path, error.line, error.text);
    CHECK(json_array_size(json_object_get(root, "vectors")) > 0);
    return root;
}

static inline int64_t vectors_int(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);

    if (!json_is_integer(value))
        test_fail(__FILE__, __LINE__, "no number '%s' in a row", key);
    return json_integer_value(value);
}

/* null counts as false: a flag that has no meaning in the row. */
static inline bool vectors_bool(const json_t *row, const char *key)
{
    return json_is_true(json_object_get(row, key));
}

static inline int64_t vectors_at(const json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);

    if (!json_is_integer(value))
        test_fail(__FILE__, __LINE__, "no number at %zu in a row", index);
    return json_integer_value(value);
}

/* In a failing row: print it, then fail. */
#define VECTORS_CHECK(row, condition)                                       \
    do {                                                                    \
        if (!(condition))                                                   \
            test_fail(__FILE__, __LINE__, "%s: %s", #condition,             \
                      json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER)); \
    } while (0)

#endif
