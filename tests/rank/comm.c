/* SPDX-License-Identifier: Apache-2.0
 * test-timeout: 120 */
/* The collectives against a serial reference, and every way in which ranks can disagree. */
#include "test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "comm/world.h"
#include "elements.h"

static const accel_dtype_t dtypes[] = {ACCEL_F32, ACCEL_F64, ACCEL_BF16, ACCEL_F16,
                                       ACCEL_I32, ACCEL_I64, ACCEL_U8};
/* Around the inline limit, a chunk, and several chunks of every dtype. */
static const size_t counts[] = {0, 1, 3, 8, 64, 65, 1000, 40000, 262144 + 7, 700001};

/* Small whole numbers, so that sums are exact in every dtype; all in 0..20. */
static double value_of(int rank, size_t i)
{
    return (double)((i * 7 + (size_t)rank * 3 + i / 11) % 5);
}

static double load(const void *array, size_t i, accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_F32:
        return (double)((const float *)array)[i];
    case ACCEL_F64:
        return ((const double *)array)[i];
    case ACCEL_BF16:
        return (double)accel__bf16_to_f32(((const uint16_t *)array)[i]);
    case ACCEL_F16:
        return (double)accel__f16_to_f32(((const uint16_t *)array)[i]);
    case ACCEL_I32:
        return ((const int32_t *)array)[i];
    case ACCEL_I64:
        return (double)((const int64_t *)array)[i];
    default:
        return ((const uint8_t *)array)[i];
    }
}

/* What element i of a reduction must be, rounded as the dtype rounds. */
static double reference(int size, size_t i, accel_dtype_t dtype, accel_reduction_t reduction)
{
    double result = value_of(0, i);
    bool integer = dtype == ACCEL_I32 || dtype == ACCEL_I64 || dtype == ACCEL_U8;
    char rounded[8];

    for (int r = 1; r < size; r++) {
        double value = value_of(r, i);

        if (reduction == ACCEL_MAX)
            result = value > result ? value : result;
        else if (reduction == ACCEL_MIN)
            result = value < result ? value : result;
        else
            result += value;
    }
    if (reduction == ACCEL_MEAN)
        result = integer              ? trunc(result / size)
                 : dtype == ACCEL_F64 ? result / size
                                      : (double)((float)result / (float)size);
    set_at(rounded, dtype, 0, result);
    return load(rounded, 0, dtype);
}

static void *filled(int rank, size_t count, accel_dtype_t dtype)
{
    void *array = malloc(count * 8 + 8);

    CHECK(array);
    for (size_t i = 0; i < count; i++)
        set_at(array, dtype, (int64_t)i, value_of(rank, i));
    return array;
}

static void check_allreduce(accel_comm_t *comm, size_t count, accel_dtype_t dtype,
                            accel_reduction_t reduction, bool in_place)
{
    int rank = accel_comm_rank(comm), size = accel_comm_size(comm);
    void *send = filled(rank, count, dtype);
    void *recv = in_place ? send : filled(99, count, dtype);

    CHECK_OK(accel_comm_allreduce(comm, send, recv, count, dtype, reduction));
    for (size_t i = 0; i < count; i++)
        CHECK_NEAR(reference(size, i, dtype, reduction), load(recv, i, dtype), 0);
    if (!in_place)
        free(recv);
    free(send);
}

static void reductions_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    CHECK_INT(rank, accel_comm_rank(comm));
    CHECK_INT(size, accel_comm_size(comm));
    for (size_t d = 0; d < sizeof(dtypes) / sizeof(*dtypes); d++)
        for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++)
            for (int reduction = ACCEL_SUM; reduction <= ACCEL_MIN; reduction++)
                if (counts[c] < 1000 || reduction == (int)((c + d) % 4))
                    check_allreduce(comm, counts[c], dtypes[d], (accel_reduction_t)reduction,
                                    (c + (size_t)reduction) % 2);
    accel_comm_destroy(comm);
}

static void allreduce(void)
{
    for (int size = 1; size <= 5; size++)
        TEST_RANKS(size, reductions_of_all_ranks);
}

