/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#define MAX_BATCH 64

static accel_shard_t shard_of(const json_t *row)
{
    return (accel_shard_t){.samples = vectors_int(row, "dataset_len"),
                           .batch_size = vectors_int(row, "batch_size"),
                           .num_processes = vectors_int(row, "num_processes"),
                           .split_batches = vectors_bool(row, "split_batches"),
                           .drop_last = vectors_bool(row, "drop_last"),
                           .even_batches = vectors_bool(row, "even_batches")};
}

static void check_batch(const json_t *row, const json_t *expected, const int64_t *positions,
                        int64_t length)
{
    VECTORS_CHECK(row, (int64_t)json_array_size(expected) == length);
    for (int64_t k = 0; k < length; k++)
        VECTORS_CHECK(row, vectors_at(expected, (size_t)k) == positions[k]);
}

/* One rank's batches over the whole epoch. Returns how many it has. */
static int64_t check_rank(const json_t *row, const accel_shard_t *shard, int64_t rank)
{
    const json_t *expected = json_array_get(json_object_get(row, "expected"), (size_t)rank);
    int64_t positions[MAX_BATCH], found = 0;

    CHECK(json_is_array(expected));
    for (int64_t step = 0; step < accel_shard_steps(shard); step++) {
        int64_t length = accel_shard_batch(shard, step, rank, positions);

        VECTORS_CHECK(row, length == accel_shard_batch(shard, step, rank, NULL));
        if (length == 0)
            continue;
        check_batch(row, json_array_get(expected, (size_t)found++), positions, length);
    }
    VECTORS_CHECK(row, found == (int64_t)json_array_size(expected));
    return found;
}

static void check_row(const json_t *row, const accel_shard_t *shard)
{
    int64_t longest = 0;

    if (json_is_null(json_object_get(row, "expected"))) {
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_shard_check(shard));
        CHECK_ERROR("split_batches: batch_size ");
        CHECK_INT(0, accel_shard_steps(shard));
        return;
    }
    CHECK_OK(accel_shard_check(shard));
    for (int64_t rank = 0; rank < shard->num_processes; rank++) {
        int64_t found = check_rank(row, shard, rank);

        longest = found > longest ? found : longest;
    }
    VECTORS_CHECK(row, longest == accel_shard_steps(shard));
}

static void map_style_rows(void)
{
    json_t *root = vectors_load("batch_sampler_shard"), *row;
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        accel_shard_t shard = shard_of(row);

        check_row(row, &shard);
    }
    CHECK_INT(2252, i);
    json_decref(root);
}

/* A stream's shard is the same function, always even. */
static void iterable_rows(void)
{
    json_t *root = vectors_load("iterable_dataset_shard"), *row;
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        accel_shard_t shard = shard_of(row);

        shard.even_batches = true;
        check_row(row, &shard);
    }
    CHECK_INT(1117, i);
    json_decref(root);
}

/* Batches of varying size are handed out whole: what is sharded is their numbers. */
static void whole_batches_rows(void)
{
    json_t *root = vectors_load("batch_sampler_shard_dynamic"), *row;
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        const json_t *batches = json_object_get(row, "batches");
        accel_shard_t shard = {.samples = (int64_t)json_array_size(batches),
                               .batch_size = 1,
                               .num_processes = vectors_int(row, "num_processes"),
                               .drop_last = vectors_bool(row, "drop_last"),
                               .even_batches = vectors_bool(row, "even_batches")};

        CHECK_OK(accel_shard_check(&shard));
        for (int64_t rank = 0; rank < shard.num_processes; rank++) {
            const json_t *expected = json_array_get(json_object_get(row, "expected"), (size_t)rank);
            int64_t batch;
            size_t found = 0;

            for (int64_t step = 0; step < accel_shard_steps(&shard); step++)
                if (accel_shard_batch(&shard, step, rank, &batch) == 1)
                    VECTORS_CHECK(row, json_equal(json_array_get(batches, (size_t)batch),
                                                  json_array_get(expected, found++)));
            VECTORS_CHECK(row, found == json_array_size(expected));
        }
    }
    CHECK_INT(86, i);
    json_decref(root);
}

/* Over all ranks and steps, the rows that are not padding are the order, once each. */
static void every_sample_exactly_once(void)
{
    for (int64_t samples = 0; samples < 70; samples++)
        for (int64_t processes = 1; processes <= 8; processes++)
            for (int flags = 0; flags < 4; flags++) {
                accel_shard_t shard = {.samples = samples,
                                       .num_processes = processes,
                                       .batch_size = flags & 1 ? 2 * processes : 3,
                                       .split_batches = flags & 1,
                                       .even_batches = flags & 2};
                int64_t positions[MAX_BATCH], next = 0;

                for (int64_t step = 0; step < accel_shard_steps(&shard); step++) {
                    int64_t left = accel_shard_real_rows(&shard, step);

                    for (int64_t rank = 0; rank < processes; rank++) {
                        int64_t length = accel_shard_batch(&shard, step, rank, positions);

                        for (int64_t k = 0; k < length && left > 0; k++, left--)
                            CHECK_INT(next++, positions[k]);
                    }
                    CHECK_INT(0, left);
                }
                CHECK_INT(samples, next);
            }
}

