/* SPDX-License-Identifier: Apache-2.0 */
/* Data: which samples each rank sees, datasets that hold them, and the loader.
 *
 * Sharding is a pure function of (samples, batch size, processes, flags, step, rank): the
 * same on every rank, O(1) a batch, and public, so that step counts, padding and resume
 * positions can be computed anywhere. The rules are Accelerate's (BatchSamplerShard,
 * IterableDatasetShard), checked against its own code. */
#ifndef ACCEL_DATA_H
#define ACCEL_DATA_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- sharding ---- */

/* Plain values; a shard holds no memory. batch_size is a rank's batch, or with
 * split_batches the global one, which num_processes must divide. With even_batches the
 * last step is completed with samples from the start of the order; with drop_last an
 * incomplete last step is left out; with neither, ranks may get a short batch or none.
 *
 * A stream (IterableDatasetShard) is sharded by the same function with even_batches. Batches
 * that somebody else has made, of any sizes, are handed out whole: shard their numbers, with
 * samples = the number of batches and batch_size = 1. */
typedef struct accel_shard {
    int64_t samples, batch_size, num_processes;
    bool split_batches, drop_last, even_batches;
} accel_shard_t;

/* Why a shard is not valid, as an error; ACCEL_OK when it is. The functions below take
 * valid shards; given another they return 0. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_shard_check(const accel_shard_t *shard);

/* Steps of an epoch: the loop bound of ALL ranks, also where a rank's batch is empty. */
ACCEL_API int64_t accel_shard_steps(const accel_shard_t *shard);

/* The length of `rank`'s batch at `step`, and in `positions` (room for a rank's batch;
 * NULL: only the length) where its samples stand in the epoch's order. 0: none. */
ACCEL_API int64_t accel_shard_batch(const accel_shard_t *shard, int64_t step, int64_t rank,
                                    int64_t *positions);

/* How many rows of the step's batches, gathered in rank order, are not padding. */
ACCEL_API int64_t accel_shard_real_rows(const accel_shard_t *shard, int64_t step);

/* Accelerate's seed when none was set: torch's initial seed. */
#define ACCEL_DEFAULT_SEED UINT64_C(67280421310721)
/* The seed 0, in an option whose 0 means ACCEL_DEFAULT_SEED. */
#define ACCEL_SEED_ZERO UINT64_MAX

/* The order of an epoch: torch.randperm(samples) by a generator seeded with seed + epoch,
 * as Accelerate's SeedableRandomSampler (mt19937 over the low 32 bits). `order` has room
 * for `samples`. `seed` is taken as it is: 0 is 0. */
ACCEL_API void accel_shuffle(uint64_t seed, int64_t epoch, int64_t samples, int64_t *order);

/* A rank's part of a list of inputs: items begin .. begin + count - 1, and then the last
 * item of the whole list `padding` times. */
typedef struct {
    int64_t begin, count, padding;
} accel_split_t;

/* Contiguous parts; the first length % num_processes ranks get one item more. With
 * apply_padding all ranks have equally many; an empty list then stays empty. */
ACCEL_API accel_split_t accel_split(int64_t length, int64_t num_processes, int64_t process_index,
                                    bool apply_padding);

/* ---- datasets ---- */

typedef struct accel_dataset accel_dataset_t;

/* One field of a sample: an array of `shape` (ndim 0: a single number). */
typedef struct accel_field {
    const char *name; /* for messages; copied */
    accel_dtype_t dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM - 1];
} accel_field_t;

/* Write sample `index` (0 .. length - 1): fields[f] points to room for field f, compact, not
 * aligned beyond its dtype. Called from the loader's thread unless the loader has prefetch off,
 * from several at once if several loaders share the dataset. An error (made by accel_fail(),
 * to say why) ends the epoch: accel_loader_next() returns it, naming the sample. */
typedef accel_status_t (*accel_sample_fn)(void *context, int64_t index, void *const *fields);

typedef struct accel_dataset_options {
    size_t struct_size;
    int64_t length; /* number of samples */
    accel_sample_fn get;
    void *context;
    const accel_field_t *fields; /* copied */
    int32_t num_fields;
} accel_dataset_options_t;

ACCEL__OPTIONS_INIT(accel_dataset_options)
#define ACCEL_DATASET_OPTIONS(...) ACCEL__OPTIONS(accel_dataset_options_t, __VA_ARGS__)

