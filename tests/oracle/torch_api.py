# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
Around a training step, with every libtorch of the build: weights go from Python to C++ and C and back
with equal outputs, bools and tied ones too; a GradScaler in C++ decides as torch.amp's; gradients of
inputs in C are Python's."""
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file, load_model, save_model

import _torch_models
from _torch_build import BUILD, versions


class Cnn(_torch_models.Cnn):
    @staticmethod
    def input():
        return torch.sin(torch.arange(4 * 64, dtype=torch.float64) * 0.7).float().reshape(4, 1, 8, 8)


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.b = torch.nn.Linear(4, 4)
        self.a = self.b
        self.register_buffer("mask", torch.tensor([False, True, False, False]))
        self.register_buffer("seen", torch.tensor([5, 6]))

    def forward(self, x):
        return self.b(torch.tanh(self.b(x))).masked_fill(self.mask, 0.5)

    @staticmethod
    def input():
        return torch.ones(2, 4)


class Masked(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5)
        self.register_buffer("mask", torch.zeros(5, dtype=torch.bool))

    def forward(self, x):
        return self.norm(self.fc(x)).masked_fill(self.mask, 0.5)

    @torch.jit.export
    def several(self, x, power: int, unused):
        return self.forward(x).pow(power).sum()

    @torch.jit.export
    def grow(self, elements: int):
        return torch.empty([elements]).fill_(1.0).sum()

    @torch.jit.export
    def put(self, x):
        return x.clone().put_(torch.tensor([0, 0]), torch.ones(2))


def launch(program, size, *arguments, cwd):
    command = [program, *arguments]
    if size > 1:
        command[:0] = [BUILD / "bin/accel", "launch", "-n", str(size), "--"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{program} on {size}: {done.stdout}{done.stderr}"
    return done.stdout


# ---- C++ ----

def write(kind, folder, name):
    model = kind().eval()
    save_model(model, folder / f"{name}.safetensors")
    torch.jit.script(model.train()).save(folder / f"{name}.pt")
    return model.eval()


def check_round_trip(kind, folder, name, model):
    with torch.no_grad():
        expected = model(kind.input())
        read = load_file(folder / f"{name}.read.safetensors")["output"]
        assert torch.allclose(read, expected, rtol=0, atol=1e-6), (name, read, expected)
        trained = kind().eval()
        missing, unexpected = load_model(trained, folder / f"{name}.trained.safetensors")
        assert not missing and not unexpected, (name, missing, unexpected)
        output = load_file(folder / f"{name}.output.safetensors")["output"]
        assert torch.allclose(trained(kind.input()), output, rtol=0, atol=1e-6), name
        assert not torch.allclose(output, expected, rtol=0, atol=1e-6), f"{name}: nothing was trained"
    written = load_file(folder / f"{name}.trained.safetensors")
    for key, value in written.items():
        assert value.dtype == model.state_dict()[key].dtype, (name, key, value.dtype)


def scales():
    scaler = torch.amp.GradScaler("cpu", init_scale=1000, growth_factor=1.7, backoff_factor=0.37, growth_interval=3)
    a, b = torch.ones(5, requires_grad=True), torch.ones(5, requires_grad=True)
    first, second = torch.optim.SGD([a], 0.1), torch.optim.SGD([b], 0.1)
    for step in range(40):
        before = a.detach().clone(), b.detach().clone()
        loss = (a * (float("inf") if step % 7 == 3 else 1.5)).sum()
        first.zero_grad()
        second.zero_grad()
        if step % 2 == 0:
            loss = loss + (b * (float("nan") if step % 10 == 4 else 0.5)).sum()
        scaler.scale(loss).backward()
        scaler.step(first)
        if step % 2 == 0:
            scaler.step(second)
        scaler.update()
        state = scaler.state_dict()
        yield [state["scale"], state["_growth_tracker"], not torch.equal(before[0], a), not torch.equal(before[1], b),
               a[0].item(), b[0].item()]


def check_cpp(version, size):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        models = {"cnn": write(Cnn, folder, "cnn"), "tied": write(Tied, folder, "tied")}
        printed = launch(BUILD / f"bin/test-torch-api-{version}", size, "--python", cwd=folder)
        check_round_trip(Cnn, folder, "cnn", models["cnn"])
        check_round_trip(Tied, folder, "tied", models["tied"])
    lines = [line.rpartition("]")[2] for line in printed.splitlines()]  # "[0] " from the launcher
    found = [[float(number) for number in line.split()] for line in lines]
    expected = [[float(number) for number in row] for row in scales()]
    assert found == expected, [pair for pair in zip(found, expected) if pair[0] != pair[1]][:3]


# ---- C ----

def check_gradient(model, folder):
    x = torch.tensor([(i * 37) % 19 for i in range(28)], dtype=torch.float32).div(19).reshape(4, 7).requires_grad_()
    model.train().several(x, 3, None).backward()
    found = load_file(folder / "gradient.safetensors")["x"]
    assert x.grad.abs().max() > 1e-3
    assert torch.allclose(found, x.grad, rtol=1e-4, atol=1e-5), (found, x.grad)


def check_c(version, size):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = Masked()
        torch.jit.script(model).save(folder / "masked.pt")
        model.mask[0] = model.mask[3] = True  # by the file alone
        save_model(model, folder / "masked.safetensors")
        launch(BUILD / f"bin/program-torch-api-{version}", size, cwd=folder)
        check_gradient(model, folder)
        trained = load_file(folder / "trained.safetensors")
        assert trained["mask"].dtype == torch.bool and trained["mask"].equal(model.mask)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for version in versions("program-torch-api"):
        for size in (1, 2):
            check_cpp(version, size)
            check_c(version, size)
            print(f"libtorch {version}: {size} processes", flush=True)


if __name__ == "__main__":
    main()
