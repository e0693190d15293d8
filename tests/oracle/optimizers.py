# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Every optimizer beside torch.optim over 100 steps, parameter by parameter: all options, groups,
frozen parameters, parameters that some steps do not use, bfloat16 with float32 masters, a rule by
callback; and averages of parameters beside torch's AveragedModel. The program makes the same values and gradients."""
import itertools
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


def ours(rule, mode, options, parameters):
    command = [PROGRAM, rule, mode, STEPS, *(f"{k}={float(v):.17g}" for k, v in options.items())]
    done = subprocess.run([str(a) for a in command], stdout=subprocess.PIPE, check=True)
    found = numpy.frombuffer(done.stdout, dtype=numpy.float64)
    return torch.from_numpy(found.copy()).reshape(STEPS, parameters, *SHAPE)


def for_torch(options):
    """betas is two options of ours, and flags are booleans of torch's."""
    options = {k: bool(v) if k in ("amsgrad", "maximize", "nesterov", "centered") else v
               for k, v in options.items()}
    if "beta1" in options:
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    return options


class Lion(torch.optim.Optimizer):
    """The program's own rule, in double as there."""

    def __init__(self, parameters, lr, weight_decay, foreach=False):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                direction = 0.9 * m.double() + 0.1 * p.grad.double()
                moved = p.double() * (1 - group["lr"] * group["weight_decay"])
                p.copy_((moved - group["lr"] * direction.sign()).to(p.dtype))
                m.copy_((0.99 * m.double() + 0.01 * p.grad.double()).to(p.dtype))


def is_used(parameter, step):
    """The program's, with unused=1."""
    return step > 7 and step % 3 != 1 if parameter == 0 else step % 4 != 2


def torchs(optimizer_class, options, group, unused=False):
    """The parameters after each step."""
    parameters = [torch.nn.Parameter(numbers(0).to(d)) for d in (torch.float32, torch.float64)]
    second = {"params": [parameters[1]], **(for_torch({**options, **group}) if group else {})}
    optimizer = optimizer_class([{"params": [parameters[0]]}, second], foreach=False,
                                **for_torch(options))
    for step in range(1, STEPS + 1):
        for i, p in enumerate(parameters):
            p.grad = numbers(step).to(p.dtype) if is_used(i, step) or not unused else None
        optimizer.step()
        yield [p.detach().clone() for p in parameters]


def check(what, step, found, expected, tolerance):
    error = ((found - expected.double()).abs().max() / expected.double().abs().max()).item()
    assert error <= tolerance, f"{what}, step {step + 1}: {expected.dtype} off by {error:g}"
    return error


def compare(rule, optimizer_class, options, group=None, extra=None):
    what = f"{rule} {options} {group or ''} {extra or ''}"
    arguments = {**options, **(extra or {})}
    if group is not None:
        arguments.update({"group": 1, **{f"group_{k}": v for k, v in group.items()}})
    unused = "unused" in arguments
    modes = ("prepared",) if unused else ("alone", "prepared")
    outputs = [ours(rule, mode, arguments, 2) for mode in modes]
    assert (outputs[0] == outputs[-1]).all(), f"{what}: prepared differs from alone"
    found, worst = outputs[0], 0
    for step, expected in enumerate(torchs(optimizer_class, options, group, unused)):
        for which, e in enumerate(expected):
            worst = max(worst, check(what, step, found[step, which], e, TOLERANCE[e.dtype]) /
                        TOLERANCE[e.dtype])
    moved = (found[-1] != numbers(0)).double().mean().item()
    assert moved > 0.9, f"{what}: only {moved:g} of the parameters moved"
    print(f"{what}: {worst:.2g} of the tolerance")


def optimizers():
    adam = itertools.product(((0.9, 0.999), (0.4, 0.95)), (1e-8, 1e-3), (0.3, 0.0), (0, 1))
    for (beta1, beta2), eps, decay, amsgrad in adam:
        options = {"lr": 3e-3, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": decay,
                   "amsgrad": amsgrad, "maximize": amsgrad}
        compare("adamw", torch.optim.AdamW, options)
        compare("adam", torch.optim.Adam, options)
    for momentum, dampening, decay, nesterov, maximize in (
            (0, 0, 0, 0, 0), (0, 0, 0.1, 0, 1), (0.9, 0, 0, 0, 0), (0.9, 0.3, 0.01, 0, 1),
            (0.9, 0, 0.01, 1, 0), (0.5, 0, 0, 1, 0)):
        compare("sgd", torch.optim.SGD,
                {"lr": 1e-2, "momentum": momentum, "dampening": dampening, "weight_decay": decay,
                 "nesterov": nesterov, "maximize": maximize})
    for decay, lr_decay, initial, eps, maximize in ((0, 0, 0, 1e-10, 0), (0.1, 0.03, 0.5, 1e-4, 1)):
        compare("adagrad", torch.optim.Adagrad,
                {"lr": 1e-2, "weight_decay": decay, "lr_decay": lr_decay, "eps": eps,
                 "initial_accumulator_value": initial, "maximize": maximize})
    # Where a centered spread is small against its parts their rounding is all that is left of it.
    for momentum, centered, decay, maximize in itertools.product((0, 0.9), (0, 1), (0, 0.1), (0, 1)):
        compare("rmsprop", torch.optim.RMSprop,
                {"lr": 1e-3, "alpha": 0.9, "eps": 1e-2, "weight_decay": decay,
                 "momentum": momentum, "centered": centered, "maximize": maximize})
    for granularity in (0, 1, 2):
        compare("lion", Lion, {"lr": 1e-3, "weight_decay": 0.1}, extra={"granularity": granularity})


