/* SPDX-License-Identifier: Apache-2.0 */
/* Combining arrays: whatever instructions run, to the bit. */
#include "test.h"

#include "comm/reduce.h"

enum { SOURCES = 5, COUNT = 1000, HALVES = 2500 };

static float sources[SOURCES][COUNT], expected[COUNT], found[2][COUNT];
static double wide[SOURCES][COUNT], wide_expected[COUNT], wide_found[2][COUNT];

static void fill(void)
{
    for (int s = 0; s < SOURCES; s++)
        for (int i = 0; i < COUNT; i++)
            sources[s][i] = (float)(wide[s][i] = sin(1.3 * i + s) * exp(0.02 * (i % 50)));
}

/* In the order of the sources, one element at a time. */
static double serially(const double *values, int count, accel_reduction_t how, bool single)
{
    double result = values[0];

    for (int s = 1; s < count; s++) {
        if (how == ACCEL_MAX)
            result = values[s] > result ? values[s] : result;
        else if (how == ACCEL_MIN)
            result = values[s] < result ? values[s] : result;
        else
            result = single ? (double)((float)result + (float)values[s]) : result + values[s];
    }
    if (how == ACCEL_MEAN)
        result = single ? (double)((float)result / (float)count) : result / count;
    return result;
}

static void expect(int num_sources, accel_reduction_t how)
{
    for (int i = 0; i < COUNT; i++) {
        double column[SOURCES], wide_column[SOURCES];

        for (int s = 0; s < num_sources; s++) {
            column[s] = (double)sources[s][i];
            wide_column[s] = wide[s][i];
        }
        expected[i] = (float)serially(column, num_sources, how, true);
        wide_expected[i] = serially(wide_column, num_sources, how, false);
    }
}

static void instruction_sets_agree_to_the_bit(void)
{
    const void *at[SOURCES], *wide_at[SOURCES];
    void *const dsts[] = {found[0], found[1]}, *const wide_dsts[] = {wide_found[0], wide_found[1]};

    fill();
    for (int s = 0; s < SOURCES; s++) {
        at[s] = sources[s];
        wide_at[s] = wide[s];
    }
    for (int n = 1; n <= SOURCES; n++)
        for (int how = ACCEL_SUM; how <= ACCEL_MIN; how++)
            for (int isa = ACCEL__ISA_PLAIN; isa <= (int)accel__isa_best(); isa++) {
                accel__reduction_t narrow = {dsts, at, 2, n, (accel_reduction_t)how};
                accel__reduction_t broad = {wide_dsts, wide_at, 2, n, (accel_reduction_t)how};

                expect(n, (accel_reduction_t)how);
                memset(found, 0x55, sizeof(found));
                accel__reduce_f32((accel__isa_t)isa)(&narrow, 0, COUNT);
                accel__reduce_f64((accel__isa_t)isa)(&broad, 0, COUNT);
                for (int d = 0; d < 2; d++) {
                    CHECK(memcmp(expected, found[d], sizeof(expected)) == 0);
                    CHECK(memcmp(wide_expected, wide_found[d], sizeof(wide_expected)) == 0);
                }
            }
}

static void in_place_and_only_where_asked(void)
{
    const void *at[SOURCES];
    void *dsts[1] = {sources[3]};
    accel__reduction_t reduction = {dsts, at, 1, SOURCES, ACCEL_MEAN};
    float before[COUNT];

    fill();
    expect(SOURCES, ACCEL_MEAN);
    memcpy(before, sources[3], sizeof(before));
    for (int s = 0; s < SOURCES; s++)
        at[s] = sources[s];
    accel__reduce(&reduction, 100, 700, ACCEL_F32);
    CHECK(memcmp(before, sources[3], 100 * sizeof(float)) == 0);
    CHECK(memcmp(expected + 100, sources[3] + 100, 700 * sizeof(float)) == 0);
    CHECK(memcmp(before + 800, sources[3] + 800, 200 * sizeof(float)) == 0);
}

