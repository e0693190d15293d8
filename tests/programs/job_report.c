/* SPDX-License-Identifier: Apache-2.0 */
/* Says who it is in its world, and does a collective: one line of JSON a rank. */
#include <stdio.h>
#include <unistd.h>

#include <accel/accel.h>

int main(void)
{
    accel_t *accelerator;
    int64_t sum;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.join_timeout_ms = 20000), &accelerator));
    sum = accel_process_index(accelerator) + 1;
    ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&sum, ACCEL_I64, 1), ACCEL_SUM));
    /* One write, so that ranks that share a pipe do not mix their lines. */
    dprintf(STDOUT_FILENO, "{\"rank\": %d, \"size\": %d, \"local_rank\": %d, \"sum\": %lld}\n",
            (int)accel_process_index(accelerator), (int)accel_num_processes(accelerator),
            (int)accel_local_process_index(accelerator), (long long)sum);
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_destroy(accelerator);
    return 0;
}
