/* SPDX-License-Identifier: Apache-2.0 */
/* Data: which samples each rank sees, and the loader that hands them out as batches. What holds
 * the samples is in dataset.h.
 *
 * Sharding is a pure function of (samples, batch size, processes, flags, step, rank): the
 * same on every rank, O(1) a batch, and public, so that step counts, padding and resume
 * positions can be computed anywhere. The rules are Accelerate's (BatchSamplerShard,
 * IterableDatasetShard), checked against its own code. */
#ifndef ACCEL_DATA_H
#define ACCEL_DATA_H

#include <accel/dataset.h>

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
 * that somebody else has made, of any sizes, are handed out whole: their numbers are sharded, with
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

/* ---- the loader: order and batches of one's own ---- */

/* Write the epoch's order into `order`: `count` sample numbers, any of them more than once or not
 * at all. The same on every rank, which prepared loaders compare. For accel_loader_begin(). */
typedef accel_status_t (*accel_sampler_fn)(void *context, int64_t epoch, int64_t count,
                                           int64_t *order);

/* Add the epoch's batches, of any sizes, one after the other. Otherwise as accel_sampler_fn. */
typedef struct accel_batches accel_batches_t;
typedef accel_status_t (*accel_batch_sampler_fn)(void *context, int64_t epoch,
                                                 accel_batches_t *batches);

/* Add a batch of these samples; copied. Only within the callback. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_batches_add(accel_batches_t *batches,
                                                           const int64_t *indices, int64_t count);

/* ---- the loader: from samples to a batch ---- */

/* The samples of a batch: field f of sample s is fields[s * num_fields + f], with the sample's own
 * shape. */
typedef struct accel_samples {
    int64_t count; /* 1 or more */
    const int64_t *indices;
    int32_t num_fields;
    const accel_tensor_t *fields;
} accel_samples_t;

/* Make a batch of samples: give each of its fields by accel_collate_field(). Called by the worker
 * that read them; by several at once with num_workers > 1. `samples` is valid during the call. An
 * error ends the epoch, naming the batch's first sample. */
typedef struct accel_collated accel_collated_t;
typedef accel_status_t (*accel_collate_fn)(void *context, const accel_samples_t *samples,
                                           accel_collated_t *batch);

/* Memory for field `field` of the batch, of this shape: as many extents as the field has, and the
 * rows before them, [rows, ...]. Uninitialised, on 64 bytes, of the loader's. NULL if there is none
 * or the shape does not fit the field: return any error then, the text is made. Only within the
 * callback, once a field. The rows need not be the samples' number (sequences may be packed)
 * unless the loader dispatches. */
ACCEL_API void *accel_collate_field(accel_collated_t *batch, int32_t field, const int64_t *shape);

/* A collate: every extent that varies becomes the largest of the batch's samples, and what is
 * missing at the end is filled. `context` is NULL, to fill with 0, or a const double[] with the
 * value of each field. Only with the dataset's own fields. */
ACCEL_API accel_status_t accel_collate_pad(void *context, const accel_samples_t *samples,
                                           accel_collated_t *batch);

/* ---- the loader ---- */

typedef struct accel_loader accel_loader_t;

typedef struct accel_loader_options {
    size_t struct_size;
    int64_t batch_size; /* 0: 1; of one rank, or global with split_batches */
    bool drop_last;

    /* The order: at most one of the first three. Streams come as they are. */
    bool shuffle;
    accel_sampler_fn sampler;
    accel_batch_sampler_fn batch_sampler; /* without batch_size and split_batches */
    void *sampler_context;                /* of either */
    int64_t sampler_length;               /* numbers in a sampler's order; 0: the dataset's */
    uint64_t seed; /* of the shuffle; 0: ACCEL_DEFAULT_SEED; ACCEL_SEED_ZERO: 0 */

    /* Which rank gets what. */
    accel_tristate_t split_batches; /* default: the accelerator's, else off */
    accel_tristate_t even_batches;  /* default: the accelerator's, else on */
    /* The main process reads, and the others get their part of its batches: accel_loader_begin()
     * and accel_loader_next() are collective then. The dataset and the callbacks of other ranks
     * are never asked. Default: the accelerator's, else on for streams and off otherwise. */
    accel_tristate_t dispatch_batches;
    /* Every rank's dataset holds samples of its own, as when each has its own files: nothing is
     * sharded. Not for streams. */
    bool presharded;

    /* How. */
    accel_tristate_t prefetch; /* workers that read ahead; default: on, but off for tensor
                                  datasets, whose rows are merely copied */
    int32_t num_workers;       /* threads; 0: 1 */
    int32_t prefetch_factor;   /* batches that each reads ahead; 0: 2 */
    int32_t keep_batches;      /* how many batches are valid at a time; 0: 1, the last one */
    accel_collate_fn collate;  /* NULL: samples are laid one below the other */
    void *collate_context;
    const accel_field_t *collate_fields; /* of the batches; NULL: the dataset's; copied */
    int32_t num_collate_fields;
} accel_loader_options_t;

ACCEL__OPTIONS_INIT(accel_loader_options)
#define ACCEL_LOADER_OPTIONS(...) ACCEL__OPTIONS(accel_loader_options_t, __VA_ARGS__)

