/* SPDX-License-Identifier: Apache-2.0 */
/* The time of an epoch of shuffled batches whose samples are decoded:
 *     decode PATH BATCH WORKERS
 * PATH holds the number of samples, where each begins and where the last ends (64-bit numbers), and
 * then the samples: 3 x 64 x 64 bytes each, deflated by zlib. A sample is inflated, and its bytes
 * become numbers from -1 to 1. One sample of the benchmark is one epoch. */
#include <accel/accel.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "round.h"

enum { PIXELS = 3 * 64 * 64 };

static const int64_t *map(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat status;
    void *data = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &status) == 0)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    close(fd);
    return (const int64_t *)data;
}

static accel_status_t decode(void *context, int64_t index, void *const *fields)
{
    const int64_t *offsets = (const int64_t *)context + 1;
    const unsigned char *packed = (const unsigned char *)context + offsets[index];
    unsigned char pixels[PIXELS];
    uLongf size = PIXELS;
    float *image = (float *)fields[0];

    if (uncompress(pixels, &size, packed, (uLong)(offsets[index + 1] - offsets[index])) != Z_OK ||
        size != PIXELS)
        return accel_fail(ACCEL_ERR_FORMAT, "it cannot be inflated");
    for (int k = 0; k < PIXELS; k++)
        image[k] = (float)pixels[k] * (1 / 127.5F) - 1;
    return ACCEL_OK;
}

static void epoch(accel_loader_t *loader, int64_t number, int64_t samples)
{
    accel_batch_t batch;
    int64_t rows = 0;
    double sum = 0, start = round_now();

    ACCEL_EPOCH(loader, number, &batch) {
        const float *images = (const float *)batch.fields[0].data;

        for (int64_t row = 0; row < batch.rows; row++)
            sum += (double)images[row * PIXELS];
        rows += batch.rows;
    }
    round_sample(round_now() - start);
    if (rows != samples || !(sum >= -(double)samples && sum <= (double)samples)) {
        fprintf(stderr, "decode: %lld rows of %lld, sum %g\n", (long long)rows, (long long)samples,
                sum);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    const accel_field_t field = {"image", ACCEL_F32, 3, {3, 64, 64}};
    const int64_t *file = map(argc > 1 ? argv[1] : "");
    int64_t number = 0, samples = file[0];
    accel_dataset_t *dataset;
    accel_loader_t *loader;

    ACCEL_CHECK(accel_dataset_create(ACCEL_DATASET_OPTIONS(.length = samples, .get = decode,
                                                           .context = (void *)(uintptr_t)file,
                                                           .fields = &field, .num_fields = 1),
                                     &dataset));
    ACCEL_CHECK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = round_argument(argc, argv, 2, "the batch size"),
                             .shuffle = true,
                             .num_workers = (int32_t)round_argument(argc, argv, 3, "the workers")),
        &loader));
    round_open(0);
    while (round_next())
        epoch(loader, number++, samples);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    return round_close();
}
