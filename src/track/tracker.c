/* SPDX-License-Identifier: Apache-2.0 */
/* One tracker of an accelerator: every call of a slot goes through here. */
#include "track/tracker.h"
#include "track/media.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- entering and leaving ---- */

/* Is this thread inside a slot? What a slot would wait for by calling back, a lock or the
 * journal, may be waiting for that very slot. */
static _Thread_local bool in_slot;

accel_status_t accel__tracker_check_caller(void)
{
    if (!in_slot)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_STATE, "a tracker must not be used from within a tracker's slot");
}

static accel_status_t lock_slots(accel_tracker_t *tracker)
{
    accel_status_t status = accel__tracker_check_caller();

    if (status != ACCEL_OK)
        return status;
    pthread_mutex_lock(&tracker->lock);
    in_slot = true;
    return ACCEL_OK;
}

static void unlock_slots(accel_tracker_t *tracker)
{
    in_slot = false;
    pthread_mutex_unlock(&tracker->lock);
}

static void before_slot(accel__slot_call_t *call)
{
    snprintf(call->text_before, sizeof(call->text_before), "%s", accel_last_error());
}

/* The status of a slot, its text made to name the tracker. */
static accel_status_t after_slot(const accel_tracker_t *tracker, const accel__slot_call_t *call,
                                 const char *slot, accel_status_t status)
{
    size_t compared = sizeof(call->text_before) - 1;

    if (status >= ACCEL_OK)
        return ACCEL_OK;
    if (strncmp(call->text_before, accel_last_error(), compared) == 0)
        return accel__fail(status, "tracker '%s': %s failed with %s", tracker->slots.name, slot,
                           accel_status_name(status));
    return accel__fail(status, "tracker '%s': %s", tracker->slots.name, accel_last_error());
}

/* Keep the first failure of a log for finish. `report`: nobody else will hear of it now. */
static void remember(accel_tracker_t *tracker, accel_status_t status, bool report)
{
    if (status == ACCEL_OK || tracker->failure != ACCEL_OK)
        return;
    tracker->failure = status;
    snprintf(tracker->failure_text, sizeof(tracker->failure_text), "%s", accel_last_error());
    if (report)
        accel__log(ACCEL_LOG_ERROR, "%s", tracker->failure_text);
}

static accel_status_t flush_locked(accel_tracker_t *tracker)
{
    accel__slot_call_t call;

    if (!tracker->unflushed || !tracker->slots.flush)
        return ACCEL_OK;
    tracker->unflushed = false;
    before_slot(&call);
    return after_slot(tracker, &call, "flush", tracker->slots.flush(tracker->state));
}

/* A failure of the flush belongs to the rows, not to this call. */
accel_status_t accel__tracker_enter(accel_tracker_t *tracker, accel__slot_call_t *call)
{
    accel_status_t status = accel__trackers_check_running(tracker->owner);

    if (status != ACCEL_OK)
        return status;
    accel__trackers_drain(tracker->owner);
    status = lock_slots(tracker);
    if (status != ACCEL_OK)
        return status;
    if (!tracker->started) {
        unlock_slots(tracker);
        return accel__fail(ACCEL_ERR_STATE, "tracker '%s' does not run", tracker->slots.name);
    }
    remember(tracker, flush_locked(tracker), true);
    before_slot(call);
    return ACCEL_OK;
}

accel_status_t accel__tracker_leave(accel_tracker_t *tracker, const accel__slot_call_t *call,
                                    const char *slot, accel_status_t status)
{
    status = after_slot(tracker, call, slot, status);
    unlock_slots(tracker);
    return status;
}

static accel_status_t unsupported(const accel_tracker_t *tracker, const char *what)
{
    return accel__fail(ACCEL_ERR_UNSUPPORTED, "tracker '%s' cannot log %s", tracker->slots.name,
                       what);
}

/* ---- life ---- */

void accel__tracker_open(accel_tracker_t *tracker, accel__trackers_t *owner,
                         const accel_tracker_class_t *tracker_class, bool here)
{
    *tracker = (accel_tracker_t){.owner = owner, .slots = *tracker_class, .here = here};
    tracker->run.tracker = tracker;
    pthread_mutex_init(&tracker->lock, NULL);
}

void accel__tracker_close(accel_tracker_t *tracker)
{
    pthread_mutex_destroy(&tracker->lock);
}

static void discard_state(accel_tracker_t *tracker)
{
    tracker->slots.destroy(tracker->state);
    tracker->state = NULL;
    tracker->started = false;
    tracker->unflushed = false;
}

static accel_status_t create_and_start(accel_tracker_t *tracker, const accel_tracker_init_t *init)
{
    const accel_tracker_class_t *slots = &tracker->slots;
    accel_status_t status;
    accel__slot_call_t call;

    tracker->failure = ACCEL_OK;
    before_slot(&call);
    status =
        after_slot(tracker, &call, "create", slots->create(slots->context, init, &tracker->state));
    if (status != ACCEL_OK)
        return status;
    before_slot(&call);
    status = slots->start ? slots->start(tracker->state) : ACCEL_OK;
    status = after_slot(tracker, &call, "start", status);
    if (status != ACCEL_OK)
        discard_state(tracker);
    tracker->started = status == ACCEL_OK;
    return status;
}

