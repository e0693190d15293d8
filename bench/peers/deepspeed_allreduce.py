# SPDX-License-Identifier: Apache-2.0
"""The time of DeepSpeed's all-reduce in shared memory (its operator shm_comm, which serves
inference on CPUs): deepspeed_allreduce.py COUNT INNER SAMPLES. bench/environment compiled it."""
import glob
import os
import sys

import torch
import torch.distributed as dist
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

from _round import Turns, measure_allreduce

count, inner, samples = map(int, sys.argv[1:4])
torch.set_num_threads(1)
dist.init_process_group("gloo")
shm = ShareMemCommBuilder().load()
os.environ["LOCAL_SIZE"] = str(dist.get_world_size())  # DeepSpeed's launcher sets it
shm.initialize(dist.get_world_size(), dist.get_rank())
tensor = torch.zeros(count)


def reduce():
    torch.ops.deepspeed.inference_all_reduce_(tensor)


tensor.fill_(dist.get_rank() + 1)
reduce()
expected = dist.get_world_size() * (dist.get_world_size() + 1) // 2
if not bool((tensor == expected).all()):
    sys.exit(f"the sum is {tensor.min().item()} to {tensor.max().item()}, not {expected}")
dist.barrier()
if dist.get_rank() == 0:  # all have mapped them, and nobody else would remove them
    for left in glob.glob(f"/dev/shm/deepspeed_allreduce_buffer_*_{os.environ['MASTER_PORT']}_*"):
        os.unlink(left)
measure_allreduce(Turns(dist.get_rank()), tensor, reduce, dist.barrier, samples, inner)
dist.destroy_process_group()
