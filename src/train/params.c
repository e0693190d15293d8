/* SPDX-License-Identifier: Apache-2.0 */
/* Models: what their owner registers. */
#include "train/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than any machine can address: such a shape is a mistake. Sums of sizes below it, one
 * for each rank, cannot overflow. */
#define SIZE_LIMIT (UINT64_C(1) << 46)
#define MEGABYTES_LIMIT ((double)(SIZE_LIMIT >> 20))

/* Those of PyTorch's DistributedDataParallel. */
#define BUCKET_CAP_MB 25
#define FIRST_BUCKET_SIZE ((size_t)1 << 20)

static size_t bucket_size(double cap_mb)
{
    return (size_t)((cap_mb == 0 ? BUCKET_CAP_MB : cap_mb) * (1 << 20));
}

accel_status_t accel_model_create(const accel_model_options_t *options, accel_model_t **model)
{
    accel_model_options_t read = {0};
    accel_status_t status;

    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "accel_model_create: model is NULL");
    *model = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_model_options_t");
    if (status != ACCEL_OK)
        return status;
    if (!(read.bucket_cap_mb >= 0 && read.bucket_cap_mb < MEGABYTES_LIMIT))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_model_create: bucket_cap_mb is %g; expected 0 to %g",
                           read.bucket_cap_mb, MEGABYTES_LIMIT);
    if (read.fixed_memory && (read.replicated || read.no_restore))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_model_create: %s does not go with fixed_memory",
                           read.replicated ? "replicated" : "no_restore");
    if (read.find_unused_parameters && read.overwrites_gradients)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_model_create: find_unused_parameters does not go with "
                           "overwrites_gradients: a gradient that is not made would be an old one");
    *model = calloc(1, sizeof(**model));
    if (!*model)
        return accel__fail_memory("a model", sizeof(**model));
    (*model)->backward = read.backward;
    (*model)->context = read.context;
    (*model)->fixed_memory = read.fixed_memory;
    (*model)->overwrites_gradients = read.overwrites_gradients;
    (*model)->no_restore = read.no_restore;
    (*model)->find_unused = read.find_unused_parameters;
    (*model)->replicated = (*model)->layout.values_elsewhere = read.replicated;
    (*model)->clip = 1;
    (*model)->layout.bucket_size = bucket_size(read.bucket_cap_mb);
    (*model)->layout.first_bucket_size = (*model)->layout.bucket_size < FIRST_BUCKET_SIZE
                                             ? (*model)->layout.bucket_size
                                             : FIRST_BUCKET_SIZE;
    return ACCEL_OK;
}

void accel_model_destroy(accel_model_t *model)
{
    if (!model)
        return;
    accel__model_unprepare(model);
    for (int64_t i = 0; i < model->num_params; i++) {
        free(model->params[i]->accumulated);
        free(model->params[i]);
    }
    free(model->params);
    free(model->layout.runs);
    free(model);
}

static accel_status_t check_name(const accel_model_t *model, const char *function, const char *name)
{
    if (!model)
        return accel__fail(ACCEL_ERR_INVALID, "%s: model is NULL", function);
    if (!name || !*name)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the name of parameter %lld is %s", function,
                           (long long)model->num_params, name ? "empty" : "NULL");
    if (model->sealed)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: '%s' comes too late; add parameters before the model is prepared "
                           "or stepped",
                           function, name);
    for (int64_t i = 0; i < model->num_params; i++)
        if (strcmp(model->params[i]->name, name) == 0)
            return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is parameter %lld already", function,
                               name, (long long)i);
    return ACCEL_OK;
}

static accel_status_t check_dtype(const accel__param_t *param, const char *function)
{
    if (accel_dtype_size(param->dtype) == 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s': %d is no dtype", function, param->name,
                           (int)param->dtype);
    if (param->kind == ACCEL_TRAINABLE && param->dtype != ACCEL_F32 && param->dtype != ACCEL_F64 &&
        !accel__is_half(param->dtype))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: '%s' is %s; a trainable parameter is float32, float64, bfloat16 or "
                           "float16",
                           function, param->name, accel_dtype_name(param->dtype));
    return ACCEL_OK;
}

