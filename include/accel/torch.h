/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch models of C programs: libaccel_torch, which a program links beside libaccel.
 *
 *     accel_torch_module_t *module;
 *     ACCEL_CHECK(accel_torch_load("gpt.pt", NULL, &module));
 *     accel_model_t *model;
 *     ACCEL_CHECK(accel_torch_model(module, &model));
 *     ... an optimizer for `model`, accel_prepare() ...
 *     while (ACCEL_NEXT(loader, &batch)) {
 *         double loss;
 *         ACCEL_CHECK(accel_torch_forward(module, batch.fields, 1));
 *         ACCEL_CHECK(accel_torch_cross_entropy(module, &batch.fields[1], &loss));
 *         ACCEL_CHECK(accel_backward(accelerator, model));
 *         ACCEL_CHECK(accel_optimizer_step(optimizer));
 *         ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
 *     }
 *
 * A module is a TorchScript archive (torch.jit.script(model).save(path) in Python) or a torch::nn
 * module in C++ that a shared object offers (accel/torch/register.hpp). It computes on the CPU. One
 * module is used by one thread at a time.
 *
 * All calls are local: none waits for another process. Each loads the same module; accel_prepare()
 * compares them, and gives all of them rank 0's values. Options may be NULL, texts are copied.
 *
 * What libtorch throws becomes an error of one line; no exception leaves the library. Where it had
 * no memory that is ACCEL_ERR_NO_MEMORY, for which accel_find_executable_batch_size() tries a
 * smaller batch. A call that fails leaves *module, *model, ... NULL.
 *
 * The library is built for one libtorch. Its own interface does not depend on which: a program
 * runs with whatever libaccel_torch.so the loader finds. */
#ifndef ACCEL_TORCH_H
#define ACCEL_TORCH_H

#include <accel/accelerator.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_torch_module accel_torch_module_t;

/* ---- modules ---- */

typedef struct accel_torch_options {
    size_t struct_size;
    /* Whose processes share the cores: with OMP_NUM_THREADS unset each takes its part, and only
     * the main one warns of a slow BLAS. NULL: this process is alone. */
    const accel_t *accelerator;
    double bucket_cap_mb; /* of accel_torch_model(); see accel_model_options_t */
    /* Let TorchScript rewrite its graphs as they run (it calls that profiling). Default: off. It
     * joins layers, whose gradients then become ready together, and often is slower. */
    accel_tristate_t jit_optimize;
    /* Leave the archive's tensors in the file, as torch.load(mmap=True) does: memory has them once
     * for all processes of the host, as far as they are used, and a process a copy of what it
     * writes. The file must stay as it is meanwhile: put a new one in its place by renaming.
     * Archives whose tensors are compressed, or whose objects restore themselves (__setstate__,
     * quantized layers), are read as without. For accel_torch_load(). */
    bool mmap;
} accel_torch_options_t;

ACCEL__OPTIONS_INIT(accel_torch_options)
#define ACCEL_TORCH_OPTIONS(...) ACCEL__OPTIONS(accel_torch_options_t, __VA_ARGS__)

/* A TorchScript archive. It is in the mode, training or evaluation, that it was saved in.
 * ACCEL_ERR_NOT_FOUND if there is no such file, ACCEL_ERR_FORMAT if it is no archive. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_load(const char *path,
                                                          const accel_torch_options_t *options,
                                                          accel_torch_module_t **module);

/* The torch::nn module `name` of a shared object, which must have been compiled against the same
 * libtorch as this library (ACCEL_ERR_UNSUPPORTED otherwise); `arguments`, which may be NULL, is
 * handed to what makes it. The object stays loaded. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_create(const char *library, const char *name,
                                                            const char *arguments,
                                                            const accel_torch_options_t *options,
                                                            accel_torch_module_t **module);

/* Also destroys the accel_model_t; its optimizers go before. Before or after the accelerator; NULL
 * is fine. */
