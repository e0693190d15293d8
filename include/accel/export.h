/* SPDX-License-Identifier: Apache-2.0 */
/* How the library's symbols are declared. */
#ifndef ACCEL_EXPORT_H
#define ACCEL_EXPORT_H

#if defined(__GNUC__)
#define ACCEL_API __attribute__((visibility("default")))
#define ACCEL_NODISCARD __attribute__((warn_unused_result))
#define ACCEL_PRINTF(format_index, first_argument) \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define ACCEL_API
#define ACCEL_NODISCARD
#define ACCEL_PRINTF(format_index, first_argument)
#endif

#endif
