/* SPDX-License-Identifier: Apache-2.0 */
/* A model: named parameters, and the gradients that go with them.
 *
 * What is registered is the address of the owner's pointer (`&net.weight`, a `float **`).
 * At accel_prepare() the values move into flat buffers of the library, the arena, which
 * on one host lies in memory shared by all ranks, and the owner's pointers are re-pointed
 * there. Addresses never change after that. The owner's old blocks stay the owner's, and
 * must stay: accel_model_destroy(), accel_unprepare_model() and accel_destroy() copy values
 * and gradients back into them and restore the owner's pointers, so that the owner's own
 * free() is right again.
 *
 * Rules while a model is prepared:
 *   - Trainable and frozen parameters are ONE copy for all ranks of the host. Read them
 *     freely; write them only through an optimizer, or between accel_params_begin() and
 *     accel_params_end().
 *   - Gradients and buffers are this rank's own.
 *   - One thread at a time.
 *
 * A model that is `replicated` keeps its values where they are, a copy on each rank; only its
 * gradients move.
 *
 * A model with `fixed_memory` leaves the owner's pointers and blocks where they are;
 * values are copied in and out at each optimizer step, which is slower and otherwise the
 * same. */
#ifndef ACCEL_MODEL_H
#define ACCEL_MODEL_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_model accel_model_t;

/* What the gradients of a prepared model are between backward and step. */
typedef enum accel_gradients {
    ACCEL_GRADIENTS_LOCAL = 0,   /* default: a rank's own until the optimizer's step */
    ACCEL_GRADIENTS_AVERAGED = 1 /* averaged over the ranks inside accel_backward() */
} accel_gradients_t;

/* Add scale × dLoss/dparameter to every gradient, for the batch last forwarded. Called by
 * accel_backward() on the calling thread. An error, with a text left by accel_fail(), is
 * returned by accel_backward(); the other ranks' next collective fails with that text, and
 * the world is over. A process alone may go on. */
typedef accel_status_t (*accel_backward_fn)(void *context, double scale);

typedef struct accel_model_options {
    size_t struct_size;
    accel_backward_fn backward; /* NULL: the program computes gradients before accel_backward() */
    void *context;              /* for `backward` */
    bool fixed_memory;          /* do not re-point the owner's pointers; copy instead */
    bool overwrites_gradients;  /* the first backward of a step sets gradients instead of adding:
                                   zero_grad then costs nothing */
    double bucket_cap_mb;       /* gradients are reduced together by so many MiB; 0: 25, the
                                   first bucket 1. See accel_grad_ready() */
    bool replicated;            /* the values stay in the owner's memory, a copy on each rank, which
                                   an optimizer of the program's own updates there on every rank:
                                   gradients are averaged as with ACCEL_GRADIENTS_AVERAGED. The
                                   library's optimizers refuse such a model */
    bool no_restore;            /* the owner's blocks need not stay once the model is prepared:
                                   nothing is copied back, and its pointers end as NULL */
    bool find_unused_parameters; /* a backward says by accel_grad_ready() which gradients it made;
                                    the others stay as they are, and optimizers skip parameters that
                                    no rank used: see accel_model_is_used(). Not with
                                    overwrites_gradients */
} accel_model_options_t;

ACCEL__OPTIONS_INIT(accel_model_options)
#define ACCEL_MODEL_OPTIONS(...) ACCEL__OPTIONS(accel_model_options_t, __VA_ARGS__)

ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_create(const accel_model_options_t *options,
                                                            accel_model_t **model);

/* NULL is fine. A prepared model is unprepared first. */
ACCEL_API void accel_model_destroy(accel_model_t *model);

/* Register a trainable parameter. `parameter` and `gradient` are the addresses of the
 * owner's pointers to compact row-major CPU arrays of `shape`; both must point to valid
 * memory now, that no other parameter of the model has (register tied ones once). The
 * gradient has the parameter's dtype, unless accel_model_set_gradient_dtype() says otherwise.
 * F32 or F64; or BF16 or F16, and then what is registered is a low-precision copy: at prepare
 * a float32 master is made of it, which optimizers update, and each step renews the copy from
 * it, rounded to nearest even. Such a model must be prepared before it is stepped.
 *
 * The name is copied, must be unique and not empty. Parameters are numbered 0, 1, ... in the
 * order of registration, all kinds together; none can be added once the model was prepared or
 * stepped, or its optimizer has groups. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_add(accel_model_t *model, const char *name,
                                                         accel_dtype_t dtype, int32_t ndim,
                                                         const int64_t *shape, void *parameter,
                                                         void *gradient);

/* The gradient of a parameter of this model is of another dtype than its value: F32, BF16 or
 * F16; of an F64 parameter only F64. After accel_model_add(), before prepare.
 *
 * Low-precision gradients are added up and averaged in float32, and rounded once: those of
 * several backwards of a step (accel_backward() off a sync step moves them to a float32 sum
 * and clears them), and those of the ranks. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_set_gradient_dtype(accel_model_t *model,
                                                                        const char *name,
                                                                        accel_dtype_t dtype);

/* Keep a copy of a float32 parameter in the type that autocast computes in: BF16 under
 * mixed_precision "bf16", F16 under "fp16"; without mixed precision there is none. `copy` is the
 * address of the owner's pointer. While the model is prepared under mixed precision it points
 * to the copy, one for all ranks of the host, which each step renews; otherwise it is left as it
 * is, NULL as a rule:
 *
 *     net.weight_bf16 ? forward_bf16(&net) : forward_f32(&net);
 *
 * With fixed_memory it points to memory of the owner's, of 2 bytes an element, and that is
 * filled. After accel_model_add(), before prepare. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_add_copy(accel_model_t *model,
                                                              const char *name, void *copy);

/* A parameter that is not trained: shared by the ranks; no gradient, state or decay. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_add_frozen(accel_model_t *model,
                                                                const char *name,
                                                                accel_dtype_t dtype, int32_t ndim,
                                                                const int64_t *shape,
                                                                void *parameter);

/* Running statistics and the like: this rank's own, never shared, and never moved. Rank 0's
 * values are broadcast at prepare; later with accel_sync_buffers(). Any dtype. `buffer` too is
 * the address of the owner's pointer. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_add_buffer(accel_model_t *model,
                                                                const char *name,
                                                                accel_dtype_t dtype, int32_t ndim,
                                                                const int64_t *shape, void *buffer);

typedef enum accel_parameter_kind {
    ACCEL_TRAINABLE = 0,
    ACCEL_FROZEN = 1,
    ACCEL_BUFFER = 2
} accel_parameter_kind_t;

/* What was registered: `value` and `gradient` (NULL but for trainable ones) are where they
 * are now. Pointers are valid until the model is prepared, unprepared or destroyed. */
