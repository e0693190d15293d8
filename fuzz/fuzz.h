/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: a folder of their own, the plugin without a program around it, and a
 * W&B server that answers what the input says. */
#ifndef ACCEL_FUZZ_H
#define ACCEL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make the folder, with HOME and the working directory in it, and the plugin's host. Does it once.
 * The folder is removed at exit. */
const char *fuzz_begin(void);

/* The path of `name` in the folder; valid until the next call. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const void *data, size_t size);

/* Stop here if a promise was broken. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/* Lines "OPERATION STATUS BODY": what the server answers to its questions, each line once, the
 * last of an operation from then on. Other questions get a plain answer that goes well. The data
 * must outlive fuzz_sync(). */
void fuzz_answers(const uint8_t *data, size_t size);

/* Send a log to that server as `accel sync` does, to whatever end. */
void fuzz_sync(const char *log);

/* Settings as a run in an empty folder has them, without patience. */
const accel__wandb_settings_t *fuzz_settings(void);

#endif