/* Map-style data from a callback. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_dataset_create(const accel_dataset_options_t *options, accel_dataset_t **dataset);

/* torch.utils.data.TensorDataset: sample i is row i of every tensor; all have the same
 * first extent. The arrays are borrowed until the dataset is destroyed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_tensor_dataset_create(
    const accel_tensor_t *const *tensors, int32_t num_tensors, accel_dataset_t **dataset);

/* A file of fixed-size records, memory-mapped: after `header_size` bytes, each record is
 * the fields one after the other, compact, in the machine's byte order. A file that is
 * not a whole number of records is an error. The file must keep its length while it is in use:
 * before each batch a shorter one is an error, within a batch the system sends SIGBUS. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_record_dataset_create(const char *path,
                                                                     const accel_field_t *fields,
                                                                     int32_t num_fields,
                                                                     uint64_t header_size,
                                                                     accel_dataset_t **dataset);

/* NULL: 0. Destroy the loaders of a dataset before it. */
ACCEL_API int64_t accel_dataset_length(const accel_dataset_t *dataset);
ACCEL_API void accel_dataset_destroy(accel_dataset_t *dataset);

/* ---- the loader ---- */

typedef struct accel_loader accel_loader_t;

typedef struct accel_loader_options {
    size_t struct_size;
    int64_t batch_size; /* 0: 1; of one rank, or global with split_batches */
    bool shuffle;
    bool drop_last;
    uint64_t seed;                  /* of the shuffle; 0: ACCEL_DEFAULT_SEED; ACCEL_SEED_ZERO: 0 */
    accel_tristate_t split_batches; /* default: the accelerator's, else off */
    accel_tristate_t even_batches;  /* default: the accelerator's, else on */
    accel_tristate_t prefetch;      /* one thread that reads ahead; default: on, but off for
                                       tensor datasets, whose rows are merely copied */
} accel_loader_options_t;

ACCEL__OPTIONS_INIT(accel_loader_options)
#define ACCEL_LOADER_OPTIONS(...) ACCEL__OPTIONS(accel_loader_options_t, __VA_ARGS__)

/* What one rank works on at one step. Everything is the loader's and valid until the next
 * call of accel_loader_next, _begin, _end or _destroy. */
typedef struct accel_batch {
    int64_t rows;      /* rows of every tensor; 0 if this rank has none at this step */
    int64_t real_rows; /* of the step over all ranks: rows that are not padding */
    int64_t step;      /* 0 .. steps - 1, equal on all ranks */
    bool last;         /* the epoch's last step */
    int32_t num_fields;
    const accel_tensor_t *fields; /* shape [rows, field's shape ...], data on 64 bytes */
    const int64_t *indices;       /* the rows' sample numbers */
} accel_batch_t;

/* Borrows `dataset`. Unprepared, or prepared for one process, it serves the whole data, the
 * last batch as short as it is. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_create(accel_dataset_t *dataset,
                                                             const accel_loader_options_t *options,
                                                             accel_loader_t **loader);
ACCEL_API void accel_loader_destroy(accel_loader_t *loader);

/* Start epoch `epoch` >= 0, which with the seed decides the order. An epoch under way is
 * given up. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_begin(accel_loader_t *loader, int64_t epoch);

/* The next batch: ACCEL_OK, or ACCEL_END after the last, which also ends the epoch, as an
 * error does. All ranks make equally many steps. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_next(accel_loader_t *loader,
                                                           accel_batch_t *batch);

/* Leave an epoch early. Not needed after ACCEL_END. */
ACCEL_API void accel_loader_end(accel_loader_t *loader);

/* Steps of an epoch, equal on all ranks. */
ACCEL_API int64_t accel_loader_length(const accel_loader_t *loader);

/* The sharding in force: of one process before accel_prepare(). */
ACCEL_API accel_shard_t accel_loader_shard(const accel_loader_t *loader);

/* while (ACCEL_NEXT(loader, &batch)) { ... }: false at the epoch's end; an error ends the
 * program, as ACCEL_CHECK does. */
#define ACCEL_NEXT(loader, batch) (ACCEL_CHECK(accel_loader_next(loader, batch)) == ACCEL_OK)

#ifdef __cplusplus
}
#endif

#endif
