/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/world.h"

#define MAGIC UINT32_C(0x6c636361) /* "accl" */
#define PAGE 4096

static size_t align_page(size_t size)
{
    return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* Small enough that all stages of a few ranks stay in cache, large enough that a meeting
 * costs little beside a chunk. */
static size_t chunk_size_for(int32_t num_ranks)
{
    return num_ranks <= 8 ? 256u << 10 : 64u << 10;
}

size_t accel__segment_size(int32_t num_ranks, size_t *chunk_size)
{
    size_t head = align_page(sizeof(accel__segment_t) + (size_t)num_ranks * sizeof(accel__slot_t));

    *chunk_size = chunk_size_for(num_ranks);
    return head + (size_t)num_ranks * ACCEL__STAGES * *chunk_size;
}

/* `segment` is zeroed memory. */
void accel__segment_init(accel__segment_t *segment, int32_t num_ranks)
{
    segment->magic = MAGIC;
    segment->size = num_ranks;
    segment->total_size = accel__segment_size(num_ranks, &segment->chunk_size);
    segment->shared_end = segment->total_size;
}

void *accel__segment_stage(const accel__segment_t *segment, int32_t rank, uint64_t chunk)
{
    size_t stages = (size_t)segment->size * ACCEL__STAGES * segment->chunk_size;
    size_t index = (size_t)rank * ACCEL__STAGES + (size_t)(chunk % ACCEL__STAGES);

    return (char *)(uintptr_t)segment + (segment->total_size - stages) +
           index * segment->chunk_size;
}
