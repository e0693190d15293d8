/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#define MAX_SAMPLES 5000

static void check_epochs(const json_t *row)
{
    const json_t *epochs = json_object_get(row, "epochs");
    int64_t n = vectors_int(row, "n"), order[MAX_SAMPLES];

    CHECK(n <= MAX_SAMPLES && json_array_size(epochs) == 3);
    for (size_t epoch = 0; epoch < json_array_size(epochs); epoch++) {
        const json_t *expected = json_array_get(epochs, epoch);

        accel_shuffle((uint64_t)vectors_int(row, "data_seed"), (int64_t)epoch, n, order);
        VECTORS_CHECK(row, (int64_t)json_array_size(expected) == n);
        for (int64_t i = 0; i < n; i++)
            VECTORS_CHECK(row, vectors_at(expected, (size_t)i) == order[i]);
    }
}

static void seedable_sampler_rows(void)
{
    json_t *root = vectors_load("seedable_sampler"), *row;
    size_t i;

    json_array_foreach(json_object_get(root, "vectors"), i, row) check_epochs(row);
    CHECK_INT(45, i);
    json_decref(root);
}

static bool same(const int64_t *a, const int64_t *b, size_t count)
{
    return memcmp(a, b, count * sizeof(*a)) == 0;
}

static void orders_are_reproducible(void)
{
    int64_t first[100], again[100], other[100], seen[100] = {0};

    accel_shuffle(42, 0, 100, first);
    accel_shuffle(42, 0, 100, again);
    CHECK(same(first, again, 100));
    accel_shuffle(42, 1, 100, other);
    CHECK(!same(first, other, 100));
    accel_shuffle(43, 0, 100, again);
    CHECK(same(other, again, 100)); /* what counts is seed + epoch, as upstream */
    accel_shuffle(1042, 0, 100, other);
    CHECK(!same(first, other, 100));
    for (int i = 0; i < 100; i++)
        seen[first[i]]++;
    for (int i = 0; i < 100; i++)
        CHECK_INT(1, seen[i]);
}

static void only_the_low_half_of_the_seed_counts(void)
{
    int64_t low[50], high[50];

    accel_shuffle(UINT64_C(7), 0, 50, low);
    accel_shuffle(UINT64_C(7) + (UINT64_C(9) << 32), 0, 50, high);
    CHECK(same(low, high, 50));
    accel_shuffle(UINT64_MAX, 8, 50, high); /* wraps to 7 */
    CHECK(same(low, high, 50));
}

static void nothing_to_shuffle(void)
{
    int64_t order[1] = {-5};

    accel_shuffle(1, 0, 0, NULL);
    accel_shuffle(1, 0, -3, NULL);
    accel_shuffle(1, 0, 1, order);
    CHECK_INT(0, order[0]);
}

TEST_MAIN(TEST(seedable_sampler_rows), TEST(orders_are_reproducible),
          TEST(only_the_low_half_of_the_seed_counts), TEST(nothing_to_shuffle))
