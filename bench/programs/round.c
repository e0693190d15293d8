/* SPDX-License-Identifier: Apache-2.0 */
#include "round.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES_MAX 65536

static struct {
    FILE *go, *out;
    double samples[SAMPLES_MAX];
    int count, turns;
} shared;

/* The driver has both ends open: without it, opening fails or the first read is the end, where
 * an ordinary open would wait for ever. */
static FILE *open_pipe(const char *name, int access, const char *mode)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", getenv("BENCH_DIR"), name);
    int fd = open(path, access | O_NONBLOCK | O_CLOEXEC);
    FILE *file = fd >= 0 && fcntl(fd, F_SETFL, access) == 0 ? fdopen(fd, mode) : NULL;
    if (!file) {
        perror(path);
        exit(1);
    }
    return file;
}

void round_open(int rank)
{
    char name[32];

    if (!getenv("BENCH_DIR")) {
        shared.out = rank == 0 ? stdout : NULL;
        return;
    }
    snprintf(name, sizeof(name), "go.%d", rank);
    if (rank == 0)
        shared.out = open_pipe("out", O_WRONLY, "w");
    shared.go = open_pipe(name, O_RDONLY, "r");
}

static void send_samples(void)
{
    if (!shared.out)
        return;
    for (int i = 0; i < shared.count; i++)
        fprintf(shared.out, "%.9g ", shared.samples[i]);
    fprintf(shared.out, "\n");
    fflush(shared.out);
}

bool round_next(void)
{
    char line[32];

    if (shared.turns++ > 0)
        send_samples();
    shared.count = 0;
    if (!shared.go)
        return shared.turns == 1;
    return fgets(line, sizeof(line), shared.go) && strcmp(line, "go\n") == 0;
}

void round_sample(double seconds)
{
    if (shared.count < SAMPLES_MAX)
        shared.samples[shared.count++] = seconds;
}

int round_close(void)
{
    if (shared.go)
        fclose(shared.go);
    if (shared.out && shared.out != stdout)
        fclose(shared.out);
    return 0;
}

double round_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t round_argument(int argc, char **argv, int index, const char *what)
{
    char *end = NULL;
    errno = 0;
    long long value = index < argc ? strtoll(argv[index], &end, 10) : 0;

    if (value > 0 && errno == 0 && end && *end == 0)
        return value;
    fprintf(stderr, "%s: argument %d: %s, a number above 0, expected\n", argv[0], index, what);
    exit(2);
}

void round_mark(const char *path, int processes)
{
    double now = round_now();
    FILE *file = fopen(path, "w");

    if (!file || fprintf(file, "%.9f %d\n", now, processes) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}
