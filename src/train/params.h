/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a model. */
#ifndef ACCEL_TRAIN_PARAMS_H
#define ACCEL_TRAIN_PARAMS_H

#include "train/arena.h"
#include "train/layout.h"
#include "train/train.h"

typedef struct accel__param {
    accel_parameter_kind_t kind;
    accel_dtype_t dtype;
    int32_t ndim;
    int64_t shape[ACCEL_MAX_NDIM];
    size_t count, size;             /* elements, bytes */
    void *value_at, *gradient_at;   /* addresses of the owner's pointers */
    void *own_value, *own_gradient; /* the owner's blocks, while the pointers are ours */
    size_t offset;                  /* in the arena, not for buffers */
    bool ready;                     /* said by accel_grad_ready() in this backward */
    char name[];
} accel__param_t;

/* What the gradients of a prepared model are at the moment; the same on all ranks. */
typedef enum accel__phase {
    ACCEL__RAW,      /* each rank's own */
    ACCEL__REDUCED,  /* in each rank's slice the average, not yet times `clip`; elsewhere raw */
    ACCEL__AVERAGED, /* the average, on every rank */
    ACCEL__SPENT     /* reduced and stepped: nothing that can be added to */
} accel__phase_t;

struct accel_model {
    accel_backward_fn backward;
    void *context;
    bool fixed_memory, overwrites_gradients;
    accel__param_t **params;
    int64_t num_params, capacity, num_trainable;
    bool sealed; /* the layout stands: no more parameters */
    accel__layout_t layout;

    /* While prepared; state is NULL otherwise. */
    accel__gradient_state_t *state;
    accel__link_t link;
    accel__arena_t arena;
    accel__phase_t phase;
    double clip;       /* what the step still multiplies the average by */
    int64_t num_ready; /* of accel_grad_ready() */
    bool writing;      /* between accel_params_begin() and _end() */
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

/* Give every parameter its place; from then on none can be added. */
void accel__model_seal(accel_model_t *model);

/* Is the model prepared and its gradients, parameters and arena fit for `operation`? Local,
 * and the same answer on every rank that made the same calls. */
accel_status_t accel__model_usable(const accel_model_t *model, const char *operation);

/* For models with fixed memory, and nothing for others: the owner's gradients into the arena
 * if they are raw, and gradients and values of the arena out to the owner. */
void accel__model_collect_gradients(accel_model_t *model);
void accel__model_return_gradients(accel_model_t *model);
void accel__model_return_values(accel_model_t *model);

/* A barrier at which the ranks compare a number that must be the same on all of them, and
 * their phase. On a difference every rank gets a text that names both values, and nothing has
 * changed. */
accel_status_t accel__model_meet(accel_model_t *model, const char *operation, const char *what,
                                 double value);

/* This rank's gradients, all of them: clear. */
void accel__model_zero_gradients(accel_model_t *model);

/* Did this rank fare well so far (`local`), and every other; and is a list of descriptions,
 * each ended by NUL, the same on all ranks? On a difference every rank gets
 * "accel_prepare: ITEM I is A on rank 0 but B on rank R"; ITEM has no number if it is one of
 * its kind. Collective. */
accel_status_t accel__compare(accel_comm_t *comm, accel_status_t local, const char *item,
                              bool numbered, const accel__text_t *mine);

#endif
