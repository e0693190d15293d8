/* SPDX-License-Identifier: Apache-2.0 */
/* A tracker of your own: one CSV file a process, in 60 lines.
 *
 *     ./custom_tracker [DIRECTORY]          writes DIRECTORY/losses.rank0.csv
 *     accel launch -n 2 ./custom_tracker    and losses.rank1.csv
 *
 * A tracker is a struct of functions with a name. Registered, it is named in log_with like
 * the built-in ones, and gets what accel_init_trackers() and accel_log() are given. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <accel/accel.h>

static accel_status_t csv_create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    char path[4096];

    (void)context; /* what the class was registered with */
    snprintf(path, sizeof(path), "%s/%s.rank%d.csv", init->logging_dir, init->project_name,
             (int)init->process_index);
    *tracker = fopen(path, "w");
    if (!*tracker)
        return accel_fail(ACCEL_ERR_IO, "cannot create %s: %s", path, strerror(errno));
    return ACCEL_OK;
}

/* Called on the journal's thread: training does not wait for the disk. */
static accel_status_t csv_log(void *tracker, const accel_item_t *values, int64_t step,
                              double timestamp)
{
    for (const accel_item_t *item = values; item->type != ACCEL_TYPE_END; item++)
        if (item->type == ACCEL_TYPE_FLOAT &&
            fprintf(tracker, "%.3f,%lld,%s,%.9g\n", timestamp, (long long)step, item->key,
                    item->value.f) < 0)
            return accel_fail(ACCEL_ERR_IO, "cannot write: %s", strerror(errno));
    return ACCEL_OK;
}

static accel_status_t csv_flush(void *tracker)
{
    return fflush(tracker) == 0 ? ACCEL_OK
                                : accel_fail(ACCEL_ERR_IO, "cannot write: %s", strerror(errno));
}

static void csv_destroy(void *tracker)
{
    fclose(tracker);
}

static const accel_tracker_class_t csv = {
    .struct_size = sizeof(csv),
    .name = "csv",
    .requires_logging_directory = true,
    .every_process = true, /* false: on the main process only */
    .journaled = true,     /* false: log is called before accel_log() returns */
    .create = csv_create,
    .log = csv_log,
    .flush = csv_flush,
    .destroy = csv_destroy,
};

int main(int argc, char **argv)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_register_tracker_class(&csv));
    ACCEL_CHECK(accel_create(
        ACCEL_OPTIONS(.log_with = "csv", .project_dir = argc > 1 ? argv[1] : "."), &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "losses", NULL, NULL));

    for (int step = 0; step < 100; step++)
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", 1.0 / (1 + step)), step));

    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
