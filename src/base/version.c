/* SPDX-License-Identifier: Apache-2.0 */
#include <accel/version.h>

const char *accel_version(void)
{
    return ACCEL_VERSION;
}
