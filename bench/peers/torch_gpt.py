# SPDX-License-Identifier: Apache-2.0
"""programs/torch_gpt.c with Python: DistributedDataParallel, or Accelerate, on Gloo with
AdamW(fused=True): torch_gpt.py FOLDER STEPS ddp|accelerate BUCKET_MB static|- [MARK]."""
import itertools
import sys
import time

import torch
import torch.distributed as dist
from safetensors.torch import load_file

import _gpt
from _round import Turns

folder, steps, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
buckets = {"bucket_cap_mb": float(sys.argv[4]), "gradient_as_bucket_view": True,
           "static_graph": sys.argv[5] == "static"}
torch.set_num_threads(1)
net = _gpt.of_weights(load_file(f"{folder}/weights.safetensors"))

if way == "accelerate":
    from accelerate import Accelerator, DistributedDataParallelKwargs
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(**buckets)])
    net, optimizer = accelerator.prepare(net, torch.optim.AdamW(net.parameters(), fused=True))
    backward = accelerator.backward
else:
    dist.init_process_group("gloo")
    net = torch.nn.parallel.DistributedDataParallel(net, **buckets)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    backward = torch.Tensor.backward

rank, world = dist.get_rank(), dist.get_world_size()
batches = itertools.cycle(load_file(f"{folder}/batches.safetensors")["tokens"][:, rank])


def step():
    loss = net(*next(batches))
    backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def take_turns():
    turns = Turns(rank)
    for _ in turns:
        step()
        dist.barrier()
        for _ in range(steps):
            start = time.monotonic()
            loss = step()
            turns.sample(time.monotonic() - start)
        turns.sample(loss)


if len(sys.argv) > 6:
    step()
    done = time.monotonic()
    if rank == 0:
        with open(sys.argv[6], "w") as mark:
            print(f"{done:.9f} {world}", file=mark)
else:
    take_turns()
dist.destroy_process_group()
