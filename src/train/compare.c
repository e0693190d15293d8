/* SPDX-License-Identifier: Apache-2.0 */
/* Do the ranks hand over the same thing? Hashes first; the descriptions travel only when they
 * are needed to say what differs. */
#include "train/params.h"

#include <stdlib.h>
#include <string.h>

typedef struct summary {
    uint64_t hash, length;
} summary_t;

/* The description at `*position` of a list of `length` bytes, or NULL at its end. */
static const char *next_item(const char *list, size_t length, size_t *position)
{
    const char *item = list + *position;

    if (*position >= length)
        return NULL;
    *position += strlen(item) + 1;
    return item;
}

static size_t count_items(const char *list, size_t length)
{
    size_t position = 0, count = 0;

    while (next_item(list, length, &position))
        count++;
    return count;
}

static accel_status_t name_difference(const char *item, bool numbered, const char *first,
                                      size_t first_length, const char *other, size_t other_length,
                                      int32_t rank)
{
    size_t i = 0, position = 0, other_position = 0;
    const char *a, *b;
    char number[24] = "";

    do {
        a = next_item(first, first_length, &position);
        b = next_item(other, other_length, &other_position);
        i++;
    } while (a && b && strcmp(a, b) == 0);
    if (numbered)
        snprintf(number, sizeof(number), " %zu", i - 1);
    if (a && b)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "accel_prepare: %s%s is %s on rank 0 but %s on rank %d", item, number, a,
                           b, (int)rank);
    return accel__fail(ACCEL_ERR_MISMATCH,
                       "accel_prepare: there are %zu %ss on rank 0 but %zu on rank %d; %s%s is %s "
                       "on rank %d only",
                       count_items(first, first_length), item, count_items(other, other_length),
                       (int)rank, item, number, a ? a : b, a ? 0 : (int)rank);
}

/* The first rank whose list is not that of rank 0, or -1. */
static int32_t first_other(const summary_t *all, int32_t ranks)
{
    for (int32_t r = 1; r < ranks; r++)
        if (all[r].hash != all[0].hash || all[r].length != all[0].length)
            return r;
    return -1;
}

/* Every rank comes here, having seen the same summaries. */
static accel_status_t report(accel_comm_t *comm, const char *item, bool numbered,
                             const accel__text_t *mine, const summary_t *all)
{
    int32_t ranks = accel_comm_size(comm), other = first_other(all, ranks);
    size_t width = 1;
    char *lists;
    accel_status_t status = ACCEL_OK;

    for (int32_t r = 0; r < ranks; r++)
        if (all[r].length > width)
            width = (size_t)all[r].length;
    lists = calloc((size_t)ranks, width);
    if (!lists)
        status = accel__fail_memory("descriptions of all ranks", (size_t)ranks * width);
    status = accel__comm_agree(comm, "accel_prepare", status);
    if (status != ACCEL_OK || !lists) /* no memory here is never agreed to be good */
        goto done;
    if (mine->length > 0)
        memcpy(lists + (size_t)accel_comm_rank(comm) * width, mine->data, mine->length);
    status = accel_comm_allgather(comm, lists + (size_t)accel_comm_rank(comm) * width, lists, width,
                                  ACCEL_U8);
    if (status == ACCEL_OK)
        status = name_difference(item, numbered, lists, (size_t)all[0].length,
                                 lists + (size_t)other * width, (size_t)all[other].length, other);
done:
    free(lists);
    return status;
}

accel_status_t accel__compare(accel_comm_t *comm, accel_status_t local, const char *item,
                              bool numbered, const accel__text_t *mine)
{
    size_t ranks = (size_t)accel_comm_size(comm);
    summary_t own = {accel__hash(ACCEL__HASH_START, mine->data, mine->length), mine->length};
    summary_t *all = calloc(ranks, sizeof(*all));
    accel_status_t status = local;

    if (!all && status == ACCEL_OK)
        status = accel__fail_memory("summaries of all ranks", ranks * sizeof(*all));
    status = accel__comm_agree(comm, "accel_prepare", status);
    if (status != ACCEL_OK || !all)
        goto done;
    status = accel__comm_meet(comm, "accel_prepare", 0, &own, sizeof(own), all);
    if (status == ACCEL_OK && first_other(all, (int32_t)ranks) >= 0)
        status = report(comm, item, numbered, mine, all);
done:
    free(all);
    return status;
}
