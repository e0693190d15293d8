/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a model. */
#ifndef ACCEL_TRAIN_PARAMS_H
#define ACCEL_TRAIN_PARAMS_H

#include "train/arena.h"
#include "train/layout.h"
#include "train/overlap.h"
#include "train/train.h"
#include "train/used.h"

typedef struct accel__param {
    accel_parameter_kind_t kind;
    accel_dtype_t dtype, gradient_dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM];
    size_t count, size, gradient_size;         /* elements, bytes */
    void *value_at, *gradient_at, *copy_at;    /* addresses of the owner's pointers, or NULL */
    void *own_value, *own_gradient, *own_copy; /* the owner's blocks while the pointers are ours */
    int run;                                   /* of a trainable one: its run ... */
    size_t first;                              /* ... and its first element there */
    size_t offset;                             /* of a frozen one: bytes in the arena's values */
    bool ready;                                /* said by accel_grad_ready() in this window */
    bool has_accumulated; /* low-precision gradients of earlier backwards ... */
    float *accumulated;   /* ... are here; NULL: none were yet */
    char name[];
} accel__param_t;

/* What the gradients of a prepared model are at the moment; the same on all ranks. */
typedef enum accel__phase {
    ACCEL__RAW,      /* each rank's own */
    ACCEL__REDUCED,  /* in each rank's slice the average, not yet times `clip`; elsewhere raw */
    ACCEL__AVERAGED, /* the average, on every rank */
    ACCEL__SPENT     /* reduced and stepped: nothing that can be added to */
} accel__phase_t;

/* What a rank's gradients are made of since the last step. */
typedef struct accel__share {
    double weight;                      /* the sum over its backwards */
    int32_t backwards, divisor, window; /* the last two as in the gradient state */
    int32_t rank;
    bool weighted, shadow; /* shadow: the rank has run out of batches */
} accel__share_t;

struct accel_model {
    accel_backward_fn backward;
    void *context;
    bool fixed_memory, overwrites_gradients, replicated, no_restore, find_unused;
    accel__param_t **params;
    int64_t num_params, capacity, num_trainable;
    bool sealed; /* the layout stands: no more parameters */
    accel__layout_t layout;

    /* While prepared; state is NULL otherwise. */
    accel__gradient_state_t *state;
    accel__link_t link;
    uint32_t number; /* among those prepared with the state; the same on all ranks */
    accel__arena_t arena;
    accel__phase_t phase;
    double clip;       /* what the step still multiplies the average by */
    double loss_scale; /* what the gradients were multiplied by */
    bool unscaled;     /* 1 / loss_scale is in `clip`, or in the gradients */
    bool found_inf;    /* an unscaled gradient is no finite number; the same on all ranks */
    accel__share_t share;
    bool corrected; /* for the window's length or its weights: that is in `clip`, or was applied */
    int32_t no_sync_depth, trigger_sync_depth;
    accel__overlap_t overlap;
    accel__used_t used;
    int64_t num_ready;  /* of accel_grad_ready() in this backward */
    bool in_backward;   /* the model's own is running */
    bool writing;       /* between accel_params_begin() and _end() */
    bool shows_average; /* between accel_ema_begin() and _end() */
};

/* The owner's pointer at this address. It may be a float ** or a double **: only memcpy may
 * look at it. */
