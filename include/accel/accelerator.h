/* SPDX-License-Identifier: Apache-2.0 */
/* The accelerator: Accelerate's `Accelerator`, whose methods are accel_method(accelerator, …).
 *
 * "Collective" calls must be made by all ranks in the same order; see comm.h for what
 * happens when they are not. One accelerator is used by one thread at a time, except
 * accel_log(), which any thread may call. */
#ifndef ACCEL_ACCELERATOR_H
#define ACCEL_ACCELERATOR_H

#include <accel/comm.h>
#include <accel/data.h>
#include <accel/dict.h>
#include <accel/model.h>
#include <accel/objects.h>
#include <accel/optimizer.h>
#include <accel/options.h>
#include <accel/precision.h>
#include <accel/track.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_accelerator accel_t;

/* GradientAccumulationPlugin: how many batches make a step, and more. (Its adjust_scheduler has no
 * effect upstream, and no place here.) */
typedef struct accel_gradient_accumulation_options {
    size_t struct_size;
    int32_t num_steps; /* 0: as gradient_accumulation_steps */
    /* Step at the end of the loader under way also when fewer batches came together. Off: the
     * count goes on in the next epoch. Default: on. */
    accel_tristate_t sync_with_dataloader;
    /* With ACCEL_GRADIENTS_AVERAGED, average in each batch's backward, not only in the last of a
     * step: more to move, but every rank's gradients are the same at all times. Default: off. */
    accel_tristate_t sync_each_batch;
    /* The gradients of a step that the loader's end cut short are divided by the number of batches
     * that there were. Off: by num_steps, as upstream, which makes that step a smaller one.
     * Default: on. */
    accel_tristate_t true_last_window;
} accel_gradient_accumulation_options_t;

ACCEL__OPTIONS_INIT(accel_gradient_accumulation_options)
#define ACCEL_GRADIENT_ACCUMULATION_OPTIONS(...) \
    ACCEL__OPTIONS(accel_gradient_accumulation_options_t, __VA_ARGS__)

typedef struct accel_options {
    size_t struct_size;
    const char *log_with;    /* trackers: "wandb", or several: "wandb,jsonl"; NULL: none */
    const char *project_dir; /* where the program's files go */
    const char *logging_dir; /* of trackers that need one; NULL: project_dir */
    /* "no", "bf16" or "fp16" (precision.h); NULL: ACCELERATE_MIXED_PRECISION, else "no" */
    const char *mixed_precision;
    const accel_grad_scaler_options_t *grad_scaler; /* of fp16; NULL: the defaults */
    /* "no", "bf16" or "fp16": float32 gradients are rounded to that type on each rank, summed in
     * float32, and the average is rounded to it: PyTorch's bf16_compress and fp16_compress.
     * NULL: "no". Without effect on one rank. */
    const char *comm_hook;
    const accel_gradient_accumulation_options_t *gradient_accumulation; /* NULL: the defaults */
    int32_t gradient_accumulation_steps;  /* 0: ACCELERATE_GRADIENT_ACCUMULATION_STEPS, else 1 */
    accel_gradients_t gradients;
    /* Off: accel_scheduler_step() always advances, by one. Default: on: with the optimizer. */
    accel_tristate_t step_scheduler_with_optimizer;
    /* Accelerate's rule, for schedules that were sized for one process: with each optimizer step
     * they advance by the number of processes, unless split_batches is on. Default: off. */
    accel_tristate_t scale_scheduler_steps;
    accel_tristate_t split_batches; /* default of the loaders; default: off */
    accel_tristate_t even_batches;  /* default of the loaders; default: on */
    accel_tristate_t dispatch_batches; /* default of the loaders; default: on for streams */
    /* Of trackers: "async" or "sync"; NULL: ACCEL_JOURNAL, else "async". */
    const char *journal;

    /* Where the ranks come from, as in accel_comm_options_t; zeros: the environment. */
    int32_t num_processes, process_index;
    const char *job_id;
    accel_thread_ranks_t *threads;
    uint32_t join_timeout_ms, timeout_ms, watchdog_ms;
} accel_options_t;

ACCEL__OPTIONS_INIT(accel_options)
#define ACCEL_OPTIONS(...) ACCEL__OPTIONS(accel_options_t, __VA_ARGS__)

