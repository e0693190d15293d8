/* SPDX-License-Identifier: Apache-2.0 */
/* What the W&B plugin offers beyond a general tracker: the table behind <accel/wandb.h>, which
 * its class's `interface` gives for the name "accel_wandb_v1". */
#ifndef ACCEL_PLUGIN_WANDB_V1_H
#define ACCEL_PLUGIN_WANDB_V1_H

#include <accel/wandb.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACCEL_WANDB_V1 "accel_wandb_v1"

/* `tracker` is what the class's `create` gave. The slots of a run are called as those of the
 * class are: one at a time, after everything logged before has been delivered. */
typedef struct accel_wandb_v1 {
    size_t struct_size;
} accel_wandb_v1_t;

#ifdef __cplusplus
}
#endif

#endif
