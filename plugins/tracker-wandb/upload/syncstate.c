/* SPDX-License-Identifier: Apache-2.0 */
#include "syncstate.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../text.h"

enum { LARGEST = 64 << 10, MOST_DESTINATIONS = 64 };

accel_status_t accel__wandb_syncstate_open(const char *log_path, int *fd)
{
    accel__wandb_text_t path = {0};
    accel_status_t status = ACCEL_OK;
    *fd = -1;
    accel__wandb_text_printf(&path, "%s.syncstate", log_path);
    if (path.failed)
        return accel__wandb_fail_memory();
    int opened = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (opened < 0) {
        status = accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write", path.data);
    } else if (flock(opened, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        status =
            accel__wandb_fail(ACCEL_ERR_STATE, "wandb: another process is sending %s", log_path);
        close(opened);
    } else { /* a file system without locks does not stop anyone */
        *fd = opened;
    }
    accel__wandb_text_free(&path);
    return status;
}

static json_t *read_json(int fd)
{
    char *data = malloc(LARGEST);
    ssize_t size = data ? pread(fd, data, LARGEST, 0) : -1;
    json_t *json = size > 0 ? json_loadb(data, (size_t)size, 0, NULL) : NULL;
    free(data);
    return json;
}

static bool number(json_t *object, const char *key, int64_t *value)
{
    const json_int_t most = (json_int_t)1 << 53;
    json_t *found = json_object_get(object, key);
    if (!json_is_integer(found) || json_integer_value(found) < 0 ||
        json_integer_value(found) > most)
        return false;
    *value = json_integer_value(found);
    return true;
}

static bool is(json_t *object, const char *key, const char *wanted)
{
    const char *found = json_string_value(json_object_get(object, key));
    return found && !strcmp(found, wanted);
}

/* The entry of a destination in the list of them, or the list's size. */
static size_t find(json_t *list, const accel__wandb_destination_t *destination)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (is(entry, "server", destination->server) && is(entry, "entity", destination->entity) &&
            is(entry, "project", destination->project) && is(entry, "run_id", destination->run_id))
            return i;
    }
    return json_array_size(list);
}

bool accel__wandb_syncstate_load(int fd, const accel__wandb_destination_t *destination,
                                 accel__wandb_syncstate_t *state)
{
    json_t *json = read_json(fd), *list = json_object_get(json, "accel");
    json_t *entry = json_array_get(list, find(list, destination));
    bool found = number(entry, "starting_step", &state->starting_step) &&
                 number(entry, "starting_runtime", &state->starting_runtime) &&
                 number(entry, "history", &state->history) &&
                 number(entry, "events", &state->events) && number(entry, "output", &state->output);
    json_decref(json);
    return found;
}

/* The list with this state of the destination, behind those of others; the oldest is let go. */
static json_t *list_with(json_t *old, const accel__wandb_destination_t *destination,
                         const accel__wandb_syncstate_t *state)
{
    json_t *list = json_is_array(old) ? json_incref(old) : json_array();
    size_t place = find(list, destination);
    if (place < json_array_size(list))
        json_array_remove(list, place);
    else if (json_array_size(list) >= MOST_DESTINATIONS)
        json_array_remove(list, 0);
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "server", destination->server, "entity",
        destination->entity, "project", destination->project, "run_id", destination->run_id,
        "starting_step", (json_int_t)state->starting_step, "starting_runtime",
        (json_int_t)state->starting_runtime, "history", (json_int_t)state->history, "events",
        (json_int_t)state->events, "output", (json_int_t)state->output);
    json_array_append_new(list, entry);
    return list;
}

accel_status_t accel__wandb_syncstate_save(int fd, const char *log_path,
                                           const accel__wandb_destination_t *destination,
                                           const accel__wandb_syncstate_t *state)
{
    json_t *old = read_json(fd);
    json_t *json = json_pack("{s:I, s:I, s:o}", "starting_step", (json_int_t)state->starting_step,
                             "starting_runtime", (json_int_t)state->starting_runtime, "accel",
                             list_with(json_object_get(old, "accel"), destination, state));
    json_decref(old);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    accel_status_t status = text ? ACCEL_OK : accel__wandb_fail_memory();
    size_t size = text ? strlen(text) : 0;
    if (text && (pwrite(fd, text, size, 0) != (ssize_t)size || ftruncate(fd, (off_t)size) < 0))
        status =
            accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write the syncstate of", log_path);
    free(text);
    json_decref(json);
    return status;
}
