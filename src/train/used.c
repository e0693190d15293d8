/* SPDX-License-Identifier: Apache-2.0 */
#include "train/used.h"

#include <stdlib.h>
#include <string.h>

size_t accel__used_words(int64_t num_params)
{
    return ((size_t)num_params + 63) / 64;
}

accel_status_t accel__used_init(accel__used_t *used, size_t num_words)
{
    *used = (accel__used_t){0};
    if (num_words == 0)
        return ACCEL_OK;
    used->mine = calloc(2 * num_words, sizeof(*used->mine));
    if (!used->mine)
        return accel__fail_memory("the marks of used parameters", 2 * num_words * sizeof(uint64_t));
    used->anywhere = used->mine + num_words;
    used->num_words = num_words;
    return ACCEL_OK;
}

void accel__used_free(accel__used_t *used)
{
    free(used->mine);
    *used = (accel__used_t){0};
}

void accel__used_forget(accel__used_t *used)
{
    if (used->num_words > 0)
        memset(used->mine, 0, used->num_words * sizeof(*used->mine));
}

int accel__used_publish(accel__used_t *used, const accel__arena_t *arena)
{
    used->side = !used->side;
    if (used->num_words > 0)
        memcpy(accel__arena_used(arena, arena->rank, used->side), used->mine,
               used->num_words * sizeof(*used->mine));
    return used->side;
}

void accel__used_begin(accel__used_t *used)
{
    if (used->num_words > 0)
        memset(used->anywhere, 0, used->num_words * sizeof(*used->anywhere));
}

void accel__used_join(accel__used_t *used, const accel__arena_t *arena, int32_t rank, int side)
{
    for (size_t i = 0; i < used->num_words; i++)
        used->anywhere[i] |= accel__arena_used(arena, rank, side)[i];
}
