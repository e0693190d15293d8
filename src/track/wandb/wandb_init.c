/* SPDX-License-Identifier: Apache-2.0 */
/* A run by itself: the trackers of no accelerator, with one tracker. */
#include "track/wandb/wandb.h"

#include <stdlib.h>

/* ---- runs that are open when the process exits ---- */

/* Programs return from main() with a run open, and Python's finish theirs then. So it is done
 * here, with the exit code where the C library tells it, and journaled rows are not lost. */
static struct {
    pthread_mutex_t lock;
    accel_wandb_run_t *first;
    bool registered;
} open_runs = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void finish_open(int exit_code)
{
    pthread_mutex_lock(&open_runs.lock);
    for (accel_wandb_run_t *run = open_runs.first; run; run = run->next)
        if (accel__trackers_finish(run->own, exit_code) != ACCEL_OK)
            accel__log(ACCEL_LOG_ERROR, "%s", accel_last_error());
    open_runs.first = NULL;
    pthread_mutex_unlock(&open_runs.lock);
}

static void at_exit(int exit_code, void *context)
{
    (void)context;
    finish_open(exit_code);
}

static void remember(accel_wandb_run_t *run)
{
    pthread_mutex_lock(&open_runs.lock);
    if (!open_runs.registered) {
#ifdef __GLIBC__ /* elsewhere nobody tells the exit code */
        open_runs.registered = on_exit(at_exit, NULL) == 0;
#endif
    }
    run->next = open_runs.first;
    open_runs.first = run;
    pthread_mutex_unlock(&open_runs.lock);
}

/* Is it still open? At exit other threads may be finishing theirs. */
static bool forget(const accel_wandb_run_t *run)
{
    bool found;

    pthread_mutex_lock(&open_runs.lock);
    accel_wandb_run_t **at = &open_runs.first;
    while (*at && *at != run)
        at = &(*at)->next;
    found = *at != NULL;
    if (found)
        *at = run->next;
    pthread_mutex_unlock(&open_runs.lock);
    return found;
}

/* ---- init and finish ---- */

static accel_status_t start(const accel_item_t *arguments, accel__trackers_t **trackers)
{
    const accel__trackers_options_t options = {
        .log_with = "wandb", .num_processes = 1, .without_project = true};
    const accel_item_t init_kwargs[] = {accel_item_dict("wandb", arguments), accel_item_end()};
    accel_status_t status = accel__dict_check(arguments, "accel_wandb_init");

    if (status == ACCEL_OK)
        status = accel__trackers_create(&options, trackers);
    if (status == ACCEL_OK)
        status = accel__trackers_init(*trackers, NULL, NULL, init_kwargs);
    return status;
}

accel_status_t accel_wandb_init(const accel_item_t *arguments, accel_wandb_run_t **run)
{
    accel__trackers_t *trackers = NULL;
    accel_status_t status;

    if (!run)
        return accel__fail(ACCEL_ERR_INVALID, "accel_wandb_init: run is NULL");
    *run = NULL;
    status = start(arguments, &trackers);
    if (status != ACCEL_OK) {
        accel__trackers_destroy(trackers);
        return status;
    }
    accel_tracker_t *tracker = accel__trackers_get(trackers, "wandb");

    tracker->run.own = trackers;
    *run = &tracker->run;
    remember(*run);
    return ACCEL_OK;
}

accel_status_t accel_wandb_run_finish(accel_wandb_run_t *run, int32_t exit_code)
{
    accel_status_t status = accel__wandb_check_run(run, "accel_wandb_run_finish");

    if (status != ACCEL_OK)
        return status;
    if (!run->own)
        return accel__fail(ACCEL_ERR_STATE, "accel_wandb_run_finish: the run belongs to an "
                                            "accelerator; accel_end_training() finishes it");
    if (!forget(run))
        return accel__fail(ACCEL_ERR_STATE, "accel_wandb_run_finish: the process is exiting, "
                                            "and has finished the run");
    status = accel__trackers_finish(run->own, exit_code);
    accel__trackers_destroy(run->own); /* and `run` with it */
    return status;
}