ACCEL_API void accel_torch_destroy(accel_torch_module_t *module);

/* Training mode, or evaluation mode: dropout, BatchNorm. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_train(accel_torch_module_t *module,
                                                           bool training);

/* Record what backward needs? Default: yes. No: forward is cheaper, and backward an error. */
ACCEL_API void accel_torch_set_grad_enabled(accel_torch_module_t *module, bool enabled);

/* Parameters and buffers of floating point in this type. Before accel_torch_model() and
 * accel_torch_map_weights(), ACCEL_ERR_STATE after. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_to(accel_torch_module_t *module,
                                                        accel_dtype_t dtype);

/* Train the parameters whose name a shell's pattern matches, or freeze them ("layers.[0-3].*").
 * ACCEL_ERR_NOT_FOUND if it matches none. Before accel_torch_model(), ACCEL_ERR_STATE after. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_requires_grad(accel_torch_module_t *module,
                                                                   const char *pattern,
                                                                   bool requires_grad);

/* Parameters and buffers, in the module's order, numbered as those of the model: a tensor that
 * several layers share ("tied") is there once, under its first name. */
ACCEL_API int64_t accel_torch_num_tensors(const accel_torch_module_t *module);

/* `value` is where it is now; `gradient` is NULL unless the model was made. Valid until
 * the next call with this module. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_tensor(accel_torch_module_t *module,
                                                            int64_t index,
                                                            accel_parameter_t *tensor);

/* The module as a model, for accel_prepare(), optimizers, clipping and all else. It is the
 * module's. Its backward is autograd, which says as it goes which gradient is ready, so that
 * reduction begins meanwhile. Tensors follow when the library moves them: parameters lie in the
 * arena while the model is prepared, one copy for all processes of the host. A second call gives
 * the same model.
 *
 * Parameters that take part are float32 or float64. One that no process used is left out of the
 * step, as in Python: the model is made with find_unused_parameters (accel/model.h). */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_model(accel_torch_module_t *module,
                                                           accel_model_t **model);

/* ---- one step ---- */

/* Compute forward() of `num_inputs` compact CPU tensors. Where the method wants a number, a tensor
 * of one element is one.
 *
 * The tensors are borrowed until backward has returned, or the next forward: autograd computes with
 * them again. A batch of a loader with keep_batches = 1 is, if backward comes before the next
 * ACCEL_NEXT. One that was overwritten is found by a sample of its bytes and refused by backward.
 *
 * What a forward before gave is over. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_forward(accel_torch_module_t *module,
                                                             const accel_tensor_t *inputs,
                                                             int32_t num_inputs);

/* The same with another method. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_call(accel_torch_module_t *module,
                                                          const char *method,
                                                          const accel_tensor_t *inputs,
                                                          int32_t num_inputs);

/* What the last forward gave: tensors, numbers (0-d) and what tuples, lists and dictionaries of
 * them hold, in order. */
ACCEL_API int32_t accel_torch_num_outputs(const accel_torch_module_t *module);

/* A compact view, valid until the next forward. Low-precision floats are converted to float32, as
 * Accelerate does; bool becomes uint8. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_output(accel_torch_module_t *module,
                                                            int32_t index,
                                                            const accel_tensor_t **output);

/* Backward begins at one of these, whichever was called last after the forward; at output 0 if none
 * was, which must be a scalar then. *loss (may be NULL) is its value on this process. */

