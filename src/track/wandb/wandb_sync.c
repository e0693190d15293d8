/* SPDX-License-Identifier: Apache-2.0 */
/* Runs from their logs to the server: the plugin's uploader does it. */
#include "track/wandb/wandb.h"

/* Loops ask at every step: rows on their way to a slow disk must not keep them. */
bool accel_wandb_run_is_stopped(accel_wandb_run_t *run)
{
    const char *stopped = NULL;

    if (!run)
        return false;
    if (accel__tracker_try_info(run->tracker, "stopped", &stopped))
        atomic_store(&run->stopped, stopped != NULL);
    return atomic_load(&run->stopped);
}

static accel_status_t read_options(const accel_wandb_sync_options_t *given,
                                   accel_wandb_sync_options_t *options)
{
    accel_status_t status;
    bool mark = true;

    *options = accel_wandb_sync_options_init();
    status = accel__options_read(options, sizeof(*options), given, "accel_wandb_sync");
    if (status == ACCEL_OK)
        status = accel__tristate(options->mark_synced, true, "mark_synced", &mark);
    options->mark_synced = mark ? ACCEL_ON : ACCEL_OFF;
    return status;
}

accel_status_t accel_wandb_sync(const char *path, const accel_wandb_sync_options_t *given,
                                accel_wandb_sync_result_t *result)
{
    accel_wandb_sync_options_t options;
    accel_wandb_sync_result_t found = {0};
    const accel_wandb_v1_t *table;
    accel_status_t status = read_options(given, &options);

    if (status == ACCEL_OK)
        status = accel__wandb_table(&table, "accel_wandb_sync");
    if (status == ACCEL_OK)
        status = table->sync(path, &options, &found);
    if (result)
        *result = found;
    return status;
}
