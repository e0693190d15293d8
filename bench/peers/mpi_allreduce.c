/* SPDX-License-Identifier: Apache-2.0 */
/* programs/allreduce.c with MPI_Allreduce; built once with Open MPI and once with MPICH:
 *     mpi_allreduce COUNT INNER SAMPLES */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "../programs/round.h"

static void measure(float *buffer, int count, int64_t inner)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double start = round_now();
    for (int64_t i = 0; i < inner; i++)
        MPI_Allreduce(MPI_IN_PLACE, buffer, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    round_sample((round_now() - start) / (double)inner);
}

int main(int argc, char **argv)
{
    int rank;
    void *memory;

    MPI_Init(&argc, &argv);
    int count = (int)round_argument(argc, argv, 1, "the number of elements");
    int64_t inner = round_argument(argc, argv, 2, "calls a sample");
    int64_t samples = round_argument(argc, argv, 3, "samples a turn");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (posix_memalign(&memory, 4096, (size_t)count * sizeof(float)) != 0)
        return 1;
    float *buffer = memory;
    round_open(rank);
    while (round_next()) {
        for (int i = 0; i < count; i++)
            buffer[i] = 0.0f;
        MPI_Allreduce(MPI_IN_PLACE, buffer, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        for (int64_t s = 0; s < samples; s++)
            measure(buffer, count, inner);
    }
    free(memory);
    MPI_Finalize();
    return round_close();
}
