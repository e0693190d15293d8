/* SPDX-License-Identifier: Apache-2.0 */
/* The time of an all-reduce of fp32, in place:
 *     allreduce COUNT INNER SAMPLES ordinary|shared
 * Each sample is the mean of INNER calls in a row. "shared": a buffer of accel_comm_alloc(). */
#include <accel/comm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "round.h"

static float *make_buffer(accel_comm_t *comm, size_t count, const char *where)
{
    void *memory = NULL;

    if (strcmp(where, "shared") == 0) {
        ACCEL_CHECK(accel_comm_alloc(comm, count * sizeof(float), &memory));
    } else if (strcmp(where, "ordinary") != 0 ||
               posix_memalign(&memory, 4096, count * sizeof(float)) != 0) {
        fprintf(stderr, "allreduce: no such buffer: %s (ordinary or shared)\n", where);
        exit(2);
    }
    return (float *)memory;
}

static void measure(accel_comm_t *comm, float *buffer, size_t count, int64_t inner)
{
    ACCEL_CHECK(accel_comm_barrier(comm));
    double start = round_now();
    for (int64_t i = 0; i < inner; i++)
        ACCEL_CHECK(accel_comm_allreduce(comm, buffer, buffer, count, ACCEL_F32, ACCEL_SUM));
    round_sample((round_now() - start) / (double)inner);
}

int main(int argc, char **argv)
{
    size_t count = (size_t)round_argument(argc, argv, 1, "the number of elements");
    int64_t inner = round_argument(argc, argv, 2, "calls a sample");
    int64_t samples = round_argument(argc, argv, 3, "samples a turn");
    const char *where = argc > 4 ? argv[4] : "ordinary";
    accel_comm_t *comm;

    ACCEL_CHECK(accel_comm_create(NULL, &comm));
    float *buffer = make_buffer(comm, count, where);
    round_open(accel_comm_rank(comm));
    while (round_next()) {
        for (size_t i = 0; i < count; i++)
            buffer[i] = 0.0f; /* sums of zeros stay finite */
        ACCEL_CHECK(accel_comm_allreduce(comm, buffer, buffer, count, ACCEL_F32, ACCEL_SUM));
        for (int64_t s = 0; s < samples; s++)
            measure(comm, buffer, count, inner);
    }
    if (strcmp(where, "ordinary") == 0)
        free(buffer);
    accel_comm_destroy(comm);
    return round_close();
}
