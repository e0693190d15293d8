/* SPDX-License-Identifier: Apache-2.0 */
/* accel — Accelerate for C: everything but the W&B run (accel/wandb.h) and the launcher
 * (accel/launch.h). */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include <accel/accelerator.h>
#include <accel/comm.h>
#include <accel/data.h>
#include <accel/dict.h>
#include <accel/ema.h>
#include <accel/log.h>
#include <accel/logger.h>
#include <accel/media.h>
#include <accel/model.h>
#include <accel/objects.h>
#include <accel/optimizer.h>
#include <accel/precision.h>
#include <accel/profile.h>
#include <accel/progress.h>
#include <accel/safetensors.h>
#include <accel/status.h>
#include <accel/track.h>
#include <accel/types.h>
#include <accel/utils.h>
#include <accel/version.h>

#endif