typedef struct accel_parameter {
    const char *name;
    accel_parameter_kind_t kind;
    accel_dtype_t dtype;
    int32_t ndim;
    const int64_t *shape;
    accel_dtype_t gradient_dtype; /* of trainable ones */
    void *value;
    void *gradient;
} accel_parameter_t;

/* Number of registered parameters of all kinds. */
ACCEL_API int64_t accel_model_num_parameters(const accel_model_t *model);

/* Number of trainable elements: the "16.8 M parameters" of a model. */
ACCEL_API int64_t accel_model_num_trainable(const accel_model_t *model);

ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_parameter(const accel_model_t *model,
                                                               int64_t index,
                                                               accel_parameter_t *parameter);

/* The gradient of parameter `index` is complete for this backward, so that its reduction may begin
 * while the backward goes on: for a program that runs its own backward, and for a model's
 * `backward`, from the last parameter to the first where it can. The parameters are in buckets of
 * bucket_cap_mb, filled in the reverse order of registration. A rank that says this reduces its
 * slice of every bucket that is complete on all ranks by then; the rest is done in the step, or by
 * accel_sync_gradients(). The results are the same to the last bit.
 *
 * Outside of `backward`: when the last trainable one is ready the model is as after
 * accel_backward(): do not call that too. Where a parameter may have no gradient, call it to end
 * the backward: what was not ready then counts with the gradient it has. Ranks may differ in that.
 * Once a parameter at a step; off a sync step nothing is reduced. Local; with
 * ACCEL_GRADIENTS_AVERAGED the last one is collective.
 *
 * Until the step, gradients of such a backward are in part the average: read them after
 * accel_sync_gradients(), and clear them before the next backward. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_grad_ready(accel_model_t *model, int64_t index);

/* Clear this rank's gradients, as accel_optimizer_zero_grad() does, but off a sync step too: what
 * the window has accumulated is lost. On every rank alike. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_model_zero_grad(accel_model_t *model);

/* With find_unused_parameters, of a prepared model: did a backward of any rank call
 * accel_grad_ready() for the parameter since the gradients were cleared, accumulation included?
 * The same on every rank, as of the last reduction: by the step, by clipping, by averaging the
 * gradients. Of a replicated model, whose owner clears them unseen, since the sync step before.
 *
 * A parameter that some ranks used counts with gradients of zero for the others. One that no rank
 * used is not there for the step, as torch.optim has it for a gradient of None: no update, no
 * decay, no momentum; its state stays, and the step does not count for it. Its gradients, which
 * must be zero, read as zeros.
 *
 * Without the option, and of an unprepared model: true of every trainable parameter. */
ACCEL_API bool accel_model_is_used(const accel_model_t *model, int64_t index);

/* Is a backward of this prepared model, now, for a step? accel_is_sync_step(), but with the scopes
 * of no_sync and trigger_sync_in_backward of this model alone. Local. */
ACCEL_API bool accel_model_is_sync_step(const accel_model_t *model);

/* Are the gradients that this rank has the average of all ranks', and so free to be written? False
 * if every rank has its own, or of the average its part only, which the step will take. Local. */
ACCEL_API bool accel_model_is_averaged(const accel_model_t *model);

/* How many buckets the model has, once prepared; and how many of them this rank reduced in
 * accel_grad_ready(), at the last step where that was called. */
ACCEL_API int64_t accel_model_num_buckets(const accel_model_t *model);
ACCEL_API int64_t accel_model_num_early_buckets(const accel_model_t *model);

/* Write parameters of a prepared model by hand. _begin waits for all ranks; then rank 0,
 * and only rank 0, writes; _end makes the new values visible to all. A low-precision
 * parameter that was written becomes its master; a copy of a float32 one is renewed. Both
 * collective. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_params_begin(accel_model_t *model);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_params_end(accel_model_t *model);

#ifdef __cplusplus
}
#endif

#endif