/* Join the world. Collective. On failure *accelerator is NULL. Several accelerators of one
 * process are separate worlds; create them in the same order on every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_create(const accel_options_t *options,
                                                      accel_t **accelerator);

/* Unprepare what is still prepared, end trackers that still run (without waiting for other
 * ranks), leave. Destroy models, optimizers, loaders and schedulers before or after. */
ACCEL_API void accel_destroy(accel_t *accelerator);

/* ---- who am I: with NULL, what a process alone is ---- */

ACCEL_API int32_t accel_num_processes(const accel_t *accelerator);
ACCEL_API int32_t accel_process_index(const accel_t *accelerator);
ACCEL_API int32_t accel_local_process_index(const accel_t *accelerator);
ACCEL_API accel_device_t accel_device(const accel_t *accelerator);
ACCEL_API bool accel_is_main_process(const accel_t *accelerator);
ACCEL_API bool accel_is_local_main_process(const accel_t *accelerator);
ACCEL_API bool accel_is_last_process(const accel_t *accelerator);
ACCEL_API bool accel_is_process(const accel_t *accelerator, int32_t process_index);
ACCEL_API bool accel_is_local_process(const accel_t *accelerator, int32_t local_process_index);

#define ACCEL__IF(condition) if (!(condition)) ((void)0); else

/* ACCEL_ON_MAIN_PROCESS(accelerator) { ... }: the block runs there only. */
#define ACCEL_ON_MAIN_PROCESS(accelerator) ACCEL__IF(accel_is_main_process(accelerator))
#define ACCEL_ON_LOCAL_MAIN_PROCESS(accelerator) ACCEL__IF(accel_is_local_main_process(accelerator))
#define ACCEL_ON_LAST_PROCESS(accelerator) ACCEL__IF(accel_is_last_process(accelerator))
#define ACCEL_ON_PROCESS(accelerator, process_index) \
    ACCEL__IF(accel_is_process(accelerator, process_index))
#define ACCEL_ON_LOCAL_PROCESS(accelerator, local_process_index) \
    ACCEL__IF(accel_is_local_process(accelerator, local_process_index))

/* Print to stdout once per machine: on the local main process. */
ACCEL_API void accel_print(const accel_t *accelerator, const char *format, ...) ACCEL_PRINTF(2, 3);

/* ---- waiting for each other: collective ---- */

ACCEL_API ACCEL_NODISCARD accel_status_t accel_wait_for_everyone(accel_t *accelerator);

/* The part between _begin and _end runs first on the main process, then on the others. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_main_process_first_begin(accel_t *accelerator);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_main_process_first_end(accel_t *accelerator);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_local_main_process_first_begin(accel_t *accelerator);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_local_main_process_first_end(accel_t *accelerator);

/* ACCEL_MAIN_PROCESS_FIRST(accelerator) { ... }: the block between _begin and _end, which end
 * the program if they fail. Do not leave it by break, return or goto. */
#define ACCEL_MAIN_PROCESS_FIRST(accelerator)                                                    \
    for (bool accel__first = ACCEL_CHECK(accel_main_process_first_begin(accelerator)) == ACCEL_OK; \
         accel__first;                                                                           \
         accel__first = ACCEL_CHECK(accel_main_process_first_end(accelerator)) != ACCEL_OK)
#define ACCEL_LOCAL_MAIN_PROCESS_FIRST(accelerator)                                              \
    for (bool accel__first =                                                                     \
             ACCEL_CHECK(accel_local_main_process_first_begin(accelerator)) == ACCEL_OK;         \
         accel__first;                                                                           \
         accel__first = ACCEL_CHECK(accel_local_main_process_first_end(accelerator)) != ACCEL_OK)

/* ---- one for all ---- */

/* set_trigger: raise a flag on this rank, say because its loss is not a number. Local. */
ACCEL_API void accel_set_trigger(accel_t *accelerator);

/* check_trigger: *triggered is true on every rank if any had set its flag since the last check; the
 * flags are then down again. A way to stop early together. Collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_check_trigger(accel_t *accelerator, bool *triggered);

/* ---- random numbers ---- */

