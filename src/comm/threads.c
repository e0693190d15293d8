/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that are threads share one mapping, so that the thread sanitizer sees what they do
 * to each other; two mappings of the same memory would hide it. */
#include "comm/world.h"

#include <stdlib.h>
#include <string.h>

typedef struct block {
    struct block *next;
    void *memory;
} block_t;

struct accel_thread_ranks {
    int32_t size;
    pthread_mutex_t lock;
    block_t *blocks;
    accel__segment_t **worlds; /* in the order in which they were first joined */
    int64_t num_worlds;
    int64_t joined[ACCEL__MAX_LOCAL_RANKS]; /* worlds each rank has joined */
};

accel_status_t accel_thread_ranks_create(int32_t num_processes, accel_thread_ranks_t **ranks)
{
    if (!ranks)
        return accel__fail(ACCEL_ERR_INVALID, "accel_thread_ranks_create: ranks is NULL");
    *ranks = NULL;
    if (num_processes < 1 || num_processes > ACCEL__MAX_LOCAL_RANKS)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_thread_ranks_create: %d processes; expected 1 to %d",
                           (int)num_processes, ACCEL__MAX_LOCAL_RANKS);
    *ranks = calloc(1, sizeof(**ranks));
    if (!*ranks)
        return accel__fail_memory("thread ranks", sizeof(**ranks));
    (*ranks)->size = num_processes;
    pthread_mutex_init(&(*ranks)->lock, NULL);
    return ACCEL_OK;
}

void accel_thread_ranks_destroy(accel_thread_ranks_t *ranks)
{
    if (!ranks)
        return;
    for (block_t *block = ranks->blocks; block;) {
        block_t *next = block->next;

        free(block->memory);
        free(block);
        block = next;
    }
    free(ranks->worlds);
    pthread_mutex_destroy(&ranks->lock);
    free(ranks);
}

int32_t accel__threads_size(const accel_thread_ranks_t *ranks)
{
    return ranks->size;
}

/* With the lock held. */
static void *allocate(accel_thread_ranks_t *ranks, size_t size)
{
    block_t *block = malloc(sizeof(*block));
    size_t rounded = (size + 4095) & ~(size_t)4095;

    if (!block)
        return NULL;
    block->memory = aligned_alloc(4096, rounded);
    if (!block->memory) {
        free(block);
        return NULL;
    }
    memset(block->memory, 0, rounded);
    block->next = ranks->blocks;
    ranks->blocks = block;
    return block->memory;
}

void *accel__threads_alloc(accel_thread_ranks_t *ranks, size_t size)
{
    void *memory;

    pthread_mutex_lock(&ranks->lock);
    memory = allocate(ranks, size);
    pthread_mutex_unlock(&ranks->lock);
    return memory;
}

/* With the lock held: one more world at the end. */
static bool add_world(accel_thread_ranks_t *ranks)
{
    size_t chunk_size, size = accel__segment_size(ranks->size, &chunk_size);
    accel__segment_t **worlds =
        realloc(ranks->worlds, (size_t)(ranks->num_worlds + 1) * sizeof(*worlds));

    if (!worlds)
        return false;
    ranks->worlds = worlds;
    worlds[ranks->num_worlds] = allocate(ranks, size);
    if (!worlds[ranks->num_worlds])
        return false;
    accel__segment_init(worlds[ranks->num_worlds++], ranks->size);
    return true;
}

accel_status_t accel__threads_join(accel_thread_ranks_t *ranks, int32_t rank,
                                   accel__segment_t **segment)
{
    bool good;

    pthread_mutex_lock(&ranks->lock);
    good = ranks->joined[rank] < ranks->num_worlds || add_world(ranks);
    *segment = good ? ranks->worlds[ranks->joined[rank]++] : NULL;
    pthread_mutex_unlock(&ranks->lock);
    return good ? ACCEL_OK : accel__fail_memory("a world of threads", sizeof(**segment));
}
