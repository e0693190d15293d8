/* SPDX-License-Identifier: Apache-2.0 */
/* The last value of each key, as JSON text, in the order of first appearance: a run's summary
 * and its configuration. */
#ifndef ACCEL_TRACK_JSONL_TABLE_H
#define ACCEL_TRACK_JSONL_TABLE_H

#include "base/base.h"

typedef struct accel__json_table {
    struct accel__json_cell *cells;
    size_t count, capacity;
    size_t next; /* where the last key was found, and one */
    bool failed; /* memory ran out: something is missing */
} accel__json_table_t;

/* Memory that runs out marks the table, and then the text made of it. */
void accel__json_table_set(accel__json_table_t *table, const char *key, const char *value,
                           size_t length);
void accel__json_table_set_dict(accel__json_table_t *table, const accel_item_t *dict);

/* The table as a JSON object. */
void accel__json_table_text(const accel__json_table_t *table, accel__text_t *text);
void accel__json_table_free(accel__json_table_t *table);

#endif
