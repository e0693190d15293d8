/* SPDX-License-Identifier: Apache-2.0 */
/* <accel/torch.h>: arguments are checked, and exceptions end here. */
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <system_error>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <accel/torch/accelerator.hpp>
#include <accel/torch/blas.hpp>
#include <accel/torch/loaded.hpp>

#include "module.hpp"

using engine::Error;
using engine::guarded;

namespace
{
template <typename Pointer> void require(const Pointer *pointer, const char *what)
{
    if (!pointer)
        throw Error(ACCEL_ERR_INVALID, std::string(what) + " is NULL");
}

/* A call with a module. */
template <typename Action>
accel_status_t with(accel_torch_module_t *module, const char *function, const Action &action)
{
    return guarded(function, [&] {
        require(module, "module");
        action();
    });
}

accel_torch_options_t read_options(const accel_torch_options_t *given)
{
    accel_torch_options_t options = accel_torch_options_init();

    if (!given)
        return options;
    size_t known = std::min(given->struct_size, sizeof(options));
    const auto *bytes = reinterpret_cast<const unsigned char *>(given);
    for (size_t i = known; i < given->struct_size; i++)
        if (bytes[i])
            throw Error(ACCEL_ERR_UNSUPPORTED, "the options have a field that this version of "
                                               "libaccel_torch does not know");
    std::memcpy(&options, given, known);
    if (options.jit_optimize < ACCEL_DEFAULT || options.jit_optimize > ACCEL_OFF)
        throw Error(ACCEL_ERR_INVALID, "jit_optimize is " + std::to_string(options.jit_optimize) +
                                           "; expected ACCEL_ON, ACCEL_OFF or 0");
    if (!(options.bucket_cap_mb >= 0))
        throw Error(ACCEL_ERR_INVALID, "bucket_cap_mb is negative");
    return options;
}

/* Once a process: is it the right libtorch, its share of the cores, and a word on the BLAS. */
void settle_in(const accel_t *accelerator)
{
    static std::once_flag checked, warned;

    std::call_once(checked, accel::detail::check_loaded_version);
    accel::detail::share_cores(accel_num_processes(accelerator));
    accel::detail::keep_freed_memory();
    if (accel_is_local_main_process(accelerator))
        std::call_once(warned, accel::warn_of_slow_blas);
}

template <typename Make>
accel_status_t make(const char *function, const char *name, const accel_torch_options_t *options,
                    accel_torch_module_t **module, const Make &net)
{
    if (module)
        *module = nullptr;
    return guarded(function, [&] {
        require(module, "module");
        require(name, "the name");
        accel_torch_options_t read = read_options(options);

        settle_in(read.accelerator);
        *module = new accel_torch_module(net(read), name, read);
    });
}

void require_inputs(const accel_tensor_t *inputs, int32_t num_inputs)
{
    if (num_inputs < 0 || (num_inputs > 0 && !inputs))
        throw Error(ACCEL_ERR_INVALID, "the inputs are NULL, or their number is negative");
}

/* Under another name at first: `path` is the old file, or the new one whole, and a module whose
 * tensors are in the old one has them still. */
void save(const engine::Net &net, const std::string &path)
{
    std::string made = path + ".partial";

    try {
        net.save(made);
    } catch (...) {
        (void)std::remove(made.c_str());
        throw;
    }
    if (std::rename(made.c_str(), path.c_str()) == 0)
        return;
    int error = errno;
    (void)std::remove(made.c_str());
    throw Error(ACCEL_ERR_IO,
                "'" + path + "' cannot be replaced: " + std::generic_category().message(error));
}

void give(double *destination, double value)
{
    if (destination)
        *destination = value;
}
} // namespace

