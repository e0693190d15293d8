/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "elements.h"
#include "ops/ops.h"

static const accel_dtype_t all_dtypes[] = {ACCEL_F32, ACCEL_F64, ACCEL_F16, ACCEL_BF16,
                                           ACCEL_I32, ACCEL_I64, ACCEL_U8};
#define NUM_DTYPES (sizeof(all_dtypes) / sizeof(*all_dtypes))

/* Element i of memory of any dtype. */
static double value_at(const void *data, accel_dtype_t dtype, int64_t i)
{
    switch (dtype) {
    case ACCEL_F32:
        return ((const float *)data)[i];
    case ACCEL_F64:
        return ((const double *)data)[i];
    case ACCEL_F16:
        return accel__f16_to_f32(((const uint16_t *)data)[i]);
    case ACCEL_BF16:
        return accel__bf16_to_f32(((const uint16_t *)data)[i]);
    case ACCEL_I32:
        return ((const int32_t *)data)[i];
    case ACCEL_I64:
        return (double)((const int64_t *)data)[i];
    case ACCEL_U8:
        return ((const uint8_t *)data)[i];
    }
    return NAN;
}

/* Rank r brings r + 1 rows of two, all numbered on through the ranks. */
static void gather_uneven(accel_comm_t *comm, int rank, int size, accel_dtype_t dtype)
{
    double memory[64];
    int64_t rows = rank + 1, total = size * (size + 1) / 2, first = rank * (rank + 1);
    accel_tensor_t *gathered;

    for (int64_t i = 0; i < rows * 2; i++)
        set_at(memory, dtype, i, (double)(first + i));
    CHECK_OK(accel__ops_gather(comm, ACCEL_TENSOR(memory, dtype, rows, 2), -1, &gathered));
    CHECK_INT(2, gathered->ndim);
    CHECK_INT(dtype, gathered->dtype);
    CHECK_INT(total, gathered->shape[0]);
    CHECK_INT(2, gathered->shape[1]);
    for (int64_t i = 0; i < total * 2; i++)
        CHECK_NEAR(i, value_at(gathered->data, dtype, i), 0);
    accel_tensor_destroy(gathered);
}

static void gathers(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    int64_t number = 100 + rank, one = 1;
    accel_tensor_t scalar = {.data = &number, .device = {ACCEL_CPU, 0}, .dtype = ACCEL_I64};
    accel_tensor_t *gathered;

    for (size_t d = 0; d < NUM_DTYPES; d++)
        gather_uneven(comm, rank, size, all_dtypes[d]);

    /* A single number is a row, and stands beside a row. */
    if (rank == size - 1)
        accel_tensor_view(&scalar, &number, ACCEL_I64, 1, &one);
    CHECK_OK(accel__ops_gather(comm, &scalar, -1, &gathered));
    CHECK_INT(1, gathered->ndim);
    CHECK_INT(size, gathered->shape[0]);
    for (int r = 0; r < size; r++)
        CHECK_INT(100 + r, ((int64_t *)gathered->data)[r]);
    accel_tensor_destroy(gathered);

    /* Only the first rows are kept; more than there are is all. */
    CHECK_OK(accel__ops_gather(comm, &scalar, 1, &gathered));
    CHECK_INT(1, gathered->shape[0]);
    CHECK_INT(100, ((int64_t *)gathered->data)[0]);
    accel_tensor_destroy(gathered);
    CHECK_OK(accel__ops_gather(comm, &scalar, 1000, &gathered));
    CHECK_INT(size, gathered->shape[0]);
    accel_tensor_destroy(gathered);
    accel_comm_destroy(comm);
}

