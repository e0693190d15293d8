/* SPDX-License-Identifier: Apache-2.0 */
/* Element types, devices and tensor views.
 *
 * The library owns no tensor mathematics. A tensor at its border is a view with
 * the memory layout of DLPack's DLTensor, so that a pointer to one can be handed
 * over by a cast. */
#ifndef ACCEL_TYPES_H
#define ACCEL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <accel/export.h>
#include <accel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An element type: DLPack's DLDataType {code, bits, lanes = 1} as the little-endian
 * 32-bit number that its four bytes form. */
typedef enum accel_dtype {
    ACCEL_F32 = 0x00012002,
    ACCEL_F64 = 0x00014002,
    ACCEL_F16 = 0x00011002,
    ACCEL_BF16 = 0x00011004,
    ACCEL_I32 = 0x00012000,
    ACCEL_I64 = 0x00014000,
    ACCEL_U8 = 0x00010801
} accel_dtype_t;

/* DLPack's numbers. */
typedef enum accel_device_type { ACCEL_CPU = 1, ACCEL_CUDA = 2 } accel_device_type_t;

typedef struct {
    accel_device_type_t type;
    int32_t id;
} accel_device_t;

/* A view of an n-dimensional array: owns neither `data` nor `shape`. */
typedef struct accel_tensor {
    void *data;
    accel_device_t device;
    int32_t ndim;
    accel_dtype_t dtype;
    int64_t *shape;   /* ndim extents */
    int64_t *strides; /* in elements; NULL: row-major and compact, as the library makes them */
    uint64_t byte_offset;
} accel_tensor_t;

/* The most dimensions the library handles. */
#define ACCEL_MAX_NDIM 8

/* How the values of the ranks are combined. MEAN divides the sum by the number of
 * processes; on integers it truncates towards zero. */
typedef enum accel_reduction {
    ACCEL_SUM = 0,
    ACCEL_MEAN = 1,
    ACCEL_MAX = 2,
    ACCEL_MIN = 3
} accel_reduction_t;

/* For options whose zero means "default": yes, no, or the default. */
typedef enum accel_tristate { ACCEL_DEFAULT = 0, ACCEL_ON = 1, ACCEL_OFF = 2 } accel_tristate_t;

/* The number zero, in an option of type double whose 0 means "default". */
#define ACCEL_ZERO (-1.0)

/* Bytes of one element; 0 for a value that is no dtype. */
ACCEL_API size_t accel_dtype_size(accel_dtype_t dtype);

/* "float32", "bfloat16", ...: PyTorch's names; "invalid" for a value that is no dtype. */
ACCEL_API const char *accel_dtype_name(accel_dtype_t dtype);

/* Number of elements of a view; -1 if its shape is not valid (a negative extent, an
 * ndim outside 0..ACCEL_MAX_NDIM, or a product beyond INT64_MAX). */
ACCEL_API int64_t accel_tensor_numel(const accel_tensor_t *tensor);

/* Free a tensor the library made (the result of accel_gather, for one), its shape
 * and its data. NULL is fine. Never call it on a view of your own. */
ACCEL_API void accel_tensor_destroy(accel_tensor_t *tensor);

/* Fill in a view of compact CPU memory. What ACCEL_TENSOR calls. Returns `view`. */
ACCEL_API accel_tensor_t *accel_tensor_view(accel_tensor_t *view, const void *data,
                                            accel_dtype_t dtype, int32_t ndim,
                                            const int64_t *shape);

#ifdef __cplusplus
} /* extern "C" */

namespace accel
{
namespace detail
{
struct tensor_view {
    accel_tensor_t view;
    int64_t shape[ACCEL_MAX_NDIM];

    template <typename... Dims>
    tensor_view(const void *data, accel_dtype_t dtype, Dims... dims)
        : shape{static_cast<int64_t>(dims)...}
    {
        static_assert(sizeof...(dims) <= ACCEL_MAX_NDIM, "too many dimensions");
        accel_tensor_view(&view, data, dtype, static_cast<int32_t>(sizeof...(dims)), shape);
    }
    operator accel_tensor_t *() { return &view; }
};

template <typename... Dims> constexpr int32_t count(Dims...)
{
    return static_cast<int32_t>(sizeof...(Dims));
}

struct shape_holder {
    int64_t dims[ACCEL_MAX_NDIM];

    template <typename... Dims> shape_holder(Dims... values) : dims{static_cast<int64_t>(values)...}
    {
    }
    operator const int64_t *() const { return dims; }
};
} // namespace detail
} // namespace accel

#define ACCEL_TENSOR(memory, type, ...) (accel::detail::tensor_view(memory, type, __VA_ARGS__))
#define ACCEL_SHAPE(...) \
    accel::detail::count(__VA_ARGS__), accel::detail::shape_holder(__VA_ARGS__)
#else
/* A view of compact CPU memory: ACCEL_TENSOR(losses, ACCEL_F32, rows). Lives as long
 * as the enclosing block in C, as the full expression in C++. */
#define ACCEL_TENSOR(memory, type, ...)                                                    \
    accel_tensor_view(&(accel_tensor_t){.data = NULL}, memory, type,                       \
                      (int32_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
                      (const int64_t[]){__VA_ARGS__})

/* Two arguments in one: ACCEL_SHAPE(128, 64) is `2, (const int64_t[]){128, 64}`. */
#define ACCEL_SHAPE(...)                                                 \
    (int32_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
        (const int64_t[]){__VA_ARGS__}
#endif

#endif
