# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""AdamW and SGD beside torch.optim, and the schedules beside torch's LambdaLR with the formulas
of transformers.get_scheduler. The program makes the same values and gradients."""
import itertools
import math
import os
import subprocess
import sys

import numpy
import torch

PROGRAM = os.path.join(os.environ["ACCEL_BUILD_DIR"], "bin", "program-train_optimizers")
SHAPE = (37, 41)
COUNT = SHAPE[0] * SHAPE[1]
STEPS = 100
# max |difference| <= tolerance * max |parameter|, at every step. Torch contracts some products and
# sums: in float32 each step may then round by half a unit in the last place, 6e-8, to another side,
# and such differences add up like a random walk of 100 steps.
TOLERANCE = {torch.float32: 6e-7, torch.float64: 1e-14}


def numbers(step):
    """The program's number(): exact in double."""
    i = numpy.arange(COUNT, dtype=numpy.uint64)
    mask = numpy.uint64(0xFFFFFFFF)
    bits = (i * numpy.uint64(2654435761) + numpy.uint64(step * 2246822519 + 374761393)) & mask
    bits ^= bits >> numpy.uint64(15)
    bits = (bits * numpy.uint64(2246822519)) & mask
    bits ^= bits >> numpy.uint64(13)
    return torch.from_numpy(bits.astype(numpy.float64) / 2147483648.0 - 1).reshape(SHAPE)


def ours(*arguments):
    done = subprocess.run([PROGRAM, *(str(a) for a in arguments)], stdout=subprocess.PIPE, check=True)
    return numpy.frombuffer(done.stdout, dtype=numpy.float64)


def torchs(optimizer_class, options):
    parameters = [torch.nn.Parameter(numbers(0).to(d)) for d in (torch.float32, torch.float64)]
    optimizer = optimizer_class(parameters, foreach=False, **options)
    for step in range(1, STEPS + 1):
        for p in parameters:
            p.grad = numbers(step).to(p.dtype)
        optimizer.step()
        yield [p.detach().clone() for p in parameters]


def compare(name, optimizer_class, options, arguments):
    worst = {torch.float32: 0.0, torch.float64: 0.0}
    outputs = [ours(name, mode, STEPS, options["lr"], *arguments) for mode in ("alone", "prepared")]
    assert (outputs[0] == outputs[1]).all(), f"{name} {options}: prepared differs from alone"
    found = torch.from_numpy(outputs[0].copy()).reshape(STEPS, 2, *SHAPE)
    for step, expected in enumerate(torchs(optimizer_class, options)):
        for which, e in enumerate(expected):
            e64 = e.double()
            error = ((found[step, which] - e64).abs().max() / e64.abs().max()).item()
            worst[e.dtype] = max(worst[e.dtype], error)
            assert error <= TOLERANCE[e.dtype], f"{name} {options}, step {step + 1}: {e.dtype} off by {error:g}"
    moved = (found[-1] - numbers(0)).abs().min().item()
    assert moved > 0, f"{name} {options}: a parameter did not move"
    print(f"{name} {options}: float32 {worst[torch.float32]:.2g}, float64 {worst[torch.float64]:.2g}")


def optimizers():
    for betas, eps, decay in itertools.product(((0.9, 0.999), (0.4, 0.95), (0.0, 0.99)), (1e-8, 1e-3),
                                               (0.01, 0.3, 0.0)):
        compare("adamw", torch.optim.AdamW, {"lr": 3e-3, "betas": betas, "eps": eps, "weight_decay": decay},
                (*betas, eps, decay))
    for momentum, dampening, decay, nesterov in ((0, 0, 0, False), (0, 0, 0.1, False), (0.9, 0, 0, False),
                                                 (0.9, 0.3, 0.01, False), (0.9, 0, 0.01, True),
                                                 (0.5, 0, 0, True)):
        compare("sgd", torch.optim.SGD,
                {"lr": 1e-2, "momentum": momentum, "dampening": dampening, "weight_decay": decay,
                 "nesterov": nesterov}, (momentum, dampening, decay, int(nesterov)))


def factor(name, warmup, total, cycles):
    """transformers.optimization, written out."""
    def rate(step):
        if name == "constant":
            return 1.0
        if step < warmup:
            return float(step) / float(max(1, warmup))
        if name == "constant_with_warmup":
            return 1.0
        if name == "linear":
            return max(0.0, float(total - step) / float(max(1, total - warmup)))
        progress = float(step - warmup) / float(max(1, total - warmup))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * float(cycles) * 2.0 * progress)))
    return rate


def schedules():
    base = 0.37
    cases = [(name, warmup, total, cycles)
             for name in ("constant", "constant_with_warmup", "linear", "cosine")
             for warmup, total in ((0, 60), (1, 60), (17, 60), (60, 60), (80, 60), (0, 1))
             for cycles in ((0.5, 1.5, 0.2) if name == "cosine" else (0.5,))]
    for name, warmup, total, cycles in cases:
        steps = 100  # on beyond the end
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor(name, warmup, total, cycles))
        found = ours("schedule", name, steps, base, warmup, total, cycles)
        assert len(found) == steps
        for step in range(steps):
            expected = optimizer.param_groups[0]["lr"]
            assert abs(found[step] - expected) <= 1e-15, (name, warmup, total, cycles, step, found[step], expected)
            optimizer.step()
            scheduler.step()
    print(f"{len(cases)} schedules equal")


torch.set_num_threads(1)
optimizers()
schedules()
sys.exit(0)