/* The module computes its loss: output `index`, a scalar. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_loss(accel_torch_module_t *module,
                                                          int32_t index, double *loss);

/* torch.nn.functional.cross_entropy(output 0, target): logits [..., classes], flattened to rows,
 * and as many int64 classes; the mean over the rows but for those whose class is -100. (Not torch's
 * layout [rows, classes, ...].) `target` is borrowed as inputs are. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_cross_entropy(accel_torch_module_t *module,
                                                                   const accel_tensor_t *target,
                                                                   double *loss);

/* torch.nn.functional.mse_loss(output 0, target), of equal shapes: the mean. `target` is borrowed
 * as inputs are. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_mse_loss(accel_torch_module_t *module,
                                                              const accel_tensor_t *target,
                                                              double *loss);

/* A loss of the program's own: dLoss/d(output `index`), of its shape. Borrowed until backward. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_set_output_gradient(
    accel_torch_module_t *module, int32_t index, const accel_tensor_t *gradient);

/* For a module that is a part of a model, or to ask what an input does: keep the gradients of the
 * inputs that are of floating point? From the next forward on; default: no. */
ACCEL_API void accel_torch_set_input_grad_enabled(accel_torch_module_t *module, bool enabled);

/* After backward: dLoss/d(input `index`) of the last forward, times accel_gradient_scale() as the
 * parameters' are; of this process, and of the input's shape and dtype. Zeros where the loss does
 * not depend on it. Valid until the next forward. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_input_gradient(
    accel_torch_module_t *module, int32_t index, const accel_tensor_t **gradient);

/* Compute forward and the losses above in ACCEL_BF16, or from libtorch 2.4 on in ACCEL_F16, where
 * that is safe; ACCEL_F32: as they are. Parameters and gradients keep their type. For mixed
 * precision as the accelerator has it:
 *     accel_torch_set_autocast(module, accel_autocast_dtype(accelerator)) */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_set_autocast(accel_torch_module_t *module,
                                                                  accel_dtype_t dtype);

/* ---- weights ---- */

/* What Python reads: a module from accel_torch_load() as a TorchScript archive, one from
 * accel_torch_create() as torch::save writes it. Local: call it on the main process. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_save(accel_torch_module_t *module,
                                                          const char *path);

/* Parameters and buffers as a safetensors file, as safetensors.torch.save_model writes it: tied
 * ones once, under the name that sorts first, with the others in the metadata. Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_save_weights(accel_torch_module_t *module,
                                                                  const char *path);

/* Values from such a file, of the same names, dtypes and shapes: all parameters must be there,
 * buffers may be missing, others are ignored. Before accel_prepare(), ACCEL_ERR_STATE after.
 * Local. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_load_weights(accel_torch_module_t *module,
                                                                  const char *path);

/* For inference: parameters are where the file is mapped, read-only, one copy in memory for all
 * processes of the host, whoever they are. They are frozen. Not after accel_torch_model(). The file
 * must stay as it is: put a new one in its place by renaming. With `mmap` the archive's own
 * parameters, which these replace, are never read. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_map_weights(accel_torch_module_t *module,
                                                                 const char *path);

/* ---- the process ---- */

/* Of the libtorch this is built against: "2.13". */
ACCEL_API const char *accel_torch_version(void);

/* torch.set_num_threads and torch.set_num_interop_threads; 0: leave it. The second can be set once
 * in a process, and later calls leave it, too. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_set_num_threads(int32_t num_threads,
                                                                     int32_t num_interop_threads);
ACCEL_API int32_t accel_torch_get_num_threads(void);

/* torch.manual_seed: dropout and the like. The same on every rank gives the same masks there.
 * Accelerate's set_seed(seed, device_specific=True):
 *     accel_torch_manual_seed(accel_set_seed(accelerator, seed, true)) */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_manual_seed(uint64_t seed);

/* torch.use_deterministic_algorithms: what has no deterministic way to be computed is an error
 * then, or with warn_only a warning of libtorch's. Of the process. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_use_deterministic_algorithms(bool mode,
                                                                                  bool warn_only);

/* torch.get_rng_state and set_rng_state, byte by byte. *size is the room in `state`, and becomes
 * how many bytes the state has; with `state` NULL only that. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_get_rng_state(void *state, size_t *size);
ACCEL_API ACCEL_NODISCARD accel_status_t accel_torch_set_rng_state(const void *state, size_t size);

#ifdef __cplusplus
}
#endif

#endif
