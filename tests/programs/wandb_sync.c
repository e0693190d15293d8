/* SPDX-License-Identifier: Apache-2.0 */
/* accel_wandb_sync() from the command line: program-wandb_sync [--include-online] PATH... */
#include <stdio.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static bool tell(void *context, const accel_wandb_sync_progress_t *progress)
{
    (void)context;
    if (progress->text)
        fprintf(stderr, "%s: %s\n", progress->log, progress->text);
    return true;
}

int main(int argc, char **argv)
{
    bool online = argc > 1 && !strcmp(argv[1], "--include-online");
    int failed = 0;

    for (int i = 1 + online; i < argc; i++) {
        accel_status_t status = accel_wandb_sync(
            argv[i], ACCEL_WANDB_SYNC_OPTIONS(.include_online = online, .progress = tell), NULL);
        if (status != ACCEL_OK) {
            fprintf(stderr, "%s\n", accel_last_error());
            failed = 1;
        }
    }
    return failed;
}
