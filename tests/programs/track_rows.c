/* SPDX-License-Identifier: Apache-2.0 */
/* Logs rows until it is killed or has logged enough, and tells in shared memory how far
 * accel_log() has returned.
 *
 *     program-track_rows DIRECTORY JOURNAL PROGRESS_FILE ROWS MICROSECONDS [FILE_SIZE_LIMIT]
 *
 * The environment's TRACKER is the tracker; "jsonl" if there is none. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

#include <accel/accel.h>

typedef struct progress {
    atomic_llong rows;         /* accel_log() has returned for so many */
    atomic_llong microseconds; /* since the epoch, when it last did */
} progress_t;

static progress_t *map_progress(const char *path)
{
    int fd = open(path, O_RDWR);
    void *memory = MAP_FAILED;

    if (fd >= 0)
        memory = mmap(NULL, sizeof(progress_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    return memory;
}

static long long microseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void limit_files(long long size)
{
    struct rlimit limit = {(rlim_t)size, (rlim_t)size};

    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        perror("RLIMIT_FSIZE");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    const char *tracker = getenv("TRACKER");
    accel_t *accelerator;
    progress_t *progress;
    long long rows;
    useconds_t pause;

    if (argc < 6)
        return 2;
    progress = map_progress(argv[3]);
    rows = strtoll(argv[4], NULL, 10);
    pause = (useconds_t)strtol(argv[5], NULL, 10);
    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = tracker ? tracker : "jsonl",
                                           .logging_dir = argv[1], .journal = argv[2]),
                             &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "rows", ACCEL_DICT("rows", rows), NULL));
    if (argc > 6)
        limit_files(strtoll(argv[6], NULL, 10));
    for (long long i = 0; i < rows; i++) {
        ACCEL_CHECK(accel_log(accelerator,
                              ACCEL_DICT("loss", 1.0 / (double)(i + 1), "text", "some text"), i));
        atomic_store(&progress->microseconds, microseconds_now());
        atomic_store(&progress->rows, i + 1);
        if (pause)
            usleep(pause);
    }
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
