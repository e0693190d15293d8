/* SPDX-License-Identifier: Apache-2.0 */
/* What is registered, and where it lies. */
#include "test.h"
#include "train/params.h"

static float memory[8][16];

typedef struct owner {
    accel_model_t *model;
    float *at[8];
} owner_t;

static owner_t make_owner(void)
{
    owner_t owner;

    CHECK_OK(accel_model_create(NULL, &owner.model));
    for (int i = 0; i < 8; i++)
        owner.at[i] = memory[i];
    return owner;
}

static void bad_parameters_are_named(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;
    const int64_t negative[] = {4, -1}, huge[] = {INT64_MAX / 2, 4},
                  large[] = {1, INT64_C(1) << 50};
    float *null = NULL;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_create(NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(NULL, "w", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[0], &owner.at[1]));
    CHECK_ERROR("accel_model_add: model is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add(model, NULL, ACCEL_F32, ACCEL_SHAPE(4),
                                                    &owner.at[0], &owner.at[1]));
    CHECK_ERROR("the name of parameter 0 is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[0], &owner.at[1]));
    CHECK_ERROR("the name of parameter 0 is empty");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add(model, "w", ACCEL_I32, ACCEL_SHAPE(4),
                                                    &owner.at[0], &owner.at[1]));
    CHECK_ERROR("'w' is int32; a trainable parameter is float32, float64, bfloat16 or float16");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add_buffer(model, "w", (accel_dtype_t)77,
                                                           ACCEL_SHAPE(4), &owner.at[0]));
    CHECK_ERROR("'w': 77 is no dtype");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, 2, negative, &owner.at[0], &owner.at[1]));
    CHECK_ERROR("extent 1 of 'w' is -1");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, 2, huge, &owner.at[0], &owner.at[1]));
    CHECK_ERROR("'w' is larger than memory can be");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, 2, large, &owner.at[0], &owner.at[1]));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, 9, huge, &owner.at[0], &owner.at[1]));
    CHECK_ERROR("'w' has 9 dimensions; expected 0 to 8");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, 1, NULL, &owner.at[0], &owner.at[1]));
    CHECK_ERROR("the shape of 'w' is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4), NULL, &owner.at[1]));
    CHECK_ERROR("'w': the address of the parameter's pointer is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[0], &null));
    CHECK_ERROR("'w': the gradient's pointer is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4),
                                                    &owner.at[0], &owner.at[0]));
    CHECK_ERROR("'w': parameter and gradient are one memory");
    CHECK_INT(0, accel_model_num_parameters(model));
    accel_model_destroy(model);
    accel_model_destroy(NULL);
}

static void names_and_memory_are_registered_once(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;
    float *tied = memory[0];

    CHECK_OK(accel_model_add(model, "w", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[0], &owner.at[1]));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add_frozen(model, "w", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[2]));
    CHECK_ERROR("'w' is parameter 0 already");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_model_add(model, "head", ACCEL_F32, ACCEL_SHAPE(4), &tied, &owner.at[2]));
    CHECK_ERROR("the parameter of 'head' is the memory of 'w'");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add(model, "head", ACCEL_F32, ACCEL_SHAPE(4),
                                                    &owner.at[2], &owner.at[1]));
    CHECK_ERROR("the gradient of 'head' is the memory of 'w'");
    accel_model_destroy(model);
}

