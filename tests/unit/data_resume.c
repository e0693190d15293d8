/* SPDX-License-Identifier: Apache-2.0 */
/* Going on in the middle of an epoch: skipped batches, and states on other numbers of ranks. */
#include "vectors.h"

#include "data_ranks.h"

/* ---- skip_first_batches ---- */

/* What is left is upstream's. Its remainder is lost by skipping (-1), ours stays right, so that
 * metrics are exact; and lengths are of whole epochs. */
static void check_skipped(const json_t *row, const data_rank_t *rank, size_t index)
{
    const json_t *expected = json_array_get(json_object_get(row, "expected"), index);
    const json_t *end = json_array_get(json_object_get(row, "end"), index);
    int64_t skip = vectors_int(row, "skip"), step = skip;
    accel_shard_t shard = accel_loader_shard(rank->loader);
    accel_batch_t batch;

    CHECK_OK(accel_loader_skip(rank->loader, skip));
    ACCEL_EPOCH(rank->loader, 0, &batch) {
        const json_t *wanted = json_array_get(expected, (size_t)(step - skip));
        int64_t real = accel_shard_real_rows(&shard, step);

        VECTORS_CHECK(row, batch.step == step);
        VECTORS_CHECK(row, batch.rows == (int64_t)json_array_size(wanted));
        for (int64_t k = 0; k < batch.rows; k++)
            VECTORS_CHECK(row, batch.indices[k] == vectors_at(wanted, (size_t)k));
        VECTORS_CHECK(row, batch.last == vectors_at(end, (size_t)(step - skip)));
        VECTORS_CHECK(row, batch.real_rows == real);
        VECTORS_CHECK(row, accel__loaders_at_end(&rank->active) == batch.last);
        data_check_values(&batch);
        step++;
    }
    VECTORS_CHECK(row, step - skip == (int64_t)json_array_size(expected));
    step = 0; /* only the first resumed epoch is shorter */
    ACCEL_EPOCH(rank->loader, 1, &batch) {
        step++;
    }
    CHECK_INT(accel_loader_length(rank->loader), step);
}

static void skipped_rows(void)
{
    json_t *root = vectors_load("skip_first_batches"), *row;
    size_t i, lost = 0;

    json_array_foreach(json_object_get(root, "vectors"), i, row)
    {
        accel_dataset_t *dataset = data_indices(vectors_int(row, "dataset_len"));
        int64_t processes = vectors_int(row, "num_processes");
        const json_t *remainder = json_array_get(json_object_get(row, "remainder"), 0);

        lost += vectors_int(row, "skip") > 0 && json_is_integer(remainder) &&
                json_integer_value(remainder) == -1 && !vectors_bool(row, "drop_last");
        for (int64_t index = 0; index < processes; index++) {
            data_rank_t rank;

            data_rank_prepare(&rank, dataset,
                              ACCEL_LOADER_OPTIONS(.batch_size = vectors_int(row, "batch_size"),
                                                   .drop_last = vectors_bool(row, "drop_last")),
                              index, processes, NULL);
            check_skipped(row, &rank, (size_t)index);
            accel_loader_destroy(rank.loader);
        }
        accel_dataset_destroy(dataset);
    }
    CHECK_INT(277, i);
    CHECK(lost > 0); /* rows where upstream's metrics would count padding */
    json_decref(root);
}

static accel_status_t count_calls(void *context, int64_t index, void *const *fields)
{
    ++*(int64_t *)context;
    return data_get_index(NULL, index, fields);
}

/* Of map-style data nothing is read that is skipped; of a stream all of it. */
static void skipping_reads_nothing(void)
{
    const accel_field_t field = {.name = "index", .dtype = ACCEL_I64};
    data_count_t count = {.length = 100};
    int64_t calls = 0;
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = INT64_C(1) << 40,
                                                        .get = count_calls, .context = &calls,
                                                        .fields = &field, .num_fields = 1),
                                  &dataset));
    CHECK_OK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_size = 4, .prefetch = ACCEL_OFF), &loader));
    CHECK_OK(accel_loader_skip(loader, INT64_C(1) << 37));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(INT64_C(1) << 39, batch.indices[0]);
    CHECK_INT(4, calls);
    CHECK_OK(accel_loader_skip(loader, INT64_MAX)); /* beyond the end */
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_skip(loader, -1));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_skip(NULL, 1));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);

    dataset = data_stream(&count, false);
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 8), &loader));
    CHECK_OK(accel_loader_skip(loader, 12));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK_INT(96, batch.indices[0]);
    CHECK_INT(12, batch.step);
    CHECK(batch.last && batch.rows == 4);
    CHECK_OK(accel_loader_skip(loader, INT64_MAX));
    CHECK_OK(accel_loader_begin(loader, 0));
    CHECK_STATUS(ACCEL_END, accel_loader_next(loader, &batch));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

