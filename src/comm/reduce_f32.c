/* SPDX-License-Identifier: Apache-2.0 */
typedef float real_t;
#define select_reduce accel__reduce_f32

#include "comm/reduce.inc"
