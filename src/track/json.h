/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text as trackers write it. Not jansson's, which has no NaN, prints 0.1 as
 * 0.10000000000000001 and allocates for each value of a row. */
#ifndef ACCEL_TRACK_JSON_H
#define ACCEL_TRACK_JSON_H

#include <accel/media.h>

#include "base/base.h"

/* Compact. NaN, Infinity and -Infinity are written bare, as Python does and reads; other
 * floats read back the same, have no more than 17 digits, and 15 or 16 where these do, and
 * always a '.' or an exponent. */
void accel__json_string(accel__text_t *text, const char *string);
void accel__json_float(accel__text_t *text, double value);
/* With six digits behind the point: what a clock can say, at a third of the price. */
void accel__json_seconds(accel__text_t *text, double seconds);
void accel__json_value(accel__text_t *text, const accel_item_t *item);
void accel__json_dict(accel__text_t *text, const accel_item_t *dict);
/* What one is, without its bytes: {"_type":"image","height":28,...}; histograms and tables whole,
 * with "_type" as W&B has it. */
void accel__json_media(accel__text_t *text, const accel_media_view_t *media);

#endif
