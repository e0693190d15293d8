/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that mean something to the program alone: gather_object and broadcast_object_list. */
#include "ops/meeting.h"
#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

/* The block that holds the bytes behind their offsets. */
static accel_status_t pack(const accel_tensor_t *gathered, const int64_t *sizes, int32_t count,
                           accel__objects_t **objects)
{
    size_t head = sizeof(**objects) + ((size_t)count + 1) * sizeof((*objects)->offsets[0]);
    size_t total = (size_t)gathered->shape[0];
    accel__objects_t *made = malloc(head + total);
    unsigned char *data;

    if (!made)
        return accel__fail_memory("the ranks' objects", head + total);
    data = (unsigned char *)made + head;
    memcpy(data, gathered->data, total);
    made->data = data;
    made->count = count;
    made->offsets[0] = 0;
    for (int32_t r = 0; r < count; r++)
        made->offsets[r + 1] = made->offsets[r] + (size_t)sizes[r];
    *objects = made;
    return ACCEL_OK;
}

/* Nothing is exchanged after this, so a lack of memory here is this rank's alone. */
accel_status_t accel__ops_gather_object(accel_comm_t *comm, const void *bytes, size_t size,
                                        accel__objects_t **objects)
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
        status = pack(gathered, sizes, count, objects);
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
                                           int32_t from_process, void **received,
                                           size_t *received_size)
{
    accel_tensor_t nothing;
    accel__call_t call = {.operation = "accel_broadcast_object",
                          .tensor = accel_tensor_view(&nothing, NULL, ACCEL_U8, 0, NULL),
                          .extent = (int64_t)size,
                          .setting_name = "from_process",
                          .setting = from_process};
    accel__note_t *notes;
    accel_status_t status;
    size_t total;
    void *copy;

    *received = NULL;
    *received_size = 0;
    call.status = check_broadcast(comm, bytes, size, from_process);
    status = accel__ops_meet(comm, &call, &notes);
    if (status != ACCEL_OK)
        return status;
    total = (size_t)notes[from_process].extent;
    free(notes);
    copy = malloc(total ? total : 1);
    if (!copy)
        return accel__ops_give_up(comm, accel__fail_memory("an object", total));
    if (total > 0 && accel_comm_rank(comm) == from_process)
        memcpy(copy, bytes, total);
    if (total > 0)
        status = accel_comm_broadcast(comm, copy, total, ACCEL_U8, from_process);
    if (status != ACCEL_OK) {
        free(copy);
        return status;
    }
    *received = copy;
    *received_size = total;
    return ACCEL_OK;
}
