# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""The loss scale's decisions beside torch.amp.GradScaler, step by step, with infinities and NaNs
in the gradients: scale, growth, skipped steps, norms, and the parameters; on 1 and 3 ranks."""
import os
import subprocess
import sys
import uuid

import numpy
import torch

PROGRAM = os.path.join(os.environ["ACCEL_BUILD_DIR"], "bin", "program-train_scaler")
COUNT, STEPS = 3000, 60


def ours(ranks, bad, options):
    command = [PROGRAM, str(STEPS), ",".join(map(str, bad)) or "0",
               *(f"{k}={v}" for k, v in options.items())]
    job = str(uuid.uuid4())
    world = [{**os.environ, "ACCEL_JOB_ID": job, "RANK": str(r), "WORLD_SIZE": str(ranks),
              "LOCAL_RANK": str(r), "LOCAL_WORLD_SIZE": str(ranks)} for r in range(ranks)]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, env=world[r]) for r in range(ranks)]
    outputs = [j.communicate(timeout=60)[0] for j in jobs]
    assert all(j.returncode == 0 for j in jobs), [j.returncode for j in jobs]
    return numpy.frombuffer(outputs[0], dtype=numpy.float64).reshape(STEPS, 4 + COUNT)


def torchs(bad, options):
    scaler_options = {k: v for k, v in options.items()
                      if k in ("init_scale", "growth_factor", "backoff_factor", "growth_interval")}
    scaler = torch.amp.GradScaler("cpu", **scaler_options)
    p = torch.nn.Parameter(torch.ones(COUNT))
    optimizer = torch.optim.SGD([p], lr=0.01, momentum=0.5, foreach=False)
    spoilt = (float("inf"), float("-inf"), float("nan"))
    for step in range(1, STEPS + 1):
        before, momentum = p.detach().clone(), scaler.get_scale()
        gradient = torch.sin(0.1 * torch.arange(COUNT, dtype=torch.float64) + step)
        p.grad = (momentum * gradient).float()
        scaler.scale(torch.zeros(()))  # as a loss would: makes the scale
        if step in bad:
            p.grad[COUNT // 2] = spoilt[step % 3]
        norm = 0.0
        if {"clip", "value", "unscale"} & set(options):
            scaler.unscale_(optimizer)
        if "clip" in options:
            norm = torch.nn.utils.clip_grad_norm_([p], options["clip"], foreach=False).item()
        if "value" in options:
            torch.nn.utils.clip_grad_value_([p], options["value"], foreach=False)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        skipped = (p == before).all().item()
        yield (scaler.get_scale(), scaler._get_growth_tracker(), skipped, norm), p.detach()


def compare(ranks, bad, options):
    found = ours(ranks, bad, options)
    skips = 0
    for step, (expected, p) in enumerate(torchs(bad, options)):
        what = (ranks, bad, options, step + 1, found[step, :4], expected)
        assert tuple(found[step, :3]) == expected[:3], what
        if numpy.isfinite(expected[3]):
            assert abs(found[step, 3] - expected[3]) <= 1e-5 * (expected[3] + 1), what
        else:
            assert not numpy.isfinite(found[step, 3]), what
        skips += int(expected[2])
        error = (torch.from_numpy(found[step, 4:].copy()) - p.double()).abs().max().item()
        assert error <= 1e-6 * p.abs().max().item(), (what, error)
    assert skips == len(bad), (skips, bad)
    print(f"{ranks} ranks, {options}: {skips} steps skipped, scale {found[-1, 0]:g}")


torch.set_num_threads(1)
for ranks in (1, 3):
    compare(ranks, (), {})
    compare(ranks, (1, 2, 9, 30, 31, 60), {})
    compare(ranks, (3, 4, 17), {"growth_interval": 5, "clip": 2.0})
    compare(ranks, (3, 4, 17, 18, 19), {"growth_interval": 4, "value": 0.3, "init_scale": 1024.0})
    compare(ranks, (5, 12), {"growth_interval": 1, "growth_factor": 3.0, "backoff_factor": 0.1,
                             "init_scale": 1.0, "unscale": 1, "restart": 20})
    compare(ranks, (7, 8), {"growth_interval": 3, "clip": 0.5, "value": 0.01, "averaged": 1})
    compare(ranks, (7, 8, 33), {"growth_interval": 3, "averaged": 1})
# A scale that has grown to the end of float32 stays.
compare(1, (), {"init_scale": 2.0 ** 100, "growth_interval": 1, "growth_factor": 16.0, "value": 1e-3})
sys.exit(0)
