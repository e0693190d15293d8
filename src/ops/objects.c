/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that mean something to the program alone: gather_object and broadcast_object_list. */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

/* One block: this, the offsets, the bytes. */
struct accel_objects {
    int32_t count;
    unsigned char *data;
    size_t offsets[]; /* count + 1: object i is data[offsets[i]] up to offsets[i + 1] */
};

int32_t accel_objects_count(const accel_objects_t *objects)
{
    return objects ? objects->count : 0;
}

const void *accel_objects_get(const accel_objects_t *objects, int32_t index, size_t *size)
{
    bool known = objects && index >= 0 && index < objects->count;

    if (size)
        *size = known ? objects->offsets[index + 1] - objects->offsets[index] : 0;
    return known ? objects->data + objects->offsets[index] : NULL;
}

void accel_objects_destroy(accel_objects_t *objects)
{
    free(objects);
}

static accel_status_t make_objects(int32_t count, const int64_t *sizes, accel_objects_t **objects)
{
    size_t head = sizeof(**objects) + ((size_t)count + 1) * sizeof((*objects)->offsets[0]);
    size_t total = 0;

    for (int32_t i = 0; i < count; i++)
        total += (size_t)sizes[i];
    *objects = malloc(head + total);
    if (!*objects)
        return accel__fail_memory("objects", head + total);
    (*objects)->count = count;
    (*objects)->data = (unsigned char *)*objects + head;
    (*objects)->offsets[0] = 0;
    for (int32_t i = 0; i < count; i++)
        (*objects)->offsets[i + 1] = (*objects)->offsets[i] + (size_t)sizes[i];
    return ACCEL_OK;
}

/* Nothing is exchanged after the gather, so a lack of memory then is this rank's alone. */
accel_status_t accel__ops_gather_object(accel_comm_t *comm, const void *bytes, size_t size,
                                        accel_objects_t **objects)
{
    int32_t count = accel_comm_size(comm);
    int64_t length = (int64_t)size;
    int64_t *sizes = calloc((size_t)count, sizeof(*sizes));
    accel_tensor_t view, *gathered;
    accel_status_t status;

    *objects = NULL;
    if (!sizes)
        return accel__ops_give_up(comm, accel__fail_memory("the objects' sizes", sizeof(*sizes)));
    accel_tensor_view(&view, bytes, ACCEL_U8, 1, &length);
    status = accel__ops_gather_rows(comm, "accel_gather_object", &view, -1, sizes, &gathered);
    if (status == ACCEL_OK) {
        status = make_objects(count, sizes, objects);
        if (status == ACCEL_OK)
            memcpy((*objects)->data, gathered->data, (*objects)->offsets[count]);
        accel_tensor_destroy(gathered);
    }
    free(sizes);
    return status;
}

static accel_status_t check_broadcast(accel_comm_t *comm, const void *bytes, size_t size,
                                      int32_t from_process)
{
    if (from_process < 0 || from_process >= accel_comm_size(comm))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_broadcast_object: from_process is %d; expected 0 to %d",
                           (int)from_process, (int)accel_comm_size(comm) - 1);
    if (from_process != accel_comm_rank(comm))
        return ACCEL_OK;
    if (size > INT64_MAX || (size > 0 && !bytes))
        return accel__fail(ACCEL_ERR_INVALID, "accel_broadcast_object: %zu bytes at %s", size,
                           bytes ? "an address" : "NULL");
    return ACCEL_OK;
}

accel_status_t accel__ops_broadcast_object(accel_comm_t *comm, const void *bytes, size_t size,
                                           int32_t from_process, accel_objects_t **object)
{
    accel_tensor_t nothing;
    accel__ops_call_t call = {.operation = "accel_broadcast_object",
                              .tensor = accel_tensor_view(&nothing, NULL, ACCEL_U8, 0, NULL),
                              .extent = (int64_t)size,
                              .setting_name = "from_process",
                              .setting = from_process};
    accel__note_t *notes;
    accel_objects_t *made;
    int64_t total;
    accel_status_t status;

    *object = NULL;
    call.status = check_broadcast(comm, bytes, size, from_process);
    status = accel__ops_meet(comm, &call, &notes);
    if (status != ACCEL_OK)
        return status;
    total = notes[from_process].extent;
    free(notes);
    status = make_objects(1, &total, &made);
    if (status != ACCEL_OK)
        return accel__ops_give_up(comm, status);
    if (total > 0 && accel_comm_rank(comm) == from_process)
        memcpy(made->data, bytes, (size_t)total);
    if (total > 0)
        status = accel_comm_broadcast(comm, made->data, (size_t)total, ACCEL_U8, from_process);
    if (status == ACCEL_OK)
        *object = made;
    else
        accel_objects_destroy(made);
    return status;
}
