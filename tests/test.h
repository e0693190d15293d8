/* SPDX-License-Identifier: Apache-2.0 */
/* The test harness: checks, a main that runs one named test (ctest starts each test as a
 * process of its own), and a runner of ranks.
 *
 *     static void adds(void) { CHECK(1 + 1 == 2); }
 *     TEST_MAIN(TEST(adds), ...)
 *
 * A test of N ranks: TEST_RANKS(3, fn) forks three processes, each of which calls
 * fn(rank, size) and makes its world by test_comm() or test_accelerator(). With
 * ACCEL_TEST_THREADS=1 (the thread sanitizer) the ranks are threads instead. */
#ifndef ACCEL_TESTS_TEST_H
#define ACCEL_TESTS_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

#ifdef __cplusplus
#define TEST_NORETURN [[noreturn]]
extern "C" {
#else
#define TEST_NORETURN _Noreturn
#endif

typedef void (*test_fn)(void);
typedef void (*test_rank_fn)(int rank, int size);
typedef struct test {
    const char *name;
    test_fn run;
} test_t;

/* End the test with a line that says what was found. */
TEST_NORETURN void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int test_main(int argc, char **argv, const test_t *tests, size_t count);

/* Run fn on `size` ranks; the test fails with the first rank that does. */
void test_ranks(int size, test_rank_fn fn);
#define TEST_RANKS(size, fn) test_ranks(size, fn)

/* Only in a rank: its world, made once per call, collective. */
accel_comm_t *test_comm(void);
accel_t *test_accelerator(accel_options_t options); /* from accel_options_init() */
/* Fill in where the ranks come from, for options made by hand. */
void test_world(accel_options_t *options);
/* Are the ranks threads of one process? Then a test must not kill one. */
bool test_ranks_are_threads(void);

/* A fresh empty directory, removed when the test's process ends well. */
const char *test_dir(void);

#define TEST(fn) \
    {            \
#fn, fn  \
    }
#define TEST_MAIN(...)                                                       \
    int main(int argc, char **argv)                                          \
    {                                                                        \
        static const test_t tests[] = {__VA_ARGS__};                         \
        return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests)); \
    }

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition))                                    \
            test_fail(__FILE__, __LINE__, "%s", #condition); \
    } while (0)

/* A call must give this status; the last error is shown when it does not. */
#define CHECK_STATUS(expected, call) test_check_status(__FILE__, __LINE__, #call, expected, call)
#define CHECK_OK(call) test_check_status(__FILE__, __LINE__, #call, ACCEL_OK, call)
void test_check_status(const char *file, int line, const char *call, accel_status_t expected,
                       accel_status_t found);

#ifdef __cplusplus
}
#endif

/* The last error's text must contain this. */
#define CHECK_ERROR(text)                                                                    \
    do {                                                                                     \
        if (!strstr(accel_last_error(), text))                                               \
            test_fail(__FILE__, __LINE__, "error is '%s', without '%s'", accel_last_error(), \
                      text);                                                                 \
    } while (0)

#define CHECK_INT(expected, found)                                                             \
    do {                                                                                       \
        long long check_e_ = (long long)(expected), check_f_ = (long long)(found);             \
        if (check_e_ != check_f_)                                                              \
            test_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #found, check_f_, check_e_); \
    } while (0)
#define CHECK_NEAR(expected, found, tolerance)                                                   \
    do {                                                                                         \
        double check_e_ = (double)(expected), check_f_ = (double)(found);                        \
        if (!(fabs(check_e_ - check_f_) <= (tolerance)))                                         \
            test_fail(__FILE__, __LINE__, "%s is %.17g, not %.17g", #found, check_f_, check_e_); \
    } while (0)
#define CHECK_STR(expected, found)                                        \
    do {                                                                  \
        const char *check_e_ = (expected), *check_f_ = (found);           \
        if (!check_f_ || strcmp(check_e_, check_f_) != 0)                 \
            test_fail(__FILE__, __LINE__, "%s is '%s', not '%s'", #found, \
                      check_f_ ? check_f_ : "(null)", check_e_);          \
    } while (0)

#endif
