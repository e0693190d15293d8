/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets: what holds the samples that a loader (data.h) hands out.
 *
 * Map-style ones give any sample by its number, streams one after the other. A dataset is
 * used by its loaders, from the caller's thread and from their workers; what it says of
 * callbacks below holds for each loader, so a dataset of several loaders is called from several
 * threads. Destroy the loaders before it. */
#ifndef ACCEL_DATASET_H
#define ACCEL_DATASET_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_dataset accel_dataset_t;

/* An extent of a field that is another one from sample to sample. */
#define ACCEL_VARIES (-1)

/* One field of a sample: an array of `shape` (ndim 0: a single number). */
typedef struct accel_field {
    const char *name; /* for messages; copied */
    accel_dtype_t dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM - 1]; /* 1 or more each, or ACCEL_VARIES */
} accel_field_t;

/* ---- callbacks ----
 *
 * An error (made by accel_fail(), to say why) ends the epoch: accel_loader_next() returns it where
 * it would have returned the batch, naming the sample. Callbacks must not call the loader. */

/* Write sample `index` (0 .. length - 1): fields[f] points to room for field f, compact, not
 * aligned beyond its dtype. Called by the loader's workers: by one thread at a time and in the
 * order of the samples unless the loader has num_workers > 1. */
typedef accel_status_t (*accel_sample_fn)(void *context, int64_t index, void *const *fields);

/* A sample whose fields' extents vary: give each field by accel_sample_field(). */
typedef struct accel_sample accel_sample_t;
typedef accel_status_t (*accel_varying_sample_fn)(void *context, int64_t index,
                                                  accel_sample_t *sample);

/* Memory for a field of the sample that is being read, of this shape: the field's ndim extents,
 * 0 or more (NULL for ndim 0). It is uninitialised, aligned for its dtype, and the loader's.
 * NULL if there is none, or the shape does not fit the field: return any error then, the text is
 * made. Only within the callback, once a field. */
ACCEL_API void *accel_sample_field(accel_sample_t *sample, int32_t field, const int64_t *shape);

/* ---- map-style ---- */

typedef struct accel_dataset_options {
    size_t struct_size;
    int64_t length;                      /* number of samples */
    accel_sample_fn get;                 /* of fields that do not vary ... */
    accel_varying_sample_fn get_varying; /* ... or this one, of any fields */
    void *context;
    const accel_field_t *fields; /* copied */
    int32_t num_fields;
} accel_dataset_options_t;

ACCEL__OPTIONS_INIT(accel_dataset_options)
#define ACCEL_DATASET_OPTIONS(...) ACCEL__OPTIONS(accel_dataset_options_t, __VA_ARGS__)

/* Data from a callback. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_dataset_create(const accel_dataset_options_t *options, accel_dataset_t **dataset);

/* torch.utils.data.TensorDataset: sample i is row i of every tensor; all have the same
 * first extent. The arrays are borrowed until the dataset is destroyed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_tensor_dataset_create(
    const accel_tensor_t *const *tensors, int32_t num_tensors, accel_dataset_t **dataset);

/* A file of fixed-size records: after `header_size` bytes, each record is the fields one after the
 * other, compact, in the machine's byte order. A file that is not a whole number of records is
 * an error, and so is one that is cut while it is in use. Of any size; nothing of it is kept in
 * memory but what the system caches. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_record_dataset_create(const char *path,
                                                                     const accel_field_t *fields,
                                                                     int32_t num_fields,
                                                                     uint64_t header_size,
                                                                     accel_dataset_t **dataset);

typedef struct accel_token_options {
    size_t struct_size;
    const char *path;        /* a flat array of unsigned numbers in the machine's byte order */
    int32_t token_size;      /* bytes of each: 2 (0), 4 or 1 */
    uint64_t header_size;    /* bytes before the first */
    int64_t sequence_length; /* of a sample; required */
    int64_t stride;          /* from a sample's start to the next one's; 0: sequence_length */
    accel_dtype_t dtype;     /* of the fields: ACCEL_I64 (0) or ACCEL_I32 */
} accel_token_options_t;

ACCEL__OPTIONS_INIT(accel_token_options)
#define ACCEL_TOKEN_OPTIONS(...) ACCEL__OPTIONS(accel_token_options_t, __VA_ARGS__)

/* A corpus of tokens, as language models are fed. Sample i has two fields of sequence_length
 * numbers: the tokens from i × stride on, and their targets, which are the same one place on.
 * What is too short for a whole sample at the end is left out. Of any size, as records. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_token_dataset_create(const accel_token_options_t *options, accel_dataset_t **dataset);

/* torch.utils.data.ConcatDataset: the samples of the first, then those of the second, ...: the
 * shards of one data set in many files. They are map-style, have equal fields, and are borrowed
 * until the result is destroyed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_concat_dataset_create(
    accel_dataset_t *const *datasets, int32_t num_datasets, accel_dataset_t **dataset);

/* ---- streams ---- */

/* Go to the first sample of `epoch`. Called by accel_loader_begin(), where the stream is read. If
 * every rank reads it, the samples must be the same on all of them: shuffle by the epoch, not
 * by a generator of the rank's own. */
typedef accel_status_t (*accel_stream_begin_fn)(void *context, int64_t epoch);

/* Write the next sample as accel_sample_fn does, or return ACCEL_END if there is none. One thread
 * at a time, in order. */
typedef accel_status_t (*accel_stream_next_fn)(void *context, void *const *fields);
typedef accel_status_t (*accel_varying_stream_next_fn)(void *context, accel_sample_t *sample);

typedef struct accel_stream_options {
    size_t struct_size;
    accel_stream_begin_fn begin;
    accel_stream_next_fn next;                 /* of fields that do not vary ... */
    accel_varying_stream_next_fn next_varying; /* ... or this one, of any fields */
    void *context;
    const accel_field_t *fields; /* copied */
    int32_t num_fields;
    int64_t length; /* if it is known, for accel_loader_length(); 0: it is not */
} accel_stream_options_t;

ACCEL__OPTIONS_INIT(accel_stream_options)
#define ACCEL_STREAM_OPTIONS(...) ACCEL__OPTIONS(accel_stream_options_t, __VA_ARGS__)

/* torch.utils.data.IterableDataset. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_stream_dataset_create(const accel_stream_options_t *options, accel_dataset_t **dataset);

/* Samples; -1: a stream whose length is not known; NULL: 0. */
ACCEL_API int64_t accel_dataset_length(const accel_dataset_t *dataset);
ACCEL_API void accel_dataset_destroy(accel_dataset_t *dataset);

#ifdef __cplusplus
}
#endif

#endif
