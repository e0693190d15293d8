/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text as trackers write it. Not jansson's, which has no NaN, prints 0.1 as
 * 0.10000000000000001 and allocates for each value of a row. */
#ifndef ACCEL_TRACK_JSON_H
#define ACCEL_TRACK_JSON_H

#include "base/base.h"

/* Compact. NaN, Infinity and -Infinity are written bare, as Python does and reads; other
 * floats have the fewest of 15, 16 or 17 digits that read back the same, and always
 * a '.' or an exponent. */
void accel__json_string(accel__text_t *text, const char *string);
void accel__json_float(accel__text_t *text, double value);
void accel__json_value(accel__text_t *text, const accel_item_t *item);
void accel__json_dict(accel__text_t *text, const accel_item_t *dict);

#endif
