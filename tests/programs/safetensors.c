/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors IN OUT: read every tensor that is ours and write it again, with the metadata's
 * format. */
#include <stdlib.h>
#include <string.h>

#include <accel/safetensors.h>

int main(int argc, char **argv)
{
    accel_safetensors_t *file;
    accel_named_tensor_t *tensors;
    const char *metadata[] = {"format", NULL, NULL}, **bools;
    int64_t count, num_bools = 0;

    if (argc != 3)
        return 2;
    ACCEL_CHECK(accel_safetensors_open(argv[1], &file));
    metadata[1] = accel_safetensors_metadata(file, "format");
    count = accel_safetensors_num_tensors(file);
    tensors = calloc((size_t)count + 1, sizeof(*tensors));
    bools = calloc((size_t)count + 1, sizeof(*bools));
    if (!tensors || !bools)
        return 1;
    for (int64_t i = 0; i < count; i++) {
        tensors[i].name = accel_safetensors_name(file, count - 1 - i);
        ACCEL_CHECK(accel_safetensors_tensor(file, tensors[i].name, &tensors[i].tensor));
        if (strcmp(accel_safetensors_dtype(file, count - 1 - i), "BOOL") == 0)
            bools[num_bools++] = tensors[i].name;
    }
    ACCEL_CHECK(accel_safetensors_save(
        argv[2], tensors, count, ACCEL_SAFETENSORS_OPTIONS(.metadata = metadata, .bools = bools)));
    accel_safetensors_close(file);
    free(tensors);
    free(bools);
    return 0;
}
