/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a step goes: accelerator.profile(), as a Chrome trace for each rank.
 *
 *     accel_profile_t *profile;
 *     ACCEL_CHECK(accel_profile_begin(accelerator,
 *         ACCEL_PROFILE_OPTIONS(.output_trace_dir = "trace"), &profile));
 *     while (ACCEL_NEXT(loader, &batch)) {
 *         ACCEL_RECORD_FUNCTION("forward")
 *             loss = net_forward(&net, &batch);
 *         ...
 *         ACCEL_CHECK(accel_profile_step(profile));
 *     }
 *     accel_print(accelerator, "%s", accel_profile_table(profile));
 *     ACCEL_CHECK(accel_profile_end(profile));     // writes trace/profile_RANK.json
 *
 * What the library does on the thread that called accel_profile_begin() is recorded by
 * itself: "data" (accel_loader_next), "backward", "sync_gradients", "clip_grad_norm",
 * "optimizer_step", "zero_grad", "log", and within these and all collectives "wait", the time
 * until the slowest rank came. The program adds its own. chrome://tracing and
 * ui.perfetto.dev show the files; those of several ranks of a host have one clock and can be
 * joined. Without a profile a span costs a read of a thread's variable. */
#ifndef ACCEL_PROFILE_H
#define ACCEL_PROFILE_H

#include <accel/accelerator.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_profile accel_profile_t;

/* on_trace_ready: at the end of each `active` stretch, with what it recorded. */
typedef void (*accel_trace_ready_fn)(void *context, accel_profile_t *profile);

/* ProfileKwargs. The schedule is torch.profiler.schedule's: after skip_first steps, cycles of
 * `wait` idle steps, `warmup` more whose record is thrown away, and `active` recorded ones;
 * `repeat` of them (0: until the end). With active = 0 there is no schedule: all is recorded. */
typedef struct accel_profile_options {
    size_t struct_size;
    const char *output_trace_dir; /* made if need be; NULL: nothing is written */
    int64_t skip_first, wait, warmup, active, repeat;
    accel_trace_ready_fn on_trace_ready; /* NULL: none */
    void *context;
    int64_t max_events; /* spans kept; later ones are counted and dropped; 0: 1,000,000 */
} accel_profile_options_t;

ACCEL__OPTIONS_INIT(accel_profile_options)
#define ACCEL_PROFILE_OPTIONS(...) ACCEL__OPTIONS(accel_profile_options_t, __VA_ARGS__)

/* Record what this thread does from now on. One profile a thread. Local. The accelerator (NULL: a
 * process alone) is borrowed. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_profile_begin(accel_t *accelerator,
                                                             const accel_profile_options_t *options,
                                                             accel_profile_t **profile);

/* prof.step(): a step of the loop is over. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_profile_step(accel_profile_t *profile);

/* prof.key_averages().table(): a line for each name, the longest total first. Valid until the
 * next call with this profile. */
ACCEL_API const char *accel_profile_table(accel_profile_t *profile);

/* What the last or current stretch recorded, as a file. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_profile_export_chrome_trace(accel_profile_t *profile, const char *path);

/* Stop, write the trace where output_trace_dir asks for it, and free. From the thread that began.
 * Collective with output_trace_dir: when it returns the files of all ranks are there. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_profile_end(accel_profile_t *profile);

/* torch.profiler.record_function: a span of the program's own. They nest. `name` must stay
 * valid until the profile's end: a literal. */
ACCEL_API void accel_record_function_begin(const char *name);
ACCEL_API void accel_record_function_end(void);

/* ACCEL_RECORD_FUNCTION("forward") { ... }. Do not leave it by break, return or goto. */
#define ACCEL_RECORD_FUNCTION(name)                                          \
    for (bool accel__once = (accel_record_function_begin(name), true); accel__once; \
         accel__once = (accel_record_function_end(), false))

#ifdef __cplusplus
}
#endif

#endif
