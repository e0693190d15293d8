/* SPDX-License-Identifier: Apache-2.0 */
/* A table goes out twice, as stock's do: as an artifact of type "run_table", whole, with the types
 * of its columns and the files of its media; and as a file of the run, which the page of a run
 * shows. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "media.h"

enum { FILE_ROWS = 10000, ARTIFACT_ROWS = 200000 };

static int64_t at_most(int64_t rows, int64_t limit)
{
    return rows < limit ? rows : limit;
}

/* ---- the artifact's files ---- */

typedef struct {
    accel__wandb_run_t *run;
    accel__wandb_arena_t *arena;
    char *staging;
    accel_artifact_entry_t *entries; /* staged files, taken as they lie there */
    size_t count, capacity;
} files_t;

static accel_status_t md5_hex(const void *data, size_t size, char hex[33])
{
    unsigned char hash[16];
    if (EVP_Digest(data, size, hash, NULL, EVP_md5(), NULL) != 1)
        return accel__wandb_fail(ACCEL_ERR_UNSUPPORTED, "wandb: libcrypto refuses MD5, which "
                                                        "artifacts' digests are made of");
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return ACCEL_OK;
}

static bool has_entry(const files_t *files, const char *path)
{
    for (size_t i = files->count; i > 0; i--) {
        if (!strcmp(files->entries[i - 1].path, path))
            return true;
    }
    return false;
}

static accel_status_t add_file(files_t *files, const char *path, const void *data, size_t size)
{
    if (has_entry(files, path))
        return ACCEL_OK;
    if (files->count == files->capacity) {
        size_t capacity = files->capacity * 2 + 16;
        accel_artifact_entry_t *grown = realloc(files->entries, capacity * sizeof(*grown));
        if (!grown)
            return accel__wandb_fail_memory();
        files->entries = grown;
        files->capacity = capacity;
    }
    char *staged = NULL;
    accel_status_t status =
        accel__wandb_stage_data(files->arena, files->staging, data, size, &staged);
    if (!status)
        files->entries[files->count++] = (accel_artifact_entry_t){
            .path = path, .local_path = staged, .size = (int64_t)size, .immutable = true};
    return status;
}

static void drop_files(const files_t *files)
{
    for (size_t i = 0; i < files->count; i++)
        (void)unlink(files->entries[i].local_path);
}

/* ---- cells ---- */

static const accel_media_view_t *media_of(const accel_item_t *cell)
{
    return cell->type == ACCEL_TYPE_MEDIA ? accel__wandb_host()->media_view(cell->value.media)
                                          : NULL;
}

static void put_member(accel__wandb_text_t *text, const char *key, const char *value)
{
    accel__wandb_text_printf(text, "\"%s\": ", key);
    accel__wandb_pyjson_string(text, value);
}

/* In the artifact a file has the name of its content. */
static void put_media(accel__wandb_text_t *text, const accel_media_view_t *media, const char *path,
                      const accel__wandb_file_t *file)
{
    accel__wandb_text_puts(text, "{");
    put_member(text, "_type", accel__wandb_media_type(media->kind));
    if (media->caption) {
        accel__wandb_text_puts(text, ", ");
        put_member(text, "caption", media->caption);
    }
    if (media->kind == ACCEL_MEDIA_IMAGE)
        accel__wandb_text_printf(text, ", \"format\": \"png\", \"height\": %d",
                                 (int)media->of.image.height);
    accel__wandb_text_puts(text, ", ");
    put_member(text, "path", path);
    accel__wandb_text_puts(text, ", ");
    put_member(text, "sha256", file->sha256);
    if (media->kind == ACCEL_MEDIA_IMAGE)
        accel__wandb_text_printf(text, ", \"width\": %d", (int)media->of.image.width);
    accel__wandb_text_puts(text, "}");
}

static accel_status_t put_media_cell(files_t *files, accel__wandb_text_t *text,
                                     const accel_media_view_t *media)
{
    accel__wandb_text_t bytes = {0};
    accel__wandb_file_t file;
    char hex[33], path[64];
    accel_status_t status = accel__wandb_media_encode(media, &bytes, &file);
    if (!status)
        status = md5_hex(file.data, file.size, hex);
    if (!status) {
        int length =
            snprintf(path, sizeof(path), "media/%s/%.20s%s", file.kind, hex, file.extension);
        char *name = accel__wandb_arena_copy(files->arena, path, (size_t)length);
        status = name ? add_file(files, name, file.data, file.size) : accel__wandb_fail_memory();
        put_media(text, media, path, &file);
    }
    accel__wandb_text_free(&bytes);
    return status;
}