accel_status_t accel__tracker_start(accel_tracker_t *tracker, const accel_tracker_init_t *init,
                                    const accel_item_t *config)
{
    const accel_tracker_class_t *slots = &tracker->slots;
    accel_status_t status = lock_slots(tracker);
    accel__slot_call_t call;

    if (status != ACCEL_OK)
        return status;
    status = create_and_start(tracker, init);
    before_slot(&call);
    if (status == ACCEL_OK && config && slots->store_init_configuration)
        status = after_slot(tracker, &call, "store_init_configuration",
                            slots->store_init_configuration(tracker->state, config));
    unlock_slots(tracker);
    return status;
}

static accel_status_t finish_locked(accel_tracker_t *tracker, int32_t exit_code)
{
    accel_status_t status;
    accel__slot_call_t call;

    remember(tracker, flush_locked(tracker), false);
    before_slot(&call);
    status = tracker->slots.finish ? tracker->slots.finish(tracker->state, exit_code) : ACCEL_OK;
    status = after_slot(tracker, &call, "finish", status);
    remember(tracker, status, false);
    discard_state(tracker);
    return tracker->failure;
}

accel_status_t accel__tracker_stop(accel_tracker_t *tracker, int32_t exit_code)
{
    accel_status_t status = lock_slots(tracker);

    if (status != ACCEL_OK)
        return status;
    if (tracker->started)
        status = finish_locked(tracker, exit_code);
    unlock_slots(tracker);
    return status == ACCEL_OK ? ACCEL_OK : accel__fail(status, "%s", tracker->failure_text);
}

/* ---- rows ---- */

accel_status_t accel__tracker_deliver(accel_tracker_t *tracker, const accel_item_t *values,
                                      int64_t step, double timestamp, bool flush)
{
    accel_status_t status = lock_slots(tracker);
    accel__slot_call_t call;

    if (status != ACCEL_OK)
        return status;
    if (tracker->started) { /* else it ended while the caller was on its way here */
        before_slot(&call);
        status = tracker->slots.log(tracker->state, values, step, timestamp);
        status = after_slot(tracker, &call, "log", status);
        tracker->unflushed = true;
        if (flush && status == ACCEL_OK)
            status = flush_locked(tracker);
        remember(tracker, status, !flush);
    }
    unlock_slots(tracker);
    return status;
}

accel_status_t accel__tracker_flush(accel_tracker_t *tracker)
{
    accel_status_t status = lock_slots(tracker);

    if (status != ACCEL_OK)
        return status;
    if (tracker->started)
        status = flush_locked(tracker);
    remember(tracker, status, true);
    unlock_slots(tracker);
    return status;
}

const char *accel__tracker_info(accel_tracker_t *tracker, const char *what)
{
    const char *fact = NULL;

    if (!tracker->slots.info || lock_slots(tracker) != ACCEL_OK)
        return NULL;
    if (tracker->started)
        fact = tracker->slots.info(tracker->state, what);
    unlock_slots(tracker);
    return fact;
}

bool accel__tracker_try_info(accel_tracker_t *tracker, const char *what, const char **fact)
{
    if (!tracker->slots.info || in_slot || pthread_mutex_trylock(&tracker->lock) != 0)
        return false;
    in_slot = true;
    *fact = tracker->started ? tracker->slots.info(tracker->state, what) : NULL;
    unlock_slots(tracker);
    return true;
}

/* ---- public ---- */

static accel_status_t check_handle(const accel_tracker_t *tracker, const char *call)
{
    if (tracker)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID, "%s: tracker is NULL; see what accel_get_tracker() said",
                       call);
}

const char *accel_tracker_name(const accel_tracker_t *tracker)
{
    return tracker ? tracker->slots.name : NULL;
}

void *accel_tracker_unwrap(accel_tracker_t *tracker)
{
    void *object = NULL;

    if (!tracker || !tracker->here || lock_slots(tracker) != ACCEL_OK)
        return NULL;
    if (tracker->started)
        object = strcmp(tracker->slots.name, "wandb") == 0 ? (void *)&tracker->run : tracker->state;
    unlock_slots(tracker);
    return object;
}

accel_status_t accel_tracker_log(accel_tracker_t *tracker, const accel_item_t *values, int64_t step)
{
    accel_status_t status = check_handle(tracker, "accel_tracker_log");

    return status == ACCEL_OK ? accel__trackers_log_to(tracker->owner, tracker, values, step)
                              : status;
}

static accel_status_t check_images(const char *key, const accel_image_t *images, int64_t num_images)
{
    accel_status_t status = ACCEL_OK;

    if (!key || !images || num_images < 1)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_tracker_log_images: expected a key and at least one image");
    for (int64_t i = 0; i < num_images && status == ACCEL_OK; i++)
        status = accel__image_check(&images[i], key, i);
    return status;
}