static void parameters_are_described(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;
    accel_parameter_t info;
    char name[] = "w";

    CHECK_OK(
        accel_model_add(model, name, ACCEL_F32, ACCEL_SHAPE(2, 4), &owner.at[0], &owner.at[1]));
    name[0] = '?';
    CHECK_OK(accel_model_add_frozen(model, "frozen", ACCEL_BF16, ACCEL_SHAPE(3), &owner.at[2]));
    CHECK_OK(accel_model_add_buffer(model, "count", ACCEL_I64, 0, NULL, &owner.at[3]));
    CHECK_OK(accel_model_add(model, "scalar", ACCEL_F64, 0, NULL, &owner.at[4], &owner.at[5]));
    CHECK_INT(4, accel_model_num_parameters(model));
    CHECK_INT(9, accel_model_num_trainable(model));
    CHECK_OK(accel_model_parameter(model, 0, &info));
    CHECK_STR("w", info.name);
    CHECK_INT(ACCEL_TRAINABLE, info.kind);
    CHECK_INT(2, info.ndim);
    CHECK_INT(4, info.shape[1]);
    CHECK(info.value == memory[0] && info.gradient == memory[1]);
    CHECK_OK(accel_model_parameter(model, 2, &info));
    CHECK_INT(ACCEL_BUFFER, info.kind);
    CHECK(info.value == memory[3] && !info.gradient);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_parameter(model, 4, &info));
    CHECK_ERROR("index is 4; the model has 4 parameters");
    CHECK(!info.name);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_parameter(model, -1, &info));
    accel_model_destroy(model);
}

/* Runs of one dtype, values on cache lines, nothing on top of another. */
static void the_layout_groups_dtypes(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;
    const accel__layout_t *layout = &model->layout;

    CHECK_OK(accel_model_add(model, "a", ACCEL_F64, ACCEL_SHAPE(2), &owner.at[0], &owner.at[1]));
    CHECK_OK(accel_model_add(model, "b", ACCEL_F32, ACCEL_SHAPE(3), &owner.at[2], &owner.at[3]));
    CHECK_OK(accel_model_add_frozen(model, "c", ACCEL_U8, ACCEL_SHAPE(5), &owner.at[6]));
    CHECK_OK(accel_model_add(model, "d", ACCEL_F32, ACCEL_SHAPE(16), &owner.at[4], &owner.at[5]));
    CHECK_OK(accel__model_seal(model));
    CHECK_INT(2, layout->num_runs);
    CHECK_INT(ACCEL_F64, layout->runs[1].dtype);
    CHECK_INT(512, layout->runs[1].count);
    CHECK_INT(1024, layout->runs[0].count);
    CHECK_INT(0, model->params[1]->run);
    CHECK_INT(0, model->params[1]->first);
    CHECK_INT(16, model->params[3]->first);
    CHECK_INT(4096, layout->runs[1].values);
    CHECK_INT(4096, layout->runs[1].gradients);
    CHECK_INT(8192, layout->gradients_size);
    CHECK_INT(8192, model->params[2]->offset);
    CHECK_INT(12288, layout->size);
    CHECK_STATUS(ACCEL_ERR_STATE,
                 accel_model_add_buffer(model, "late", ACCEL_F32, ACCEL_SHAPE(1), &owner.at[7]));
    CHECK_ERROR("'late' comes too late");
    accel_model_destroy(model);
}

/* A page of the smallest array is the unit; copies come last, and only those there are. */
static void low_precision_has_runs_of_its_own(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;
    accel__layout_t *layout = &model->layout;

    CHECK_OK(accel_model_add(model, "a", ACCEL_BF16, ACCEL_SHAPE(40), &owner.at[0], &owner.at[1]));
    CHECK_OK(accel_model_add(model, "b", ACCEL_F32, ACCEL_SHAPE(3), &owner.at[2], &owner.at[3]));
    CHECK_OK(accel_model_add(model, "c", ACCEL_BF16, ACCEL_SHAPE(5), &owner.at[4], &owner.at[5]));
    CHECK_OK(accel_model_add_copy(model, "b", &owner.at[7]));
    CHECK_OK(accel_model_set_gradient_dtype(model, "c", ACCEL_F32));
    CHECK_OK(accel__model_seal(model));
    CHECK_INT(3, layout->num_runs);
    for (int r = 0; r < 3; r++) {
        CHECK_INT(ACCEL_F32, layout->runs[r].dtype);
        CHECK_INT(2048, layout->runs[r].unit);
        CHECK_INT(2048, layout->runs[r].count);
    }
    CHECK_INT(ACCEL_BF16, layout->runs[2].gradient_dtype);
    CHECK_INT(8192, layout->runs[1].gradients);
    CHECK_INT(ACCEL_F32, layout->runs[0].gradient_dtype);
    CHECK_INT(3 * 8192, layout->frozen_end);
    CHECK_INT(3 * 8192 + 2 * 4096, layout->size); /* autocast is off: "b" has no copy */
    accel__layout_place_copies(layout, ACCEL_F16);
    CHECK_INT(ACCEL_F16, layout->runs[1].copy_dtype);
    CHECK_INT(ACCEL_BF16, layout->runs[0].copy_dtype);
    CHECK_INT(3 * 8192 + 3 * 4096, layout->size);
    CHECK_STATUS(ACCEL_ERR_STATE, accel_model_set_gradient_dtype(model, "a", ACCEL_F32));
    CHECK_ERROR("too late");
    accel_model_destroy(model);
}