/* accelerate's test_distributed_data_loop: batch sizes on two ranks. */
static void even_batches_table(void)
{
    static const struct {
        int64_t samples, batch_size;
        bool even;
        int64_t sizes[2][2];
    } table[] = {{3, 1, true, {{1, 1}, {1, 1}}},
                 {7, 2, true, {{2, 2}, {2, 2}}},
                 {3, 1, false, {{1, 1}, {1, 0}}},
                 {7, 2, false, {{2, 2}, {2, 1}}}};

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        accel_shard_t shard = {.samples = table[i].samples,
                               .batch_size = table[i].batch_size,
                               .num_processes = 2,
                               .even_batches = table[i].even};

        CHECK_INT(2, accel_shard_steps(&shard));
        for (int64_t rank = 0; rank < 2; rank++)
            for (int64_t step = 0; step < 2; step++)
                CHECK_INT(table[i].sizes[rank][step], accel_shard_batch(&shard, step, rank, NULL));
    }
}

static void steps_and_ranks_outside_are_empty(void)
{
    accel_shard_t shard = {
        .samples = 10, .batch_size = 2, .num_processes = 2, .even_batches = true};
    int64_t positions[2];

    CHECK_INT(3, accel_shard_steps(&shard));
    CHECK_INT(0, accel_shard_batch(&shard, -1, 0, positions));
    CHECK_INT(0, accel_shard_batch(&shard, 3, 0, positions));
    CHECK_INT(0, accel_shard_batch(&shard, 0, -1, positions));
    CHECK_INT(0, accel_shard_batch(&shard, 0, 2, positions));
    CHECK_INT(0, accel_shard_real_rows(&shard, -1));
    CHECK_INT(0, accel_shard_real_rows(&shard, 3));
    CHECK_INT(2, accel_shard_real_rows(&shard, 2));
}

static void absurd_shards_are_refused(void)
{
    static const struct {
        accel_shard_t shard;
        const char *text;
    } bad[] = {{{-1, 1, 1, false, false, true}, "samples is -1"},
               {{1, 0, 1, false, false, true}, "batch_size is 0"},
               {{1, -1, 1, false, false, true}, "batch_size is -1"},
               {{1, 1, 0, false, false, true}, "num_processes is 0"},
               {{1, 3, 2, true, false, true}, "3 is not a multiple of 2"},
               {{1, 1, 2, true, false, true}, "1 is not a multiple of 2"},
               {{1, INT64_MAX / 2, 3, false, false, true}, "too large"},
               {{INT64_MAX, 1, 1, false, false, true}, "too large"}};
    accel_shard_t largest = {.samples = INT64_MAX - 1, .batch_size = 1, .num_processes = 1};
    int64_t position;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_shard_check(&bad[i].shard));
        CHECK_ERROR(bad[i].text);
        CHECK_INT(0, accel_shard_steps(&bad[i].shard));
        CHECK_INT(0, accel_shard_batch(&bad[i].shard, 0, 0, &position));
        CHECK_INT(0, accel_shard_real_rows(&bad[i].shard, 0));
    }
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_shard_check(NULL));
    CHECK_INT(0, accel_shard_steps(NULL));
    CHECK_OK(accel_shard_check(&largest));
    CHECK_INT(INT64_MAX - 1, accel_shard_steps(&largest));
    CHECK_INT(1, accel_shard_batch(&largest, INT64_MAX - 2, 0, &position));
    CHECK_INT(INT64_MAX - 2, position);
}

/* Where upstream raises on an empty list with padding, each rank's part is empty. */
static void check_split(const json_t *row, int64_t rank)
{
    int64_t length = vectors_int(row, "length");
    accel_split_t split = accel_split(length, vectors_int(row, "num_processes"), rank,
                                      vectors_bool(row, "apply_padding"));
    const json_t *expected = json_array_get(json_object_get(row, "expected"), (size_t)rank);

    if (json_is_null(json_object_get(row, "expected"))) {
        VECTORS_CHECK(row, length == 0 && vectors_bool(row, "apply_padding"));
        VECTORS_CHECK(row, split.begin == 0 && split.count == 0 && split.padding == 0);
        return;
    }
    VECTORS_CHECK(row, (int64_t)json_array_size(expected) == split.count + split.padding);
    for (int64_t i = 0; i < split.count + split.padding; i++) {
        int64_t item = i < split.count ? split.begin + i : length - 1;

        VECTORS_CHECK(row, vectors_at(expected, (size_t)i) == item);
    }
}

static void split_rows(void)
{
    json_t *root = vectors_load("split_between_processes"), *row;
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i,
                       row) for (int64_t rank = 0; rank < vectors_int(row, "num_processes"); rank++)
        check_split(row, rank);
    CHECK_INT(108, i);
    json_decref(root);
}

static void absurd_splits_are_empty(void)
{
    CHECK_INT(0, accel_split(-1, 2, 0, true).count);
    CHECK_INT(0, accel_split(5, 0, 0, true).count);
    CHECK_INT(0, accel_split(5, 2, -1, true).count);
    CHECK_INT(0, accel_split(5, 2, 2, true).padding);
}

TEST_MAIN(TEST(map_style_rows), TEST(iterable_rows), TEST(whole_batches_rows),
          TEST(every_sample_exactly_once), TEST(even_batches_table),
          TEST(steps_and_ranks_outside_are_empty), TEST(absurd_shards_are_refused),
          TEST(split_rows), TEST(absurd_splits_are_empty))
