/* SPDX-License-Identifier: Apache-2.0 */
/* What gather_for_metrics collects, row by row of upstream's own results: every simulated rank
 * runs the real loader, and what the ranks' batches hold is put together as a gather would. */
#include "vectors.h"

#include "data/data.h"

#define MAX_RANKS 4
#define MAX_SAMPLES 64

typedef struct rank {
    accel_loader_t *loader;
    accel__active_loaders_t active;
    accel__link_t prepared;
    accel_batch_t batch;
    int64_t batches;   /* with rows */
    int64_t last_rows; /* at the step that upstream's loader ends with */
} rank_t;

typedef struct run {
    accel_shard_t shard;
    rank_t ranks[MAX_RANKS];
    int64_t gathered;            /* rows, with padding */
    int64_t metric[MAX_SAMPLES]; /* what is kept */
    int64_t kept, last_keep;     /* last_keep: as gather_for_metrics had it at the last step */
} run_t;

static accel_status_t get_index(void *context, int64_t index, void *const *fields)
{
    (void)context;
    memcpy(fields[0], &index, sizeof(index));
    return ACCEL_OK;
}

static accel_dataset_t *index_dataset(int64_t length)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = length, .get = get_index,
                                                        .fields = &field, .num_fields = 1),
                                  &dataset));
    return dataset;
}

static void make_rank(rank_t *rank, accel_dataset_t *dataset, const accel_shard_t *shard,
                      int64_t index, bool prefetch)
{
    accel__loader_world_t world = {.process_index = index,
                                   .num_processes = shard->num_processes,
                                   .split_batches = shard->split_batches,
                                   .even_batches = shard->even_batches,
                                   .active = &rank->active,
                                   .prepared = &rank->prepared};

    *rank = (rank_t){0};
    accel__link_init(&rank->prepared);
    CHECK_OK(accel_loader_create(dataset,
                                 ACCEL_LOADER_OPTIONS(.batch_size = shard->batch_size,
                                                      .drop_last = shard->drop_last,
                                                      .prefetch = prefetch ? ACCEL_ON : ACCEL_OFF),
                                 &rank->loader));
    CHECK_OK(accel__loader_prepare(rank->loader, &world));
    CHECK_OK(accel_loader_begin(rank->loader, 0));
    CHECK_INT(-1, accel__loaders_metric_rows(&rank->active).keep_rows);
    CHECK(!accel__loaders_at_end(&rank->active));
}

/* One step: gather, then keep what the active loader says, as accel_gather_for_metrics does. */
static void gather_step(run_t *run)
{
    int64_t rows[MAX_SAMPLES], count = 0,
                               keep = accel__loaders_metric_rows(&run->ranks[0].active).keep_rows;

    for (int64_t r = 0; r < run->shard.num_processes; r++) {
        rank_t *rank = &run->ranks[r];
        const int64_t *values = rank->batch.fields[0].data;

        CHECK_INT(keep, accel__loaders_metric_rows(&rank->active).keep_rows);
        CHECK(rank->batch.last == accel__loaders_at_end(&rank->active));
        CHECK_INT(rank->batch.rows, rank->batch.fields[0].shape[0]);
        rank->batches += rank->batch.rows > 0;
        if (rank->batch.rows > 0 || rank->batch.last)
            rank->last_rows = rank->batch.rows;
        for (int64_t k = 0; k < rank->batch.rows; k++) {
            CHECK_INT(values[k], rank->batch.indices[k]);
            CHECK(count < MAX_SAMPLES);
            rows[count++] = values[k];
        }
    }
    run->gathered += count;
    run->last_keep = keep;
    if (keep >= 0 && keep < count)
        count = keep;
    CHECK_INT(run->ranks[0].batch.real_rows, count);
    CHECK(run->kept + count <= MAX_SAMPLES);
    memcpy(run->metric + run->kept, rows, (size_t)count * sizeof(*rows));
    run->kept += count;
}

static void run_epoch(run_t *run, bool prefetch)
{
    accel_dataset_t *dataset = index_dataset(run->shard.samples);
    int64_t steps = accel_shard_steps(&run->shard);

    for (int64_t r = 0; r < run->shard.num_processes; r++)
        make_rank(&run->ranks[r], dataset, &run->shard, r, prefetch);
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t r = 0; r < run->shard.num_processes; r++)
            CHECK_OK(accel_loader_next(run->ranks[r].loader, &run->ranks[r].batch));
        gather_step(run);
    }
    for (int64_t r = 0; r < run->shard.num_processes; r++) {
        CHECK_INT(steps, accel_loader_length(run->ranks[r].loader));
        CHECK_STATUS(ACCEL_END, accel_loader_next(run->ranks[r].loader, &run->ranks[r].batch));
        CHECK(run->ranks[r].active.top == NULL);
        accel_loader_destroy(run->ranks[r].loader);
    }
    accel_dataset_destroy(dataset);
}