/* ---- states ---- */

enum { SAMPLES = 101, MAX_RANKS = 5 };

static accel_status_t uneven_batches(void *context, int64_t epoch, accel_batches_t *batches)
{
    int64_t indices[8], next = 0;

    (void)context;
    for (int64_t size = 1 + epoch; next < SAMPLES; size = size % 5 + 1) {
        int64_t count = 0;

        for (; count < size && next < SAMPLES; count++)
            indices[count] = (next++ * 7 + epoch) % SAMPLES;
        CHECK_OK(accel_batches_add(batches, indices, count));
    }
    return ACCEL_OK;
}

/* The real rows of all ranks' steps until `steps` steps are over; -1: all. Every rank's state is
 * the same. */
static int64_t collect(accel_dataset_t *dataset, const accel_loader_options_t *options,
                       int64_t processes, int64_t epoch, int64_t steps, int64_t *found,
                       accel_loader_state_t *state, bool resume)
{
    data_rank_t ranks[MAX_RANKS];
    accel_loader_state_t own;
    accel_batch_t batch;
    int64_t count = 0;

    for (int64_t r = 0; r < processes; r++) {
        data_rank_prepare(&ranks[r], dataset, options, r, processes, NULL);
        if (resume)
            CHECK_OK(accel_loader_set_state(ranks[r].loader, state));
        CHECK_OK(accel_loader_begin(ranks[r].loader, epoch));
    }
    for (int64_t step = 0; step != steps; step++) {
        int64_t left = 0;

        for (int64_t r = 0; r < processes; r++) {
            if (accel_loader_next(ranks[r].loader, &batch) == ACCEL_END) {
                step = steps - 1;
                continue;
            }
            left = r == 0 ? batch.real_rows : left;
            for (int64_t k = 0; k < batch.rows && left > 0; k++, left--)
                found[count++] = batch.indices[k];
        }
        CHECK_INT(0, left);
    }
    for (int64_t r = 0; r < processes; r++) {
        CHECK_OK(accel_loader_get_state(ranks[r].loader, &own));
        if (r > 0)
            CHECK(own.epoch == state->epoch && own.position == state->position);
        *state = own;
        accel_loader_destroy(ranks[r].loader);
    }
    return count;
}

/* Stopped after any number of steps on P ranks, gone on with Q ranks and another batch size: the
 * samples are those of an epoch that was never stopped. */
static void check_resumed(accel_dataset_t *dataset, accel_loader_options_t options, int64_t first,
                          int64_t second, int64_t steps)
{
    int64_t whole[SAMPLES + 1], parts[2 * SAMPLES], before;
    accel_loader_state_t state;

    CHECK_INT(SAMPLES, collect(dataset, &options, 1, 2, -1, whole, &state, false));
    CHECK(state.epoch == 3 && state.position == 0); /* the next one */
    before = collect(dataset, &options, first, 2, steps, parts, &state, false);
    CHECK_INT(2, state.epoch);
    CHECK_INT(before, state.position);
    if (options.batch_size)
        options.batch_size = 5;
    options.seed = 999; /* the state knows better */
    CHECK_INT(SAMPLES - before,
              collect(dataset, &options, second, 2, -1, parts + before, &state, true));
    CHECK(memcmp(whole, parts, SAMPLES * sizeof(*whole)) == 0);
    CHECK_INT(3, state.epoch);
}

