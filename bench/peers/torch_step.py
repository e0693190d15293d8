# SPDX-License-Identifier: Apache-2.0
"""programs/step.c with torch: DistributedDataParallel on Gloo and AdamW(fused=True), gradients
made by a stub: torch_step.py SHAPES SAMPLES clip|- BUCKET_MB.

The stub hands out constant tensors without a copy: the one copy that is made is DDP's own, into
its buckets, where our side copies the same constants into the gradients."""
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from _round import Turns

shapes = [tuple(int(n) for n in line.split()) for line in open(sys.argv[1])]
samples, clip, bucket_mb = int(sys.argv[2]), sys.argv[3] == "clip", float(sys.argv[4])
torch.set_num_threads(1)
dist.init_process_group("gloo")
constants = [torch.full(shape, 1e-3) for shape in shapes]


class Stub(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *parameters):
        return torch.zeros(())

    @staticmethod
    def backward(ctx, _):
        return tuple(constant.detach() for constant in constants)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.all = torch.nn.ParameterList(torch.nn.Parameter(torch.full(s, 0.1)) for s in shapes)

    def forward(self):
        return Stub.apply(*self.all)


net = DistributedDataParallel(Net(), bucket_cap_mb=bucket_mb, gradient_as_bucket_view=True)
optimizer = torch.optim.AdamW(net.parameters(), fused=True)


def step():
    net().backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


turns = Turns(dist.get_rank())
for _ in turns:
    step()
    dist.barrier()
    for _ in range(samples):
        start = time.monotonic()
        step()
        turns.sample(time.monotonic() - start)
dist.destroy_process_group()
