# SPDX-License-Identifier: Apache-2.0
"""The time of torch.distributed.all_reduce on Gloo: torch_allreduce.py COUNT INNER SAMPLES PARTS.
PARTS > 1: the tensor in as many parts that are reduced at the same time."""
import sys

import torch
import torch.distributed as dist

from _round import Turns, measure_allreduce

count, inner, samples, parts = map(int, sys.argv[1:5])
torch.set_num_threads(1)
dist.init_process_group("gloo")
tensor = torch.zeros(count)
chunks = tensor.chunk(parts)


def reduce():
    if parts == 1:
        dist.all_reduce(tensor)
        return
    for work in [dist.all_reduce(chunk, async_op=True) for chunk in chunks]:
        work.wait()


measure_allreduce(Turns(dist.get_rank()), tensor, reduce, dist.barrier, samples, inner)
dist.destroy_process_group()
