/* SPDX-License-Identifier: Apache-2.0 */
/* Media: images, histograms, tables, sound and HTML as values of a logged row, as W&B has them.
 *
 *     accel_image_t pixels = {digit, ACCEL_U8, 28, 28, 1, "a seven", 0};
 *     accel_media_t *image;
 *     ACCEL_CHECK(accel_image_create(&pixels, &image));
 *     ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", loss, "sample", image), step));
 *     accel_media_destroy(image);
 *
 * Creating one copies the content; it may be destroyed right after it was logged, as whoever
 * still needs it holds a share of its own. A value may stand in a row, in a dictionary of it, or
 * in a list: a list of images is W&B's "images/separated". PNG and such are made where rows are
 * written, on the journal's thread; accel_log() waits for that only while 256 MiB of media are
 * under way. In configurations, summaries and metadata media are ACCEL_ERR_INVALID.
 *
 * Any thread may create and log; a table is filled by one thread at a time, and not any more
 * once it was logged. */
#ifndef ACCEL_MEDIA_H
#define ACCEL_MEDIA_H

#include <accel/dict.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's share. NULL is fine. */
ACCEL_API void accel_media_destroy(accel_media_t *media);

/* ---- wandb.Image ---- */

/* height x width x channels, row-major. Channels: 1 grey, 3 RGB, 4 RGBA. U8 is 0..255; F32 and
 * F64 are 0..white and become value * (255 / white), cut off and clamped; NaN is 0. */
typedef struct accel_image {
    const void *data;
    accel_dtype_t dtype;             /* ACCEL_U8, ACCEL_F32 or ACCEL_F64 */
    int32_t height, width, channels; /* at least 1 and at most 65500 pixels each way */
    const char *caption;             /* NULL: none */
    double white;                    /* of floats; 0: 1.0. Stock's floats are 0..255: 255.0 */
} accel_image_t;

ACCEL_API ACCEL_NODISCARD accel_status_t accel_image_create(const accel_image_t *image,
                                                            accel_media_t **media);

/* ---- wandb.Histogram ---- */

/* Of `count` values of F32, F64, I32, I64 or U8, in num_bins (0: 64; at most 512) bins of equal
 * width from the least to the greatest: the counts and edges of numpy.histogram(values,
 * num_bins), which works in the values' own type. All values must be finite; no values at all
 * give empty bins from 0 to 1. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_histogram_create(const void *values,
                                                                accel_dtype_t dtype, int64_t count,
                                                                int32_t num_bins,
                                                                accel_media_t **media);

/* wandb.Histogram(np_histogram=(counts, edges)): num_bins (1..512) counts or densities, and one
 * more edge. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_histogram_create_np(const double *counts,
                                                                   const double *edges,
                                                                   int32_t num_bins,
                                                                   accel_media_t **media);

/* ---- wandb.Table ---- */

/* An empty table with these columns (at least one, with different names). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_table_create(const char *const *columns,
                                                            int32_t num_columns,
                                                            accel_media_t **table);

/* table.add_data(*row): one value a column, copied. A cell holds any value of a row, images,
 * sound and HTML too, but no table and no histogram. ACCEL_ERR_STATE once it was logged. W&B
 * takes the first 200,000 rows. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_table_add_data(accel_media_t *table,
                                                              const accel_list_t *row);

/* ---- wandb.Audio ---- */

/* `frames` x `channels` samples of -1..1, interleaved; beyond that they are clipped. NaN is 0.
 * Kept as a WAV file with 16 bits a sample. `caption` NULL: none. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_audio_create(const float *samples, int64_t frames,
                                                            int32_t channels, int32_t sample_rate,
                                                            const char *caption,
                                                            accel_media_t **media);

/* The same of 16-bit samples. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_audio_create_i16(const int16_t *samples, int64_t frames, int32_t channels,
                       int32_t sample_rate, const char *caption, accel_media_t **media);

/* ---- wandb.Html ---- */

/* A page or a piece of one, UTF-8. With `inject`, W&B's style sheet is put into its head, as
 * stock does by default. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_html_create(const char *html, bool inject,
                                                           accel_media_t **media);

/* The same of a file, read now. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_html_open(const char *path, bool inject,
                                                         accel_media_t **media);

/* ---- what a tracker sees ---- */

typedef enum accel_media_kind {
    ACCEL_MEDIA_IMAGE = 1,
    ACCEL_MEDIA_HISTOGRAM = 2,
    ACCEL_MEDIA_TABLE = 3,
    ACCEL_MEDIA_AUDIO = 4,
    ACCEL_MEDIA_HTML = 5
} accel_media_kind_t;

/* height x width x channels bytes, row-major. */
typedef struct accel_image_view {
    const uint8_t *pixels;
    int32_t height, width, channels;
} accel_image_view_t;

typedef struct accel_histogram_view {
    const double *counts; /* num_bins */
    const double *edges;  /* num_bins + 1 */
    int32_t num_bins;
} accel_histogram_view_t;

typedef struct accel_table_view {
    const char *const *columns;
    const accel_item_t *rows; /* a list of lists; ends as one */
    int64_t num_rows;
    int32_t num_columns;
} accel_table_view_t;

typedef struct accel_audio_view {
    const uint8_t *wav; /* a whole WAV file */
    size_t size;
    int64_t frames;
    int32_t channels, sample_rate;
} accel_audio_view_t;

typedef struct accel_html_view {
    const char *text; /* as given */
    size_t length;
    bool inject;
} accel_html_view_t;

typedef struct { /* no tag: it would hide the function in C++ */
    accel_media_kind_t kind;
    const char *caption; /* NULL: none */
    union {
        accel_image_view_t image;
        accel_histogram_view_t histogram;
        accel_table_view_t table;
        accel_audio_view_t audio;
        accel_html_view_t html;
    } of;
} accel_media_view_t;

/* For trackers of your own: what is in one. Valid as long as `media`, which in a row is until the
 * log slot returns. */
ACCEL_API const accel_media_view_t *accel_media_view(const accel_media_t *media);

#ifdef __cplusplus
}
#endif

#endif
