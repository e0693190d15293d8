/* SPDX-License-Identifier: Apache-2.0 */
typedef double real_t;
#define select_reduce accel__reduce_f64

#include "comm/reduce.inc"
