/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that meet again and again, for argv[1] rounds or until one is gone: then the error
 * is printed, and the exit code is 1. */
#include <stdio.h>
#include <stdlib.h>

#include <accel/comm.h>

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    accel_comm_t *comm;
    float value = 1, sum;

    ACCEL_CHECK(accel_comm_create(NULL, &comm));
    printf("rank %d of %d\n", (int)accel_comm_rank(comm), (int)accel_comm_size(comm));
    fflush(stdout);
    for (long i = 0; i < rounds; i++)
        ACCEL_CHECK(accel_comm_allreduce(comm, &value, &sum, 1, ACCEL_F32, ACCEL_SUM));
    printf("sum %g\n", (double)sum);
    accel_comm_destroy(comm);
    return 0;
}
