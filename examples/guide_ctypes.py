# SPDX-License-Identifier: Apache-2.0
"""The library without its macros, from another language: Python's ctypes.

    accel launch -n 2 python3 guide_ctypes.py

LD_LIBRARY_PATH says where libaccel.so is, if it is not in a standard place."""
import ctypes
import tempfile
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p

# [library]
accel = ctypes.CDLL("libaccel.so")
accel.accel_last_error.restype = c_char_p
ACCEL_F32, ACCEL_SUM = 0x00012002, 0


def check(status):
    if status < 0:
        raise RuntimeError(accel.accel_last_error().decode())
    return status
# [/library]


# [options]
class Options(ctypes.Structure):
    """accel_options_t, in the order of accel/accelerator.h."""
    _fields_ = [("struct_size", c_size_t), ("log_with", c_char_p), ("project_dir", c_char_p),
                ("logging_dir", c_char_p), ("mixed_precision", c_char_p), ("grad_scaler", c_void_p),
                ("comm_hook", c_char_p), ("gradient_accumulation", c_void_p),
                ("gradient_accumulation_steps", c_int32), ("gradients", c_int),
                ("step_scheduler_with_optimizer", c_int), ("scale_scheduler_steps", c_int),
                ("split_batches", c_int), ("even_batches", c_int), ("dispatch_batches", c_int),
                ("journal", c_char_p), ("num_processes", c_int32), ("process_index", c_int32),
                ("job_id", c_char_p), ("threads", c_void_p), ("join_timeout_ms", c_uint32),
                ("timeout_ms", c_uint32), ("watchdog_ms", c_uint32)]


def create(**options):
    made = Options(struct_size=ctypes.sizeof(Options), **options)  # all else is zero: the default
    accelerator = c_void_p()
    check(accel.accel_create(byref(made), byref(accelerator)))
    return accelerator
# [/options]


# [tensor]
class Tensor(ctypes.Structure):
    """accel_tensor_t, which is DLPack's DLTensor; filled in by accel_tensor_view()."""
    _fields_ = [("data", c_void_p), ("device_type", c_int), ("device_id", c_int32), ("ndim", c_int32),
                ("dtype", c_int), ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)),
                ("byte_offset", c_uint64)]


def total(accelerator, values):
    """The sum over all processes, element by element."""
    data, shape, view = (c_float * len(values))(*values), (c_int64 * 1)(len(values)), Tensor()
    accel.accel_tensor_view(byref(view), data, ACCEL_F32, 1, shape)
    check(accel.accel_reduce(accelerator, byref(view), ACCEL_SUM))
    return list(data)
# [/tensor]


# [dict]
class Value(ctypes.Union):
    _fields_ = [("b", c_bool), ("i", c_int64), ("u", c_uint64), ("f", c_double), ("s", c_char_p)]


class Item(ctypes.Structure):
    """accel_item_t: a key, a type, a value."""
    _fields_ = [("key", c_char_p), ("type", c_int), ("value", Value)]


def dictionary(**values):
    """A dictionary of numbers; the last item, all zero, ends it."""
    items = (Item * (len(values) + 1))()
    for item, (key, value) in zip(items, values.items()):
        item.key, item.type, item.value.f = key.encode(), 5, value  # ACCEL_TYPE_FLOAT
    return items
# [/dict]


def main(folder):
    # [use]
    accelerator = create(log_with=b"jsonl", project_dir=folder.encode())
    check(accel.accel_init_trackers(accelerator, b"from_python", dictionary(lr=0.01), None))
    rank = accel.accel_process_index(accelerator)
    sums = total(accelerator, [1.0, rank])
    check(accel.accel_log(accelerator, dictionary(sum=sums[1]), c_int64(0)))
    check(accel.accel_end_training(accelerator))
    accel.accel_print(accelerator, b"%d processes\n", c_int(int(sums[0])))
    accel.accel_destroy(accelerator)
    # [/use]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(directory)
