# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""Every schedule beside transformers.get_scheduler and torch.optim.lr_scheduler: 100 steps, two
groups of parameters, on beyond the end, and once again from a state that was put aside."""
import os
import subprocess
import sys

import numpy
import torch
from torch.optim import lr_scheduler
from transformers import get_scheduler

PROGRAM = os.path.join(os.environ["ACCEL_BUILD_DIR"], "bin", "program-train_schedules")
STEPS = 100
RATES = (0.37, 0.11)


def metric(step):
    """The program's."""
    return 1 - 0.02 * step if step < 20 else 0.6 + 0.01 * (step % 3) if step < 70 else 0.3


def ours(name, steps, options):
    command = [PROGRAM, name, steps, f"lr={RATES[0]}", f"group_lr={RATES[1]}",
               *(f"{k}={v}" for k, v in options.items())]
    done = subprocess.run([str(a) for a in command], stdout=subprocess.PIPE, check=True)
    return numpy.frombuffer(done.stdout, dtype=numpy.float64).reshape(steps, 4)


def torchs(make_scheduler, steps, momentum):
    parameters = [torch.nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2)]
    groups = [{"params": [p], "lr": rate} for p, rate in zip(parameters, RATES)]
    if "beta1" in momentum:
        optimizer = torch.optim.Adam(groups, lr=RATES[0], betas=(momentum["beta1"], 0.999),
                                     foreach=False)
    else:
        optimizer = torch.optim.SGD(groups, lr=RATES[0], momentum=momentum.get("momentum", 0),
                                    foreach=False)
    scheduler = make_scheduler(optimizer)
    for step in range(steps):
        rates = [group["lr"] for group in optimizer.param_groups]
        for p in parameters:
            p.grad = torch.ones_like(p)
        optimizer.step()
        yield rates + [p.item() for p in parameters]
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(metric(step))
        else:
            scheduler.step()


def compare(name, make_scheduler, options, momentum=None, steps=STEPS):
    momentum = momentum or {}
    for restart in (0, 31):
        found = ours(name, steps, {**options, **momentum, "restart": restart})
        for step, expected in enumerate(torchs(make_scheduler, steps, momentum)):
            for f, e in zip(found[step], expected):
                # Some of torch's multiply step by step what ours raises to a power.
                assert abs(f - e) <= 1e-13 * max(abs(e), 1e-3), (name, options, restart, step, f, e)
    print(f"{name} {options} {momentum}")


def of_transformers(name, options, warmup=None, total=None):
    given = {k: v for k, v in (("num_warmup_steps", warmup), ("num_training_steps", total))
             if v is not None}
    compare(name, lambda optimizer: get_scheduler(name, optimizer, scheduler_specific_kwargs=options,
                                                  **given), {**options, **given})


def transformers():
    of_transformers("constant", {})
    for warmup in (0, 1, 17):
        of_transformers("constant_with_warmup", {}, warmup)
        of_transformers("inverse_sqrt", {}, warmup)
    of_transformers("inverse_sqrt", {"timescale": 40}, 17)
    for warmup, total in ((0, 60), (1, 60), (17, 60), (60, 60), (80, 60), (0, 1)):
        of_transformers("linear", {}, warmup, total)
        of_transformers("cosine", {}, warmup, total)
        of_transformers("cosine_with_restarts", {}, warmup, total)
    for cycles in (1.5, 0.2):
        of_transformers("cosine", {"num_cycles": cycles}, 5, 60)
    of_transformers("cosine_with_restarts", {"num_cycles": 3}, 5, 60)
    for options in ({"min_lr": 0.01}, {"min_lr_rate": 0.2}, {"min_lr_rate": 0.2, "num_cycles": 1.5},
                    {"min_lr": 0.0}):
        of_transformers("cosine_with_min_lr", options, 7, 80)
        of_transformers("cosine_warmup_with_min_lr", options, 7, 80)
        of_transformers("cosine_warmup_with_min_lr", {**options, "warmup_lr_rate": 0.1}, 7, 80)
    of_transformers("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.0}, 1, 80)
    for options in ({}, {"power": 2.0}, {"power": 0.5, "lr_end": 0.01}, {"lr_end": 0.0}):
        of_transformers("polynomial", options, 9, 70)
    for warm in ("linear", "cosine", "1-sqrt"):
        for decay in ("linear", "cosine", "1-sqrt"):
            of_transformers("warmup_stable_decay", {"num_decay_steps": 20, "warmup_type": warm,
                                                    "decay_type": decay, "min_lr_ratio": 0.1}, 11, 80)
    of_transformers("warmup_stable_decay", {"num_decay_steps": 20, "num_stable_steps": 30,
                                            "num_cycles": 1.5}, 11)
    for options in ({}, {"patience": 3}, {"patience": 2, "factor": 0.5, "cooldown": 4},
                    {"patience": 1, "mode": "max", "threshold_mode": "abs", "threshold": 0.02},
                    {"patience": 1, "threshold": 0.5, "min_lr": 0.02, "eps": 0.01},
                    {"patience": 1, "threshold_mode": "abs", "threshold": 0.1, "factor": 0.9}):
        of_transformers("reduce_lr_on_plateau", options)


def torchs_own():
    for options in ({"step_size": 1}, {"step_size": 7, "gamma": 0.9}):
        compare("step", lambda o: lr_scheduler.StepLR(o, **options), options)
    for milestones, gamma in (([5], 0.1), ([30, 8, 8, 61], 0.5), ([0, 3], 0.5)):
        compare("multi_step", lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma),
                {"milestones": ",".join(map(str, milestones)), "gamma": gamma})
    compare("exponential", lambda o: lr_scheduler.ExponentialLR(o, 0.97), {"gamma": 0.97})
    compare("lambda", lambda o: lr_scheduler.LambdaLR(
        o, [lambda s: 0.5 ** (s // 7), lambda s: 0.9 ** (s // 7)]), {})
    for momentum in ({"beta1": 0.9}, {"momentum": 0.9}, {}):
        for options in ({}, {"pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 10.0},
                        {"three_phase": 1, "final_div_factor": 100.0},
                        {"three_phase": 1, "pct_start": 0.4, "anneal_strategy": "linear"}):
            if momentum:
                options = {**options, "base_momentum": 0.8, "max_momentum": 0.9}
            native = {k: bool(v) if k == "three_phase" else v for k, v in options.items()}
            for total in (100, 40):
                compare("one_cycle",
                        lambda o: lr_scheduler.OneCycleLR(o, 0.5, total, cycle_momentum=bool(momentum),
                                                          **native),
                        {**options, "num_training_steps": total, "max_lr": 0.5,
                         "cycle_momentum": int(bool(momentum))}, momentum, steps=total)


torch.set_num_threads(1)
transformers()
torchs_own()
sys.exit(0)