/* set_seed: loaders that are prepared later and name no seed shuffle by this one, the same on every
 * rank. Returns the seed for this rank's own random numbers (dropout, augmentation): `seed`, and
 * with device_specific seed + the process index. Local; the same on every rank. */
ACCEL_API uint64_t accel_set_seed(accel_t *accelerator, uint64_t seed, bool device_specific);

/* ---- prepare ---- */

/* Hand over what takes part; NULLs are skipped. Collective. Models first, in one go:
 *   model      checked to be the same on all ranks, moved into the arena, rank 0's values
 *              broadcast
 *   optimizer  steps on all ranks together; its model must be prepared, or be `model`
 *   loader     serves this rank's shard
 *   scheduler  steps with its optimizer
 * An object is prepared once; again is an error. All stay the caller's. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_prepare(accel_t *accelerator, accel_model_t *model,
                                                       accel_optimizer_t *optimizer,
                                                       accel_loader_t *loader,
                                                       accel_scheduler_t *scheduler);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_prepare_model(accel_t *accelerator,
                                                             accel_model_t *model);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_prepare_optimizer(accel_t *accelerator,
                                                                 accel_optimizer_t *optimizer);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_prepare_loader(accel_t *accelerator,
                                                              accel_loader_t *loader);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_prepare_scheduler(accel_t *accelerator,
                                                                 accel_scheduler_t *scheduler);

/* The next accel_loader_begin() starts `num_batches` batches later: accel_loader_skip() under the
 * name that Accelerate's users know. Local, and the same on every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_skip_first_batches(accel_t *accelerator,
                                                                  accel_loader_t *loader,
                                                                  int64_t num_batches);

/* Copy the values back into the owner's blocks and restore the owner's pointers. Collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_unprepare_model(accel_t *accelerator,
                                                               accel_model_t *model);

/* free_memory, clear: forget everything that was prepared, which is as it was before; what the
 * library held for it is given back. Objects may be destroyed, or prepared again. Accumulation
 * begins anew. Collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_free_memory(accel_t *accelerator);

/* ---- the training step ---- */

/* Run the model's backward with accel_gradient_scale(); at a sync step the gradients then
 * count as complete. A model without a backward callback: call it after your own. With
 * ACCEL_GRADIENTS_AVERAGED it is collective at sync steps, else local. Ranks that have called it
 * unequally often since the last step are named by the next: ACCEL_ERR_MISMATCH. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_backward(accel_t *accelerator, accel_model_t *model);

/* accel_backward() with a weight >= 0 for this batch, say its number of tokens that count: the
 * step's gradient is the sum of weight × gradient over the sum of weights, over all batches of the
 * step and all ranks. That is the mean over tokens, where accel_backward() takes a mean of the
 * batches' means. A rank with nothing to learn from passes 0. The model's backward is called
 * with accel_gradient_scale() × weight; a program's own multiplies by that before. Under fp16 keep
 * the weights near 1 (tokens over a typical number of tokens): only their ratios matter. All
 * backwards of a step are weighted, on every rank, or none is; and accel_grad_ready() only within
 * the model's backward. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_backward_weighted(accel_t *accelerator,
                                                                 accel_model_t *model,
                                                                 double weight);

/* What a backward of the program's own multiplies its gradients by: 1 / the batches of the
 * step, times the loss scale of fp16. (The average over the ranks is taken by the library.) */
ACCEL_API double accel_gradient_scale(const accel_t *accelerator);

/* with accelerator.accumulate(model): call it at the top of each batch. The step is a sync
 * step every gradient_accumulation_steps batches, and at the end of the loader under way. Where
 * that leaves fewer batches, the gradients are divided by as many as there are: known before the
 * first of them if the loader knows its length, else made good at the step. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_accumulate(accel_t *accelerator,
                                                          accel_model_t *model);

/* accumulate(*models): once a batch for all models that are trained on it. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_accumulate_models(accel_t *accelerator,
                                                                 accel_model_t *const *models,
                                                                 int32_t num_models);

/* accelerator.gradient_accumulation_steps, read and set: between a step and the next batch, the
 * same on every rank (which the next step compares). Local. */
ACCEL_API int32_t accel_gradient_accumulation_steps(const accel_t *accelerator);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_set_gradient_accumulation_steps(accel_t *accelerator,
                                                                               int32_t num_steps);

