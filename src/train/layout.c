/* SPDX-License-Identifier: Apache-2.0 */
#include "train/layout.h"

accel__slice_t accel__layout_slice(const accel__run_t *run, int32_t rank, int32_t num_ranks)
{
    size_t pages = run->size / ACCEL__PAGE, ranks = (size_t)num_ranks, index = (size_t)rank;

    return (accel__slice_t){.begin = run->offset + pages * index / ranks * ACCEL__PAGE,
                            .end = run->offset + pages * (index + 1) / ranks * ACCEL__PAGE};
}