static void low_precision_is_checked(void)
{
    owner_t owner = make_owner();
    accel_model_t *model = owner.model;

    CHECK_OK(accel_model_add(model, "d", ACCEL_F64, ACCEL_SHAPE(4), &owner.at[0], &owner.at[1]));
    CHECK_OK(accel_model_add(model, "h", ACCEL_F16, ACCEL_SHAPE(4), &owner.at[2], &owner.at[3]));
    CHECK_OK(accel_model_add_frozen(model, "z", ACCEL_F32, ACCEL_SHAPE(4), &owner.at[4]));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_set_gradient_dtype(model, "d", ACCEL_F32));
    CHECK_ERROR("'d' is float64 and its gradient float32");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_set_gradient_dtype(model, "h", ACCEL_I32));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_set_gradient_dtype(model, "z", ACCEL_BF16));
    CHECK_ERROR("'z' is not trainable");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_set_gradient_dtype(model, "no", ACCEL_BF16));
    CHECK_ERROR("has no parameter 'no'");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add_copy(model, "h", &owner.at[7]));
    CHECK_ERROR("'h' is float16; expected a float32 parameter");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_model_add_copy(model, "d", NULL));
    accel_model_destroy(model);
}

/* For any size and number of ranks: units, in order, without gap, evenly. */
static void slices_cover_a_run(void)
{
    for (size_t units = 0; units < 40; units++)
        for (int32_t ranks = 1; ranks < 12; ranks++) {
            accel__run_t run = {.dtype = ACCEL_F32, .unit = 1024, .count = units * 1024};
            size_t end = 0;

            for (int32_t rank = 0; rank < ranks; rank++) {
                accel__slice_t slice = accel__layout_slice(&run, rank, ranks);
                size_t own = (slice.end - slice.begin) / run.unit;

                CHECK(slice.begin == end && slice.end >= slice.begin);
                CHECK(slice.begin % run.unit == 0);
                CHECK(own == units / (size_t)ranks || own == units / (size_t)ranks + 1);
                end = slice.end;
            }
            CHECK(end == run.count);
        }
}

static void calls_want_a_prepared_model(void)
{
    owner_t owner = make_owner();

    CHECK_STATUS(ACCEL_ERR_STATE, accel_grad_ready(owner.model, 0));
    CHECK_ERROR("accel_grad_ready: the model is not prepared");
    CHECK_STATUS(ACCEL_ERR_STATE, accel_params_begin(owner.model));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_params_end(owner.model));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_params_end(NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_grad_ready(NULL, 0));
    accel_model_destroy(owner.model);
}

TEST_MAIN(TEST(bad_parameters_are_named), TEST(names_and_memory_are_registered_once),
          TEST(parameters_are_described), TEST(the_layout_groups_dtypes), TEST(slices_cover_a_run),
          TEST(low_precision_has_runs_of_its_own), TEST(low_precision_is_checked),
          TEST(calls_want_a_prepared_model))
