/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes, memory that is let go at once, and values as JSON text. */
#ifndef ACCEL_TRACKER_WANDB_TEXT_H
#define ACCEL_TRACKER_WANDB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <accel/dict.h>
#include <accel/export.h>
#include <accel/types.h>

/* Start from {0}. NUL-terminated once something was appended. After a failed allocation
 * `failed` is set and appending does nothing: check once, at the end. */
typedef struct {
    char *data;
    size_t length, capacity;
    bool failed;
} accel__wandb_text_t;

void accel__wandb_text_append(accel__wandb_text_t *text, const void *data, size_t size);
void accel__wandb_text_puts(accel__wandb_text_t *text, const char *string);
void accel__wandb_text_printf(accel__wandb_text_t *text, const char *format, ...)
    ACCEL_PRINTF(2, 3);
void accel__wandb_text_free(accel__wandb_text_t *text);

/* Memory for the parts of one record: never freed alone. Start from {0}. */
typedef struct accel__wandb_chunk accel__wandb_chunk_t;
typedef struct {
    accel__wandb_chunk_t *chunks;
    bool failed;
} accel__wandb_arena_t;

/* Zeroed and aligned for anything; NULL, and `failed` from then on, without memory. */
void *accel__wandb_arena_take(accel__wandb_arena_t *arena, size_t size);
char *accel__wandb_arena_copy(accel__wandb_arena_t *arena, const char *data, size_t length);
void accel__wandb_arena_free(accel__wandb_arena_t *arena);

/* How the stock client spells numbers. Its front end, which sends the configuration and summaries
 * set by hand: 1.0, 0.00001, 1e-6, and null for NaN; in files of tables NaN. Its core, which writes
 * logged rows: 1, 1e-05, 1.5e+06, NaN. And Python's own way, for what is shown: 1.0, 1e-05. */
typedef enum {
    ACCEL__WANDB_JSON_FRONT,
    ACCEL__WANDB_JSON_FILE,
    ACCEL__WANDB_JSON_CORE,
    ACCEL__WANDB_JSON_SHOWN
} accel__wandb_json_t;

/* The shortest text that reads back as the same number. */
void accel__wandb_json_number(accel__wandb_text_t *text, double value, accel__wandb_json_t style);
void accel__wandb_json_string(accel__wandb_text_t *text, const char *string);
void accel__wandb_json_value(accel__wandb_text_t *text, const accel_item_t *item,
                             accel__wandb_json_t style);

#endif
