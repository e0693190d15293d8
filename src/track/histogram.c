/* SPDX-License-Identifier: Apache-2.0 */
/* numpy.histogram(values, bins=n), step by step in the type that numpy works in: the counts depend
 * on how each edge and each index is rounded. */
#include "track/media.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS_DEFAULT 64
#define BINS_MAX 512

typedef struct values {
    const void *data;
    accel_dtype_t dtype;
    int64_t count;
} values_t;

static double value_at(const values_t *values, int64_t i)
{
    switch (values->dtype) {
    case ACCEL_F32:
        return (double)((const float *)values->data)[i];
    case ACCEL_I32:
        return ((const int32_t *)values->data)[i];
    case ACCEL_I64:
        return (double)((const int64_t *)values->data)[i];
    case ACCEL_U8:
        return ((const uint8_t *)values->data)[i];
    default:
        return ((const double *)values->data)[i];
    }
}

/* The least and the greatest; widened if they are one, so that bins have a width. */
static accel_status_t find_range(const values_t *values, double *first, double *last)
{
    *first = values->count ? value_at(values, 0) : 0;
    *last = values->count ? *first : 1;
    for (int64_t i = 0; i < values->count; i++) {
        double value = value_at(values, i);

        if (!isfinite(value))
            return accel__fail(ACCEL_ERR_INVALID,
                               "histogram: value %lld is %g; expected finite ones", (long long)i,
                               value);
        *first = value < *first ? value : *first;
        *last = value > *last ? value : *last;
    }
    if (*first == *last) {
        *first -= 0.5;
        *last += 0.5;
        if (values->dtype == ACCEL_F32) {
            *first = (float)*first;
            *last = (float)*last;
        }
    }
    return ACCEL_OK;
}

/* numpy.linspace(first, last, bins + 1); in float32 where the values are, save that no values
 * have a range of two integers. */
static accel_status_t make_edges(const values_t *values, double first, double last, int32_t bins,
                                 double *edges)
{
    bool single = values->dtype == ACCEL_F32;

    if (single && values->count) {
        float step = ((float)last - (float)first) / (float)bins;

        for (int32_t i = 0; i < bins; i++)
            edges[i] = (double)((float)i * step + (float)first);
    } else {
        double step = (last - first) / bins;

        for (int32_t i = 0; i < bins; i++)
            edges[i] = single ? (double)(float)(i * step + first) : i * step + first;
    }
    edges[bins] = last;
    for (int32_t i = 0; i < bins; i++)
        if (!(edges[i] < edges[i + 1]))
            return accel__fail(ACCEL_ERR_INVALID,
                               "histogram: %d bins from %.17g to %.17g cannot all have a width; "
                               "take fewer",
                               (int)bins, first, last);
    return ACCEL_OK;
}

/* How many bins' widths the value lies above the first edge. */
static double place(const values_t *values, double value, double first, double last, int32_t bins)
{
    if (values->dtype == ACCEL_F32)
        return (double)(((float)value - (float)first) / ((float)last - (float)first) * (float)bins);
    return (value - first) / (last - first) * bins;
}

static void count_values(const values_t *values, accel_histogram_view_t *histogram, double *counts)
{
    const double *edges = histogram->edges;
    int32_t bins = histogram->num_bins;

    for (int64_t i = 0; i < values->count; i++) {
        double value = value_at(values, i);
        int32_t at = (int32_t)place(values, value, edges[0], edges[bins], bins);

        if (at >= bins)
            at = bins - 1;
        /* what the rounding of the place got wrong */
        if (at > 0 && value < edges[at])
            at--;
        else if (at < bins - 1 && value >= edges[at + 1])
            at++;
        counts[at]++;
    }
}

static accel_status_t make_histogram(int32_t bins, accel_media_t **media)
{
    accel_media_t *made = NULL;
    accel_status_t status;

    if (bins < 1 || bins > BINS_MAX)
        return accel__fail(ACCEL_ERR_INVALID, "histogram: %d bins; expected 1 to %d", (int)bins,
                           BINS_MAX);
    status = accel__media_create(ACCEL_MEDIA_HISTOGRAM, NULL, &made);
    if (status != ACCEL_OK)
        return status;
    made->size = (2 * (size_t)bins + 1) * sizeof(double);
    made->content[0] = calloc((size_t)bins, sizeof(double));
    made->content[1] = calloc((size_t)bins + 1, sizeof(double));
    if (!made->content[0] || !made->content[1]) {
        accel_media_destroy(made);
        return accel__fail_memory("a histogram", (2 * (size_t)bins + 1) * sizeof(double));
    }
    made->view.of.histogram = (accel_histogram_view_t){made->content[0], made->content[1], bins};
    *media = made;
    return ACCEL_OK;
}

static accel_status_t check_values(const values_t *values)
{
    if (values->count < 0 || (values->count > 0 && !values->data))
        return accel__fail(ACCEL_ERR_INVALID, "histogram: %lld values%s; expected 0 or more",
                           (long long)values->count, values->data ? "" : ", and values is NULL");
    if (values->dtype != ACCEL_F32 && values->dtype != ACCEL_F64 && values->dtype != ACCEL_I32 &&
        values->dtype != ACCEL_I64 && values->dtype != ACCEL_U8)
        return accel__fail(ACCEL_ERR_INVALID,
                           "histogram: the dtype is %s; expected float32, float64, int32, int64 or "
                           "uint8",
                           accel_dtype_name(values->dtype));
    return ACCEL_OK;
}

accel_status_t accel_histogram_create(const void *values, accel_dtype_t dtype, int64_t count,
                                      int32_t num_bins, accel_media_t **media)
{
    values_t given = {values, dtype, count};
    int32_t bins = num_bins ? num_bins : BINS_DEFAULT;
    accel_media_t *made = NULL;
    double first = 0, last = 1;
    accel_status_t status;

    if (!media)
        return accel__fail(ACCEL_ERR_INVALID, "accel_histogram_create: media is NULL");
    *media = NULL;
    status = check_values(&given);
    if (status == ACCEL_OK)
        status = find_range(&given, &first, &last);
    if (status == ACCEL_OK)
        status = make_histogram(bins, &made);
    if (status == ACCEL_OK)
        status = make_edges(&given, first, last, bins, made->content[1]);
    if (status != ACCEL_OK) {
        accel_media_destroy(made);
        return status;
    }
    count_values(&given, &made->view.of.histogram, made->content[0]);
    *media = made;
    return ACCEL_OK;
}

accel_status_t accel_histogram_create_np(const double *counts, const double *edges,
                                         int32_t num_bins, accel_media_t **media)
{
    accel_status_t status;

    if (!counts || !edges || !media)
        return accel__fail(ACCEL_ERR_INVALID, "accel_histogram_create_np: expected counts, edges "
                                              "and where to put the handle");
    *media = NULL;
    status = make_histogram(num_bins, media);
    if (status != ACCEL_OK)
        return status;
    memcpy((*media)->content[0], counts, (size_t)num_bins * sizeof(*counts));
    memcpy((*media)->content[1], edges, ((size_t)num_bins + 1) * sizeof(*edges));
    return ACCEL_OK;
}
