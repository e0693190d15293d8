/* SPDX-License-Identifier: Apache-2.0 */
/* accelerate.utils: the largest batch that fits into memory. */
#ifndef ACCEL_UTILS_H
#define ACCEL_UTILS_H

#include <accel/accelerator.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A whole training (or a part of one) with that batch size: makes its models, optimizers and
 * loaders, and destroys them before it returns, also on an error. ACCEL_ERR_NO_MEMORY, which
 * accel's own calls return and a program may by accel_fail(), asks for a smaller size; any other
 * error is final. An error of a collective must be returned as it is: it may be another rank's. */
typedef accel_status_t (*accel_batch_size_fn)(void *context, int64_t batch_size);

typedef struct accel_find_batch_size_options {
    size_t struct_size;
    int64_t starting_batch_size;                     /* 0: 128 */
    int64_t (*reduce_batch_size)(int64_t batch_size); /* the next size; NULL: int(0.9 * size) */
} accel_find_batch_size_options_t;

ACCEL__OPTIONS_INIT(accel_find_batch_size_options)
#define ACCEL_FIND_BATCH_SIZE_OPTIONS(...) \
    ACCEL__OPTIONS(accel_find_batch_size_options_t, __VA_ARGS__)

/* find_executable_batch_size: call `function` with smaller and smaller sizes until it returns
 * without running out of memory on any rank; *batch_size (may be NULL) is that size. Collective,
 * and unlike upstream's agreed: all ranks try the same sizes. When one rank runs out of
 * memory, the collectives that the others wait in fail with ACCEL_ERR_NO_MEMORY, every rank
 * leaves `function`, the communicator is made whole again, and all try the next size. At size 0:
 * ACCEL_ERR_NO_MEMORY. Another error of a rank's is what that rank returns, and
 * ACCEL_ERR_REMOTE with its text on the others. `accelerator` NULL: a process alone. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_find_executable_batch_size(
    accel_t *accelerator, const accel_find_batch_size_options_t *options,
    accel_batch_size_fn function, void *context, int64_t *batch_size);

#ifdef __cplusplus
}
#endif

#endif