static void other_collectives_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    for (size_t c = 0; c < sizeof(counts) / sizeof(*counts) - 1; c++) {
        accel_dtype_t dtype = dtypes[c % 7];
        size_t count = counts[c], width = accel_dtype_size(dtype), all = count * (size_t)size;
        char *send = filled(rank, all, dtype), *recv = filled(99, all, dtype);
        int root = (int)(c % (size_t)size);

        CHECK_OK(accel_comm_reduce_scatter(comm, send, recv, count, dtype, ACCEL_SUM));
        for (size_t i = 0; i < count; i++)
            CHECK_NEAR(reference(size, (size_t)rank * count + i, dtype, ACCEL_SUM),
                       load(recv, i, dtype), 0);
        CHECK_OK(accel_comm_allgather(comm, send, recv, count, dtype));
        for (size_t i = 0; i < all; i++)
            CHECK_NEAR(value_of((int)(i / count), i % count), load(recv, i, dtype), 0);
        memcpy(recv + (size_t)rank * count * width, send, count * width);
        CHECK_OK(
            accel_comm_allgather(comm, recv + (size_t)rank * count * width, recv, count, dtype));
        for (size_t i = 0; i < all; i++)
            CHECK_NEAR(value_of((int)(i / count), i % count), load(recv, i, dtype), 0);
        CHECK_OK(accel_comm_broadcast(comm, send, count, dtype, root));
        for (size_t i = 0; i < count; i++)
            CHECK_NEAR(value_of(root, i), load(send, i, dtype), 0);
        CHECK_OK(accel_comm_barrier(comm));
        free(recv);
        free(send);
    }
    accel_comm_destroy(comm);
}

static void scatter_gather_broadcast(void)
{
    for (int size = 1; size <= 5; size++)
        TEST_RANKS(size, other_collectives_of_all_ranks);
}

/* Posted in a row, waited for in another order; a blocking call queues behind. */
static void requests_of_all_ranks(int rank, int size)
{
    enum { POSTED = 12, COUNT = 100000 };
    accel_comm_t *comm = test_comm();
    accel_request_t *requests[POSTED];
    float *arrays[POSTED];
    int32_t one = 1;

    for (int k = 0; k < POSTED; k++) {
        arrays[k] = filled(rank + k, COUNT, ACCEL_F32);
        CHECK_OK(accel_comm_iallreduce(comm, arrays[k], arrays[k], COUNT, ACCEL_F32, ACCEL_SUM,
                                       &requests[k]));
    }
    CHECK_OK(accel_comm_allreduce(comm, &one, &one, 1, ACCEL_I32, ACCEL_SUM));
    CHECK_INT(size, one);
    for (int k = POSTED - 1; k >= 0; k--) {
        CHECK_OK(accel_request_test(requests[k])); /* done: the blocking call came after it */
        CHECK_OK(accel_request_wait(&requests[k]));
        CHECK(requests[k] == NULL);
        for (size_t i = 0; i < COUNT; i++) {
            double sum = 0;

            for (int r = 0; r < size; r++)
                sum += value_of(r + k, i);
            CHECK_NEAR(sum, arrays[k][i], 0);
        }
        free(arrays[k]);
    }
    CHECK_OK(accel_comm_ibarrier(comm, &requests[0]));
    CHECK_OK(accel_request_wait(&requests[0]));
    CHECK_OK(accel_comm_ibroadcast(comm, &one, 1, ACCEL_I32, size - 1, &requests[0]));
    CHECK_OK(accel_request_wait(&requests[0]));
    accel_comm_destroy(comm);
}

static void requests(void)
{
    TEST_RANKS(1, requests_of_all_ranks);
    TEST_RANKS(3, requests_of_all_ranks);
}

static void meeting_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    int64_t mine[2] = {rank, rank * 10}, all[16];

    for (int i = 0; i < 1000; i++) {
        mine[1] = rank * 10 + i;
        CHECK_OK(accel__comm_meet(comm, "meeting", 7, mine, sizeof(mine), all));
        for (int r = 0; r < size; r++) {
            CHECK_INT(r, all[2 * r]);
            CHECK_INT(r * 10 + i, all[2 * r + 1]);
        }
    }
    accel_comm_destroy(comm);
}

