/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that one step frees is for the next one. */
#ifndef ACCEL_TORCH_HEAP_HPP
#define ACCEL_TORCH_HEAP_HPP

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace accel
{
namespace detail
{
/* glibc gives the end of the heap back to the system when more than a threshold of it is free, and
 * asks the system for each large block by itself. A training step allocates its activations and
 * frees all of them: each step then has every page of them cleared and mapped anew. Both
 * thresholds follow the largest block that was ever freed, up to 32 MiB, so that one such block,
 * never written and so without a page, keeps up to 64 MiB in the process. Whoever has set a
 * threshold (mallopt, MALLOC_TRIM_THRESHOLD_) has switched that off, and keeps what was set. */
inline void keep_freed_memory()
{
    constexpr std::size_t LARGEST = (std::size_t(32) << 20) - 8192; /* with malloc's own part */
    void *volatile block = std::malloc(LARGEST); /* volatile: or the pair would be optimised away */

    std::free(block);
}

/* After parameters have moved: the memory that they had is no step's. */
inline void give_back_freed_memory()
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}
} // namespace detail
} // namespace accel

#endif
