/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

typedef float real_t;
#define square_root sqrtf
#define select_kernels accel__kernels_f32

#include "train/kernels.inc"
