/* SPDX-License-Identifier: Apache-2.0 */
/* Print what a rank's loader hands out:
 *
 *     program-data_shuffle order SEED EPOCH SAMPLES
 *         the epoch's order, one sample a line
 *     program-data_shuffle digest SEED EPOCH SAMPLES
 *         the sum over i of order[i] * (i + 1), modulo 2^64
 *     program-data_shuffle batches SEED EPOCH SAMPLES BATCH_SIZE PROCESSES FLAGS
 *         each rank's batches, one a line, from the public sharding functions, after a line
 *         "rank R"; FLAGS: letters of s (split_batches), d (drop_last), e (even_batches) */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

static int64_t *make_order(char **arguments, int64_t *samples)
{
    int64_t *order;

    *samples = strtoll(arguments[2], NULL, 10);
    order = malloc((size_t)(*samples + 1) * sizeof(*order));
    if (!order)
        exit(EXIT_FAILURE);
    accel_shuffle(strtoull(arguments[0], NULL, 10), strtoll(arguments[1], NULL, 10), *samples,
                  order);
    return order;
}

static void print_digest(const int64_t *order, int64_t samples)
{
    uint64_t digest = 0;

    for (int64_t i = 0; i < samples; i++)
        digest += (uint64_t)order[i] * (uint64_t)(i + 1);
    printf("%" PRIu64 "\n", digest);
}

static void print_batches(const accel_shard_t *shard, const int64_t *order)
{
    int64_t *positions = malloc((size_t)shard->batch_size * sizeof(*positions));

    if (!positions)
        exit(EXIT_FAILURE);
    for (int64_t rank = 0; rank < shard->num_processes; rank++) {
        printf("rank %" PRId64 "\n", rank);
        for (int64_t step = 0; step < accel_shard_steps(shard); step++) {
            int64_t length = accel_shard_batch(shard, step, rank, positions);

            for (int64_t k = 0; k < length; k++)
                printf("%" PRId64 "%c", order[positions[k]], k + 1 < length ? ' ' : '\n');
        }
    }
    free(positions);
}

int main(int argc, char **argv)
{
    int64_t samples, *order;

    if (argc != 5 && argc != 8) {
        fprintf(stderr, "usage: see the top of the source\n");
        return 2;
    }
    order = make_order(argv + 2, &samples);
    if (strcmp(argv[1], "order") == 0) {
        for (int64_t i = 0; i < samples; i++)
            printf("%" PRId64 "\n", order[i]);
    } else if (strcmp(argv[1], "digest") == 0) {
        print_digest(order, samples);
    } else {
        accel_shard_t shard = {.samples = samples,
                               .batch_size = strtoll(argv[5], NULL, 10),
                               .num_processes = strtoll(argv[6], NULL, 10),
                               .split_batches = strchr(argv[7], 's') != NULL,
                               .drop_last = strchr(argv[7], 'd') != NULL,
                               .even_batches = strchr(argv[7], 'e') != NULL};

        ACCEL_CHECK(accel_shard_check(&shard));
        print_batches(&shard, order);
    }
    free(order);
    return 0;
}