/* ---- both forms ---- */

static accel_status_t put_artifact_data(files_t *files, accel__wandb_text_t *text,
                                        const accel_table_view_t *table, int64_t rows)
{
    accel_status_t status = ACCEL_OK;
    accel__wandb_text_puts(text, "[");
    for (int64_t row = 0; row < rows && !status; row++) {
        const accel_item_t *cells = table->rows[row].value.list;
        accel__wandb_text_puts(text, row ? ", [" : "[");
        for (int32_t i = 0; i < table->num_columns && !status; i++) {
            accel__wandb_text_puts(text, i ? ", " : "");
            if (media_of(&cells[i]))
                status = put_media_cell(files, text, media_of(&cells[i]));
            else
                accel__wandb_pyjson_value(text, &cells[i]);
        }
        accel__wandb_text_puts(text, "]");
    }
    accel__wandb_text_puts(text, "]");
    return status;
}

static accel_status_t artifact_json(files_t *files, accel__wandb_text_t *text,
                                    const accel_table_view_t *table)
{
    int64_t rows = at_most(table->num_rows, ARTIFACT_ROWS);
    accel__wandb_text_puts(text, "{\"_type\": \"table\", \"column_types\": ");
    accel_status_t status = accel__wandb_column_types(text, table);
    accel__wandb_text_puts(text, ", \"columns\": [");
    for (int32_t i = 0; i < table->num_columns; i++) {
        accel__wandb_text_puts(text, i ? ", " : "");
        accel__wandb_pyjson_string(text, table->columns[i]);
    }
    accel__wandb_text_puts(text, "], \"data\": ");
    if (!status)
        status = put_artifact_data(files, text, table, rows);
    accel__wandb_text_printf(text, ", \"log_mode\": \"IMMUTABLE\", \"ncols\": %d, \"nrows\": %lld}",
                             (int)table->num_columns, (long long)rows);
    return text->failed && !status ? accel__wandb_fail_memory() : status;
}

static const char *class_name(const accel_media_view_t *media)
{
    return media->kind == ACCEL_MEDIA_IMAGE   ? "Image"
           : media->kind == ACCEL_MEDIA_AUDIO ? "Audio"
                                              : "Html";
}

/* Here a cell of media is but the name of its class. */
static void file_json(accel__wandb_text_t *text, const accel_table_view_t *table)
{
    int64_t rows = at_most(table->num_rows, FILE_ROWS);
    accel__wandb_text_puts(text, "{\"columns\":[");
    for (int32_t i = 0; i < table->num_columns; i++) {
        accel__wandb_text_puts(text, i ? "," : "");
        accel__wandb_json_string(text, table->columns[i]);
    }
    accel__wandb_text_puts(text, "],\"data\":[");
    for (int64_t row = 0; row < rows; row++) {
        const accel_item_t *cells = table->rows[row].value.list;
        accel__wandb_text_puts(text, row ? ",[" : "[");
        for (int32_t i = 0; i < table->num_columns; i++) {
            accel__wandb_text_puts(text, i ? "," : "");
            if (media_of(&cells[i]))
                accel__wandb_json_string(text, class_name(media_of(&cells[i])));
            else
                accel__wandb_json_value(text, &cells[i], ACCEL__WANDB_JSON_FILE);
        }
        accel__wandb_text_puts(text, "]");
    }
    accel__wandb_text_puts(text, "]}");
}

/* ---- the artifact ---- */

/* What an artifact's name cannot hold goes; a check sum of the whole then keeps names apart. */
static char *artifact_name(const accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                           const char *key)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    size_t size = strlen(run->settings.run_id) + strlen(key) + 16, length = 0;
    char *whole = accel__wandb_arena_take(arena, size),
         *name = accel__wandb_arena_take(arena, size);
    if (!whole || !name)
        return NULL;
    snprintf(whole, size, "run-%s-%s", run->settings.run_id, key);
    for (const char *c = whole; *c; c++) {
        if (strchr(allowed, *c))
            name[length++] = *c;
    }
    if (!whole[length])
        return name;
    uLong crc = crc32(crc32(0, NULL, 0), (const Bytef *)whole, (uInt)strlen(whole));
    unsigned char bytes[4], text[16];
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(crc >> (24 - 8 * i) & 0xff);
    EVP_EncodeBlock(text, bytes, 4);
    for (int i = 0; i < 6; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    snprintf(name + length, size - length, "-%.6s", (const char *)text);
    return name;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const accel_artifact_entry_t *)a)->path,
                  ((const accel_artifact_entry_t *)b)->path);
}

