/* SPDX-License-Identifier: Apache-2.0 */
#include "track/jsonl/table.h"
#include "track/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct accel__json_cell {
    char *key;
    accel__text_t value;
} cell_t;

/* Rows of a loop have the same keys in the same order: look first behind the last hit. */
static cell_t *find(accel__json_table_t *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t at = (table->next + i) % table->count;

        if (strcmp(table->cells[at].key, key) == 0) {
            table->next = at + 1;
            return &table->cells[at];
        }
    }
    return NULL;
}

static cell_t *add(accel__json_table_t *table, const char *key)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 16;
        cell_t *cells = realloc(table->cells, capacity * sizeof(*cells));

        if (!cells)
            return NULL;
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count] = (cell_t){.key = accel__strdup(key)};
    return table->cells[table->count].key ? &table->cells[table->count++] : NULL;
}

void accel__json_table_set(accel__json_table_t *table, const char *key, const char *value,
                           size_t length)
{
    cell_t *cell = find(table, key);

    if (!cell)
        cell = add(table, key);
    if (!cell) {
        table->failed = true;
        return;
    }
    cell->value.length = 0;
    accel__text_append(&cell->value, value, length);
    table->failed = table->failed || cell->value.failed;
}

void accel__json_table_set_dict(accel__json_table_t *table, const accel_item_t *dict)
{
    accel__text_t value = {0};

    for (; dict && dict->type != ACCEL_TYPE_END; dict++) {
        value.length = 0;
        accel__json_value(&value, dict);
        if (!value.failed)
            accel__json_table_set(table, dict->key, value.data, value.length);
    }
    table->failed = table->failed || value.failed;
    accel__text_free(&value);
}

void accel__json_table_text(const accel__json_table_t *table, accel__text_t *text)
{
    accel__text_append(text, "{", 1);
    for (size_t i = 0; i < table->count; i++) {
        const cell_t *cell = &table->cells[i];

        if (i > 0)
            accel__text_append(text, ",", 1);
        accel__json_string(text, cell->key);
        accel__text_append(text, ":", 1);
        accel__text_append(text, cell->value.data, cell->value.length);
    }
    accel__text_append(text, "}\n", 2);
    text->failed = text->failed || table->failed;
}

void accel__json_table_free(accel__json_table_t *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i].key);
        accel__text_free(&table->cells[i].value);
    }
    free(table->cells);
    *table = (accel__json_table_t){0};
}