/* Between these, backwards of the model accumulate, and it is neither reduced nor stepped. They
 * nest. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_no_sync_begin(accel_t *accelerator,
                                                             accel_model_t *model);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_no_sync_end(accel_t *accelerator,
                                                           accel_model_t *model);

/* trigger_sync_in_backward: between these, backwards of the model end in a sync again, within
 * accel_no_sync_begin() too. With ACCEL_GRADIENTS_AVERAGED they are collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_trigger_sync_in_backward_begin(accel_t *accelerator,
                                                                              accel_model_t *model);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_trigger_sync_in_backward_end(accel_t *accelerator,
                                                                            accel_model_t *model);

/* accelerator.sync_gradients: is this a sync step? True outside accumulation; false while any model
 * is within no_sync. */
ACCEL_API bool accel_is_sync_step(const accel_t *accelerator);

/* Make every rank's gradients the average over the ranks, now. Under fp16 they are still times
 * the loss scale. Collective; once a step, a second call does nothing. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_sync_gradients(accel_t *accelerator,
                                                              accel_model_t *model);

/* Divide the gradients by the loss scale of fp16, and find out whether all are finite on all
 * ranks; if not, the next step is skipped. The division itself is left to the step, but for
 * gradients that are averaged on every rank. Clipping and the step call it by themselves.
 * Collective; does nothing without fp16, off a sync step, and when called again. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_unscale_gradients(accel_t *accelerator,
                                                                 accel_model_t *model);

/* clip_grad_norm_: scale the averaged gradients so that their global 2-norm is at most
 * max_norm; *norm (may be NULL) is the norm before, equal on all ranks. The coefficient is
 * min(1, max_norm / (norm + 1e-6)), as in torch, and is applied in the step; to gradients
 * that are averaged on every rank, at once. Clear the gradients before the next backward.
 * Collective; does nothing off a sync step (*norm = 0). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_clip_grad_norm(accel_t *accelerator,
                                                              accel_model_t *model,
                                                              double max_norm, double *norm);

/* clip_grad_value_: limit every averaged gradient to -clip_value .. clip_value. Otherwise as
 * accel_clip_grad_norm(). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_clip_grad_value(accel_t *accelerator,
                                                               accel_model_t *model,
                                                               double clip_value);

/* Make every rank's buffers those of rank 0. Collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_sync_buffers(accel_t *accelerator,
                                                            accel_model_t *model);

/* Make every rank's buffers of floating point the mean over the ranks: running statistics of
 * batches that differed. Others stay each rank's own. Collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_average_buffers(accel_t *accelerator,
                                                               accel_model_t *model);

/* ---- mixed precision ---- */

/* "no", "bf16" or "fp16". */
ACCEL_API const char *accel_mixed_precision(const accel_t *accelerator);

/* What to compute the forward pass in: ACCEL_BF16 or ACCEL_F16 under mixed precision, unless
 * an autocast scope turns it off; else ACCEL_F32. For programs that compute by themselves, and
 * for adapters that set their framework's autocast by it. */
ACCEL_API accel_dtype_t accel_autocast_dtype(const accel_t *accelerator);

/* accelerator.autocast: between these accel_autocast_dtype() is that of mixed_precision, or with
 * `enabled` false ACCEL_F32. They nest, to 64 levels. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_autocast_begin(accel_t *accelerator, bool enabled);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_autocast_end(accel_t *accelerator);

/* accelerator.optimizer_step_was_skipped: did any prepared optimizer leave out its last step? */
ACCEL_API bool accel_step_was_skipped(const accel_t *accelerator);

/* For checkpoints: what the loss scaling has come to. Setting it: the same on every rank,
 * between a step and the next backward; ACCEL_ERR_STATE where no loss is scaled. */
ACCEL_API accel_grad_scaler_state_t accel_get_grad_scaler_state(const accel_t *accelerator);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_set_grad_scaler_state(
    accel_t *accelerator, const accel_grad_scaler_state_t *state);

/* ---- ranks with different numbers of batches ---- */