static void sharing_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    accel__shared_t blocks[2];

    for (int b = 0; b < 2; b++) {
        CHECK_OK(accel__comm_share(comm, 100000, &blocks[b]));
        CHECK_INT(0, (uintptr_t)blocks[b].base % 4096);
        ((int *)blocks[b].base)[rank] = rank + b;
    }
    CHECK_OK(accel_comm_barrier(comm));
    for (int b = 0; b < 2; b++) {
        for (int r = 0; r < size; r++)
            CHECK_INT(r + b, ((int *)blocks[b].base)[r]);
        CHECK_INT(0, ((int *)blocks[b].base)[size]);
    }
    CHECK_OK(accel_comm_barrier(comm));
    accel__comm_unshare(comm, &blocks[0]);
    accel__comm_unshare(comm, &blocks[1]);
    accel_comm_destroy(comm);
}

/* Memory shared and given back again and again is given back to the machine. */
static void sharing_again(int rank, int size)
{
    enum { ROUNDS = 600, BYTES = 1 << 20 };
    accel_comm_t *comm = test_comm();
    struct stat before, after;
    void *memory;

    (void)size;
    CHECK(fstat(comm->meeting.memory, &before) == 0 || test_ranks_are_threads());
    for (int round = 0; round < ROUNDS; round++) {
        CHECK_OK(accel_comm_alloc(comm, BYTES, &memory));
        CHECK_INT(0, *(int *)memory);
        *(int *)memory = rank + 1;
        CHECK_OK(accel_comm_barrier(comm));
        accel_comm_free(comm, memory);
    }
    CHECK_OK(accel_comm_barrier(comm));
    if (!test_ranks_are_threads()) {
        CHECK(fstat(comm->meeting.memory, &after) == 0);
        CHECK(after.st_blocks - before.st_blocks < 4 * BYTES / 512);
    }
    accel_comm_destroy(comm);
}

static void meetings_and_sharing(void)
{
    if (!test_ranks_are_threads())
        TEST_RANKS(2, sharing_again);
    TEST_RANKS(1, meeting_of_all_ranks);
    TEST_RANKS(4, meeting_of_all_ranks);
    TEST_RANKS(1, sharing_of_all_ranks);
    TEST_RANKS(3, sharing_of_all_ranks);
}

/* A failure of one is known to all, and the communicator goes on. */
static void agreement_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    for (int bad = 0; bad < size; bad++) {
        accel_status_t mine =
            rank == bad ? accel__fail(ACCEL_ERR_IO, "disk %d is full", bad) : ACCEL_OK;

        CHECK_STATUS(rank == bad ? ACCEL_ERR_IO : ACCEL_ERR_REMOTE,
                     accel__comm_agree(comm, "saving", mine));
        if (rank == bad) {
            CHECK_ERROR("disk");
        } else {
            char text[64];

            snprintf(text, sizeof(text), "saving: rank %d failed: disk %d is full", bad, bad);
            CHECK_STR(text, accel_last_error());
        }
        CHECK_OK(accel__comm_agree(comm, "saving", ACCEL_OK));
    }
    accel_comm_destroy(comm);
}

static void agreement(void)
{
    TEST_RANKS(3, agreement_of_all_ranks);
}

/* Buffers that all ranks reach, at equal places, at different ones, and only on one rank: the
 * result is the same. */