static void states_on_other_numbers_of_ranks(void)
{
    accel_dataset_t *dataset = data_indices(SAMPLES);

    for (int64_t first = 1; first <= 4; first++)
        for (int64_t second = 1; second <= MAX_RANKS; second++)
            for (int64_t steps = 0; steps <= 8; steps += 4) {
                check_resumed(dataset,
                              *ACCEL_LOADER_OPTIONS(.batch_size = 3, .shuffle = true, .seed = 7),
                              first, second, steps);
                check_resumed(dataset, *ACCEL_LOADER_OPTIONS(.batch_size = 3), first, second,
                              steps);
                check_resumed(dataset, *ACCEL_LOADER_OPTIONS(.batch_sampler = uneven_batches),
                              first, second, steps);
            }
    accel_dataset_destroy(dataset);
}

/* A stream's, one rank after the other: each reads it whole. */
static void states_of_streams(void)
{
    data_count_t count = {.length = SAMPLES};
    accel_dataset_t *dataset = data_stream(&count, false);

    for (int64_t first = 1; first <= 3; first++)
        for (int64_t second = 1; second <= 3; second++) {
            int64_t seen = 0;

            for (int64_t r = 0; r < second; r++) {
                accel_loader_state_t state = {.position = first * 12, .length = -1};
                accel_batch_t batch;
                data_rank_t rank;

                data_rank_prepare(&rank, dataset, ACCEL_LOADER_OPTIONS(.batch_size = 4), r, second,
                                  NULL);
                CHECK_OK(accel_loader_set_state(rank.loader, &state));
                ACCEL_EPOCH(rank.loader, 0, &batch) {
                    int64_t from =
                        state.position + (batch.step - state.position / (4 * second)) * 4 * second;

                    for (int64_t k = 0; k < batch.rows; k++) {
                        int64_t at = from + 4 * r + k;

                        CHECK_INT(at < SAMPLES ? at : (at - SAMPLES) % (4 * second),
                                  batch.indices[k]);
                        seen += at < SAMPLES;
                    }
                    data_check_values(&batch);
                }
                accel_loader_destroy(rank.loader);
            }
            CHECK_INT(SAMPLES - first * 12, seen);
        }
    accel_dataset_destroy(dataset);
}

static void bad_states(void)
{
    accel_dataset_t *dataset = data_indices(10);
    accel_loader_state_t state, good;
    accel_loader_t *loader;
    accel_batch_t batch;

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_size = 2), &loader));
    CHECK_OK(accel_loader_get_state(loader, &good));
    CHECK(good.epoch == 0 && good.position == 0 && good.length == 10 && !good.shuffle);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_get_state(loader, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_get_state(NULL, &state));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_set_state(NULL, &state));
    state = good;
    state.length = 11;
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_loader_set_state(loader, &state));
    CHECK_ERROR("the state is of 11 samples, the loader has 10");
    state = good;
    state.shuffle = true;
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_loader_set_state(loader, &state));
    CHECK_ERROR("of a loader that shuffles, this one does not");
    state = good;
    state.position = 11;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_set_state(loader, &state));
    CHECK_ERROR("position 11 of 10");
    state.position = -1;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_loader_set_state(loader, &state));

    state = good;
    state.epoch = 3;
    state.position = 6;
    CHECK_OK(accel_loader_set_state(loader, &state));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_loader_begin(loader, 0));
    CHECK_ERROR("epoch 0, but the loader's state is of epoch 3");
    CHECK_OK(accel_loader_get_state(loader, &good));
    CHECK(good.epoch == 3 && good.position == 6);
    CHECK_OK(accel_loader_begin(loader, 3));
    CHECK_OK(accel_loader_next(loader, &batch));
    CHECK(batch.step == 3 && batch.indices[0] == 6);
    accel_loader_end(loader);
    CHECK_OK(accel_loader_get_state(loader, &good));
    CHECK(good.epoch == 3 && good.position == 8); /* where it was left */
    accel_loader_destroy(loader);

    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_sampler = uneven_batches),
                                 &loader));
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    dataset = data_indices(SAMPLES);
    CHECK_OK(accel_loader_create(dataset, ACCEL_LOADER_OPTIONS(.batch_sampler = uneven_batches),
                                 &loader));
    state = (accel_loader_state_t){.position = 2, .length = -1};
    CHECK_OK(accel_loader_set_state(loader, &state));
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_loader_begin(loader, 0));
    CHECK_ERROR("no batch of the batch sampler begins at sample 2");
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

TEST_MAIN(TEST(skipped_rows), TEST(skipping_reads_nothing), TEST(states_on_other_numbers_of_ranks),
          TEST(states_of_streams), TEST(bad_states))