static accel_status_t log_artifact(files_t *files, const char *key, const char *path,
                                   const accel_table_view_t *table,
                                   accel__wandb_artifact_ids_t *ids)
{
    accel__wandb_text_t text = {0};
    accel_status_t status = accel__wandb_staging(&files->staging);
    accel_artifact_view_t artifact = {.name = artifact_name(files->run, files->arena, key),
                                      .type = "run_table"};
    if (!status && !artifact.name)
        status = accel__wandb_fail_memory();
    if (!status)
        status = artifact_json(files, &text, table);
    if (!status)
        status = add_file(files, path, text.data, text.length);
    accel__wandb_text_free(&text);
    if (!status) {
        qsort(files->entries, files->count, sizeof(*files->entries), compare_entries);
        artifact.entries = files->entries;
        artifact.num_entries = (int64_t)files->count;
        status = accel__wandb_emit_artifact(files->run, &artifact, ids);
    }
    if (status)
        drop_files(files);
    free(files->entries);
    free(files->staging);
    return status;
}

/* ---- the row's part ---- */

static const char *client_path(accel__wandb_arena_t *arena, const char *id, const char *path)
{
    accel__wandb_text_t text = {0};
    char *copy = NULL;
    accel__wandb_text_printf(&text, "wandb-client-artifact://%s/%s", id, path);
    if (!text.failed)
        copy = accel__wandb_arena_copy(arena, text.data, text.length);
    else
        arena->failed = true;
    accel__wandb_text_free(&text);
    return copy;
}

static accel_status_t write_file(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                 const char *key, const accel_table_view_t *table,
                                 accel__wandb_file_t *file)
{
    accel__wandb_text_t text = {0};
    file_json(&text, table);
    *file = (accel__wandb_file_t){
        .kind = "table", .extension = ".table.json", .data = text.data, .size = text.length};
    accel_status_t status = text.failed ? accel__wandb_fail_memory()
                                        : accel__wandb_sha256(text.data, text.length, file->sha256);
    if (!status)
        status = accel__wandb_media_write(run, arena, key, file);
    accel__wandb_text_free(&text);
    return status;
}

static const char *entry_path(accel__wandb_arena_t *arena, const char *key)
{
    const char *safe = accel__wandb_safe_key(arena, key);
    static const char suffix[] = ".table.json";
    char *path = safe ? accel__wandb_arena_take(arena, strlen(safe) + sizeof(suffix)) : NULL;
    if (path)
        snprintf(path, strlen(safe) + sizeof(suffix), "%s%s", safe, suffix);
    return path;
}

static void mark_table(accel__wandb_run_t *run)
{
    if (run->features.table)
        return;
    run->features.table = true;
    accel__wandb_emit_telemetry(run);
}

accel_status_t accel__wandb_table_write(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                        const char *key, const accel_table_view_t *table,
                                        const accel_item_t **dict)
{
    files_t files = {.run = run, .arena = arena};
    accel__wandb_artifact_ids_t ids;
    accel__wandb_file_t file;
    const char *path = entry_path(arena, key);
    accel_status_t status =
        path ? log_artifact(&files, key, path, table, &ids) : accel__wandb_fail_memory();
    if (!status)
        status = write_file(run, arena, key, table, &file);
    if (status)
        return status;
    mark_table(run);
    char latest[sizeof(ids.sequence_client) + 8];
    snprintf(latest, sizeof(latest), "%s:latest", ids.sequence_client);
    const accel_item_t items[] = {
        accel_item_string("_type", "table-file"),
        accel_item_string("sha256",
                          accel__wandb_arena_copy(arena, file.sha256, strlen(file.sha256))),
        accel_item_int("size", (int64_t)file.size),
        accel_item_string("artifact_path", client_path(arena, ids.client, path)),
        accel_item_string("_latest_artifact_path", client_path(arena, latest, path)),
        accel_item_string("path", file.path),
        accel_item_int("ncols", table->num_columns),
        accel_item_int("nrows", table->num_rows),
        accel_item_string("log_mode", "IMMUTABLE"),
        accel_item_end(),
    };
    *dict = (const accel_item_t *)(void *)accel__wandb_arena_copy(arena, (const char *)items,
                                                                  sizeof(items));
    return arena->failed ? accel__wandb_fail_memory() : ACCEL_OK;
}