static accel_status_t set_shape(accel__param_t *param, const char *function, int32_t ndim,
                                const int64_t *shape)
{
    accel_tensor_t view = {.ndim = ndim, .dtype = param->dtype, .shape = param->shape};
    int64_t count;

    if (ndim < 0 || ndim > ACCEL_MAX_NDIM)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' has %d dimensions; expected 0 to %d",
                           function, param->name, (int)ndim, ACCEL_MAX_NDIM);
    if (ndim > 0 && !shape)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the shape of '%s' is NULL", function,
                           param->name);
    if (ndim > 0)
        memcpy(param->shape, shape, (size_t)ndim * sizeof(*shape));
    param->ndim = ndim;
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] < 0)
            return accel__fail(ACCEL_ERR_INVALID, "%s: extent %d of '%s' is %lld", function, (int)i,
                               param->name, (long long)shape[i]);
    count = accel_tensor_numel(&view);
    if (count < 0 ||
        !accel__mul_size((size_t)count, accel_dtype_size(param->dtype), &param->size) ||
        param->size >= SIZE_LIMIT)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is larger than memory can be", function,
                           param->name);
    param->count = (size_t)count;
    param->gradient_size = param->size;
    return ACCEL_OK;
}

/* `at` holds a pointer to memory: nobody else's, or a shared ("tied") parameter would fall
 * apart when the values move. */
static accel_status_t check_pointer(const accel_model_t *model, const accel__param_t *param,
                                    const char *function, const char *what, const void *at)
{
    const void *block;

    if (!at)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s': the address of the %s's pointer is NULL",
                           function, param->name, what);
    block = accel__pointer_get(at);
    if (!block && param->count > 0)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s': the %s's pointer is NULL", function,
                           param->name, what);
    for (int64_t i = 0; i < model->num_params && param->count > 0; i++) {
        const accel__param_t *other = model->params[i];
        const void *gradient = other->gradient_at ? accel__pointer_get(other->gradient_at) : NULL;

        if (other->count > 0 && (accel__pointer_get(other->value_at) == block || gradient == block))
            return accel__fail(ACCEL_ERR_INVALID,
                               "%s: the %s of '%s' is the memory of '%s'; register shared memory "
                               "once",
                               function, what, param->name, other->name);
    }
    return ACCEL_OK;
}

static accel_status_t check_pointers(const accel_model_t *model, const accel__param_t *param,
                                     const char *function)
{
    accel_status_t status = check_pointer(model, param, function, "parameter", param->value_at);

    if (status != ACCEL_OK || param->kind != ACCEL_TRAINABLE)
        return status;
    status = check_pointer(model, param, function, "gradient", param->gradient_at);
    if (status != ACCEL_OK)
        return status;
    if (param->count > 0 &&
        accel__pointer_get(param->value_at) == accel__pointer_get(param->gradient_at))
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s': parameter and gradient are one memory",
                           function, param->name);
    return ACCEL_OK;
}

static accel_status_t append(accel_model_t *model, accel__param_t *param)
{
    if (model->num_params == model->capacity) {
        int64_t capacity = model->capacity ? 2 * model->capacity : 16;
        size_t size = (size_t)capacity * sizeof(*model->params);
        accel__param_t **grown = realloc(model->params, size);

        if (!grown)
            return accel__fail_memory("a model's list of parameters", size);
        model->params = grown;
        model->capacity = capacity;
    }
    model->params[model->num_params++] = param;
    model->num_trainable += param->kind == ACCEL_TRAINABLE;
    return ACCEL_OK;
}

/* `like` gives kind, dtype and the addresses. */
static accel_status_t add(accel_model_t *model, const char *function, const char *name,
                          const accel__param_t *like, int32_t ndim, const int64_t *shape)
{
    accel_status_t status = check_name(model, function, name);
    size_t length;
    accel__param_t *param;

    if (status != ACCEL_OK)
        return status;
    length = strlen(name) + 1;
    param = calloc(1, sizeof(*param) + length);
    if (!param)
        return accel__fail_memory("a parameter", sizeof(*param) + length);
    *param = *like;
    memcpy(param->name, name, length);
    status = check_dtype(param, function);
    if (status == ACCEL_OK)
        status = set_shape(param, function, ndim, shape);
    if (status == ACCEL_OK)
        status = check_pointers(model, param, function);
    if (status == ACCEL_OK)
        status = append(model, param);
    if (status != ACCEL_OK)
        free(param);
    return status;
}

