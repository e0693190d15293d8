/* SPDX-License-Identifier: Apache-2.0 */
/* The version a program was compiled with, and the one it runs with. */
#ifndef ACCEL_VERSION_H
#define ACCEL_VERSION_H

#include <accel/export.h>

#define ACCEL_VERSION_MAJOR 0
#define ACCEL_VERSION_MINOR 1
#define ACCEL_VERSION_PATCH 0
#define ACCEL_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library in use, "MAJOR.MINOR.PATCH". Static text. */
ACCEL_API const char *accel_version(void);

#ifdef __cplusplus
}
#endif

#endif
