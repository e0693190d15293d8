/* SPDX-License-Identifier: Apache-2.0 */
/* Login: the plugin asks the server and keeps the key. */
#include "track/wandb/wandb.h"

accel_status_t accel_wandb_login(const accel_wandb_login_options_t *given,
                                 accel_wandb_login_result_t *result)
{
    accel_wandb_login_options_t options = accel_wandb_login_options_init();
    accel_wandb_login_result_t found = {0};
    const accel_wandb_v1_t *table;
    bool verify = true;
    accel_status_t status =
        accel__options_read(&options, sizeof(options), given, "accel_wandb_login");

    if (status == ACCEL_OK)
        status = accel__tristate(options.verify, true, "verify", &verify);
    options.verify = verify ? ACCEL_ON : ACCEL_OFF;
    if (status == ACCEL_OK)
        status = accel__wandb_table(&table, "accel_wandb_login");
    if (status == ACCEL_OK)
        status = table->login(&options, &found);
    if (result)
        *result = found;
    return status;
}
