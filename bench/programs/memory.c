/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of an all-reduce on one host, which is what its memory gives: PROCESSES processes
 * that share two arrays each read their part of both, add, and write the sum into both. Nothing
 * that leaves the result in two places can do with less. With `step`, the limit of programs/step.c:
 * each copies its gradients into a shared array, reads its part of everybody's, and reads and
 * writes its part of the parameters, which are shared, and of two states; the arithmetic is sums.
 * Owes nothing to the library.
 *     memory COUNT SAMPLES PROCESSES plain|streaming|step
 * A sample is the time until the last process is done. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "round.h"

typedef struct {
    _Atomic int64_t arrived;
    float *arrays[2];
    float *gradients[2];
} shared_t;

typedef void (*work_fn)(shared_t *shared, size_t count, int64_t samples, int64_t processes,
                        int64_t rank);

static void add_plain(float *restrict a, float *restrict b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        a[i] = b[i] = a[i] + b[i];
}

/* Stores that go past the caches: faster where the arrays do not fit them. */
static void add_streaming(float *restrict a, float *restrict b, size_t count)
{
#ifdef __AVX2__
    for (size_t i = 0; i + 8 <= count; i += 8) {
        __m256 sum = _mm256_add_ps(_mm256_load_ps(a + i), _mm256_load_ps(b + i));
        _mm256_stream_ps(a + i, sum);
        _mm256_stream_ps(b + i, sum);
    }
    _mm_sfence();
#else
    add_plain(a, b, count);
#endif
}

static void *map_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("memory: mmap");
        exit(1);
    }
    return memory;
}

static void meet(shared_t *shared, int64_t processes, int64_t *meetings)
{
    int64_t all = ++*meetings * processes;

    atomic_fetch_add(&shared->arrived, 1);
    while (atomic_load(&shared->arrived) < all)
        sched_yield();
}

static void add(shared_t *shared, size_t count, int64_t samples, int64_t processes, int64_t rank,
                bool streaming)
{
    size_t part = count / (size_t)processes / 16 * 16; /* whole cache lines */
    float *a = shared->arrays[0] + (size_t)rank * part,
          *b = shared->arrays[1] + (size_t)rank * part;
    int64_t meetings = 0;

    memset(a, 0, part * sizeof(float)); /* pages belong to who uses them */
    memset(b, 0, part * sizeof(float));
    for (int64_t s = 0; s < samples; s++) {
        meet(shared, processes, &meetings);
        double start = round_now();
        (streaming ? add_streaming : add_plain)(a, b, part);
        meet(shared, processes, &meetings);
        if (rank == 0)
            round_sample(round_now() - start);
    }
}

static void add_with_plain(shared_t *shared, size_t count, int64_t samples, int64_t processes,
                           int64_t rank)
{
    add(shared, count, samples, processes, rank, false);
}

static void add_with_streaming(shared_t *shared, size_t count, int64_t samples, int64_t processes,
                               int64_t rank)
{
    add(shared, count, samples, processes, rank, true);
}

static float *filled(size_t count)
{
    float *array = (float *)malloc(count * sizeof(float));

    if (!array) {
        perror("memory: malloc");
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        array[i] = 1e-3f;
    return array;
}

static void update(float *restrict w, float *restrict m, float *restrict v, const float *restrict a,
                   const float *restrict b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float gradient = a[i] + b[i];

        m[i] += gradient;
        v[i] += gradient;
        w[i] += gradient;
    }
}

/* Of two processes. */
static void step(shared_t *shared, size_t count, int64_t samples, int64_t processes, int64_t rank)
{
    size_t part = count / (size_t)processes / 16 * 16, first = (size_t)rank * part;
    float *w = shared->arrays[0] + first, *constants = filled(count);
    float *m = filled(part), *v = filled(part);
    int64_t meetings = 0;

    memset(w, 0, part * sizeof(float));
    memset(shared->gradients[rank], 0, count * sizeof(float));
    for (int64_t s = 0; s < samples; s++) {
        meet(shared, processes, &meetings);
        double start = round_now();
        memcpy(shared->gradients[rank], constants, count * sizeof(float));
        meet(shared, processes, &meetings);
        update(w, m, v, shared->gradients[0] + first, shared->gradients[1] + first, part);
        meet(shared, processes, &meetings);
        if (rank == 0)
            round_sample(round_now() - start);
    }
    free(constants);
    free(m);
    free(v);
}

static void turn(shared_t *shared, size_t count, int64_t samples, int64_t processes, work_fn work)
{
    atomic_store(&shared->arrived, 0);
    for (int64_t rank = 1; rank < processes; rank++) {
        pid_t child = fork();
        if (child < 0) {
            perror("memory: fork");
            exit(1);
        }
        if (child == 0) {
            work(shared, count, samples, processes, rank);
            _exit(0);
        }
    }
    work(shared, count, samples, processes, 0);
    while (wait(NULL) > 0)
        continue;
}

int main(int argc, char **argv)
{
    size_t count = (size_t)round_argument(argc, argv, 1, "the number of elements");
    int64_t samples = round_argument(argc, argv, 2, "samples a turn");
    int64_t processes = round_argument(argc, argv, 3, "the number of processes");
    const char *how = argc > 4 ? argv[4] : "plain";
    shared_t *shared = map_shared(sizeof(*shared));
    work_fn work = strcmp(how, "step") == 0        ? step
                   : strcmp(how, "streaming") == 0 ? add_with_streaming
                                                   : add_with_plain;

    if (work == step && processes != 2) {
        fprintf(stderr, "memory: a step is one of 2 processes\n");
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        shared->arrays[i] = map_shared(count * sizeof(float));
        shared->gradients[i] = map_shared(count * sizeof(float));
    }
    round_open(0);
    while (round_next())
        turn(shared, count, samples, processes, work);
    return round_close();
}
