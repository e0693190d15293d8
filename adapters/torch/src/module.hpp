/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind an accel_torch_module_t. */
#ifndef ACCEL_TORCH_SRC_MODULE_HPP
#define ACCEL_TORCH_SRC_MODULE_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <accel/safetensors.h>
#include <accel/torch.h>
#include <accel/torch/hook.hpp>
#include <accel/torch/tensor.hpp>

#include "guard.hpp"
#include "net.hpp"

namespace engine
{
/* Memory that is there when it is written, and can be given back while its addresses stay. */
class Pages
{
public:
    Pages() = default;
    ~Pages();
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;

    void reserve(size_t size);
    void release_memory() const; /* it reads as zeros then */
    char *data() const { return data_; }
    bool holds(const void *address) const;

private:
    char *data_ = nullptr;
    size_t size_ = 0;
};

/* A parameter or buffer. The library knows it by the address of `value`, and re-points that; the
 * tensor follows before it is used next. */
struct Block {
    std::vector<std::string> names; /* several if it is tied; the first is the library's */
    at::Tensor tensor;              /* the module's own */
    accel_parameter_kind_t kind;
    accel_dtype_t dtype;
    std::vector<int64_t> shape;
    void *value = nullptr, *placed = nullptr; /* where the values are, and where the tensor is */
    uint64_t print = 0;                       /* of the values that the last forward saw */

    at::Tensor gradient; /* a view of `slot`, which the tensor's .grad() is */
    void *slot = nullptr, *placed_slot = nullptr;
    std::unique_ptr<accel::detail::GradientHook> hook;
};

/* What one forward leaves. */
struct Run {
    std::string method;
    Tensors inputs, outputs;
    Tensors leaves; /* the inputs whose gradients are wanted; undefined: it can have none */
    std::vector<uint64_t> prints; /* of the inputs */
    std::vector<std::unique_ptr<accel::detail::TensorView>> views, gradients;
    bool done = false;              /* backward was here */
    at::Tensor root, root_gradient; /* where backward begins; undefined: 1 */
};

using accel::detail::describe;
/* A tensor on the caller's memory. */
at::Tensor borrow(const accel_tensor_t *tensor, const std::string &what);
} // namespace engine

struct accel_torch_module {
public:
    accel_torch_module(std::unique_ptr<engine::Net> net, std::string name,
                       const accel_torch_options_t &options);
    ~accel_torch_module();
    accel_torch_module(const accel_torch_module &) = delete;
    accel_torch_module &operator=(const accel_torch_module &) = delete;

    /* module.cpp */
    const std::vector<engine::Block> &blocks() const { return blocks_; }
    engine::Net &net() { return *net_; }
    void to(at::ScalarType type);
    void requires_grad(const char *pattern, bool requires_grad);
    void refuse_prepared(const char *why) const;

    /* model.cpp: memory, and the library's model */
    accel_model_t *model();
    bool is_prepared() const;
    void place(); /* tensors to where the library has put their values */
    void take_prints();
    void check_prints() const; /* are they as the forward saw them? */

    /* run.cpp */
    void forward(const char *method, const accel_tensor_t *inputs, int32_t num_inputs);
    int32_t num_outputs() const { return static_cast<int32_t>(run_.outputs.size()); }
    const accel_tensor_t *output(int32_t index);
    double begin_at_output(int32_t index);
    double cross_entropy(const accel_tensor_t *target);
    double mse_loss(const accel_tensor_t *target);
    void set_output_gradient(int32_t index, const accel_tensor_t *gradient);
    void backward(double scale);
    void set_grad_enabled(bool enabled) { grad_enabled_ = enabled; }
    void set_input_grad_enabled(bool enabled) { input_grad_enabled_ = enabled; }
    const accel_tensor_t *input_gradient(int32_t index);
    void set_autocast(accel_dtype_t dtype);

    /* weights.cpp */
    void save_weights(const char *path);
    void load_weights(const char *path);
    void map_weights(const char *path);

private:
    void collect();
    void add(const std::string &name, const at::Tensor &tensor, accel_parameter_kind_t kind);
    void find_buffers();

    void make_model();
    void own_memory();
    void register_blocks();
    void place(engine::Block &block) const;
    void place_gradient(engine::Block &block) const;
    void begin_gradients();
    void ready(engine::Block &block, int64_t index);

    const at::Tensor &find_output(int32_t index) const;
    void begin_at(const at::Tensor &loss);
    double begin_at_loss(const accel_tensor_t *target,
                         at::Tensor (*loss)(const at::Tensor &output, const at::Tensor &target));
    void check_inputs() const;

    std::string name_; /* for messages */
    double bucket_cap_mb_;
    std::unique_ptr<engine::Net> net_;
    std::vector<engine::Block> blocks_; /* parameters, then buffers; the library has addresses */
    size_t num_parameters_ = 0;
    engine::Pages values_, gradients_;
    bool in_arena_ = false;
    accel_model_t *model_ = nullptr;
    accel_safetensors_t *weights_ = nullptr; /* mapped */
    bool grad_enabled_ = true, input_grad_enabled_ = false;
    accel_dtype_t autocast_ = ACCEL_F32;
    engine::Run run_;
};

#endif