static run_t run_row(const json_t *row, bool prefetch)
{
    run_t run = {.shard = {.samples = vectors_int(row, "dataset_len"),
                           .batch_size = vectors_int(row, "batch_size"),
                           .num_processes = vectors_int(row, "num_processes"),
                           .split_batches = vectors_bool(row, "split_batches"),
                           .drop_last = vectors_bool(row, "drop_last"),
                           .even_batches = vectors_bool(row, "even_batches")}};

    run_epoch(&run, prefetch);
    return run;
}

/* Every sample once, in order; with drop_last the whole global batches. */
static int64_t expected_samples(const accel_shard_t *shard)
{
    int64_t global = shard->batch_size * (shard->split_batches ? 1 : shard->num_processes);

    return shard->drop_last ? shard->samples / global * global : shard->samples;
}

static void check_metric(const json_t *row, const run_t *run)
{
    VECTORS_CHECK(row, run->kept == expected_samples(&run->shard));
    for (int64_t i = 0; i < run->kept; i++)
        VECTORS_CHECK(row, run->metric[i] == i);
}

/* Upstream trims where its remainder is positive. We trim where there is padding: never for one
 * process or with even_batches off, where upstream's trim keeps all rows anyway. */
static void check_remainder(const json_t *row, const run_t *run)
{
    const json_t *remainder = json_array_get(json_object_get(row, "remainder"), 0);
    bool padded = run->shard.even_batches && run->shard.num_processes > 1;
    int64_t expected = json_is_integer(remainder) && padded ? json_integer_value(remainder) : -1;

    if (run->ranks[0].batches == 0)
        return;
    VECTORS_CHECK(row, run->last_keep == (expected > 0 ? expected : -1));
}

/* A row where upstream's ranks make different numbers of steps and would wait for each other
 * forever: our ranks make equally many, some of them without rows. Rows of unequal size in a
 * step, which upstream cannot gather, are gathered. */
static void check_shard_row(const json_t *row, const run_t *run)
{
    const json_t *steps = json_object_get(row, "steps_per_rank");
    const json_t *last = json_object_get(row, "last_step_sizes");
    bool deadlock = vectors_bool(row, "deadlock");

    check_metric(row, run);
    check_remainder(row, run);
    VECTORS_CHECK(row, run->gathered == vectors_int(row, "gathered_samples"));
    for (int64_t r = 0; r < run->shard.num_processes; r++) {
        VECTORS_CHECK(row, run->ranks[r].batches == vectors_at(steps, (size_t)r));
        VECTORS_CHECK(row, run->ranks[r].last_rows == vectors_at(last, (size_t)r));
    }
    if (!deadlock)
        VECTORS_CHECK(row, run->kept == vectors_int(row, "metric_samples"));
    VECTORS_CHECK(row, !deadlock || !run->shard.even_batches);
}

static void shard_rows(void)
{
    json_t *root = vectors_load("gather_for_metrics"), *row;
    size_t i, deadlocks = 0;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        run_t run = run_row(row, i % 4 == 0);

        check_shard_row(row, &run);
        deadlocks += vectors_bool(row, "deadlock");
    }
    CHECK_INT(2663, i);
    CHECK_INT(281, deadlocks);
    json_decref(root);
}

/* There is no dispatcher: every rank reads its own part. Its metrics are ours, also where it
 * raises (nothing to read: no steps). It shrinks the last step's batches to equal parts of what is
 * left; ours stay whole and the padding is trimmed. */
static void check_dispatcher_row(const json_t *row, const run_t *run)
{
    int64_t real = run->kept, processes = run->shard.num_processes;
    int64_t global = run->shard.batch_size * (run->shard.split_batches ? 1 : processes);
    int64_t left = real % global ? real % global : global;

    check_metric(row, run);
    if (json_object_get(row, "error")) {
        VECTORS_CHECK(row, real == 0 && run->ranks[0].batches == 0);
        return;
    }
    VECTORS_CHECK(row, run->kept == vectors_int(row, "metric_samples"));
    VECTORS_CHECK(row,
                  run->ranks[0].batches == vectors_at(json_object_get(row, "steps_per_rank"), 0));
    VECTORS_CHECK(row, vectors_at(json_object_get(row, "last_step_sizes"), 0) ==
                           (left + processes - 1) / processes);
    VECTORS_CHECK(row, run->ranks[0].last_rows == (processes > 1 ? global / processes : left));
}

static void dispatcher_rows(void)
{
    json_t *root = vectors_load("gather_for_metrics_dispatcher"), *row;
    size_t i, errors = 0;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        run_t run = run_row(row, i % 4 == 0);

        check_dispatcher_row(row, &run);
        errors += json_object_get(row, "error") != NULL;
    }
    CHECK_INT(1688, i);
    CHECK_INT(232, errors);
    json_decref(root);
}

TEST_MAIN(TEST(shard_rows), TEST(dispatcher_rows))