static void allocated_of_all_ranks(int rank, int size)
{
    enum { COUNT = 300000 };
    accel_comm_t *comm = test_comm();
    float *own = filled(rank, COUNT, ACCEL_F32);
    void *first, *second;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_alloc(comm, 0, &first));
    CHECK_OK(accel_comm_alloc(comm, COUNT * sizeof(float) + 1000, &first));
    CHECK_OK(accel_comm_alloc(comm, COUNT * sizeof(float) + 1000, &second));
    CHECK_INT(0, (uintptr_t)first % 4096);
    for (int way = 0; way < 4; way++)
        for (int reduction = ACCEL_SUM; reduction <= ACCEL_MIN; reduction++) {
            float *buffer = first;

            if (way == 1)
                buffer += 8 * rank; /* each at another distance */
            if (way == 2)
                buffer = rank == 0 ? second : first;
            if (way == 3 && rank == size - 1)
                buffer = own;
            for (size_t i = 0; i < COUNT; i++)
                buffer[i] = (float)value_of(rank, i);
            CHECK_OK(accel_comm_allreduce(comm, buffer, buffer, COUNT, ACCEL_F32,
                                          (accel_reduction_t)reduction));
            for (size_t i = 0; i < COUNT; i++)
                CHECK_NEAR(reference(size, i, ACCEL_F32, (accel_reduction_t)reduction), buffer[i],
                           0);
            CHECK_OK(accel_comm_barrier(comm));
        }
    accel_comm_free(comm, first);
    accel_comm_free(comm, NULL);
    free(own);
    accel_comm_destroy(comm); /* frees `second` */
}

static void allocated(void)
{
    TEST_RANKS(1, allocated_of_all_ranks);
    TEST_RANKS(2, allocated_of_all_ranks);
    TEST_RANKS(3, allocated_of_all_ranks);
}

/* ---- disagreement ---- */

static void different_counts(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float data[16] = {0};

    (void)size;
    accel_set_call_site("dir/train.c", 10 + rank);
    CHECK_STATUS(ACCEL_ERR_MISMATCH,
                 accel_comm_allreduce(comm, data, data, rank == 2 ? 16 : 15, ACCEL_F32, ACCEL_SUM));
    CHECK_ERROR("rank 0 is in #2 allreduce of 15 float32 sum at dir/train.c:10");
    CHECK_ERROR("rank 2 in #2 allreduce of 16 float32 sum at dir/train.c:12");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_comm_barrier(comm));
    CHECK_ERROR("broke before");
    accel_comm_destroy(comm);
}

static void different_kinds(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float data[16] = {0};
    accel_status_t status;

    (void)size;
    if (rank == 1)
        status = accel_comm_barrier(comm);
    else
        status = accel_comm_broadcast(comm, data, 16, ACCEL_F32, 0);
    CHECK_STATUS(ACCEL_ERR_MISMATCH, status);
    CHECK_ERROR("#2 broadcast of 16 float32 from rank 0");
    CHECK_ERROR("rank 1 in #2 barrier");
    accel_comm_destroy(comm);
}

static void different_dtypes(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    double data[16] = {0};

    (void)size;
    CHECK_STATUS(ACCEL_ERR_MISMATCH, accel_comm_allreduce(comm, data, data, 16,
                                                          rank ? ACCEL_F64 : ACCEL_F32, ACCEL_SUM));
    CHECK_ERROR("float32");
    CHECK_ERROR("float64");
    accel_comm_destroy(comm);
}

static void one_leaves(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    (void)size;
    if (rank != 1) {
        CHECK_STATUS(ACCEL_ERR_REMOTE, accel_comm_barrier(comm));
        CHECK_ERROR("rank 1");
        CHECK_ERROR("left before");
        CHECK_ERROR("barrier");
    }
    accel_comm_destroy(comm);
}

static void one_is_late(int rank, int size)
{
    accel_options_t world = accel_options_init();
    accel_comm_options_t options = accel_comm_options_init();
    accel_comm_t *comm;

    (void)size;
    test_world(&world);
    options.num_processes = world.num_processes;
    options.process_index = world.process_index;
    options.job_id = world.job_id;
    options.threads = world.threads;
    options.timeout_ms = 300;
    CHECK_OK(accel_comm_create(&options, &comm));
    if (rank == 1) {
        nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
        CHECK_STATUS(ACCEL_ERR_TIMEOUT, accel_comm_barrier(comm));
    } else {
        CHECK_STATUS(ACCEL_ERR_TIMEOUT, accel_comm_barrier(comm));
        CHECK_ERROR("rank 1 (pid");
        CHECK_ERROR("did not come within 0.3 s");
    }
    accel_comm_destroy(comm);
}