static inline void *accel__pointer_get(const void *at)
{
    void *pointer;

    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

static inline void accel__pointer_set(void *at, void *pointer)
{
    memcpy(at, &pointer, sizeof(pointer));
}

static inline bool accel__is_half(accel_dtype_t dtype)
{
    return dtype == ACCEL_BF16 || dtype == ACCEL_F16;
}

static inline const accel__run_t *accel__param_run(const accel_model_t *model,
                                                   const accel__param_t *param)
{
    return &model->layout.runs[param->run];
}

/* While prepared: what an optimizer updates, ... */
static inline unsigned char *accel__param_master(const accel_model_t *model,
                                                 const accel__param_t *param)
{
    return accel__arena_values(&model->arena, accel__param_run(model, param), param->first);
}

/* ... its low-precision copy, or NULL, ... */
static inline unsigned char *accel__param_copy(const accel_model_t *model,
                                               const accel__param_t *param)
{
    const accel__run_t *run = accel__param_run(model, param);

    return run->copy_dtype == ACCEL_F32 ? NULL
                                        : accel__arena_copies(&model->arena, run, param->first);
}

/* ... the one of them, or the frozen values, that the owner registered, ... */
static inline unsigned char *accel__param_values(const accel_model_t *model,
                                                 const accel__param_t *param)
{
    if (param->kind == ACCEL_FROZEN)
        return model->arena.values + param->offset;
    return accel__is_half(param->dtype) ? accel__param_copy(model, param)
                                        : accel__param_master(model, param);
}

/* ... and this rank's gradients. */
static inline unsigned char *accel__param_gradients(const accel_model_t *model,
                                                    const accel__param_t *param)
{
    return accel__arena_gradients(&model->arena, accel__param_run(model, param), model->arena.rank,
                                  param->first);
}

/* Give every parameter its place; from then on none can be added. */
accel_status_t accel__model_seal(accel_model_t *model);

/* Is the model prepared and its gradients, parameters and arena fit for `operation`? Local,
 * and the same answer on every rank that made the same calls. */
accel_status_t accel__model_usable(const accel_model_t *model, const char *operation);

/* For models with fixed memory, and nothing for others: the owner's gradients into the arena
 * if they are raw, and gradients and values of the arena out to the owner. */
void accel__model_collect_gradients(accel_model_t *model);
void accel__model_return_gradients(accel_model_t *model);
void accel__model_return_values(accel_model_t *model);

/* A barrier at which the ranks compare a number that must be the same on all of them, a hash of
 * others, and their phase. On a difference every rank gets a text that names both values, and
 * nothing has changed. */
accel_status_t accel__model_meet(accel_model_t *model, const char *operation, const char *what,
                                 double value, uint64_t hash);

/* This rank's gradients, all of them: clear; _zero_ as zero_grad, which leaves it to backwards that
 * overwrite. */
void accel__model_zero_gradients(accel_model_t *model);
void accel__model_clear_gradients(accel_model_t *model);

/* The model whose place among the prepared objects this is; NULL: it is of another kind. */
accel_model_t *accel__model_of_link(const accel__link_t *link);

/* Is this a sync step for the model? */
bool accel__model_syncs(const accel__gradient_state_t *state, const accel_model_t *model);

/* Are the gradients to be averaged on every rank, in backward? */
bool accel__model_averages(const accel_model_t *model);

/* Are they complete after this backward, to be reduced in it or to be stepped? */
bool accel__model_completes(const accel_model_t *model);

/* One more backward; what there is to compare and add up between the ranks; that of `rank` joins
 * that of those before; and what the average is then to be multiplied by. */
accel_status_t accel__share_add(accel__share_t *share, bool weighted, double weight);
accel__share_t accel__model_share(const accel_model_t *model);
accel_status_t accel__share_join(accel__share_t *all, const accel__share_t *rank,
                                 const char *operation);
double accel__share_correction(const accel__share_t *all, int32_t num_ranks);
void accel__share_forget(accel__share_t *share);

/* An error if the gradients were used by a step after a reduction. */
accel_status_t accel__model_check_unspent(const accel_model_t *model, const char *operation);

/* This rank's slices: the average over the ranks, in place. Whoever wants those of others meets
 * them afterwards. */
void accel__model_reduce_slices(accel_model_t *model);

/* Behind the barrier that ends a reduction or a step. */
void accel__model_next_window(accel_model_t *model);

/* Nothing is reduced, clipped or unscaled yet. */
void accel__model_forget_reduction(accel_model_t *model);

/* Low-precision gradients of several backwards of one step: added up in float32, locally. At a
 * sync step the sum comes back into the gradients; before, they go to the sum. */
accel_status_t accel__model_accumulate(accel_model_t *model);
accel_status_t accel__param_accumulate(accel__param_t *param, bool sync_step);
void accel__model_forget_accumulated(accel_model_t *model);

/* Averaged gradients: multiply them by `clip` now, in the owner's memory too. */
void accel__model_apply_clip(accel_model_t *model);

/* Reduce if that was not done, and find out whether all is finite. Collective. Does nothing
 * without loss scaling, or if it was done. */
accel_status_t accel__model_find_inf(accel_model_t *model, const char *operation);

/* Did this rank fare well so far (`local`), and every other; and is a list of descriptions,
 * each ended by NUL, the same on all ranks? On a difference every rank gets
 * "accel_prepare: ITEM I is A on rank 0 but B on rank R"; ITEM has no number if it is one of
 * its kind. Collective. */
accel_status_t accel__compare(accel_comm_t *comm, accel_status_t local, const char *item,
                              bool numbered, const accel__text_t *mine);

#endif
