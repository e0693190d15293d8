/* SPDX-License-Identifier: Apache-2.0 */
/* Who this user is for the server: what accel_wandb_login() does. */
#ifndef ACCEL_TRACKER_WANDB_LOGIN_H
#define ACCEL_TRACKER_WANDB_LOGIN_H

#include <accel/plugin/wandb_v1.h>

accel_status_t accel__wandb_login(const accel_wandb_login_options_t *options,
                                  accel_wandb_login_result_t *result);

#endif