def groups():
    adam = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.2}
    compare("adamw", torch.optim.AdamW, adam, {"lr": 1e-2, "weight_decay": 0.0})
    compare("adam", torch.optim.Adam, adam, {"beta1": 0.5})
    compare("sgd", torch.optim.SGD, {"lr": 1e-2, "momentum": 0.9}, {"momentum": 0.0, "lr": 0.1})
    compare("lion", Lion, {"lr": 1e-3, "weight_decay": 0.1}, {"weight_decay": 0.0})
    found = ours("adamw", "prepared", {**adam, "group": 1, "group_frozen": 1}, 2)
    assert (found[-1, 1] == numbers(0)).all(), "a frozen parameter moved"
    assert (found[-1, 0] != numbers(0)).all()


def unused():
    """Some steps do not use a parameter: torch sees a gradient of None."""
    adam = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.2}
    some = {"unused": 1}
    for amsgrad in (0, 1):
        compare("adamw", torch.optim.AdamW, {**adam, "amsgrad": amsgrad}, extra=some)
        compare("adam", torch.optim.Adam, {**adam, "amsgrad": amsgrad}, extra=some)
    compare("adamw", torch.optim.AdamW, adam, {"lr": 1e-2, "weight_decay": 0.0}, some)
    for momentum, dampening, nesterov in ((0, 0, 0), (0.9, 0.3, 0), (0.9, 0, 1)):
        compare("sgd", torch.optim.SGD, {"lr": 1e-2, "momentum": momentum, "dampening": dampening,
                                         "weight_decay": 0.1, "nesterov": nesterov}, extra=some)
    compare("adagrad", torch.optim.Adagrad,
            {"lr": 1e-2, "weight_decay": 0.1, "lr_decay": 0.03, "eps": 1e-4,
             "initial_accumulator_value": 0.5}, extra=some)
    for momentum, centered in ((0, 0), (0.9, 1)):
        compare("rmsprop", torch.optim.RMSprop,
                {"lr": 1e-3, "alpha": 0.9, "eps": 1e-2, "weight_decay": 0.1, "momentum": momentum,
                 "centered": centered}, extra=some)
    compare("lion", Lion, {"lr": 1e-3, "weight_decay": 0.1}, extra=some)


def halves(extra=None):
    """bfloat16 values and gradients: torch updates a float32 master by the rounded gradients."""
    options = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    found = ours("adamw", "half", {**options, **(extra or {})}, 1)
    master = torch.nn.Parameter(numbers(0).float().bfloat16().float())
    optimizer = torch.optim.AdamW([master], foreach=False, **for_torch(options))
    equal = 0
    for step in range(STEPS):
        master.grad = numbers(step + 1).float().bfloat16().float()
        if extra and not is_used(0, step + 1):
            master.grad = None
        optimizer.step()
        expected = master.detach().bfloat16().double()
        equal += (found[step, 0] == expected).double().mean().item() / STEPS
        # A master beside a tie may round to the other side: by one unit in the last place.
        error = (found[step, 0] - expected).abs()
        assert (error <= expected.abs() * 2 ** -7 + TOLERANCE[torch.float32]).all(), step
    assert equal > 0.999, equal
    print(f"bfloat16: {100 * equal:.4f} % equal to the bit")


def averages():
    """With equal weights torch rounds 1 / n to float32, also for float64 parameters."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn
    options = {"lr": 3e-2, "weight_decay": 0.1}
    for decay, equal in ((0.9, 0), (0.999, 0), (0.5, 1)):
        average_fn = get_swa_multi_avg_fn() if equal else get_ema_multi_avg_fn(decay)
        found = [ours("sgd", mode, {**options, "ema": decay, "equal_weights": equal}, 2)
                 for mode in ("alone", "prepared")]
        assert (found[0] == found[1]).all()
        model = torch.nn.ParameterList([torch.nn.Parameter(numbers(0).to(d))
                                        for d in (torch.float32, torch.float64)])
        averaged = AveragedModel(model, multi_avg_fn=average_fn)
        optimizer = torch.optim.SGD(model.parameters(), foreach=False, **options)
        for step in range(STEPS):
            for p in model:
                p.grad = numbers(step + 1).to(p.dtype)
            optimizer.step()
            averaged.update_parameters(model)
            for which, e in enumerate(averaged.module):
                check(f"average {decay} {equal}", step, found[0][step, which], e.detach(),
                      max(TOLERANCE[e.dtype], 1e-8 * equal))
    print("averages of parameters equal")


torch.set_num_threads(1)
optimizers()
groups()
unused()
halves()
halves({"unused": 1})
averages()
sys.exit(0)
