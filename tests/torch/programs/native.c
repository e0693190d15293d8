/* SPDX-License-Identifier: Apache-2.0 */
/* C++ modules of shared objects, in one process or under the launcher; run by
 * tests/oracle/torch_native.py in an empty folder:
 *
 *     program-torch-native-VERSION ODD SECOND
 *
 * ODD and SECOND are modules/odd.cpp and second.cpp. */
#include <math.h>

#include <accel/torch.h>

#include "checks.h"

enum { STEPS = 5 };

static const char *odd, *second;
static accel_t *accelerator;

static accel_torch_module_t *create(const char *name, const char *arguments)
{
    accel_torch_module_t *module;

    ACCEL_CHECK(accel_torch_create(odd, name, arguments,
                                   ACCEL_TORCH_OPTIONS(.accelerator = accelerator), &module));
    return module;
}

static const accel_tensor_t *output(accel_torch_module_t *module, int32_t index)
{
    const accel_tensor_t *tensor;

    ACCEL_CHECK(accel_torch_output(module, index, &tensor));
    return tensor;
}

/* ---- libraries ---- */

static void libraries(void)
{
    accel_torch_module_t *module = NULL;

    FAILS(ACCEL_ERR_NOT_FOUND, "none.so",
          accel_torch_create("./none.so", "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_NOT_FOUND, "none.so", accel_torch_create("none.so", "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_UNSUPPORTED, "offers no modules: it has no ACCEL_TORCH_MODULE",
          accel_torch_create("/proc/self/exe", "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_UNSUPPORTED, "offers no modules", /* found by the loader alone */
          accel_torch_create("libm.so.6", "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_NOT_FOUND, "has no module 'x'; it has: sized, outputs",
          accel_torch_create(odd, "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_INVALID, "library is NULL", accel_torch_create(NULL, "x", NULL, NULL, &module));
    FAILS(ACCEL_ERR_INVALID, "expected IN OUT, not 'many'",
          accel_torch_create(odd, "sized", "many", NULL, &module));
    FAILS(ACCEL_ERR_INVALID, "takes no arguments: 'any'",
          accel_torch_create(odd, "outputs", "any", NULL, &module));
    EXPECT(!module);
}

/* Two libraries whose classes and modules have the same names. */
static void namesakes(void)
{
    double x[] = {1, 2, 3};
    accel_torch_module_t *a = create("sized", "3 2"), *b;

    ACCEL_CHECK(accel_torch_create(second, "sized", NULL, NULL, &b));
    ACCEL_CHECK(accel_torch_forward(a, ACCEL_TENSOR(x, ACCEL_F64, 1, 3), 1));
    EXPECT(output(a, 0)->shape[1] == 2 && accel_torch_num_tensors(a) == 1);
    ACCEL_CHECK(accel_torch_forward(b, ACCEL_TENSOR(x, ACCEL_F64, 3), 1));
    EXPECT(((const double *)output(b, 0)->data)[2] == 6 && accel_torch_num_tensors(b) == 0);
    accel_torch_destroy(a);
    accel_torch_destroy(b);
}

/* ---- calls ---- */

static void outputs(void)
{
    double x[] = {1, 2, 3}, y[] = {10, 20, 30}, factor = 2;
    uint8_t twice = 1;
    accel_tensor_t inputs[] = {*ACCEL_TENSOR(x, ACCEL_F64, 3), *ACCEL_TENSOR(y, ACCEL_F64, 3),
                               *ACCEL_TENSOR(&factor, ACCEL_F64, 1),
                               *ACCEL_TENSOR(&twice, ACCEL_U8, 1)};
    accel_torch_module_t *module = create("outputs", NULL), *nothing = create("nothing", NULL);
    accel_model_t *model;

    FAILS(ACCEL_ERR_INVALID, "forward takes 4 tensors, not 3",
          accel_torch_forward(module, inputs, 3));
    FAILS(ACCEL_ERR_NOT_FOUND, "only forward can be called",
          accel_torch_call(module, "backward", inputs, 4));
    ACCEL_CHECK(accel_torch_forward(module, inputs, 4));
    EXPECT(accel_torch_num_outputs(module) == 3);
    EXPECT(((const double *)output(module, 0)->data)[2] == 6);
    EXPECT(((const double *)output(module, 1)->data)[2] == 33);
    EXPECT(((const double *)output(module, 2)->data)[2] == 60);
    inputs[2] = inputs[0];
    FAILS(ACCEL_ERR_INVALID, "3 elements", accel_torch_forward(module, inputs, 4));
    /* nothing to train */
    ACCEL_CHECK(accel_torch_model(module, &model));
    EXPECT(accel_model_num_parameters(model) == 0);
    ACCEL_CHECK(accel_torch_forward(nothing, NULL, 0));
    EXPECT(accel_torch_num_outputs(nothing) == 0);
    FAILS(ACCEL_ERR_INVALID, "no output 0; forward gave 0", accel_torch_loss(nothing, 0, NULL));
    accel_torch_destroy(module);
    accel_torch_destroy(nothing);
}

static accel_status_t call(accel_torch_module_t *module, int what)
{
    static int64_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7}; /* borrowed until backward */

    return accel_torch_forward(module, ACCEL_TENSOR(&numbers[what], ACCEL_I64, 1), 1);
}

static void exceptions(void)
{
    accel_torch_module_t *module = create("throws", NULL);
    double loss;

    FAILS(ACCEL_ERR_INVALID, "inconsistent tensor size", call(module, 0));
    FAILS(ACCEL_ERR_INVALID, "the wave has broken", call(module, 1));
    FAILS(ACCEL_ERR_INTERNAL, "an unknown exception", call(module, 2));
    FAILS(ACCEL_ERR_NO_MEMORY, "out of memory", call(module, 3));
    FAILS(ACCEL_ERR_STATE, "accel_torch_forward() first", accel_torch_loss(module, 0, &loss));
    ACCEL_CHECK(call(module, 4));
    ACCEL_CHECK(accel_torch_loss(module, 0, &loss));
    EXPECT(fabs(loss - sin(0.7) - sin(1.4)) < 1e-12);
    accel_torch_destroy(module);
}

/* Statistics move in training, and not in evaluation. */
static void modes(void)
{
    double x[4 * 3], mean;
    accel_torch_module_t *module = create("norm", NULL);
    accel_parameter_t buffer;

    for (int i = 0; i < 12; i++)
        x[i] = i;
    ACCEL_CHECK(accel_torch_tensor(module, 2, &buffer));
    EXPECT(strcmp(buffer.name, "norm.running_mean") == 0 && buffer.kind == ACCEL_BUFFER);
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
    EXPECT(fabs(*(const double *)output(module, 0)->data + 1.3416) < 1e-3);
    ACCEL_CHECK(accel_torch_tensor(module, 2, &buffer));
    mean = *(const double *)buffer.value;
    EXPECT(fabs(mean - 0.45) < 1e-12); /* a tenth of the mean of 0, 3, 6, 9 */
    ACCEL_CHECK(accel_torch_train(module, false));
    ACCEL_CHECK(accel_torch_forward(module, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
    ACCEL_CHECK(accel_torch_tensor(module, 2, &buffer));
    EXPECT(*(const double *)buffer.value == mean);
    accel_torch_destroy(module);
}

/* ---- training: what means the same trains the same, two modules in one accelerator ---- */

typedef struct trained {
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
} trained_t;

static trained_t prepare(const char *name, const char *arguments)
{
    trained_t t;

    t.module = create(name, arguments);
    ACCEL_CHECK(accel_torch_model(t.module, &t.model));
    ACCEL_CHECK(accel_adamw_create(t.model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &t.optimizer));
    ACCEL_CHECK(accel_prepare(accelerator, t.model, t.optimizer, NULL, NULL));
    return t;
}

static void step(trained_t *t)
{
    double norm;

    ACCEL_CHECK(accel_backward(accelerator, t->model));
    ACCEL_CHECK(accel_clip_grad_norm(accelerator, t->model, 0.5, &norm));
    EXPECT(norm > 0 && isfinite(norm));
    ACCEL_CHECK(accel_optimizer_step(t->optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(t->optimizer));
}

/* A module that computes its loss from nothing. */
static void learn(trained_t *t)
{
    double first = 0, loss = 0;

    for (int i = 0; i < STEPS; i++) {
        ACCEL_CHECK(accel_torch_forward(t->module, NULL, 0));
        ACCEL_CHECK(accel_torch_loss(t->module, 0, &loss));
        first = i == 0 ? loss : first;
        step(t);
    }
    EXPECT(loss < first);
}

static void end(trained_t *t)
{
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_optimizer_destroy(t->optimizer);
    accel_torch_destroy(t->module);
}

static void expect_equal(const char *name, trained_t *a, trained_t *b)
{
    accel_parameter_t pa, pb;

    EXPECT(accel_torch_num_tensors(a->module) == accel_torch_num_tensors(b->module));
    for (int64_t i = 0; i < accel_torch_num_tensors(a->module); i++) {
        ACCEL_CHECK(accel_torch_tensor(a->module, i, &pa));
        ACCEL_CHECK(accel_torch_tensor(b->module, i, &pb));
        int64_t count = 1;
        for (int32_t d = 0; d < pa.ndim; d++)
            count *= pa.shape[d];
        for (int64_t e = 0; e < count; e++) {
            double x = ((const double *)pa.value)[e], y = ((const double *)pb.value)[e];

            if (fabs(x - y) <= 1e-11)
                continue;
            fprintf(stderr, "%s: %s[%lld] is %.17g and %.17g\n", name, pa.name, (long long)e, x, y);
            exit(1);
        }
    }
}

static void same(const char *name, const char *one, const char *other, const accel_tensor_t *input)
{
    trained_t a = prepare(name, one), b = prepare(name, other);
    double loss_a, loss_b, first = 0;

    for (int i = 0; i < STEPS; i++) { /* both forwards first: one graph each */
        ACCEL_CHECK(accel_torch_forward(a.module, input, input ? 1 : 0));
        ACCEL_CHECK(accel_torch_forward(b.module, input, input ? 1 : 0));
        ACCEL_CHECK(accel_torch_loss(a.module, 0, &loss_a));
        ACCEL_CHECK(accel_torch_loss(b.module, 0, &loss_b));
        EXPECT(fabs(loss_a - loss_b) < 1e-11);
        first = i == 0 ? loss_a : first;
        step(&a);
        step(&b);
    }
    EXPECT(loss_a < first);
    expect_equal(name, &a, &b);
    end(&a);
    end(&b);
}

static void pairs(void)
{
    int64_t rows[] = {accel_process_index(accelerator), 3, 3, 7};
    double x[3 * 4];

    for (int i = 0; i < 12; i++)
        x[i] = cos(i + accel_process_index(accelerator));
    same("table", "dense", "sparse", ACCEL_TENSOR(rows, ACCEL_I64, 4));
    same("penalty", "closed", "double", ACCEL_TENSOR(x, ACCEL_F64, 3, 4));
    same("checkpoint", "kept", "again", ACCEL_TENSOR(x, ACCEL_F64, 3, 4));
    same("layout", "row", "channels", NULL);
}

/* Tied ones are one; of `late` libtorch has the tensor that it was registered with. */
static void tied(void)
{
    trained_t t = prepare("tied", NULL);
    accel_parameter_t p;

    EXPECT(accel_torch_num_tensors(t.module) == 2);
    ACCEL_CHECK(accel_torch_tensor(t.module, 1, &p));
    EXPECT(strcmp(p.name, "late") == 0);
    learn(&t);
    ACCEL_CHECK(accel_torch_tensor(t.module, 1, &p));
    EXPECT(*(const double *)p.value == sin(1)); /* nobody has trained it */
    end(&t);
}

static void crowd(void)
{
    trained_t t = prepare("crowd", NULL);

    EXPECT(accel_torch_num_tensors(t.module) == 1503);
    learn(&t);
    end(&t);
}

/* ---- what a module does to itself ---- */

/* Gradients that it clears or replaces are what it says; and the step is that of the last. */
static void gradients(void)
{
    trained_t a = prepare("restless", NULL), b = prepare("restless", NULL);

    for (int i = 0; i < STEPS; i++) {
        ACCEL_CHECK(call(a.module, 0));
        step(&a);
        ACCEL_CHECK(call(b.module, i == 3 ? 5 : 0));
        ACCEL_CHECK(call(b.module, 1)); /* whatever was there is gone */
        step(&b);
    }
    expect_equal("restless", &a, &b);
    end(&a);
    end(&b);
}

static void misuse(void)
{
    trained_t t = prepare("restless", NULL);
    double loss;

    ACCEL_CHECK(call(t.module, 6));
    FAILS(ACCEL_ERR_STATE, "nothing that backward reaches is trained",
          accel_backward(accelerator, t.model));
    FAILS(ACCEL_ERR_INVALID, "the wave has broken in backward",
          (ACCEL_CHECK(call(t.module, 4)), accel_backward(accelerator, t.model)));
    FAILS(ACCEL_ERR_STATE, "there was a backward already", accel_backward(accelerator, t.model));
    ACCEL_CHECK(call(t.module, 0)); /* and it goes on */
    ACCEL_CHECK(accel_torch_loss(t.module, 0, &loss));
    ACCEL_CHECK(accel_optimizer_zero_grad(t.optimizer));
    step(&t);
    FAILS(ACCEL_ERR_STATE, "'first' was given a gradient outside of accel_backward()",
          call(t.module, 7));
    ACCEL_CHECK(accel_optimizer_zero_grad(t.optimizer));
    ACCEL_CHECK(call(t.module, 3));
    FAILS(ACCEL_ERR_STATE, "'second' was moved or cast", accel_backward(accelerator, t.model));
    FAILS(ACCEL_ERR_STATE, "'second' was moved or cast", call(t.module, 0));
    end(&t);
    t = prepare("restless", NULL);
    ACCEL_CHECK(call(t.module, 2));
    FAILS(ACCEL_ERR_STATE, "'first' was moved or cast", accel_backward(accelerator, t.model));
    end(&t);
    /* a step between forward and its backward */
    t = prepare("restless", NULL);
    ACCEL_CHECK(call(t.module, 0));
    ACCEL_CHECK(accel_backward(accelerator, t.model));
    ACCEL_CHECK(call(t.module, 0));
    ACCEL_CHECK(accel_optimizer_step(t.optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(t.optimizer));
    FAILS(ACCEL_ERR_STATE, "was updated between forward and backward",
          accel_backward(accelerator, t.model));
    end(&t);
    /* nothing to train: it can be served */
    t.module = create("restless", NULL);
    ACCEL_CHECK(accel_torch_requires_grad(t.module, "*", false));
    ACCEL_CHECK(accel_torch_model(t.module, &t.model));
    ACCEL_CHECK(accel_prepare(accelerator, t.model, NULL, NULL, NULL));
    ACCEL_CHECK(call(t.module, 0));
    FAILS(ACCEL_ERR_STATE, "is every parameter frozen?", accel_backward(accelerator, t.model));
    accel_torch_destroy(t.module);
    double x[3 * 4] = {1};
    t = prepare("checkpoint", "shared");
    ACCEL_CHECK(accel_torch_forward(t.module, ACCEL_TENSOR(x, ACCEL_F64, 3, 4), 1));
    FAILS(ACCEL_ERR_STATE, "'first' was ready before in this backward",
          accel_backward(accelerator, t.model));
    end(&t);
}

/* ---- weights ---- */

static void weights(void)
{
    trained_t t = prepare("norm", NULL);
    accel_torch_module_t *other;
    double x[4 * 3] = {1, 2, 3}, first[12];

    ACCEL_CHECK(accel_torch_forward(t.module, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
    ACCEL_ON_MAIN_PROCESS(accelerator) {
        ACCEL_CHECK(accel_torch_save(t.module, "norm.pt"));
        ACCEL_CHECK(accel_torch_save_weights(t.module, "norm.safetensors"));
        ACCEL_CHECK(accel_torch_train(t.module, false));
        ACCEL_CHECK(accel_torch_forward(t.module, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
        memcpy(first, output(t.module, 0)->data, sizeof(first));
        for (int archive = 0; archive < 2; archive++) { /* which C++ reads, or safetensors */
            other = create("norm", archive ? "norm.pt" : NULL);
            FAILS(ACCEL_ERR_FORMAT, "norm.pt", accel_torch_load_weights(other, "norm.pt"));
            if (!archive)
                ACCEL_CHECK(accel_torch_load_weights(other, "norm.safetensors"));
            ACCEL_CHECK(accel_torch_train(other, false));
            ACCEL_CHECK(accel_torch_forward(other, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
            EXPECT(memcmp(first, output(other, 0)->data, sizeof(first)) == 0);
            accel_torch_destroy(other);
        }
        /* as an archive it has the tensors, and no methods */
        ACCEL_CHECK(accel_torch_load("norm.pt", NULL, &other));
        EXPECT(accel_torch_num_tensors(other) == 5);
        FAILS(ACCEL_ERR_NOT_FOUND, "no method 'forward'",
              accel_torch_forward(other, ACCEL_TENSOR(x, ACCEL_F64, 4, 3), 1));
        accel_torch_destroy(other);
    }
    end(&t);
}

/* The accelerator goes first, and the module stays. */
static void outlives(void)
{
    trained_t t = prepare("restless", NULL);
    accel_parameter_t p;
    double value;

    ACCEL_CHECK(call(t.module, 0));
    step(&t);
    ACCEL_CHECK(accel_torch_tensor(t.module, 0, &p));
    value = *(const double *)p.value;
    ACCEL_CHECK(accel_wait_for_everyone(accelerator));
    accel_optimizer_destroy(t.optimizer);
    accel_destroy(accelerator);
    ACCEL_CHECK(call(t.module, 0));
    ACCEL_CHECK(accel_torch_tensor(t.module, 0, &p));
    EXPECT(value != 0 && *(const double *)p.value == value);
    accel_torch_destroy(t.module);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    odd = argv[1];
    second = argv[2];
    ACCEL_CHECK(accel_create(NULL, &accelerator));
    for (int i = 3; i < argc; i++) { /* for another libtorch, or with other strings */
        accel_torch_module_t *module;

        FAILS(ACCEL_ERR_UNSUPPORTED, "was compiled for libtorch",
              accel_torch_create(argv[i], "sized", NULL, NULL, &module));
    }
    libraries();
    namesakes();
    outputs();
    exceptions();
    modes();
    pairs();
    tied();
    crowd();
    gradients();
    weights();
    if (accel_num_processes(accelerator) == 1) /* the failures would end a world of several */
        misuse();
    outlives();
    printf("libtorch %s\n", accel_torch_version());
    return 0;
}