/* What one rank works on at one step. Everything is the loader's, in ordinary memory, and valid
 * until the keep_batches-th accel_loader_next() after the one that gave it; at the longest until
 * accel_loader_begin(), _destroy() or the end of the loader's accelerator. It may be written to. */
typedef struct accel_batch {
    int64_t rows;      /* samples; 0 if this rank has none at this step */
    int64_t real_rows; /* of the step over all ranks: rows that are not padding */
    int64_t step;      /* 0 .. steps - 1, equal on all ranks */
    bool last;         /* the epoch's last step */
    int32_t num_fields;
    const accel_tensor_t *fields; /* shape [rows, field's shape ...], data on 64 bytes */
    const int64_t *indices;       /* the rows' sample numbers; a stream's are counted from 0 */
} accel_batch_t;

/* Borrows `dataset`. Unprepared, or prepared for one process, it serves the whole data, the
 * last batch as short as it is. The batches, and all that is said of them here, do not depend on
 * the number of workers. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_create(accel_dataset_t *dataset,
                                                             const accel_loader_options_t *options,
                                                             accel_loader_t **loader);
ACCEL_API void accel_loader_destroy(accel_loader_t *loader);

/* Start epoch `epoch` >= 0, which with the seed decides the order. An epoch under way is
 * given up. Collective if the loader is prepared and has a sampler of the program's own, or
 * dispatches; else local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_begin(accel_loader_t *loader, int64_t epoch);

/* The next batch: ACCEL_OK, or ACCEL_END after the last, which also ends the epoch, as an
 * error does. All ranks make equally many steps. Collective if the loader dispatches, else
 * local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_next(accel_loader_t *loader,
                                                           accel_batch_t *batch);

/* Leave an epoch early. Not needed after ACCEL_END. Local. */
ACCEL_API void accel_loader_end(accel_loader_t *loader);

/* Steps of a whole epoch, equal on all ranks. -1 where it is not known: a stream without a length;
 * a batch sampler before its first epoch. */
ACCEL_API int64_t accel_loader_length(const accel_loader_t *loader);

/* The sharding in force: of one process before accel_prepare(). With a batch sampler, of the
 * batches' numbers; presharded, of this rank's own samples. */
ACCEL_API accel_shard_t accel_loader_shard(const accel_loader_t *loader);

/* while (ACCEL_NEXT(loader, &batch)) { ... }: false at the epoch's end; an error ends the
 * program, as ACCEL_CHECK does. A loop that is left by `break` calls accel_loader_end(), or
 * uses the next macro. */
#define ACCEL_NEXT(loader, batch) (ACCEL_CHECK(accel_loader_next(loader, batch)) == ACCEL_OK)

/* ACCEL_EPOCH(loader, epoch, &batch) { ... }: the block for each batch of the epoch, between
 * accel_loader_begin() and accel_loader_end(), however it is left: also by break, return or goto.
 * An error ends the program. They nest. For gcc and clang. */
#define ACCEL_EPOCH(loader, epoch, batch) \
    ACCEL__EPOCH(loader, epoch, batch, ACCEL__EPOCH_NAME(accel__epoch_, __LINE__))
#define ACCEL__EPOCH_NAME(name, line) ACCEL__EPOCH_PASTE(name, line)
#define ACCEL__EPOCH_PASTE(name, line) name##line
#define ACCEL__EPOCH(loader, epoch, batch, name)                                          \
    for (accel_loader_t *name __attribute__((cleanup(accel_loader_leave))) =              \
             ACCEL_CHECK(accel_loader_begin(loader, epoch)) == ACCEL_OK ? (loader) : NULL; \
         ACCEL_NEXT(name, batch);)

/* What ACCEL_EPOCH calls at its end. */
static inline void accel_loader_leave(accel_loader_t **loader)
{
    accel_loader_end(*loader);
}

/* ---- going on in the middle of an epoch ---- */

/* skip_first_batches: the next accel_loader_begin() starts `batches` steps later, and batch.step
 * there. Costs nothing where samples have numbers; a stream reads what it skips. Local; the same on
 * every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_skip(accel_loader_t *loader, int64_t batches);

/* Where a loader stands, in plain numbers that a program may store: equal on all ranks. Positions
 * are counted in samples, so another number of ranks, or another batch size, goes on
 * with exactly the samples that are left. */
typedef struct accel_loader_state {
    int64_t epoch;    /* under way; after the last batch's ACCEL_END the next one */
    int64_t position; /* samples of its order that were handed out, over all ranks; presharded: of
                         this rank */
    int64_t length;   /* of the order; -1: not known, or the rank's own */
    bool shuffle;
    uint64_t seed; /* of the shuffle */
} accel_loader_state_t;

/* The batch that was handed out last counts as done. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_get_state(const accel_loader_t *loader,
                                                                accel_loader_state_t *state);

/* The next accel_loader_begin(), which must be of state->epoch, starts there. The seed is the
 * state's from then on. ACCEL_ERR_MISMATCH if the loader's data or order is another. Local, and the
 * same on every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_loader_set_state(accel_loader_t *loader,
                                                                const accel_loader_state_t *state);

#ifdef __cplusplus
}
#endif

#endif