accel_status_t accel_model_add(accel_model_t *model, const char *name, accel_dtype_t dtype,
                               int32_t ndim, const int64_t *shape, void *parameter, void *gradient)
{
    accel__param_t like = {.kind = ACCEL_TRAINABLE,
                           .dtype = dtype,
                           .gradient_dtype = dtype,
                           .value_at = parameter,
                           .gradient_at = gradient};

    return add(model, "accel_model_add", name, &like, ndim, shape);
}

/* The trainable parameter of that name while it may still change. */
static accel_status_t find_trainable(accel_model_t *model, const char *name, const char *function,
                                     accel__param_t **found)
{
    *found = NULL;
    if (!model || !name)
        return accel__fail(ACCEL_ERR_INVALID, "%s: %s is NULL", function, model ? "name" : "model");
    for (int64_t i = 0; i < model->num_params && !*found; i++)
        if (strcmp(model->params[i]->name, name) == 0)
            *found = model->params[i];
    if (!*found)
        return accel__fail(ACCEL_ERR_INVALID, "%s: the model has no parameter '%s'; add it before",
                           function, name);
    if ((*found)->kind != ACCEL_TRAINABLE)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is not trainable", function, name);
    if (model->sealed)
        return accel__fail(ACCEL_ERR_STATE,
                           "%s: '%s': too late; call it before the model is prepared or stepped",
                           function, name);
    return ACCEL_OK;
}

accel_status_t accel_model_set_gradient_dtype(accel_model_t *model, const char *name,
                                              accel_dtype_t dtype)
{
    static const char function[] = "accel_model_set_gradient_dtype";
    accel__param_t *param;
    accel_status_t status = find_trainable(model, name, function, &param);

    if (status != ACCEL_OK)
        return status;
    if (dtype != param->dtype &&
        (param->dtype == ACCEL_F64 || (dtype != ACCEL_F32 && !accel__is_half(dtype))))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: '%s' is %s and its gradient %s; expected float32, bfloat16 or "
                           "float16 for any of these, float64 for float64",
                           function, name, accel_dtype_name(param->dtype), accel_dtype_name(dtype));
    param->gradient_dtype = dtype;
    param->gradient_size = param->count * accel_dtype_size(dtype);
    return ACCEL_OK;
}

accel_status_t accel_model_add_copy(accel_model_t *model, const char *name, void *copy)
{
    static const char function[] = "accel_model_add_copy";
    accel__param_t *param;
    accel_status_t status = find_trainable(model, name, function, &param);

    if (status != ACCEL_OK)
        return status;
    if (!copy)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s': copy is NULL", function, name);
    if (param->dtype != ACCEL_F32)
        return accel__fail(ACCEL_ERR_INVALID, "%s: '%s' is %s; expected a float32 parameter",
                           function, name, accel_dtype_name(param->dtype));
    if (model->replicated)
        return accel__fail(ACCEL_ERR_UNSUPPORTED, "%s: '%s': the model's parameters are replicated",
                           function, name);
    if (model->fixed_memory && !accel__pointer_get(copy))
        return accel__fail(ACCEL_ERR_INVALID,
                           "%s: '%s': the copy's pointer is NULL; a model with fixed memory wants "
                           "memory of the owner's",
                           function, name);
    param->copy_at = copy;
    return ACCEL_OK;
}

accel_status_t accel_model_add_frozen(accel_model_t *model, const char *name, accel_dtype_t dtype,
                                      int32_t ndim, const int64_t *shape, void *parameter)
{
    accel__param_t like = {.kind = ACCEL_FROZEN, .dtype = dtype, .value_at = parameter};

    return add(model, "accel_model_add_frozen", name, &like, ndim, shape);
}

