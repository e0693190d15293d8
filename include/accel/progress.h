/* SPDX-License-Identifier: Apache-2.0 */
/* A progress line on stderr: accelerate.utils.tqdm, shown by the local main process alone.
 *
 *     accel_progress_t *bar;
 *     ACCEL_CHECK(accel_progress_create(accelerator,
 *         ACCEL_PROGRESS_OPTIONS(.total = accel_loader_length(loader), .desc = "epoch 1"), &bar));
 *     while (ACCEL_NEXT(loader, &batch)) {
 *         ...
 *         accel_progress_set_postfix(bar, ACCEL_DICT("loss", loss));
 *         accel_progress_update(bar, 1);
 *     }
 *     accel_progress_destroy(bar);
 *
 *     epoch 1:  45%|████████▌          | 451/1000 [00:10<00:12, 44.5it/s, loss=0.512]
 *
 * On a terminal one line is redrawn in place; elsewhere (a file, a batch system) a plain line
 * is written now and then, and at the end. An update that draws nothing costs a clock read.
 * The calls are local, and those on a bar that could not be made (NULL) do nothing: a
 * progress line never stops a program. One thread a bar. */
#ifndef ACCEL_PROGRESS_H
#define ACCEL_PROGRESS_H

#include <accel/accelerator.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_progress accel_progress_t;

typedef struct accel_progress_options {
    size_t struct_size;
    int64_t total;       /* steps in all; 0: not known, then there is a count and no bar */
    int64_t initial;     /* steps already done, of a resumed run */
    const char *desc;    /* written in front; NULL: nothing */
    const char *unit;    /* NULL: "it" */
    double mininterval;  /* seconds between two drawings; 0: 0.1 on a terminal, else 30 */
    int32_t ncols;       /* columns; 0: the terminal's, or 80 */
    bool every_process;  /* main_process_only=False */
    bool disable;
    bool clear;          /* leave=False: wipe the line at the end; a terminal's only */
} accel_progress_options_t;

ACCEL__OPTIONS_INIT(accel_progress_options)
#define ACCEL_PROGRESS_OPTIONS(...) ACCEL__OPTIONS(accel_progress_options_t, __VA_ARGS__)

/* `accelerator` NULL: a process alone. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_progress_create(
    const accel_t *accelerator, const accel_progress_options_t *options, accel_progress_t **bar);

/* `steps` more are done; negative ones are not. */
ACCEL_API void accel_progress_update(accel_progress_t *bar, int64_t steps);

/* What stands in front, and behind: numbers with three digits, as tqdm's. Copied. They show
 * with the next drawing. */
ACCEL_API void accel_progress_set_description(accel_progress_t *bar, const char *desc);
ACCEL_API void accel_progress_set_postfix(accel_progress_t *bar, const accel_item_t *values);

/* Draw the last state and end the line. */
ACCEL_API void accel_progress_destroy(accel_progress_t *bar);

#ifdef __cplusplus
}
#endif

#endif