static void one_gives_up(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    (void)size;
    if (rank == 2) {
        CHECK_STATUS(ACCEL_ERR_IO, accel_comm_abort(comm, ACCEL_ERR_IO, "no data"));
        CHECK_STR("no data", accel_last_error());
    } else {
        CHECK_STATUS(ACCEL_ERR_REMOTE, accel_comm_barrier(comm));
        CHECK_ERROR("barrier: rank 2 failed: no data");
    }
    accel_comm_destroy(comm);
}

static void disagreement(void)
{
    TEST_RANKS(3, different_counts);
    TEST_RANKS(3, different_kinds);
    TEST_RANKS(2, different_dtypes);
    TEST_RANKS(3, one_leaves);
    TEST_RANKS(3, one_is_late);
    TEST_RANKS(4, one_gives_up);
}

/* Rank 1 dies by SIGKILL in a child of its own making: the test's ranks must all end well.
 * It leaves a grandchild behind that holds its descriptors, as a daemon of a user's would. */
static void one_dies(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    float *data = filled(rank, 300000, ACCEL_F32);
    accel_status_t status = ACCEL_OK;

    (void)size;
    if (rank == 1 && fork() == 0) {
        sleep(3);
        _exit(0);
    }
    for (int i = 0; status == ACCEL_OK; i++) {
        if (rank == 1 && i == 50)
            _exit(0); /* without accel_comm_destroy: as dead as by a signal */
        status = accel_comm_allreduce(comm, data, data, 300000, ACCEL_F32, ACCEL_MAX);
    }
    CHECK_STATUS(ACCEL_ERR_REMOTE, status);
    CHECK_ERROR("rank 1 (pid");
    CHECK_ERROR("died");
    CHECK_ERROR("allreduce");
    free(data);
    accel_comm_destroy(comm);
}

