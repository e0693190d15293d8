/* SPDX-License-Identifier: Apache-2.0 */
/* Media in a row of JSON: numbers whole, bytes by what they are. */
#include "track/json.h"

static void put_numbers(accel__text_t *text, const char *key, const double *numbers, int32_t count)
{
    accel__text_appendf(text, ",\"%s\":[", key);
    for (int32_t i = 0; i < count; i++) {
        accel__text_append(text, ",", i > 0);
        accel__json_float(text, numbers[i]);
    }
    accel__text_append(text, "]", 1);
}

static void put_table(accel__text_t *text, const accel_table_view_t *table)
{
    const accel_item_t rows = {.type = ACCEL_TYPE_LIST, .value.list = table->rows};

    accel__text_appendf(text, ",\"columns\":[");
    for (int32_t i = 0; i < table->num_columns; i++) {
        accel__text_append(text, ",", i > 0);
        accel__json_string(text, table->columns[i]);
    }
    accel__text_appendf(text, "],\"data\":");
    accel__json_value(text, &rows);
}

static const char *type_of(const accel_media_view_t *media)
{
    switch (media->kind) {
    case ACCEL_MEDIA_IMAGE:
        return "image";
    case ACCEL_MEDIA_HISTOGRAM:
        return "histogram";
    case ACCEL_MEDIA_TABLE:
        return "table";
    case ACCEL_MEDIA_AUDIO:
        return "audio";
    case ACCEL_MEDIA_HTML:
        break;
    }
    return "html";
}

void accel__json_media(accel__text_t *text, const accel_media_view_t *media)
{
    accel__text_appendf(text, "{\"_type\":\"%s\"", type_of(media));
    if (media->kind == ACCEL_MEDIA_IMAGE) {
        const accel_image_view_t *image = &media->of.image;

        accel__text_appendf(text, ",\"height\":%d,\"width\":%d,\"channels\":%d", (int)image->height,
                            (int)image->width, (int)image->channels);
    } else if (media->kind == ACCEL_MEDIA_HISTOGRAM) {
        const accel_histogram_view_t *histogram = &media->of.histogram;

        put_numbers(text, "values", histogram->counts, histogram->num_bins);
        put_numbers(text, "bins", histogram->edges, histogram->num_bins + 1);
    } else if (media->kind == ACCEL_MEDIA_TABLE) {
        put_table(text, &media->of.table);
    } else if (media->kind == ACCEL_MEDIA_AUDIO) {
        const accel_audio_view_t *audio = &media->of.audio;

        accel__text_appendf(text, ",\"frames\":%lld,\"channels\":%d,\"sample_rate\":%d",
                            (long long)audio->frames, (int)audio->channels,
                            (int)audio->sample_rate);
    } else {
        accel__text_appendf(text, ",\"size\":%zu", media->of.html.length);
    }
    if (media->caption) {
        accel__text_appendf(text, ",\"caption\":");
        accel__json_string(text, media->caption);
    }
    accel__text_append(text, "}", 1);
}