/* Only the last rank has rows, and then nobody. */
static void gathers_of_nothing(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float row[3] = {1, 2, 3};
    bool last = rank == size - 1;
    accel_tensor_t *gathered;

    CHECK_OK(accel__ops_gather(comm, ACCEL_TENSOR(last ? row : NULL, ACCEL_F32, last, 3), -1,
                               &gathered));
    CHECK_INT(1, gathered->shape[0]);
    CHECK(memcmp(gathered->data, row, sizeof(row)) == 0);
    accel_tensor_destroy(gathered);
    CHECK_OK(accel__ops_gather(comm, ACCEL_TENSOR(NULL, ACCEL_F32, 0, 3), -1, &gathered));
    CHECK_INT(0, gathered->shape[0]);
    CHECK_INT(3, gathered->shape[1]);
    accel_tensor_destroy(gathered);
    CHECK_OK(accel__ops_gather(comm, ACCEL_TENSOR(NULL, ACCEL_F32, 2, 0), -1, &gathered));
    CHECK_INT(2 * size, gathered->shape[0]);
    accel_tensor_destroy(gathered);
    accel_comm_destroy(comm);
}

/* What the ranks hold, reduced by hand: rank r has i + r + 1 at i. */
static double reduced(accel_reduction_t reduction, int64_t i, int size)
{
    double sum = (double)(i * size + size * (size + 1) / 2);

    switch (reduction) {
    case ACCEL_SUM:
        return sum;
    case ACCEL_MEAN:
        return sum / size;
    case ACCEL_MAX:
        return (double)(i + size);
    case ACCEL_MIN:
        return (double)(i + 1);
    }
    return NAN;
}

static void reduce_all(accel_comm_t *comm, int rank, int size, accel_dtype_t dtype)
{
    bool whole = dtype == ACCEL_I32 || dtype == ACCEL_I64 || dtype == ACCEL_U8;

    for (int reduction = ACCEL_SUM; reduction <= ACCEL_MIN; reduction++) {
        double memory[6];

        for (int64_t i = 0; i < 6; i++)
            set_at(memory, dtype, i, (double)(i + rank + 1));
        CHECK_OK(accel__ops_reduce(comm, ACCEL_TENSOR(memory, dtype, 2, 3),
                                   (accel_reduction_t)reduction));
        for (int64_t i = 0; i < 6; i++) {
            double expected = reduced((accel_reduction_t)reduction, i, size);

            CHECK_NEAR(whole ? trunc(expected) : expected, value_at(memory, dtype, i),
                       whole ? 0 : 0.01 * expected);
        }
    }
}

static void reduces(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float nothing[1];

    for (size_t d = 0; d < NUM_DTYPES; d++)
        reduce_all(comm, rank, size, all_dtypes[d]);
    CHECK_OK(accel__ops_reduce(comm, ACCEL_TENSOR(nothing, ACCEL_F32, 0), ACCEL_SUM));
    accel_comm_destroy(comm);
}

static void broadcasts(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    for (size_t d = 0; d < NUM_DTYPES; d++)
        for (int from = 0; from < size; from++) {
            double memory[5];

            for (int64_t i = 0; i < 5; i++)
                set_at(memory, all_dtypes[d], i, (double)(10 * rank + i));
            CHECK_OK(accel__ops_broadcast(comm, ACCEL_TENSOR(memory, all_dtypes[d], 5), from));
            for (int64_t i = 0; i < 5; i++)
                CHECK_NEAR(10 * from + i, value_at(memory, all_dtypes[d], i), 0);
        }
    accel_comm_destroy(comm);
}

/* Rank r has [2, r + 1, 2], all 1 + r; what is added is 7. */
static void pad_middle(accel_comm_t *comm, int rank, int size, accel_dtype_t dtype, bool first)
{
    double memory[64];
    int64_t extent = rank + 1;
    accel_tensor_t *padded;

    for (int64_t i = 0; i < 4 * extent; i++)
        set_at(memory, dtype, i, 1 + rank);
    CHECK_OK(accel__ops_pad_across_processes(comm, ACCEL_TENSOR(memory, dtype, 2, extent, 2),
                                             first ? 1 : -2, 7, first, &padded));
    CHECK_INT(2, padded->shape[0]);
    CHECK_INT(size, padded->shape[1]);
    CHECK_INT(2, padded->shape[2]);
    for (int64_t i = 0; i < 4 * size; i++) {
        int64_t at = i / 2 % size;
        bool own = first ? at >= size - extent : at < extent;

        CHECK_NEAR(own ? 1 + rank : 7, value_at(padded->data, dtype, i), 0);
    }
    accel_tensor_destroy(padded);
}