/* What one small float's element is to become: float32 throughout, rounded once. */
static uint16_t half_expected(uint16_t halves[SOURCES][HALVES], size_t i, int num_sources,
                              accel_reduction_t how, accel_dtype_t dtype)
{
    float column[SOURCES] = {0}, result;
    uint16_t half;

    for (int s = 0; s < num_sources; s++)
        accel__convert(&column[s], ACCEL_F32, &halves[s][i], dtype, 1);
    result = column[0];
    for (int s = 1; s < num_sources; s++) {
        if (how == ACCEL_MAX)
            result = column[s] > result ? column[s] : result;
        else if (how == ACCEL_MIN)
            result = column[s] < result ? column[s] : result;
        else
            result += column[s];
    }
    if (how == ACCEL_MEAN)
        result /= (float)num_sources;
    accel__convert(&half, dtype, &result, ACCEL_F32, 1);
    return half;
}

/* Across the blocks in which they are combined, with a rest, beside one result and in place. */
static void check_halves(uint16_t halves[SOURCES][HALVES], int num_sources, accel_reduction_t how,
                         accel_dtype_t dtype)
{
    static uint16_t in_place[HALVES], beside[HALVES];
    const void *at[SOURCES] = {in_place, halves[1], halves[2], halves[3], halves[4]};
    void *const dsts[] = {beside, in_place};
    accel__reduction_t reduction = {dsts, at, 2, num_sources, how};

    memcpy(in_place, halves[0], sizeof(in_place));
    memset(beside, 0x55, sizeof(beside));
    accel__reduce(&reduction, 3, HALVES - 4, dtype);
    CHECK(memcmp(beside + 3, in_place + 3, (HALVES - 4) * sizeof(*beside)) == 0);
    CHECK_INT(0x5555, beside[2]);
    CHECK_INT(0x5555, beside[HALVES - 1]);
    CHECK_INT(halves[0][2], in_place[2]);
    for (size_t i = 3; i < HALVES - 1; i++)
        CHECK_INT(half_expected(halves, i, num_sources, how, dtype), beside[i]);
}

static void small_floats_are_rounded_once(void)
{
    static uint16_t halves[SOURCES][HALVES];

    for (int t = 0; t < 2; t++) {
        accel_dtype_t dtype = t == 0 ? ACCEL_BF16 : ACCEL_F16;

        for (size_t i = 0; i < (size_t)SOURCES * HALVES; i++) { /* with subnormals of either type */
            float number = ldexpf((float)((int)(i * 7919 % 2003) - 1001), -(int)(i % 35) - 4);

            number = i % 97 == 0 ? number * 0x1p-120f : number;
            accel__convert(&halves[i / HALVES][i % HALVES], dtype, &number, ACCEL_F32, 1);
        }
        for (int n = 1; n <= SOURCES; n++)
            for (int how = ACCEL_SUM; how <= ACCEL_MIN; how++)
                check_halves(halves, n, (accel_reduction_t)how, dtype);
    }
}

/* A NaN of any rank is the result: a maximum that hides one hides a broken run. */
static void nan_comes_through(void)
{
    for (int how = ACCEL_SUM; how <= ACCEL_MIN; how++)
        for (int bad = 0; bad < 3; bad++) {
            float values[3] = {1, 2, 3}, result;
            const void *at[3] = {&values[0], &values[1], &values[2]};

            values[bad] = NAN;
            accel__reduce_block(&result, at, 3, 1, ACCEL_F32, (accel_reduction_t)how);
            CHECK(isnan(result));
        }
}

static void integers_wrap_and_truncate(void)
{
    int32_t a = INT32_MAX, b = 1, sum;
    int64_t c = -7, d = 0, mean;
    uint8_t e = 200, f = 100, small;

    accel__reduce_block(&sum, (const void *const[]){&a, &b}, 2, 1, ACCEL_I32, ACCEL_SUM);
    CHECK_INT(INT32_MIN, sum);
    accel__reduce_block(&mean, (const void *const[]){&c, &d}, 2, 1, ACCEL_I64, ACCEL_MEAN);
    CHECK_INT(-3, mean);
    accel__reduce_block(&small, (const void *const[]){&e, &f}, 2, 1, ACCEL_U8, ACCEL_SUM);
    CHECK_INT(44, small);
    accel__reduce_block(&small, (const void *const[]){&e, &f}, 2, 1, ACCEL_U8, ACCEL_MEAN);
    CHECK_INT(150, small); /* the sum of a mean does not wrap */
}

TEST_MAIN(TEST(instruction_sets_agree_to_the_bit), TEST(in_place_and_only_where_asked),
          TEST(small_floats_are_rounded_once), TEST(nan_comes_through),
          TEST(integers_wrap_and_truncate))