/* join_uneven_inputs: between these, ranks may make different numbers of steps. A rank that has no
 * more batches calls _end and takes part, with gradients of zero, in the steps that the others
 * make, until all are there: in accel_backward() (averaged gradients), accel_sync_gradients(),
 * accel_unscale_gradients(), accel_clip_grad_norm() and _value(), accel_optimizer_step(),
 * accel_scheduler_step(), which is collective here, and accel_check_trigger(). Batches that it had
 * accumulated for a step that did not come still count in the next one. Any other collective
 * within the scope fails, naming the ranks. Averages are over all ranks, as upstream; with
 * accel_backward_weighted() over the weights, and then a rank without batches is none the less
 * exact. The schedule of the loop must be the same on all ranks; set rates by a scheduler.
 *
 * even_batches, unless it is ACCEL_DEFAULT, holds within the scope for prepared loaders that shard
 * (those that dispatch keep theirs); none of them may be in an epoch. Not with replicated models,
 * nor with accel_ema_update(). Both collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_join_uneven_inputs_begin(accel_t *accelerator, accel_tristate_t even_batches);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_join_uneven_inputs_end(accel_t *accelerator);

/* ---- tensors of all ranks: collective ---- */

/* Concatenate along dimension 0 in rank order; a 0-d tensor counts as one row. Ranks may
 * have different numbers of rows; all else must be equal. *gathered is the caller's
 * (accel_tensor_destroy), on every rank. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_gather(accel_t *accelerator,
                                                      const accel_tensor_t *tensor,
                                                      accel_tensor_t **gathered);

/* accel_gather, and at the last step of the prepared loader under way the rows that only
 * completed the batches are left out: every sample counts once. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_gather_for_metrics(accel_t *accelerator,
                                                                  const accel_tensor_t *tensor,
                                                                  accel_tensor_t **gathered);

/* Combine in place; every rank gets the result. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_reduce(accel_t *accelerator, accel_tensor_t *tensor,
                                                      accel_reduction_t reduction);

/* Every rank's tensor becomes that of from_process, in place. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_broadcast(accel_t *accelerator,
                                                         accel_tensor_t *tensor,
                                                         int32_t from_process);

/* A copy whose extent `dim` (negative: from the end) is the largest of all ranks', filled
 * with pad_index at the end, or at the start with pad_first. A `dim` the tensor does not
 * have: an unchanged copy, as upstream. *padded is the caller's. */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_pad_across_processes(accel_t *accelerator, const accel_tensor_t *tensor, int32_t dim,
                           double pad_index, bool pad_first, accel_tensor_t **padded);

/* gather_object: every process's bytes, on every process, in rank order. The sizes may differ,
 * and be 0. *objects is the caller's (accel_objects_destroy). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_gather_object(accel_t *accelerator,
                                                             const void *bytes, size_t size,
                                                             accel_objects_t **objects);

/* broadcast_object_list: the bytes of from_process, on every process, as the one object of
 * *object, which is the caller's. `bytes` and `size` count on from_process alone. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_broadcast_object(accel_t *accelerator,
                                                                const void *bytes, size_t size,
                                                                int32_t from_process,
                                                                accel_objects_t **object);

/* This rank's part of `length` inputs; see accel_split(). Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_split_between_processes(const accel_t *accelerator,
                                                                       int64_t length,
                                                                       bool apply_padding,
                                                                       accel_split_t *split);

/* ---- tracking ---- */

/* Start the trackers of log_with. Collective in effect: a failure on the main process fails
 * on every rank. `init_kwargs` has a dictionary for each tracker's name. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_init_trackers(accel_t *accelerator,
                                                             const char *project_name,
                                                             const accel_item_t *config,
                                                             const accel_item_t *init_kwargs);

/* Log a row to every tracker; a no-op where none runs. step: ACCEL_NO_STEP if there is none. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_log(accel_t *accelerator, const accel_item_t *values,
                                                   int64_t step);

/* The tracker of that name, on every rank; NULL, with accel_last_error(), if log_with does
 * not name it or accel_init_trackers() was not called. Valid until accel_end_training(). */
ACCEL_API accel_tracker_t *accel_get_tracker(accel_t *accelerator, const char *name);

/* Finish every tracker. Collective: the ranks wait for the main process. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_end_training(accel_t *accelerator);

#ifdef __cplusplus
}
#endif

#endif
