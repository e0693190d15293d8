/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and buffers in safetensors files, under Python's names. */
#include "module.hpp"

#include <algorithm>

using engine::Block;
using engine::check;
using engine::Error;

namespace
{
class File
{
public:
    explicit File(const char *path) { check(accel_safetensors_open(path, &file_)); }
    ~File() { accel_safetensors_close(file_); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    /* Under any of its names; NULL: it is not there. */
    const char *find(const Block &block) const
    {
        for (int64_t i = 0; i < accel_safetensors_num_tensors(file_); i++) {
            const char *name = accel_safetensors_name(file_, i);

            if (std::find(block.names.begin(), block.names.end(), name) != block.names.end())
                return name;
        }
        return nullptr;
    }

    const accel_tensor_t *tensor(const char *name) const
    {
        const accel_tensor_t *tensor;

        check(accel_safetensors_tensor(file_, name, &tensor));
        return tensor;
    }

    accel_safetensors_t *release() { return std::exchange(file_, nullptr); }

private:
    accel_safetensors_t *file_ = nullptr;
};

/* A view of the file that fits the block. */
at::Tensor fitting(const File &file, const char *name, const Block &block)
{
    at::Tensor found = engine::borrow(file.tensor(name), std::string("'") + name + "'");

    if (found.sizes() != block.tensor.sizes() ||
        (found.scalar_type() != block.tensor.scalar_type() && block.kind != ACCEL_BUFFER))
        throw Error(ACCEL_ERR_MISMATCH, std::string("'") + name + "' is " +
                                            engine::describe(found) + " in the file; expected " +
                                            engine::describe(block.tensor));
    return found;
}

/* Of all parameters, and of buffers that are there: where in the file they are. */
std::vector<at::Tensor> find_all(const File &file, const std::vector<Block> &blocks)
{
    std::vector<at::Tensor> found(blocks.size());

    for (size_t i = 0; i < blocks.size(); i++) {
        const char *name = file.find(blocks[i]);

        if (!name && blocks[i].kind != ACCEL_BUFFER)
            throw Error(ACCEL_ERR_NOT_FOUND,
                        "parameter '" + blocks[i].names[0] + "' is not in the file");
        if (name && blocks[i].tensor.scalar_type() != at::kBool)
            found[i] = fitting(file, name, blocks[i]);
    }
    return found;
}
} // namespace

void accel_torch_module::save_weights(const char *path)
{
    using accel::detail::TensorView;
    std::vector<std::unique_ptr<TensorView>> views;
    std::vector<accel_named_tensor_t> named;
    std::vector<const char *> metadata{"format", "pt"};
    auto options = accel_safetensors_options_init();

    place();
    for (const Block &block : blocks_) {
        const std::string &name = *std::min_element(block.names.begin(), block.names.end());

        views.push_back(std::make_unique<TensorView>(block.tensor, name.c_str()));
        named.push_back({name.c_str(), views.back()->get()});
        for (const std::string &other : block.names)
            if (other != name)
                metadata.insert(metadata.end(), {other.c_str(), name.c_str()});
    }
    metadata.push_back(nullptr);
    options.metadata = metadata.data();
    check(accel_safetensors_save(path, named.data(), static_cast<int64_t>(named.size()), &options));
}

void accel_torch_module::load_weights(const char *path)
{
    File file(path);

    place();
    if (is_prepared())
        throw Error(ACCEL_ERR_STATE, "the module's model is prepared, so that its parameters are "
                                     "one copy for all processes; load before accel_prepare()");
    std::vector<at::Tensor> found = find_all(file, blocks_);
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < blocks_.size(); i++)
        if (found[i].defined())
            blocks_[i].tensor.detach().copy_(found[i]);
}

void accel_torch_module::map_weights(const char *path)
{
    refuse_prepared("map");
    File file(path);
    std::vector<at::Tensor> found = find_all(file, blocks_);

    at::NoGradGuard no_grad;
    for (size_t i = 0; i < blocks_.size(); i++) {
        Block &block = blocks_[i];

        if (!found[i].defined())
            continue;
        if (i >= num_parameters_) {
            block.tensor.detach().copy_(found[i]); /* buffers are written: a process's own */
            continue;
        }
        block.tensor.set_requires_grad(false);
        block.tensor.set_data(found[i]);
        block.kind = ACCEL_FROZEN;
        block.value = block.placed = found[i].data_ptr();
    }
    weights_ = file.release();
}
