/* SPDX-License-Identifier: Apache-2.0 */
/* The time of an epoch of shuffled batches from a file of records, and of what no loader can beat:
 *     records loader PATH RECORD BATCH
 *     records copy PATH RECORD BATCH
 * `copy` maps the file and copies the same records, in the same order, into memory of one batch.
 * One sample of the benchmark is one epoch. */
#include <accel/accel.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "round.h"

static void load(const char *path, int64_t record, int64_t batch_size)
{
    const accel_field_t field = {"record", ACCEL_U8, 1, {record}};
    accel_dataset_t *dataset;
    accel_loader_t *loader;
    accel_batch_t batch;

    ACCEL_CHECK(accel_record_dataset_create(path, &field, 1, 0, &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset, ACCEL_LOADER_OPTIONS(.batch_size = batch_size, .shuffle = true), &loader));
    for (int64_t epoch = 0; round_next(); epoch++) {
        int64_t rows = 0;
        double start;

        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        start = round_now();
        while (ACCEL_NEXT(loader, &batch))
            rows += batch.rows;
        round_sample(round_now() - start);
        if (rows != accel_dataset_length(dataset))
            exit(EXIT_FAILURE);
    }
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
}

static void copy(const char *path, int64_t record, int64_t batch_size)
{
    int fd = open(path, O_RDONLY);
    struct stat status;
    int64_t count, *order;
    char *from, *batch;

    if (fd < 0 || fstat(fd, &status) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    count = status.st_size / record;
    from = (char *)mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    order = (int64_t *)malloc((size_t)count * sizeof(*order));
    batch = (char *)malloc((size_t)(record * batch_size));
    if (from == MAP_FAILED || !order || !batch)
        exit(EXIT_FAILURE);
    for (int64_t epoch = 0; round_next(); epoch++) {
        double start;

        accel_shuffle(ACCEL_DEFAULT_SEED, epoch, count, order);
        start = round_now();
        for (int64_t i = 0; i < count; i++)
            memcpy(batch + i % batch_size * record, from + order[i] * record, (size_t)record);
        round_sample(round_now() - start);
    }
    munmap(from, (size_t)status.st_size);
    close(fd);
    free(order);
    free(batch);
}

int main(int argc, char **argv)
{
    int64_t record = round_argument(argc, argv, 3, "the size of a record");
    int64_t batch_size = round_argument(argc, argv, 4, "the batch size");

    round_open(0);
    if (strcmp(argv[1], "loader") == 0)
        load(argv[2], record, batch_size);
    else
        copy(argv[2], record, batch_size);
    return round_close();
}
