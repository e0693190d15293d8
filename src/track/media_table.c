/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: each row is packed into a block of its own. */
#include "track/media.h"

#include <stdlib.h>
#include <string.h>

static accel_item_t *rows_of(accel_media_t *table)
{
    return table->content[1];
}

void accel__table_free(accel_media_t *table)
{
    accel_item_t *rows = rows_of(table);
    char **columns = table->content[0];

    for (int64_t i = 0; i < table->view.of.table.num_rows; i++) {
        accel__media_release(rows[i].value.list);
        free((void *)rows[i].value.list);
    }
    for (int32_t i = 0; columns && i < table->view.of.table.num_columns; i++)
        free(columns[i]);
}

static accel_status_t check_columns(const char *const *columns, int32_t num_columns)
{
    if (!columns || num_columns < 1)
        return accel__fail(ACCEL_ERR_INVALID, "table: expected the names of its columns");
    for (int32_t i = 0; i < num_columns; i++) {
        const accel_item_t name[] = {accel_item_string("the name of a column", columns[i]),
                                     accel_item_end()};
        accel_status_t status;

        if (!columns[i])
            return accel__fail(ACCEL_ERR_INVALID, "table: the name of column %d is NULL", (int)i);
        status = accel__dict_check(name, "table");
        if (status != ACCEL_OK)
            return status;
        for (int32_t other = 0; other < i; other++)
            if (strcmp(columns[i], columns[other]) == 0)
                return accel__fail(ACCEL_ERR_INVALID, "table: two columns have the name '%s'",
                                   columns[i]);
    }
    return ACCEL_OK;
}

static accel_status_t copy_columns(accel_media_t *table, const char *const *columns,
                                   int32_t num_columns)
{
    char **copies = calloc((size_t)num_columns, sizeof(*copies));

    if (!copies)
        return accel__fail_memory("a table's columns", (size_t)num_columns * sizeof(*copies));
    table->content[0] = copies;
    table->view.of.table.columns = (const char *const *)copies;
    table->view.of.table.num_columns = num_columns;
    for (int32_t i = 0; i < num_columns; i++) {
        copies[i] = accel__strdup(columns[i]);
        if (!copies[i])
            return accel__fail_memory("a column's name", strlen(columns[i]));
        table->size += strlen(columns[i]) + 1;
    }
    return ACCEL_OK;
}

/* Room for one row more and for the end. */
static accel_status_t reserve(accel_media_t *table)
{
    size_t needed = (size_t)table->view.of.table.num_rows + 2, capacity = 2 * needed + 14;
    accel_item_t *rows;

    if (needed <= table->capacity)
        return ACCEL_OK;
    rows = realloc(table->content[1], capacity * sizeof(*rows));
    if (!rows)
        return accel__fail_memory("rows of a table", capacity * sizeof(*rows));
    table->content[1] = rows;
    table->capacity = capacity;
    table->view.of.table.rows = rows;
    return ACCEL_OK;
}

accel_status_t accel_table_create(const char *const *columns, int32_t num_columns,
                                  accel_media_t **table)
{
    accel_media_t *made = NULL;
    accel_status_t status;

    if (!table)
        return accel__fail(ACCEL_ERR_INVALID, "accel_table_create: table is NULL");
    *table = NULL;
    status = check_columns(columns, num_columns);
    if (status == ACCEL_OK)
        status = accel__media_create(ACCEL_MEDIA_TABLE, NULL, &made);
    if (status == ACCEL_OK)
        status = copy_columns(made, columns, num_columns);
    if (status == ACCEL_OK)
        status = reserve(made);
    if (status != ACCEL_OK) {
        accel_media_destroy(made);
        return status;
    }
    rows_of(made)[0] = accel_item_end();
    *table = made;
    return ACCEL_OK;
}

/* ---- rows ---- */

static accel_status_t check_cell(const accel_table_view_t *table, int32_t column,
                                 const accel_item_t *cell)
{
    const accel_media_view_t *media;

    if (cell->type == ACCEL_TYPE_LIST || cell->type == ACCEL_TYPE_DICT)
        return accel__dict_check(cell->value.list, table->columns[column]); /* no media within */
    if (cell->type != ACCEL_TYPE_MEDIA)
        return ACCEL_OK;
    media = accel_media_view(cell->value.media);
    if (media->kind == ACCEL_MEDIA_TABLE || media->kind == ACCEL_MEDIA_HISTOGRAM)
        return accel__fail(ACCEL_ERR_INVALID, "table: column '%s': a cell holds no %s",
                           table->columns[column],
                           media->kind == ACCEL_MEDIA_TABLE ? "table" : "histogram");
    return ACCEL_OK;
}

static accel_status_t check_row(const accel_media_t *table, const accel_list_t *row)
{
    const accel_table_view_t *view;
    accel_status_t status = ACCEL_OK;
    int32_t count = 0;

    if (!table || table->view.kind != ACCEL_MEDIA_TABLE || !row)
        return accel__fail(ACCEL_ERR_INVALID, "accel_table_add_data: expected a table and a row");
    if (atomic_load(&table->logged))
        return accel__fail(ACCEL_ERR_STATE, "accel_table_add_data: the table was logged; make "
                                            "another one for more rows");
    view = &table->view.of.table;
    status = accel__row_check(row->items, "accel_table_add_data");
    for (const accel_item_t *cell = row->items;
         status == ACCEL_OK && cell && cell->type != ACCEL_TYPE_END; cell++) {
        if (count < view->num_columns)
            status = check_cell(view, count, cell);
        count++;
    }
    if (status == ACCEL_OK && count != view->num_columns)
        status = accel__fail(ACCEL_ERR_INVALID,
                             "table: the row has %d values; expected %d, one a "
                             "column",
                             (int)count, (int)view->num_columns);
    return status;
}

accel_status_t accel_table_add_data(accel_media_t *table, const accel_list_t *row)
{
    accel_status_t status = check_row(table, row);
    accel_item_t *rows;
    size_t size;
    void *block;

    if (status == ACCEL_OK)
        status = reserve(table);
    if (status != ACCEL_OK)
        return status;
    size = accel__dict_packed_size(row->items);
    block = malloc(size);
    if (!block)
        return accel__fail_memory("a row of a table", size);
    rows = rows_of(table) + table->view.of.table.num_rows++;
    rows[0] = accel_item_list("", NULL);
    rows[0].value.list = accel__dict_pack(row->items, block);
    rows[1] = accel_item_end();
    accel__media_retain(rows[0].value.list);
    table->size += size + sizeof(*rows) + accel__media_size(row->items);
    return ACCEL_OK;
}

accel_status_t accel__table_create(const accel_item_t *columns, const accel_item_t *rows,
                                   accel_media_t **table)
{
    accel_status_t status;
    const char **names;
    size_t count = 0;

    while (columns && columns[count].type != ACCEL_TYPE_END)
        count++;
    if (count > INT32_MAX)
        return accel__fail(ACCEL_ERR_INVALID, "table: %zu columns", count);
    names = calloc(count + 1, sizeof(*names));
    if (!names)
        return accel__fail_memory("a table's columns", count * sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = columns[i].value.s;
    status = accel_table_create(names, (int32_t)count, table);
    free(names);
    for (; status == ACCEL_OK && rows && rows->type != ACCEL_TYPE_END; rows++) {
        const accel_list_t row = {rows->value.list};

        status = accel_table_add_data(*table, &row);
    }
    if (status != ACCEL_OK) {
        accel_media_destroy(*table);
        *table = NULL;
    }
    return status;
}