/* As Accelerate's tracker for W&B does it: run.log({key: [wandb.Image(image), ...]}). */
static accel_status_t log_media(accel_tracker_t *tracker, const accel_item_t *row, int64_t step)
{
    accel_status_t status = accel__trackers_log_to(tracker->owner, tracker, row, step);

    accel__media_release(row);
    return status;
}

static accel_status_t log_images_as_row(accel_tracker_t *tracker, const char *key,
                                        const accel_image_t *images, int64_t num_images,
                                        int64_t step)
{
    accel_list_t list;
    accel_item_t row[] = {accel_item_null(key, NULL), accel_item_end()};
    accel_item_t *items = NULL;
    accel_status_t status = accel__images_create(images, num_images, &items);

    if (status != ACCEL_OK)
        return status;
    list.items = items;
    row[0] = accel_item_list(key, &list);
    status = log_media(tracker, row, step);
    free(items);
    return status;
}

accel_status_t accel_tracker_log_images(accel_tracker_t *tracker, const char *key,
                                        const accel_image_t *images, int64_t num_images,
                                        int64_t step)
{
    accel_status_t status = check_handle(tracker, "accel_tracker_log_images");
    accel__slot_call_t call;

    if (status == ACCEL_OK)
        status = check_images(key, images, num_images);
    if (status != ACCEL_OK || !tracker->here)
        return status;
    if (!tracker->slots.log_images)
        return tracker->slots.logs_media ? log_images_as_row(tracker, key, images, num_images, step)
                                         : unsupported(tracker, "images");
    status = accel__tracker_enter(tracker, &call);
    if (status != ACCEL_OK)
        return status;
    return accel__tracker_leave(
        tracker, &call, "log_images",
        tracker->slots.log_images(tracker->state, key, images, num_images, step));
}

static size_t list_length(const accel_item_t *items)
{
    size_t length = 0;

    while (items && items[length].type != ACCEL_TYPE_END)
        length++;
    return length;
}

static accel_status_t check_table(const char *name, const accel_list_t *columns,
                                  const accel_list_t *rows)
{
    accel_status_t status;
    size_t width;

    if (!name || !columns || !rows)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_tracker_log_table: expected a name, columns and rows");
    status = accel__dict_check(columns->items, name);
    if (status == ACCEL_OK)
        status = accel__row_check(rows->items, name);
    if (status != ACCEL_OK)
        return status;
    width = list_length(columns->items);
    for (size_t i = 0; i < width; i++)
        if (columns->items[i].type != ACCEL_TYPE_STRING)
            return accel__fail(ACCEL_ERR_INVALID, "table '%s': the name of column %zu is no text",
                               name, i);
    for (size_t i = 0; i < list_length(rows->items); i++) {
        const accel_item_t *row = &rows->items[i];

        if (row->type != ACCEL_TYPE_LIST || list_length(row->value.list) != width)
            return accel__fail(ACCEL_ERR_INVALID, "table '%s': row %zu is no list of %zu values",
                               name, i, width);
    }
    return ACCEL_OK;
}

static accel_status_t log_table_as_row(accel_tracker_t *tracker, const char *name,
                                       const accel_list_t *columns, const accel_list_t *rows,
                                       int64_t step)
{
    accel_media_t *table = NULL;
    accel_status_t status = accel__table_create(columns->items, rows->items, &table);
    const accel_item_t row[] = {accel_item_media(name, table), accel_item_end()};

    return status == ACCEL_OK ? log_media(tracker, row, step) : status;
}

accel_status_t accel_tracker_log_table(accel_tracker_t *tracker, const char *name,
                                       const accel_list_t *columns, const accel_list_t *rows,
                                       int64_t step)
{
    accel_status_t status = check_handle(tracker, "accel_tracker_log_table");
    accel__slot_call_t call;

    if (status == ACCEL_OK)
        status = check_table(name, columns, rows);
    if (status != ACCEL_OK || !tracker->here)
        return status;
    if (!tracker->slots.log_table)
        return tracker->slots.logs_media ? log_table_as_row(tracker, name, columns, rows, step)
                                         : unsupported(tracker, "tables");
    status = accel__tracker_enter(tracker, &call);
    if (status != ACCEL_OK)
        return status;
    return accel__tracker_leave(
        tracker, &call, "log_table",
        tracker->slots.log_table(tracker->state, name, columns, rows, step));
}

accel_status_t accel_tracker_log_artifact(accel_tracker_t *tracker,
                                          const accel_artifact_t *artifact)
{
    accel_status_t status = check_handle(tracker, "accel_tracker_log_artifact");
    accel__slot_call_t call;

    if (status == ACCEL_OK && !artifact)
        status = accel__fail(ACCEL_ERR_INVALID, "accel_tracker_log_artifact: artifact is NULL");
    if (status != ACCEL_OK || !tracker->here)
        return status;
    if (!tracker->slots.log_artifact)
        return unsupported(tracker, "artifacts");
    status = accel__tracker_enter(tracker, &call);
    if (status != ACCEL_OK)
        return status;
    return accel__tracker_leave(
        tracker, &call, "log_artifact",
        tracker->slots.log_artifact(tracker->state, accel_artifact_view(artifact)));
}