static void pads(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float values[2] = {1, 2}, number = 5;
    accel_tensor_t scalar = {.data = &number, .device = {ACCEL_CPU, 0}, .dtype = ACCEL_F32};
    accel_tensor_t *padded;

    for (size_t d = 0; d < NUM_DTYPES; d++) {
        pad_middle(comm, rank, size, all_dtypes[d], false);
        pad_middle(comm, rank, size, all_dtypes[d], true);
    }
    /* A dimension that is not there: a copy. */
    for (int32_t dim = -3; dim <= 2; dim += 5) {
        CHECK_OK(accel__ops_pad_across_processes(comm, ACCEL_TENSOR(values, ACCEL_F32, rank % 2),
                                                 dim, 0, false, &padded));
        CHECK_INT(rank % 2, padded->shape[0]);
        accel_tensor_destroy(padded);
    }
    CHECK_OK(accel__ops_pad_across_processes(comm, &scalar, 0, 0, false, &padded));
    CHECK_INT(0, padded->ndim);
    CHECK_NEAR(5, *(float *)padded->data, 0);
    accel_tensor_destroy(padded);
    /* Nobody has rows; one has some. */
    CHECK_OK(accel__ops_pad_across_processes(comm, ACCEL_TENSOR(NULL, ACCEL_F32, 0, 4), 0, 0, false,
                                             &padded));
    CHECK_INT(0, padded->shape[0]);
    accel_tensor_destroy(padded);
    CHECK_OK(accel__ops_pad_across_processes(
        comm, ACCEL_TENSOR(rank ? NULL : values, ACCEL_F32, rank ? 0 : 2), 0, -1.5, true, &padded));
    CHECK_INT(2, padded->shape[0]);
    CHECK_NEAR(rank ? -1.5 : 2, ((float *)padded->data)[1], 0);
    accel_tensor_destroy(padded);
    accel_comm_destroy(comm);
}

static void objects(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    const char text[] = "0123456789";
    accel_objects_t *all;
    size_t length;

    CHECK_OK(accel__ops_gather_object(comm, text, (size_t)rank, &all)); /* rank 0: nothing */
    CHECK_INT(size, accel_objects_count(all));
    for (int r = 0; r < size; r++) {
        const void *bytes = accel_objects_get(all, r, &length);

        CHECK_INT(r, length);
        CHECK(memcmp(bytes, text, length) == 0);
    }
    CHECK(accel_objects_get(all, size, &length) == NULL && length == 0);
    CHECK(accel_objects_get(all, -1, NULL) == NULL);
    accel_objects_destroy(all);
    for (int from = 0; from < size; from++) {
        CHECK_OK(accel__ops_broadcast_object(comm, rank == from ? text + from : NULL,
                                             rank == from ? sizeof(text) - (size_t)from : 99, from,
                                             &all));
        CHECK_STR(text + from, (const char *)accel_objects_get(all, 0, &length));
        CHECK_INT(sizeof(text) - (size_t)from, length);
        accel_objects_destroy(all);
    }
    CHECK_OK(accel__ops_broadcast_object(comm, NULL, 0, 0, &all));
    CHECK(accel_objects_get(all, 0, &length) && length == 0);
    accel_objects_destroy(all);
    CHECK_INT(0, accel_objects_count(NULL));
    accel_objects_destroy(NULL);
    accel_comm_destroy(comm);
}

/* Afterwards the communicator is as good as before. */
static void check_usable(accel_comm_t *comm, int size)
{
    int32_t one = 1;

    CHECK_OK(accel__ops_reduce(comm, ACCEL_TENSOR(&one, ACCEL_I32, 1), ACCEL_SUM));
    CHECK_INT(size, one);
}