accel_status_t accel_model_add_buffer(accel_model_t *model, const char *name, accel_dtype_t dtype,
                                      int32_t ndim, const int64_t *shape, void *buffer)
{
    accel__param_t like = {.kind = ACCEL_BUFFER, .dtype = dtype, .value_at = buffer};

    return add(model, "accel_model_add_buffer", name, &like, ndim, shape);
}

int64_t accel_model_num_parameters(const accel_model_t *model)
{
    return model ? model->num_params : 0;
}

int64_t accel_model_num_trainable(const accel_model_t *model)
{
    size_t count = 0;

    for (int64_t i = 0; model && i < model->num_params; i++)
        if (model->params[i]->kind == ACCEL_TRAINABLE)
            count += model->params[i]->count;
    return (int64_t)count;
}

accel_status_t accel_model_parameter(const accel_model_t *model, int64_t index,
                                     accel_parameter_t *parameter)
{
    const accel__param_t *param;

    if (!model || !parameter)
        return accel__fail(ACCEL_ERR_INVALID, "accel_model_parameter: %s is NULL",
                           model ? "parameter" : "model");
    *parameter = (accel_parameter_t){0};
    if (index < 0 || index >= model->num_params)
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_model_parameter: index is %lld; the model has %lld parameters",
                           (long long)index, (long long)model->num_params);
    param = model->params[index];
    *parameter = (accel_parameter_t){
        .name = param->name,
        .kind = param->kind,
        .dtype = param->dtype,
        .ndim = param->ndim,
        .shape = param->shape,
        .gradient_dtype = param->gradient_dtype,
        .value = accel__pointer_get(param->value_at),
        .gradient = param->gradient_at ? accel__pointer_get(param->gradient_at) : NULL};
    return ACCEL_OK;
}

static accel__copies_t copies_kind(const accel_model_t *model, const accel__param_t *param)
{
    if (model->replicated)
        return ACCEL__COPY_NONE;
    if (accel__is_half(param->dtype))
        return param->dtype == ACCEL_BF16 ? ACCEL__COPY_BF16 : ACCEL__COPY_F16;
    return param->copy_at ? ACCEL__COPY_AUTOCAST : ACCEL__COPY_NONE;
}

/* From the last parameter to the first, as a backward comes by: which run each is in. */
static void choose_runs(accel_model_t *model)
{
    accel__layout_t *layout = &model->layout;

    for (int64_t i = model->num_params - 1; i >= 0; i--) {
        accel__param_t *param = model->params[i];
        accel_dtype_t dtype = accel__is_half(param->dtype) ? ACCEL_F32 : param->dtype;

        if (param->kind != ACCEL_TRAINABLE)
            continue;
        param->run =
            accel__layout_run(layout, dtype, param->gradient_dtype, copies_kind(model, param));
        (void)accel__layout_append(&layout->runs[param->run], param->count);
        layout->runs[param->run].num_params++;
    }
    for (int r = 0; r < layout->num_runs; r++)
        layout->runs[r].count = 0;
}

accel_status_t accel__model_seal(accel_model_t *model)
{
    accel__layout_t *layout = &model->layout;
    size_t most = (size_t)model->num_trainable + 1;

    if (model->sealed)
        return ACCEL_OK;
    layout->runs = calloc(most, sizeof(*layout->runs));
    if (!layout->runs)
        return accel__fail_memory("the layout of a model", most * sizeof(*layout->runs));
    choose_runs(model);
    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind == ACCEL_TRAINABLE)
            param->first = accel__layout_append(&layout->runs[param->run], param->count);
    }
    accel__layout_place(layout);
    for (int64_t i = 0; i < model->num_params; i++) {
        accel__param_t *param = model->params[i];

        if (param->kind != ACCEL_FROZEN || model->replicated)
            continue;
        param->offset = layout->frozen_end;
        layout->frozen_end += accel__round_up(param->size, ACCEL__PARAMETER_ALIGN);
    }
    layout->frozen_end = accel__round_up(layout->frozen_end, ACCEL__PAGE);
    accel__layout_place_copies(layout, ACCEL_F32);
    if (model->find_unused)
        layout->used_words = accel__used_words(model->num_params);
    model->sealed = true;
    return ACCEL_OK;
}