/* A child that a rank forked cleans up its copy: the rank itself goes on. */
static void a_child_destroys(int rank, int size)
{
    accel_comm_t *comm = test_comm();
    accel_request_t *request;
    int32_t sum = 1;
    int status = 1;
    pid_t child;

    (void)rank;
    CHECK_OK(accel_comm_ibarrier(comm, &request)); /* so that there is a thread */
    CHECK_OK(accel_request_wait(&request));
    child = fork();
    if (child == 0) { /* nothing it calls counts as the rank's */
        accel_status_t called = accel_comm_barrier(comm);

        accel_comm_destroy(comm);
        _exit(called == ACCEL_ERR_STATE && strstr(accel_last_error(), "child") ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_OK(accel_comm_allreduce(comm, &sum, &sum, 1, ACCEL_I32, ACCEL_SUM));
    CHECK_INT(size, sum);
    accel_comm_destroy(comm);
}

static void forks(void)
{
    if (!test_ranks_are_threads())
        TEST_RANKS(3, a_child_destroys);
}

static void death(void)
{
    if (!test_ranks_are_threads())
        TEST_RANKS(4, one_dies);
}

/* ---- meeting ---- */

static accel_status_t try_to_join(int32_t index, int32_t size, const char *job, uint32_t timeout_ms)
{
    accel_comm_options_t options = accel_comm_options_init();
    accel_comm_t *comm;
    accel_status_t status;

    options.num_processes = size;
    options.process_index = index;
    options.job_id = job;
    options.join_timeout_ms = timeout_ms;
    status = accel_comm_create(&options, &comm);
    if (status == ACCEL_OK)
        accel_comm_destroy(comm);
    else
        CHECK(comm == NULL);
    return status;
}

static char job[64];

static void absent_rank(int rank, int size)
{
    if (rank == 2)
        return;
    CHECK_STATUS(ACCEL_ERR_TIMEOUT, try_to_join(rank, size, job, 400));
    CHECK_ERROR("rank 2 of 4 did not join within 0.4 s");
}

static void absent_root(int rank, int size)
{
    if (rank == 0)
        return;
    CHECK_STATUS(ACCEL_ERR_TIMEOUT, try_to_join(rank, size, job, 300));
    CHECK_ERROR("waited 0.3 s for rank 0");
}

static void different_worlds(int rank, int size)
{
    CHECK_STATUS(ACCEL_ERR_MISMATCH, try_to_join(rank, rank == 1 ? size + 1 : size, job, 5000));
    CHECK_ERROR("rank 1 (pid");
    CHECK_ERROR("was told of 4 processes, rank 0 of 3");
}

static void same_rank_twice(int rank, int size)
{
    /* Three processes say 0, 1, 1 of 3: whoever comes second is refused, and all hear of it. */
    CHECK_STATUS(ACCEL_ERR_MISMATCH, try_to_join(rank == 2 ? 1 : rank, size, job, 5000));
    CHECK_ERROR("it is rank 1, which is taken");
}

static void unable_to_meet(void)
{
    if (test_ranks_are_threads())
        return;
    snprintf(job, sizeof(job), "unable-%d", (int)getpid());
    TEST_RANKS(4, absent_rank);
    TEST_RANKS(2, absent_root);
    TEST_RANKS(3, different_worlds);
    TEST_RANKS(3, same_rank_twice);
}

static void several_worlds_of_all_ranks(int rank, int size)
{
    accel_comm_t *first = test_comm(), *second = test_comm();
    int32_t sum = rank;

    CHECK_OK(accel_comm_allreduce(second, &sum, &sum, 1, ACCEL_I32, ACCEL_SUM));
    CHECK_INT(size * (size - 1) / 2, sum);
    sum = rank;
    CHECK_OK(accel_comm_allreduce(first, &sum, &sum, 1, ACCEL_I32, ACCEL_MAX));
    CHECK_INT(size - 1, sum);
    accel_comm_destroy(first);
    CHECK_OK(accel_comm_barrier(second));
    accel_comm_destroy(second);
}

static void several_worlds(void)
{
    TEST_RANKS(3, several_worlds_of_all_ranks);
}

/* More ranks than CPUs: sleeping and ringing instead of spinning. */
static void crowd_of_all_ranks(int rank, int size)
{
    accel_comm_t *comm = test_comm();

    for (int i = 0; i < 300; i++) {
        int64_t sum = rank + i;

        CHECK_OK(accel_comm_allreduce(comm, &sum, &sum, 1, ACCEL_I64, ACCEL_SUM));
        CHECK_INT(size * (size - 1) / 2 + size * i, sum);
    }
    accel_comm_destroy(comm);
}

static void crowd(void)
{
    TEST_RANKS(16, crowd_of_all_ranks);
}

static void bad_calls(void)
{
    accel_comm_options_t options = accel_comm_options_init();
    accel_comm_t *comm;
    float x = 1;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(NULL, NULL));
    options.num_processes = -3;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(&options, &comm));
    CHECK_ERROR("num_processes is -3");
    options.num_processes = 2;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(&options, &comm));
    CHECK_ERROR("job_id");
    options.job_id = "x";
    options.process_index = 2;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_create(&options, &comm));
    CHECK_ERROR("process_index is 2; expected 0 to 1");
    options.num_processes = 1000;
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel_comm_create(&options, &comm));

    options = accel_comm_options_init();
    options.num_processes = 1;
    CHECK_OK(accel_comm_create(&options, &comm));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_allreduce(NULL, &x, &x, 1, ACCEL_F32, ACCEL_SUM));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_allreduce(comm, NULL, &x, 1, ACCEL_F32, ACCEL_SUM));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_comm_allreduce(comm, &x, &x, 1, (accel_dtype_t)5, ACCEL_SUM));
    CHECK_ERROR("dtype 0x5 is not known");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_comm_allreduce(comm, &x, &x, 1, ACCEL_F32, (accel_reduction_t)9));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_comm_allreduce(comm, &x, &x, SIZE_MAX / 2, ACCEL_F32, ACCEL_SUM));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_comm_broadcast(comm, &x, 1, ACCEL_F32, 1));
    CHECK_ERROR("rank 1 of 1 does not exist");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_request_wait(NULL));
    accel_comm_destroy(comm);
    accel_comm_destroy(NULL);
}

TEST_MAIN(TEST(allreduce), TEST(scatter_gather_broadcast), TEST(requests),
          TEST(meetings_and_sharing), TEST(allocated), TEST(agreement), TEST(disagreement),
          TEST(forks), TEST(death), TEST(unable_to_meet), TEST(several_worlds), TEST(crowd),
          TEST(bad_calls))