/* Every rank reads what all of them have. */
static void table(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    double memory[8] = {0};

    (void)size;
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel__ops_reduce(comm,
                                   rank == 1   ? ACCEL_TENSOR(memory, ACCEL_F32, 3)
                                   : rank == 3 ? ACCEL_TENSOR(memory, ACCEL_I64, 2, 2)
                                               : ACCEL_TENSOR(memory, ACCEL_F32, 4),
                                   ACCEL_SUM));
    CHECK_STR("accel_reduce: rank 0 has float32 [4], rank 1 has float32 [3], "
              "rank 3 has int64 [2, 2]; as rank 0: 2, 4",
              accel_last_error());
    accel_comm_destroy(comm);
}

static void what_every_rank_has(void)
{
    TEST_RANKS(5, table);
}

static void mismatches(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    double memory[32] = {0};
    int last = size - 1;
    bool odd = rank == last;
    char text[256];
    accel_tensor_t *result = (accel_tensor_t *)memory;

    CHECK_STATUS(
        ACCEL_ERR_MISMATCH,
        accel__ops_gather(comm, ACCEL_TENSOR(memory, ACCEL_F32, 4, odd ? 5 : 3), -1, &result));
    snprintf(text, sizeof(text),
             "accel_gather: rank 0 has float32 [4, 3], rank %d has float32 [4, 5]", last);
    CHECK_ERROR(text);
    CHECK((strstr(accel_last_error(), "; as rank 0: 1") != NULL) == (size > 2));
    CHECK(result == NULL);
    check_usable(comm, size);

    CHECK_STATUS(
        ACCEL_ERR_MISMATCH,
        accel__ops_gather(comm, ACCEL_TENSOR(memory, odd ? ACCEL_I64 : ACCEL_F64, 2), -1, &result));
    snprintf(text, sizeof(text), "accel_gather: rank 0 has float64 [2], rank %d has int64 [2]",
             last);
    CHECK_ERROR(text);

    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel__ops_gather(comm, ACCEL_TENSOR(memory, ACCEL_F32, 2),
                                                       odd ? -1 : 3, &result));
    snprintf(text, sizeof(text), "accel_gather: rank 0 has rows to keep 3, rank %d has -1", last);
    CHECK_STR(text, accel_last_error());

    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel__ops_reduce(comm,
                                                       odd ? ACCEL_TENSOR(memory, ACCEL_F32, 3, 2)
                                                           : ACCEL_TENSOR(memory, ACCEL_F32, 2, 3),
                                                       ACCEL_SUM));
    CHECK_ERROR("accel_reduce: rank 0 has float32 [2, 3]");
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel__ops_reduce(comm, ACCEL_TENSOR(memory, ACCEL_F32, 2),
                                                       odd ? ACCEL_MAX : ACCEL_SUM));
    CHECK_ERROR("reduction");
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel__ops_broadcast(comm, ACCEL_TENSOR(memory, ACCEL_F32, odd ? 2 : 1), 0));
    CHECK_ERROR("accel_broadcast: rank 0 has float32 [1]");
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel__ops_broadcast(comm, ACCEL_TENSOR(memory, ACCEL_F32, 2), odd ? 1 : 0));
    CHECK_ERROR("from_process");
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel__ops_pad_across_processes(comm,
                                                 odd ? ACCEL_TENSOR(memory, ACCEL_F32, 1, 2)
                                                     : ACCEL_TENSOR(memory, ACCEL_F32, 2),
                                                 -1, 0, false, &result));
    CHECK_ERROR("accel_pad_across_processes: rank 0 has float32 [2]");
    check_usable(comm, size);
    accel_comm_destroy(comm);
}

