/* SPDX-License-Identifier: Apache-2.0
 * test-timeout: 120 */
/* find_executable_batch_size: the sizes tried, agreement between ranks, and a communicator that is
 * whole after a rank ran out of memory in the middle of the others' collective. */
#include "test.h"
#include "vectors.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/utils.h>

/* ---- the sizes ---- */

typedef struct tried {
    int64_t sizes[256];
    size_t count;
} tried_t;

static accel_status_t never_fits(void *context, int64_t batch_size)
{
    tried_t *tried = context;

    tried->sizes[tried->count++] = batch_size;
    return accel_fail(ACCEL_ERR_NO_MEMORY, "no room for %d", (int)batch_size);
}

static void sizes_are_upstreams(void)
{
    json_t *file = vectors_load("find_executable_batch_size"), *vector;
    size_t i;

    json_array_foreach (json_object_get(file, "vectors"), i, vector) {
        const json_t *expected = json_object_get(vector, "tried_until_zero");
        tried_t tried = {.count = 0};

        CHECK_STATUS(ACCEL_ERR_NO_MEMORY,
                     accel_find_executable_batch_size(
                         NULL,
                         ACCEL_FIND_BATCH_SIZE_OPTIONS(.starting_batch_size = json_integer_value(
                                                           json_object_get(vector, "starting_batch_size"))),
                         never_fits, &tried, NULL));
        CHECK_INT(json_array_size(expected), tried.count);
        for (size_t k = 0; k < tried.count; k++)
            CHECK_INT(json_integer_value(json_array_get(expected, k)), tried.sizes[k]);
    }
    CHECK(i > 10);
    json_decref(file);
}

static int64_t halved(int64_t batch_size)
{
    return batch_size / 2;
}

static int64_t stuck(int64_t batch_size)
{
    return batch_size;
}

static accel_status_t fits_ten(void *context, int64_t batch_size)
{
    (void)context;
    return batch_size <= 10 ? ACCEL_OK : accel_fail(ACCEL_ERR_NO_MEMORY, "no room");
}

static void a_rule_of_ones_own(void)
{
    int64_t found = 0;

    CHECK_OK(accel_find_executable_batch_size(
        NULL, ACCEL_FIND_BATCH_SIZE_OPTIONS(.reduce_batch_size = halved), fits_ten, NULL, &found));
    CHECK_INT(8, found);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_find_executable_batch_size(
                                        NULL, ACCEL_FIND_BATCH_SIZE_OPTIONS(.reduce_batch_size = stuck),
                                        fits_ten, NULL, &found));
    CHECK_ERROR("reduce_batch_size(128) is 128; expected less");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_find_executable_batch_size(NULL, NULL, NULL, NULL, NULL));
}

/* ---- ranks ---- */

typedef struct attempt {
    accel_t *accelerator;
    int rank, size, attempts;
    accel_status_t other; /* what rank 1 returns instead at batch 81; ACCEL_OK: nothing */
    bool dies;
} attempt_t;

/* Each attempt has collectives of different sizes; rank `attempts` mod size gives up in their
 * midst, a different number of them done. */
static accel_status_t uneven(void *context, int64_t batch_size)
{
    attempt_t *attempt = context;
    double values[300];
    accel_status_t status;

    attempt->attempts++;
    for (int i = 0; i < 6; i++) {
        if (batch_size > 81 && attempt->rank == attempt->attempts % attempt->size &&
            i == attempt->attempts % 6)
            return accel_fail(ACCEL_ERR_NO_MEMORY, "rank %d is full", attempt->rank);
        if (batch_size == 81 && attempt->rank == 1 && i == 3 && attempt->dies)
            raise(SIGKILL);
        if (batch_size == 81 && attempt->rank == 1 && i == 3 && attempt->other != ACCEL_OK)
            return accel_fail(attempt->other, "rank 1 is ill");
        for (int k = 0; k < 300; k++)
            values[k] = attempt->rank + 1;
        status = accel_reduce(attempt->accelerator, ACCEL_TENSOR(values, ACCEL_F64, 300), ACCEL_SUM);
        if (status != ACCEL_OK)
            return status;
        CHECK(values[299] == attempt->size * (attempt->size + 1) / 2);
    }
    return ACCEL_OK;
}

