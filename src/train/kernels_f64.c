/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

typedef double real_t;
#define square_root sqrt
#define select_kernels accel__kernels_f64

#include "train/kernels.inc"
