/* SPDX-License-Identifier: Apache-2.0 */
/* The files that stock's core makes when a run ends: config.yaml, wandb-summary.json,
 * wandb-metadata.json. output.log has been written along the way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sender.h"

static accel_status_t write_file(const accel__wandb_sender_t *sender, const char *name,
                                 const accel__wandb_text_t *text)
{
    char *path = accel__wandb_join(sender->up->files_dir, name);
    if (!path || text->failed) {
        free(path);
        return accel__wandb_fail_memory();
    }
    FILE *file = fopen(path, "we");
    bool good = file && fwrite(text->data, 1, text->length, file) == text->length;
    int error = errno;
    if (file && fclose(file) != 0 && good) {
        good = false;
        error = errno;
    }
    accel_status_t status =
        good ? ACCEL_OK : accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot write", path);
    free(path);
    return status;
}

static accel_status_t write_config(accel__wandb_sender_t *sender)
{
    accel__wandb_tree_t config;
    accel__wandb_text_t yaml = {0};
    if (!accel__wandb_bucket_config(&sender->bucket, &config))
        return accel__wandb_fail_memory();
    accel__wandb_tree_yaml(&config, &yaml);
    accel__wandb_tree_free(&config);
    accel_status_t status = write_file(sender, "config.yaml", &yaml);
    accel__wandb_text_free(&yaml);
    return status;
}

static accel_status_t write_summary(accel__wandb_sender_t *sender)
{
    accel__wandb_text_t json = {0};
    accel__wandb_tree_print(&sender->summary, &json, true);
    accel_status_t status = write_file(sender, "wandb-summary.json", &json);
    accel__wandb_text_free(&json);
    return status;
}

static accel_status_t write_metadata(accel__wandb_sender_t *sender)
{
    accel__wandb_text_t compact = {0}, text = {0};
    if (!sender->bucket.environment.length)
        return ACCEL_OK;
    bool good = accel__wandb_environment_json(&sender->bucket.environment, &compact);
    json_t *json = good ? json_loads(compact.data, 0, NULL) : NULL;
    char *pretty = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    accel_status_t status = pretty ? ACCEL_OK : accel__wandb_fail_memory();
    if (pretty) {
        accel__wandb_text_printf(&text, "%s\n", pretty);
        status = write_file(sender, "wandb-metadata.json", &text);
    }
    free(pretty);
    json_decref(json);
    accel__wandb_text_free(&compact);
    accel__wandb_text_free(&text);
    return status;
}

accel_status_t accel__wandb_sender_write_files(accel__wandb_sender_t *sender)
{
    accel__wandb_sender_end_console(sender);
    accel_status_t status = write_config(sender);
    if (!status)
        status = write_summary(sender);
    return status ? status : write_metadata(sender);
}
