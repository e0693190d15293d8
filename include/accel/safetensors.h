/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors in a safetensors file: what Python's safetensors, PyTorch and Hugging Face's hub read and
 * write.
 *
 *     accel_safetensors_t *file;
 *     ACCEL_CHECK(accel_safetensors_open("model.safetensors", &file));
 *     const accel_tensor_t *weight;
 *     ACCEL_CHECK(accel_safetensors_tensor(file, "fc1.weight", &weight));   // a view, no copy
 *     ...
 *     accel_safetensors_close(file);
 *
 * A file is mapped, read-only and shared: however many processes of a host open it, its tensors
 * are in memory once, and only as far as they are used. All calls are local; a file may be
 * used by several threads. What a hostile file may say is checked when it is opened. The file must
 * keep its length while it is open: a read beyond a truncated end gets SIGBUS.
 *
 * Format: 8 bytes with the length of the header, little-endian; the header, a JSON object
 * {name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}; the
 * tensors, row-major, little-endian, one after the other without gaps. */
#ifndef ACCEL_SAFETENSORS_H
#define ACCEL_SAFETENSORS_H

#include <accel/options.h>
#include <accel/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accel_safetensors accel_safetensors_t;

/* ACCEL_ERR_FORMAT names what is wrong, and where. On failure *file is NULL. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_safetensors_open(const char *path,
                                                                accel_safetensors_t **file);

/* Its views end with it. NULL is fine. */
ACCEL_API void accel_safetensors_close(accel_safetensors_t *file);

/* Tensors, in the order in which they lie in the file. */
ACCEL_API int64_t accel_safetensors_num_tensors(const accel_safetensors_t *file);
/* NULL: there is no tensor of that number. */
ACCEL_API const char *accel_safetensors_name(const accel_safetensors_t *file, int64_t index);
/* Its dtype in the format's words: "F32", "BOOL", ...; NULL as above. */
ACCEL_API const char *accel_safetensors_dtype(const accel_safetensors_t *file, int64_t index);

/* A view into the file: writing to it faults. Bools are ACCEL_U8, 0 or 1. ACCEL_ERR_NOT_FOUND,
 * naming the nearest; ACCEL_ERR_UNSUPPORTED for a dtype that accel does not know (int8, float8,
 * ...), more dimensions than ACCEL_MAX_NDIM, or a tensor that does not lie at a multiple of its
 * element's size. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_safetensors_tensor(const accel_safetensors_t *file,
                                                                  const char *name,
                                                                  const accel_tensor_t **tensor);

/* Copy a tensor into `destination`, compact CPU memory of the same dtype and shape, wherever it
 * lies in the file. */
ACCEL_API ACCEL_NODISCARD accel_status_t accel_safetensors_read(const accel_safetensors_t *file,
                                                                const char *name,
                                                                accel_tensor_t *destination);

/* The text of that key of "__metadata__"; NULL: none. Valid as long as the file. */
ACCEL_API const char *accel_safetensors_metadata(const accel_safetensors_t *file, const char *key);

/* What to write: compact CPU tensors, borrowed. */
typedef struct accel_named_tensor {
    const char *name;
    const accel_tensor_t *tensor;
} accel_named_tensor_t;

typedef struct accel_safetensors_options {
    size_t struct_size;
    const char *const *metadata; /* key, value, key, value, ..., NULL; NULL: {"format": "pt"} */
    bool fsync;                  /* on the disk when the call returns, not only in the cache */
    const char *const *bools;    /* names of ACCEL_U8 tensors, 0 or 1, that are bools there; ...,
                                    NULL; NULL: none */
} accel_safetensors_options_t;

ACCEL__OPTIONS_INIT(accel_safetensors_options)
#define ACCEL_SAFETENSORS_OPTIONS(...) ACCEL__OPTIONS(accel_safetensors_options_t, __VA_ARGS__)

/* Write a file under a temporary name beside `path` and rename it: `path` is at all times the old
 * file, or the new one whole. Tensors are ordered as the stock library orders them: the
 * widest dtypes first, then by name. Names are unique UTF-8, and not "__metadata__". */
ACCEL_API ACCEL_NODISCARD accel_status_t
accel_safetensors_save(const char *path, const accel_named_tensor_t *tensors, int64_t num_tensors,
                       const accel_safetensors_options_t *options);

#ifdef __cplusplus
}
#endif

#endif
