/* SPDX-License-Identifier: Apache-2.0 */
/* at::Tensor at the library's border. */
#ifndef ACCEL_TORCH_TENSOR_HPP
#define ACCEL_TORCH_TENSOR_HPP

#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <accel/torch/error.hpp>
#include <accel/torch/version.hpp>
#include <accel/types.h>

namespace accel
{
namespace detail
{
/* False: the library has no such type. */
inline bool to_dtype(at::ScalarType type, accel_dtype_t *dtype)
{
    switch (type) {
    case at::kFloat:
        *dtype = ACCEL_F32;
        return true;
    case at::kDouble:
        *dtype = ACCEL_F64;
        return true;
    case at::kHalf:
        *dtype = ACCEL_F16;
        return true;
    case at::kBFloat16:
        *dtype = ACCEL_BF16;
        return true;
    case at::kInt:
        *dtype = ACCEL_I32;
        return true;
    case at::kLong:
        *dtype = ACCEL_I64;
        return true;
    case at::kByte:
    case at::kBool: /* a byte, 0 or 1 */
        *dtype = ACCEL_U8;
        return true;
    default:
        return false;
    }
}

inline at::ScalarType to_scalar_type(accel_dtype_t dtype)
{
    switch (dtype) {
    case ACCEL_F32:
        return at::kFloat;
    case ACCEL_F64:
        return at::kDouble;
    case ACCEL_F16:
        return at::kHalf;
    case ACCEL_BF16:
        return at::kBFloat16;
    case ACCEL_I32:
        return at::kInt;
    case ACCEL_I64:
        return at::kLong;
    case ACCEL_U8:
        return at::kByte;
    }
    throw Error(ACCEL_ERR_INTERNAL, "a tensor of the library has no dtype");
}

/* "Float [2, 3]" */
inline std::string describe(const at::Tensor &tensor)
{
    std::string text = std::string(toString(tensor.scalar_type())) + " [";

    for (int64_t i = 0; i < tensor.dim(); i++)
        text += (i ? ", " : "") + std::to_string(tensor.size(i));
    return text + "]";
}

inline std::string text_of(const std::exception &error)
{
    const auto *torch_error = dynamic_cast<const c10::Error *>(&error);

    return torch_error ? torch_error->what_without_backtrace() : error.what();
}

/* Was there no memory? libtorch's allocator for the CPU says it by its text alone, which is also
 * what TorchScript makes of any exception. */
inline bool is_out_of_memory(const std::exception &error)
{
    if (const auto *ours = dynamic_cast<const Error *>(&error))
        return ours->status() == ACCEL_ERR_NO_MEMORY;
    if (dynamic_cast<const std::bad_alloc *>(&error) ||
        dynamic_cast<const c10::OutOfMemoryError *>(&error))
        return true;
    return text_of(error).find("DefaultCPUAllocator: ") != std::string::npos;
}

/* A few of the bytes: enough to see that an optimizer has been here, at next to no cost. (torch's
 * own count of versions does not: its optimizers write past it.) */
inline uint64_t fingerprint(const at::Tensor &tensor)
{
    const auto *bytes = static_cast<const unsigned char *>(tensor.data_ptr());
    auto width = static_cast<size_t>(tensor.element_size());
    auto count = static_cast<size_t>(tensor.numel());
    uint64_t print = 0;

    for (size_t at : {size_t(0), count / 3, count / 2, count - 1}) {
        uint64_t element = 0;

        if (at < count)
            std::memcpy(&element, bytes + at * width, width);
        print = print * 0x9e3779b97f4a7c15u + element;
    }
    return print;
}

inline void check_cpu(const at::Tensor &tensor, const std::string &what)
{
    if (!tensor.defined())
        throw Error(ACCEL_ERR_INVALID, what + ": the tensor is undefined");
    if (!tensor.device().is_cpu())
        throw Error(ACCEL_ERR_UNSUPPORTED, what + ": the tensor is on " + tensor.device().str() +
                                               "; expected a CPU tensor: call .cpu() first");
    if (tensor.layout() != at::kStrided)
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    what + ": the tensor is sparse; expected a dense one: call .to_dense() first");
}

/* A compact tensor as the library sees it; strided input is copied. */
class TensorView
{
public:
    TensorView(const at::Tensor &tensor, const char *what)
    {
        accel_dtype_t dtype;

        check_cpu(tensor, what);
        if (!to_dtype(tensor.scalar_type(), &dtype))
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        std::string(what) + ": the tensor is " + toString(tensor.scalar_type()) +
                            "; expected Float, Double, Half, BFloat16, Int, Long, Byte or Bool");
        if (tensor.dim() > ACCEL_MAX_NDIM)
            throw Error(ACCEL_ERR_UNSUPPORTED,
                        std::string(what) + ": the tensor has " + std::to_string(tensor.dim()) +
                            " dimensions; expected at most " + std::to_string(ACCEL_MAX_NDIM));
        compact_ = tensor.detach().contiguous();
        accel_tensor_view(&view_, compact_.data_ptr(), dtype, static_cast<int32_t>(compact_.dim()),
                          compact_.sizes().data());
    }
    TensorView(const TensorView &) = delete;
    TensorView &operator=(const TensorView &) = delete;

    accel_tensor_t *get() { return &view_; }
    const at::Tensor &compact() const { return compact_; }

private:
    at::Tensor compact_;
    accel_tensor_t view_;
};

/* Take over what the library made, without a copy. */
inline at::Tensor take(accel_tensor_t *made, at::ScalarType type)
{
    at::ScalarType stored = to_scalar_type(made->dtype);
    at::Tensor tensor = at::from_blob(
        made->data, at::IntArrayRef(made->shape, static_cast<size_t>(made->ndim)),
        [made](void *) { accel_tensor_destroy(made); }, at::TensorOptions().dtype(stored));

    return stored == type ? tensor : tensor.to(type);
}
} // namespace detail
} // namespace accel

#endif