/* The rank with the bad argument gets its own error, the others one that quotes it. */
static void check_remote(accel_status_t status, bool bad, int last, const char *text)
{
    char remote[32];

    CHECK_INT(bad ? ACCEL_ERR_INVALID : ACCEL_ERR_REMOTE, status);
    CHECK_ERROR(text);
    snprintf(remote, sizeof(remote), "rank %d", last);
    if (!bad)
        CHECK_ERROR(remote);
}

static void bad_arguments_on_one_rank(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float memory[4] = {0};
    uint8_t bytes[4] = {0};
    int last = size - 1;
    bool bad = rank == last;
    accel_tensor_t *good = ACCEL_TENSOR(memory, ACCEL_F32, 4);
    accel_tensor_t *result;

    check_remote(accel__ops_gather(comm, bad ? NULL : good, -1, &result), bad, last,
                 "tensor is NULL");
    CHECK(bad || result == NULL);
    check_remote(accel__ops_gather(comm, good, -1, bad ? NULL : &result), bad, last,
                 "result's address is NULL");
    if (!bad)
        CHECK(result == NULL);
    check_remote(accel__ops_reduce(comm, good, bad ? (accel_reduction_t)9 : ACCEL_SUM), bad, last,
                 "reduction is 9");
    check_remote(accel__ops_broadcast(comm, good, bad ? size : 0), bad, last, "from_process is");
    check_remote(accel__ops_pad_across_processes(comm, ACCEL_TENSOR(bytes, ACCEL_U8, 4), 0,
                                                 bad ? -100 : 0, false, &result),
                 bad, last, "pad_index -100 is no uint8");
    check_remote(accel__ops_pad_across_processes(comm, good, 0, 0, false, bad ? NULL : &result),
                 bad, last, "result's address is NULL");
    CHECK_OK(accel__ops_gather(comm, good, -1, &result));
    CHECK_INT(4 * size, result->shape[0]);
    accel_tensor_destroy(result);
    accel_comm_destroy(comm);
}

/* Enough for any chunking below: each rank brings a part of its own length. */
static void large_gather(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    int64_t rows = 300000 + 1000 * rank, at = 0;
    int32_t *memory = malloc((size_t)rows * 4 * sizeof(*memory));
    accel_tensor_t *gathered;

    CHECK(memory);
    for (int64_t i = 0; i < rows * 4; i++)
        memory[i] = (int32_t)(i * 31 + rank);
    CHECK_OK(accel__ops_gather(comm, ACCEL_TENSOR(memory, ACCEL_I32, rows, 4), -1, &gathered));
    for (int r = 0; r < size; r++)
        for (int64_t i = 0; i < (300000 + 1000 * r) * 4; i++, at++)
            CHECK_INT((int32_t)(i * 31 + r), ((int32_t *)gathered->data)[at]);
    CHECK_INT(at, accel_tensor_numel(gathered));
    accel_tensor_destroy(gathered);
    free(memory);
    accel_comm_destroy(comm);
}

static void gather(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, gathers);
}

static void gather_nothing(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, gathers_of_nothing);
}

static void gather_much(void)
{
    TEST_RANKS(3, large_gather);
}

static void reduce(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, reduces);
}

static void broadcast(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, broadcasts);
}

static void pad_across_processes(void)
{
    for (int size = 1; size <= 4; size++)
        TEST_RANKS(size, pads);
}

static void bytes_of_objects(void)
{
    for (int size = 1; size <= 3; size++)
        TEST_RANKS(size, objects);
}

static void ranks_that_differ(void)
{
    TEST_RANKS(2, mismatches);
    TEST_RANKS(4, mismatches);
}

static void one_bad_rank(void)
{
    TEST_RANKS(1, bad_arguments_on_one_rank);
    TEST_RANKS(3, bad_arguments_on_one_rank);
}

TEST_MAIN(TEST(gather), TEST(gather_nothing), TEST(gather_much), TEST(reduce), TEST(broadcast),
          TEST(pad_across_processes), TEST(bytes_of_objects), TEST(ranks_that_differ),
          TEST(one_bad_rank), TEST(what_every_rank_has))