extern "C" {
/* ---- modules ---- */

accel_status_t accel_torch_load(const char *path, const accel_torch_options_t *options,
                                accel_torch_module_t **module)
{
    return make("accel_torch_load", path, options, module, [&](const auto &read) {
        return engine::load_script(path, read.jit_optimize == ACCEL_ON, read.mmap);
    });
}

accel_status_t accel_torch_create(const char *library, const char *name, const char *arguments,
                                  const accel_torch_options_t *options,
                                  accel_torch_module_t **module)
{
    return make("accel_torch_create", name, options, module, [&](const auto &read) {
        require(library, "the library");
        if (read.mmap)
            throw Error(ACCEL_ERR_INVALID, "mmap is for archives: map a file's weights by "
                                           "accel_torch_map_weights()");
        return engine::create_module(library, name, arguments ? arguments : "");
    });
}

void accel_torch_destroy(accel_torch_module_t *module)
{
    (void)guarded("accel_torch_destroy", [&] { delete module; });
}

accel_status_t accel_torch_train(accel_torch_module_t *module, bool training)
{
    return with(module, "accel_torch_train", [&] { module->net().train(training); });
}

void accel_torch_set_grad_enabled(accel_torch_module_t *module, bool enabled)
{
    if (module)
        module->set_grad_enabled(enabled);
}

accel_status_t accel_torch_to(accel_torch_module_t *module, accel_dtype_t dtype)
{
    return with(module, "accel_torch_to", [&] {
        if (accel_dtype_size(dtype) == 0)
            throw Error(ACCEL_ERR_INVALID, std::to_string(dtype) + " is no dtype");
        module->to(accel::detail::to_scalar_type(dtype));
    });
}

accel_status_t accel_torch_requires_grad(accel_torch_module_t *module, const char *pattern,
                                         bool requires_grad)
{
    return with(module, "accel_torch_requires_grad", [&] {
        require(pattern, "the pattern");
        module->requires_grad(pattern, requires_grad);
    });
}

int64_t accel_torch_num_tensors(const accel_torch_module_t *module)
{
    return module ? static_cast<int64_t>(module->blocks().size()) : 0;
}

accel_status_t accel_torch_tensor(accel_torch_module_t *module, int64_t index,
                                  accel_parameter_t *tensor)
{
    return with(module, "accel_torch_tensor", [&] {
        require(tensor, "tensor");
        if (index < 0 || index >= accel_torch_num_tensors(module))
            throw Error(ACCEL_ERR_INVALID, "there is no tensor " + std::to_string(index) +
                                               "; the module has " +
                                               std::to_string(accel_torch_num_tensors(module)));
        module->place();
        const engine::Block &block = module->blocks()[static_cast<size_t>(index)];
        *tensor = {block.names[0].c_str(),
                   block.kind,
                   block.dtype,
                   static_cast<int32_t>(block.shape.size()),
                   block.shape.data(),
                   block.dtype,
                   block.value,
                   block.kind == ACCEL_TRAINABLE ? block.slot : nullptr};
    });
}

accel_status_t accel_torch_model(accel_torch_module_t *module, accel_model_t **model)
{
    if (model)
        *model = nullptr;
    return with(module, "accel_torch_model", [&] {
        require(model, "model");
        *model = module->model();
    });
}

/* ---- one step ---- */

accel_status_t accel_torch_forward(accel_torch_module_t *module, const accel_tensor_t *inputs,
                                   int32_t num_inputs)
{
    return with(module, "accel_torch_forward", [&] {
        require_inputs(inputs, num_inputs);
        module->forward("forward", inputs, num_inputs);
    });
}

accel_status_t accel_torch_call(accel_torch_module_t *module, const char *method,
                                const accel_tensor_t *inputs, int32_t num_inputs)
{
    return with(module, "accel_torch_call", [&] {
        require(method, "the method");
        require_inputs(inputs, num_inputs);
        module->forward(method, inputs, num_inputs);
    });
}

int32_t accel_torch_num_outputs(const accel_torch_module_t *module)
{
    return module ? module->num_outputs() : 0;
}

accel_status_t accel_torch_output(accel_torch_module_t *module, int32_t index,
                                  const accel_tensor_t **output)
{
    if (output)
        *output = nullptr;
    return with(module, "accel_torch_output", [&] {
        require(output, "output");
        *output = module->output(index);
    });
}

accel_status_t accel_torch_loss(accel_torch_module_t *module, int32_t index, double *loss)
{
    return with(module, "accel_torch_loss", [&] { give(loss, module->begin_at_output(index)); });
}

accel_status_t accel_torch_cross_entropy(accel_torch_module_t *module, const accel_tensor_t *target,
                                         double *loss)
{
    return with(module, "accel_torch_cross_entropy",
                [&] { give(loss, module->cross_entropy(target)); });
}

accel_status_t accel_torch_mse_loss(accel_torch_module_t *module, const accel_tensor_t *target,
                                    double *loss)
{
    return with(module, "accel_torch_mse_loss", [&] { give(loss, module->mse_loss(target)); });
}

accel_status_t accel_torch_set_output_gradient(accel_torch_module_t *module, int32_t index,
                                               const accel_tensor_t *gradient)
{
    return with(module, "accel_torch_set_output_gradient",
                [&] { module->set_output_gradient(index, gradient); });
}

void accel_torch_set_input_grad_enabled(accel_torch_module_t *module, bool enabled)
{
    if (module)
        module->set_input_grad_enabled(enabled);
}

accel_status_t accel_torch_input_gradient(accel_torch_module_t *module, int32_t index,
                                          const accel_tensor_t **gradient)
{
    if (gradient)
        *gradient = nullptr;
    return with(module, "accel_torch_input_gradient", [&] {
        require(gradient, "gradient");
        *gradient = module->input_gradient(index);
    });
}

accel_status_t accel_torch_set_autocast(accel_torch_module_t *module, accel_dtype_t dtype)
{
    return with(module, "accel_torch_set_autocast", [&] { module->set_autocast(dtype); });
}

/* ---- weights ---- */

accel_status_t accel_torch_save(accel_torch_module_t *module, const char *path)
{
    return with(module, "accel_torch_save", [&] {
        require(path, "the path");
        module->place();
        save(module->net(), path);
    });
}

accel_status_t accel_torch_save_weights(accel_torch_module_t *module, const char *path)
{
    return with(module, "accel_torch_save_weights", [&] {
        require(path, "the path");
        module->save_weights(path);
    });
}

accel_status_t accel_torch_load_weights(accel_torch_module_t *module, const char *path)
{
    return with(module, "accel_torch_load_weights", [&] {
        require(path, "the path");
        module->load_weights(path);
    });
}

accel_status_t accel_torch_map_weights(accel_torch_module_t *module, const char *path)
{
    return with(module, "accel_torch_map_weights", [&] {
        require(path, "the path");
        module->map_weights(path);
    });
}

/* ---- the process ---- */

#define TEXT(number) #number
#define VERSION(major, minor) TEXT(major) "." TEXT(minor)
const char *accel_torch_version(void)
{
    return VERSION(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR);
}

accel_status_t accel_torch_set_num_threads(int32_t num_threads, int32_t num_interop_threads)
{
    return guarded("accel_torch_set_num_threads", [&] {
        static std::once_flag interop;

        if (num_threads < 0 || num_interop_threads < 0)
            throw Error(ACCEL_ERR_INVALID, "the number of threads is negative");
        if (num_threads > 0)
            at::set_num_threads(num_threads);
        if (num_interop_threads > 0) /* libtorch throws the second time */
            std::call_once(interop, [&] { at::set_num_interop_threads(num_interop_threads); });
    });
}

int32_t accel_torch_get_num_threads(void)
{
    return at::get_num_threads();
}

accel_status_t accel_torch_manual_seed(uint64_t seed)
{
    return guarded("accel_torch_manual_seed", [&] { at::manual_seed(seed); });
}

accel_status_t accel_torch_use_deterministic_algorithms(bool mode, bool warn_only)
{
    return guarded("accel_torch_use_deterministic_algorithms",
                   [&] { at::globalContext().setDeterministicAlgorithms(mode, warn_only); });
}

accel_status_t accel_torch_get_rng_state(void *state, size_t *size)
{
    return guarded("accel_torch_get_rng_state", [&] {
        require(size, "size");
        at::Generator generator = at::detail::getDefaultCPUGenerator();
        std::lock_guard<std::mutex> lock(generator.mutex());
        at::Tensor bytes = generator.get_state();
        size_t room = *size;

        *size = bytes.nbytes();
        if (state && room < *size)
            throw Error(ACCEL_ERR_INVALID, "there is room for " + std::to_string(room) +
                                               " bytes; the state has " + std::to_string(*size));
        if (state)
            std::memcpy(state, bytes.data_ptr(), *size);
    });
}

accel_status_t accel_torch_set_rng_state(const void *state, size_t size)
{
    return guarded("accel_torch_set_rng_state", [&] {
        require(state, "state");
        at::Generator generator = at::detail::getDefaultCPUGenerator();
        std::lock_guard<std::mutex> lock(generator.mutex());
        at::Tensor bytes = at::empty({static_cast<int64_t>(size)}, at::kByte);

        std::memcpy(bytes.data_ptr(), state, size);
        generator.set_state(bytes);
    });
}
} /* extern "C" */