static void check_whole(accel_t *accelerator, int size)
{
    float *values = calloc(50000, sizeof(*values));
    accel_tensor_t *gathered;

    CHECK(values);
    for (size_t i = 0; i < 50000; i++)
        values[i] = 2;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(accel_wait_for_everyone(accelerator));
        CHECK_OK(accel_gather(accelerator, ACCEL_TENSOR(values, ACCEL_F32, 50000), &gathered));
        CHECK_INT(50000 * size, accel_tensor_numel(gathered));
        accel_tensor_destroy(gathered);
    }
    free(values);
}

static void ranks_agree(int rank, int size)
{
    attempt_t attempt = {.accelerator = test_accelerator(accel_options_init()), .rank = rank,
                         .size = size};
    int64_t found = 0;

    for (int round = 0; round < 10; round++) {
        CHECK_OK(accel_find_executable_batch_size(attempt.accelerator, NULL, uneven, &attempt,
                                                  &found));
        CHECK_INT(73, found);
        check_whole(attempt.accelerator, size);
    }
    CHECK_INT(60, attempt.attempts); /* 128 115 103 92 82 73 */
    accel_destroy(attempt.accelerator);
}

static void all_ranks_try_the_same_sizes(void)
{
    TEST_RANKS(1, ranks_agree);
    TEST_RANKS(2, ranks_agree);
    TEST_RANKS(4, ranks_agree);
}

static void another_error(int rank, int size)
{
    attempt_t attempt = {.accelerator = test_accelerator(accel_options_init()), .rank = rank,
                         .size = size, .other = ACCEL_ERR_IO};
    accel_find_batch_size_options_t options = accel_find_batch_size_options_init();
    int64_t found = 0;

    options.starting_batch_size = 90;
    CHECK_STATUS(rank == 1 ? ACCEL_ERR_IO : ACCEL_ERR_REMOTE,
                 accel_find_executable_batch_size(attempt.accelerator, &options, uneven, &attempt,
                                                  &found));
    CHECK_ERROR("rank 1 is ill");
    CHECK_INT(2, attempt.attempts);
    check_whole(attempt.accelerator, size);
    accel_destroy(attempt.accelerator);
}

static void other_errors_are_final(void)
{
    TEST_RANKS(2, another_error);
    TEST_RANKS(3, another_error);
}

static void a_death(int rank, int size)
{
    attempt_t attempt = {.accelerator = test_accelerator(accel_options_init()), .rank = rank,
                         .size = size, .dies = rank == 1};
    accel_find_batch_size_options_t options = accel_find_batch_size_options_init();

    options.starting_batch_size = 90;
    CHECK_STATUS(ACCEL_ERR_REMOTE, accel_find_executable_batch_size(attempt.accelerator, &options,
                                                                    uneven, &attempt, NULL));
    CHECK_ERROR("rank 1");
    CHECK_ERROR("died");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_wait_for_everyone(attempt.accelerator));
    accel_destroy(attempt.accelerator);
    _exit(EXIT_SUCCESS);
}

static void run_a_death(int rank, int size)
{
    pid_t child;
    int status;

    (void)size;
    /* rank 1's death must not be the test's: it dies in a child that has joined in its place */
    child = fork();
    if (child == 0)
        a_death(rank, 3);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(rank == 1 ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_dead_rank_is_named(void)
{
    if (!test_ranks_are_threads())
        TEST_RANKS(3, run_a_death);
}

TEST_MAIN(TEST(sizes_are_upstreams), TEST(a_rule_of_ones_own), TEST(all_ranks_try_the_same_sizes),
          TEST(other_errors_are_final), TEST(a_dead_rank_is_named))
