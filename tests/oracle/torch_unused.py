# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
Parameters that a step does not use, from C++ and from C, on 1, 2 and 3 processes and with every
libtorch of the build: after 12 steps they are what stock PyTorch makes of them, where a gradient is
None if no process used its parameter, and the average with zeros if some did."""
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file

from _torch_build import BUILD, versions

STEPS, WIDTH = 12, 40
NAMES = ("base", "now_and_then", "on_last", "never", "late")


class Branches(torch.nn.Module):
    """That of tests/torch/unused.cpp."""

    def __init__(self):
        super().__init__()
        for phase, name in enumerate(NAMES):
            wave = torch.sin(torch.arange(WIDTH, dtype=torch.float64) * 0.7 + phase)
            self.register_parameter(name, torch.nn.Parameter(wave))

    def forward(self, numbers):
        step, rank, size = int(numbers[0]), int(numbers[1]), int(numbers[2])
        total = (self.base - 1 - 0.1 * rank).square()
        if step % 2 == 0:
            total = total + (self.now_and_then * self.base).square()
        if rank == size - 1:
            total = total + (self.on_last * self.base - 0.5).square()
        if step >= 6:
            total = total + (self.late - self.base).square()
        return total.mean()


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-1, momentum=0.9, dampening=0.3, weight_decay=0.1)}


def train(make_optimizer, size):
    model = Branches()
    optimizer = make_optimizer(model.parameters())
    for step in range(STEPS):
        losses = [model(torch.tensor([step, rank, size], dtype=torch.float64)) for rank in range(size)]
        (sum(losses) / size).backward()
        assert (model.now_and_then.grad is None) == (step % 2 == 1) and model.never.grad is None
        optimizer.step()
        optimizer.zero_grad()
    return dict(model.named_parameters())


def check(what, expected, found):
    largest = max(p.abs().max().item() for p in expected.values())
    distance = max((p - found[n]).abs().max().item() for n, p in expected.items()) / largest
    print(f"{what}: {distance:.2g}", flush=True)
    assert set(found) == set(NAMES) and distance <= 1e-11, what


def run(size, *command):
    subprocess.run([BUILD / "bin/accel", "launch", "-n", str(size), "--", *command], check=True, timeout=60)


def from_cpp(version, size, expected, folder):
    run(size, BUILD / f"bin/test-torch-unused-{version}", "--train", folder / "values")
    lines = [line.split() for line in (folder / "values").read_text().splitlines()]
    assert len(lines) == 2 * len(OPTIMIZERS) * len(NAMES)
    for i in range(0, len(lines), len(NAMES)):
        found = {name: torch.tensor([float(v) for v in values], dtype=torch.float64)
                 for _, name, *values in lines[i:i + len(NAMES)]}
        rule, whose = lines[i][0], ("ours", "torch's")[i // len(NAMES) % 2]
        check(f"libtorch {version}, {size} processes, {whose} {rule} in C++", expected[rule], found)


def from_c(version, size, expected, folder):
    run(size, BUILD / f"bin/program-torch-unused-{version}", folder / "branches.pt", str(STEPS),
        folder / "weights.safetensors")
    check(f"libtorch {version}, {size} processes, AdamW in C", expected["AdamW"],
          load_file(folder / "weights.safetensors"))


def main():
    torch.set_num_threads(1)
    found = versions("test-torch-unused")
    for size in (1, 2, 3):
        expected = {rule: train(make, size) for rule, make in OPTIMIZERS.items()}
        for version in found:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                torch.jit.script(Branches()).save(folder / "branches.pt")
                from_cpp(version, size, expected, folder)
                from_c(version, size, expected, folder)


if __name__ == "__main__":
    main()
